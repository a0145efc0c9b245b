"""Table and figure of docs/accuracy.md, from rows that `spex compare --rows` has kept.

``python -m benchmarks.accuracy_table sums=sums-rows.jsonl`` prints the table in Markdown;
``--figure FILE`` draws it (needs matplotlib). Several files of one set, as several machines make
them, are joined: ``sums=a.jsonl,b.jsonl``. With ``--together`` each name is a reward, and all are
one table: ``calculator=a.jsonl trained=b.jsonl``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.accuracy import Share
from spex_agents.bench.figures import sign_test, wilson
from spex_agents.bench.tally import GREEDY, MAJORITY

BLUE, GREY = "#0072B2", "#999999"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line(Share):
    """One method over the problems that all methods have answered.

    Attributes:
        alone: Problems that it has right and the reference has not; None for the reference itself.
        reference_alone: The other way round.
    """

    alone: int | None
    reference_alone: int | None

    @property
    def p_value(self) -> float | None:
        """How likely so large a difference is, were there none: an exact sign test, two-sided."""
        if self.alone is None or self.reference_alone is None:
            return None
        return sign_test(self.alone, self.reference_alone)


def read_rows(files: str) -> list[dict[str, Any]]:
    """The rows of some files, without their settings, which must be the same."""
    rows: list[dict[str, Any]] = []
    settings = set()
    for file in files.split(","):
        first, *rest = Path(file).read_text(encoding="utf-8").splitlines()
        settings.add(first)
        rows += map(json.loads, rest)
    if len(settings) > 1:
        raise SystemExit(f"{files}: have different settings")
    return rows


def of_problems(rows: Sequence[dict[str, Any]], file: Path) -> list[dict[str, Any]]:
    """The rows of the problems that a file has, whatever else was asked."""
    asked = {
        hashlib.sha256(json.loads(line)["question"].encode()).hexdigest()[:16]
        for line in file.read_text(encoding="utf-8").splitlines()
    }
    return [row for row in rows if row["question"] in asked]


def together(
    sets: Mapping[str, Sequence[dict[str, Any]]], unjudged: Set[str] = frozenset({GREEDY, MAJORITY})
) -> list[dict[str, Any]]:
    """One set of rows from those of several rewards, whose methods get its name behind theirs.

    Args:
        sets: The rows by the reward's name, all of the same problems.
        unjudged: Methods that no reward has a part in; those of the first set are kept.

    Raises:
        SystemExit: A number stands for one problem here and for another there.
    """
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    questions: dict[int, str] = {}
    for name, of_reward in sets.items():
        for row in of_reward:
            number, method = row["problem"], row["method"]
            if questions.setdefault(number, row["question"]) != row["question"]:
                raise SystemExit(f"{name}: problem {number} is another one than in the other files")
            told = method if method in unjudged else f"{method}, {name}"
            if row["error"] is None:
                rows.setdefault((told, number), {**row, "method": told})
    return list(rows.values())


def lines(rows: Sequence[Mapping[str, Any]], reference: str) -> list[Line]:
    """A line for each method, the reference's first, then by right answers."""
    by: dict[str, dict[int, Mapping[str, Any]]] = {}
    for row in rows:
        if row["error"] is None:
            by.setdefault(row["method"], {})[row["problem"]] = row
    if reference not in by:
        raise SystemExit(f"reference={reference!r}: must be one of {', '.join(by)}")
    shared = sorted(set.intersection(*(set(found) for found in by.values())))
    made = [_line(method, by[method], by[reference], shared, reference) for method in by]
    return sorted(made, key=lambda line: (line.alone is not None, -line.right))


def _line(
    method: str,
    own: Mapping[int, Mapping[str, Any]],
    other: Mapping[int, Mapping[str, Any]],
    problems: Sequence[int],
    reference: str,
) -> Line:
    pairs = [(own[number]["right"], other[number]["right"]) for number in problems]
    right = sum(mine for mine, _ in pairs)
    low, high = wilson(right, len(problems))
    compared = method != reference
    return Line(
        method=method,
        right=right,
        problems=len(problems),
        low=low,
        high=high,
        tokens=fmean(own[number]["useful_tokens"] for number in problems) if problems else 0.0,
        alone=sum(mine and not theirs for mine, theirs in pairs) if compared else None,
        reference_alone=sum(theirs and not mine for mine, theirs in pairs) if compared else None,
    )


def table(found: Sequence[Line], reference: str) -> str:
    """In Markdown."""
    told = [
        "| method | right | share | 95 % interval | tokens a problem "
        f"| alone : {reference} alone | p |",
        "|---|---|---|---|---|---|---|",
    ]
    for line in found:
        p = line.p_value
        told.append(
            f"| {line.method} | {line.right}/{line.problems} "
            f"| {line.right / max(1, line.problems):.0%} "
            f"| {line.low:.0%} to {line.high:.0%} | {line.tokens:.0f} "
            f"| {'' if p is None else f'{line.alone} : {line.reference_alone}'} "
            f"| {'' if p is None else f'{p:.2f}' if p >= 0.01 else f'{p:.1g}'} |"
        )
    return "\n".join(told)


def draw(sets: Mapping[str, Sequence[Line]], file: Path) -> None:
    """Shares of right answers with their intervals, a panel for each set; the same each time."""
    import matplotlib as mpl  # noqa: PLC0415 (optional)
    from matplotlib.figure import Figure  # noqa: PLC0415 (as above)

    with mpl.rc_context({"svg.hashsalt": "spex", "font.size": 10}):
        figure = Figure(figsize=(7.2, 1.0 + 2.2 * len(sets)), layout="constrained")
        panels = figure.subplots(len(sets), squeeze=False)[:, 0]
        for axes, (name, found) in zip(panels, sets.items(), strict=True):
            ordered = list(reversed(found))
            for height, line in enumerate(ordered):
                share = line.right / max(1, line.problems)
                color = GREY if line.alone is None else BLUE
                ends = [[100 * (share - line.low)], [100 * (line.high - share)]]
                axes.errorbar(100 * share, height, xerr=ends, fmt="o", color=color, capsize=3)
            axes.set_yticks(
                range(len(ordered)),
                [f"{line.method}, {line.tokens:.0f} tokens" for line in ordered],
            )
            axes.set(title=f"{name}: {found[0].problems} problems", xlim=(0, 100))
            axes.set_ylim(-0.5, len(ordered) - 0.5)
            axes.grid(axis="x", alpha=0.3)
            axes.spines[["top", "right"]].set_visible(False)
        panels[-1].set_xlabel("right answers, % (95 % interval)")
        metadata = {"Date": None} if file.suffix == ".svg" else None
        figure.savefig(file, metadata=metadata, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="+", metavar="NAME=ROWS", help="a set's rows")
    parser.add_argument("--reference", default="best-of-n:width=4", help="what others are held to")
    parser.add_argument("--together", action="store_true", help="one table: names are of rewards")
    parser.add_argument("--only", type=Path, help="JSONL of the problems to count, if not all")
    parser.add_argument("--figure", type=Path, help="draw it there: .svg, .png or .pdf")
    given = parser.parse_args()
    sets = {}
    for one in given.sets:
        name, _, files = one.partition("=")
        sets[name] = read_rows(files)
        if given.only is not None:
            sets[name] = of_problems(sets[name], given.only)
    if given.together:
        sets = {", ".join(sets): together(sets)}
    found = {}
    for name, rows in sets.items():
        found[name] = lines(rows, given.reference)
        print(f"{name}\n\n{table(found[name], given.reference)}\n")
    if given.figure is not None:
        draw(found, given.figure)


if __name__ == "__main__":
    main()
