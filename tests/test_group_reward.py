"""Rewards that compare the thoughts of a decision instead of scoring each by itself."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from searching import (
    FLAT,
    QUESTION,
    WatchedEngine,
    check_idle,
    config,
    make_engine,
    run_search,
)

from spex_agents import create_tot_graph
from spex_agents.bench.trace import record
from spex_agents.engines.base import Request, Sampling
from spex_agents.engines.prompts import Prompt
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.errors import EngineError, RewardError, SettingsError
from spex_agents.rewards import Aggregate, Cached, Ensemble, GroupVote, as_reward
from spex_agents.search import (
    Beam,
    BestOfN,
    Dvts,
    Expand,
    Policy,
    Rap,
    Rebase,
    Rstar,
    Thought,
    TotBfs,
    TotDfs,
    Tree,
)
from spex_agents.speculation.config import Speculation
from spex_agents.speculation.session import Session

Say = Callable[[int, Random], str]


class Voter(SimulatedEngine):
    """Writes simulated thoughts, and votes as told: `say` gets the number of choices."""

    def __init__(self, say: Say) -> None:
        super().__init__(hardware=FLAT)
        self.say = say
        self.votes: list[Request] = []
        self.prompts: list[Prompt] = []
        self.aborted = 0

    async def generate(
        self, prompt: Prompt, request: Request, *, sampling: Sampling, max_tokens: int
    ) -> Thought:
        if "Choice 1:" not in prompt.messages[-1].content:
            return await super().generate(prompt, request, sampling=sampling, max_tokens=max_tokens)
        self.votes.append(request)
        self.prompts.append(prompt)
        try:
            await self._decode(request, 20)
        except asyncio.CancelledError:
            self.aborted += 1
            raise
        choices = len(re.findall(r"Choice \d+:", prompt.messages[-1].content))
        return Thought(text=self.say(choices, Random(request.seed)), tokens=20, ends=True)


def at_random(choices: int, rng: Random) -> str:
    return f"All are fine.\nThe best choice is {rng.randint(1, choices)}."


def group(*texts: str) -> list[list[Thought]]:
    return [[Thought(text=text, tokens=3)] for text in texts]


def request() -> Request:
    return Request(id="run/0/reward-1", seed=7)


def vote_of(say: Say, *texts: str, **settings: Any) -> list[float]:
    return run_virtual(
        GroupVote(Voter(say), **settings).score_group(QUESTION, group(*texts), request())
    )


def test_a_vote_shows_all_choices_and_scores_them_by_their_share() -> None:
    said = iter(
        ["The best choice is 2.", "2", "Choice 1 fails.\n**The best choice is 3**", "3", "3"]
    )
    engine = Voter(lambda choices, rng: next(said))
    asked = request()
    paths = [[Thought(text="x", tokens=1), Thought(text=end, tokens=1)] for end in "abc"]
    scores = run_virtual(GroupVote(engine).score_group("Is {choices} a set?", paths, asked))
    assert scores == [0.0, 0.4, 0.6]
    assert asked.tokens == 100
    assert len({vote.seed for vote in engine.votes}) == 5
    shown = engine.prompts[0].messages[-1].content
    assert "Is {choices} a set?" in shown
    assert "Choice 1:\nx\na\n\nChoice 2:\nx\nb\n\nChoice 3:\nx\nc" in shown


@pytest.mark.parametrize("unclear", ["", "None.", "1 or 2", "7", "0", "The best choice is 1.\nHm."])
def test_a_vote_for_no_choice_is_asked_for_once_more(unclear: str) -> None:
    said = iter([unclear, "1", unclear, unclear, "2"])
    scores = vote_of(lambda choices, rng: next(said), "a", "b", samples=3)
    assert scores == [0.5, 0.5]


def test_no_vote_at_all_is_an_error_or_what_was_asked_for() -> None:
    with pytest.raises(RewardError, match="votes for none of 2 choices"):
        vote_of(lambda choices, rng: "Hm.", "a", "b")
    assert vote_of(lambda choices, rng: "Hm.", "a", "b", otherwise=0.3) == [0.3, 0.3]


@given(st.integers(2, 12), st.integers(1, 9), st.integers(0, 99))
def test_shares_add_up_to_one(choices: int, samples: int, seed: int) -> None:
    reward = GroupVote(Voter(at_random), samples=samples)
    paths = group(*map(str, range(choices)))
    scores = run_virtual(reward.score_group(QUESTION, paths, Request(id="r", seed=seed)))
    assert sum(scores) == pytest.approx(1)
    assert all(0 <= score <= 1 for score in scores)


def test_votes_refuse_settings_that_make_no_sense() -> None:
    for settings in ({"samples": 0}, {"max_tokens": 0}, {"otherwise": -1.0}):
        with pytest.raises(SettingsError):
            GroupVote(SimulatedEngine(), **settings)


def test_what_wraps_single_paths_refuses_a_vote() -> None:
    vote = GroupVote(SimulatedEngine())
    for wrap in (Cached, Aggregate, lambda reward: Ensemble((reward,))):
        with pytest.raises(SettingsError, match="'group-vote' compares thoughts"):
            wrap(vote)
    with pytest.raises(SettingsError, match="'group-vote' compares thoughts"):
        asyncio.run(record(config(make_engine(), reward=vote), ["Q"], seeds=1))
    assert as_reward(vote, SimulatedEngine()) is vote


POLICIES = [
    Rebase(width=4),
    Beam(beams=4, width=2),
    Dvts(beams=4, width=2),
    TotBfs(width=2, keep=2),
    TotDfs(width=3, threshold=0.2),
    Rstar(width=2, rollouts=4),
    Rap(width=2, rollouts=3),
    BestOfN(width=4),
]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
def test_a_vote_leaves_the_tree_as_it_is_without_speculation(policy: Policy) -> None:
    def outcome(speculation: Speculation | None) -> tuple[str, list[str], int, int]:
        voter = Voter(at_random)
        done = run_search(
            policy,
            speculation=speculation,
            reward=GroupVote(voter, samples=3),
            engine=WatchedEngine(voter),
            seed=3,
        )
        shown = [prompt.messages[-1].content for prompt in voter.prompts]
        return done.tree.sha256(), shown, done.ledger.decoded_tokens, done.decoded

    plain, ahead = outcome(None), outcome(Speculation())
    assert plain[:2] == ahead[:2]
    for *_, accounted, decoded in (plain, ahead):
        assert accounted == decoded


def test_the_group_is_what_one_decision_demands() -> None:
    sizes: list[int] = []

    def count(choices: int, rng: Random) -> str:
        sizes.append(choices)
        return "The best choice is 1."

    voter = Voter(count)
    done = run_search(
        TotBfs(width=3, keep=2), reward=GroupVote(voter, samples=1), engine=WatchedEngine(voter)
    )
    layers = [
        len(decision.paths)
        for decision in done.decisions
        if isinstance(decision, Expand) and len(decision.paths) > 1
    ]
    assert sizes == layers
    assert set(sizes) > {3}  # the children of several thoughts together


def test_a_search_runs_ahead_of_a_vote() -> None:
    def outcome(speculation: Speculation | None) -> tuple[float, int]:
        voter = Voter(at_random)
        done = run_search(
            Rebase(width=8),
            speculation=speculation,
            reward=GroupVote(voter),
            engine=WatchedEngine(voter),
        )
        return done.seconds, done.ledger.hits

    (slow, _), (fast, hits) = outcome(None), outcome(Speculation())
    assert hits > 0
    assert fast < slow


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.5], r"returned 1 numbers for 4 thoughts"),
        ([0.5, 0.5, 7, 0.5], r"returned 7: must be a number in"),
        (KeyError("x"), r"'compared' failed: KeyError\('x'\)"),
    ],
)
def test_a_broken_comparison_ends_the_search_with_one_clear_error(
    values: list[float] | Exception, message: str
) -> None:
    class Compared:
        name, needs_logprobs, pure = "compared", False, True

        async def score(self, *args: object) -> float:
            raise AssertionError

        async def score_group(self, *args: object) -> Sequence[float]:
            if isinstance(values, Exception):
                raise values
            return values

    for speculation in (None, Speculation()):
        with pytest.raises(RewardError, match=message):
            run_search(Rebase(width=4), reward=Compared(), speculation=speculation)


async def first_layer(session: Session) -> Expand:
    decision = await session.decide()
    assert isinstance(decision, Expand)
    await session.expand(decision.paths)
    return decision


def test_a_vote_that_is_cancelled_with_its_search_is_aborted() -> None:
    voter = Voter(at_random)

    async def main() -> None:
        made = config(WatchedEngine(voter), reward=GroupVote(voter, samples=3))
        async with Session(made, Tree(QUESTION), run="r") as session:
            decision = await first_layer(session)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(session.evaluate(decision.paths), 0.05)
            assert not session.tree.rewards
        check_idle(made.engine)  # type: ignore[arg-type]
        assert session.ledger.decoded_tokens == voter.decoded_tokens

    run_virtual(main())
    assert voter.aborted == 3


def test_an_evaluation_that_is_asked_for_again_joins_the_vote_under_way() -> None:
    voter = Voter(at_random)

    async def main() -> None:
        made = config(WatchedEngine(voter), reward=GroupVote(voter, samples=3), speculation=None)
        async with Session(made, Tree(QUESTION), run="r") as session:
            decision = await first_layer(session)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(session.evaluate(decision.paths), 0.05)
            rewards = await session.evaluate(decision.paths)
            assert list(rewards) == list(decision.paths)
            assert len(voter.votes) == 3

    run_virtual(main())


def test_a_vote_that_failed_may_be_asked_for_again() -> None:
    fails = iter([True])

    def flaky(choices: int, rng: Random) -> str:
        if next(fails, False):
            raise EngineError("the server is gone")
        return at_random(choices, rng)

    voter = Voter(flaky)

    async def main() -> None:
        made = config(WatchedEngine(voter), reward=GroupVote(voter, samples=1))
        async with Session(made, Tree(QUESTION), run="r") as session:
            decision = await first_layer(session)
            with pytest.raises(EngineError, match="gone"):
                await session.evaluate(decision.paths)
            assert sum((await session.evaluate(decision.paths)).values()) == 1

    run_virtual(main())


async def test_a_graph_takes_a_vote() -> None:
    class Fast(Voter):
        async def _decode(self, request: Request, tokens: int) -> None:
            request.tokens += tokens

    voter = Fast(at_random)
    graph = create_tot_graph(voter, policy=Rebase(width=2), reward=GroupVote(voter)).compile()
    result = await graph.ainvoke({"question": QUESTION})
    assert result["ledger"]["useful_tokens"] > 0
    assert voter.votes
