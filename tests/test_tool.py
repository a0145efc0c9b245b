"""A search as a tool: LangChain's own suite, and an agent that calls it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests

from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.nodes import create_tot_tool
from spex_agents.search import Rebase

tot_tool = create_tot_tool(SimulatedEngine(speed=1000), policy=Rebase(width=4))


class TestStandardUnit(ToolsUnitTests):
    @property
    def tool_constructor(self) -> Any:
        return tot_tool

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"question": "What is 5 + 7?"}


class TestStandardRuns(ToolsIntegrationTests):
    @property
    def tool_constructor(self) -> Any:
        return tot_tool

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"question": "What is 5 + 7?"}


CALL = {"name": "think", "args": {"question": "What is 5 + 7?"}, "id": "1", "type": "tool_call"}


async def test_the_answer_is_the_content_and_the_report_the_artifact() -> None:
    for message in (await tot_tool.ainvoke(CALL), tot_tool.invoke(CALL)):
        assert message.content == "12"
        assert message.artifact["ledger"]["useful_tokens"] > 0
        assert len(message.artifact["tree_sha256"]) == 64


def test_its_schema_asks_for_the_question_alone() -> None:
    assert list(tot_tool.tool_call_schema.model_json_schema()["properties"]) == ["question"]  # type: ignore[union-attr]


async def test_a_search_without_an_answer_says_so() -> None:
    tool = create_tot_tool(
        SimulatedEngine(speed=1000),
        policy=Rebase(width=2),
        extract=lambda text: None,
        free_text=False,
    )
    assert await tool.ainvoke({"question": "What is 5 + 7?"}) == "No answer found."


async def test_a_search_that_fails_is_told_to_the_agents_model() -> None:
    async def broken(question: str, steps: Sequence[str], seed: int) -> str:
        raise ConnectionError("gone")

    tool = create_tot_tool(broken, policy=Rebase(width=2), reward=half)
    for message in (await tool.ainvoke(CALL), tool.invoke(CALL)):
        assert message.status == "error"
        assert "gone" in message.content


async def half(question: str, steps: Sequence[str]) -> float:
    return 0.5
