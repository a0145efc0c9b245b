"""What a server can do, tried on it: ``spex doctor --engine URL``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import count

from spex_agents.engines.base import Request, Sampling
from spex_agents.engines.openai.continuation import COUNTING
from spex_agents.engines.openai.engine import OpenAIEngine
from spex_agents.engines.openai.labels import TOP_LOGPROBS
from spex_agents.engines.prompts import Message, Prompt
from spex_agents.search.tree import Thought

STORY = Prompt((Message("user", "Write one sentence about a river."),))
YES = Prompt((Message("user", "Is 2 + 2 = 4? Answer Yes or No."),))

WAYS = {
    "continue": "continued, as the last message of a chat",
    "tokenize": "continued, by /tokenize and /completions",
    "template": "continued, by /apply-template and /completions",
    "ask": "not continued: each step is asked for in a turn of its own",
}


WORTH = {
    "exact": "the same tree with speculation on and off",
    "seeded": "the same tree, but for rounding that depends on the batch",
    "unseeded": "trees from the same distribution",
}
"""What each `Features.exactness` promises of speculation on and off."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried.

    Attributes:
        feature: What.
        ok: Whether a search has all that it wants of it.
        found: What happened.
        remedy: What to do, if there is something to do.
    """

    feature: str
    ok: bool
    found: str
    remedy: str = ""


async def examine_server(engine: OpenAIEngine) -> list[Finding]:
    """Try what a search needs at the server of `engine`: about ten short requests.

    Raises:
        EngineError: It writes no thought at all.
    """
    return [finding async for finding in _Examination(engine).findings()]


class _Examination:
    def __init__(self, engine: OpenAIEngine) -> None:
        self._engine = engine
        self._numbers = count()

    async def findings(self) -> AsyncIterator[Finding]:
        engine = self._engine
        first, request = await self._write(STORY, stop=(), max_tokens=24)
        served = await engine.find_served()
        yield Finding("server", True, f"{served.dialect.name}, model {served.model}")
        yield Finding("token counts", first.tokens > 1, f"{request.tokens} of {first.text!r}")
        yield _reasoning(first)
        yield await self._partial()
        yield await self._seeds()
        yield await self._stops()
        yield await self._logprobs()
        yield await self._labels()
        yield Finding(
            "top_k",
            served.dialect.top_k,
            "taken" if served.dialect.top_k else "not in this server's protocol: left out",
        )
        exactness = engine.features.exactness
        yield Finding("exactness", exactness != "unseeded", f"{exactness}: {WORTH[exactness]}")
        told = {"log-probabilities", "partial replies"}  # above
        refused = [
            f"{what}: {cost}" for what, cost in engine.refusals.costs.items() if what not in told
        ]
        yield Finding(
            "parameters", not refused, "; ".join(["refused", *refused]) if refused else "all taken"
        )
        limits = [
            f"{allowed:g} {kind} a minute"
            for kind, allowed in (
                ("requests", engine.features.requests_per_minute),
                ("tokens", engine.features.tokens_per_minute),
            )
            if allowed
        ]
        yield Finding("limits", True, ", ".join(limits) or "none told")

    async def _partial(self) -> Finding:
        thought, _ = await self._write(COUNTING, temperature=0)
        writer = self._engine.discovery.writer
        asks = self._engine.refusals.asks or (writer is not None and writer.partial == "ask")
        way = "ask" if asks else (writer and writer.partial) or "continue"
        found = WAYS[way] + ("; its last line end is taken away" * self._engine.refusals.trims)
        went_on = thought.text.strip() == "5"
        return Finding(
            "partial replies",
            way != "ask" and went_on,
            f"{found}; after 1 2 3 4 came {thought.text!r}",
            "" if went_on or way == "ask" else "name its dialect=, or write prompts by template=",
        )

    async def _seeds(self) -> Finding:
        texts = [(await self._write(STORY, seed=seed, temperature=1))[0].text for seed in (1, 1, 2)]
        same, other = texts[0] == texts[1], texts[0] != texts[2]
        told = {
            (True, True): "the same seed gave the same thought, another one another",
            (True, False): "every seed gave the same thought",
            (False, True): "the same seed gave two thoughts",
            (False, False): "no rule was seen",
        }[same, other]
        return Finding("seeds", same and other, told)

    async def _stops(self) -> Finding:
        thought, _ = await self._write(COUNTING, temperature=0, stop=("6",))
        served, here = self._engine.discovery.served, "stop" in self._engine.refusals
        by_server = served is not None and bool(served.dialect.keep_delimiter) and not here
        who = "by the server" if by_server else "here: what is decoded after them is lost"
        return Finding("stop strings", "6" not in thought.text, f"applied {who}")

    async def _logprobs(self) -> Finding:
        thought, _ = await self._write(STORY, logprobs=True)
        if thought.logprobs is None:
            remedy = "take a reward that does not read them"
            return Finding("log-probabilities", False, "none sent", remedy)
        number = len(thought.logprobs)
        return Finding("log-probabilities", number > 0, f"{number} for {thought.tokens} tokens")

    async def _labels(self) -> Finding:
        found = await self._engine.score(YES, self._request(1), labels=("Yes", "No"))
        told = ", ".join(f"{label} {chance:.2f}" for label, chance in found.items())
        if not self._engine.features.logprobs:
            remedy = "a reward that does not read their probabilities may do better"
            return Finding("labels", False, f"read off the reply: {told}", remedy)
        most = self._engine.refusals.most_alternatives or TOP_LOGPROBS
        return Finding("labels", any(found.values()), f"{told}, among at most {most} tokens")

    async def _write(
        self,
        prompt: Prompt,
        *,
        seed: int = 1,
        temperature: float = 0.8,
        stop: tuple[str, ...] = ("\n",),
        logprobs: bool = False,
        max_tokens: int = 12,
    ) -> tuple[Thought, Request]:
        sampling = Sampling(temperature=temperature, top_k=0, stop=stop, logprobs=logprobs)
        request = self._request(seed)
        written = self._engine.generate(prompt, request, sampling=sampling, max_tokens=max_tokens)
        return await written, request

    def _request(self, seed: int) -> Request:
        return Request(id=f"doctor-{next(self._numbers)}/0", seed=seed)


def _reasoning(thought: Thought) -> Finding:
    if not thought.reasoning_tokens:
        return Finding("reasoning", True, "none, or switched off")
    return Finding(
        "reasoning", True, f"kept: {thought.reasoning_tokens} of {thought.tokens} tokens"
    )
