"""How far ahead a search is of itself without speculation: the price of guesses taken off."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapreplace

from spex_agents.search.tree import Path

Line = tuple[float, float]
"""Seconds of a step: those of no request, and what each adds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """How a thought was written, or judged: tokens, seconds, and the mean load meanwhile."""

    tokens: int
    seconds: float
    load: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Round:
    """What a round was: what it wrote and judged, its seconds, and what others ran meanwhile."""

    wrote: Mapping[Path, Writing]
    judged: Mapping[Path, Writing]
    took: float
    line: Callable[[], Line | None]
    slots: float
    others: float


class Lead:
    """Compares the rounds of a search with what they would have taken without guesses.

    A round expands what a decision demands, and judges it. Without guesses all of that begins with
    the round: a thought takes what it took, but beside other thoughts than those that ran beside
    it; its reward begins when it is written and a judge is free. The longest of them is the round.

    Args:
        elder: The sibling that a thought has to wait for, if there is one.
        judges: Rewards that are judged at a time; None for any number.
        calls: Requests that a reward makes of the engine that writes; 0 for none.

    Attributes:
        wrote: How each thought was written.
        judged: How each reward was judged; its seconds are without waiting for a judge.
        seconds: The lead so far: below 0 where guesses have cost more than they have saved. Each
            round counts by what was known of the engine when it ended, which is too little rather
            than too much.
        told: The same by what is known now, for people; of the last few rounds as above.
    """

    def __init__(
        self, elder: Callable[[Path], Path | None], judges: int | None, calls: int
    ) -> None:
        self.wrote: dict[Path, Writing] = {}
        self.judged: dict[Path, Writing] = {}
        self.seconds = self.told = 0.0
        self._elder = elder
        self._judges = judges
        self._calls = calls
        self._rounds: list[_Round] = []
        self._again = 1

    def round(
        self,
        paths: Sequence[Path],
        took: float,
        *,
        line: Callable[[], Line | None],
        slots: float,
        demanded: float,
    ) -> None:
        """A round has ended.

        Args:
            paths: What it was for.
            took: Its seconds.
            line: Tells that of the engine.
            slots: Requests that the engine runs at a time.
            demanded: Requests in flight that were waited for, of all searches, in the mean.
        """
        wrote = {path: self.wrote[path] for path in paths if path in self.wrote}
        if not wrote:
            return
        busy = sum(min(writing.seconds, took) for writing in wrote.values())
        judged = {path: self.judged[path] for path in wrote if path in self.judged}
        busy += self._calls * sum(min(writing.seconds, took) for writing in judged.values())
        own = busy / took if took > 0 else demanded
        ended = _Round(
            wrote=wrote,
            judged=judged,
            took=took,
            line=line,
            slots=slots,
            others=max(0.0, demanded - own),
        )
        self._rounds.append(ended)
        self.seconds += (gained := self._gained(ended))
        self.told += gained
        if len(self._rounds) >= self._again:  # all anew, but not so often that it costs
            self._again = len(self._rounds) * 5 // 4 + 1
            self.told = sum(map(self._gained, self._rounds))

    def _gained(self, ended: _Round) -> float:
        """How much longer a round would have taken, by what is known of the engine now."""
        base, slope = ended.line() or (1.0, 0.0)
        written = self._written(ended.wrote, (base, slope), ended.slots, ended.others)
        seconds = {path: writing.seconds for path, writing in ended.judged.items()}
        if self._calls:  # they slow each other, and have been slowed by those of guesses
            together = min(ended.slots, self._calls * len(ended.judged) + ended.others)
            for path, writing in ended.judged.items():
                alone = (base + slope * together) / (base + slope * writing.load)
                seconds[path] *= min(1.0, alone)
        return self._last_reward(written, seconds) - ended.took

    def _written(
        self, wrote: Mapping[Path, Writing], line: Line, slots: float, others: float
    ) -> dict[Path, float]:
        """When each thought would have been written."""
        base, slope = line
        ends: dict[Path, float] = {}
        now, step = 0.0, 0
        left = len(wrote)
        for path in sorted(wrote, key=lambda path: (wrote[path].tokens, path)):
            writing, load = wrote[path], left + others
            running = min(load, slots)
            now += (writing.tokens - step) * (base + slope * running) * load / running
            step = writing.tokens
            left -= 1
            measured = (base + slope * writing.load) * max(1, writing.tokens)
            ends[path] = writing.seconds * now / measured
        for path in wrote:
            if (elder := self._elder(path)) is not None and elder in ends:
                ends[path] += ends[elder]
        return ends

    def _last_reward(self, written: Mapping[Path, float], judged: Mapping[Path, float]) -> float:
        free = [0.0] * (self._judges or len(written))
        last = 0.0
        for path, moment in sorted(written.items(), key=lambda item: (item[1], item[0])):
            end = moment
            if seconds := judged.get(path):
                end = max(moment, free[0]) + seconds
                heapreplace(free, end)
            last = max(last, end)
        return last
