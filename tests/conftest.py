"""Invariants that hold after every test."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Iterator

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
    "test_gateway_workers",
    "test_quickstarts",
    "test_bench",
    "test_gateway_replicas",
    "test_sandbox_hostile",
    "test_loops",
    "test_speculation",
    "test_math_tutor",
    "test_exact_stop",
    "test_cli",
    "test_gateway_storage",
    "test_coding_repair",
    "test_coding_assistant",
    "test_nodes_stream",
    "test_readme",
    "test_nodes_runs",
    "test_embedded_engine",
    "test_contributing",
    "test_view_browser",
    "test_view_tools",
)
"""Begun first, so that of several processes none is left with a long file at the end."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """A gateway begun in this process logs to what was standard error then, and is closed since."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> None:
    """Look where there is an event loop: one for each of the other tests too takes its time."""
    if "anyio_backend" in request.fixturenames:
        request.getfixturevalue("no_task_left")


@pytest.fixture
async def no_task_left(anyio_backend: str) -> AsyncIterator[None]:
    yield
    runner = {asyncio.current_task()}  # and its helper, both the pytest plugin's own
    left = [task for task in asyncio.all_tasks() - runner if "TestRunner" not in repr(task)]
    assert not left, f"tasks outlive the test: {left}"


@pytest.hookimpl(trylast=True)  # of what the marks have left
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse names that differ from process to process: several run the tests together."""
    if addresses := [item.nodeid for item in items if " at 0x" in item.nodeid]:
        raise pytest.UsageError(f"give it ids without addresses: {addresses[0]}")
    most: dict[str, int] = {}
    for item in items:
        test, examples = _examples(item)
        most[test] = max(examples, most.get(test, 0))
    repeated = {item for item in items if (of := _examples(item))[1] < most[of[0]]}
    config.hook.pytest_deselected(items=list(repeated))
    items[:] = [item for item in items if item not in repeated]
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(LONGEST)))


def _examples(item: pytest.Item) -> tuple[str, int]:
    """A test, and how many examples a case of it has: those of fewer are the first of the most."""
    numbers = getattr(getattr(item, "callspec", None), "params", {})
    if numbers.keys() != {"examples"}:
        return item.nodeid, 0
    return item.nodeid.partition("[")[0], numbers["examples"]
