"""The plugin's decisions, on a scheduler made of plain objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from spex_agents.engines.sglang.protocol import (
    DEMANDED,
    RETRACTED,
    SPECULATIVE,
    Message,
    decode,
    is_below,
)
from spex_agents.server.plugin.admission import ANNOUNCED_EVERY, IDLE_SECONDS, RECENT_STEPS
from spex_agents.server.plugin.scheduling import Scheduling
from spex_agents.server.plugin.step_times import StepTimes


@dataclass(eq=False)
class Queued:
    rid: str
    priority: int = SPECULATIVE
    output_ids: list[int] = field(default_factory=list)
    over: bool = False
    to_finish: str | None = None
    origin_input_ids: list[int] = field(default_factory=lambda: [0] * 100)
    sampling_params: Any = field(default_factory=lambda: SimpleNamespace(max_new_tokens=100))

    def finished(self) -> bool:
        return self.over


class Scheduler:
    def __init__(self) -> None:
        self.waiting_queue: list[Queued] = []
        self.running: list[Queued] = []
        self.chunked_req: Queued | None = None
        self.max_running_requests = 32
        self.chunked_prefill_size: int | None = 8192
        self.prefill_delayer = None
        self.page_size = 1
        self.truncation_align_size: int | None = None
        self.is_mixed_chunk = False

    def collect_inflight_reqs(self) -> set[Queued]:
        return set(self.running)


def scheduling(ridge: int | None = 4, slowdown: float = 0.05) -> tuple[Scheduler, Scheduling]:
    scheduler = Scheduler()
    return scheduler, Scheduling(scheduler, ridge=ridge, slowdown=slowdown)


def steps(spex: Scheduling, number: int, size: int = 1, *, decode: bool = True) -> None:
    for step in range(number):
        spex.admission.processed(
            SimpleNamespace(
                forward_iter=step,
                forward_mode=SimpleNamespace(is_decode=lambda: decode),
                reqs=[Queued("run/0/thought-1;", DEMANDED)] * size,
            )
        )


@pytest.mark.parametrize("verb", ["promote", "demote", "abort"])
def test_messages_survive_the_way(verb: str) -> None:
    message = decode(f"spex:{verb}:run/0.3/thought-1;")
    assert message is not None
    assert decode(message.encode()) == message == (verb, "run/0.3/thought-1;")


@pytest.mark.parametrize("rid", ["run/0", "spex:", "spex:abort:", "spex:explode:run", ""])
def test_other_ids_are_no_messages(rid: str) -> None:
    assert decode(rid) is None


@pytest.mark.parametrize(
    ("rid", "prefix", "below"),
    [
        ("run/0.3/thought-1;", "run/0.3", True),
        ("run/0.3.1/thought-1;", "run/0.3", True),
        ("run/0.31/thought-1;", "run/0.3", False),
        ("run/0.3/thought-1~1;", "run/0.3/thought-1", True),
        ("run/0.3/thought-10;", "run/0.3/thought-1", False),
        ("run/0.3/thought-1;", "run/0.3/thought-1;", True),
        ("run/0.3/thought-1;", "run", True),
        ("runner/0.3/thought-1;", "run", False),
        ("run/0.3/thought-1;", "run/", True),
    ],
)
def test_prefixes_end_at_path_boundaries(rid: str, prefix: str, below: bool) -> None:
    assert is_below(rid, prefix) is below


def test_speculative_requests_join_up_to_the_ridge() -> None:
    scheduler, spex = scheduling(ridge=3)
    scheduler.running = [Queued("run/0/thought-1;", DEMANDED)]
    scheduler.waiting_queue = [Queued(f"run/0.{child}/thought-1;") for child in range(4)]
    held = spex.admission.hold_back(scheduler.running)
    assert [request.rid[:7] for request in scheduler.waiting_queue] == ["run/0.0", "run/0.1"]
    assert [request.rid[:7] for request in held] == ["run/0.2", "run/0.3"]
    assert spex.counters.values["deferred"] == 2
    scheduler.waiting_queue = held
    assert spex.admission.hold_back(scheduler.running) == []
    assert spex.counters.values["deferred"] == 2  # each is counted once


def test_no_speculative_request_joins_while_a_demanded_one_waits() -> None:
    scheduler, spex = scheduling(ridge=8)
    guess, asked = Queued("run/0/thought-1;"), Queued("run/1/thought-1;", DEMANDED)
    scheduler.waiting_queue = [guess, asked]
    assert spex.admission.hold_back([]) == [guess]
    assert scheduler.waiting_queue == [asked]


def test_a_finished_request_takes_no_place() -> None:
    scheduler, spex = scheduling(ridge=1)
    scheduler.waiting_queue = [Queued("run/0/thought-1;")]
    assert spex.admission.hold_back([Queued("run/1/thought-1;", over=True)]) == []


def test_guesses_of_others_may_slow_demanded_work_a_little_only() -> None:
    scheduler, spex = scheduling(ridge=40, slowdown=0.05)
    mine = Queued("mine/0/thought-1;", DEMANDED)
    scheduler.waiting_queue = [Queued(f"other/0.{child}/thought-1;") for child in range(9)]
    held = spex.admission.hold_back([mine])
    # d + slowdown (r + d) = 1 + 0.05 * 41 = 3.05 in the batch.
    assert len(scheduler.waiting_queue) == 2
    assert len(held) == 7


def test_guesses_of_others_make_room_when_demanded_work_comes() -> None:
    scheduler, spex = scheduling(ridge=40, slowdown=0.05)
    guesses = [Queued(f"other/0.{child}/thought-1;") for child in range(5)]
    assert spex.admission.displaced(guesses) == []
    scheduler.waiting_queue = [Queued("mine/0/thought-1;", DEMANDED)]
    assert spex.admission.displaced(guesses) == guesses[2:]  # 3.05 places, one of them for mine
    assert spex.counters.values["displaced"] == 3


def test_a_runs_own_guesses_stay_beside_its_demanded_work() -> None:
    scheduler, spex = scheduling(ridge=4, slowdown=0.0)
    guesses = [Queued(f"mine/0.{child}/thought-1;") for child in range(4)]
    scheduler.waiting_queue = [Queued("mine/1/thought-1;", DEMANDED)]
    assert spex.admission.displaced(guesses) == []


def test_guesses_give_their_memory_to_demanded_work_newest_first() -> None:
    scheduler, spex = scheduling()
    guesses = [Queued(f"mine/0.{child}/thought-1;") for child in range(4)]
    running = [Queued("mine/2/thought-1;", DEMANDED), *guesses]
    assert spex.admission.in_the_way(running) == []
    scheduler.waiting_queue = [Queued("mine/1/thought-1;", DEMANDED, origin_input_ids=[0] * 250)]
    assert spex.admission.in_the_way(running) == [guesses[3], guesses[2]]
    assert spex.counters.values["displaced"] == 2
    guesses[3].to_finish = "abort"
    assert spex.admission.in_the_way(running) == [guesses[2], guesses[1]]


def test_an_aborted_guess_is_not_parked_and_not_computed_again() -> None:
    scheduler, spex = scheduling(ridge=1, slowdown=0.0)
    guess = Queued("other/0/thought-1;")
    scheduler.running = [guess]
    scheduler.waiting_queue = [Queued("mine/1/thought-1;", DEMANDED)]
    assert spex.admission.displaced([guess]) == [guess]
    spex.handle(Message("abort", guess.rid), lambda rid: setattr(guess, "to_finish", rid))
    assert spex.admission.displaced([guess]) == []
    assert spex.arrived(guess)  # SGLang itself took it out, where memory was full


def test_guesses_wait_while_others_pause_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler, spex = scheduling(ridge=10, slowdown=0.0)
    now = 100.0
    monkeypatch.setattr("spex_agents.server.plugin.admission.perf_counter", lambda: now)
    spex.admission.hold_back([Queued("mine/0/thought-1;", DEMANDED)])
    guesses = [Queued(f"other/0.{child}/thought-1;") for child in range(3)]
    scheduler.waiting_queue = list(guesses)
    assert len(spex.admission.hold_back([])) == 3
    now += IDLE_SECONDS + 0.1
    scheduler.waiting_queue = list(guesses)
    assert len(spex.admission.hold_back([])) == 2


@pytest.mark.parametrize(("guess", "shared"), [("other/0/thought-1;", 1), ("mine/1/thought-1;", 0)])
def test_steps_of_demanded_work_are_counted_and_those_it_shares_with_others_guesses(
    guess: str, shared: int
) -> None:
    _, spex = scheduling()
    batch = [Queued("mine/0/thought-1;", DEMANDED), Queued(guess)]
    mode = SimpleNamespace(is_decode=lambda: True)
    for running in (batch, batch[1:], batch[:1]):
        spex.admission.hold_back(running)
        spex.admission.processed(SimpleNamespace(forward_iter=0, forward_mode=mode, reqs=running))
    values = spex.counters.values
    assert (values["demanded_steps"], values["shared_steps"]) == (2, shared)


def test_requests_that_join_together_are_one_prefill() -> None:
    _, spex = scheduling()
    first = [Queued(f"run/{child}/thought-1;") for child in range(3)]
    spex.admission.admitted(first)
    spex.admission.admitted([*first, Queued("run/3/thought-1;", DEMANDED)])
    spex.admission.admitted(first)
    spex.admission.admitted([Queued("HEALTH_CHECK_1", DEMANDED)])
    values = spex.counters.values
    assert (values["prefill_batches"], values["admitted_speculative"]) == (2, 3)


def test_several_ranks_use_no_clock_of_their_own() -> None:
    scheduler = Scheduler()
    spex = Scheduling(scheduler, ridge=None, slowdown=0.0, ranks=2)
    assert spex.admission.ridge == StepTimes.FIRST_GUESS
    spex.admission.hold_back([Queued("mine/0/thought-1;", DEMANDED)])
    scheduler.waiting_queue = [Queued("other/0/thought-1;")]
    assert spex.admission.hold_back([]) == []


@pytest.mark.parametrize("groups", [1, 3])
def test_the_first_ranks_ridge_is_everybodys_before_the_same_step(groups: int) -> None:
    """Each group of ranks that share a queue, as with DP attention, has one of its own."""
    ranks = [
        [Scheduling(Scheduler(), ridge=None, slowdown=0.0, ranks=2) for _ in range(2)]
        for _ in range(groups)
    ]
    for number, group in enumerate(ranks):
        for rank, spex in enumerate(group):  # each has a clock of its own
            for size in (1, 2, 4, 8, 16, 32) * 16:
                base = 0.01 * (4 + number) * (1 + rank)
                spex.admission.step_times.learn(size, base + 0.002 * size)
    for group in ranks:
        first, second = (spex.admission for spex in group)
        assert first.ridge == second.ridge == StepTimes.FIRST_GUESS
        announced = first.announce()
        assert announced is not None
        for admission in (first, second):
            admission.agree(announced)
        assert first.ridge == second.ridge == first.step_times.ridge() != second.step_times.ridge()
        for spex in group:
            steps(spex, ANNOUNCED_EVERY, decode=False)
        assert first.announce() is None  # until it measures something else


@pytest.mark.parametrize("decode", [True, False])
def test_a_run_that_demands_nothing_any_more_is_forgotten(decode: bool) -> None:
    scheduler, spex = scheduling(ridge=10, slowdown=0.0)
    spex.admission.hold_back([Queued("mine/0/thought-1;", DEMANDED)])
    guesses = [Queued(f"other/0.{child}/thought-1;") for child in range(3)]
    scheduler.waiting_queue = list(guesses)
    assert len(spex.admission.hold_back([])) == 3
    steps(spex, RECENT_STEPS + 1, decode=decode)
    scheduler.waiting_queue = list(guesses)
    assert spex.admission.hold_back([]) == []


def test_promotion_and_demotion_reach_waiting_and_running_requests() -> None:
    scheduler, spex = scheduling()
    waiting, running = Queued("run/0/thought-1;"), Queued("run/1/thought-1;")
    scheduler.waiting_queue, scheduler.running = [waiting], [running]
    for request in (waiting, running):
        spex.handle(Message("promote", request.rid), pytest.fail)
        assert request.priority == DEMANDED
    spex.handle(Message("demote", "run"), pytest.fail)
    assert waiting.priority == running.priority == SPECULATIVE
    assert spex.counters.values["promoted"] == spex.counters.values["demoted"] == 2


def test_one_message_prunes_a_subtree_and_counts_what_was_wasted() -> None:
    scheduler, spex = scheduling()
    inside = [
        Queued("run/0.3/thought-1;", output_ids=[1, 2, 3]),
        Queued("run/0.3.1/thought-1;", output_ids=[1]),
    ]
    outside = Queued("run/0.31/thought-1;")
    scheduler.running = [*inside, outside]
    aborted: list[str] = []
    spex.handle(Message("abort", "run/0.3"), aborted.append)
    assert sorted(aborted) == sorted(request.rid for request in inside)
    assert {request.priority for request in inside} == {RETRACTED}
    assert outside.priority == SPECULATIVE
    assert spex.counters.values["aborted"] == 2
    assert spex.counters.values["wasted_tokens"] == 4


def test_a_message_may_overtake_its_request() -> None:
    _, spex = scheduling()
    spex.handle(Message("abort", "run/0/thought-1;"), pytest.fail)
    spex.handle(Message("promote", "run/1/thought-1;"), pytest.fail)
    assert spex.arrived(Queued("run/0/thought-1;"))
    assert not spex.arrived(Queued("run/0/thought-1~1;"))
    promoted = Queued("run/1/thought-1;")
    assert not spex.arrived(promoted)
    assert promoted.priority == DEMANDED


def test_a_pruned_path_can_be_written_again() -> None:
    _, spex = scheduling()
    spex.handle(Message("abort", "run/0.3"), pytest.fail)
    assert not spex.arrived(Queued("run/0.3/thought-2;"))


def test_the_ridge_is_where_requests_cost_as_much_as_the_step() -> None:
    times = StepTimes()
    assert times.ridge() == StepTimes.FIRST_GUESS
    for size in (1, 2, 4, 8) * 16:
        times.learn(size, 0.160 + 0.037 * size)
    line = times.line()
    assert line is not None
    assert line == pytest.approx((0.160, 0.037))
    assert times.ridge() == 4


def test_the_ridge_is_not_guessed_far_beyond_what_was_seen() -> None:
    times = StepTimes()
    for size in (1, 8, 16) * 16:
        times.learn(size, 0.020)
    assert times.ridge() == 32


def test_a_hiccup_hardly_moves_a_step_time() -> None:
    times = StepTimes()
    for _ in range(20):
        times.learn(1, 0.010)
    times.learn(1, 10.0)
    assert times.table()[1][1] < 0.012


def test_only_steps_that_follow_each_other_are_timed() -> None:
    _, spex = scheduling(ridge=None)
    steps(spex, 3, size=2)
    assert spex.admission.step_times.table()[2][0] == 2
    steps(spex, 1, size=2)  # numbered 0 again: others ran between
    assert spex.admission.step_times.table()[2][0] == 2


def waiting(spex: Scheduling, *guesses: Queued) -> list[Queued]:
    """Those of the guesses that join, beside demanded work of their own run."""
    scheduler = spex.scheduler
    scheduler.waiting_queue = list(guesses)
    spex.admission.hold_back([Queued("run/9/thought-1;", DEMANDED)])
    joined: list[Queued] = scheduler.waiting_queue
    return joined


def guesses_of(*lengths: int) -> list[Queued]:
    return [
        Queued(f"run/{child}/thought-1;", origin_input_ids=[0] * length)
        for child, length in enumerate(lengths)
    ]


def test_guesses_are_admitted_by_what_is_not_cached_of_them() -> None:
    cached = {"run/0/thought-1;": 900}
    spex = Scheduling(
        Scheduler(),
        ridge=8,
        slowdown=0.0,
        tokens=200,
        missing=lambda guess: len(guess.origin_input_ids) - cached.get(guess.rid, 0),
    )
    guesses = guesses_of(1000, 100, 100)
    assert waiting(spex, *guesses) == guesses[:2]
    cached.clear()
    assert waiting(spex, *guesses) == guesses[:1]  # a first one always, in chunks
    assert spex.admission.prefill.chunk(0) == 200


def test_guesses_prompts_are_not_bounded_where_nobody_waits() -> None:
    scheduler, spex = scheduling(ridge=8)
    scheduler.waiting_queue = guesses = list(guesses_of(1000, 1000))
    assert spex.admission.hold_back([]) == []
    assert scheduler.waiting_queue == guesses
    assert not spex.admission.bounded


def test_demanded_requests_decode_after_each_chunk_of_guesses() -> None:
    scheduler, spex = scheduling(ridge=8)
    prefill, running = spex.admission.prefill, [Queued("run/9/thought-1;", DEMANDED)]
    guess = Queued("run/0/thought-1;")
    scheduler.chunked_req = guess
    spex.admission.admitted([guess])
    assert prefill.must_decode(running)
    assert not prefill.must_decode(running)  # then the next chunk
    spex.admission.admitted([guess])
    assert not prefill.must_decode([])
    spex.admission.admitted([guess])
    scheduler.waiting_queue = [Queued("run/1/thought-1;", DEMANDED)]
    assert not prefill.must_decode(running)  # its prompt is computed at once


def test_a_guess_whose_prompt_is_under_way_leaves_most_of_a_step_to_demanded_ones() -> None:
    scheduler, spex = scheduling()
    prefill, guess = spex.admission.prefill, Queued("run/0/thought-1;")
    assert prefill.limit(guess, 8192, None) is None
    scheduler.waiting_queue = [Queued("run/1/thought-1;", DEMANDED)]
    scheduler.page_size = 64
    assert prefill.limit(guess, 8192, None) == 512
    assert prefill.limit(guess, 600, None) == 256
    assert prefill.limit(guess, 10, 8) == 8
    assert prefill.limit(Queued("run/2/thought-1;", DEMANDED), 8192, None) is None
    assert prefill.chunk(0) == 8192


def test_a_reward_server_counts_tokens_and_never_a_ridge() -> None:
    scheduler = Scheduler()
    spex = Scheduling(scheduler, ridge=2, slowdown=0.0, tokens=500, decodes=False)
    scheduler.waiting_queue = guesses = list(guesses_of(*[100] * 8))
    assert spex.admission.hold_back([]) == guesses[5:]
    assert scheduler.waiting_queue == guesses[:5]
    scheduler.waiting_queue = [*guesses, asked := Queued("run/9/score-1;", DEMANDED)]
    assert spex.admission.hold_back([]) == guesses
    assert scheduler.waiting_queue == [asked]


def test_ranks_that_schedule_in_step_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from prometheus_client import REGISTRY  # noqa: PLC0415 (it reads the variable)

    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "there")
    ranks = [
        Scheduling(Scheduler(), export=first, ridge=4, slowdown=0.0) for first in (True, False)
    ]
    for spex in ranks:
        spex.counters.add("aborted")
    assert REGISTRY.get_sample_value("spex:aborted_total") == 1
    first = ranks[0].counters
    for counter in (*first._exported.values(), first._seconds, first._steps):
        REGISTRY.unregister(counter)
