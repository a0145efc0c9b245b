"""Rewards that fail, hang, are few at a time, or score in batches."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from searching import make_engine, run_search

from spex_agents.engines.base import Request
from spex_agents.engines.simulated.api import SimulatedApi
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.errors import EngineUnavailable, RewardError, SettingsError
from spex_agents.rewards import (
    Aggregate,
    Batched,
    Cached,
    Calculator,
    Candidate,
    Ensemble,
    GroupVote,
    Judge,
    Resilient,
    Reward,
    SimulatedReward,
    Verifier,
)
from spex_agents.rewards.base import asks, calls, places
from spex_agents.search import Dvts, Rebase, Rstar, Thought
from spex_agents.search.policy import Policy
from spex_agents.speculation import Failures, Speculation
from spex_agents.speculation.slots.budget import Budget

STEP = Thought(text="Step 1, quality 0.500000.", tokens=9)


def request(name: str = "run/0/reward-1", *, demanded: bool = True) -> Request:
    return Request(id=name, seed=7, demanded=demanded)


def now() -> float:
    return asyncio.get_running_loop().time()


async def ended(call: Awaitable[float]) -> float:
    """When it has."""
    await call
    return now()


# Few at a time


async def second(question: str, steps: Sequence[str]) -> float:
    await asyncio.sleep(1)
    return 0.5


def test_a_verifier_runs_so_many_calls_at_a_time_the_demanded_ones_first() -> None:
    reward = Verifier(second, max_concurrency=2)

    async def main() -> list[float]:
        asked = [request(str(index), demanded=index != 2) for index in range(5)]
        return await asyncio.gather(*(ended(reward.score("?", [STEP], one)) for one in asked))

    assert run_virtual(main()) == [1, 1, 3, 2, 2]


@pytest.mark.parametrize("most", [0, -1])
def test_a_reward_that_may_never_run_is_refused(most: int) -> None:
    with pytest.raises(SettingsError, match="max_concurrency"):
        Verifier(second, max_concurrency=most)
    with pytest.raises(SettingsError, match="max_concurrency"):
        Resilient(Verifier(second), max_concurrency=most)


def test_guesses_take_no_place_that_a_demanded_reward_needs() -> None:
    """Two places, a second each: running ahead may use what is free, and costs nobody his turn."""
    reward = Verifier(second, pure=True, max_concurrency=2)
    off = run_search(Rebase(width=8), seed=3, reward=reward)
    on = run_search(Rebase(width=8), seed=3, reward=reward, speculation=Speculation())
    assert on.tree == off.tree
    assert on.seconds <= off.seconds * 1.03


def test_what_wraps_a_reward_tells_its_engine_and_its_places() -> None:
    engine = SimulatedEngine()
    judge = Judge(engine)
    few = Verifier(second, max_concurrency=3)
    for wrapped in (Cached(judge), Aggregate(judge), Resilient(judge)):
        assert (asks(wrapped), calls(wrapped), places(wrapped)) == (engine, 1, None)
    for bounded in (Cached(few), Aggregate(few), Resilient(few), Resilient(few, max_concurrency=9)):
        assert (asks(bounded), places(bounded)) == (None, 3)
    both = Ensemble((judge, few, Judge(engine), Calculator()))
    assert (asks(both), calls(both), places(both)) == (engine, 2, 3)


# Tries


@dataclass
class Answers:
    """Answers in turn, after a while; an exception is raised."""

    answers: list[object]
    seconds: float = 0.0
    tokens: int = 0
    name: str = "answers"
    needs_logprobs: bool = False
    pure: bool = True
    requests: list[str] = field(default_factory=list)
    begun: list[float] = field(default_factory=list)

    async def score(self, question: str, thoughts: Sequence[Thought], request: Request) -> float:
        self.requests.append(request.id)
        self.begun.append(now())
        request.tokens += self.tokens
        answer = self.answers.pop(0)
        await asyncio.sleep(self.seconds)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[return-value]


def asked(reward: Reward) -> tuple[float, Request]:
    made = request()
    return run_virtual(reward.score("?", [STEP], made)), made


def test_a_reward_that_fails_is_tried_again_under_another_id_and_all_tokens_count() -> None:
    reward = Answers([ConnectionError("busy"), float("nan"), 0.7], tokens=5)
    score, made = asked(Resilient(reward, retry_wait=1.0))
    assert score == 0.7
    assert made.tokens == 15
    assert len(set(reward.requests)) == 3
    assert all(name.startswith(made.id) for name in reward.requests)
    first, then, last = reward.begun
    assert 0.75 <= then - first <= 1
    assert 1.5 <= last - then <= 2


def test_the_last_try_raises_what_it_met() -> None:
    reward = Answers([ValueError("one"), ValueError("two"), 0.7])
    with pytest.raises(ValueError, match="two"):
        asked(Resilient(reward, retries=1))


@pytest.mark.parametrize("error", [EngineUnavailable("no key"), KeyError("not to be mended")])
def test_what_another_try_would_meet_again_is_not_tried_again(error: Exception) -> None:
    reward = Answers([error, 0.7])
    with pytest.raises(type(error)):
        asked(Resilient(reward, transient=lambda error: isinstance(error, ConnectionError)))
    assert len(reward.requests) == 1


def test_a_fault_of_the_whole_is_not_tried_again_by_default() -> None:
    reward = Answers([EngineUnavailable("no key"), 0.7])
    with pytest.raises(EngineUnavailable):
        asked(Resilient(reward))


def test_a_try_that_takes_too_long_is_cancelled_and_says_what_to_do() -> None:
    reward = Answers([0.1, 0.2, 0.3], seconds=10)
    with pytest.raises(RewardError, match=r"took more than 2 s, 3 times: raise timeout="):
        asked(Resilient(reward, timeout=2, retry_wait=0))
    assert reward.begun == [0, 2, 4]


def test_waiting_for_a_place_is_no_part_of_the_time_limit_and_no_place_is_held_between_tries() -> (
    None
):
    reward = Answers([ConnectionError("busy"), 0.2, 0.3], seconds=1)
    tried = Resilient(reward, timeout=1.5, retry_wait=4, max_concurrency=1)

    async def main() -> list[float]:
        one, two = request("one"), request("two")
        return await asyncio.gather(*(ended(tried.score("?", [STEP], made)) for made in (one, two)))

    first, other = run_virtual(main())
    assert other == 2  # it began when the first try had failed
    assert 5 <= first <= 6


@pytest.mark.parametrize("wrong", [{"timeout": 0}, {"timeout": -1}, {"retries": -1}])
def test_a_setting_out_of_its_range_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(SettingsError):
        Resilient(Verifier(second), **wrong)  # type: ignore[arg-type]


def test_a_reward_that_compares_paths_is_refused() -> None:
    with pytest.raises(SettingsError, match="compares thoughts"):
        Resilient(GroupVote(SimulatedEngine()))


# Batches


@dataclass
class Batches:
    """A batch takes a second, however many are in it."""

    fails: bool = False
    sizes: list[int] = field(default_factory=list)
    cancelled: int = 0

    async def __call__(self, candidates: Sequence[Candidate]) -> list[float]:
        self.sizes.append(len(candidates))
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.fails:
            raise OSError("no device")
        return [float(candidate.steps[-1]) for candidate in candidates]


def numbered(value: float) -> list[Thought]:
    return [Thought(text=str(value), tokens=1)]


def test_paths_are_scored_together_the_demanded_ones_first() -> None:
    function = Batches()
    reward = Batched(function, size=2)

    async def one(index: int) -> tuple[float, float]:
        made = request(str(index), demanded=index != 1)
        return await reward.score("?", numbered(index / 10), made), now()

    async def main() -> list[tuple[float, float]]:
        return await asyncio.gather(*map(one, range(5)))

    assert run_virtual(main()) == [(0.0, 1), (0.1, 3), (0.2, 1), (0.3, 2), (0.4, 2)]
    assert function.sizes == [2, 2, 1]
    assert reward.max_concurrency == 2


def test_a_path_waits_for_company_as_long_as_it_is_told() -> None:
    function = Batches()
    reward = Batched(function, wait=0.5)

    async def main() -> None:
        one = asyncio.create_task(reward.score("?", numbered(0.1), request("one")))
        await asyncio.sleep(0.4)
        other = asyncio.create_task(reward.score("?", numbered(0.2), request("two")))
        assert (await one, await other, now()) == (0.1, 0.2, 1.5)

    run_virtual(main())
    assert function.sizes == [2]


@pytest.mark.parametrize("after", [0.0, 0.2, 0.7], ids=["at once", "gathering", "running"])
def test_who_gives_up_leaves_the_batch_to_the_others_and_the_last_one_cancels_it(
    after: float,
) -> None:
    function = Batches()
    reward = Batched(function, wait=0.5)

    async def main() -> None:
        tasks = [
            asyncio.create_task(reward.score("?", numbered(0.5), request(str(index))))
            for index in range(3)
        ]
        await asyncio.sleep(after)
        tasks[0].cancel()
        if after:
            assert await tasks[1] == await tasks[2] == 0.5
            return
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtual(main())
    assert not function.cancelled


def test_the_last_one_to_give_up_cancels_the_call() -> None:
    function = Batches()
    reward = Batched(function)

    async def main() -> None:
        asked = [reward.score("?", numbered(0.5), request(str(index))) for index in range(2)]
        tasks = [asyncio.create_task(one) for one in asked]
        await asyncio.sleep(0.5)
        for task in tasks:
            assert not function.cancelled
            task.cancel()
            await asyncio.wait([task])
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert await reward.score("?", numbered(0.2), request("later")) == 0.2

    run_virtual(main())
    assert function.cancelled == 1


def test_all_of_a_batch_that_fails_are_told_why_and_may_try_again() -> None:
    function = Batches(fails=True)
    reward = Resilient(Batched(function, size=4), retries=1, retry_wait=0)

    async def main() -> list[object]:
        asked = (reward.score("?", numbered(0.5), request(str(index))) for index in range(3))
        return await asyncio.gather(*asked, return_exceptions=True)

    for error in run_virtual(main()):
        assert isinstance(error, RewardError)
        assert "no device" in str(error)
    assert function.sizes == [3, 3]


@pytest.mark.parametrize(
    ("scores", "said"),
    [([0.1], "1 numbers for 2"), ([0.1, 2.0], "must be a number in"), ([], "0 numbers for 2")],
)
def test_a_batch_function_returns_a_number_in_range_for_each_path(
    scores: list[float], said: str
) -> None:
    async def wrong(candidates: Sequence[Candidate]) -> list[float]:
        return scores

    reward = Batched(wrong)

    async def main() -> list[object]:
        asked = (reward.score("?", numbered(0.5), request(str(index))) for index in range(2))
        return await asyncio.gather(*asked, return_exceptions=True)

    assert said in str(run_virtual(main())[1])


def test_a_batch_function_takes_one_list() -> None:
    with pytest.raises(SettingsError, match=r"\(candidates\) -> Sequence\[float\]"):
        Batched(second)  # type: ignore[arg-type]


# Whole searches


class Flaky(SimulatedReward):
    """Fails at the first try for some paths, whoever asks; and counts its tokens."""

    async def score(self, question: str, thoughts: Sequence[Thought], request: Request) -> float:
        request.tokens += 3
        if "~" not in request.id and crc32(thoughts[-1].text.encode()) % 3 == 0:
            await asyncio.sleep(0.1)
            raise ConnectionError("busy")
        return await SimulatedReward.score(self, question, thoughts, request)


def batched(latency: float) -> Batched:
    inner = SimulatedReward(latency=0.0)

    async def score(candidates: Sequence[Candidate]) -> list[float]:
        await asyncio.sleep(latency)
        return [
            await inner.score("?", [Thought(text=steps[-1], tokens=1)], request())
            for _, steps in candidates
        ]

    return Batched(score, size=3, pure=True)


def made(kind: str, latency: float, workers: int) -> Reward:
    if kind == "tried again":
        flaky = Flaky(latency=latency, spread=1.0)
        return Resilient(flaky, retry_wait=0.3, max_concurrency=workers)
    if kind == "batched":
        return batched(latency)
    return SimulatedReward(latency=latency, spread=1.0, max_concurrency=workers)


@settings(max_examples=60)
@given(
    policy=st.sampled_from([Rebase(width=6), Dvts(beams=6, width=2), Rstar(rollouts=5, width=3)]),
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(["tried again", "batched", "few"]),
    latency=st.sampled_from([0.0, 0.5, 3.0]),
    workers=st.integers(1, 4),
    limits=st.none() | st.tuples(st.integers(2, 60), st.integers(2_000, 40_000)),
)
def test_the_tree_is_the_same_and_every_token_accounted_for(
    *,
    policy: Policy,
    seed: int,
    kind: str,
    latency: float,
    workers: int,
    limits: tuple[int, int] | None,
) -> None:
    def run(speculation: Speculation | None) -> tuple[str, int, int]:
        engine = make_engine()
        if limits is not None:
            engine.inner = SimulatedApi(None, requests=limits[0], tokens=limits[1])
        reward = made(kind, latency, workers)
        found = run_search(policy, seed=seed, reward=reward, engine=engine, speculation=speculation)
        engine.check_none_redone()
        judged = found.ledger.decoded_tokens - found.decoded
        return found.tree.sha256(), judged, found.ledger.wasted_tokens

    budget = Budget() if limits is None else Budget(requests_per_minute=limits[0])
    off, judged, wasted = run(None)
    on, judged_on, _ = run(Speculation(budget=budget))
    assert on == off
    assert wasted == 0
    assert judged_on >= judged
    assert kind == "tried again" or judged == 0


@pytest.mark.parametrize(
    "policy", [Rebase(width=4), Dvts(beams=4, width=2)], ids=["rebase", "dvts"]
)
def test_a_reward_that_fails_to_the_end_loses_its_path_alone_with_and_without_guesses(
    policy: Policy,
) -> None:
    class Broken(SimulatedReward):
        async def score(
            self, question: str, thoughts: Sequence[Thought], request: Request
        ) -> float:
            if crc32(thoughts[-1].text.encode()) % 3 == 1:
                raise ConnectionError("gone")
            return await SimulatedReward.score(self, question, thoughts, request)

    trees = [
        run_search(
            policy,
            seed=1,
            reward=Resilient(Broken(latency=0.5), retries=1, retry_wait=0.1),
            failures=Failures(share=1.0),
            speculation=speculation,
        ).tree
        for speculation in (None, Speculation())
    ]
    assert trees[0] == trees[1]
    assert trees[0].failures()
