"""What a page prints for its reader to run: found, and run as a reader would."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
from processes import eventually

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").rglob("*.md"))
QUICKSTARTS = sorted((ROOT / "docs" / "quickstart").glob("[!R]*.md"))

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEALTH = ("readyz", "healthz", "health")
_END = "\0"
_SESSION = f"""
import json, sys
names = {{"__name__": "__main__"}}
for line in sys.stdin:
    exec(compile(json.loads(line), "page", "exec"), names)
    print({_END!r}, flush=True)
"""


class Block(NamedTuple):
    language: str
    text: str


def blocks(page: Path, language: str | None = None) -> list[Block]:
    """The fenced blocks of a page, in its order; those of one language if that is given."""
    found = [Block(*block) for block in _BLOCK.findall(page.read_text(encoding="utf-8"))]
    return [block for block in found if language in (None, block.language)]


def without_blocks(page: Path) -> str:
    """The text of a page."""
    return _BLOCK.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> list[str]:
    """What links to the headings of a page end with, in its order."""
    headings = re.findall(r"^#+ (.+)$", without_blocks(page), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings]
    before = [plain[:index].count(anchor) for index, anchor in enumerate(plain)]
    return [f"{one}-{times}" if times else one for one, times in zip(plain, before, strict=True)]


def commands(text: str) -> list[str]:
    """The commands of a block: from ``$`` on, to the end of quotes and continued lines."""
    found: list[str] = []
    open_ = False
    for line in text.splitlines():
        if open_:
            found[-1] += "\n" + line
        elif line.startswith("$ "):
            found.append(line[2:])
        else:
            continue
        open_ = _goes_on(found[-1])
    return found


def _goes_on(command: str) -> bool:
    try:
        shlex.split(command, comments=True)
    except ValueError:
        return True
    return command.endswith("\\")


def with_scripts(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment where the commands of this one's packages are found first."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, **environment}


def run_page(page: Path, directory: Path, environment: Mapping[str, str]) -> None:
    """Run a page from its first block to its last, as its reader would in a clone.

    Its console commands run in one shell's environment, its Python in one process. A command that
    ends with ``&`` is a server: it must answer before the next runs, and ends with the page. Ports
    are replaced by free ones.

    Args:
        page: A Markdown file.
        directory: An empty one: the page's files are written there, beside the clone's own.
        environment: Beside this process's own.
    """
    for entry in ROOT.iterdir():
        if entry.name not in (".git", "build"):
            (directory / entry.name).symlink_to(entry)
    found = blocks(page)
    printed = "".join(block.text for block in found)
    ports = {port: _free_port() for port in re.findall(r"--port[ =](\d+)", printed)}
    shell = Shell(directory, with_scripts(environment))
    with ExitStack() as stack:
        python = None
        for language, text in found:
            for old, new in ports.items():
                text = re.sub(rf"\b{old}\b", new, text)  # noqa: PLW2901
            if language == "python":
                python = python or stack.enter_context(_python(shell))
                python.run(text)
            for command in commands(text) if language == "console" else ():
                if command.endswith("&"):
                    stack.enter_context(shell.serve(command[:-1].strip()))
                else:
                    shell.run(command)


def _free_port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


class Shell:
    """Runs commands one after the other; what they export holds for the next."""

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        self.directory = directory
        self.environment = environment

    def run(self, command: str) -> None:
        kept = self.directory / ".environment"
        done = subprocess.run(
            [
                "/bin/bash",
                "-euo",
                "pipefail",
                "-c",
                f"{command}\nenv -0 > {shlex.quote(str(kept))}",
            ],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
        self.environment = dict(
            pair.split("=", 1) for pair in kept.read_text(encoding="utf-8").split("\0") if pair
        )

    @contextmanager
    def serve(self, command: str) -> Iterator[None]:
        """A server that answers, until the context ends.

        It says ``--port``, and answers there at /readyz, /healthz or /health once it is ready.
        """
        port = re.search(r"--port[ =](\d+)", command)
        assert port is not None, f"$ {command} &: a server of a page has a --port"
        log = self.directory / f".server-{port[1]}.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                ["/bin/bash", "-c", f"exec {command}"],
                cwd=self.directory,
                env=self.environment,
                stdout=output,
                stderr=output,
            )

        def answers() -> bool:
            assert process.poll() is None, f"$ {command} &\n{log.read_text()}"
            return any(_is_well(f"http://127.0.0.1:{port[1]}/{path}") for path in _HEALTH)

        with process:
            try:
                assert eventually(answers), f"$ {command} &\n{log.read_text()}"
                yield
            finally:
                process.terminate()


def _is_well(url: str) -> bool:
    try:
        return httpx.get(url, timeout=60).status_code == 200
    except httpx.TransportError:
        return False


class Session:
    """One Python process that runs blocks as they come."""

    def __init__(self, process: subprocess.Popen[str], errors: Path) -> None:
        self._process = process
        self._errors = errors
        self.printed = ""

    def run(self, code: str) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(code) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.endswith(_END + "\n"):
                return
            self.printed += line
        raise AssertionError(f"{code}\n{self.printed}{self._errors.read_text()}")


@contextmanager
def _python(shell: Shell) -> Iterator[Session]:
    errors = shell.directory / ".python.log"
    with errors.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", _SESSION],
            cwd=shell.directory,
            env=shell.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        )
    with process:
        session = Session(process, errors)
        try:
            yield session
        except BaseException:
            process.kill()
            raise
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait() == 0, errors.read_text()
    assert session.printed, "the page's Python prints nothing"
