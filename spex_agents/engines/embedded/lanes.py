"""Contexts of llama.cpp side by side over one model: each evaluates its share of the streams.

The threads of one context wait for each other after each of a step's several hundred operations;
contexts wait for each other once a step. On a few processors a context a processor is faster for
it, and does not come to a halt where another process wants a processor too. Where the memory that
the weights are read from is what limits, one context with all threads may be faster. So it is
measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, TypeAlias

Entry: TypeAlias = tuple[int, int, int, bool]
"""A stream, a token, its position, and whether what follows it is asked for."""

_STREAM_PADDING = 256  # llama.cpp rounds a stream up to this many cells

_CACHE_TYPES = (8, 30)
"""Of the cache, as ggml numbers them: Q8_0, or BF16 where 32 does not divide a head's size."""

_SIZES = (1, 4)
"""Tokens of a step by which arrangements are compared."""

_MANY = 32
"""From so many tokens on a step is arithmetic, which all threads share gladly."""

_ROUNDS = 4
_SECONDS = 1.0
"""No further round of trials after these."""

_CLEARLY = 1.3
"""How much dearer lanes must have been not to be taken: other work on the machine disturbs a trial,
and lanes the least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """How many lanes there are, and with how many threads they evaluate.

    Attributes:
        lanes: Contexts side by side.
        processors: For all lanes that evaluate at the same time, in equal parts.
        alone: For a lane that evaluates alone: threads, by the tokens from which on they count.
        most: No lane has more threads.
    """

    lanes: int
    processors: int
    alone: Mapping[int, int]
    most: int = 512  # llama.cpp's own limit

    def threads(self, active: int, tokens: int) -> int:
        """Of each lane, where so many evaluate so many tokens in all."""
        if active > 1:
            return min(self.most, max(1, self.processors // active))
        return min(self.most, self.alone[max(size for size in self.alone if size <= tokens)])

    def even(self) -> Arrangement:
        """The same lanes, with one number of threads whatever they evaluate."""
        share = max(1, self.processors // self.lanes)
        return replace(self, alone={1: share}, most=share)


class Lane:
    """One context over a model: some of the streams."""

    def __init__(self, api: Any, model: Any, *, streams: int, context: int, batch: int) -> None:
        self._api = api
        self._batch = batch
        self._threads = 1
        params = api.LlamaContextParams()
        params.n_ctx = streams * -(-context // _STREAM_PADDING) * _STREAM_PADDING
        params.n_batch = params.n_ubatch = batch
        params.n_seq_max = streams
        params.n_threads = params.n_threads_batch = self._threads
        params.kv_unified = False
        params.flash_attn_type = 1
        self.context = self._with_cache(model, params)

    def _with_cache(self, model: Any, params: Any) -> Any:
        for kind in _CACHE_TYPES[:-1]:
            params.type_k = params.type_v = kind
            with suppress(RuntimeError):
                return self._api.LlamaContext(model, params)
        params.type_k = params.type_v = _CACHE_TYPES[-1]
        return self._api.LlamaContext(model, params)

    def evaluate(self, entries: Sequence[Entry], threads: int) -> None:
        if threads != self._threads:
            self.context.set_n_threads(threads, threads)
            self._threads = threads
        with self._api.LlamaBatch(n_tokens=self._batch, embd=0, n_seq_max=1) as batch:
            for stream, token, position, wanted in entries:
                batch.add(token, position, [stream], wanted)
            self.context.decode(batch)


class Lanes:
    """Lanes that evaluate at the same time.

    Streams are dealt out to them in turn: the lowest streams are spread evenly, and neighbours in
    their lane. To be used from one thread only.
    """

    def __init__(self, lanes: Sequence[Lane], arrangement: Arrangement) -> None:
        self.arrangement = arrangement
        self._lanes = lanes
        self._helpers = ThreadPoolExecutor(len(lanes), "spex-embedded-lane")

    def of(self, stream: int) -> tuple[Lane, int]:
        """The lane of `stream`, and its number there."""
        return self._lanes[stream % len(self._lanes)], stream // len(self._lanes)

    def evaluate(self, entries: Sequence[Entry]) -> list[tuple[Any, int]]:
        """Evaluate `entries`, and return where the logits of each are: a context and its row."""
        shares: dict[Lane, list[Entry]] = {}
        rows = []
        for stream, token, position, wanted in entries:
            lane, here = self.of(stream)
            share = shares.setdefault(lane, [])
            rows.append((lane.context, len(share)))
            share.append((here, token, position, wanted))
        threads = self.arrangement.threads(len(shares), len(entries))
        (first, own), *others = shares.items()
        helped = [self._helpers.submit(lane.evaluate, share, threads) for lane, share in others]
        try:
            first.evaluate(own, threads)
        finally:
            failures = [work.exception() for work in helped]  # none runs on: the model may be freed
        for failure in failures:
            if failure is not None:
                raise failure
        return rows

    def share(self, source: int, target: int, length: int) -> None:
        """Give stream `target` the first `length` tokens of stream `source`, and no others."""
        (lane, there), (other, here) = self.of(source), self.of(target)
        if source != target and len(self._lanes) > 1:
            # Not by `memory_seq_cp` even within a lane: it copies at the next evaluation only, by
            # when another lane's text may be in `source`.
            other.context.set_state_seq_data(lane.context.get_state_seq_data(there), here)
        elif source != target:
            lane.context.memory_seq_cp(there, here, -1, -1)
        other.context.memory_seq_rm(here, length, -1)

    def forget(self) -> None:
        for lane in self._lanes:
            lane.context.kv_cache_clear()

    def close(self) -> None:
        self._helpers.shutdown()
        for lane in self._lanes:
            lane.context.close()


def fastest(make: Callable[[Arrangement], Lanes], *, slots: int, processors: int) -> Arrangement:
    """Try which arrangement evaluates the fastest here and now.

    Args:
        make: Makes lanes, to be tried and closed.
        slots: Streams of all lanes.
        processors: That may be used.
    """
    only = Arrangement(lanes=1, processors=processors, alone={1: processors})
    if processors == 1:
        return only
    sizes = sorted({min(size, slots) for size in _SIZES})
    options = [2**power for power in range(processors.bit_length()) if 2**power < processors]
    options.append(processors)
    counts = [count for count in options if count <= slots]
    with ExitStack() as stack:
        trials = {}
        for count in counts:
            arrangement = Arrangement(lanes=count, processors=processors, alone={1: processors})
            trials[count] = stack.enter_context(closing(make(arrangement)))
        alone = {(size, threads): math.inf for size in sizes for threads in options}
        together = {(size, count): math.inf for size in sizes[1:] for count in counts[1:]}
        _step(trials[1], sizes[-1])  # reads the weights from the disk
        begun = perf_counter()
        for _ in range(_ROUNDS):
            for (size, threads), least in alone.items():
                trials[1].arrangement = Arrangement(lanes=1, processors=1, alone={1: threads})
                alone[size, threads] = min(least, _step(trials[1], size))
            for (size, count), least in together.items():
                together[size, count] = min(least, _step(trials[count], size))
            if perf_counter() - begun > _SECONDS:
                break
    best = {size: min(options, key=lambda threads: alone[size, threads]) for size in sizes}
    for size in sizes[1:]:
        together[size, 1] = alone[size, best[size]]
    cost = {lanes: math.prod(together[size, lanes] for size in sizes[1:]) for lanes in counts}
    count = max(lanes for lanes in counts if cost[lanes] <= _CLEARLY * min(cost.values()))
    return Arrangement(lanes=count, processors=processors, alone={**best, _MANY: processors})


def _step(lanes: Lanes, size: int) -> float:
    """Seconds of one step of `size` streams."""
    for stream in range(size):
        lanes.share(stream, stream, 0)
    begun = perf_counter()
    lanes.evaluate([(stream, 0, 0, True) for stream in range(size)])
    return perf_counter() - begun
