"""A limit on cost binds whatever is begun: guesses, too, which give way to what is demanded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from langchain_core.language_models import FakeListChatModel
from searching import (
    FLAT,
    LIMITS,
    QUESTION,
    Outcome,
    WatchedEngine,
    config,
    make_engine,
    run_search,
)

from spex_agents.answers import (
    ExactStop,
    MarginStop,
    MaxDollars,
    MaxSeconds,
    MaxTokens,
    TerminationRule,
)
from spex_agents.engines import ChatModelEngine, OpenAIEngine
from spex_agents.engines.base import Engine, Features, Request, Sampling
from spex_agents.engines.prompts import Prompt
from spex_agents.engines.simulated.api import SimulatedApi
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.nodes.context import in_context
from spex_agents.nodes.settings import search_config
from spex_agents.rewards import Judge, SimulatedReward
from spex_agents.search import Beam, BestOfN, Expand, Limits, Policy, Rebase, Rstar, Thought, Tree
from spex_agents.search.tree import Path
from spex_agents.server.gateway.hosting import Hosting
from spex_agents.speculation.config import Known, SearchConfig, Speculation
from spex_agents.speculation.reporting.ledger import Ledger
from spex_agents.speculation.session import Session

LEAVES = Limits(depth=1, step_tokens=200, path_tokens=200)
DEEP = replace(LIMITS, step_tokens=100)
PROMPT = 500
SENT, WRITTEN = 1.0, 4.0  # dollars for a million tokens


class Priced(WatchedEngine):
    """Tells at once how long each prompt is, as a chat model does."""

    async def generate(
        self, prompt: Prompt, request: Request, *, sampling: Sampling, max_tokens: int
    ) -> Thought:
        request.prompt_tokens = PROMPT + len(prompt.reply.split())
        return await super().generate(prompt, request, sampling=sampling, max_tokens=max_tokens)


class Asking(SimulatedReward):
    """Asks a model, which takes many tokens for each reward."""

    engine = SimulatedEngine()

    async def score(self, question: str, thoughts: Sequence[Thought], request: Request) -> float:
        value = await super().score(question, thoughts, request)
        request.tokens, request.prompt_tokens = 50, PROMPT
        return value


def came(
    policy: Policy, rule: TerminationRule | None, speculation: Speculation | None, **settings: Any
) -> Outcome:
    engine = Priced(SimulatedEngine(hardware=FLAT))
    return run_search(policy, engine=engine, termination=rule, speculation=speculation, **settings)


def dollars(outcome: Outcome) -> float:
    return SENT * outcome.ledger.sent_tokens + WRITTEN * outcome.ledger.decoded_tokens


def demanded_last(outcome: Outcome) -> int:
    """Paths that the last decision before the end demanded."""
    *_, last, _end = outcome.decisions
    return len(getattr(last, "paths", ()))


@pytest.mark.parametrize("limit", [1, 300, 1000, 2000, 4000])
@pytest.mark.parametrize("batch", [1, 2, 4])
def test_guesses_exceed_no_limit_of_tokens(limit: int, batch: int) -> None:
    rule, policy = ExactStop() | MaxTokens(limit), BestOfN(width=64, batch=batch)
    on = came(policy, rule, Speculation(), limits=LEAVES)
    off = came(policy, rule, None, limits=LEAVES)
    for outcome in (on, off):
        beyond = outcome.ledger.decoded_tokens - limit
        assert beyond < demanded_last(outcome) * LEAVES.path_tokens
    assert on.tree == off.tree  # its guesses come true: none has cost it a thought
    assert on.seconds <= off.seconds


def test_far_from_its_limit_a_search_runs_ahead_as_ever() -> None:
    policy = Rebase(width=4)
    free = came(policy, ExactStop(), Speculation())
    bounded = came(policy, ExactStop() | MaxTokens(10**6), Speculation())
    assert bounded.ledger.hits == free.ledger.hits > 0
    assert bounded.seconds == free.seconds


@pytest.mark.parametrize("policy", [Rebase(width=4), Beam(width=4), Rstar(rollouts=8)], ids=repr)
@pytest.mark.parametrize("limit", [200, 600, 1200])
def test_a_limit_of_committed_tokens_commits_the_same_and_bounds_what_is_wasted(
    policy: Policy, limit: int
) -> None:
    rule = MaxTokens(limit, waste=False)
    on = came(policy, rule, Speculation(waste=10), limits=DEEP)
    off = came(policy, rule, None, limits=DEEP)
    assert (on.tree, on.answer, on.decisions) == (off.tree, off.answer, off.decisions)
    assert on.ledger.useful_tokens == off.ledger.decoded_tokens
    assert on.ledger.wasted_tokens < limit
    assert on.ledger.decoded_tokens < 2 * limit + demanded_last(on) * DEEP.step_tokens


@pytest.mark.parametrize("reward", [SimulatedReward(latency=0.5), Asking(latency=0.5)])
@pytest.mark.parametrize(
    ("policy", "limits"),
    [(BestOfN(width=64, batch=2), LEAVES), (Rebase(width=4), DEEP), (Rstar(rollouts=8), DEEP)],
    ids=["best-of-n", "rebase", "rstar"],
)
@pytest.mark.parametrize("limit", [3000.0, 8000.0, 20_000.0])
def test_guesses_exceed_no_limit_of_dollars_nor_do_their_rewards(
    policy: Policy, limits: Limits, limit: float, reward: SimulatedReward
) -> None:
    rule = MaxDollars(limit / 1e6, sent=SENT, written=WRITTEN)
    on = came(policy, rule, Speculation(), limits=limits, reward=reward)
    thought = SENT * (PROMPT + limits.path_tokens) + WRITTEN * limits.step_tokens
    judged = SENT * PROMPT + WRITTEN * 50 if isinstance(reward, Asking) else 0.0
    assert dollars(on) < limit + demanded_last(on) * (thought + judged)


def test_a_limit_in_dollars_begins_nothing_early_before_a_prompt_is_told() -> None:
    begun: list[tuple[bool, float]] = []

    class Seen(Priced):
        async def generate(self, prompt: Prompt, request: Request, **more: Any) -> Thought:
            ended = any(call.outcome == "done" for call in self.calls.values())
            begun.append((request.demanded, ended))
            return await super().generate(prompt, request, **more)

    run_search(
        BestOfN(width=16, batch=2),
        engine=Seen(SimulatedEngine(hardware=FLAT)),
        termination=MaxDollars(0.1, sent=SENT, written=WRITTEN),
        speculation=Speculation(),
        limits=LEAVES,
    )
    guesses = [ended for demanded, ended in begun if not demanded]
    assert guesses
    assert all(guesses)


def test_guesses_are_given_up_for_what_is_demanded_in_their_place() -> None:
    def later(known: Known) -> dict[Path, float]:
        return {} if len(known.thoughts) < 2 or (5,) in known.tree else {(5,): 0.9}

    def ran(rule: TerminationRule | None) -> Ledger:
        speculation, policy = Speculation(forecast=later), BestOfN(width=8, batch=2)
        return came(policy, rule, speculation, limits=LEAVES).ledger

    free, bounded = ran(None), ran(MaxTokens(700))
    assert (free.launched, free.hits, free.retracted) == (1, 1, 0)
    # There is room for it while the first two are judged, and none beside the next two.
    assert (bounded.launched, bounded.hits, bounded.retracted) == (1, 0, 1)


@pytest.mark.parametrize(
    ("rule", "bounded"),
    [
        (MaxTokens(300), True),
        (MaxTokens(300) | MarginStop(), True),
        (MaxTokens(300) & MaxTokens(250), True),
        (MaxTokens(300) & MarginStop(min_answers=40), False),  # cost alone ends nothing
        (MaxSeconds(1000), False),
        (MarginStop(min_answers=40), False),
    ],
    ids=str,
)
def test_what_ends_a_search_by_cost_alone_holds_guesses_back(
    rule: TerminationRule, bounded: bool
) -> None:
    outcome = came(BestOfN(width=64, batch=2), rule, Speculation(), limits=LEAVES)
    assert (outcome.ledger.launched == 0) == bounded


async def test_a_search_that_goes_on_counts_what_its_first_run_spent() -> None:
    def made(rule: TerminationRule) -> SearchConfig:
        policy = BestOfN(width=64, batch=2)
        return config(make_engine(), policy, limits=LEAVES, termination=rule)

    async with Session(made(MaxTokens(10**6)), Tree(QUESTION, 0), run="first") as first:
        decision = await first.decide()
        assert isinstance(decision, Expand)
        await first.expand(decision.paths)
        await first.evaluate(decision.paths)
        spent = sum(thought.tokens for thought in first.tree.thoughts.values())
    for left, launched in ((350, 0), (650, 1)):  # beside the two that are demanded
        rule = MaxTokens(spent + left)
        async with Session(made(rule), first.tree, state=first.state, run=f"{left}") as again:
            decision = await again.decide()
            assert isinstance(decision, Expand)
            await again.expand(decision.paths)
            assert again.ledger.launched == launched


# What engines that are paid by the token are asked for early


class PaidApi(SimulatedApi):
    """An API of which each token is paid, with no limits."""

    def __init__(self) -> None:
        super().__init__(None, requests=1e9, tokens=1e12)

    @property
    def features(self) -> Features:
        return replace(super().features, paid=True)


def engines() -> list[tuple[Engine, Speculation]]:
    chat, host = FakeListChatModel(responses=["4"]), "https://api.mistral.ai/v1"
    return [
        (PaidApi(), Speculation.paid()),
        (ChatModelEngine(chat), Speculation.paid()),
        (OpenAIEngine(host, model="small", api_key="none"), Speculation.paid()),
        (OpenAIEngine("http://127.0.0.1:8000/v1"), Speculation()),
        (SimulatedEngine(), Speculation()),
    ]


@pytest.mark.parametrize(("engine", "usual"), engines(), ids=lambda one: str(one)[:40])
def test_a_search_that_is_not_told_runs_ahead_as_its_engine_is_paid(
    engine: Engine, usual: Speculation
) -> None:
    parts: Any = {"policy": Rebase(width=4), "reward": SimulatedReward()}
    assert SearchConfig(engine=engine, **parts).speculation == usual
    assert search_config(engine, parts).speculation == usual
    for told in (Speculation(), None):
        chosen = SearchConfig(engine=engine, **parts, speculation=told)
        assert chosen.speculation == told
        assert replace(chosen, limits=Limits(depth=2)).speculation == told
        settings: Any = {**parts, "speculation": told}
        assert search_config(engine, settings).speculation == told
    off = SearchConfig(engine=engine, **parts, speculation=None)
    assert in_context(off, {"speculation": True}).speculation == usual
    assert Hosting().ahead(engine) == usual


@pytest.mark.parametrize("latency", [0.05, 2.0])
def test_few_prompts_are_sent_in_vain_where_they_are_paid_and_it_still_gains(
    latency: float,
) -> None:
    spent: dict[str, Ledger] = {"off": Ledger(), "usual": Ledger(), "free": Ledger()}
    seconds = dict.fromkeys(spent, 0.0)
    speculations = {"off": None, "usual": Speculation.usual(PaidApi()), "free": Speculation()}
    for policy in (Rebase(width=4), Rstar(rollouts=6)):
        for seed in range(3):
            ran = {
                name: run_search(
                    policy,
                    seed=seed,
                    engine=WatchedEngine(PaidApi()),
                    reward=SimulatedReward(latency=latency),
                    speculation=ahead,
                )
                for name, ahead in speculations.items()
            }
            assert len({outcome.tree.sha256() for outcome in ran.values()}) == 1
            for name, outcome in ran.items():
                spent[name].add(outcome.ledger)
                seconds[name] += outcome.seconds
    sent = {name: ledger.sent_tokens for name, ledger in spent.items()}
    assert 0 < sent["off"] <= sent["usual"] < 1.25 * sent["off"] < sent["free"]
    assert seconds["usual"] < 0.6 * seconds["off"]


def test_a_model_that_judges_its_own_steps_is_run_ahead_of_from_the_first_search_on() -> None:
    def searched(speculation: Speculation | None) -> Outcome:
        engine = WatchedEngine(PaidApi())
        return run_search(
            Rebase(width=4), seed=1, engine=engine, reward=Judge(engine), speculation=speculation
        )

    off, on = searched(None), searched(Speculation.usual(PaidApi()))
    assert on.tree.sha256() == off.tree.sha256()
    assert on.ledger.hits > 4
    assert on.seconds < 0.95 * off.seconds
