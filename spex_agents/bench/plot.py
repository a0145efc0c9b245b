"""The figure of `spex compare`: right answers against seconds, off and on joined by an arrow."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from spex_agents.bench.tally import Line
from spex_agents.errors import SettingsError

FORMATS = ("svg", "png", "pdf")
# Okabe and Ito's, which colour-blind readers can tell apart.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000", "#999999")
MARKERS = "osD^vP*X<"  # one more than colors: 72 pairs before one comes again


def check_figure(file: Path) -> None:
    """Fail before anything is measured where the figure could not be drawn.

    Raises:
        SettingsError: matplotlib is missing, or the format is unknown.
    """
    if file.suffix.lstrip(".") not in FORMATS:
        raise SettingsError(f"figure={str(file)!r}: must end in one of .{', .'.join(FORMATS)}")
    if find_spec("matplotlib") is None:
        raise SettingsError(
            f"figure={str(file)!r}: needs matplotlib: pip install 'spex-agents[bench]'"
        )


def draw(lines: Sequence[Line], title: str, file: Path) -> None:
    """Draw the lines of a comparison, the same picture each time."""
    import matplotlib as mpl  # noqa: PLC0415 (optional)
    from matplotlib.figure import Figure  # noqa: PLC0415 (as above)
    from matplotlib.ticker import LogLocator  # noqa: PLC0415 (as above)

    with mpl.rc_context({"svg.hashsalt": "spex", "font.size": 10}):
        figure = Figure(figsize=(8.0, 4.6), layout="constrained")
        axes = figure.add_subplot()
        for index, line in enumerate(line for line in lines if line.problems):
            color, marker = COLORS[index % len(COLORS)], MARKERS[index % len(MARKERS)]
            height = 100 * line.share
            at = line.off_s if line.on_s is None else line.on_s
            error = [[height - 100 * line.low], [100 * line.high - height]]
            axes.errorbar(at, height, error, color=color, elinewidth=0.8, alpha=0.35, capsize=3)
            axes.plot(at, height, marker, color=color, label=line.method, ls="none")
            if line.on_s is not None:
                axes.plot(line.off_s, height, marker, color=color, mfc="white", ls="none")
                axes.annotate(
                    "",
                    (line.on_s, height),
                    (line.off_s, height),
                    arrowprops={"arrowstyle": "->", "color": color, "shrinkA": 4, "shrinkB": 4},
                )
        axes.set(xlabel="seconds a problem: hollow without speculation, filled with it")
        axes.set(ylabel="right answers, % (95 % interval)", title=title, xscale="log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
        axes.set_ylim(0, 100)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.3)
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
        metadata = {"Date": None} if file.suffix == ".svg" else None
        figure.savefig(file, metadata=metadata, dpi=110)
