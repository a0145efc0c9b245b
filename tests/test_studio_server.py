"""LangGraph's own server on ``langgraph.json``: it lists the graphs, runs them and streams them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_sync_client

ROOT = Path(__file__).parents[1]
OWN = ROOT / ".venv-studio" / "bin" / "langgraph"
PROGRAM = str(OWN) if OWN.exists() else shutil.which("langgraph")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="no langgraph-cli: make test-studio"),
]

GRAPHS = {"tot", "chat", "math_tutor"}
QUESTION = "What is 5 + 7?"
SECONDS = 300
ENVIRONMENT = {"SPEX_ENGINE": "simulated", "LANGSMITH_TRACING": "false", "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def address(free_tcp_port_factory: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of the server, which keeps its files in a directory of the test's."""
    assert PROGRAM is not None
    port, place = free_tcp_port_factory(), tmp_path_factory.mktemp("studio")
    graphs = json.loads((ROOT / "langgraph.json").read_text())["graphs"]
    absolute = {name: str(ROOT / where.removeprefix("./")) for name, where in graphs.items()}
    config = {"dependencies": [str(ROOT)], "graphs": absolute}
    (place / "langgraph.json").write_text(json.dumps(config))
    with (place / "log").open("wb") as log:
        server = subprocess.Popen(
            [PROGRAM, "dev", "--no-browser", "--no-reload", "--port", str(port)],
            cwd=place,
            env={**os.environ, **ENVIRONMENT},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + SECONDS
        while not _answers(address):
            assert server.poll() is None, (place / "log").read_text()
            assert time.monotonic() < until, (place / "log").read_text()
            time.sleep(0.2)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/ok").is_success
    except httpx.TransportError:
        return False


@pytest.fixture
def client(address: str) -> Iterator[Any]:
    with get_sync_client(url=address, timeout=SECONDS) as client:
        yield client


def test_it_lists_the_graphs_with_their_schemas(client: Any) -> None:
    found = {one["graph_id"]: one["assistant_id"] for one in client.assistants.search()}
    assert found.keys() == GRAPHS
    for name in GRAPHS:
        schemas = client.assistants.get_schemas(found[name])
        assert schemas["input_schema"]["properties"], name
        assert schemas["output_schema"]["properties"], name
        assert schemas["state_schema"]["properties"], name
    for name in ("tot", "chat"):
        context = client.assistants.get_schemas(found[name])["context_schema"]["properties"]
        assert context["policy"]["title"] == "Policy"
        assert context["tokens"]["title"] == "Budget of tokens"
    chat = client.assistants.get_schemas(found["chat"])
    assert "messages" in chat["input_schema"]["properties"]
    assert "messages" in chat["output_schema"]["properties"]


def test_it_runs_a_graph_as_its_context_says(client: Any) -> None:
    context = {"policy": "best-of-n", "width": 2}
    result = client.runs.wait(None, "tot", input={"question": QUESTION}, context=context)
    assert len(result["thoughts"]) == 2
    assert result["answer"] is not None


def test_an_assistant_has_settings_of_its_own(client: Any) -> None:
    mine = client.assistants.create("tot", context={"policy": "best-of-n", "width": 3})
    result = client.runs.wait(None, mine["assistant_id"], input={"question": QUESTION})
    assert len(result["thoughts"]) == 3


def test_it_streams_a_conversation(client: Any) -> None:
    thread = client.threads.create()["thread_id"]
    asked = {"messages": [{"role": "user", "content": QUESTION}]}
    parts = list(
        client.runs.stream(
            thread,
            "chat",
            input=asked,
            context={"policy": "rebase", "width": 2},
            stream_mode=["messages-tuple", "custom"],
        )
    )
    said = "".join(part.data[0]["content"] for part in parts if part.event == "messages")
    state = client.threads.get_state(thread)
    assert state["values"]["messages"][-1]["content"] == said
    events = [part.data for part in parts if part.event == "custom"]
    assert {event["type"] for event in events} == {"thought", "ledger"}
    assert len({event["search"] for event in events}) == 1
