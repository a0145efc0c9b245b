"""Processes of a server: none is left, however they or their launcher end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import eventually, writing_to

from spex_agents.errors import SettingsError
from spex_agents.server.launch.launcher import serve
from spex_agents.server.launch.settings import Serving, check_installed
from spex_agents.server.launch.worker_process import last_lines, running

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
    "import os, sys, time; from spex_agents.server.launch.worker import die_with_parent;"
    "die_with_parent(launcher=int(sys.argv[1])); print('up', flush=True); time.sleep(1000)"
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
    log = tmp_path / "log"
    async with running(
        [sys.executable, "-c", STUBBORN], env=os.environ, log=log, stop_timeout=0.1
    ) as process:
        assert eventually(lambda: last_lines(log, 1) == ["up"])
        assert len(writing_to(tmp_path)) == 2
    assert process.returncode == -signal.SIGKILL
    assert eventually(lambda: not writing_to(tmp_path))


async def test_children_of_a_server_that_died_are_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with running(
        [sys.executable, "-c", STUBBORN], env=os.environ, log=log, stop_timeout=5
    ) as process:
        assert eventually(lambda: last_lines(log, 1) == ["up"])
        process.kill()
        await process.wait()
    assert eventually(lambda: not writing_to(tmp_path))


def test_a_worker_dies_with_a_killed_launcher(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with (
        log.open("w") as output,
        subprocess.Popen([sys.executable, "-c", LAUNCHER], stdout=output) as launcher,
    ):
        assert eventually(lambda: last_lines(log, 1) == ["up"])
        launcher.kill()
    assert eventually(lambda: not writing_to(tmp_path))


@pytest.mark.parametrize("launcher", ["launcher=1", ""])
def test_a_process_whose_parent_is_gone_ends_at_once(launcher: str) -> None:
    code = (
        f"from spex_agents.server.launch.worker import die_with_parent; die_with_parent({launcher})"
    )
    ended = subprocess.run(
        [sys.executable, "-c", f"{code}; print('lives')"],
        capture_output=True,
        check=False,
        start_new_session=True,  # so that its parent is not of its group
    )
    assert (ended.returncode, ended.stdout) == (1, b"")


@pytest.mark.skipif(installed(), reason="tells what happens without SGLang")
async def test_without_sglang_it_is_said_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"pip install 'spex-agents\[sglang\]'"):
        async with serve(Serving(policy="owner/name", logs=tmp_path)):
            pass
