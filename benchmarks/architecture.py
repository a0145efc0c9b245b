"""The picture of the wings, drawn from the imports: ``python -m benchmarks.architecture FILE.svg``.

Arrows say who imports whom; one that others already imply is left out. Needs matplotlib
(``pip install -e '.[bench]'``).
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

import spex_agents

HOUSE = Path(spex_agents.__file__).parent

Box = tuple[float, float, float, str]
"""Left end, row (0 is the top), width, and what lives there."""

WINGS: Mapping[str, Box] = {
    "bench": (0, 0, 3.2, "what it is worth, measured"),
    "cli": (3.6, 0, 2.8, "the command spex"),
    "gateway": (6.8, 0, 3.2, "searches over HTTP"),
    "nodes": (2.4, 1, 7.6, "graphs, nodes, tools, middleware"),
    "speculation": (
        2.4,
        2,
        7.6,
        "session: demands and commits  >  foresight: what will be demanded  >\n"
        "running: what has been begun  >  slots: how much may run  |  reporting",
    ),
    "problems": (0, 2, 2.0, "to solve, with graders"),
    "sandbox": (0, 3, 2.0, "programs, walled in"),
    "view": (8.3, 3, 1.7, "a run to look at"),
    "rewards": (2.4, 3, 5.6, "base  |  asking a model  |  checking  |  combining"),
    "engines": (
        3.6,
        4,
        6.4,
        "base, prompts, calls  |  embedded  |  openai  |  sglang  |  simulated",
    ),
    "answers": (0, 5, 3.2, "find, compare, count, settle"),
    "search": (3.6, 5, 6.4, "tree, policy, action, limits  |  policies: one a file"),
}


def arrows() -> list[tuple[str, str]]:
    """Which wing imports which, without what follows from the others."""
    direct: dict[str, set[str]] = {name: set() for name in WINGS}
    for file in HOUSE.rglob("*.py"):
        parts = file.relative_to(HOUSE).parts
        name = parts[1] if parts[0] == "server" and len(parts) > 2 else parts[0]
        if name in direct:
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("spex_"):
                    below = str(node.module).split(".")[1:2]
                    direct[name].update(set(below) & direct.keys() - {name})

    def reaches(start: str, goal: str) -> bool:
        return goal in direct[start] or any(reaches(below, goal) for below in direct[start])

    return [
        (name, below)
        for name in direct
        for below in sorted(direct[name])
        if not any(reaches(other, below) for other in direct[name] - {below})
    ]


def _ends(above: Box, below: Box) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where an arrow begins and ends: straight where the boxes lie above or beside each other."""
    left, right = max(above[0], below[0]), min(above[0] + above[2], below[0] + below[2])
    if above[1] == below[1]:
        height = 0.31 - above[1]
        if above[0] > below[0]:
            return (above[0] - 0.02, height), (below[0] + below[2] + 0.02, height)
        return (above[0] + above[2] + 0.02, height), (below[0] - 0.02, height)
    begin = end = (left + right) / 2
    if left > right:
        begin, end = (
            (above[0] + 0.3, right - 0.3) if above[0] > below[0] else (right - 0.2, left + 0.3)
        )
    return (begin, -above[1] - 0.03), (end, -below[1] + 0.66)


def draw(file: Path) -> None:
    """Write the picture."""
    mpl.rcParams["svg.hashsalt"] = "architecture"
    figure, axes = plt.subplots(figsize=(9, 6.2))
    for name, (left, row, width, what) in WINGS.items():
        axes.add_patch(
            FancyBboxPatch(
                (left, -row),
                width,
                0.62,
                boxstyle="round,pad=0.02",
                facecolor="#eef3fa",
                edgecolor="#33557f",
            )
        )
        middle = left + width / 2
        lines = what.count("\n") + 1
        axes.text(middle, -row + 0.47, name, ha="center", va="center", weight="bold", fontsize=9)
        axes.text(middle, -row + 0.31 - 0.07 * lines, what, ha="center", va="center", fontsize=7)
    for name, below in arrows():
        start, end = _ends(WINGS[name], WINGS[below])
        axes.add_patch(
            FancyArrowPatch(
                start, end, arrowstyle="-|>", mutation_scale=9, color="#33557f", linewidth=0.9
            )
        )
    axes.set_xlim(-0.2, 10.2)
    axes.set_ylim(-5.2, 0.8)
    axes.axis("off")
    figure.savefig(file, bbox_inches="tight", metadata={"Date": None})


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
