"""Waiting for work to its end: no cancellation is lost, and none ends it early."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.waiting import until_ended


@settings(max_examples=100)
@given(
    lasts=st.integers(0, 6),
    fails=st.booleans(),
    cancelled_at=st.sets(st.integers(0, 7)),
    seconds=st.none() | st.integers(0, 6),
)
def test_the_first_cancellation_is_raised_when_the_work_has_ended(
    *, lasts: int, fails: bool, cancelled_at: set[int], seconds: int | None
) -> None:
    patience = lasts if seconds is None else seconds + 0.25
    end = min(lasts, patience)
    before = [at for at in sorted(cancelled_at) if at + 0.5 < end]

    async def work() -> str:
        await asyncio.sleep(lasts)
        if fails:
            raise ValueError("failed")
        return "done"

    async def main() -> None:
        loop = asyncio.get_running_loop()
        flight = asyncio.create_task(work())

        async def wait() -> None:
            try:
                limit = None if seconds is None else patience
                await until_ended(flight, seconds=limit)
            finally:
                assert loop.time() == pytest.approx(end)
                assert flight.done() is (lasts < patience or seconds is None)
                # Cancellations are counted: a timeout around it finds out which are its own.
                current = asyncio.current_task()
                assert current is not None
                assert current.cancelling() == len(before)

        waiting = asyncio.create_task(wait())
        for at in cancelled_at:
            loop.call_at(at + 0.5, waiting.cancel, f"at {at}")
        if before:
            with pytest.raises(asyncio.CancelledError, match=f"at {before[0]}"):
                await waiting
        else:
            await waiting
        if fails:
            with pytest.raises(ValueError, match="failed"):
                await flight
        else:
            assert await flight == "done"

    run_virtual(main())


@given(
    lasts=st.integers(1, 6),
    scope_at=st.integers(0, 7),
    cancelled_at=st.sets(st.integers(0, 7), max_size=2),
)
def test_a_cancel_scope_is_heard_after_the_work(
    lasts: int, scope_at: int, cancelled_at: set[int]
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def wait() -> bool:
            work = asyncio.create_task(asyncio.sleep(lasts))
            reached = False
            with anyio.move_on_after(scope_at + 0.25) as scope:
                await until_ended(work)
                assert loop.time() == pytest.approx(lasts)
                await asyncio.sleep(0)
                reached = True
            assert reached is not scope.cancelled_caught
            return scope.cancelled_caught

        waiting = asyncio.create_task(wait())
        for at in cancelled_at:
            loop.call_at(at + 0.5, waiting.cancel)
        if any(at + 0.5 < lasts for at in cancelled_at):
            with pytest.raises(asyncio.CancelledError):
                await waiting
        else:
            assert await waiting is (scope_at + 0.25 < lasts)

    run_virtual(main())


def test_a_timeout_is_heard_after_the_work() -> None:
    async def main() -> None:
        work = asyncio.create_task(asyncio.sleep(2))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await until_ended(work)
        assert work.done()

    run_virtual(main())
