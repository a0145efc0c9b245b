"""The simulated engine, its hardware and world, its reward, and the virtual clock under them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from statistics import fmean, pstdev
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spex_agents.engines.base import Engine, Load, Request, Sampling
from spex_agents.engines.prompts import Message, Prompt, PromptTemplate
from spex_agents.engines.simulated.clock import Deadlock, TasksLeft, VirtualLoop, run_virtual
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.engines.simulated.hardware import HARDWARE, Hardware
from spex_agents.engines.simulated.world import (
    SyntheticWorld,
    World,
    goodness,
    quality_in,
    whole_path,
)
from spex_agents.errors import EngineError, RewardError, SettingsError
from spex_agents.rewards.base import Reward
from spex_agents.rewards.simulated import SimulatedReward
from spex_agents.search.tree import Thought, derive_seed

SAMPLING = Sampling()
QUESTION = Prompt((Message("user", "What is 5 + 7?"),))


class Lengths:
    """A world whose thoughts are as long as their seed says."""

    def thought(self, prompt: Prompt, seed: int, max_tokens: int) -> Thought:
        return Thought(text=f"thought {seed}", tokens=min(seed, max_tokens))


def flat(**settings: Any) -> Hardware:
    """One second a step, however many run."""
    return Hardware(**{"name": "flat", "slots": 8, "weights": 1.0, **settings})


def ask(
    engine: SimulatedEngine, tokens: int, name: str = "r", *, demanded: bool = True
) -> tuple[Request, asyncio.Task[float]]:
    """Start a request; its task returns the time of its end."""
    request = Request(id=f"{name}/{tokens}", seed=tokens, demanded=demanded)

    async def call() -> float:
        await engine.generate(QUESTION, request, sampling=SAMPLING, max_tokens=1000)
        return asyncio.get_running_loop().time()

    return request, asyncio.create_task(call())


async def cancelled(task: asyncio.Task[float]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def timers_left() -> int:
    loop = asyncio.get_running_loop()
    return sum(not timer.cancelled() for timer in loop._scheduled)  # type: ignore[attr-defined]


# The virtual clock


def test_virtual_time_jumps_to_the_next_timer() -> None:
    seen: list[tuple[str, float]] = []

    async def nap(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append((name, asyncio.get_running_loop().time()))

    async def main() -> None:
        await asyncio.gather(nap("month", 30 * 86400.0), nap("hour", 3600.0), nap("now", 0))

    started = time.perf_counter()
    run_virtual(main())
    assert seen == [("now", 0.0), ("hour", 3600.0), ("month", 30 * 86400.0)]
    assert time.perf_counter() - started < 5


def test_timeouts_run_on_virtual_time() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(7):
                await asyncio.sleep(8)
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == 7


def test_a_deadlock_is_an_error_that_names_who_waits() -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        await asyncio.sleep(2)
        await asyncio.create_task(never(), name="the waiter")

    with pytest.raises(Deadlock, match=r"virtual time 2 s.*the waiter \(.*never\)"):
        run_virtual(main())


def test_tasks_left_behind_are_an_error_and_end() -> None:
    ended = []

    async def stay() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            ended.append(True)

    async def main() -> None:
        asyncio.create_task(stay(), name="stays")  # noqa: RUF006
        await asyncio.sleep(1)

    with pytest.raises(TasksLeft, match="stays"):
        run_virtual(main())
    assert ended == [True]


def test_an_error_of_the_main_coroutine_passes_through() -> None:
    async def main() -> None:
        await asyncio.sleep(1)
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        run_virtual(main())


def test_threads_are_not_used_and_take_no_time() -> None:
    def fail() -> None:
        raise LookupError("mine")

    async def main() -> tuple[int, float]:
        with pytest.raises(LookupError, match="mine"):
            await asyncio.to_thread(fail)
        return await asyncio.to_thread(threading.get_ident), asyncio.get_running_loop().time()

    assert run_virtual(main()) == (threading.get_ident(), 0.0)


# Hardware


def test_step_times_match_hand_computed_values() -> None:
    paper = HARDWARE["paper-7b"]
    assert paper.step_seconds(1) == pytest.approx(0.020 * 1.0008)
    assert paper.step_seconds(96) == pytest.approx(0.020 * 1.0768)
    assert paper.step_seconds(192) == pytest.approx(0.020 * 2 * 1.1536)
    assert (paper.slots, paper.ridge) == (96, 96)
    cpu = HARDWARE["cpu-135m"]
    assert [cpu.step_seconds(n) for n in (1, 4, 16)] == pytest.approx([0.197, 0.308, 0.752])
    assert cpu.ridge == 4
    a100 = HARDWARE["a100-34b"]
    assert a100.weights == pytest.approx(0.03306, rel=1e-3)
    assert a100.per_sequence == pytest.approx(98.7e-6, rel=1e-3)
    assert a100.compute == pytest.approx(216e-6, rel=1e-3)
    assert (a100.slots, a100.ridge) == (91, 91)
    h100 = HARDWARE["h100-8b"]
    assert 1 / h100.step_seconds(1) == pytest.approx(158, abs=1)
    assert (h100.slots, h100.ridge) == (256, 256)


def test_every_preset_decodes_more_in_a_fuller_batch() -> None:
    for hardware in HARDWARE.values():
        rates = [n / hardware.step_seconds(n) for n in range(1, hardware.slots + 1)]
        assert rates == sorted(rates)


def test_verifying_drafts_lowers_the_ridge() -> None:
    drafting = replace(HARDWARE["paper-7b"], draft_tokens=3, acceptance_length=2.5, draft_cost=0.1)
    assert drafting.ridge == 24
    assert drafting.step_seconds(1) == pytest.approx(0.020 * 1.0008 * 1.1)
    assert drafting.step_seconds(48) == pytest.approx(0.020 * 2 * 1.0384 * 1.1)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"slots": 0}, "slots=0"),
        ({"overhead": -1.0}, "overhead=-1.0"),
        ({"acceptance_length": 2.0}, "acceptance_length=2.0"),
        ({"acceptance_length": 0.5}, "acceptance_length=0.5"),
        ({"weights": 0.0}, "takes no time"),
    ],
)
def test_impossible_hardware_is_refused(wrong: dict[str, float], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        flat(**wrong)


def test_impossible_worlds_rewards_and_speeds_are_refused() -> None:
    makers: list[tuple[str, Callable[[], object]]] = [
        ("mean_tokens=0", lambda: SyntheticWorld(mean_tokens=0)),
        ("sigma=-1", lambda: SyntheticWorld(sigma=-1)),
        ("ends=2", lambda: SyntheticWorld(ends=2)),
        ("wrong=", lambda: SyntheticWorld(wrong=())),
        ("latency=-1", lambda: SimulatedReward(latency=-1)),
        ("speed=0", lambda: SimulatedEngine(speed=0)),
    ]
    for named, make in makers:
        with pytest.raises(SettingsError, match=named):
            make()


# The engine's pace


def test_overlapping_requests_slow_each_other() -> None:
    # 1.1 s a step alone, 1.2 s together. A runs alone to t=2.2 (2 of 4 tokens), then both to
    # t=4.6 (A done), then B alone: 2 of its 4 tokens are left, 2.2 s.
    async def main() -> tuple[float, float]:
        engine = SimulatedEngine(Lengths(), flat(slowdown=0.1))
        _, first = ask(engine, 4, "a")
        await asyncio.sleep(2.2)
        _, second = ask(engine, 4, "b")
        ends = await first, await second
        assert engine.steps == pytest.approx(6)
        assert engine.busy_seconds == pytest.approx(2.2 + 2 * 2.4 + 2.2)
        assert timers_left() == 0
        return ends

    assert run_virtual(main()) == pytest.approx((4.6, 6.8))


def test_token_level_drafting_yields_several_tokens_a_step() -> None:
    async def main() -> tuple[int, float]:
        engine = SimulatedEngine(
            Lengths(), flat(acceptance_length=2.5, draft_tokens=3, draft_cost=0.5)
        )
        request, call = ask(engine, 100)
        await asyncio.sleep(3)  # two steps of 1.5 s
        await engine.load()
        return request.tokens, await call

    assert run_virtual(main()) == pytest.approx((5, 60))


def test_tokens_are_exact_at_the_end_and_floored_at_a_cancellation() -> None:
    async def main() -> None:
        engine = SimulatedEngine(Lengths(), flat())
        done, finishing = ask(engine, 3)
        aborted, doomed = ask(engine, 100)
        await finishing
        await asyncio.sleep(4.9)
        await cancelled(doomed)
        assert (done.tokens, aborted.tokens, engine.decoded_tokens) == (3, 7, 10)
        assert await engine.load() == Load(running=0, waiting=0)
        assert timers_left() == 0

    run_virtual(main())


def test_a_retry_adds_to_the_tokens_of_its_request() -> None:
    async def main() -> int:
        engine = SimulatedEngine(Lengths(), flat())
        request = Request(id="r", seed=4)
        for _ in range(2):
            await engine.generate(QUESTION, request, sampling=SAMPLING, max_tokens=9)
        return request.tokens

    assert run_virtual(main()) == 8


def test_cancelling_a_running_request_frees_its_slot_at_once() -> None:
    async def main() -> float:
        engine = SimulatedEngine(Lengths(), flat(slots=1))
        _, doomed = ask(engine, 100)
        _, waiting = ask(engine, 5)
        await asyncio.sleep(2)
        assert (engine.running, engine.waiting) == (1, 1)
        await cancelled(doomed)
        return await waiting

    assert run_virtual(main()) == 7


def test_cancelling_a_waiting_request_costs_no_token() -> None:
    async def main() -> tuple[int, float, int]:
        engine = SimulatedEngine(Lengths(), flat(slots=1))
        _, first = ask(engine, 5)
        request, doomed = ask(engine, 100)
        await asyncio.sleep(2)
        await cancelled(doomed)
        return request.tokens, await first, engine.waiting

    assert run_virtual(main()) == (0, 5, 0)


@pytest.mark.parametrize("early", [0, 1e-12])
def test_a_cancellation_in_the_moment_of_the_end_counts_the_tokens_once(early: float) -> None:
    async def main() -> tuple[int, float, int]:
        engine = SimulatedEngine(Lengths(), flat())
        request, doomed = ask(engine, 5)
        _, other = ask(engine, 8)
        asyncio.get_running_loop().call_later(5 - early, doomed.cancel)
        await asyncio.wait([doomed])
        return request.tokens, await other, engine.decoded_tokens

    assert run_virtual(main()) == pytest.approx((5, 8, 13))


def test_demanded_requests_start_first_and_each_class_in_order() -> None:
    async def main() -> list[str]:
        engine = SimulatedEngine(Lengths(), flat(slots=1))
        order: list[str] = []
        calls = []
        for name, demanded in (
            ("s1", False),
            ("s2", False),
            ("s3", False),
            ("d1", True),
            ("d2", True),
        ):
            _, call = ask(engine, 2, name, demanded=demanded)
            call.set_name(name)
            call.add_done_callback(lambda ended: order.append(ended.get_name()))
            calls.append(call)
        await asyncio.gather(*calls)
        return order

    assert run_virtual(main()) == ["s1", "d1", "d2", "s2", "s3"]


def test_promotion_moves_a_waiting_request_behind_the_demanded_ones() -> None:
    async def main() -> list[float]:
        engine = SimulatedEngine(Lengths(), flat(slots=1))
        running, first = ask(engine, 1, "first", demanded=False)
        _, passed = ask(engine, 2, "passed", demanded=False)
        request, hurried = ask(engine, 3, "hurried", demanded=False)
        _, demanded = ask(engine, 4, "demanded")
        await asyncio.sleep(0.5)
        for each in (request, running):
            each.demanded = True
            await engine.promote(each)
        ends = [await call for call in (first, demanded, hurried, passed)]
        await engine.promote(request)  # it has ended: nothing to hurry
        return ends

    assert run_virtual(main()) == [1, 5, 8, 10]


def test_the_calls_of_a_reward_are_promoted_with_it() -> None:
    async def main() -> list[float]:
        engine = SimulatedEngine(Lengths(), flat(slots=1))
        _, first = ask(engine, 1, "first")
        _, passed = ask(engine, 2, "passed", demanded=False)
        calls = [ask(engine, 3, f"reward/{index}", demanded=False)[1] for index in range(2)]
        await asyncio.sleep(0.5)
        await engine.promote(Request(id="reward", seed=1))
        return [await call for call in (first, *calls, passed)]

    assert run_virtual(main()) == [1, 4, 7, 9]


def test_a_closed_engine_fails_what_is_in_flight() -> None:
    async def main() -> None:
        async with SimulatedEngine(Lengths(), flat(slots=1)) as engine:
            (request, running), (_, waiting) = ask(engine, 9, "a"), ask(engine, 9, "b")
            await asyncio.sleep(3)
        for call in (running, waiting):
            with pytest.raises(EngineError, match="closed"):
                await call
        assert (request.tokens, engine.running, engine.waiting, timers_left()) == (3, 0, 0, 0)

    run_virtual(main())


def test_an_id_in_flight_twice_is_refused() -> None:
    async def main() -> None:
        engine = SimulatedEngine(Lengths(), flat())
        _, first = ask(engine, 2)
        _, second = ask(engine, 2)
        with pytest.raises(EngineError, match="in flight already"):
            await second
        await first

    run_virtual(main())


def test_one_engine_serves_one_virtual_clock_after_another() -> None:
    engine = SimulatedEngine(Lengths(), flat())

    async def main() -> float:
        return await ask(engine, 5)[1]

    assert [run_virtual(main()) for _ in range(2)] == [5, 5]


def test_extreme_speeds_lose_no_token_to_rounding() -> None:
    async def main() -> int:
        engine = SimulatedEngine(Lengths(), flat(slowdown=0.01), speed=1e9)
        await asyncio.sleep(1e5)
        calls = [ask(engine, tokens) for tokens in range(1, 50)]
        await asyncio.gather(*(call for _, call in calls))
        return sum(request.tokens for request, _ in calls)

    assert run_virtual(main()) == sum(range(1, 50))


async def test_in_real_time_speed_divides_the_wait() -> None:
    loop = asyncio.get_running_loop()
    engine = SimulatedEngine(Lengths(), flat(), speed=1000)
    started = loop.time()
    request, call = ask(engine, 20)
    assert 0.019 <= await call - started < 10  # not 20
    assert request.tokens == 20


def test_a_score_takes_one_step_and_follows_quality() -> None:
    async def main() -> tuple[float, float, float]:
        engine = SimulatedEngine(hardware=flat())
        asked = Prompt((Message("user", "Step 1, quality 0.900000. Is it right?"),))
        request = Request(id="s", seed=1)
        good = await engine.score(asked, request, labels=("yes", "no"))
        bad = await engine.score(
            Prompt((), "Step 2, quality 0.100000."), request, labels=("yes", "no", "maybe")
        )
        assert good == {"yes": goodness(0.9), "no": pytest.approx(1 - goodness(0.9))}
        assert sum(bad.values()) == pytest.approx(1)
        assert request.tokens == 2
        return good["yes"], bad["yes"], asyncio.get_running_loop().time()

    assert run_virtual(main()) == (goodness(0.9), goodness(0.1), 2)


@settings(max_examples=60, deadline=None)
@given(
    slots=st.integers(1, 4),
    acceptance=st.sampled_from([1.0, 1.7, 3.0]),
    calls=st.lists(
        st.tuples(
            st.integers(1, 30),  # tokens
            st.booleans(),  # demanded
            st.floats(0, 40),  # start
            st.none() | st.floats(0, 40),  # cancelled after
            st.booleans(),  # promoted half-way through
        ),
        max_size=12,
    ),
)
def test_decoded_tokens_are_the_sum_over_requests(
    slots: int, acceptance: float, calls: list[tuple[int, bool, float, float | None, bool]]
) -> None:
    async def main() -> None:
        hardware = flat(slots=slots, slowdown=0.1, acceptance_length=acceptance, draft_tokens=2)
        engine = SimulatedEngine(Lengths(), hardware)
        requests: list[Request] = []
        finished: list[Request] = []

        async def one(
            tokens: int, demanded: bool, start: float, patience: float | None, hurry: bool
        ) -> None:
            await asyncio.sleep(start)
            request = Request(id=str(len(requests)), seed=tokens, demanded=demanded)
            requests.append(request)
            assert engine.running <= slots
            try:
                async with asyncio.timeout(patience):
                    await engine.generate(QUESTION, request, sampling=SAMPLING, max_tokens=99)
            except TimeoutError:
                assert 0 <= request.tokens <= tokens
            else:
                assert request.tokens == tokens
                finished.append(request)
            if hurry and len(requests) > 1:
                requests[-1].demanded = True
                await engine.promote(requests[-1])
            await engine.load()
            assert engine.decoded_tokens == sum(each.tokens for each in requests)

        await asyncio.gather(*(one(*call) for call in calls))
        assert engine.decoded_tokens == sum(each.tokens for each in requests)
        assert engine.decoded_tokens >= sum(each.seed for each in finished)
        assert await engine.load() == Load(running=0, waiting=0)
        assert timers_left() == 0

    run_virtual(main())


# The world


def collect(
    world: World, count: int, prompt: Prompt = QUESTION, cap: int = 10_000
) -> list[Thought]:
    return [world.thought(prompt, derive_seed(0, (n,)), cap) for n in range(count)]


def test_a_thought_depends_on_its_seed_not_on_the_load() -> None:
    async def thoughts(crowd: int) -> list[Thought]:
        engine = SimulatedEngine(hardware=replace(HARDWARE["paper-7b"], slots=4))
        noise = [ask(engine, 1000 + n, "noise", demanded=n % 2 == 0)[1] for n in range(crowd)]
        found = await asyncio.gather(
            *(
                engine.generate(
                    QUESTION, Request(id=str(n), seed=n), sampling=SAMPLING, max_tokens=256
                )
                for n in range(10)
            )
        )
        await asyncio.gather(*noise)
        return found

    alone, crowded = run_virtual(thoughts(0)), run_virtual(thoughts(20))
    assert alone == crowded
    assert len({thought.text for thought in alone}) == 10


def test_lengths_and_qualities_follow_their_distributions() -> None:
    world = SyntheticWorld()
    lengths = [thought.tokens for thought in collect(world, 4000)]
    assert fmean(lengths) == pytest.approx(75, rel=0.04)
    below = collect(world, 4000, Prompt((), "Step 1, quality 0.700000.\n"))
    qualities = [quality_in(thought.text) or 0.0 for thought in below]
    assert fmean(qualities) == pytest.approx(0.7, abs=0.01)
    assert pstdev(qualities) == pytest.approx(0.12, rel=0.05)
    roots = [
        quality_in(
            SyntheticWorld(step_spread=0).thought(Prompt((Message("user", str(n)),)), 1, 99).text
        )
        or 0.0
        for n in range(2000)
    ]
    assert fmean(roots) == pytest.approx(0.5, abs=0.02)
    assert pstdev(roots) == pytest.approx(0.15, rel=0.1)


def test_paths_end_from_the_second_thought_on_and_good_ones_are_right() -> None:
    world = SyntheticWorld(step_spread=0)
    assert not any(thought.ends for thought in collect(world, 500))
    rates = []
    for quality in (0.2, 0.8):
        below = collect(world, 4000, Prompt((), f"Step 1, quality {quality:.6f}.\n"))
        ended = [thought for thought in below if thought.ends]
        assert len(ended) / len(below) == pytest.approx(0.18, abs=0.02)
        assert all(thought.finish == "stop" and r"\boxed{" in thought.text for thought in ended)
        rates.append(fmean(r"\boxed{12}" in thought.text for thought in ended))
    assert rates == pytest.approx([goodness(0.2), goodness(0.8)], abs=0.06)


def test_quality_travels_in_the_reply() -> None:
    world = SyntheticWorld(step_spread=0, ends=0)
    template = PromptTemplate()
    path: list[Thought] = []
    for seed in range(3):
        path.append(world.thought(template.prompt("What?", path), seed, 999))
    assert len({quality_in(thought.text) for thought in path}) == 1


def test_a_capped_thought_says_so() -> None:
    capped = collect(SyntheticWorld(ends=1, ends_from=1), 50, cap=5)
    assert {(each.tokens, each.finish, each.ends) for each in capped} == {(5, "length", False)}


@pytest.mark.parametrize(("cap", "finish"), [(100_000, "stop"), (120, "length")])
def test_without_stop_a_thought_runs_to_the_end_of_its_path(cap: int, finish: str) -> None:
    world = SyntheticWorld(ends_from=4)

    async def main() -> Thought:
        engine = SimulatedEngine(world)
        sampling = Sampling(stop=(), logprobs=True)
        request = Request(id="r", seed=3)
        return await engine.generate(QUESTION, request, sampling=sampling, max_tokens=cap)

    thought = run_virtual(main())
    assert thought == whole_path(world, QUESTION, 3, cap)
    assert (thought.finish, thought.ends) == (finish, finish == "stop")
    assert thought.tokens == len(thought.logprobs or ()) <= cap
    if thought.ends:
        assert len(thought.text.splitlines()) >= 4


def test_logprobs_come_when_asked_and_rise_with_quality() -> None:
    async def main() -> list[Thought]:
        engine = SimulatedEngine(SyntheticWorld(step_spread=0))
        return [
            await engine.generate(
                Prompt((), f"Step 1, quality {quality}."),
                Request(id="r", seed=1),
                sampling=Sampling(logprobs=logprobs),
                max_tokens=99,
            )
            for quality, logprobs in (("0.5", False), ("0.2", True), ("0.8", True))
        ]

    without, low, high = run_virtual(main())
    assert without.logprobs is None
    assert low.logprobs
    assert high.logprobs
    assert len(low.logprobs) == low.tokens
    assert fmean(low.logprobs) < fmean(high.logprobs) < 0


# The reward


def score(reward: Reward, *texts: str, seed: int = 1) -> Awaitable[float]:
    thoughts = [Thought(text=text, tokens=1) for text in texts]
    return reward.score("What is 5 + 7?", thoughts, Request(id="r", seed=seed))


def test_the_reward_reads_the_last_thought_after_its_latency() -> None:
    async def main() -> tuple[float, float]:
        value = await score(SimulatedReward(latency=3), "quality 0.9.", "quality -0.250000.")
        return value, asyncio.get_running_loop().time()

    assert run_virtual(main()) == (goodness(-0.25), 3)


def test_a_spread_latency_is_drawn_from_the_seed() -> None:
    async def latency(seed: int) -> float:
        await score(SimulatedReward(latency=3, spread=0.5), "quality 0.5", seed=seed)
        return asyncio.get_running_loop().time()

    latencies = [run_virtual(latency(seed)) for seed in range(300)]
    assert latencies[:20] == [run_virtual(latency(seed)) for seed in range(20)]
    assert fmean(latencies) == pytest.approx(3, rel=0.1)
    assert len(set(latencies)) == 300


async def test_a_thought_of_another_engine_cannot_be_scored() -> None:
    with pytest.raises(RewardError, match="names no quality"):
        await score(SimulatedReward(), "5 + 7 is high quality.")


def test_the_engine_keeps_its_protocol() -> None:
    engine: Engine = SimulatedEngine()
    assert engine.name == "simulated/paper-7b"
    assert engine.features.exactness == "exact"
    loop = VirtualLoop()
    loop.close()
    assert loop.is_closed()
