"""Off and on in turn on a real engine, in real seconds: the machine's moods hit both alike."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from uuid import uuid4

from spex_agents.bench.figures import rounded
from spex_agents.engines.base import Request
from spex_agents.errors import SettingsError, at_least_one
from spex_agents.speculation.config import SearchConfig
from spex_agents.speculation.questions import check_question
from spex_agents.speculation.solving import Result, solve

FEWEST_PAIRS = 5
"""Fewer say little about a machine that has other things to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The same search twice.

    Attributes:
        off_s: Seconds without speculation.
        on_s: Seconds with it.
        off_rate: Tokens a second without speculation.
        on_rate: Tokens a second with it, wasted ones included.
        useful_tokens: With speculation, as are the figures below.
        wasted_tokens: Decoded for thoughts that nobody demanded.
        hit_rate: Thoughts begun early that were demanded.
        same_tree: Whether both trees have the same hash; on an engine that is not exact, the same
            thoughts, and the same rewards but for rounding.
        same_answer: Whether both answers are the same.
    """

    off_s: float
    on_s: float
    off_rate: float
    on_rate: float
    useful_tokens: int
    wasted_tokens: int
    hit_rate: float
    same_tree: bool
    same_answer: bool

    @property
    def ratio(self) -> float:
        return self.off_s / self.on_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All pairs of one comparison."""

    label: str
    engine: str
    exactness: str
    slots: str
    pairs: Sequence[Pair]

    @property
    def agreement(self) -> float:
        """Share of the pairs whose trees are the same."""
        return sum(pair.same_tree for pair in self.pairs) / len(self.pairs)

    def spread(self) -> tuple[float, float, float]:
        """Lowest, median and highest ratio of the pairs."""
        ratios = [pair.ratio for pair in self.pairs]
        return min(ratios), median(ratios), max(ratios)

    def report(self) -> dict[str, object]:
        low, middle, high = self.spread()
        return {
            "search": self.label,
            "engine": self.engine,
            "exactness": self.exactness,
            "slots": self.slots,
            "speedup": round(middle, 3),
            "speedup_min": round(low, 3),
            "speedup_max": round(high, 3),
            "tree_agreement": self.agreement,
            "useful_tokens": sum(pair.useful_tokens for pair in self.pairs),
            "wasted_tokens": sum(pair.wasted_tokens for pair in self.pairs),
            "rows": [rounded(asdict(pair) | {"ratio": pair.ratio}) for pair in self.pairs],
        }


async def compare(
    config: SearchConfig,
    questions: Sequence[str],
    *,
    label: str,
    pairs: int = FEWEST_PAIRS,
    progress: Callable[[Pair], None] = lambda pair: None,
) -> Comparison:
    """Search each question with speculation off and on, in alternating order.

    Each pair has a seed of its own. The order alternates because the second of two equal searches
    finds its prompts in the server's cache; a short request before all wakes the engine up.

    Args:
        config: What the searches are made of, its `speculation` included.
        questions: Taken in turn.
        label: The search's name, for the report.
        pairs: How often.
        progress: Told each pair as it comes.

    Raises:
        SettingsError: `pairs` is below 1, a question is empty or `config` does not speculate.
    """
    at_least_one(pairs=pairs)
    if config.speculation is None:
        raise SettingsError("speculation=None: must be set, it is what is measured")
    await wake(config, check_question(questions[0]))
    done = []
    for number in range(pairs):
        question = questions[number % len(questions)]
        pair, _ = await measure_pair(config, question, number, ahead_first=bool(number % 2))
        done.append(pair)
        progress(pair)
    features = config.engine.features
    return Comparison(
        label=label,
        engine=config.engine.name,
        exactness=features.exactness,
        slots=f"{features.slots} slots" if features.slots else "slots unknown",
        pairs=done,
    )


async def measure_pair(
    config: SearchConfig, question: str, seed: int, *, ahead_first: bool
) -> tuple[Pair, Result]:
    """The same search off and on; the result is the one with speculation.

    Args:
        config: What the search is made of, its `speculation` included.
        question: What to answer.
        seed: Decides both.
        ahead_first: Whether the one with speculation goes first.
    """
    plain = replace(config, speculation=None)
    ran: dict[bool, tuple[Result, float]] = {}
    for ahead in (ahead_first, not ahead_first):
        ran[ahead] = await timed(config if ahead else plain, question, seed)
    exact = config.engine.features.exactness == "exact"
    return _pair(*ran[False], *ran[True], exact=exact), ran[True][0]


async def timed(config: SearchConfig, question: str, seed: int) -> tuple[Result, float]:
    """A search, and how many seconds it took on the running loop's clock."""
    clock = asyncio.get_running_loop().time
    begun = clock()
    result = await solve(config, question, seed=seed, record=False)
    return result, clock() - begun


def _pair(off: Result, off_s: float, on: Result, on_s: float, *, exact: bool) -> Pair:
    return Pair(
        off_s=off_s,
        on_s=on_s,
        off_rate=off.ledger.decoded_tokens / off_s,
        on_rate=on.ledger.decoded_tokens / on_s,
        useful_tokens=on.ledger.useful_tokens,
        wasted_tokens=on.ledger.wasted_tokens,
        hit_rate=on.ledger.hit_rate,
        same_tree=off.tree.sha256() == on.tree.sha256() if exact else off.tree.agrees(on.tree),
        same_answer=off.answer == on.answer,
    )


async def wake(config: SearchConfig, question: str) -> None:
    """A short request before all that is timed.

    Raises:
        EngineError: The engine does not answer.
    """
    request = Request(id=f"{uuid4().hex}/wake", seed=0)
    prompt = config.template.prompt(question, ())
    await config.engine.generate(prompt, request, sampling=config.sampling, max_tokens=4)
