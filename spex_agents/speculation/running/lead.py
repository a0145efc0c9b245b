"""How far ahead a search is of itself without speculation: the price of guesses taken off."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

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
        return _Alone(ended, self._elder, self._judges, self._calls).seconds() - ended.took


class _Alone:
    """A round as it would have been: itself and what others ran, step by step.

    A thought, or a reward that asks the engine, has taken a number of steps, by its seconds and the
    load beside it. They pass at the pace of the load that is left without guesses. A reward that
    asks nobody takes its seconds.
    """

    def __init__(
        self,
        round_: _Round,
        elder: Callable[[Path], Path | None],
        judges: int | None,
        calls: int,
    ) -> None:
        self._round = round_
        self._base, self._slope = round_.line() or (1.0, 0.0)
        self._calls = calls
        self._free = len(round_.wrote) if judges is None else judges
        self._judging: deque[Path] = deque()
        """Written, and waiting for a judge."""
        self._timed: list[tuple[float, Path]] = []
        """Rewards that ask nobody, by when they end."""
        self._running: list[tuple[float, Path, float, bool]] = []
        """Work on the engine: the step in which it ends, its path, how many requests of it run in
        the mean, and whether it is a thought."""
        self._steps = 0.0
        self._load = round_.others
        self._younger: dict[Path, list[Path]] = {}
        for path in sorted(round_.wrote):
            if (older := elder(path)) is not None and older in round_.wrote:
                self._younger.setdefault(older, []).append(path)
            else:
                self._write(path)

    def seconds(self) -> float:
        """Until its last thought and its last reward would have been there."""
        now = 0.0
        while self._running or self._timed:
            running = min(self._load, self._round.slots)
            step = math.inf
            if running:
                step = (self._base + self._slope * running) * self._load / running
            last = self._running[0][0] if self._running else math.inf
            moment = now + (last - self._steps) * step
            if self._timed and self._timed[0][0] <= moment:
                moment, _ = heappop(self._timed)
                self._steps += (moment - now) / step
                self._free += 1
            else:
                self._steps, path, requests, thought = heappop(self._running)
                self._load -= requests
                if thought:
                    self._written(path)
                else:
                    self._free += 1
            now = moment
            while self._free and self._judging:
                self._judge(self._judging.popleft(), now)
        return now

    def _write(self, path: Path) -> None:
        self._run(path, self._steps_of(self._round.wrote[path]), 1.0, thought=True)

    def _run(self, path: Path, steps: float, requests: float, *, thought: bool) -> None:
        heappush(self._running, (self._steps + steps, path, requests, thought))
        self._load += requests

    def _written(self, path: Path) -> None:
        for younger in self._younger.get(path, ()):
            self._write(younger)
        if path in self._round.judged:
            self._judging.append(path)

    def _judge(self, path: Path, now: float) -> None:
        self._free -= 1
        judging = self._round.judged[path]
        if self._calls and (steps := self._steps_of(judging)):
            requests = min(max(1.0, judging.tokens / steps), self._calls)
            self._run(path, steps, requests, thought=False)
        else:
            heappush(self._timed, (now + judging.seconds, path))

    def _steps_of(self, writing: Writing) -> float:
        running = min(writing.load, self._round.slots)
        return writing.seconds / (self._base + self._slope * running)
