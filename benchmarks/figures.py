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

from spex_agents import ExactStop, Rebase, Rstar, Speculation
from spex_agents.answers import MarginStop
from spex_agents.bench.case import Case, depth_cap
from spex_agents.bench.figures import several
from spex_agents.bench.scaling import ScalingRow
from spex_agents.bench.scaling import scaling as scale
from spex_agents.bench.sim import Row, run
from spex_agents.bench.targets import TARGETS
from spex_agents.search import Policy
from spex_agents.search.registry import POLICIES, make_policy

# The palette of Okabe and Ito, which colour-blind readers can tell apart.
GREY, BLUE, ORANGE, GREEN, RED = "#999999", "#0072B2", "#E69F00", "#009E73", "#D55E00"
QUERIES = (1, 2, 4, 8, 16, 32)
LATENCIES = (0.05, 0.5, 1.0, 3.0, 10.0)
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0)
WASTES = (0.0, 0.25, 0.5, 1.0, 1.5, 3.0)
ACCEPTANCE = (1.0, 1.5, 2.0, 3.0, 4.0)
WORKERS = (1, 2, 4, 8, 16, 32, 64)
UNLIMITED = 1_000_000

RSTAR = Case(preset="paper-7b", name="rstar", policy=Rstar(rollouts=10), depth=5)
REBASE = Case(preset="paper-7b", name="rebase", policy=Rebase(width=16), depth=10)
LINES = ((RSTAR, "RSTAR-10", BLUE, "o"), (REBASE, "REBASE-16", RED, "s"))


@cache
def measured(case: Case) -> Row:
    print(
        f"{case.name}, {several(case.queries, 'query', 'queries')}, {case.reward_latency:g} s",
        file=sys.stderr,
    )
    return run(case)


