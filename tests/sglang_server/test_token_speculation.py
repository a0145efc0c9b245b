"""Token-level speculation by SGLang itself: what the plugin says of it, and why a CPU has none."""

from __future__ import annotations

import os
import subprocess
import sys

from spex_agents.server.cpu.device import cpu_environment

REPORT = """
import inspect
from types import SimpleNamespace as Plain
from sglang.srt.managers.scheduler import Scheduler
from sglang.srt.speculative.spec_info import SpeculativeAlgorithm
from spex_agents.server.plugin import hooks as plugin, sampling
plugin.register()
assert "self.spec_algorithm = SpeculativeAlgorithm" in inspect.getsource(Scheduler)
for name in (None, "NGRAM", "EAGLE3", "STANDALONE"):
    algorithm = SpeculativeAlgorithm.from_string(name)
    state = Plain(describe=dict)
    scheduler = Plain(spec_algorithm=algorithm, spex_scheduling=state)
    told = plugin._report(Plain(internal_state={}), Plain(scheduler=scheduler))
    info = Plain(sampling_seed=None, device="cpu")
    params = Plain(sampling_seed=7)
    batch = Plain(spec_algorithm=algorithm, reqs=[Plain(sampling_params=params, rid="run/0;")])
    seeded = sampling.give_seeds(info, None, batch).sampling_seed is not None
    print(name, told.internal_state["spex"]["features"], seeded)
"""

NGRAM = """
try:
    import sglang.srt.speculative.ngram_worker
except ModuleNotFoundError as error:
    print(error.name)
"""


def run(code: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        env=cpu_environment({**os.environ, "SPEX_PLUGINS": "spex"}),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()


def test_seeds_are_no_feature_of_a_server_that_drafts() -> None:
    rest = "'admission', 'abort', 'promotion'"
    assert run(REPORT)[-4:] == [
        f"None [{rest}, 'seeds', 'counters'] True",
        f"NGRAM [{rest}, 'counters'] False",
        f"EAGLE3 [{rest}, 'counters'] False",
        f"STANDALONE [{rest}, 'counters'] False",
    ]


def test_ngram_needs_a_kernel_that_a_cpu_has_not() -> None:
    assert run(NGRAM)[-1] == "sgl_kernel.speculative"
