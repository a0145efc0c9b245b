"""What a search's tree says about a solution: its steps, and where the alternatives went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from examples.math_tutor.checks import Check
from examples.math_tutor.rounding import rounds
from examples.math_tutor.steps import bare, false_sum, form, measured, number, stated
from spex_agents.answers import Ballot, counted, elect, extract_answer, same_as
from spex_agents.search import Path, Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """All thoughts of a tree that came to one value after the same values.

    Attributes:
        value: What they came to.
        text: The first of those with the best reward.
        tries: How many they are.
        reward: The best of their own rewards; None where the search asked for none.
        way: The best sound path through one of them to the solution's answer; None if none is.
        ends: The answers that paths through them ended with, and how often.
    """

    value: str
    text: str
    tries: int
    reward: float | None
    way: Path | None
    ends: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step of the solution that can be asked for.

    Attributes:
        text: As the model wrote it.
        value: What it comes to.
        unit: Its unit of measure, if it states one.
        remarks: Thoughts without a value since the step before.
        reward: Its own, or the best that a path through it ended with.
        agree: How many thoughts came to the same value, itself included.
        others: What else was tried here.
    """

    text: str
    value: str
    unit: str | None
    remarks: tuple[str, ...]
    reward: float
    agree: int
    others: tuple[Attempt, ...]


