"""Which speculative requests join the running batch of an SGLang scheduler, and which leave it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any

from spex_agents.engines.sglang.protocol import owner_of
from spex_agents.server.plugin.counters import Counters
from spex_agents.server.plugin.prefill import TOKENS, Prefill
from spex_agents.server.plugin.requests import (
    is_health_check,
    is_leaving,
    is_speculative,
    memory_of,
)
from spex_agents.server.plugin.step_times import StepTimes

RECENT_STEPS = 8
"""Batches for which a run that had demanded work counts as having some still."""

ANNOUNCED_EVERY = 16
"""Batches between two looks at whether the ridge has changed, where several ranks share one."""

IDLE_SECONDS = 0.25
"""After that long without any demanded work, guesses of other runs may fill an empty batch."""


class Admission:
    """Keeps guesses from slowing what is demanded.

    Args:
        scheduler: SGLang's.
        counters: Told of every decision.
        ridge: Requests in the running batch from which on no speculative one is admitted; None to
            find it by timing decode steps.
        slowdown: By this share may the demanded work of one run be slowed by the speculation of
            others; a run's own speculation may fill the batch up to the ridge.
        ranks: Processes that schedule in step. Several must decide alike, so they use no clock of
            their own: unless the ridge is given, it is the one that `agree` was told last.
        tokens: As of `Prefill`.
        missing: Likewise; the whole prompt if not given.
        decodes: Whether requests write anything. Those of a reward model are prompts alone, so that
            guesses are counted by their tokens there, and not by the ridge.
    """

    def __init__(
        self,
        scheduler: Any,
        counters: Counters,
        *,
        ridge: int | None,
        slowdown: float,
        ranks: int = 1,
        tokens: int = TOKENS,
        missing: Callable[[Any], int] = lambda request: len(request.origin_input_ids),
        decodes: bool = True,
    ) -> None:
        self.scheduler = scheduler
        self.counters = counters
        self.ranks = ranks
        self.given_ridge = ridge
        self.slowdown = slowdown
        self.decodes = decodes
        self.prefill = Prefill(scheduler, tokens=tokens, missing=missing)
        self.step_times = StepTimes()
        self._agreed: int | None = None
        self._announce_at = 0
        self._last: tuple[int, float] | None = None
        self._steps = 0
        self._last_demand = -IDLE_SECONDS
        self._demanded_here = False
        self._demanding: OrderedDict[str, int] = OrderedDict()

    @property
    def ridge(self) -> int:
        if self.given_ridge is not None:
            return self.given_ridge
        if self.ranks > 1:
            return StepTimes.FIRST_GUESS if self._agreed is None else self._agreed
        return self.step_times.ridge()

    def announce(self) -> int | None:
        """The ridge that all ranks are to be told: this one's measurement, where it has changed."""
        if self.given_ridge is not None or self.ranks == 1 or self._steps < self._announce_at:
            return None
        self._announce_at = self._steps + ANNOUNCED_EVERY
        if self.step_times.line() is None:
            return None
        measured = self.step_times.ridge()
        agreed = self._agreed
        return None if agreed is not None and abs(measured - agreed) * 8 <= agreed else measured

    def agree(self, ridge: int) -> None:
        """All ranks are told this, the first one's measurement, before the same step."""
        self._agreed = max(1, ridge)

    def hold_back(self, running: Iterable[Any]) -> list[Any]:
        """Take the speculative requests that may not join now out of the waiting queue."""
        queue = self.scheduler.waiting_queue
        batch = [request for request in running if not request.finished()]
        self._note_demand([*batch, *queue])
        if not any(is_speculative(request) for request in queue):
            return []
        joining = [request for request in queue if not is_speculative(request)]
        demanded_waits, held = bool(joining), []
        tokens = 0
        for request in queue:
            if not is_speculative(request):
                continue
            if (
                not demanded_waits
                and self._may_join(request, [*batch, *joining])
                and self._may_compute(tokens := tokens + self._cost(request), joining)
            ):
                joining.append(request)
            else:
                held.append(request)
                if not getattr(request, "spex_deferred", False):
                    request.spex_deferred = True
                    self.counters.add("deferred")
        self.scheduler.waiting_queue = joining
        return held

    def leaving(self, running: Iterable[Any], *, full: bool) -> list[Any]:
        """The running guesses that make room for what is demanded; nothing is done to them here.

        Args:
            running: The running batch.
            full: Whether nothing more found memory beside it.
        """
        batch = list(running)
        first = self.displaced(batch)
        if not full:
            return first
        gone = set(map(id, first))
        return first + self.in_the_way(each for each in batch if id(each) not in gone)

    def displaced(self, running: Iterable[Any]) -> list[Any]:
        """The running guesses that slow the demanded work of others too much, newest first out.

        They go back to the queue, and on from where they were when there is room.
        """
        batch = [request for request in running if not is_leaving(request)]
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

    def in_the_way(self, running: Iterable[Any]) -> list[Any]:
        """The running guesses whose memory a demanded request waits for, newest first out.

        SGLang itself lets a request that finds no memory wait until somebody ends.
        """
        waiting = [each for each in self.scheduler.waiting_queue if not is_speculative(each)]
        if not waiting:
            return []
        needed, leaving = memory_of(waiting[0]), []
        for request in reversed(list(running)):
            if needed > 0 and is_speculative(request) and not is_leaving(request):
                needed -= memory_of(request)
                leaving.append(request)
        self.counters.add("displaced", len(leaving))
        return leaving

    def _may_join(self, request: Any, batch: list[Any]) -> bool:
        if not self.decodes:
            return True
        guesses = sum(is_speculative(other) for other in batch)
        owner = owner_of(request.rid)
        if all(other == owner for other in self._demanding):
            return len(batch) < self.ridge
        if not batch and (self.ranks > 1 or perf_counter() - self._last_demand > IDLE_SECONDS):
            return True
        demanded = max(1, len(batch) - guesses)  # a place is kept while the others pause
        return demanded + guesses + 1 <= self._room(demanded)

    @property
    def bounded(self) -> bool:
        """Whether guesses' prompts are computed a little at a time: somebody waits for steps.

        On a reward server somebody may come at any time, and would wait for the whole step.
        """
        return bool(self._demanding) or not self.decodes

    def _cost(self, request: Any) -> int:
        return self.prefill.missing(request) if self.bounded else 0

    def _may_compute(self, tokens: int, joining: list[Any]) -> bool:
        """Whether so many tokens of guesses may be computed at once; a first guess always may."""
        return not joining or not self.bounded or tokens <= self.prefill.tokens

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
        requests = list(requests)
        self.prefill.computed(requests)
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
