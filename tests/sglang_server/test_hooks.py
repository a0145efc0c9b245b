"""Every hook's target, in the SGLang that is installed; and what happens if one has moved."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version

from spex_agents.server.cpu.device import cpu_environment
from spex_agents.server.plugin.hooks import HOOKS, KNOWN_VERSIONS

FIND = """
import sglang.srt.managers.scheduler
from spex_agents.server.plugin import hooks as plugin
print([hook.target for hook in plugin.HOOKS if plugin._moved(hook.target)])
"""

MOVE = """
import logging
from dataclasses import replace
logging.basicConfig(format="%(message)s")
import sglang.srt.managers.scheduler
from spex_agents.server.plugin import hooks as plugin
moved = replace(plugin.HOOKS[3], target=plugin.HOOKS[3].target + "_moved")
plugin.HOOKS = (*plugin.HOOKS[:3], moved, *plugin.HOOKS[4:])
plugin.register()
print(plugin._features())
"""


def run(code: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        env=cpu_environment(os.environ),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1], done.stderr


def test_every_target_is_where_the_known_versions_have_it() -> None:
    assert version("sglang") in KNOWN_VERSIONS
    assert len(HOOKS) == 8
    assert run(FIND)[0] == "[]"


def test_a_hook_whose_target_has_moved_is_left_out_and_named() -> None:
    features, log = run(MOVE)
    assert features == "['abort', 'promotion', 'seeds', 'counters']"
    assert "get_new_batch_prefill_moved" in log
    assert "lost: admission" in log
