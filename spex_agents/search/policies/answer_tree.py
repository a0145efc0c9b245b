"""What searches over whole answers share: a node is a try, and its children are better ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial, reduce
from typing import Literal, NamedTuple, TypeAlias

from spex_agents.errors import SettingsError, at_least_one, one_of
from spex_agents.search.action import Action
from spex_agents.search.policy import Decision, Expand, Finish, Policy, State
from spex_agents.search.prompts import ANSWER, IMPROVE
from spex_agents.search.tree import ROOT, Path, Tree, TreeView


class Sums(NamedTuple):
    """Some rewards: how many, their sum, and that of their squares."""

    size: int = 0
    total: float = 0.0
    squares: float = 0.0

    def plus(self, reward: float) -> Sums:
        return Sums(self.size + 1, self.total + reward, self.squares + reward * reward)


class Child(NamedTuple):
    """A child of a node: its own reward, those below it, and its children, the eldest first."""

    path: Path
    own: float
    below: Sums
    children: tuple[Child, ...]

    @property
    def all(self) -> Sums:
        return self.below.plus(self.own)


class Choice(NamedTuple):
    """What a node's rule says: go to that child, or, without one, a new child by that model."""

    child: Child | None
    model: int = 0


_Grown: TypeAlias = tuple[tuple[Child, ...], tuple[Sums, ...]]
"""The question's children, and what each model has brought."""


class _Made(tuple[Path, ...]):
    """The tries so far, and what came of all but the last.

    Summing that up anew at each decision takes milliseconds where there are hundreds of tries. A
    state from a checkpoint lacks it once.
    """

    grown: _Grown

    @classmethod
    def of(cls, paths: Iterable[Path], grown: _Grown) -> _Made:
        made = cls(paths)
        made.grown = grown
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerTree(Policy):
    """Grows one answer at a time, below the question or below an answer that is to be improved.

    The state is the tries in the order in which they were demanded. Subclasses say how a node
    chooses between a new child and one that is there.

    Attributes:
        rollouts: Answers written.
        models: Names of the models that write, of `SearchConfig.engines`; "" is the search's own
            engine. Child k of a node is written by model k modulo their number.
        first: How an answer below the question is asked for.
        again: How a better one is asked for.
        counted: "best" as in the sources: the answer of the highest reward, the earliest of equal
            ones, is the search's. "all": every answer votes.

    Raises:
        SettingsError: `rollouts` is below 1, there is no model or one twice, an action begins no
            try of its own, or `counted` is none of the two.
    """

    rollouts: int = 32
    models: tuple[str, ...] = ("",)
    first: Action = ANSWER
    again: Action = IMPROVE
    counted: Literal["best", "all"] = "best"

    def __post_init__(self) -> None:
        at_least_one(rollouts=self.rollouts)
        if not self.models or len(set(self.models)) < len(self.models):
            raise SettingsError(f"models={self.models!r}: name at least one, and each once")
        check_tries(first=self.first, again=self.again)
        one_of("counted", self.counted, "best", "all")

    def start(self) -> State:
        return ()

    def model_of(self, path: Path) -> int:
        """Which of the models writes the try at `path`."""
        return path[-1] % len(self.models)

    def action(self, path: Path) -> Action:
        action = self.first if len(path) == 1 else self.again
        return _written_by(action, self.models[self.model_of(path)])

    def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
        made: tuple[Path, ...] = state
        if len(made) >= self.rollouts:
            return made, Finish()
        grown: _Grown = (), (Sums(),) * len(self.models)
        if isinstance(made, _Made):
            grown = made.grown
        else:
            grown = reduce(partial(self._with, tree=tree), made[:-1], grown)
        if made:
            grown = self._with(grown, made[-1], tree)
        node, (below, brought) = ROOT, grown
        while child := (choice := self.choose(node, below, brought, len(made), tree)).child:
            node, below = child.path, child.children
        rank = sum(self.model_of(child.path) == choice.model for child in below)
        while (new := (*node, rank * len(self.models) + choice.model)) in tree:
            rank += 1  # past those that were lost
        return _Made.of((*made, new), grown), Expand((new,))

    def choose(
        self,
        node: Path,
        children: Sequence[Child],
        brought: Sequence[Sums],
        time: int,
        tree: TreeView,
    ) -> Choice:
        """Choose at `node`.

        Args:
            node: A try, or the question.
            children: Those of its children that have rewards, the eldest first.
            brought: The rewards of each model's tries anywhere.
            time: Tries demanded so far: chance is drawn anew with each of them.
            tree: For its seed, and for tries that have ended.
        """
        raise NotImplementedError

    def _with(self, grown: _Grown, path: Path, tree: TreeView) -> _Grown:
        """All that there is with the try at `path`, if that is not lost."""
        reward = tree.reward(path)
        if not reward and tree.lost(path):  # what is lost has a reward of 0 to those who ask
            return grown
        children, brought = grown
        model = self.model_of(path)
        sums = brought[model].plus(reward)
        return _grown(children, path, reward), (*brought[:model], sums, *brought[model + 1 :])

    def voters(self, state: State, tree: Tree) -> tuple[Path, ...]:
        there = [path for path in state if path in tree.rewards and not tree.thought(path).failed]
        return tuple(there) if self.counted == "all" else best_try(there, tree)

    def remaining(self, state: State, tree: Tree) -> int:
        if self.counted == "all":
            return self.rollouts - sum(path in tree.rewards for path in state)
        done = len(state) >= self.rollouts and all(is_settled(path, tree) for path in state)
        return 0 if done or unbeatable(tree) else 2


