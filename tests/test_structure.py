"""The house: which way imports point, how long its files are, and what its doors show."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import spex_agents

HOUSE = Path(spex_agents.__file__).parent
FILES = sorted(HOUSE.rglob("*.py"))

ORDER = (
    "answers",
    "search",
    "engines",
    "rewards",
    "view",
    "speculation",
    "sandbox",
    "problems",
    "nodes",
    "bench",
    "cli",
)
"""The wings, each of which knows those before it; `server` stands beside, for other processes."""


def module_of(file: Path) -> str:
    parts = file.relative_to(HOUSE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports() -> Mapping[str, frozenset[str]]:
    """What each module imports from here, wherever in its file."""
    known = {module_of(file) for file in FILES}

    def found(file: Path) -> Iterator[str]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("spex_agents"):
                for alias in node.names:
                    below = f"{node.module}.{alias.name}"
                    yield below if below in known else str(node.module)

    return {module_of(file): frozenset(found(file)) for file in FILES if file.name != "__init__.py"}


def room(module: str) -> str:
    """A package without packages is one room; the files beside packages are rooms of their own."""
    place = HOUSE.parent.joinpath(*module.split("."))
    if place.is_dir():
        return module
    beside = any((below / "__init__.py").exists() for below in place.parent.iterdir())
    return module if beside else module.rpartition(".")[0]


def wing(module: str) -> str:
    return module.split(".")[1] if module.count(".") else ""


def test_no_two_files_import_each_other() -> None:
    tuple(TopologicalSorter(imports()).static_order())  # which raises at a cycle


def test_imports_point_one_way_within_a_wing() -> None:
    rooms: dict[str, set[str]] = {}
    for module, below in imports().items():
        rooms.setdefault(room(module), set()).update(map(room, below))
    tuple(TopologicalSorter({name: known - {name} for name, known in rooms.items()}).static_order())


@pytest.mark.parametrize("name", ORDER)
def test_a_wing_knows_only_those_below_it(name: str) -> None:
    known = {
        wing(below)
        for module, found in imports().items()
        if wing(module) == name
        for below in found
    }
    assert known & set(ORDER) <= set(ORDER[: ORDER.index(name) + 1])


def test_a_search_knows_nothing_of_servers_and_graphs() -> None:
    for name in ORDER[: ORDER.index("nodes")]:
        for module, found in imports().items():
            if wing(module) == name:
                assert not {"server", "nodes", "cli"} & set(map(wing, found)), module


def test_a_module_can_be_read_in_one_sitting() -> None:
    lines = {module_of(file): file.read_text(encoding="utf-8").count("\n") for file in FILES}
    assert {module: count for module, count in lines.items() if count > 300} == {}


def packages() -> Iterator[str]:
    yield "spex_agents"
    for module in pkgutil.walk_packages(spex_agents.__path__, "spex_agents."):
        if module.ispkg and ".cpu.kernel" not in module.name:  # SGLang's, in its own processes
            yield module.name


@pytest.mark.parametrize("name", list(packages()))
def test_a_package_says_what_lives_there_and_has_what_it_names(name: str) -> None:
    package = importlib.import_module(name)
    assert (package.__doc__ or "").strip().endswith((".", "?"))
    names: list[str] = getattr(package, "__all__", [])
    assert len(set(names)) == len(names)
    for each in names:
        assert getattr(package, each) is not None
        assert each in dir(package)


def test_the_top_level_is_short() -> None:
    assert 20 <= len(spex_agents.__all__) <= 30
