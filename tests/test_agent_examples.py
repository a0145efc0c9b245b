"""The agents of the examples: they fail their check without a search, and pass it with one."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from provider import provider

from examples.agents import meeting, orders
from examples.agents.models import PROVIDERS, Scripted, chat_model

QUESTION = HumanMessage(orders.QUESTION)


@pytest.fixture
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in PROVIDERS:
        monkeypatch.delenv(key, raising=False)


async def run(module: str, **environment: str) -> str:
    """What an example prints, run as its page says."""
    kept = {name: value for name, value in os.environ.items() if name not in PROVIDERS}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module),
        env={**kept, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return said.decode()


def check(printed: str, answer: str) -> None:
    """Without fails, with passes and gives the answer; the tree and the cost are between."""
    before, after = printed.split("\n\n", 1)
    assert before.startswith("without: ")
    assert "check fails" in before
    assert after.startswith("search 1\n")
    assert "● 1.00 " in after
    spent = re.search(
        r"cost: (\d+) calls of the model, (\d+) tokens sent \(\d+ in vain\), "
        r"(\d+) written \(\d+ in vain\)",
        after,
    )
    assert spent is not None
    assert all(int(figure) > 0 for figure in spent.groups())
    assert f"with: {answer}\ncheck passes" in after


async def test_an_agent_that_asks_a_database_prints_its_trees_and_is_right_with_a_search() -> None:
    printed = await run("examples.agents.orders")
    check(printed, "2,219.00 euros.")
    assert printed.count("search ") == 2
    assert re.search(r"├── ● 0\.50 query\(SELECT product, cents.*\n│   ├── ● 0\.10 2,130", printed)
    assert re.search(r"● 0\.00 query\(SELECT SUM\(amount\)", printed)


async def test_a_react_graph_follows_the_results_of_its_tools_and_is_right_with_a_search() -> None:
    printed = await run("examples.agents.meeting")
    check(printed, "2026-03-10T11:30Z")
    assert "check fails: Ana, Ken, Mia cannot come" in printed
    assert re.search(r"● 1\.00 Let me try 2026-03-10T11:30Z\.\n│   ├── ● 1\.00 Answer:", printed)


@pytest.mark.parametrize(
    ("module", "answer"),
    [(orders, "2,219.00 euros."), (meeting, "2026-03-10T11:30Z")],
    ids=["orders", "meeting"],
)
async def test_with_a_key_the_same_file_runs_on_the_providers_model(
    module: Any, answer: str
) -> None:
    async with provider(module.says) as address:
        printed = await run(module.__name__, OPENAI_API_KEY="none", OPENAI_BASE_URL=address)
    check(printed, answer)


def test_the_key_in_the_environment_chooses_the_model(
    no_keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, seed_parameter = chat_model(orders.says)
    assert (type(model), seed_parameter) == (Scripted, "seed")
    for key, name in PROVIDERS.items():
        monkeypatch.setenv(key, "none")
        chosen: Any = chat_model(orders.says)[0]
        assert name.endswith(getattr(chosen, "model_name", None) or chosen.model)
        monkeypatch.delenv(key)


# What their tools and checks do


def test_the_database_runs_what_it_is_asked_and_keeps_nothing_of_it() -> None:
    assert orders.query.invoke({"sql": "SELECT COUNT(*) FROM orders"}) == "120"
    assert orders.query.invoke({"sql": "DELETE FROM orders"}) == "no rows"
    assert orders.query.invoke({"sql": "SELECT COUNT(*) FROM orders"}) == "120"
    assert len(orders.query.invoke({"sql": "SELECT id FROM orders"}).splitlines()) == orders.ROWS
    with pytest.raises(Exception, match="no such column"):
        orders.query.invoke({"sql": "SELECT amount FROM orders"})


def found(text: str, status: Any = "success") -> ToolMessage:
    return ToolMessage(text, tool_call_id="call-1", status=status)


@pytest.mark.parametrize(
    ("after", "score"),
    [
        ([AIMessage("It is 12.")], 0.0),
        ([found("None")], 0.0),
        ([found("OperationalError: no such column 3", "error")], 0.0),
        ([found("12.5")], 0.5),
        ([found("12.5"), found("no such column", "error")], 0.2),
        ([found("12.5"), AIMessage("It is 12.50 euros in 2026.")], 1.0),
        ([found("12.5"), AIMessage("It is 13 euros.")], 0.1),
    ],
)
async def test_an_answer_stands_on_what_the_database_returned(after: Any, score: float) -> None:
    assert await orders.grounded([QUESTION, *after]) == score


async def test_an_hour_counts_those_who_are_free_then() -> None:
    only = [
        hour * 60 + minute
        for hour in range(24)
        for minute in (0, 30)
        if all(
            meeting.free(p, datetime(2026, 3, 10, hour, minute, tzinfo=UTC))
            for p in ("ana", "ken", "mia")
        )
    ]
    assert only == [11 * 60 + 30]
    assert await meeting.can_come("", ["Answer: 2026-03-10T11:30Z"]) == 1.0
    assert await meeting.can_come("", ["2026-03-10T12:00Z"]) == pytest.approx(2 / 3)
    assert await meeting.can_come("", ["some time, or 2026-13-40T12:00Z"]) == 0.0


def test_a_calendar_that_there_is_not_is_refused() -> None:
    assert '"place": "Tokyo"' in meeting.read_calendar.invoke({"person": "Ken"})
    with pytest.raises(ValueError, match="there are ana, ken, mia"):
        meeting.read_calendar.invoke({"person": "../orders"})
