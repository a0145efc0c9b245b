"""Hooks of processes that schedule in step: what one loses, all lose before they differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import PATIENCE

from spex_agents.engines.sglang.protocol import DEMANDED, SPECULATIVE
from spex_agents.server.plugin import queue
from spex_agents.server.plugin.guard import Exchange, Guard, RanksDifferError
from spex_agents.server.plugin.scheduling import Scheduling

RANKS = 2
GIVES = ("admission",)


def exchanges() -> list[Exchange]:
    """What each rank tells and hears, as a collective of SGLang's does."""
    barrier, told = Barrier(RANKS, timeout=PATIENCE), [[0]] * RANKS

    def of(rank: int) -> Exchange:
        def exchange(numbers: list[int]) -> list[int]:
            told[rank] = numbers
            barrier.wait()
            largest = [max(column) for column in zip(*told, strict=True)]
            barrier.wait()
            return largest

        return exchange

    return [of(rank) for rank in range(RANKS)]


def in_step(rank: Callable[[Guard, int], Any]) -> list[Any]:
    """What each rank answers; an error is an answer."""
    guards = [Guard({"admission", "seeds", "counters"}, partial(_same, one)) for one in exchanges()]

    def run(number: int) -> Any:
        try:
            return rank(guards[number], number)
        except RanksDifferError as error:
            return error

    with ThreadPoolExecutor(RANKS) as threads:
        return list(threads.map(run, range(RANKS)))


def _same(exchange: Exchange) -> Exchange:
    return exchange


def plain(step: int) -> str:
    return f"plain {step}"


def hook(fails: str) -> Callable[..., str]:
    """It decides, calls the original, and tells that it was here."""

    def decide(original: Any, step: int) -> str:
        if fails == "deciding":
            raise KeyError(step)
        original.settle()
        if fails == "acting":
            raise KeyError(step)
        return f"hooked {original(step)}"

    return decide


FAULTS = st.sampled_from(["", "", "", "deciding", "acting", "noting"])


@given(st.lists(st.tuples(FAULTS, FAULTS), max_size=8))
@settings(deadline=None, max_examples=60)
def test_ranks_do_the_same_at_each_step_or_end(steps: Sequence[tuple[str, str]]) -> None:
    def rank(guard: Guard, number: int) -> tuple[list[str], set[str]]:
        done = []
        for step, faults in enumerate(steps):
            fails = faults[number]

            def note(result: None, step: int, fails: str = fails) -> None:
                if fails == "noting":
                    raise KeyError(step)

            done.append(guard.around(GIVES, hook(fails), together=True)(plain, step))
            guard.after(("seeds",), note)(None, step)
        guard.settle()
        return done, guard.features

    first, second = in_step(rank)
    if isinstance(first, RanksDifferError):
        assert isinstance(second, RanksDifferError)
        assert any(one != other and "acting" in (one, other) for one, other in steps)
        return
    assert first == second
    done, features = first
    broken = [step for step, faults in enumerate(steps) if {"deciding", "acting"} & set(faults)]
    whole = min(broken, default=len(steps))
    assert done == [
        f"hooked plain {step}" if step < whole else f"plain {step}" for step in range(len(steps))
    ]
    assert ("seeds" in features) == all("noting" not in faults for faults in steps)
    assert "counters" in features


def test_what_one_rank_fails_to_decide_is_undone_on_the_other() -> None:
    def rank(guard: Guard, number: int) -> tuple[list[int], str]:
        queue = [1, 2, 3]

        def shorten(original: Any, step: int) -> str:
            if number == 1:
                raise KeyError("moved")
            held = [queue.pop()]
            try:
                original.settle()
            except Exception:
                queue.extend(held)
                raise
            return str(original(step))

        answer = guard.around(GIVES, shorten, together=True)(plain, 7)
        assert guard.features == {"seeds", "counters"}
        return queue, answer

    assert in_step(rank) == [([1, 2, 3], "plain 7")] * RANKS


def test_a_hook_of_another_feature_tells_what_failed_beside_it() -> None:
    """Once admission is lost, its hook still is where the ranks hear of each other."""

    def rank(guard: Guard, number: int) -> list[set[str]]:
        def fail(result: None) -> None:
            if number == 0:
                raise KeyError("moved")

        found = []
        admit = guard.around(GIVES, hook("deciding" if number else ""), together=True)
        for _ in range(2):
            admit(plain, 1)
            guard.after(("seeds",), fail)(None)
            found.append(set(guard.features))
        admit(plain, 2)
        return [*found, guard.features]

    before = {"seeds", "counters"}
    first, second = in_step(rank)
    assert first == second == [before, {"counters"}, {"counters"}]


def test_a_feature_of_results_is_left_to_sglang_on_all_ranks() -> None:
    def rank(guard: Guard, number: int) -> list[int]:
        def limit(result: int) -> int:
            if number == 1:
                raise KeyError("moved")
            return result // 2

        limited = guard.after(GIVES, limit, together=True)
        return [limited(8), limited(8)]

    assert in_step(rank) == [[8, 8]] * RANKS


