"""``spex doctor --engine``: what a server can do, tried on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest
from scripted_server import Answer, scripted_server
from typer.testing import CliRunner

from spex_agents.cli import app
from spex_agents.engines.openai.engine import OpenAIEngine
from spex_agents.engines.openai.examination import examine_server
from spex_agents.server.launch.doctor import Check

RUN = CliRunner()


async def test_a_server_is_tried_feature_by_feature() -> None:
    async with scripted_server() as server, OpenAIEngine(server.url, dialect="any") as engine:
        server.script.append(Answer(tokens=("A", " river", " flows", ".")))
        server.script.append(Answer(tokens=("5", "\n", "6")))  # asked whether it continues
        server.script.append(Answer(tokens=("5", "\n", "6")))
        server.script.extend(Answer(tokens=(text,)) for text in ("one", "one", "two"))
        server.script.append(Answer(tokens=("5", "\n", "6", "\n7")))
        server.script.append(Answer(tokens=("A", " river")))
        server.script.append(Answer(tokens=("Yes",), top={"Yes": -0.1}))
        found = {one.feature: one for one in await examine_server(engine)}
    assert found["server"].found == "any, model tiny"
    assert found["partial replies"].ok
    assert found["seeds"].ok
    assert found["stop strings"].found.startswith("applied here")
    assert found["log-probabilities"].found == "2 for 2 tokens"
    assert "Yes 0.90, No 0.00" in found["labels"].found
    assert not found["top_k"].ok
    assert found["limits"].found == "none told"


async def test_what_a_server_cannot_do_is_told_with_a_remedy() -> None:
    async with scripted_server() as server, OpenAIEngine(server.url, dialect="any") as engine:
        server.default = Answer(logprobs=False)
        found = {one.feature: one for one in await examine_server(engine)}
    assert "each step is asked for" in found["partial replies"].found
    assert "every seed gave the same thought" in found["seeds"].found
    assert "does not read" in found["log-probabilities"].remedy
    assert "does not read" in found["labels"].remedy


async def run(*arguments: str) -> Any:
    return await anyio.to_thread.run_sync(lambda: RUN.invoke(app, list(arguments)))


async def test_the_command_prints_a_table_or_json() -> None:
    async with scripted_server() as server:
        server.models = [("tiny", "somebody")]
        shown = await run("doctor", "--engine", server.url)
        assert shown.exit_code == 0
        assert "partial replies" in shown.stdout
        told = await run("doctor", "--engine", server.url, "--dialect", "vllm", "--json")
    rows = {row["feature"]: row for row in json.loads(told.stdout)}
    assert rows["server"]["found"] == "vllm, model tiny"


async def test_what_a_server_refuses_is_said_once() -> None:
    async with scripted_server() as server:
        server.models = [("tiny", "somebody")]
        server.script.append(Answer(status=400, said="unknown parameter: seed"))
        server.default = Answer(logprobs=False)
        shown = await run("doctor", "--engine", server.url)
    assert shown.exit_code == 0
    assert shown.stderr == ""
    said = " ".join(shown.stdout.split())
    assert said.count("in distribution only") == 1
    assert said.count("none sent") == 1


def test_a_remedy_of_several_faults_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = [
        Check(name=name, ok=False, found="not here", remedy="pip install it")
        for name in ("sglang", "torch")
    ]
    monkeypatch.setattr("spex_agents.server.launch.doctor.examine", lambda **_: missing)
    shown = RUN.invoke(app, ["doctor"])
    assert shown.exit_code == 1
    assert shown.stdout.count("not here") == 2
    assert shown.stdout.count("pip install it") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--dialect", "vlm"), "--dialect vlm: must be one of"),
        (("--extra-body", "{"), "--extra-body '{': must be a JSON object"),
        (("--extra-body", "3"), "--extra-body 3: must be a JSON object"),
        (("--priorities", "high"), "--priorities high: must be two whole numbers"),
        (("--thinking", "no"), "--thinking no: must be one of auto, off, keep"),
        (("--special-tokens", "no"), "--special-tokens no: must be one of"),
        (("--template", "jinja"), "--template jinja: must be one of chatml"),
    ],
)
@pytest.mark.parametrize(
    "command",
    [
        ("doctor",),
        ("solve", "2 + 2?"),
        ("compare", "--problems", "weekday-sums"),
        ("trace", "record", "2 + 2?", "--out", "t.jsonl"),
        ("bench", "real", "2 + 2?"),
        ("gateway",),
    ],
    ids=lambda command: command[0],
)
def test_an_option_that_cannot_be_read_is_one_line(
    command: tuple[str, ...], arguments: tuple[str, ...], said: str
) -> None:
    result = RUN.invoke(app, [*command, "--engine", "http://127.0.0.1:9/v1", *arguments])
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("solve", "2 + 2?", "--json"),
        ("compare", "--problems", "weekday-sums", "--limit", "1", "--rows", "rows.jsonl"),
        ("trace", "record", "2 + 2?", "--out", "trace.jsonl"),
        ("bench", "real", "2 + 2?", "--pairs", "1", "--json"),
    ],
    ids=lambda command: command[0],
)
async def test_options_of_a_server_reach_it(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with scripted_server() as server:
        server.default = Answer(tokens=("The answer is \\boxed{4}.",))
        result = await run(
            *(*command, "--engine", server.url, "--model", "tiny"),
            *("--dialect", "vllm", "--extra-body", '{"cache_salt": "a"}', "--priorities", "0,1"),
            *("--thinking", "keep", "--template", "chatml", "--policy", "best-of-n"),
            *("--width", "2"),
        )
    assert result.exit_code == 0, result.stderr
    assert server.bodies
    if command[0] == "compare":
        kept = json.loads((tmp_path / "rows.jsonl").read_text().splitlines()[0])
        assert "'thinking': 'keep'" in kept["settings"]["server"]
    for body in server.bodies:
        assert body["cache_salt"] == "a"
        assert body["priority"] in (0, 1)
        assert body["prompt"].startswith("<|im_start|>")
        assert "chat_template_kwargs" not in body
