"""Steps with their labels, and how well scores put them in order (no other package needed)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from examples.train_reward.labels import Solution

RESAMPLED = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step in its path.

    Attributes:
        question: Of the path.
        texts: The path's steps, this one last.
        label: How good it is.
        state: What each of some layers says at its end, (layers, width).
    """

    question: str
    texts: tuple[str, ...]
    label: float
    state: Any


def distinct(
    rows: Sequence[Solution], labels: Sequence[Sequence[float]], said: Sequence[Any]
) -> list[Step]:
    """Each step once, of all solutions that begin alike."""
    found: dict[tuple[str, ...], Step] = {}
    for row, own, state in zip(rows, labels, said, strict=True):
        for end, label in enumerate(own, 1):
            texts = tuple(row["steps"][:end])
            step = Step(question=row["question"], texts=texts, label=label, state=state[end - 1])
            found.setdefault((row["question"], *texts), step)
    return list(found.values())


def compared(said: Iterable[tuple[float, float]]) -> tuple[float, int]:
    """How many pairs of (score, label) with different labels are in the right order, of how many.

    Equal scores are half in order.
    """
    told = list(said)
    wins = [
        (one > other) + (one == other) / 2
        for one, label in told
        for other, worse in told
        if label > worse
    ]
    return sum(wins), len(wins)


def concordance(scores: Sequence[float], labels: Sequence[float]) -> float | None:
    """How often, of two steps with different labels, the better one scores higher.

    With labels of 0 and 1 that is the area under the ROC curve. None where all labels are equal.
    """
    won, pairs = compared(zip(scores, labels, strict=True))
    return won / pairs if pairs else None


def siblings(steps: Sequence[Step], scores: Sequence[float]) -> dict[str, tuple[float, int]]:
    """`compared` for each question, among steps that a search would choose between: of one depth.

    That a first step is wrong more often than a later one helps nobody there.
    """
    groups: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    for step, score in zip(steps, scores, strict=True):
        groups[step.question, len(step.texts)].append((score, step.label))
    found: dict[str, tuple[float, int]] = {}
    for (question, _), said in groups.items():
        won, pairs = compared(said)
        before = found.get(question, (0.0, 0))
        found[question] = (before[0] + won, before[1] + pairs)
    return found


def interval(by_question: Sequence[tuple[float, int]]) -> tuple[float, float, float] | None:
    """A share of pairs, and the middle 95 % of it over questions drawn again with replacement."""
    rng = Random(0)

    def share(drawn: Sequence[tuple[float, int]]) -> float | None:
        pairs = sum(of for _, of in drawn)
        return sum(won for won, _ in drawn) / pairs if pairs else None

    if (whole := share(by_question)) is None:
        return None
    again = (share(rng.choices(by_question, k=len(by_question))) for _ in range(RESAMPLED))
    shares = sorted(each for each in again if each is not None)
    return whole, shares[len(shares) // 40], shares[-1 - len(shares) // 40]
