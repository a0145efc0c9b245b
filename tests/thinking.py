"""What the tests of a caller's run share: a chat model that takes its time, and who listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextvars import ContextVar
from typing import Any
from unittest.mock import MagicMock
from uuid import UUID

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_models import agenerate_from_stream
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langgraph.graph import START, MessagesState, StateGraph
from langsmith import Client
from pydantic import ConfigDict, Field

from spex_agents.nodes import create_tot_node
from spex_agents.rewards import Verifier
from spex_agents.search import Rebase
from spex_agents.speculation import Speculation

USER: ContextVar[str] = ContextVar("user", default="nobody")
CHAT: Any = {"messages": [("user", "5 + 7?")]}


class Thinks(BaseChatModel):
    """Takes a moment; goes on for three steps; says what it has used."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    seconds: float = 0.01
    live: int = 0
    peak: int = 0
    calls: int = 0
    users: set[str] = Field(default_factory=set)
    begun: asyncio.Event = Field(default_factory=asyncio.Event)

    @property
    def _llm_type(self) -> str:
        return "thinks"

    def _generate(self, *_: Any, **__: Any) -> ChatResult:
        raise NotImplementedError

    async def _agenerate(self, messages: Any, *_: Any, **__: Any) -> ChatResult:
        return await agenerate_from_stream(self._astream(messages))

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        self.users.add(USER.get())
        self.calls += 1
        self.begun.set()
        number = self.calls
        self.live += 1
        self.peak = max(self.peak, self.live)
        try:
            await asyncio.sleep(self.seconds * (1 + number % 3))
        finally:
            self.live -= 1
        begun = messages[-2].text if len(messages) > 1 and messages[-2].type == "ai" else ""
        last = begun.count("Step") == 2
        text = f"Answer: {number % 2}" if last else f"Step {number}.\n\nAnd so on."
        message = AIMessageChunk(
            content=text,
            usage_metadata={"input_tokens": 10, "output_tokens": 5, "total_tokens": 15},
            response_metadata={"model_name": "thinks-1"},
        )
        yield ChatGenerationChunk(message=message)


async def by_length(question: str, steps: Sequence[str]) -> float:
    await asyncio.sleep(0.01)
    return (len("".join(steps)) * 7 % 10) / 10


def chat(model: Any, saver: Any = None, store: Any = None, **search: Any) -> Any:
    pure = Verifier(by_length, pure=True)
    usual = {"policy": Rebase(width=4), "reward": pure, "speculation": Speculation()}
    node = create_tot_node(model, **{**usual, **search})
    graph = StateGraph(MessagesState).add_node("think", node).add_edge(START, "think")
    return graph.compile(checkpointer=saver, store=store, name="agent")


class Traced(Client):
    """LangSmith's client, which keeps to itself what it is to send."""

    def __init__(self) -> None:
        super().__init__(api_key="none", auto_batch_tracing=False, info={}, session=MagicMock())
        self.kept: dict[UUID, dict[str, Any]] = {}

    def create_run(self, name: str, inputs: Any, run_type: Any, **told: Any) -> None:
        run = {"name": name, "inputs": inputs, "run_type": run_type, **told}
        self.kept[told["id"]] = {**self.kept.get(told["id"], {}), **run}

    def update_run(self, run_id: Any, **told: Any) -> None:
        self.kept[run_id] = {**self.kept.get(run_id, {}), **told}
