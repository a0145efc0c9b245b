"""Token-level speculation and speculation of thoughts on a real engine: neither, each, and both.

All in turn, on the same seeds: what slows the machine slows them alike.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median

from spex_agents.bench.figures import rounded
from spex_agents.bench.real import timed, wake
from spex_agents.engines.base import Request
from spex_agents.engines.embedded.engine import EmbeddedEngine
from spex_agents.errors import SettingsError, at_least_one
from spex_agents.search.tree import Thought
from spex_agents.speculation.config import SearchConfig
from spex_agents.speculation.questions import check_question

REQUESTS = (1, 4, 8)
TOKENS = 64
"""Of each request whose rate is measured."""

WAYS = ("neither", "drafts", "thoughts", "both")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Requests at once, without drafts and with them.

    Attributes:
        off: Tokens a second in all without drafts, the median of the rounds.
        on: The same with them.
        ratio: The median of the rounds' ratios.
        per_step: Tokens a step yields for a request, with drafts.
        accepted: Share of the drafts that were right.
        same_texts: Whether all texts were the same.
    """

    requests: int
    off: float
    on: float
    ratio: float
    per_step: float
    accepted: float
    same_texts: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """The same search in each of `WAYS`.

    Attributes:
        seconds: Of each.
        same_tree: Whether all trees have the same hash.
    """

    seconds: Mapping[str, float]
    same_tree: bool

    def ratio(self, way: str) -> float:
        return self.seconds["neither"] / self.seconds[way]


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftComparison:
    """All that was measured."""

    label: str
    engine: str
    exactness: str
    draft_tokens: int
    rates: Sequence[Rate]
    rounds: Sequence[Round]

    @property
    def agreement(self) -> float:
        """Share of the rounds whose trees are all the same."""
        return sum(one.same_tree for one in self.rounds) / len(self.rounds)

    def speedup(self, way: str) -> float:
        """Median of the rounds' ratios to neither."""
        return median(one.ratio(way) for one in self.rounds)

    def report(self) -> dict[str, object]:
        return {
            "search": self.label,
            "engine": self.engine,
            "exactness": self.exactness,
            "draft_tokens": self.draft_tokens,
            "rates": [rounded(asdict(rate)) for rate in self.rates],
            "speedup": {way: round(self.speedup(way), 3) for way in WAYS},
            "tree_agreement": self.agreement,
            "rows": [
                {
                    "seconds": {way: round(value, 3) for way, value in one.seconds.items()},
                    "same_tree": one.same_tree,
                }
                for one in self.rounds
            ],
        }


async def compare_drafts(
    plain: SearchConfig,
    drafting: SearchConfig,
    questions: Sequence[str],
    *,
    label: str,
    rounds: int,
    progress: Callable[[str], None] = lambda line: None,
) -> DraftComparison:
    """Measure rates, then searches; which way comes first changes from round to round.

    Args:
        plain: What the searches are made of, speculation included; its engine drafts nothing.
        drafting: The same with an engine that drafts.
        questions: Taken in turn.
        label: The search's name, for the report.
        rounds: How often.
        progress: Told each round as it comes.

    Raises:
        SettingsError: `rounds` is below 1, a question is empty, `plain` does not speculate, or an
            engine is not the embedded one.
    """
    at_least_one(rounds=rounds)
    off, on = plain.engine, drafting.engine
    if not (isinstance(off, EmbeddedEngine) and isinstance(on, EmbeddedEngine)):
        raise SettingsError(
            f"engine={on.name!r}: drafts of its own has the embedded engine only; a server's are "
            "set where it is started: spex serve --policy MODEL -- --speculative-algorithm NGRAM"
        )
    if plain.speculation is None:
        raise SettingsError("speculation=None: must be set, it is what is measured")
    configs = {
        "neither": replace(plain, speculation=None),
        "drafts": replace(drafting, speculation=None),
        "thoughts": plain,
        "both": drafting,
    }
    for config in (plain, drafting):
        await wake(config, check_question(questions[0]))
    rates = []
    for requests in REQUESTS:
        rates.append(await _rate(off, on, plain, questions, requests=requests, rounds=rounds))
        progress(f"{requests} requests: {rates[-1].ratio:.2f} times as fast with drafts")
    order, done = deque(WAYS), []
    for number in range(rounds):
        question = check_question(questions[number % len(questions)])
        ran = {way: await timed(configs[way], question, number) for way in order}
        order.rotate(-1)
        trees = {result.tree.sha256() for result, _ in ran.values()}
        seconds = {way: ran[way][1] for way in WAYS}
        done.append(Round(seconds=seconds, same_tree=len(trees) == 1))
        progress(", ".join(f"{way} {value:.1f} s" for way, value in seconds.items()))
    return DraftComparison(
        label=label,
        engine=on.name,
        exactness=on.features.exactness,
        draft_tokens=on.draft_tokens,
        rates=rates,
        rounds=done,
    )


async def _rate(
    off: EmbeddedEngine,
    on: EmbeddedEngine,
    config: SearchConfig,
    questions: Sequence[str],
    *,
    requests: int,
    rounds: int,
) -> Rate:
    drafted, accepted, tokens = on.drafted_tokens, on.accepted_tokens, 0
    rates: dict[bool, list[float]] = {True: [], False: []}
    same = True
    for number in range(rounds):
        question = questions[number % len(questions)]
        texts = {}
        for drafting in (True, False) if number % 2 else (False, True):
            engine = on if drafting else off
            written, seconds = await _write(engine, config, question, requests=requests)
            texts[drafting] = written
            count = sum(thought.tokens for thought in written)
            rates[drafting].append(count / seconds)
            tokens += count if drafting else 0
        same = same and texts[True] == texts[False]
    drafted, accepted = on.drafted_tokens - drafted, on.accepted_tokens - accepted
    return Rate(
        requests=requests,
        off=median(rates[False]),
        on=median(rates[True]),
        ratio=median(b / a for a, b in zip(rates[False], rates[True], strict=True)),
        per_step=tokens / (tokens - accepted),
        accepted=accepted / max(1, drafted),
        same_texts=same,
    )


async def _write(
    engine: EmbeddedEngine, config: SearchConfig, question: str, *, requests: int
) -> tuple[list[Thought], float]:
    """Let some requests continue the same prompt, evaluated before, to the same length."""
    prompt = config.template.prompt(question, ())
    sampling = replace(config.sampling, stop=())

    async def write(seed: int, max_tokens: int) -> Thought:
        request = Request(id=f"rate/{seed}", seed=seed)
        return await engine.generate(prompt, request, sampling=sampling, max_tokens=max_tokens)

    await write(0, 1)
    clock = asyncio.get_running_loop().time
    begun = clock()
    written = await asyncio.gather(*(write(seed, TOKENS) for seed in range(requests)))
    return written, clock() - begun
