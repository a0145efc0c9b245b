"""SPEX scheduling inside SGLang: its plugin, which SGLang loads in each of its processes.

It does nothing unless it is switched on (``SPEX_PLUGINS=spex``, which `spex serve` sets). A feature
is hooked as a whole or not at all: where this SGLang's source is not what `expectations` has, one
line names what is lost, and the server works as if that part did not exist. ``SPEX_RIDGE``,
``SPEX_SLOWDOWN`` and ``SPEX_PREFILL_TOKENS`` set admission.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from spex_agents.engines.sglang import protocol as messages
from spex_agents.engines.sglang.protocol import DEMANDED
from spex_agents.server.plugin import sampling
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
from spex_agents.server.plugin.prefill import Prefill
from spex_agents.server.plugin.scheduling import scheduling_of
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

_RIDGE = "spex-ridge:"
"""What one rank sends to the others, in place of a request's id."""


@dataclass(frozen=True, slots=True)
class Hook:
    """One hook.

    Attributes:
        process: The module of the process that needs it.
        target: Dotted path of what is hooked.
        kind: "after" or "around", as SGLang's `HookType` has it.
        function: The hook.
        gives: The features that need it.
    """

    process: str
    target: str
    kind: str
    function: Callable[..., Any]
    gives: tuple[str, ...]


def _front_abort(original: Callable[..., Any], manager: Any, *args: Any, **kwargs: Any) -> Any:
    """Pass a message on: SGLang drops an abort whose id it does not know."""
    rid = kwargs.get("rid", args[0] if args else "")
    if rid and messages.decode(rid) is not None:
        from sglang.srt.managers.io_struct import AbortReq  # noqa: PLC0415

        manager._dispatch_to_scheduler(AbortReq(rid=rid))
        return None
    return original(manager, *args, **kwargs)


def _abort(original: Callable[..., Any], scheduler: Any, request: Any) -> Any:
    scheduling = scheduling_of(scheduler)
    if not request.abort_all and request.rid.startswith(_RIDGE):
        scheduling.admission.agree(ridge := int(request.rid.removeprefix(_RIDGE)))
        logger.info("SPEX: the ridge of all ranks is %d after step %d", ridge, scheduler.forward_ct)
        return None
    message = None if request.abort_all else messages.decode(request.rid)
    if message is None:
        scheduling.aborting_all("" if request.abort_all else request.rid)
        return original(scheduler, request)
    kind = type(request)
    scheduling.handle(message, lambda rid: original(scheduler, kind(rid=rid)))
    return None


def _arrive(
    original: Callable[..., Any], scheduler: Any, request: Any, *args: Any, **kwargs: Any
) -> None:
    if request.priority is None:
        request.priority = DEMANDED
    aborted = scheduling_of(scheduler).arrived(request)
    original(scheduler, request, *args, **kwargs)
    if aborted:
        from sglang.srt.managers.io_struct import AbortReq  # noqa: PLC0415

        scheduler.abort_request(AbortReq(rid=request.rid))


def _admit(original: Callable[..., Any], scheduler: Any, running_batch: Any) -> Any:
    admission = scheduling_of(scheduler).admission
    if admission.prefill.must_decode(running_batch.reqs):
        from sglang.srt.managers.scheduler import NextBatchPlan  # noqa: PLC0415

        return NextBatchPlan(batch_to_run=None, running_batch=running_batch)
    _put_back(scheduler, running_batch, admission.displaced(running_batch.reqs))
    held = admission.hold_back(running_batch.reqs)
    own = scheduler.chunked_prefill_size
    if admission.bounded:
        scheduler.chunked_prefill_size = admission.prefill.chunk(len(running_batch.reqs))
    try:
        plan = original(scheduler, running_batch)
    finally:
        scheduler.chunked_prefill_size = own
        scheduler.waiting_queue.extend(held)
    if plan.batch_to_run is not None:
        admission.admitted(plan.batch_to_run.reqs)
    elif plan.running_batch.batch_is_full:
        _put_back(scheduler, plan.running_batch, admission.in_the_way(plan.running_batch.reqs))
    return plan


def _limit_chunk(
    limit: int | None, policy: Any, chunked: Any, waiting: Any, budget: int, *_: Any
) -> int | None:
    prefill: Prefill | None = getattr(policy, "spex_prefill", None)
    return limit if prefill is None else prefill.limit(chunked, budget, limit)


