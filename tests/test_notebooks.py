"""The notebooks run in a real kernel, from first cell to last, and print what is kept in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook
from printed import ROOT

from examples.agents.models import PROVIDERS

FOLDER = ROOT / "examples" / "notebooks"
NAMES = ("better_agent", "compare_policies", "watch_a_search")

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def kernel_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in PROVIDERS:
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def read(file: Path) -> Any:
    return nbformat.read(file, as_version=4)  # type: ignore[no-untyped-call]


def executed(notebook: Any) -> Any:
    """The notebook as Jupyter leaves it, begun in the notebooks' folder."""
    resources = {"metadata": {"path": str(FOLDER)}}
    client = NotebookClient(
        notebook, kernel_name="python3", resources=resources, startup_timeout=300
    )
    return client.execute()


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def text_of(cell: Any) -> str:
    """What a cell has printed and returned, as text."""
    parts = [output.get("text") or output.data.get("text/plain", "") for output in cell.outputs]
    return "".join(parts)


def kinds_of(cell: Any) -> set[str]:
    """The media types of what a cell shows."""
    return {kind for output in cell.outputs for kind in output.get("data", {"text/plain": ""})}


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_prints_what_is_kept_in_it(name: str) -> None:
    file = FOLDER / f"{name}.ipynb"
    kept, new = code_cells(read(file)), code_cells(executed(read(file)))
    for before, after in zip(kept, new, strict=True):
        if "varies" in before.metadata.get("tags", ()):
            assert kinds_of(after) == kinds_of(before), before.source
            assert bool(text_of(after)) == bool(text_of(before)), before.source
        else:
            assert text_of(after) == text_of(before), before.source


def test_every_notebook_is_run_here_and_keeps_what_it_printed() -> None:
    files = sorted(FOLDER.glob("*.ipynb"))
    assert {file.stem for file in files} == set(NAMES)
    for file in files:
        cells = code_cells(read(file))
        assert sum(bool(cell.outputs) for cell in cells) >= 3
        shown = [output for cell in cells for output in cell.outputs]
        assert {output.output_type for output in shown} <= {
            "stream",
            "display_data",
            "execute_result",
        }
        assert not [output for output in shown if output.get("name") == "stderr"]


def test_a_result_shows_itself_and_both_ways_of_waiting_work_in_a_kernel() -> None:
    cells = [
        "from spex_agents import Rebase, SearchConfig, create_tot_graph, solve\n"
        "from spex_agents.engines import SimulatedEngine\n"
        "from spex_agents.rewards import SimulatedReward\n"
        "reward = SimulatedReward(latency=0)\n"
        "config = SearchConfig(\n"
        "    engine=SimulatedEngine(speed=1000), policy=Rebase(width=4), reward=reward\n"
        ")\n"
        "result = await solve(config, 'What is 5 + 7?')\n"
        "result",
        "graph = create_tot_graph(\n"
        "    SimulatedEngine(speed=1000), policy=Rebase(width=4), reward=reward\n"
        ").compile()\n"
        "asked = {'question': 'What is 5 + 7?'}\n"
        "graph.invoke(asked)['answer'], (await graph.ainvoke(asked))['answer'], result.answer",
    ]
    result, answers = code_cells(executed(new_notebook(cells=list(map(new_code_cell, cells)))))  # type: ignore[no-untyped-call]
    (shown,) = result.outputs
    assert shown.data["text/html"].startswith("<iframe srcdoc=")
    assert "What is 5 + 7?" in shown.data["text/html"]
    assert text_of(answers) == "('12', '12', '12')"
