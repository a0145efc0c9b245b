"""The figures of the documentation, drawn anew: ``python -m benchmarks.figures``.

Needs matplotlib (``pip install -e '.[bench]'``) and some minutes. Everything runs on the virtual
clock, so two runs draw the same pictures.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spex_agents.bench.sim import Case, Row, run
from spex_agents.bench.targets import TARGETS
from spex_agents.search import Policy, Rebase, Rstar
from spex_agents.speculation.config import Speculation
from spex_agents.speculation.termination import ExactStop, MarginStop

# The palette of Okabe and Ito, which colour-blind readers can tell apart.
GREY, BLUE, ORANGE, GREEN, RED = "#999999", "#0072B2", "#E69F00", "#009E73", "#D55E00"
QUERIES = (1, 2, 4, 8, 16, 32)
LATENCIES = (0.05, 0.5, 1.0, 3.0, 10.0)
THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0)
ACCEPTANCE = (1.0, 1.5, 2.0, 3.0, 4.0)
UNLIMITED = 1_000_000

RSTAR = Case(preset="paper-7b", name="rstar", policy=Rstar(rollouts=10), depth=5)
REBASE = Case(preset="paper-7b", name="rebase", policy=Rebase(width=16), depth=10)
LINES = ((RSTAR, "RSTAR-10", BLUE, "o"), (REBASE, "REBASE-16", RED, "s"))


@cache
def measured(case: Case) -> Row:
    print(f"{case.name}, {case.queries} queries, {case.reward_latency:g} s", file=sys.stderr)
    return run(case)


def together(case: Case, queries: int) -> Case:
    """`case` with so many queries, and fewer seeds for many: about as many searches in all."""
    return replace(case, queries=queries, seeds=max(3, min(case.seeds, 160 // queries)))


def targets() -> Figure:
    """Seconds off, on and with perfect foresight."""
    chosen = [target for target in TARGETS if target.replicas == 1]
    rows = [measured(target.case(RSTAR)) for target in chosen]
    figure, (axes,) = plot(width=8.6)
    for offset, color, name, label in (
        (-0.27, GREY, "off_s", "speculation off"),
        (0.0, BLUE, "on_s", "speculation on"),
        (0.27, ORANGE, "oracle_s", "perfect foresight"),
    ):
        places = [index + offset for index in range(len(rows))]
        axes.bar(places, [getattr(row, name) for row in rows], 0.25, color=color, label=label)
    for index, row in enumerate(rows):
        axes.text(index, row.on_s + 1.2, f"{row.speedup:.1f}x", ha="center", weight="bold")
    axes.set_xticks(
        range(len(rows)),
        [
            f"{row.label.upper()}\n{row.queries} {'query' if row.queries == 1 else 'queries'}"
            f"\nreward {row.reward_latency:g} s"
            for row in rows
        ],
    )
    axes.set(ylabel="seconds until the last answer", title="The same trees, sooner")
    axes.legend(frameon=False)
    return figure


def by_queries() -> Figure:
    figure, (axes,) = plot()
    lines(axes, QUERIES, together)
    axes.set_xscale("log", base=2)
    axes.set_xticks(QUERIES, [str(queries) for queries in QUERIES])
    axes.set(xlabel="queries at a time on one engine of 96 slots", title="Speed-up by queries")
    return figure


def by_reward_latency() -> Figure:
    figure, (axes,) = plot()
    lines(axes, LATENCIES, lambda case, latency: replace(case, reward_latency=latency))
    axes.set_xscale("log")
    axes.set_xticks(LATENCIES, [f"{latency:g}" for latency in LATENCIES])
    axes.set(xlabel="seconds a reward takes", title="Speed-up by reward latency, one query")
    return figure


def by_width() -> Figure:
    figure, panels = plot(2)
    searches: Sequence[tuple[Case, str, Sequence[int], Callable[[int], Policy]]] = (
        (RSTAR, "rollouts of RSTAR", (4, 8, 10, 16, 20, 32), lambda size: Rstar(rollouts=size)),
        (REBASE, "width of REBASE", (4, 8, 16, 32), lambda size: Rebase(width=size)),
    )
    for axes, (case, label, sizes, policy), line in zip(panels, searches, LINES, strict=True):
        rows = [measured(replace(case, policy=policy(size))) for size in sizes]
        on_and_oracle(axes, sizes, rows, line[1:])
        axes.set(xlabel=label, xticks=sizes)
        axes.legend(frameon=False)
    panels[0].set_ylabel("speed-up")
    figure.suptitle("Speed-up by the size of the search, one query")
    return figure


def ablation() -> Figure:
    """The three techniques, each with its alternatives; eight queries."""
    figure, panels = plot(3, width=10.5, height=4.0)
    eight = [replace(case, queries=8) for case, *_ in LINES]
    alternatives: Sequence[tuple[str, Sequence[tuple[str, Callable[[Case], Case] | None]]]] = (
        (
            "1 selection",
            (
                ("none", None),
                ("paper", lambda case: replace(case, speculation=Speculation(selector="paper"))),
                ("replay", lambda case: case),
            ),
        ),
        (
            "2 budget",
            (
                ("unlimited", lambda case: replace(case, capacity=UNLIMITED)),
                ("paper", lambda case: replace(case, allocation="paper")),
                ("benefit", lambda case: case),
            ),
        ),
        (
            "3 termination",
            (
                ("none", lambda case: case),
                ("exact", lambda case: replace(case, stop=ExactStop())),
                ("margin\n(lossy)", lambda case: replace(case, stop=MarginStop())),
            ),
        ),
    )
    for axes, (title, choices) in zip(panels, alternatives, strict=True):
        for line, (case, (_, label, color, _)) in enumerate(zip(eight, LINES, strict=True)):
            for place, (_, choose) in enumerate(choices):
                row = None if choose is None else measured(choose(case))
                height = 1.0 if row is None else row.full_s / row.on_s
                at = place + (line - 0.5) * 0.38
                axes.bar(at, height, 0.36, color=color, label=label if place == 0 else None)
                note = f"{height:.2f}"
                if row is not None and row.lossy:
                    note += f"\n{row.same_answer:.0%} same\nanswers"
                axes.text(at, height + 0.08, note, ha="center", size=8)
        axes.set_xticks(range(3), [name for name, _ in choices])
        axes.set_title(title)
    top = 1.2 * max(axes.get_ylim()[1] for axes in panels)
    for axes in panels:
        axes.set_ylim(0, top)
    panels[0].set_ylabel("speed-up over the full search, off")
    panels[0].legend(frameon=False, loc="upper left")
    figure.suptitle("What each technique is worth, eight queries")
    return figure


def frontier() -> Figure:
    """Waste against speed-up, over the threshold."""
    figure, panels = plot(2)
    slow = replace(REBASE, reward_latency=3.0)
    for axes, (case, label, color, marker) in zip(
        panels, (LINES[0], (slow, "REBASE-16, reward 3 s", RED, "s")), strict=True
    ):
        rows = [
            measured(replace(case, speculation=Speculation(threshold=threshold)))
            for threshold in THRESHOLDS
        ]
        axes.plot(
            [row.waste_ratio for row in rows],
            [row.speedup for row in rows],
            color=color,
            marker=marker,
        )
        for threshold, row in zip(THRESHOLDS, rows, strict=True):
            axes.annotate(
                f"{threshold:g}",
                (row.waste_ratio, row.speedup),
                xytext=(5, -11),
                textcoords="offset points",
                size=8,
            )
        axes.axhline(rows[0].off_s / rows[0].oracle_s, color=ORANGE, ls="--")
        axes.text(0.02, rows[0].off_s / rows[0].oracle_s, "perfect foresight", va="bottom", size=8)
        axes.set(xlabel="wasted per useful token", title=label)
        axes.set_xlim(left=0)
        axes.margins(y=0.12)
    panels[0].set_ylabel("speed-up")
    figure.suptitle("Waste against speed-up, by the threshold of probability; one query")
    return figure


def with_draft_tokens() -> Figure:
    """The product with token-level speculative decoding."""
    figure, panels = plot(2)
    for axes, (case, label, color, marker) in zip(panels, LINES, strict=True):
        rows = [measured(replace(case, acceptance_length=length)) for length in ACCEPTANCE]
        plain = rows[0].off_s
        for values, name, drawn in (
            ([plain / row.on_s for row in rows], "both", {"color": color, "marker": marker}),
            ([plain / row.off_s for row in rows], "token-level alone", {"color": GREY}),
        ):
            axes.plot(ACCEPTANCE, values, label=name, **drawn)  # type: ignore[arg-type]
        axes.axhline(rows[0].speedup, color=color, ls=":", label="thought-level alone")
        axes.set(xlabel="tokens accepted a step", xticks=ACCEPTANCE, title=label)
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False)
    panels[0].set_ylabel("speed-up")
    figure.suptitle("With token-level speculative decoding, one query")
    return figure


def lines(axes: Axes, values: Sequence[float], vary: Callable[[Case, int], Case]) -> None:
    for case, label, color, marker in LINES:
        rows = [measured(vary(case, value)) for value in values]  # type: ignore[arg-type]
        on_and_oracle(axes, values, rows, (label, color, marker))
    axes.set_ylabel("speed-up")
    axes.legend(frameon=False)


def on_and_oracle(
    axes: Axes, at: Sequence[float], rows: Sequence[Row], line: tuple[str, str, str]
) -> None:
    label, color, marker = line
    axes.plot(at, [row.speedup for row in rows], color=color, marker=marker, label=label)
    limit = [row.off_s / row.oracle_s for row in rows]
    axes.plot(at, limit, color=color, ls="--", lw=1, label=f"{label}, perfect foresight")
    axes.set_ylim(bottom=0)


def plot(panels: int = 1, *, width: float = 7.0, height: float = 3.8) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, [figure.add_subplot(1, panels, index + 1) for index in range(panels)]


FIGURES = (
    targets,
    by_queries,
    by_reward_latency,
    by_width,
    ablation,
    frontier,
    with_draft_tokens,
)


def main() -> None:
    names = [figure.__name__ for figure in FIGURES]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figure", nargs="*", help=f"{', '.join(names)}; all by default")
    parser.add_argument("--out", type=Path, default=Path("docs/figures"))
    parser.add_argument("--format", default="svg")
    arguments = parser.parse_args()
    if unknown := set(arguments.figure) - set(names):
        parser.error(f"{', '.join(sorted(unknown))}: must be of {', '.join(names)}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    mpl.rcParams.update(
        {
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.grid.axis": "y",
            "grid.alpha": 0.3,
            "axes.axisbelow": True,
            "font.size": 10,
            "svg.hashsalt": "spex",
        }
    )
    for figure in FIGURES:
        if not arguments.figure or figure.__name__ in arguments.figure:
            drawn = figure()
            for format_ in arguments.format.split(","):
                file = arguments.out / f"{figure.__name__.replace('_', '-')}.{format_}"
                metadata = {"Date": None} if format_ == "svg" else None
                drawn.savefig(file, metadata=metadata, dpi=110)
                print(file, file=sys.stderr)


if __name__ == "__main__":
    main()