def _agree(aborts: list[Any], scheduler: Any) -> list[Any]:
    """Send the first rank's measurement with what SGLang sends to all ranks before a step."""
    ridge = scheduling_of(scheduler).admission.announce()
    if ridge is None:
        return aborts
    from sglang.srt.managers.io_struct import AbortReq  # noqa: PLC0415

    return [*aborts, AbortReq(rid=f"{_RIDGE}{ridge}")]


def _put_back(scheduler: Any, running_batch: Any, requests: list[Any]) -> None:
    """Return running requests to the queue, as SGLang does when it preempts."""
    if not requests:
        return
    leaving = {id(request) for request in requests}
    size = len(running_batch.reqs)
    kept = [i for i, request in enumerate(running_batch.reqs) if id(request) not in leaving]
    for number, index in enumerate(sorted(set(range(size)) - set(kept)), 1):
        running_batch.release_req(index, size - number)
    running_batch.filter_batch(keep_indices=kept)
    running_batch.batch_is_full = False
    for request in requests:
        scheduler._add_request_to_queue(request)


def _processed(_: Any, scheduler: Any, batch: Any, *args: Any, **kwargs: Any) -> None:
    scheduling_of(scheduler).admission.processed(batch)


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
        _FRONT, f"{_FRONT}.TokenizerManager.abort_request", "around", _front_abort,
        (ABORT, PROMOTION),
    ),
    Hook(
        _SCHEDULER, f"{_SCHEDULER}.Scheduler.abort_request", "around", _abort, (ABORT, PROMOTION)
    ),
    Hook(
        _SCHEDULER, f"{_SCHEDULER}.Scheduler._add_request_to_queue", "around", _arrive,
        (ADMISSION, ABORT, PROMOTION),
    ),
    Hook(
        _SCHEDULER, f"{_SCHEDULER}.Scheduler.get_new_batch_prefill", "around", _admit, (ADMISSION,)
    ),
    Hook(
        _SCHEDULER, f"{_POLICY}.SchedulePolicy.shortest_prefill_chunk_limit", "after",
        _limit_chunk, (ADMISSION,),
    ),
    # It runs on the first rank alone: to lose it must not change what that rank schedules.
    Hook(_SCHEDULER, f"{_SCHEDULER}.Scheduler._poll_timeout_aborts", "after", _agree, (COUNTERS,)),
    Hook(
        _SCHEDULER, f"{_SCHEDULER}.Scheduler.process_batch_result", "after", _processed,
        (ADMISSION, COUNTERS),
    ),
    Hook(
        _SCHEDULER, f"{_STATE}.SchedulerInternalStateController.get_internal_state", "after",
        _report, (COUNTERS,),
    ),
    Hook(
        _SCHEDULER, f"{_BATCH}.SamplingBatchInfo.from_schedule_batch", "after",
        sampling.give_seeds, (SEEDS,),
    ),
    Hook(_SCHEDULER, f"{_BATCH}.SamplingBatchInfo.merge_batch", "around", sampling.merge, (SEEDS,)),
    Hook(_SCHEDULER, f"{_SAMPLER}.Sampler._sample_from_probs", "around", sampling.draw, (SEEDS,)),
)  # fmt: skip

guard = Guard(set())


def register() -> None:
    """Hook into this process; SGLang calls it through the entry point ``sglang.srt.plugins``."""
    if not is_on(PLUGIN):
        return
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType  # noqa: PLC0415

    scheduler = _SCHEDULER in sys.modules
    if not scheduler and _DETOKENIZER in sys.modules:
        return
    guard.features = _whole(version("sglang"))
    for hook in HOOKS:
        if guard.features & set(hook.gives) and (scheduler or hook.process != _SCHEDULER):
            function = getattr(guard, hook.kind)(hook.gives, hook.function)
            HookRegistry.register(hook.target, function, HookType(hook.kind))


def _whole(running: str) -> set[str]:
    """The features that can be hooked; what is lost is told in one line."""
    if running not in KNOWN_VERSIONS:
        known = ", ".join(KNOWN_VERSIONS)
        logger.warning(
            "SPEX knows SGLang %s, not %s; lost: %s", known, running, ", ".join(FEATURES)
        )
        return set()
    missing = faults(_source)
    if missing:
        lost = "; ".join(f"{feature} ({reason})" for feature, reason in missing.items())
        logger.warning("SPEX cannot hook all of SGLang %s; lost: %s", running, lost)
    return set(FEATURES) - missing.keys()


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
