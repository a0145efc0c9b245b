"""The policy protocol: what to expand next, as a pure function of the committed tree."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeAlias

from spex_agents.answers.equivalence import Canonical
from spex_agents.answers.extract import Extract
from spex_agents.errors import PolicyError
from spex_agents.search.action import STEP, Action
from spex_agents.search.limits import Limits
from spex_agents.search.tree import ROOT, Path, Tree, TreeView, shared

State: TypeAlias = Any
"""A policy's memory between decisions: None, bool, int, float, str and tuples of those.

A checkpoint may hand a named tuple back as a plain one, so unpack it rather than name its fields.
"""


@dataclass(frozen=True, slots=True)
class Expand:
    """The policy demands these thoughts, each a child of one it has already seen.

    Example:
        >>> Expand(((0,), (1,))).paths  # two children of the question
        ((0,), (1,))
    """

    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Finish:
    """The policy demands nothing more: vote over the leaves.

    Example:
        >>> isinstance(Finish(), Decision)
        True
    """


Decision: TypeAlias = Expand | Finish
"""What a policy decides."""


class Policy(Protocol):
    """Decides what to expand. Subclass it, or write anything with these members.

    `decide` must be pure: no clock, no global random generator (use
    [`draw`][spex_agents.search.tree.draw] with the tree's seed and a path), nothing kept on `self`.
    Because it is, a forecast may run the same object on trees whose rewards are predictions.

    Attributes:
        leaves_only: Rewards are asked for ended paths only (an outcome reward).
        blocking: A decision takes milliseconds: it is made in a worker thread, so `decide` must be
            safe to run in several at a time.
        effort: What a decision costs besides the rewards that it looks up, in such look-ups (half a
            microsecond each, about): the dearer a decision, the fewer are foreseen at an event. It
            counts for one more for each thought that there is.
        cautious: What it demands of a tree of which something is foreseen, it demands whatever that
            comes to be: all that it is seen to demand is certain.

    Example:
        >>> from spex_agents.search import Expand, Finish, Policy
        >>> class Greedy(Policy):
        ...     def decide(self, state, tree):
        ...         path = state or ()
        ...         if path and tree.thought(path).ends:
        ...             return path, Finish()
        ...         return (*path, 0), Expand(((*path, 0),))
    """

    leaves_only: ClassVar[bool] = False
    blocking: ClassVar[bool] = False
    effort: ClassVar[int] = 0
    cautious: ClassVar[bool] = False

    @property
    def needs_logprobs(self) -> bool:
        """Whether it reads log-probabilities of thoughts, which the engine then has to give."""
        return False

    def start(self) -> State:
        """The state before the first decision."""
        return ()

    def reading(self, extract: Extract, canonical: Canonical, /) -> Policy:
        """This policy, told how its search finds answers in texts, and which it counts together."""
        return self

    def decide(self, state: State, tree: TreeView, /) -> tuple[State, Decision]:
        """Decide on the tree, in which every path demanded so far has its thought and reward."""
        ...

    def action(self, path: Path, /) -> Action:
        """How the thought at `path` is asked for."""
        return STEP

    def remaining(self, state: State, tree: Tree, /) -> int | None:
        """At most how many more votes there will be than `voters`, after the decision of `state`.

        A voter that may lose its vote again counts twice, and must have a reward below 1. `tree`
        may hold a part of what that decision demanded. None where the bound is unknown; a search
        then never stops early for certain.
        """
        return None

    def fallbacks(self, state: State, /) -> int:
        """How many decisions up to `state` were made by a simpler rule than the policy's own."""
        return 0

    def voters(self, state: State, tree: Tree, /) -> tuple[Path, ...] | None:
        """The paths whose answers are counted, or None for all that have ended.

        They have ended, or hold a whole answer that an action `refines`.

        Of equal answers the voter that is named first wins, so later ones come after those before.
        A path that is named twice votes twice. Where there is none yet and the search is cut short,
        all ended paths vote.
        """
        return None

    def frontier(self, state: State, tree: TreeView, /) -> tuple[Path, ...] | None:
        """Paths at or below which all lies that is still to come after the decision behind `state`.

        That is what this decision demands, what later ones will, and whoever is to become a voter.
        What these paths and the voters so far begin with is certain to be in the answer's path, so
        it is streamed before the search ends. None where they are unknown.
        """
        return None


def ask(policy: Policy, state: State, tree: TreeView, limits: Limits) -> tuple[State, Decision]:
    """Let `policy` decide, and hold it to its contract.

    Raises:
        PolicyError: It broke it.
    """
    outcome: object = policy.decide(state, tree)
    if not isinstance(outcome, tuple) or len(outcome) != 2:
        raise PolicyError(f"decide returned {outcome!r}: return (state, Expand | Finish)")
    state, decision = outcome
    return check_state(state), check(decision, tree, limits)


def ask_twice(
    policy: Policy, state: State, tree: TreeView, limits: Limits
) -> tuple[State, Decision]:
    """As `ask`, of a policy that has to show that it is pure: what it decides depends on no clock.

    Raises:
        PolicyError: It broke its contract, or decides otherwise when it is asked again.
    """
    first = ask(policy, state, tree, limits)
    again: object
    try:
        again = ask(policy, state, tree, limits)
    except PolicyError as error:
        again = error
    if first != again:
        raise PolicyError(
            f"{policy!r} is not pure: asked twice about the same tree, it decided {first!r} and "
            f"then {again!r}; keep nothing on self, and take chance from spex_agents.search.draw"
        )
    return first


def check(decision: object, tree: TreeView, limits: Limits) -> Decision:
    """Return a decision that keeps the contract, or say how it does not.

    Raises:
        PolicyError: Not a decision, nothing demanded, a path demanded twice, without its parent,
            below an ended path, or beyond the depth cap.
    """
    if isinstance(decision, Finish):
        return decision
    if not isinstance(decision, Expand):
        raise PolicyError(f"decide returned {decision!r}: return (state, Expand | Finish)")
    if not decision.paths:
        raise PolicyError("Expand(()) demands nothing: return Finish() to end the search")
    seen: set[Path] = set()
    for path in decision.paths:
        if fault := _fault(path, tree, limits, seen):
            raise PolicyError(f"path {path!r} {fault}")
        seen.add(path)
    return decision


def _fault(path: Path, tree: TreeView, limits: Limits, seen: Collection[Path]) -> str | None:
    if (
        not isinstance(path, tuple)
        or not path
        or not all(type(index) is int and index >= 0 for index in path)
    ):
        return "is not a path: demand tuples of child indices, at least one deep"
    if path in seen or path in tree:
        return "was demanded twice: demand a child index that is not in the tree yet"
    if len(path) > limits.depth:
        return f"is beyond the depth cap of {limits.depth}: raise Limits(depth=...) or stop earlier"
    if (parent := path[:-1]) == ROOT:
        return None
    if parent not in tree:
        return f"has no parent {parent!r} in the tree: demand the parent first"
    if tree.thought(parent).ends:
        return f"lies below {parent!r}, whose path has ended: check tree.thought(path).ends"
    return None


def voters(policy: Policy, state: State, tree: Tree) -> tuple[Path, ...]:
    """The paths whose answers are counted."""
    chosen = policy.voters(state, tree)
    if chosen is None:
        return tuple(tree.leaves())
    return tuple(path for path in chosen if tree.thought(path).failed is None)


def settled(policy: Policy, state: State, tree: Tree) -> Path:
    """The longest committed path that the path of the answer is certain to begin with.

    Example:
        >>> from spex_agents.search import TotBfs
        >>> from spex_agents.search.tree import Thought
        >>> policy = TotBfs(width=2, keep=1)
        >>> thoughts = {path: Thought(text=f"{path}", tokens=1) for path in children((), 2)}
        >>> tree = Tree("Why?").with_thoughts(thoughts).with_rewards({(0,): 0.2, (1,): 0.8})
        >>> state, _ = policy.decide(((0,), (1,)), tree)
        >>> settled(policy, state, tree)
        (1,)
    """
    frontier = policy.frontier(state, tree)
    paths = () if frontier is None else (*frontier, *voters(policy, state, tree))
    path = shared(min(paths), max(paths)) if paths else ROOT
    while path and path not in tree:
        path = path[:-1]
    return path


def check_state(state: object) -> State:
    """Return a state that a checkpoint can hold.

    Raises:
        PolicyError: The state holds anything but None, bool, int, float, str and tuples of those.
    """
    if isinstance(state, tuple):
        for item in state:
            if type(item) is not int:  # most are, in paths
                check_state(item)
    elif state is not None and not isinstance(state, bool | int | float | str):
        raise PolicyError(
            f"policy state holds {state!r} of type {type(state).__name__}: "
            "use None, bool, int, float, str and tuples of those"
        )
    return state


def children(path: Path, count: int, first: int = 0) -> tuple[Path, ...]:
    """`count` child paths of `path`, from index `first` on."""
    return tuple([(*path, index) for index in range(first, first + count)])


def present(paths: Iterable[Path], tree: TreeView) -> tuple[Path, ...]:
    """`paths` without those that are lost: what a search goes on with."""
    lost = tree.lost
    return tuple([path for path in paths if not lost(path)])


def best_of(paths: Iterable[Path], tree: TreeView) -> Path | None:
    """The path of the highest reward, the smallest of equal ones, that is not lost."""
    order = [(-tree.reward(path), path) for path in present(paths, tree)]
    return min(order)[1] if order else None
