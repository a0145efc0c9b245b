"""How a thought is asked for: the prompts of a policy, as data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from spex_agents.search.tree import Critique, Path, Thought


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    r"""One way of asking for a thought; the default asks for the next step.

    Attributes:
        name: For people.
        user: The user's turn, in which ``{question}`` and ``{steps}`` are filled in; empty for that
            of the search's template. With ``{steps}`` the steps so far are told there, and the
            reply begins anew; without it the reply goes on after them.
        cue: Words that begin the thought: the model goes on from them.
        to_end: The thought runs to the end of its path instead of to the next step delimiter.
        goes_on: The path goes on even if the model stops after the thought.
        lists: The thought is the next entry of a list that its elder siblings (those of smaller
            index, all of this action) have begun: the reply shows them. Drawn one after the other
            they are distributed as one list that the model writes at once, but for its own end.
        restates: The thought says the question in other words: the prompts below it ask that, and
            begin anew.
        again: The thought is the one before it, written again from the first place where that has
            these words (or from its end, with these words put there): later prompts tell it instead
            of that one. It takes the place of `cue`.
        refines: The thought begins another try: rewards, votes and the tokens of `Limits` see
            nothing that was written above it, and an answer in it does not end the path. In `user`
            ``{attempts}`` stands for all earlier tries, ``{attempt}`` for the last of them, each
            with what the reward said of it, if it `speaks`.
        engine: The name of the engine that writes it, of `SearchConfig.engines`; empty for the
            search's own.

    Example:
        >>> Action(name="rephrase", cue="In other words: ", goes_on=True).to_end
        False
    """

    name: str = "step"
    user: str = ""
    cue: str = ""
    to_end: bool = False
    goes_on: bool = False
    lists: bool = False
    restates: bool = False
    again: str = ""
    refines: bool = False
    engine: str = ""

    @property
    def listens(self) -> bool:
        """Whether its prompt shows what a reward said of earlier tries."""
        return "{attempt}" in self.user or "{attempts}" in self.user

    @property
    def anew(self) -> bool:
        """Whether the reply begins anew: the user's turn tells what was written before."""
        return self.refines or self.listens or "{steps}" in self.user


STEP = Action()
WHOLE = Action(name="answer", to_end=True)


class Try(NamedTuple):
    """An earlier try on a path: its thoughts, and what the reward said of the last of them."""

    thoughts: tuple[Thought, ...]
    words: str


def before_try(action: Callable[[Path], Action], path: Path) -> int:
    """How many thoughts of `path` belong to tries before the one that it has come to.

    Example:
        >>> actions = {1: STEP, 2: Action(refines=True), 3: STEP}
        >>> before_try(lambda path: actions[len(path)], (0, 0, 0))
        1
    """
    anew = (depth for depth in range(len(path), 0, -1) if action(path[:depth]).refines)
    return next(anew, 1) - 1


def tries(
    action: Callable[[Path], Action],
    path: Path,
    thoughts: Sequence[Thought],
    rewards: Mapping[Path, float],
) -> Iterator[Try]:
    """The tries on `path` before the one that its last thought belongs to, the first one first."""
    starts = [depth for depth in range(len(path)) if action(path[: depth + 1]).refines]
    if starts and starts[0]:
        starts.insert(0, 0)
    for first, end in pairwise(starts):
        reward = rewards.get(path[:end])
        words = reward.words if isinstance(reward, Critique) else ""
        yield Try(tuple(thoughts[first:end]), words)


def told(
    question: str, steps: Sequence[tuple[Thought, Action]], action: Action = STEP
) -> tuple[str, list[Thought], Action]:
    """What the prompt for the thought after `steps` tells: question and thoughts, and how it asks.

    Example:
        >>> again = Action(again=" Answer:")
        >>> steps = [(Thought(text="2 + 2? Answer: 5.", tokens=8), STEP)]
        >>> told("What is 2 + 2?", steps, again)[2].cue
        '2 + 2? Answer:'
    """
    thoughts: list[Thought] = []
    for thought, how in steps:
        if how.restates and (restated := thought.text.removeprefix(how.cue).strip()):
            question, thoughts = restated, []
            continue
        if how.again:
            del thoughts[-1:]
        thoughts.append(thought)
    if action.again and thoughts:
        said = thoughts.pop().text.partition(action.again)[0] + action.again
        action = replace(action, cue=said)
    return question, thoughts, action
