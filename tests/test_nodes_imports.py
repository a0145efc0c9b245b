"""What is loaded when: names arrive when asked for, and a search needs no LangGraph."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

import spex_agents
from spex_agents.engines.simulated.engine import SimulatedEngine

EXAMPLES = Path(__file__).parents[1] / "examples"

BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "langgraph":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Block())
"""


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_public_name_is_there() -> None:
    for name in spex_agents.__all__:
        assert getattr(spex_agents, name).__name__ == name
        assert name in dir(spex_agents)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        spex_agents.Nothing  # noqa: B018


def test_the_package_itself_loads_in_no_time() -> None:
    code = """
import time
began = time.process_time()
import spex_agents
print(time.process_time() - began)
import sys
assert not {"langgraph", "langchain_core", "openai", "anyio", "asyncio"} & set(sys.modules)
"""
    assert float(run_python(code)) < 0.05


@pytest.mark.parametrize(
    "name",
    [
        "search",
        "rewards",
        "engines.base",
        "engines.simulated",
        "engines.openai",
        "engines.embedded",
        "speculation.solving",
    ],
)
def test_a_search_needs_no_langgraph(name: str) -> None:
    run_python(f"{BLOCK}\nimport spex_agents.{name}")


def test_the_command_line_needs_no_packages_of_the_server() -> None:
    optional = ("alembic", "fastapi", "langchain", "pydantic_settings", "sqlalchemy", "uvicorn")
    block = BLOCK.replace('== "langgraph"', f"in {optional}")
    run_python(f"{block}\nfrom spex_agents.cli import app, run\nimport spex_agents.cli.showcase")


def test_without_langgraph_the_nodes_say_what_is_missing() -> None:
    run_python(
        f"{BLOCK}\nimport spex_agents\ntry:\n    spex_agents.create_tot_graph\n"
        "except ModuleNotFoundError as error:\n    assert error.name.startswith('langgraph')\n"
        "else:\n    raise SystemExit('imported')"
    )


# The example with a policy and a reward of one's own


def test_the_example_is_short() -> None:
    code = (EXAMPLES / "own_policy.py").read_text().split('"""')[2].splitlines()
    assert len([line for line in code if line and "import" not in line]) <= 20


def test_the_example_runs_with_any_engine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(spex_agents, "EmbeddedEngine", partial(SimulatedEngine, speed=100), False)
    written = (EXAMPLES / "own_policy.py").read_text()
    quick = written.replace("asyncio.sleep(1)", "asyncio.sleep(0.02)")
    assert quick != written
    exec(compile(quick, "own_policy.py", "exec"), {"__name__": "__main__"})  # noqa: S102
    assert capsys.readouterr().out.endswith("hits\n")


@pytest.mark.model
@pytest.mark.slow
def test_the_example_runs_as_it_is() -> None:
    answer, hits, _ = run_python((EXAMPLES / "own_policy.py").read_text()).split()
    assert answer == "7"
    assert int(hits) > 0
