"""Processes of a server: none is left, however they or their launcher end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from processes import MARK, eventually, marked

from spex_agents.errors import SettingsError
from spex_agents.server.launcher import serve
from spex_agents.server.settings import Serving, check_installed
from spex_agents.server.worker_process import last_lines, running

STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
print("up", flush=True)
time.sleep(1000)
"""
LAUNCHER = """
import os, subprocess, sys, time
worker = (
    "import os, sys, time; from spex_agents.server.worker import die_with;"
    "die_with(int(sys.argv[1])); print('up', flush=True); time.sleep(1000)"
)
subprocess.Popen([sys.executable, "-c", worker, str(os.getpid())])
time.sleep(1000)
"""


def installed() -> bool:
    try:
        check_installed()
    except SettingsError:
        return False
    return True


async def test_a_stubborn_server_and_its_children_are_killed(tmp_path: Path) -> None:
    mark, log = uuid4().hex, tmp_path / "log"
    env = {**os.environ, MARK: mark}
    async with running(
        [sys.executable, "-c", STUBBORN], env=env, log=log, stop_timeout=0.1
    ) as process:
        assert eventually(lambda: last_lines(log, 1) == ["up"], 20)
        assert len(marked(mark)) == 2
    assert process.returncode == -signal.SIGKILL
    assert eventually(lambda: not marked(mark), 5)


async def test_children_of_a_server_that_died_are_killed(tmp_path: Path) -> None:
    mark, log = uuid4().hex, tmp_path / "log"
    env = {**os.environ, MARK: mark}
    async with running(
        [sys.executable, "-c", STUBBORN], env=env, log=log, stop_timeout=5
    ) as process:
        assert eventually(lambda: last_lines(log, 1) == ["up"], 20)
        process.kill()
        await process.wait()
    assert eventually(lambda: not marked(mark), 5)


def test_a_worker_dies_with_a_killed_launcher() -> None:
    mark = uuid4().hex
    with subprocess.Popen(
        [sys.executable, "-c", LAUNCHER], env={**os.environ, MARK: mark}, stdout=subprocess.PIPE
    ) as launcher:
        assert launcher.stdout is not None
        assert launcher.stdout.readline() == b"up\n"
        launcher.kill()
    assert eventually(lambda: not marked(mark), 5)


def test_a_worker_whose_launcher_is_gone_ends_at_once() -> None:
    code = "from spex_agents.server.worker import die_with; die_with(1); print('lives')"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, b"")


@pytest.mark.skipif(installed(), reason="tells what happens without SGLang")
async def test_without_sglang_it_is_said_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"pip install 'spex-agents\[sglang\]'"):
        async with serve(Serving(policy="owner/name", logs=tmp_path)):
            pass
