"""The quickstart of docs/gateway.md runs as printed, on the small model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from printed import ROOT, blocks, with_scripts

PAGE = ROOT / "docs" / "gateway.md"


@pytest.mark.model
@pytest.mark.slow
def test_the_quickstart_runs_as_printed(tmp_path: Path) -> None:
    _, start, ask, *_ = (block.text for block in blocks(PAGE, "sh"))
    create, serve = start.splitlines()
    (_, python), *_ = blocks(PAGE, "py")
    environment = with_scripts({})

    def run(*command: str) -> str:
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("/bin/sh", "-c", create)
    environment["SPEX_KEY"] = (tmp_path / "tutors.key").read_text().strip()
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {serve}"],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    with server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "http://127.0.0.1:8765/v1\n", (
                tmp_path / "log"
            ).read_text()
            assert '"object":"chat.completion"' in run("/bin/sh", "-c", ask)
            told = run(sys.executable, "-c", python)
            assert "[0] " in told  # a thought
            assert "tokens" in told
        finally:
            server.terminate()
