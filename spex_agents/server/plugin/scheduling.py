"""The scheduler's side of speculation: what clients say of their requests, and what they are told.

One `Scheduling` belongs to each SGLang scheduler; `plugin` calls it from the hooks. Nothing here
imports SGLang, and all decisions but the measured ridge are the same on every rank.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from math import inf
from typing import Any, cast

from spex_agents.engines.sglang.protocol import (
    DEMANDED,
    END,
    RETRACTED,
    SPECULATIVE,
    Message,
    is_below,
)
from spex_agents.errors import SettingsError
from spex_agents.server.plugin.admission import Admission
from spex_agents.server.plugin.counters import Counters
from spex_agents.server.plugin.prefill import TOKENS
from spex_agents.server.plugin.requests import is_speculative

SLOWDOWN = 0.05
"""By this share others' guesses may slow demanded work."""

REMEMBERED = 4096
"""Messages kept for requests that have not arrived yet: a message may overtake its request."""


class Scheduling:
    """Speculation in one SGLang scheduler.

    Args:
        scheduler: SGLang's.
        export: Whether the counters are on the server's Prometheus page: of one rank only, since
            all that schedule in step count the same.
        admission: Settings of `Admission`.
    """

    def __init__(self, scheduler: Any, *, export: bool = False, **admission: Any) -> None:
        self.scheduler = scheduler
        self.counters = Counters(export=export)
        self.admission = Admission(scheduler, self.counters, **admission)
        self._early: OrderedDict[str, Message] = OrderedDict()

    def arrived(self, request: Any) -> bool:
        """A request is about to be queued; returns whether it has been aborted.

        So it is where the message came before it, and where SGLang took it out of the running
        batch between its abort and its end.
        """
        if getattr(request, "spex_aborted", False):
            return True
        early = self._early.pop(request.rid, None)
        if early is None:
            return False
        if early.verb == "abort":
            return True
        self._change(request, early)
        return False

    def handle(self, message: Message, abort: Callable[[str], None]) -> None:
        """Do what a client asks for; `abort` ends the request of an id."""
        found = [request for request in self._live() if is_below(request.rid, message.target)]
        if message.verb != "abort":
            for request in found:
                self._change(request, message)
        else:
            for request in found:
                self._aborting(request)
                abort(request.rid)
        if not found and message.target.endswith(END):
            self._early[message.target] = message
            if len(self._early) > REMEMBERED:
                self._early.popitem(last=False)

    def aborting_all(self, prefix: str) -> None:
        """SGLang itself is about to abort the requests whose ids begin with `prefix`."""
        for request in self._live():
            if request.rid.startswith(prefix):
                self._aborting(request)

    def _aborting(self, request: Any) -> None:
        if getattr(request, "spex_aborted", False):
            return
        request.spex_aborted = True
        request.priority = RETRACTED  # what it caches is evicted first; shared prefixes keep theirs
        self.counters.add("aborted")
        self.counters.add("wasted_tokens", len(request.output_ids))

    def _change(self, request: Any, message: Message) -> None:
        if getattr(request, "spex_aborted", False):
            return
        if message.verb == "promote" and is_speculative(request):
            request.priority = DEMANDED
            self.counters.add("promoted")
        elif message.verb == "demote" and not is_speculative(request):
            request.priority = SPECULATIVE
            self.counters.add("demoted")

    def _live(self) -> Iterator[Any]:
        """Every request in flight, each once."""
        scheduler = self.scheduler
        running = [
            request for request in scheduler.collect_inflight_reqs() if not request.finished()
        ]
        grammar = getattr(scheduler, "grammar_manager", None)
        chunked = [scheduler.chunked_req] if scheduler.chunked_req is not None else []
        seen: set[int] = set()
        waiting = [*scheduler.waiting_queue, *getattr(grammar, "grammar_queue", ())]
        for request in [*waiting, *chunked, *running]:
            if id(request) not in seen:
                seen.add(id(request))
                yield request

    def describe(self) -> dict[str, Any]:
        """What clients read: counts of requests, the ridge, counters and step times."""
        live = list(self._live())
        waiting = {id(request) for request in self.scheduler.waiting_queue}
        queued = [request for request in live if id(request) in waiting]
        return {
            "running": len(live) - len(queued),
            "waiting": len(queued),
            "speculative": sum(is_speculative(request) for request in live),
            "slots": self.scheduler.max_running_requests,
            "ridge": self.admission.ridge,
            "ridge_given": self.admission.given_ridge is not None,
            "counters": dict(self.counters.values),
            "step_seconds": {
                str(size): [count, seconds]
                for size, (count, seconds) in self.admission.step_times.table().items()
            },
        }


def admission_settings(environment: Mapping[str, str]) -> dict[str, Any]:
    """What ``SPEX_RIDGE``, ``SPEX_SLOWDOWN`` and ``SPEX_PREFILL_TOKENS`` say of admission.

    Raises:
        SettingsError: One of them is no number, or none that it can be.
    """

    def read(name: str, kind: type[int] | type[float], least: int, otherwise: Any) -> Any:
        given = environment.get(name) or None
        if given is None:
            return otherwise
        with suppress(ValueError):
            if least <= (number := kind(given)) < inf:
                return number
        what = "a whole number" if kind is int else "a number"
        raise SettingsError(f"{name}={given!r}: must be {what} of {least} or more; or unset it")

    return {
        "ridge": read("SPEX_RIDGE", int, 1, None),
        "slowdown": read("SPEX_SLOWDOWN", float, 0, SLOWDOWN),
        "tokens": read("SPEX_PREFILL_TOKENS", int, 1, TOKENS),
    }


def scheduling_of(scheduler: Any) -> Scheduling:
    """The scheduler's own, made at the first call."""
    if (found := getattr(scheduler, "spex_scheduling", None)) is None:
        from sglang.srt.mem_cache.common import match_kv_cache  # noqa: PLC0415
        from sglang.srt.runtime_context import get_parallel  # noqa: PLC0415

        def missing(request: Any) -> int:
            """Tokens of its prompt that are not in the cache now."""
            length = len(request.origin_input_ids) + len(request.output_ids)
            if not scheduler.tree_cache.supports_fast_match_prefix():
                return length
            match_kv_cache(request, scheduler.tree_cache)
            return length - int(request.num_matched_prefix_tokens)

        ranks = get_parallel()
        first = ranks.attn_tp_rank == ranks.attn_cp_rank == ranks.pp_rank == 0
        reporter = getattr(scheduler, "metrics_reporter", None)
        found = scheduler.spex_scheduling = Scheduling(
            scheduler,
            export=first and bool(getattr(reporter, "enable_metrics", False)),
            ranks=ranks.tp_size * ranks.pp_size,
            missing=missing,
            decodes=bool(scheduler.is_generation),
            **admission_settings(os.environ),
        )
        scheduler.policy.spex_prefill = found.admission.prefill
    return cast(Scheduling, found)
