"""A budget that finds the capacity of its engine, with searches that do nothing but run."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import pytest
from searching import make_engine, run_search

from spex_agents.engines.base import Request
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.engines.simulated.hardware import Hardware
from spex_agents.rewards import SimulatedReward
from spex_agents.rewards.parts import in_parts
from spex_agents.search import Limits, Path, Rebase, Rstar
from spex_agents.speculation.config import SearchConfig, Speculation
from spex_agents.speculation.slots.budget import Budget
from spex_agents.speculation.slots.capacity import Headroom
from spex_agents.speculation.slots.pace import Pace
from spex_agents.speculation.slots.sharing import budget_of_reward
from spex_agents.speculation.solving import solve

TOKENS = 50


class Running:
    """A search that begins whatever it is allowed to; nothing it began ever ends by itself."""

    calls = 1
    follows = 0

    def __init__(self, budget: Budget, name: str) -> None:
        self.jobs = object()
        self.budget = budget
        self.name = name
        self.guesses: dict[Path, Request] = {}

    def launch(self, path: Path, worth: float) -> None:
        request = Request(id=f"{self.name}/{path}", seed=0, demanded=False)
        self.guesses[path] = request
        self.budget.begin(self, path, request, worth)

    def retract(self, path: Path) -> None:
        self.budget.retracting(request := self.guesses.pop(path))
        self.budget.end(request)

    def offer(self, count: int, *, share: str | None = None) -> None:
        self.budget.offer(self, {(index,): 0.9 for index in range(count)}, share=share)

    async def demand(self, number: int, *, wait: float = 0.0, step: float = 0.02) -> None:
        """A thought on demand, whose first token takes `wait` seconds to come."""
        request = Request(id=f"{self.name}/demanded-{number}", seed=0)
        self.budget.begin(self, (1000 + number,), request)
        await asyncio.sleep(wait)
        request.started = asyncio.get_running_loop().time()
        await asyncio.sleep(TOKENS * step)
        request.tokens = TOKENS
        self.budget.end(request)


async def taught(budget: Budget, step: Callable[[int], float]) -> None:
    """Let `budget` see how long a step takes at one to eight requests in flight."""
    teacher = Running(budget, "teacher")
    for count in (1, 8, 1, 8):
        async with asyncio.TaskGroup() as tasks:
            for number in range(count):
                tasks.create_task(teacher.demand(number, step=step(count)))
    budget.leave(teacher)


def guesses_with(others: int) -> int:
    """How many of 60 likely guesses a search begins, while `others` demand a thought each."""

    async def main() -> int:
        budget = Budget()
        await taught(budget, lambda count: 0.04 + 0.002 * count)
        searches = [Running(budget, f"run{index}") for index in range(1 + others)]
        flying = []
        for search in searches:
            request = Request(id=f"{search.name}/demanded", seed=0)
            budget.begin(search, (0,), request)
            flying.append(request)
        searches[0].offer(60)
        begun = len(searches[0].guesses)
        budget.leave(searches[0])
        for path in list(searches[0].guesses):
            searches[0].retract(path)
        for request in flying:
            budget.end(request)
        assert budget.in_flight == 0
        return begun

    return run_virtual(main())


def test_a_search_that_is_alone_may_slow_itself_where_that_pays() -> None:
    alone, beside_another = guesses_with(0), guesses_with(1)
    assert alone >= 10
    # 5 % of a step of 0.04 + 0.002 * 2 seconds is one guess more.
    assert beside_another <= 1


def test_a_guess_of_another_goes_when_a_search_demands() -> None:
    async def main() -> None:
        budget = Budget()
        await taught(budget, lambda count: 0.04 + 0.002 * count)
        first, second = Running(budget, "first"), Running(budget, "second")
        first.offer(20)
        assert len(first.guesses) >= 10
        request = Request(id="second/demanded", seed=0)
        budget.begin(second, (0,), request)
        assert len(first.guesses) <= 1
        budget.end(request)
        for path in list(first.guesses):
            first.retract(path)

    run_virtual(main())


def test_a_mean_load_counts_each_step_once_from_before_the_first_time_is_known() -> None:
    pace = Pace()
    pace.change(0.0, 16, 16)
    begun = pace.mark(0.0)
    fifty_of_16, fifty_of_1 = 50 * 0.81, 50 * 0.06
    pace.mark(fifty_of_16)
    pace.times.learn(16, 0.81)
    pace.change(fifty_of_16, -15, -15)
    assert pace.load_since(begun, fifty_of_16 + fifty_of_1) == pytest.approx(8.5, abs=1)


@pytest.mark.parametrize(("places", "begun"), [(4, 3), (None, 0)])
def test_judges_who_tell_their_number_are_not_thought_to_slow_each_other(
    places: int | None, begun: int
) -> None:
    async def main() -> int:
        engine = make_engine()
        budget = budget_of_reward(SimulatedReward(max_concurrency=places), engine, Budget())
        search = Running(budget, "search")
        demanded = Request(id="search/demanded", seed=0)
        budget.begin(search, (0,), demanded)
        budget.offer(search, {(index,): 0.6 for index in range(1, 9)})
        count = len(search.guesses)
        budget.end(demanded)
        budget.leave(search)
        for path in list(search.guesses):
            search.retract(path)
        return count

    assert run_virtual(main()) == begun


def begun_after_pauses(pause: float, offered: dict[Path, float]) -> set[Path]:
    """What a search begins while nobody waits, where others slow a step much.

    Three times before, nobody has waited for that long.
    """

    async def main() -> set[Path]:
        budget = Budget()
        await taught(budget, lambda count: 0.01 + 0.05 * count)
        search = Running(budget, "search")
        budget.offer(search, {})
        for number in range(3):
            await asyncio.sleep(pause)
            await search.demand(number, step=0.06)
        budget.offer(search, offered)
        begun = set(search.guesses)
        budget.leave(search)
        for path in begun:
            search.retract(path)
        assert budget.in_flight == budget.demanded == 0
        return begun

    return run_virtual(main())


def test_what_will_certainly_be_demanded_is_not_slowed_by_guesses() -> None:
    offered: dict[Path, float] = {(index,): 0.95 for index in range(1, 4)}
    assert begun_after_pauses(60.0, offered) == {(1,), (2,), (3,)}
    assert (0,) in (begun := begun_after_pauses(60.0, {**offered, (0,): 1.0}))
    assert len(begun) < 3


def test_in_a_short_pause_guesses_do_not_slow_the_one_that_somebody_will_wait_for_next() -> None:
    offered: dict[Path, float] = {(index,): 0.95 for index in range(1, 4)}
    assert begun_after_pauses(0.5, offered) == {(1,)}
    assert len(begun_after_pauses(60.0, offered)) == 3


def test_a_slot_is_free_as_soon_as_one_of_several_calls_has_ended() -> None:
    async def main() -> tuple[list[int], int]:
        budget = Budget(16)
        search = Running(budget, "run")
        search.calls = 4
        request = Request(id="run/votes", seed=0)
        budget.begin(search, (0,), request, calls=search.calls)
        loads = []

        async def ask(index: int, part: Request) -> None:
            await asyncio.sleep(1 + index + 10 * part.seed)
            loads.append(budget.in_flight)

        async def ask_each(index: int, part: Request) -> None:
            await in_parts(part, [index] * 3, ask)

        await in_parts(request, [0] * 2, ask_each)
        budget.end(request)
        return loads, budget.in_flight

    assert run_virtual(main()) == ([6, 5, 4, 3, 2, 1], 0)


@pytest.mark.parametrize(("probability", "begun"), [(1.0, [3, 4]), (0.9, [3, 5])])
def test_guesses_leave_room_for_the_rewards_of_what_is_and_will_be_demanded(
    probability: float, begun: list[int]
) -> None:
    async def main() -> list[int]:
        budget = Budget(16)
        await taught(budget, lambda count: 0.02)
        search = Running(budget, "run")
        search.follows = 4
        demanded = Request(id="run/demanded", seed=0)
        budget.begin(search, (0,), demanded)
        offered = [(index,) for index in range(1, 17)]
        budget.offer(search, dict.fromkeys(offered, probability))
        counts = [len(search.guesses)]
        budget.end(demanded)
        counts.append(len(search.guesses))
        budget.leave(search)
        for path in list(search.guesses):
            search.retract(path)
        return counts

    assert run_virtual(main()) == begun


def test_of_equal_guesses_the_one_begun_last_makes_room() -> None:
    """The first ones are nearer to their end, and were what a search wanted first."""

    async def main() -> set[Path]:
        budget = Budget(8)
        await taught(budget, lambda count: 0.02)
        search = Running(budget, "run")
        budget.offer(search, dict.fromkeys([(index,) for index in range(8)], 0.9))
        assert len(search.guesses) == 8
        requests = [Request(id=f"run/demanded-{number}", seed=0) for number in range(2)]
        for request in requests:
            budget.begin(search, (9,), request)
        left = set(search.guesses)
        budget.leave(search)
        for path in left:
            search.retract(path)
        for request in requests:
            budget.end(request)
        return left

    assert run_virtual(main()) == {(index,) for index in range(6)}


def room_after(waits: Callable[[int], float]) -> float:
    async def main() -> float:
        budget = Budget()
        search = Running(budget, "run")
        for number in range(20):
            await search.demand(number, wait=waits(number))
        return budget.limit(search)

    return run_virtual(main())


def test_the_usual_wait_for_a_first_token_is_no_sign_of_a_full_engine() -> None:
    assert room_after(lambda number: 0.3) > 30


def test_waiting_for_a_slot_is_and_leaves_room_for_one_guess() -> None:
    assert room_after(lambda number: 5.0 * (number % 2)) < 2


def test_a_search_gains_on_an_engine_that_slows_with_every_request() -> None:
    hardware = Hardware(name="slope", slots=10**6, weights=0.04, per_sequence=0.002)

    def seconds(speculation: Speculation | None) -> float:
        engine = make_engine(hardware)
        return run_search(Rstar(rollouts=10), engine=engine, speculation=speculation).seconds

    assert seconds(None) / seconds(Speculation(budget=Budget())) > 2


def test_searches_of_one_share_are_as_urgent_as_one() -> None:
    async def main(shares: bool) -> tuple[int, int]:
        budget = Budget(8)
        await taught(budget, lambda count: 0.02)
        budget.capacity = 1
        full = Running(budget, "full")
        full.offer(1)  # until all have made their offers
        crowd = [Running(budget, f"crowd-{number}") for number in range(9)]
        single = Running(budget, "single")
        for search in crowd:
            search.offer(40, share="crowd" if shares else None)
        single.offer(40, share="single" if shares else None)
        budget.capacity = 40
        full.retract((0,))
        return sum(len(search.guesses) for search in crowd), len(single.guesses)

    assert run_virtual(main(False)) == (36, 4)
    assert run_virtual(main(True)) == (20, 20)


@pytest.mark.parametrize("slots", [20, 24])
def test_a_share_with_many_searches_leaves_room_for_that_of_one(slots: int) -> None:
    async def launched(shares: bool) -> tuple[float, int]:
        engine = SimulatedEngine(hardware=Hardware(name="narrow", slots=slots, weights=0.02))

        async def run(share: str, seed: int) -> int:
            config = SearchConfig(
                engine=engine,
                policy=Rebase(width=4),
                reward=SimulatedReward(latency=0.5),
                limits=Limits(depth=8, path_tokens=800),
                speculation=Speculation(share=share if shares else None),
            )
            return (await solve(config, "What is 5 + 7?", seed=seed)).ledger.launched

        *many, single = await asyncio.gather(
            *(run("many", seed) for seed in range(41, 53)), run("single", 40)
        )
        return sum(many) / len(many), single

    (alike, before), (crowd, after) = run_virtual(launched(False)), run_virtual(launched(True))
    assert after > 1.3 * before
    assert after > crowd
    assert crowd > 0.9 * alike  # which costs the many next to nothing


def headroom(*learnt: tuple[float, float, int]) -> float:
    """What is taken to be full after requests that waited, were decoded, and were so many."""
    found = Headroom()
    for wait, seconds, load in learnt:
        found.learn(wait, seconds, load)
    return found.full


def test_waits_that_are_usual_for_one_alone_are_no_queue() -> None:
    """Prompts differ in length, and the processor has other work at times."""
    alone = [(wait, 1.0, 1) for wait in (0.2, 0.6, 0.4, 0.5)]
    assert headroom(*alone, (0.6, 1.0, 8)) == math.inf
    assert headroom(*alone, (3.0, 1.0, 8)) == 7
    assert headroom(*alone, (3.0, 1.0, 1)) == 1  # others are served first


def test_where_few_run_it_takes_longer_until_a_slot_is_free() -> None:
    alone = (0.0, 2.0, 1)
    assert headroom(alone, (0.2, 2.0, 2)) == math.inf
    assert headroom(alone, (0.9, 2.0, 2)) == 1
    assert headroom(alone, (0.2, 2.0, 17)) == 16


def test_an_engine_that_seemed_full_is_tried_again_soon_but_not_at_once() -> None:
    full = [(0.0, 2.0, 1), (2.0, 2.0, 3)]
    assert headroom(*full) == 2
    assert headroom(*full, *[(0.0, 2.0, 1)] * 5) < 3
    assert headroom(*full, *[(0.0, 2.0, 2)] * 5) < 3
    assert headroom(*full, *[(0.0, 2.0, 2)] * 10) == pytest.approx(3)
