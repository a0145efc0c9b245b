"""The oldest versions that ``pyproject.toml`` allows, as requirements: ``make test-oldest``."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

NEWER = ("anyio",)
"""The tests need more of these than the package does."""


def oldest(extras: list[str]) -> Iterator[str]:
    """Requirements of the package, and of some of its extras, each at its lower bound."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    asked = list(project["dependencies"])
    for extra in extras:
        asked += project["optional-dependencies"][extra]
    for requirement in map(Requirement, asked):
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        bounds = [one.version for one in requirement.specifier if one.operator == ">="]
        free = requirement.name in NEWER
        yield requirement.name if free else f"{requirement.name}=={bounds[0]}"


if __name__ == "__main__":
    print(*oldest(sys.argv[1:]))
