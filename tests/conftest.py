"""Invariants that hold after every test."""

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "same_examples_every_time",
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("same_examples_every_time")

# A shell's background jobs ignore it, and so would all that is started here and shall heed it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

LONGEST = (
    "test_never_slower",
    "test_bench",
    "test_gateway_workers",
    "test_gateway_replicas",
    "test_quickstarts",
    "test_sandbox_hostile",
    "test_exact_stop",
    "test_speculation",
    "test_nodes_stream",
    "test_math_tutor",
)
"""Begun first, so that of several processes none is left with a long file at the end."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
async def no_task_left(anyio_backend: str) -> AsyncIterator[None]:
    yield
    runner = {asyncio.current_task()}  # and its helper, both the pytest plugin's own
    left = [task for task in asyncio.all_tasks() - runner if "TestRunner" not in repr(task)]
    assert not left, f"tasks outlive the test: {left}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse names that differ from process to process: several run the tests together."""
    if addresses := [item.nodeid for item in items if " at 0x" in item.nodeid]:
        raise pytest.UsageError(f"give it ids without addresses: {addresses[0]}")
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(LONGEST)))
