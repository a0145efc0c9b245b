"""What a release promises: its version, its changelog, and names that do not vanish in silence.

`python tests/test_release.py > tests/data/public_api.json` writes down the names of a release.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import spex_agents

ROOT = Path(__file__).parents[1]
LAST = Path(__file__).parent / "data" / "public_api.json"


def public_api() -> dict[str, list[str]]:
    """Every public name of the package, and the parameters of what can be called."""
    found = {}
    for name in sorted(spex_agents.__all__):
        public = getattr(spex_agents, name)
        parameters = inspect.signature(public).parameters if callable(public) else {}
        found[name] = [each for each in parameters if not each.startswith("_")]
    return found


def newest(changelog: str) -> tuple[str, str]:
    """The newest version, and its section."""
    _, version, section = re.split(r"^## \[(.+?)\]", changelog, maxsplit=2, flags=re.M)[:3]
    return version, section


def imported(source: str) -> Iterator[str]:
    """The packages that a module imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (each.name.partition(".")[0] for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def test_what_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    lines = [*project["dependencies"], *chain.from_iterable(extras)]
    lines += ["pydantic-core", "reasoning-gym"]  # pydantic's own; of problem sets, which say so
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    known = packages_distributions()
    undeclared = {}
    for file in sorted((ROOT / "spex_agents").rglob("*.py")):
        for name in set(imported(file.read_text(encoding="utf-8"))) - {"spex_agents"}:
            given_by = {canonicalize_name(each) for each in known.get(name, [])}
            if name not in sys.stdlib_module_names and given_by and not given_by & declared:
                undeclared[name] = str(file.relative_to(ROOT))
    assert undeclared == {}


def test_the_newest_changes_are_those_of_the_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    version, _ = newest((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    assert version == project["version"]


def test_what_the_last_release_had_is_there_or_told_as_changed() -> None:
    last, now = json.loads(LAST.read_text(encoding="utf-8")), public_api()
    _, section = newest((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    told = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", section))))
    gone = set(last) - set(now)
    for name in set(last) & set(now):
        gone |= {parameter for parameter in last[name] if parameter not in now[name]}
    assert gone - told == set()


if __name__ == "__main__":
    print(json.dumps(public_api(), indent=1))