def best_try(paths: Iterable[Path], tree: Tree) -> tuple[Path, ...]:
    """Who votes where the best try is the answer: of `paths` with rewards the first of the best."""
    there = (path for path in paths if path in tree and not tree.thought(path).failed)
    best = max(there, key=tree.reward, default=None)
    return () if best is None else (best,)


def is_settled(path: Path, tree: Tree) -> bool:
    """Whether the try is there and has its reward, or never will."""
    return path in tree.rewards or (path in tree and tree.lost(path))


def unbeatable(tree: Tree, layer: Sequence[Path] = ()) -> bool:
    """Whether a try has the highest reward there is, and none of equal reward can come before it.

    Args:
        tree: With the rewards that there are.
        layer: Tries demanded together: those without a reward may still have one, before its own.
    """
    fine = (path for path, reward in tree.rewards.items() if reward >= 1 and path in tree)
    best = next((path for path in fine if not tree.thought(path).failed), None)
    if best is None or best not in layer:
        return best is not None
    return all(is_settled(path, tree) for path in layer[: layer.index(best)])


def check_tries(**actions: Action) -> None:
    """Check that each action asks for a whole answer below which others may follow.

    Raises:
        SettingsError: One does not.
    """
    for name, action in actions.items():
        if not (action.refines and action.to_end):
            raise SettingsError(
                f"{name}={action.name!r}: must have refines=True and to_end=True: each is a whole "
                "answer, and others follow below it"
            )


@lru_cache(1024)
def _written_by(action: Action, engine: str) -> Action:
    return replace(action, engine=engine)


def _grown(
    children: tuple[Child, ...], path: Path, reward: float, depth: int = 1
) -> tuple[Child, ...]:
    """The children of a node of `depth` - 1 with one more reward, at `path` below it."""
    if depth == len(path):
        return (*children, Child(path, reward, Sums(), ()))
    above = path[:depth]
    index = next(index for index, child in enumerate(children) if child.path == above)
    _, own, below, further = children[index]
    child = Child(above, own, below.plus(reward), _grown(further, path, reward, depth + 1))
    return (*children[:index], child, *children[index + 1 :])


def added(sums: Iterable[Sums]) -> Sums:
    """All of these rewards together."""
    count, total, squares = 0, 0.0, 0.0
    for each in sums:
        count += each[0]
        total += each[1]
        squares += each[2]
    return Sums(count, total, squares)


def is_open(child: Child, tree: TreeView) -> bool:
    """Whether a child may be gone to: a path that ends with it has nothing below it."""
    return child.below.size > 0 or not tree.thought(child.path).ends
