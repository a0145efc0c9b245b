"""The scheduler's side of speculation: who is admitted, hurried and pruned.

One `Scheduling` belongs to each SGLang scheduler; `plugin` calls it from the hooks. Nothing here
imports SGLang, and all decisions but the measured ridge are the same on every rank.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from time import perf_counter
from typing import Any, cast

from spex_agents.server.counters import Counters
from spex_agents.server.messages import (
    DEMANDED,
    END,
    RETRACTED,
    SPECULATIVE,
    Message,
    is_below,
    owner_of,
)
from spex_agents.server.step_times import StepTimes

REMEMBERED = 4096
"""Messages kept for requests that have not arrived yet: a message may overtake its request."""

RECENT_STEPS = 8
"""Batches for which a run that had demanded work counts as having some still."""

IDLE_SECONDS = 0.25
"""After that long without any demanded work, guesses of other runs may fill an empty batch."""


class Scheduling:
    """Speculation in one SGLang scheduler.

    Args:
        scheduler: SGLang's.
        ridge: Requests in the running batch from which on no speculative one is admitted; None to
            find it by timing decode steps.
        slowdown: By this share may the demanded work of one run be slowed by the speculation of
            others; a run's own speculation may fill the batch up to the ridge.
        ranks: Processes that schedule in step. Several must decide alike, so they use no clock:
            the ridge is `StepTimes.FIRST_GUESS` unless it is given.
    """

    def __init__(
        self, scheduler: Any, *, ridge: int | None, slowdown: float, ranks: int = 1
    ) -> None:
        self.scheduler = scheduler
        self.ranks = ranks
        self.given_ridge = StepTimes.FIRST_GUESS if ridge is None and ranks > 1 else ridge
        self.slowdown = slowdown
        reporter = getattr(scheduler, "metrics_reporter", None)
        self.counters = Counters(export=bool(getattr(reporter, "enable_metrics", False)))
        self.step_times = StepTimes()
        self._last: tuple[int, float] | None = None
        self._steps = 0
        self._last_demand = -IDLE_SECONDS
        self._demanded_here = False
        self._demanding: OrderedDict[str, int] = OrderedDict()
        self._early: OrderedDict[str, Message] = OrderedDict()

    @property
    def ridge(self) -> int:
        return self.step_times.ridge() if self.given_ridge is None else self.given_ridge

    # Admission.

    def hold_back(self, running: Iterable[Any]) -> list[Any]:
        """Take the speculative requests that may not join now out of the waiting queue."""
        queue = self.scheduler.waiting_queue
        batch = [request for request in running if not request.finished()]
        self._note_demand([*batch, *queue])
        if not any(is_speculative(request) for request in queue):
            return []
        joining = [request for request in queue if not is_speculative(request)]
        demanded_waits, held = bool(joining), []
        for request in queue:
            if not is_speculative(request):
                continue
            if not demanded_waits and self._may_join(request, [*batch, *joining]):
                joining.append(request)
            else:
                held.append(request)
                if not getattr(request, "spex_deferred", False):
                    request.spex_deferred = True
                    self.counters.add("deferred")
        self.scheduler.waiting_queue = joining
        return held

    def displaced(self, running: Iterable[Any]) -> list[Any]:
        """The running guesses that slow the demanded work of others too much, newest first out.

        They go back to the queue, and on from where they were when there is room.
        """
        batch = [request for request in running if not request.finished()]
        waiting = self.scheduler.waiting_queue
        demanded = [request for request in [*batch, *waiting] if not is_speculative(request)]
        owners = {owner_of(request.rid) for request in demanded}
        guesses = [request for request in batch if is_speculative(request)]
        others = [request for request in guesses if owners - {owner_of(request.rid)}]
        if not others:
            return []
        excess = len(demanded) + len(guesses) - int(self._room(len(demanded)))
        leaving = others[max(0, len(others) - excess) :] if excess > 0 else []
        self.counters.add("displaced", len(leaving))
        return leaving

    def _may_join(self, request: Any, batch: list[Any]) -> bool:
        guesses = sum(is_speculative(other) for other in batch)
        owner = owner_of(request.rid)
        if all(other == owner for other in self._demanding):
            return len(batch) < self.ridge
        if not batch and (self.ranks > 1 or perf_counter() - self._last_demand > IDLE_SECONDS):
            return True
        demanded = max(1, len(batch) - guesses)  # a place is kept while the others pause
        return demanded + guesses + 1 <= self._room(demanded)

    def _room(self, demanded: int) -> float:
        """The batch size at which the demanded work of others is slowed as far as it may be.

        A step takes a + b n seconds. With the ridge r = a / b, the largest n that makes it at most
        (1 + slowdown) times as long as the demanded requests alone is d + slowdown (r + d).
        """
        return min(max(self.ridge, demanded), demanded + self.slowdown * (self.ridge + demanded))

    def _note_demand(self, requests: Iterable[Any]) -> None:
        self._demanded_here = False
        for request in requests:
            if not is_speculative(request) and not is_health_check(request):
                self._demanded_here = True
                owner = owner_of(request.rid)
                self._demanding[owner] = self._steps
                self._demanding.move_to_end(owner)
                self._last_demand = perf_counter()
        while self._demanding:
            owner, seen = next(iter(self._demanding.items()))
            if self._steps - seen <= RECENT_STEPS:
                break
            del self._demanding[owner]

    def admitted(self, requests: Iterable[Any]) -> None:
        """These are in the batch that runs next."""
        new = [
            request
            for request in requests
            if not getattr(request, "spex_admitted", False) and not is_health_check(request)
        ]
        self.counters.add("prefill_batches", bool(new))
        for request in new:
            request.spex_admitted = True
            kind = "speculative" if is_speculative(request) else "demanded"
            self.counters.add(f"admitted_{kind}")

    # Messages.

    def arrived(self, request: Any) -> bool:
        """A request is about to be queued; returns whether it was aborted before it came."""
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
                self.aborting(request)
                abort(request.rid)
        if not found and message.target.endswith(END):
            self._early[message.target] = message
            if len(self._early) > REMEMBERED:
                self._early.popitem(last=False)

    def aborting_all(self, prefix: str) -> None:
        """SGLang itself is about to abort the requests whose ids begin with `prefix`."""
        for request in self._live():
            if request.rid.startswith(prefix):
                self.aborting(request)

    def aborting(self, request: Any) -> None:
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

    # Timing.

    def processed(self, batch: Any) -> None:
        """A batch has been run: learn the time of a decode step from two that follow each other."""
        now, number = perf_counter(), batch.forward_iter
        self._steps += 1  # of any kind: a reward model's server never decodes
        self.counters.add("demanded_steps", self._demanded_here)
        self.counters.add("shared_steps", self._demanded_here and self._is_shared(batch.reqs))
        if not batch.forward_mode.is_decode():
            self._last = None
            return
        if self._last is not None and self._last[0] + 1 == number:
            seconds = now - self._last[1]
            self.step_times.learn(len(batch.reqs), seconds)
            self.counters.step(len(batch.reqs), seconds)
        self._last = (number, now)

    @staticmethod
    def _is_shared(batch: Iterable[Any]) -> bool:
        """Whether guesses of one run are among the demanded requests of another."""
        guessing = {owner_of(request.rid) for request in batch if is_speculative(request)}
        demanding = {owner_of(request.rid) for request in batch if not is_speculative(request)}
        return any(demanding - {owner} for owner in guessing)

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
            "ridge": self.ridge,
            "ridge_given": self.given_ridge is not None,
            "counters": dict(self.counters.values),
            "step_seconds": {
                str(size): [count, seconds]
                for size, (count, seconds) in self.step_times.table().items()
            },
        }


def is_speculative(request: Any) -> bool:
    """Whether nobody waits for it: its priority says so. SGLang's own lowest one does not."""
    return request.priority is not None and RETRACTED <= request.priority <= SPECULATIVE


def is_health_check(request: Any) -> bool:
    """Whether SGLang sent it to itself."""
    return bool(request.rid.startswith("HEALTH_CHECK"))


def scheduling_of(scheduler: Any) -> Scheduling:
    """The scheduler's own, made at the first call from ``SPEX_RIDGE`` and ``SPEX_SLOWDOWN``."""
    if (found := getattr(scheduler, "spex_scheduling", None)) is None:
        from sglang.srt.runtime_context import get_parallel  # noqa: PLC0415

        ridge = os.environ.get("SPEX_RIDGE")
        found = scheduler.spex_scheduling = Scheduling(
            scheduler,
            ridge=int(ridge) if ridge else None,
            slowdown=float(os.environ.get("SPEX_SLOWDOWN", "0.05")),
            ranks=get_parallel().tp_size * get_parallel().pp_size,
        )
    return cast(Scheduling, found)
