from __future__ import annotations

import asyncio

import anyio
import pytest

from spex_agents.engines.base import Request
from spex_agents.engines.calls.gate import Gate


async def enter(gate: Gate, request: Request, entered: list[str]) -> None:
    async with gate.place(request):
        entered.append(request.id)


async def test_gate_without_a_number_lets_everybody_in() -> None:
    gate = Gate()
    async with gate.place(Request(id="a", seed=1)), gate.place(Request(id="b", seed=1)):
        assert (gate.running, gate.waiting) == (2, 0)
    assert repr(gate) == "<Gate places=None running=0 waiting=0>"


async def test_places_go_to_the_demanded_first_and_else_by_arrival() -> None:
    gate, entered = Gate(1), list[str]()
    async with anyio.create_task_group() as tasks, gate.place(Request(id="first", seed=1)):
        for name, demanded in (("s1", False), ("d1", True), ("s2", False), ("d2", True)):
            tasks.start_soon(enter, gate, Request(id=name, seed=1, demanded=demanded), entered)
        await anyio.wait_all_tasks_blocked()
    assert entered == ["d1", "d2", "s1", "s2"]
    assert (gate.running, gate.waiting) == (0, 0)


@pytest.mark.parametrize("admitted", [False, True])
async def test_cancelled_waiter_leaves_its_place_to_the_next(admitted: bool) -> None:
    gate, entered = Gate(1), list[str]()
    async with gate.place(Request(id="first", seed=1)):
        cancelled = asyncio.create_task(enter(gate, Request(id="a", seed=1), entered))
        await anyio.wait_all_tasks_blocked()
        after = asyncio.create_task(enter(gate, Request(id="b", seed=1), entered))
        await anyio.wait_all_tasks_blocked()
        if not admitted:
            cancelled.cancel()
            await asyncio.wait([cancelled])
            assert gate.waiting == 1
    cancelled.cancel()  # in the same breath as it is admitted
    await asyncio.wait([cancelled, after])
    assert cancelled.cancelled()
    assert entered == ["b"]
    assert (gate.running, gate.waiting) == (0, 0)