def test_where_all_ranks_fail_alike_the_server_goes_on() -> None:
    def rank(guard: Guard, _: int) -> str:
        return str(guard.around(GIVES, hook("acting"), together=True)(plain, 3))

    assert in_step(rank) == ["plain 3"] * RANKS


def test_without_a_feature_what_it_left_behind_is_taken_away() -> None:
    guard = Guard({"seeds"})

    def draw(original: Any, seed: int | None) -> Any:
        raise KeyError("moved")

    def unseeded(original: Any, seed: int | None) -> Any:
        return original(None)

    around = guard.around(("seeds",), draw, without=unseeded)
    assert [around(lambda seed: seed, 5), around(lambda seed: seed, 6)] == [None, None]
    assert guard.failures == 1


@pytest.mark.parametrize("raised", [ValueError("mine"), RanksDifferError("ours")])
def test_an_error_of_the_original_passes_through(raised: Exception) -> None:
    def original(step: int) -> str:
        raise raised

    guard = Guard({"admission"})
    with pytest.raises(type(raised)):
        guard.around(GIVES, hook(""), together=True)(original, 1)
    assert guard.features == {"admission"}


def scheduler(waiting: Sequence[str], *, ridge: int, slowdown: float = 0.05) -> Any:
    """SGLang's, as far as admission goes."""
    found = SimpleNamespace(
        waiting_queue=[queued(rid) for rid in waiting],
        chunked_prefill_size=8192,
        prefill_delayer=None,
        chunked_req=None,
    )
    found.spex_scheduling = Scheduling(found, ridge=ridge, slowdown=slowdown)
    return found


def queued(rid: str) -> Any:
    """A guess, if it belongs to a run."""
    return SimpleNamespace(
        rid=rid,
        priority=SPECULATIVE if rid.startswith("run") else DEMANDED,
        finished=lambda: False,
        to_finish=None,
        origin_input_ids=[0] * 10,
        sampling_params=SimpleNamespace(max_new_tokens=10),
    )


@pytest.mark.parametrize("fails", [False, True])
def test_both_ranks_offer_sglang_the_same_queue(fails: bool) -> None:
    every = ["run/1/thought-1;", "a", "run/2/thought-1;"]

    def rank(guard: Guard, number: int) -> list[list[str]]:
        one = scheduler(every, ridge=1)
        if fails and number:  # it has taken guesses out of the queue by then
            one.spex_scheduling.admission.prefill.chunk = None
        seen = []

        def original(one: Any, batch: Any) -> Any:
            seen.append([request.rid for request in one.waiting_queue])
            assert one.chunked_prefill_size == 8192
            return SimpleNamespace(batch_to_run=None)

        batch = SimpleNamespace(reqs=[], batch_is_full=False)
        guard.around(GIVES, queue.admit, together=True)(original, one, batch)
        assert ("admission" in guard.features) != fails
        return [*seen, [request.rid for request in one.waiting_queue]]

    given = [every, every] if fails else [["a"], ["a", "run/1/thought-1;", "run/2/thought-1;"]]
    assert in_step(rank) == [given] * RANKS


@pytest.mark.parametrize("full", [False, True])
def test_guesses_that_make_room_wait_again(full: bool) -> None:
    """They have been taken out of the batch before SGLang fills it, and are not offered to it."""
    one = scheduler(["a"], ridge=8, slowdown=1)
    guess = queued("run/1/thought-1;")

    def wait_again(request: Any) -> None:
        one.waiting_queue.append(request)

    one._add_request_to_queue = wait_again
    released = []
    batch = SimpleNamespace(reqs=[guess], batch_is_full=full)
    batch.release_req = lambda index, _: released.append(index)
    batch.filter_batch = lambda keep_indices: batch.reqs.clear()

    def original(one: Any, batch: Any) -> Any:
        assert [request.rid for request in one.waiting_queue] == ["a"]
        return SimpleNamespace(batch_to_run=None)

    Guard({"admission"}).around(GIVES, queue.admit, together=True)(original, one, batch)
    assert released == ([0] if full else [])
    rids = [request.rid for request in one.waiting_queue]
    assert rids == (["a", "run/1/thought-1;"] if full else ["a"])
    assert batch.batch_is_full is False


def test_what_fails_while_guesses_make_room_leaves_none_in_the_batch_without_its_memory() -> None:
    one = scheduler(["a"], ridge=8, slowdown=0)
    guesses = [queued(f"run/{child}/thought-1;") for child in range(3)]
    one._add_request_to_queue = one.waiting_queue.append
    batch = SimpleNamespace(reqs=list(guesses), batch_is_full=False)

    def release(index: int, _: int) -> None:
        if index == 1:
            raise KeyError("moved")

    def keep(keep_indices: list[int]) -> None:
        batch.reqs = [batch.reqs[index] for index in keep_indices]

    batch.release_req, batch.filter_batch = release, keep
    guard = Guard({"admission"})
    admit = guard.around(GIVES, queue.admit, together=True)
    plan = SimpleNamespace(batch_to_run=None)
    assert admit(lambda one, batch: plan, one, batch) is plan
    assert guard.features == set()
    assert batch.reqs == guesses[1:]
    assert sorted(request.rid for request in one.waiting_queue) == ["a", "run/0/thought-1;"]
