"""The commands that the documents print for a server that runs."""

from __future__ import annotations

import re
import shlex
import subprocess

import pytest
from launching import Served
from printed import README, ROOT, blocks
from processes import SPEX

PRINTED = sorted(
    {
        line.split("#")[0].removeprefix("$ ").strip()
        for page in (README, ROOT / "docs" / "sglang.md")
        for block in blocks(page)
        for line in block.text.splitlines()
        if re.match(r"(\$ )?spex (solve|bench) .*--engine http", line)
    }
)


def test_there_is_something_to_run() -> None:
    assert len(PRINTED) >= 2


@pytest.mark.parametrize("command", PRINTED)
def test_a_printed_command_runs(command: str, served: Served) -> None:
    words = shlex.split(command.replace("http://127.0.0.1:30000", served.policy))[1:]
    if words[0] == "bench":
        words += ["--pairs", "1", "--rollouts", "3"]  # the last one counts: not for minutes here
    done = subprocess.run([*SPEX, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout
