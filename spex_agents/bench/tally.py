"""What each method of a comparison came to, counted from its rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from spex_agents.answers.votes import Ballot, elect
from spex_agents.bench.figures import rounded, sign_test, wilson

GREEDY, MAJORITY = "greedy", "majority"
"""The baselines' names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What one method came to over all problems; means are over those that did not fail.

    Attributes:
        method: Its name.
        right: Right answers.
        problems: Out of how many, without those that failed.
        failed: Problems on which an engine, a reward or the policy failed.
        low: Lower end of the share's Wilson interval of 95 %.
        high: Its upper end.
        useful_tokens: Decoded for what the search took, a problem.
        wasted_tokens: Decoded in vain, a problem, with speculation.
        off_s: Seconds a problem, without speculation.
        on_s: With it; None for a baseline, which has nothing to foresee, and where it was not
            measured on every problem.
        same_tree: Share of problems whose trees are the same off and on; None likewise.
        same_answer: Likewise, of answers.
        hit_rate: Of the thoughts begun early, how many were demanded; None likewise, and where none
            was.
        control_right: Right answers of the majority of samples at as many tokens; None for a
            baseline.
        control_tokens: Their tokens a problem.
        alone: Problems that this method has right and its control has not.
        control_alone: The other way round.
    """

    method: str
    right: int
    problems: int
    failed: int
    low: float
    high: float
    useful_tokens: float
    wasted_tokens: float
    off_s: float
    on_s: float | None
    same_tree: float | None
    same_answer: float | None
    hit_rate: float | None
    control_right: int | None
    control_tokens: float | None
    alone: int | None
    control_alone: int | None

    @property
    def share(self) -> float:
        return self.right / self.problems if self.problems else 0.0

    @property
    def p_value(self) -> float | None:
        """How likely so large a difference from the control is, were there none; a sign test.

        Two-sided, over the problems that one of the two alone has right (McNemar's test).
        """
        if self.alone is None or self.control_alone is None:
            return None
        return sign_test(self.alone, self.control_alone)

    @property
    def speedup(self) -> float | None:
        return self.off_s / self.on_s if self.on_s else None

    @property
    def waste_ratio(self) -> float:
        return self.wasted_tokens / self.useful_tokens if self.useful_tokens else 0.0

    def report(self) -> dict[str, object]:
        """Plain data, its ratios included."""
        ratios = {
            "share": self.share,
            "p_value": self.p_value,
            "speedup": self.speedup,
            "waste_ratio": self.waste_ratio,
        }
        return rounded(asdict(self) | ratios)


def summarise(rows: Iterable[Mapping[str, Any]], methods: Sequence[str]) -> list[Line]:
    """A line for each method, over the problems that the rows are of; later rows count.

    Args:
        rows: Of a journal.
        methods: In the order wanted.
    """
    by: dict[str, dict[int, Mapping[str, Any]]] = {method: {} for method in methods}
    for row in rows:
        if row["method"] in by:
            by[row["method"]][row["problem"]] = row
    samples = by.get(MAJORITY, {})
    return [_line(method, list(by[method].values()), samples) for method in methods]


def _line(
    method: str, rows: Sequence[Mapping[str, Any]], samples: Mapping[int, Mapping[str, Any]]
) -> Line:
    good = [row for row in rows if row["error"] is None]
    searched = method not in (GREEDY, MAJORITY)
    paired = searched and all("on_s" in row for row in good)
    right = sum(row["right"] for row in good)
    launched = sum(row.get("launched", 0) for row in good) if paired else 0
    low, high = wilson(right, len(good))

    def mean(name: str) -> float:
        return fmean(row[name] for row in good) if good else 0.0

    pairs = []
    for row in good if searched else ():
        drawn = samples.get(row["problem"])
        if drawn is not None and drawn["error"] is None:
            pairs.append((row["right"], *control(drawn["samples"], row["useful_tokens"])))
    return Line(
        method=method,
        right=right,
        problems=len(good),
        failed=len(rows) - len(good),
        low=low,
        high=high,
        useful_tokens=mean("useful_tokens"),
        wasted_tokens=mean("wasted_tokens") if paired else 0.0,
        off_s=mean("off_s"),
        on_s=mean("on_s") if paired else None,
        same_tree=mean("same_tree") if paired else None,
        same_answer=mean("same_answer") if paired else None,
        hit_rate=sum(row.get("hits", 0) for row in good) / launched if launched else None,
        control_right=sum(held for _, held, _ in pairs) if searched else None,
        control_tokens=fmean(tokens for _, _, tokens in pairs) if pairs else None,
        alone=sum(own and not held for own, held, _ in pairs) if searched else None,
        control_alone=sum(held and not own for own, held, _ in pairs) if searched else None,
    )


def control(samples: Sequence[tuple[str | None, int, bool]], tokens: int) -> tuple[bool, int]:
    """Whether the majority of the first samples of about `tokens` tokens is right, and how many.

    Args:
        samples: Each one's answer in canonical form, its tokens, and whether it is right.
        tokens: To come as near to as whole samples can.

    Example:
        >>> control([("4", 10, False), ("5", 10, True), ("5", 10, True)], 28)
        (True, 30)
    """
    spent = 0
    ballots: list[str | None] = []
    verdicts: dict[str | None, bool] = {}
    for answer, each, right in samples:
        if ballots and spent + each / 2 > tokens:
            break
        spent += each
        ballots.append(answer)
        verdicts[answer] = right
    winner = elect((Ballot(answer, 1.0) for answer in ballots if answer is not None), "majority")
    return verdicts.get(winner, False), spent
