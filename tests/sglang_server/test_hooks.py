"""The plugin's hooks in the SGLang that is installed, and what other releases would lose."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

from spex_agents.server.cpu.device import cpu_environment
from spex_agents.server.plugin.expectations import FEATURES, faults
from spex_agents.server.plugin.hooks import HOOKS, KNOWN_VERSIONS
from spex_agents.server.switch import VARIABLE

REGISTER = """
import logging, sys
logging.basicConfig(format="%(message)s")
SCHEDULER
from sglang.srt.plugins.hook_registry import HookRegistry
from spex_agents.server.plugin import hooks
CHANGE
hooks.register()
print(hooks._features(), len(HookRegistry._hooks))
"""

REAL = "import sglang.srt.managers.scheduler"
PRETENDED = "sys.modules['sglang.srt.managers.scheduler'] = None"  # which takes no half minute

TARGETS = {hook.target for hook in HOOKS}

LOST = {
    "0.5.23": set(),
    "0.5.22": set(),
    "0.5.21": set(FEATURES),
    "0.5.20": set(FEATURES),
    "0.5.19": set(FEATURES),
    "0.5.18": set(FEATURES),
}
"""The last six releases, and what the table says cannot be had on each: before 0.5.22 ranks have no
common place to tell each other of a fault."""


def run(change: str = "", scheduler: str = PRETENDED, *, on: bool = True) -> tuple[str, str]:
    code = REGISTER.replace("CHANGE", change).replace("SCHEDULER", scheduler)
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        env={**cpu_environment(os.environ), VARIABLE: "spex" if on else ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1], done.stderr


def test_all_is_hooked_in_the_version_that_is_installed() -> None:
    assert version("sglang") in KNOWN_VERSIONS
    resolve = "import pkgutil; [pkgutil.resolve_name(hook.target) for hook in hooks.HOOKS]"
    assert run(resolve, REAL)[0] == f"{list(FEATURES)} {len(TARGETS)}"


def test_a_server_of_somebody_else_is_left_as_it_is() -> None:
    assert run(on=False)[0] == "[] 0"


def test_a_version_that_is_not_known_is_refused_in_one_line() -> None:
    found, log = run("hooks.version = lambda name: '9.9.9'")
    assert found == "[] 0"
    (line,) = [line for line in log.splitlines() if "SPEX" in line]
    assert "not 9.9.9; lost: admission, abort, promotion, seeds, counters" in line


def test_a_build_of_a_version_that_is_known_is_read_like_any_other() -> None:
    found, log = run("hooks.version = lambda name: '0.5.23+cu130'")
    assert found == f"{list(FEATURES)} {len(TARGETS)}"
    assert "SPEX" not in log


def test_a_setting_that_cannot_be_is_told_in_one_line_and_hooks_nothing() -> None:
    found, log = run("import os; os.environ['SPEX_RIDGE'] = 'eight'")
    assert found == "[] 0"
    (line,) = [line for line in log.splitlines() if "SPEX_" in line]
    assert "SPEX_RIDGE='eight': must be a whole number of 1 or more" in line


def test_a_feature_of_which_something_is_missing_is_not_hooked_at_all() -> None:
    change = "source = hooks._source; hooks._source = lambda file: "
    change += "None if 'sampler' in file else source(file)"
    found, log = run(change)
    assert found == f"{[name for name in FEATURES if name != 'seeds']} {len(TARGETS) - 3}"
    assert "lost: seeds (layers/sampler.py is gone)" in log


@pytest.mark.parametrize("release", LOST)
def test_what_a_release_would_lose_is_known(release: str, tmp_path: Path) -> None:
    """Its wheel is downloaded, not installed, and its source read."""
    pip = [sys.executable, "-m", "pip"] if _has_pip() else ["python3", "-m", "pip"]
    done = subprocess.run(
        [*pip, "download", "--quiet", "--no-deps", "--python-version", "3.11",
         "--only-binary=:all:", "--dest", str(tmp_path), f"sglang=={release}"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as files:
        names = set(files.namelist())

        def source(file: str) -> str | None:
            name = f"sglang/srt/{file}"
            return files.read(name).decode() if name in names else None

        assert faults(source).keys() == LOST[release]
    assert (release in KNOWN_VERSIONS) == (not LOST[release])


def _has_pip() -> bool:
    return (
        subprocess.run(
            [sys.executable, "-m", "pip", "--version"], check=False, capture_output=True
        ).returncode
        == 0
    )
