"""The examples in the docstrings run, and give what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from contextvars import Context

import pytest

import spex_agents

# These need a server's packages, or load the language model.
OPTIONAL = ("spex_agents.server",)
MODEL = ("spex_agents.engines.embedded.engine",)


def modules() -> list[str]:
    found = pkgutil.walk_packages(spex_agents.__path__, "spex_agents.")
    return ["spex_agents", *(module.name for module in found)]


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.model if name in MODEL else ()) for name in modules()],
)
def test_examples_run(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if name.startswith(OPTIONAL):
            pytest.skip(f"needs {missing.name}")
        raise
    # In a context of its own: anyio.run in an example would take the test runner for its own.
    results = Context().run(doctest.testmod, module, optionflags=doctest.ELLIPSIS)
    assert results.failed == 0, f"{results.failed} of {results.attempted} examples failed"
