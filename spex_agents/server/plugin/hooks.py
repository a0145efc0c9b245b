"""SPEX scheduling inside SGLang: its plugin, which SGLang loads in each of its processes.

It does nothing unless it is switched on (``SPEX_PLUGINS=spex``, which `spex serve` sets). A feature
is hooked as a whole or not at all: where this SGLang's source is not what `expectations` has, one
line names what is lost, and the server works as if that part did not exist. ``SPEX_RIDGE``,
``SPEX_SLOWDOWN`` and ``SPEX_PREFILL_TOKENS`` set admission.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Set
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from spex_agents.errors import SettingsError
from spex_agents.server.plugin import queue, sampling
from spex_agents.server.plugin.expectations import (
    ABORT,
    ADMISSION,
    COUNTERS,
    FEATURES,
    PROMOTION,
    SEEDS,
    faults,
)
from spex_agents.server.plugin.guard import Guard
from spex_agents.server.plugin.ranks import connect
from spex_agents.server.plugin.scheduling import admission_settings, scheduling_of
from spex_agents.server.switch import is_on

logger = logging.getLogger(__name__)

PLUGIN = "spex"
"""Its name: of the entry point, and on the switch."""

KNOWN_VERSIONS = ("0.5.22", "0.5.23")
"""Versions of SGLang whose source is what `expectations` has; the last one runs all tests."""

_FRONT = "sglang.srt.managers.tokenizer_manager"
_SCHEDULER = "sglang.srt.managers.scheduler"
_DETOKENIZER = "sglang.srt.managers.detokenizer_manager"
_STATE = "sglang.srt.managers.scheduler_components.internal_state"
_BATCH = "sglang.srt.sampling.sampling_batch_info"
_SAMPLER = "sglang.srt.layers.sampler"
_POLICY = "sglang.srt.managers.schedule_policy"

SYNC_TOKENS = "SYNC_TOKEN_IDS_ACROSS_TP"
"""SGLang's switch for all ranks of a group to go on with the same tokens. They draw the same ones
anyway, unless a hook fails on one of them."""


@dataclass(frozen=True, slots=True)
class Hook:
    """One hook.

    Attributes:
        process: The module of the process that needs it.
        target: Dotted path of what is hooked.
        kind: "after" or "around", as SGLang's `HookType` has it.
        function: The hook.
        gives: The features that need it.
        together: Whether all ranks call it at the same step, and must do the same in it.
        without: Runs in its place where the features are lost.
    """

    process: str
    target: str
    kind: str
    function: Callable[..., Any]
    gives: tuple[str, ...]
    together: bool = False
    without: Callable[..., Any] | None = None


def _report(result: Any, controller: Any, *args: Any, **kwargs: Any) -> Any:
    scheduler = controller.scheduler
    features = _features(drafts=not scheduler.spec_algorithm.is_none())
    result.internal_state["spex"] = {
        "features": features,
        "failures": guard.failures,
        **scheduling_of(scheduler).describe(),
    }
    return result


HOOKS = (
    Hook(
        _FRONT, f"{_FRONT}.TokenizerManager.abort_request", "around", queue.front_abort,
        (ABORT, PROMOTION),
    ),
    Hook(
        _SCHEDULER, f"{_SCHEDULER}.Scheduler.abort_request", "around", queue.abort,
        (ABORT, PROMOTION), together=True,
    ),
    Hook(
        _SCHEDULER, f"{_SCHEDULER}.Scheduler._add_request_to_queue", "around", queue.arrive,
        (ADMISSION, ABORT, PROMOTION), together=True,
    ),
    Hook(
        _SCHEDULER, f"{_SCHEDULER}.Scheduler.get_new_batch_prefill", "around", queue.admit,
        (ADMISSION,), together=True,
    ),
    Hook(
        _SCHEDULER, f"{_SCHEDULER}.Scheduler.get_new_batch_prefill", "after", queue.admitted,
        (ADMISSION,),
    ),
    Hook(
        _SCHEDULER, f"{_POLICY}.SchedulePolicy.shortest_prefill_chunk_limit", "after",
        queue.limit_chunk, (ADMISSION,), together=True,
    ),
    # It runs on the first rank alone: to lose it must not change what that rank schedules.
    Hook(
        _SCHEDULER, f"{_SCHEDULER}.Scheduler._poll_timeout_aborts", "after", queue.agree,
        (COUNTERS,),
    ),
    Hook(
        _SCHEDULER, f"{_SCHEDULER}.Scheduler.process_batch_result", "after", queue.processed,
        (ADMISSION, COUNTERS),
    ),
    Hook(
        _SCHEDULER, f"{_STATE}.SchedulerInternalStateController.get_internal_state", "after",
        _report, (COUNTERS,),
    ),
    # Nothing of these waits for other ranks: SGLang makes tokens the same (`SYNC_TOKENS`).
    Hook(
        _SCHEDULER, f"{_BATCH}.SamplingBatchInfo.from_schedule_batch", "after",
        sampling.give_seeds, (SEEDS,),
    ),
    Hook(
        _SCHEDULER, f"{_BATCH}.SamplingBatchInfo.merge_batch", "around", sampling.merge,
        (SEEDS,), without=sampling.merge_unseeded,
    ),
    Hook(
        _SCHEDULER, f"{_SAMPLER}.Sampler._sample_from_probs", "around", sampling.draw,
        (SEEDS,), without=sampling.draw_unseeded,
    ),
)  # fmt: skip

guard = Guard(set(), connect)


def register() -> None:
    """Hook into this process; SGLang calls it through the entry point ``sglang.srt.plugins``."""
    if not is_on(PLUGIN):
        return
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType  # noqa: PLC0415

    scheduler = _SCHEDULER in sys.modules
    if not scheduler and _DETOKENIZER in sys.modules:
        return
    guard.features = _whole(version("sglang"))
    if SEEDS in guard.features:
        os.environ.setdefault(SYNC_TOKENS, "true")  # read by the schedulers that this one starts
    for hook in HOOKS:
        if guard.features & set(hook.gives) and (scheduler or hook.process != _SCHEDULER):
            HookRegistry.register(hook.target, _guarded(hook), HookType(hook.kind))


def _guarded(hook: Hook) -> Callable[..., Any]:
    if hook.kind == "after":
        return guard.after(hook.gives, hook.function, together=hook.together)
    return guard.around(hook.gives, hook.function, together=hook.together, without=hook.without)


def losses(running: str) -> tuple[Set[str], str]:
    """The features that cannot be hooked in the SGLang that is installed, and a line that says why.

    Args:
        running: Its version.

    Returns:
        Nothing and an empty line where all can.
    """
    every = ", ".join(FEATURES)
    try:
        admission_settings(os.environ)
    except SettingsError as error:
        return set(FEATURES), f"{error}; lost: {every}"
    if running.partition("+")[0] not in KNOWN_VERSIONS:  # a build of one has its source, or faults
        known = ", ".join(KNOWN_VERSIONS)
        return set(FEATURES), f"SPEX knows SGLang {known}, not {running}; lost: {every}"
    missing = faults(_source)
    told = "; ".join(f"{feature} ({reason})" for feature, reason in missing.items())
    line = f"SPEX cannot hook all of SGLang {running}; lost: {told}" if missing else ""
    return missing.keys(), line


def _whole(running: str) -> set[str]:
    """The features that can be hooked; what is lost is told in one line."""
    lost, line = losses(running)
    if line:
        logger.warning("%s", line)
    return set(FEATURES) - lost


def _source(file: str) -> str | None:
    """The text of a file of the SGLang that is installed, without importing it."""
    if (spec := find_spec("sglang")) is None:
        return None
    for place in spec.submodule_search_locations or ():
        if (found := Path(place, "srt", file)).is_file():
            return found.read_text(encoding="utf-8")
    return None


def _features(*, drafts: bool = False) -> list[str]:
    """What works here.

    With `drafts`, token-level speculation, SGLang draws tokens where it verifies them, by random
    numbers of its own: seeds do not hold.
    """
    return [name for name in FEATURES if name in guard.features and not (drafts and name == SEEDS)]
