"""Hooks of SGLang's scheduler: what joins its batches and what leaves, and what clients say of it.

Ranks that schedule in step do these together: each decides, `settle` hears from the others whether
all of them could, and only then is anything of SGLang's changed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from spex_agents.engines.sglang import protocol as messages
from spex_agents.engines.sglang.protocol import DEMANDED
from spex_agents.server.plugin.prefill import Prefill
from spex_agents.server.plugin.scheduling import scheduling_of

logger = logging.getLogger(__name__)

RIDGE = "spex-ridge:"
"""What one rank sends to the others, in place of a request's id."""


def front_abort(original: Callable[..., Any], manager: Any, *args: Any, **kwargs: Any) -> Any:
    """Pass a message on: SGLang drops an abort whose id it does not know."""
    rid = kwargs.get("rid", args[0] if args else "")
    if rid and messages.decode(rid) is not None:
        from sglang.srt.managers.io_struct import AbortReq  # noqa: PLC0415

        manager._dispatch_to_scheduler(AbortReq(rid=rid))
        return None
    return original(manager, *args, **kwargs)


def abort(original: Any, scheduler: Any, request: Any) -> Any:
    scheduling = scheduling_of(scheduler)
    if not request.abort_all and request.rid.startswith(RIDGE):
        scheduling.admission.agree(ridge := int(request.rid.removeprefix(RIDGE)))
        logger.info("SPEX: the ridge of all ranks is %d after step %d", ridge, scheduler.forward_ct)
        return None
    message = None if request.abort_all else messages.decode(request.rid)
    original.settle()
    if message is None:
        scheduling.aborting_all("" if request.abort_all else request.rid)
        return original(scheduler, request)
    kind = type(request)
    scheduling.handle(message, lambda rid: original(scheduler, kind(rid=rid)))
    return None


def arrive(original: Any, scheduler: Any, request: Any, *args: Any, **kwargs: Any) -> None:
    given = request.priority
    try:
        if given is None:
            request.priority = DEMANDED
        aborted = scheduling_of(scheduler).arrived(request)
        original.settle()
    except Exception:
        request.priority = given
        raise
    original(scheduler, request, *args, **kwargs)
    if aborted:
        from sglang.srt.managers.io_struct import AbortReq  # noqa: PLC0415

        scheduler.abort_request(AbortReq(rid=request.rid))


def admit(original: Any, scheduler: Any, running_batch: Any) -> Any:
    admission = scheduling_of(scheduler).admission
    if admission.prefill.must_decode(running_batch.reqs):
        from sglang.srt.managers.scheduler import NextBatchPlan  # noqa: PLC0415

        original.settle()
        return NextBatchPlan(batch_to_run=None, running_batch=running_batch)
    queue, own = scheduler.waiting_queue, scheduler.chunked_prefill_size
    try:
        leaving = admission.leaving(running_batch.reqs, full=running_batch.batch_is_full)
        gone = set(map(id, leaving))
        staying = [request for request in running_batch.reqs if id(request) not in gone]
        held = admission.hold_back(staying)
        if admission.bounded:
            scheduler.chunked_prefill_size = admission.prefill.chunk(len(staying))
        original.settle()
    except Exception:
        scheduler.waiting_queue, scheduler.chunked_prefill_size = queue, own
        raise
    try:
        held += _put_back(scheduler, running_batch, leaving)
        return original(scheduler, running_batch)
    finally:
        scheduler.chunked_prefill_size = own
        scheduler.waiting_queue.extend(held)


def admitted(plan: Any, scheduler: Any, running_batch: Any) -> Any:
    if plan.batch_to_run is not None:
        scheduling_of(scheduler).admission.admitted(plan.batch_to_run.reqs)
    return plan


def limit_chunk(
    limit: int | None, policy: Any, chunked: Any, waiting: Any, budget: int, *_: Any
) -> int | None:
    prefill: Prefill | None = getattr(policy, "spex_prefill", None)
    return limit if prefill is None else prefill.limit(chunked, budget, limit)


def agree(aborts: list[Any], scheduler: Any) -> list[Any]:
    """Send the first rank's measurement with what SGLang sends to all ranks before a step."""
    ridge = scheduling_of(scheduler).admission.announce()
    if ridge is None:
        return aborts
    from sglang.srt.managers.io_struct import AbortReq  # noqa: PLC0415

    return [*aborts, AbortReq(rid=f"{RIDGE}{ridge}")]


def _put_back(scheduler: Any, running_batch: Any, requests: list[Any]) -> list[Any]:
    """Take requests out of the running batch, as SGLang does when it preempts.

    Returns:
        Those that are to wait again; the queue does not have them yet.
    """
    if not requests:
        return []
    leaving = {id(request) for request in requests}
    batch = list(running_batch.reqs)
    released: list[int] = []
    try:
        for index, request in enumerate(batch):
            if id(request) in leaving:
                running_batch.release_req(index, len(batch) - len(released) - 1)
                released.append(index)
    finally:  # whatever fails, what has lost its memory is no longer in the batch
        if released:
            kept = [index for index in range(len(batch)) if index not in released]
            running_batch.filter_batch(keep_indices=kept)
            running_batch.batch_is_full = False
            gone = {id(batch[index]) for index in released}
            for request in requests:
                if id(request) in gone:
                    scheduler._add_request_to_queue(request)
    back = [request for request in scheduler.waiting_queue if id(request) in leaving]
    scheduler.waiting_queue = [
        request for request in scheduler.waiting_queue if id(request) not in leaving
    ]
    return back


def processed(_: Any, scheduler: Any, batch: Any, *args: Any, **kwargs: Any) -> None:
    scheduling_of(scheduler).admission.processed(batch)