def together(case: Case, queries: int) -> Case:
    """`case` with so many queries, and fewer seeds for many: about as many searches in all."""
    return replace(case, queries=queries, seeds=max(3, min(case.seeds, 160 // queries)))


def targets() -> Figure:
    """Seconds off, on and with perfect foresight."""
    chosen = [target for target in TARGETS if target.replicas == 1]
    rows = [measured(target.case(RSTAR)) for target in chosen]
    figure, (axes,) = plot(width=8.6)
    off_on_oracle(axes, rows)
    axes.set_xticks(
        range(len(rows)),
        [
            f"{row.search.upper()}\n{several(row.queries, 'query', 'queries')}"
            f"\nreward {row.reward_latency:g} s"
            for row in rows
        ],
    )
    axes.set(title="The same trees, sooner")
    return figure


def policies() -> Figure:
    """Likewise, for every policy with its defaults, one query."""
    rows = [
        measured(replace(REBASE, name=name, policy=make_policy(name), depth=depth_cap(name)))
        for name in POLICIES
    ]
    figure, (axes,) = plot(width=9.6)
    off_on_oracle(axes, rows)
    axes.set_xticks(range(len(rows)), [row.search.replace("-", "-\n", 1) for row in rows], size=8)
    axes.set(title="Every policy with its defaults, one query")
    return figure


def off_on_oracle(axes: Axes, rows: Sequence[Row]) -> None:
    for offset, color, name, label in (
        (-0.27, GREY, "off_s", "speculation off"),
        (0.0, BLUE, "on_s", "speculation on"),
        (0.27, ORANGE, "oracle_s", "perfect foresight"),
    ):
        places = [index + offset for index in range(len(rows))]
        axes.bar(places, [getattr(row, name) for row in rows], 0.25, color=color, label=label)
    for index, row in enumerate(rows):
        axes.text(index, row.on_s + 1.2, f"{row.speedup:.1f}x", ha="center", weight="bold")
    axes.set_ylabel("seconds until the last answer")
    axes.legend(frameon=False)


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
    searches: Sequence[tuple[str, str, Sequence[int], Callable[[int], Policy]]] = (
        ("RSTAR", "rollouts", (4, 8, 10, 16, 20, 32), lambda size: Rstar(rollouts=size)),
        ("REBASE", "width", (4, 8, 16, 32), lambda size: Rebase(width=size)),
    )
    for axes, (name, size_name, sizes, policy), (case, _, color, marker) in zip(
        panels, searches, LINES, strict=True
    ):
        rows = [measured(replace(case, policy=policy(size))) for size in sizes]
        on_and_oracle(axes, sizes, rows, (name, color, marker))
        axes.set(xlabel=f"{size_name} of {name}", xticks=sizes)
        axes.legend(frameon=False)
    panels[0].set_ylabel("speed-up")
    figure.suptitle("Speed-up by the size of the search, one query")
    return figure


def ablation() -> Figure:
    """The three techniques, each with its alternatives."""
    figure, panels = plot(3, width=10.5, height=4.2)

    def crowded(case: Case) -> Case:
        return together(case, 16)

    alternatives: Sequence[tuple[str, Sequence[tuple[str, Callable[[Case], Case]]]]] = (
        (
            "1 selection, 8 queries",
            (
                ("paper", lambda case: replace(case, speculation=Speculation(forecast="paper"))),
                ("replay", lambda case: case),
            ),
        ),
        (
            "2 budget, 16 queries",
            (
                ("unlimited", lambda case: replace(crowded(case), capacity=UNLIMITED)),
                ("paper", lambda case: replace(crowded(case), allocation="paper")),
                ("benefit", crowded),
            ),
        ),
        (
            "3 termination, 8 queries",
            (
                ("none", lambda case: case),
                ("exact", lambda case: replace(case, termination=ExactStop())),
                ("margin: lossy", lambda case: replace(case, termination=MarginStop())),
            ),
        ),
    )
    for axes, (title, choices) in zip(panels, alternatives, strict=True):
        for line, (case, label, color, _) in enumerate(LINES):
            for place, (_, choose) in enumerate(choices):
                row = measured(choose(replace(case, queries=8)))
                at = place + (line - 0.5) * 0.42
                axes.bar(at, row.full_s / row.on_s, 0.4, color=color, label=label)
                notes = [f"{row.full_s / row.on_s:.2f}"]
                if title.startswith("2"):
                    notes.append(f"slowed\n{row.demanded_slowdown:.0%}")
                if row.termination != "none":
                    notes.append(f"{row.same_answer:.1%}\nsame")
                place_note = (at, row.full_s / row.on_s + 0.08)
                axes.text(*place_note, "\n".join(notes), ha="center", size=8)
        axes.set_xticks(range(len(choices)), [name for name, _ in choices])
        axes.set_title(title)
        axes.set_ylim(0, 7)
    panels[0].axhline(1, color=GREY, ls=":", label="none")
    panels[0].set_ylabel("speed-up over the full search, off")
    handles, labels = panels[0].get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    panels[0].legend(list(unique.values()), list(unique), frameon=False, loc="upper left")
    figure.suptitle("What each technique is worth")
    return figure


def frontier() -> Figure:
    """Waste against speed-up, over the two knobs that trade one for the other."""
    figure, panels = plot(2, width=8.6)
    slow = replace(REBASE, reward_latency=3.0)
    knobs: Sequence[tuple[str, str, str, Sequence[Speculation]]] = (
        (
            "threshold (waste without limit)",
            BLUE,
            "o",
            [Speculation(threshold=value, waste=UNLIMITED) for value in THRESHOLDS],
        ),
        ("waste (threshold 0.2)", RED, "s", [Speculation(waste=value) for value in WASTES]),
    )
    for axes, (case, label) in zip(
        panels, ((RSTAR, "RSTAR-10"), (slow, "REBASE-16, reward 3 s")), strict=True
    ):
        for name, color, marker, settings in knobs:
            rows = [measured(replace(case, speculation=setting)) for setting in settings]
            wasted, gained = [row.waste_ratio for row in rows], [row.speedup for row in rows]
            axes.plot(wasted, gained, color=color, marker=marker, label=name)
            noted: set[tuple[float, float]] = set()
            for setting, x, y in zip(settings, wasted, gained, strict=True):
                if (round(x, 2), round(y, 1)) in noted:
                    continue
                noted.add((round(x, 2), round(y, 1)))
                value = setting.threshold if marker == "o" else setting.waste
                place = (6, -11) if marker == "o" else (-12, 6)
                note = f"{value:g}"
                axes.annotate(
                    note, (x, y), xytext=place, textcoords="offset points", size=7, color=color
                )
        limit = rows[0].off_s / rows[0].oracle_s
        axes.axhline(limit, color=ORANGE, ls="--", label="perfect foresight")
        axes.set(xlabel="wasted per useful token", title=label)
        axes.set_xlim(left=0)
        axes.margins(y=0.12)
    panels[0].set_ylabel("speed-up")
    panels[1].legend(frameon=False, loc="lower right")
    figure.suptitle("Waste against speed-up, one query")
    return figure


def with_draft_tokens() -> Figure:
    """The product with token-level speculative decoding."""
    figure, panels = plot(2)
    for axes, (case, label, color, marker) in zip(panels, LINES, strict=True):
        rows = [measured(replace(case, acceptance_length=length)) for length in ACCEPTANCE]
        plain = rows[0].off_s
        both = [plain / row.on_s for row in rows]
        axes.plot(ACCEPTANCE, both, label="both", color=color, marker=marker)
        alone = [plain / row.off_s for row in rows]
        axes.plot(ACCEPTANCE, alone, label="token-level alone", color=GREY)
        axes.axhline(rows[0].speedup, color=color, ls=":", label="thought-level alone")
        axes.set(xlabel="tokens accepted a step", xticks=ACCEPTANCE, title=label)
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False)
    panels[0].set_ylabel("speed-up")
    figure.suptitle("With token-level speculative decoding, one query")
    return figure


def measured_scaling() -> list[ScalingRow]:
    """What `spex bench scaling` measures."""
    return list(
        scale(
            [replace(case, seeds=4) for case in (RSTAR, REBASE)],
            workers=WORKERS,
            routings=("prefix", "least-load"),
            queries=8,
            progress=lambda row: print(row.policy, row.routing, row.workers, file=sys.stderr),
        )
    )


def scaling() -> Figure:
    """One to 64 servers, each with eight searches: seconds of a search."""
    rows = measured_scaling()
    figure, panels = plot(2, width=8.6)
    for axes, (case, label, color, marker) in zip(panels, LINES, strict=True):
        for routing, style in (("prefix", "-"), ("least-load", ":")):
            own = [
                row
                for row in rows
                if row.routing == routing and row.policy.startswith(f"{case.name}-")
            ]
            at = [row.workers for row in own]
            off, on = [row.off_s for row in own], [row.on_s for row in own]
            axes.plot(at, off, color=GREY, ls=style, marker=marker, label=f"off, {routing}")
            axes.plot(at, on, color=color, ls=style, marker=marker, label=f"on, {routing}")
        axes.set_xscale("log", base=2)
        axes.set_xticks(WORKERS, [str(workers) for workers in WORKERS])
        axes.set(xlabel="workers, 8 searches each", title=label)
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False)
    panels[0].set_ylabel("seconds of a search (mean)")
    figure.suptitle("Routing by prefix keeps the speed of one worker")
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
    policies,
    by_queries,
    by_reward_latency,
    by_width,
    ablation,
    frontier,
    with_draft_tokens,
    scaling,
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
