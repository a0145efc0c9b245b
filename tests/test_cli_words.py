"""Errors of the command line: what was typed, what is allowed, what to do, as one types it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import anyio
import pytest
from scripted_server import Answer, scripted_server
from typer.testing import CliRunner

from spex_agents.cli import app

COMMANDS = [
    ("doctor",),
    ("solve", "2 + 2?"),
    ("compare", "--problems", "weekday-sums", "--limit", "1"),
    ("trace", "record", "2 + 2?", "--out", "trace.jsonl"),
    ("bench", "real", "2 + 2?", "--pairs", "1"),
]
NAMES = [command[0] for command in COMMANDS]
OF_PYTHON = re.compile(r"\b(?!in Python)[a-z_]+=")


async def run(*arguments: str) -> Any:
    return await anyio.to_thread.run_sync(lambda: CliRunner().invoke(app, list(arguments)))


async def failed(*arguments: str, exit_code: int = 3) -> str:
    result = await run(*arguments)
    assert result.exit_code == exit_code, result.output
    (line,) = (one for one in result.stderr.splitlines() if one.startswith("error: "))
    assert not OF_PYTHON.search(line), line
    return str(line)


@pytest.mark.parametrize("command", COMMANDS, ids=NAMES)
async def test_a_refused_key_names_the_option_and_the_variable(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with scripted_server() as server:
        server.models = [("tiny", "vllm")]
        server.default = Answer(status=401, said="bad key")
        said = await failed(*command, "--engine", server.url)
    assert "bad key" in said
    assert "--api-key (or SPEX_API_KEY)" in said


@pytest.mark.parametrize("command", COMMANDS, ids=NAMES)
async def test_one_of_several_models_is_chosen_by_the_option(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with scripted_server() as server:
        server.models = [("tiny", "vllm"), ("large", "vllm")]
        said = await failed(*command, "--engine", server.url)
    assert "(tiny, large): pass one as --model" in said


@pytest.mark.parametrize("command", COMMANDS, ids=NAMES)
async def test_a_wrong_address_is_the_engine_s(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with scripted_server() as server:
        server.models = [("tiny", "vllm")]
        server.default = Answer(status=404, said="no such page")
        said = await failed(*command, "--engine", server.url)
    assert "--engine must end where the protocol begins" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("solve", "x", "--engine", "127.0.0.1:9"), "--engine 127.0.0.1:9: a server's address"),
        (("solve", "x", "--engine", "no:such"), "--engine no:such: cannot import 'no'"),
        (
            ("solve", "x", "--engine", "no:such-model"),
            "a chat model is named provider:model",
        ),
        (("solve", "x", "--engine", "http://"), "--engine http://: must be a server's address"),
        (("solve", "x", "--policy", "bset"), "--policy bset: must be one of rebase"),
        (("compare", "--problems", "none"), "--problems none: must be one of weekday-sums"),
        (("gateway", "--engine", "gpu"), "--engine gpu: must be embedded"),
        (("serve",), "--policy: give a model to serve"),
        (("bench", "real", "x", "--threshold", "2"), "--threshold 2.0: must lie in (0, 1]"),
        (
            ("solve", "x", "--engine", "simulated", "--policy", "lats", "--also", "a=simulated"),
            "policy Lats asks one model, not a as well",
        ),
    ],
)
async def test_what_was_typed_is_told_as_it_was_typed(
    arguments: tuple[str, ...], said: str
) -> None:
    assert said in await failed(*arguments, exit_code=2)
