"""Scores remembered by content, and the scores of a path's steps as one."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from searching import QUESTION, WatchedEngine, config, make_engine, run_search

from spex_agents.engines.base import Request
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.errors import EngineError, RewardError, SettingsError
from spex_agents.rewards import Aggregate, Cached, Judge, Reward, SimulatedReward, VoteConfidence
from spex_agents.rewards.combining.aggregate import WAYS, By
from spex_agents.search import BestOfN, Expand, Rebase, Thought, Tree
from spex_agents.speculation.config import Speculation
from spex_agents.speculation.session import Session


def thought(text: str, **settings: Any) -> Thought:
    return Thought(text=text, tokens=len(text.split()), **settings)


def request(name: str = "run/0/reward-1", seed: int = 7) -> Request:
    return Request(id=name, seed=seed)


@dataclass
class Slow:
    """Takes ten seconds, a token each; the score is the number at the end of the last thought."""

    name: str = "slow"
    needs_logprobs: bool = False
    pure: bool = True
    seeded: bool = False
    fails: bool = False
    asked: list[tuple[str, ...]] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    cancelled: int = 0

    async def score(self, question: str, thoughts: Sequence[Thought], request: Request) -> float:
        self.asked.append(tuple(thought.text for thought in thoughts))
        self.seeds.append(request.seed)
        try:
            for _ in range(10):
                await asyncio.sleep(1)
                request.tokens += 1
        except asyncio.CancelledError:
            await asyncio.sleep(1)  # the abort is on its way
            request.tokens += 1
            self.cancelled += 1
            raise
        if self.fails:
            raise EngineError("the server is gone")
        return float(thoughts[-1].text.split()[-1])


PATH = [thought("a 0.5"), thought("b 0.25")]


def test_what_was_scored_once_is_not_asked_again() -> None:
    slow = Slow()
    cached = Cached(slow)

    async def main() -> list[float]:
        return [await cached.score(QUESTION, PATH, request(seed=seed)) for seed in range(3)]

    assert run_virtual(main()) == [0.25] * 3
    assert len(slow.asked) == 1


@pytest.mark.parametrize(
    ("settings", "other", "asked"),
    [
        ({}, (QUESTION, [thought("a 0.5")], request()), 2),
        ({}, ("Another?", PATH, request()), 2),
        ({}, (QUESTION, PATH, request(seed=8)), 1),
        ({"seeded": True}, (QUESTION, PATH, request(seed=8)), 2),
        ({}, (QUESTION, [PATH[0], replace(PATH[1], logprobs=(-1.0,))], request()), 1),
        (
            {"needs_logprobs": True},
            (QUESTION, [PATH[0], replace(PATH[1], logprobs=(-1.0,))], request()),
            2,
        ),
        ({}, (QUESTION, [PATH[0], replace(PATH[1], ends=True)], request()), 2),
    ],
)
def test_scores_are_told_apart_by_what_they_depend_on(
    settings: dict[str, bool], other: tuple[str, list[Thought], Request], asked: int
) -> None:
    slow = Slow(**settings)  # type: ignore[arg-type]
    cached = Cached(slow)

    async def main() -> None:
        await cached.score(QUESTION, PATH, request())
        await cached.score(*other)

    run_virtual(main())
    assert len(slow.asked) == asked


def test_a_reward_that_does_not_say_is_taken_to_depend_on_its_seed() -> None:
    class Silent:
        name, needs_logprobs, pure = "silent", False, True

        async def score(self, question: str, thoughts: object, request: Request) -> float:
            return request.seed / 10

    cached = Cached(cast(Reward, Silent()))

    async def main() -> list[float]:
        return [await cached.score(QUESTION, PATH, request(seed=seed)) for seed in (1, 2)]

    assert cached.seeded
    assert run_virtual(main()) == [0.1, 0.2]


def test_equal_requests_at_once_share_a_call_and_its_first_one_pays() -> None:
    slow = Slow()
    cached = Cached(slow)
    first, second = request("r/1"), request("r/2")

    async def main() -> list[float]:
        return await asyncio.gather(*(cached.score(QUESTION, PATH, one) for one in (first, second)))

    assert run_virtual(main()) == [0.25, 0.25]
    assert len(slow.asked) == 1
    assert (first.tokens, second.tokens) == (10, 0)


def test_one_that_gives_up_leaves_the_call_and_the_rest_of_its_cost_to_the_others() -> None:
    slow = Slow()
    cached = Cached(slow)
    asked = [request(f"r/{index}") for index in range(3)]

    async def main() -> float:
        tasks = [asyncio.create_task(cached.score(QUESTION, PATH, one)) for one in asked]
        for task, seconds in zip(tasks[:2], (3.5, 3), strict=True):
            await asyncio.sleep(seconds)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        paid = asked[0].tokens + asked[1].tokens
        score = await tasks[2]
        assert (paid, asked[2].tokens) == (6, 4)
        return score

    assert run_virtual(main()) == 0.25
    assert (len(slow.asked), slow.cancelled) == (1, 0)
    assert asked[1].tokens == 3


def test_when_the_last_one_gives_up_the_call_is_aborted_and_its_end_awaited() -> None:
    slow = Slow()
    cached = Cached(slow)
    asked = [request("r/0"), request("r/1")]

    async def main() -> None:
        tasks = [asyncio.create_task(cached.score(QUESTION, PATH, one)) for one in asked]
        await asyncio.sleep(2.5)
        tasks[0].cancel()
        await asyncio.sleep(2)
        tasks[1].cancel()
        await asyncio.sleep(0.5)
        tasks[1].cancel()  # the clean-up is not interrupted
        again = await cached.score(QUESTION, PATH, request("r/2"))  # and nobody joins it
        assert again == 0.25
        assert [task.cancelled() for task in tasks] == [True, True]

    run_virtual(main())  # which refuses to leave tasks behind
    assert slow.cancelled == 1
    assert len(slow.asked) == 2
    assert [one.tokens for one in asked][1] == 3  # two and the one of its abort


def test_failures_reach_all_who_wait_and_are_not_remembered() -> None:
    slow = Slow(fails=True)
    cached = Cached(slow)

    async def main() -> None:
        both = await asyncio.gather(
            *(cached.score(QUESTION, PATH, request(name)) for name in ("r/1", "r/2")),
            return_exceptions=True,
        )
        assert [type(error) for error in both] == [EngineError, EngineError]
        slow.fails = False
        assert await cached.score(QUESTION, PATH, request()) == 0.25

    run_virtual(main())
    assert len(slow.asked) == 2


def test_a_score_out_of_range_is_not_remembered() -> None:
    with pytest.raises(RewardError, match=r"'slow' returned 7\.0"):
        run_virtual(Cached(Slow()).score(QUESTION, [thought("7")], request()))


def test_a_call_that_is_cancelled_from_outside_is_an_error_of_the_reward() -> None:
    class Gives(Slow):
        async def score(self, *args: object) -> float:
            raise asyncio.CancelledError

    with pytest.raises(RewardError, match="'slow' was cancelled"):
        run_virtual(Cached(Gives()).score(QUESTION, PATH, request()))


def test_the_least_recently_asked_is_forgotten_first() -> None:
    slow = Slow()
    cached = Cached(slow, size=2)

    async def main() -> None:
        for text in ("0.1", "0.2", "0.1", "0.3", "0.1", "0.2"):
            await cached.score(QUESTION, [thought(text)], request())

    run_virtual(main())
    assert [text for (text,) in slow.asked] == ["0.1", "0.2", "0.3", "0.2"]
    assert "2 of 2 scores" in repr(cached)


def test_a_cache_serves_one_event_loop_after_another() -> None:
    slow = Slow()
    cached = Cached(slow)
    for _ in range(2):
        assert run_virtual(cached.score(QUESTION, PATH, request())) == 0.25
    assert len(slow.asked) == 1


def test_a_speculative_call_becomes_urgent_with_any_of_those_who_wait_for_it() -> None:
    seen: list[Request] = []

    class Watched(Slow):
        async def score(self, question: str, thoughts: object, request: Request) -> float:
            seen.append(request)
            await asyncio.sleep(1)
            return 0.5

    async def main() -> None:
        cached = Aggregate(Watched(), "min")  # parts of parts
        early, urgent = (Request(id=f"r/{n}", seed=1, demanded=False) for n in range(2))
        tasks = [asyncio.create_task(cached.score(QUESTION, PATH, one)) for one in (early, urgent)]
        await asyncio.sleep(0.5)
        assert [one.demanded for one in seen] == [False, False]
        urgent.demanded = True
        assert [one.demanded for one in seen] == [True, True]
        await asyncio.wait(tasks)

    run_virtual(main())


@pytest.mark.parametrize("wrong", [Slow, 7, object()])
def test_wrappers_take_rewards_only(wrong: Any) -> None:
    for wrap in (Cached, Aggregate):
        with pytest.raises(SettingsError, match="reward="):
            wrap(wrong)
    with pytest.raises(SettingsError, match="size=0"):
        Cached(Slow(), size=0)


def score(by: By, *scores: float) -> float:
    path = [thought(f"step {number} {score}") for number, score in enumerate(scores)]
    return run_virtual(Aggregate(Slow(), by).score(QUESTION, path, request()))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_aggregates_are_what_they_say_and_stay_in_range(scores: list[float]) -> None:
    got = {by: score(by, *scores) for by in WAYS}
    assert got["last"] == scores[-1]
    assert got["min"] == min(scores)
    assert got["prod"] == pytest.approx(math.prod(scores))
    assert got["mean"] == pytest.approx(fmean(scores))
    assert 0 <= got["prod"] <= got["min"] <= got["last"] <= 1
    assert got["min"] <= got["mean"] + 1e-12
    assert got["mean"] <= 1


@given(st.sampled_from(list(WAYS)), st.floats(0, 1))
def test_an_aggregate_of_one_step_is_its_score(by: By, only: float) -> None:
    assert score(by, only) == only


def test_each_step_is_judged_once_however_many_paths_hold_it() -> None:
    slow = Slow(seeded=True)
    aggregate = Aggregate(slow, "prod")
    trunk = thought("a 0.5")

    async def main() -> list[float]:
        await aggregate.score(QUESTION, [trunk], request(seed=1))
        leaves = [[trunk, thought(f"{index} 0.5")] for index in range(4)]
        return await asyncio.gather(
            *(
                aggregate.score(QUESTION, leaf, request(seed=2 + at))
                for at, leaf in enumerate(leaves)
            )
        )

    assert run_virtual(main()) == [0.25] * 4
    assert set(Counter(slow.asked).values()) == {1}
    assert len(set(slow.seeds)) == 5


def test_the_last_step_alone_is_the_reward_itself() -> None:
    slow = Slow(seeded=True)
    aggregate = Aggregate(slow, "last")
    run_virtual(aggregate.score(QUESTION, PATH, request(seed=77)))
    assert slow.seeds == [77]
    assert (aggregate.name, aggregate.seeded) == ("slow", True)
    assert Aggregate(slow).name == "min of slow"


def test_a_step_that_fails_gives_up_the_others() -> None:
    slow = Slow()
    path = [*PATH, thought("oops")]

    async def main() -> None:
        asked = request()
        with pytest.raises(ValueError, match="oops"):
            await Aggregate(slow).score(QUESTION, path, asked)
        assert asked.tokens == 30

    run_virtual(main())


def test_an_aggregate_that_is_cancelled_aborts_its_steps_and_counts_their_tokens() -> None:
    slow = Slow()
    asked = request()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(Aggregate(slow).score(QUESTION, PATH, asked), timeout=2.5)

    run_virtual(main())
    assert slow.cancelled == 2
    assert asked.tokens == 6


def test_there_are_four_aggregates() -> None:
    with pytest.raises(SettingsError, match="by='max': must be one of last, min, prod, mean"):
        Aggregate(Slow(), cast(By, "max"))


@pytest.mark.parametrize("by", list(WAYS))
@pytest.mark.parametrize("kind", ["simulated", "judge", "votes"])
def test_an_aggregate_leaves_the_tree_as_it_is_without_speculation(by: By, kind: str) -> None:
    def outcome(speculation: Speculation | None) -> tuple[str, int, int]:
        engine = make_engine()
        inner: Reward = SimulatedReward(latency=0.5)
        if kind == "judge":
            inner = Judge(engine.inner)
        elif kind == "votes":
            inner = VoteConfidence(engine.inner, samples=2)
        done = run_search(
            Rebase(width=4), speculation=speculation, reward=Aggregate(inner, by), engine=engine
        )
        return done.tree.sha256(), done.ledger.decoded_tokens, done.decoded

    plain, ahead = outcome(None), outcome(Speculation())
    assert plain[0] == ahead[0]
    for _, accounted, decoded in (plain, ahead):
        assert accounted == decoded


def test_a_search_asks_for_each_step_once_and_a_policy_of_leaves_for_all_of_them() -> None:
    slow = Slow(asked=[])

    class Fixed(Slow):
        async def score(self, *args: Any) -> float:
            slow.asked.append(tuple(thought.text for thought in args[1]))
            return 0.5

    for policy in (Rebase(width=4), BestOfN(width=2)):
        slow.asked.clear()
        done = run_search(policy, reward=Aggregate(Fixed(), "prod"))
        assert len(slow.asked) == len(set(slow.asked)) == len(done.tree)


def test_a_search_that_ends_early_leaves_no_call_of_the_cache_behind() -> None:
    engine = SimulatedEngine()
    cached = Cached(Judge(engine))

    async def main() -> None:
        made = config(WatchedEngine(engine), reward=cached)
        async with Session(made, Tree(QUESTION), run="r") as session:
            decision = await session.decide()
            assert isinstance(decision, Expand)
            await session.expand(decision.paths)

    run_virtual(main())
    assert not cached._flights