class Evidence:
    """A tree, read with the eyes of a check.

    Args:
        tree: Of a search that has ended.
        check: What its rewards are worth.
    """

    def __init__(self, tree: Tree, check: Check) -> None:
        self.tree = tree
        self.check = check

    @cached_property
    def answers(self) -> Mapping[Path, str]:
        """The answers of the ended paths that have one."""
        found: dict[Path, str] = {}
        for leaf in self.tree.leaves():
            text = "\n".join(thought.text for thought in self.tree.chain(leaf))
            if (answer := extract_answer(text)) is not None:
                found[leaf] = bare(answer)
        return found

    def answer(self, leaf: Path, last: Step | None) -> str:
        """An answer with its unit: its own, or else that of the last step, which came to it."""
        text = "\n".join(thought.text for thought in self.tree.chain(leaf))
        told, value = measured(extract_answer(text) or ""), self.answers[leaf]
        if told == value and last is not None and last.unit and form(last.value) == form(value):
            return f"{value} {last.unit}"
        return told

    @cached_property
    def _values(self) -> Mapping[Path, tuple[str, ...]]:
        """What the thoughts on the way to each one come to, itself included, in cheap forms."""
        values: dict[Path, tuple[str, ...]] = {(): ()}
        for path, thought in self.tree.thoughts.items():
            before = values[path[:-1]]
            found = stated(thought.text)
            if found is None or _repeats(thought.text, found.value, before):
                values[path] = before
            else:
                values[path] = (*before, form(found.value))
        return values

    def sound(self, leaf: Path) -> bool:
        """Whether a path ends with an answer, and nothing on it was refuted."""
        rewards = self.tree.rewards
        way = (leaf[:depth] for depth in range(1, len(leaf) + 1))
        return leaf in self.answers and all(rewards.get(p, 1.0) >= self.check.bar for p in way)

    def unread(self, leaf: Path) -> str | None:
        """The first thought on a path with a sum that the check cannot read; None without any."""
        texts = (thought.text for thought in self.tree.chain(leaf))
        return next((text for text in texts if self.check.unread(text)), None)

    async def solution(self, known: str | None) -> Path | None:
        """The path to teach; None if there is none that can be stood behind.

        Among the sound paths: those with the known answer, or else the elected one, which needs
        more of them than any other answer where the check does not decide, and of those paths only
        the ones whose sums the check can read; of these the one of the highest reward, then the
        shortest, then the first.
        """
        leaves = [leaf for leaf in self.answers if self.sound(leaf)]
        answers = [self.answers[leaf] for leaf in leaves]
        if known is not None:
            same = await same_as(known, answers)
            right = tuple(
                one or _rounded(known, answer) for one, answer in zip(same, answers, strict=True)
            )
        else:
            forms = await counted(answers)
            rewards = [self._end_reward(leaf) for leaf in leaves]
            elected = elect(map(Ballot, forms, rewards), "weighted")
            right = tuple(one == elected for one in forms)
            rivals = Counter(one for one in forms if one != elected)
            if not self.check.decides and sum(right) <= max(rivals.values(), default=0):
                return None
            right = tuple(
                one and self.unread(leaf) is None for leaf, one in zip(leaves, right, strict=True)
            )
        return self._best(leaf for leaf, is_right in zip(leaves, right, strict=True) if is_right)

    def agreement(self, path: Path) -> tuple[int, int]:
        """How many sound paths came to the answer of that one, and how many there are."""
        answer = form(self.answers[path])
        ends = [form(end) for leaf, end in self.answers.items() if self.sound(leaf)]
        return ends.count(answer), len(ends)

    def steps(self, path: Path) -> tuple[Step, ...]:
        """The steps of the solution at `path` that have a value, each with what else was tried."""
        answer = form(self.answers[path])
        goals = [leaf for leaf, end in self.answers.items() if form(end) == answer]
        goals = [leaf for leaf in goals if self.sound(leaf)]
        found: list[Step] = []
        remarks: list[str] = []
        for depth in range(1, len(path) + 1):
            here = path[:depth]
            text = self.tree.thought(here).text
            before, values = self._values[here[:-1]], self._values[here]
            here_stated = stated(text)
            if values == before or here_stated is None:
                remarks.append(text)
                continue
            tries = self._tries(before, goals)
            mine = tries.pop(values[-1])
            reward = self.tree.rewards.get(here)
            found.append(
                Step(
                    text=text,
                    value=here_stated.value,
                    unit=here_stated.unit,
                    remarks=tuple(remarks),
                    reward=self._end_reward(path) if reward is None else reward,
                    agree=mine.tries,
                    others=tuple(tries.values()),
                )
            )
            remarks = []
        return tuple(found)

    def refuted(self) -> Sequence[Attempt]:
        """What refuted paths first went wrong with, what was tried most often first.

        That is the first thought with a false sum, where the check covers sums, or else the first
        one whose reward is below the bar.
        """
        groups: dict[tuple[str, ...], dict[Path, None]] = {}
        for path, reward in self.tree.rewards.items():
            if reward < self.check.bar <= self.tree.rewards.get(path[:-1], 1.0):
                culprit = self._culprit(path)
                groups.setdefault(self._values[culprit], {})[culprit] = None
        attempts = [self._attempt(list(paths), ()) for paths in groups.values()]
        return sorted(attempts, key=lambda attempt: -attempt.tries)

    def _culprit(self, path: Path) -> Path:
        for depth in range(1, len(path)):
            text = self.tree.thought(path[:depth]).text
            if self.check.covers(text) and false_sum(text):
                return path[:depth]
        return path

    def _best(self, leaves: Iterable[Path]) -> Path | None:
        return min(
            leaves,
            key=lambda leaf: (-self._end_reward(leaf), len(leaf), leaf),
            default=None,
        )

    def _end_reward(self, leaf: Path) -> float:
        return self.tree.rewards.get(leaf, 0.0)

    def _tries(self, before: tuple[str, ...], goals: Sequence[Path]) -> dict[str, Attempt]:
        """What was tried after these values, by value."""
        groups: dict[str, list[Path]] = {}
        for path in self.tree.thoughts:
            values = self._values[path]
            if len(values) > len(self._values[path[:-1]]) and values[:-1] == before:
                groups.setdefault(values[-1], []).append(path)
        return {value: self._attempt(paths, goals) for value, paths in groups.items()}

    def _attempt(self, paths: Sequence[Path], goals: Sequence[Path]) -> Attempt:
        def through(leaf: Path) -> bool:
            return any(leaf[: len(path)] == path for path in paths)

        rewards = [self.tree.rewards[path] for path in paths if path in self.tree.rewards]
        text = self.tree.thought(max(paths, key=lambda path: self.tree.rewards.get(path, -1))).text
        found = stated(text)
        return Attempt(
            value=found.value if found else text,
            text=text,
            tries=len(paths),
            reward=max(rewards, default=None),
            way=self._best(leaf for leaf in goals if through(leaf)),
            ends=Counter(answer for leaf, answer in self.answers.items() if through(leaf)),
        )


def _rounded(known: str, answer: str) -> bool:
    """Whether one is the other but for rounding, to two digits at least where it is the answer."""
    exact, found = number(known), number(answer)
    if exact is None or found is None:
        return False
    return ("/" in answer and rounds(found, known)) or (
        "/" in known and rounds(exact, answer) and len(answer.partition(".")[2]) > 1
    )


def _repeats(text: str, value: str, before: tuple[str, ...]) -> bool:
    """Whether a thought only gives as the answer what the step before it has come to."""
    return "=" not in text and before[-1:] == (form(value),)
