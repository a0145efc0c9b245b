"""What a search has spent and gained, as its ledger tells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from searching import WatchedEngine, make_engine, run_search

from spex_agents.bench.case import Case
from spex_agents.bench.searches import searches
from spex_agents.engines.base import Request, Sampling
from spex_agents.engines.openai.reply import Reply
from spex_agents.engines.prompts import Prompt
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.errors import SettingsError
from spex_agents.rewards import Cached, Resilient, SimulatedReward
from spex_agents.search import Dvts, Policy, Rap, Rebase, Rstar, Thought
from spex_agents.speculation import Ledger, Prices, Speculation


@pytest.mark.parametrize(
    ("policy", "depth", "latency"),
    [
        (Rebase(width=8), 10, 0.05),
        (Rebase(width=8), 10, 3.0),
        (Dvts(beams=8, width=4), 10, 0.05),
        (Rstar(rollouts=10), 5, 0.05),
        (Rstar(rollouts=10, create="all"), 5, 3.0),
    ],
    ids=["rebase", "rebase, slow rewards", "dvts", "rstar", "rstar, all children"],
)
def test_the_seconds_saved_are_those_of_the_clock(
    policy: Policy, depth: int, latency: float
) -> None:
    case = Case(
        preset="paper-7b", name="one", policy=policy, depth=depth, seeds=1, reward_latency=latency
    )
    off, on = searches(case, 0, [None]), searches(case, 0, [case.ahead()])
    saved = off.seconds - on.seconds
    assert on.ledger().saved_seconds == pytest.approx(saved, rel=0.01)
    assert on.ledger().ahead_seconds > 0
    assert off.ledger().saved_seconds == 0


@pytest.mark.parametrize("policy", [Rap(rollouts=10), Rstar(rollouts=10)], ids=["rap", "rstar"])
def test_the_seconds_saved_count_that_rewards_slow_the_engine_that_they_ask(policy: Policy) -> None:
    case = Case(preset="cpu-135m", name="one", policy=policy, depth=5, seeds=1, votes=4)
    off, on = searches(case, 0, [None]), searches(case, 0, [case.ahead()])
    told = on.ledger().saved_seconds
    assert told == pytest.approx(off.seconds - on.seconds, abs=0.05 * off.seconds)


def test_what_was_cut_off_is_counted_apart_and_nothing_estimated_where_all_is_told() -> None:
    spent = run_search(Rebase(width=8), seed=3, speculation=Speculation()).ledger
    assert spent.retracted > 0
    assert 0 < spent.aborted_tokens <= spent.wasted_tokens
    assert spent.estimated_tokens == 0


class Untold(WatchedEngine):
    """Tells nobody how many tokens it decodes, but for those of a thought in the end."""

    async def generate(
        self, prompt: Prompt, request: Request, *, sampling: Sampling, max_tokens: int
    ) -> Thought:
        hidden = Request(id=request.id, seed=request.seed, demanded=request.demanded)
        return await super().generate(prompt, hidden, sampling=sampling, max_tokens=max_tokens)


def test_tokens_that_an_engine_does_not_tell_are_those_of_its_thoughts_and_marked() -> None:
    engine = Untold(make_engine().inner)
    off = run_search(Rebase(width=4), seed=1, engine=engine)
    assert off.ledger.useful_tokens == off.ledger.estimated_tokens == off.decoded
    assert off.ledger.wasted_tokens == 0
    engine = Untold(make_engine().inner)
    on = run_search(Rebase(width=4), seed=1, engine=engine, speculation=Speculation())
    assert on.tree == off.tree
    assert on.ledger.useful_tokens == off.ledger.useful_tokens
    assert on.ledger.wasted_tokens >= 0


# Prices


def test_a_printed_cost_tells_prompts_that_were_sent_in_vain() -> None:
    spent = Ledger(sent_tokens=1757, vain_tokens=901, useful_tokens=300, wasted_tokens=6)
    assert spent.bill == "1757 tokens sent (901 in vain), 306 written (6 in vain)"
    untold = Ledger(useful_tokens=300, wasted_tokens=6)
    assert untold.bill == "306 tokens written (6 in vain)"


def test_a_cost_is_that_of_prompts_cached_or_not_tokens_and_calls() -> None:
    spent = Ledger(
        calls=4, sent_tokens=3000, cached_tokens=1000, useful_tokens=300, wasted_tokens=200
    )
    prices = Prices(prompt=1.0, decoded=10.0, cached=0.5, call=0.001)
    assert spent.cost(prices) == pytest.approx((2000 + 500 + 5000) / 1e6 + 0.004)
    assert spent.cost(replace(prices, cached=None)) == pytest.approx((3000 + 5000) / 1e6 + 0.004)


@pytest.mark.parametrize("wrong", ["prompt", "decoded", "cached", "call"])
def test_a_price_is_not_below_nothing(wrong: str) -> None:
    given: dict[str, float] = {"prompt": 1.0, "decoded": 1.0, wrong: -1.0}
    with pytest.raises(SettingsError, match=wrong):
        Prices(**given)


def test_what_is_paid_for_is_hardly_wasted() -> None:
    spent = Ledger()
    for seed in range(5):
        spent.add(run_search(Rebase(width=8), seed=seed, speculation=Speculation.paid()).ledger)
    assert spent.hits > 0
    assert spent.waste_ratio <= 0.1


# What a stream tells


def chunk(text: str, usage: int | None = None) -> Mapping[str, Any]:
    told = {} if usage is None else {"usage": {"completion_tokens": usage, "prompt_tokens": 3}}
    return {"choices": [{"index": 0, "delta": {"content": text}}], **told}


@pytest.mark.parametrize(
    ("chunks", "tokens", "told"),
    [
        ([chunk("a"), chunk("b")], 2, 0),
        ([chunk("a", 25), chunk("b"), chunk("c")], 27, 25),
        ([chunk("a", 25), chunk("b"), chunk("c", 50)], 50, 50),
        ([chunk("a", 25), chunk("b"), {"choices": [], "usage": {"completion_tokens": 30}}], 30, 30),
    ],
    ids=["untold", "a tail", "told again", "told at the end"],
)
def test_what_came_after_the_last_count_is_counted_by_itself(
    chunks: Sequence[Mapping[str, Any]], tokens: int, told: int
) -> None:
    reply = Reply()
    for one in chunks:
        reply.read(one)
    assert (reply.tokens, reply.told_tokens) == (tokens, told)


class Costly(SimulatedReward):
    """Reads a prompt and decodes for each score, and fails at the first try."""

    async def score(self, question: str, thoughts: Sequence[Thought], request: Request) -> float:
        request.tokens += 7
        request.estimated_tokens += 2
        request.prompt_tokens += 100
        request.cached_tokens += 60
        if "~" not in request.id:
            raise ConnectionError("busy")
        return await SimulatedReward.score(self, question, thoughts, request)


def test_what_wraps_a_reward_passes_on_all_that_it_costs() -> None:
    reward = Cached(Resilient(Costly(), retry_wait=0))
    asked = Request(id="run/0/reward-1", seed=7)
    step = Thought(text="Step 1, quality 0.500000.", tokens=9)
    run_virtual(reward.score("?", [step], asked))
    assert (asked.tokens, asked.estimated_tokens) == (14, 4)
    assert (asked.prompt_tokens, asked.cached_tokens) == (200, 120)


# Prompts that are paid for


class Wordy(WatchedEngine):
    """An API whose prompts are a hundred times as long as what it writes."""

    async def generate(
        self, prompt: Prompt, request: Request, *, sampling: Sampling, max_tokens: int
    ) -> Thought:
        try:
            return await super().generate(prompt, request, sampling=sampling, max_tokens=max_tokens)
        finally:
            request.prompt_tokens = 10_000


def bought(speculation: Speculation) -> Ledger:
    spent = Ledger()
    for seed in range(4):
        engine = Wordy(make_engine().inner)
        ran = run_search(Rebase(width=8), seed=seed, engine=engine, speculation=speculation)
        assert ran.ledger.sent_tokens == 10_000 * ran.ledger.thought_calls
        spent.add(ran.ledger)
    return spent


def test_what_was_sent_in_vain_is_what_was_sent_for_thoughts_that_were_not_taken() -> None:
    off = run_search(Rebase(width=8), seed=1, engine=Wordy(make_engine().inner))
    assert off.ledger.vain_tokens == 0 < off.ledger.sent_tokens
    on = run_search(
        Rebase(width=8), seed=1, engine=Wordy(make_engine().inner), speculation=Speculation()
    )
    assert on.ledger.sent_tokens - on.ledger.vain_tokens == off.ledger.sent_tokens
    assert on.ledger.vain_tokens == 10_000 * (on.ledger.launched - on.ledger.hits) > 0


def test_waste_binds_on_prompts_where_they_count() -> None:
    blind, seeing = (bought(Speculation(waste=0.1, prompts=prompts)) for prompts in (0.0, 0.25))

    def wasted(spent: Ledger) -> float:
        useful, vain = spent.waste(0.25)
        return vain / useful

    assert wasted(seeing) <= 0.1 < wasted(blind)
    assert seeing.hits > 0


def test_a_token_of_a_prompt_counts_a_quarter_where_all_is_paid_for() -> None:
    assert Speculation.paid().prompts == 0.25
    assert Ledger(useful_tokens=10, wasted_tokens=1, sent_tokens=100, vain_tokens=20).waste(
        0.25
    ) == (30, 6)
    with pytest.raises(SettingsError, match="prompts"):
        Speculation(prompts=-1)
