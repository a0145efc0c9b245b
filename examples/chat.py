"""A LangChain chat model that any engine speaks for, for an agent without a server of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import ConfigDict

from spex_agents import Sampling
from spex_agents.engines import Message, Prompt, Request, Role
from spex_agents.nodes.portal import portal

ROLES: Mapping[str, Role] = {"system": "system", "human": "user", "ai": "assistant"}


class Chat(BaseChatModel):
    """Answers with one sample; it calls no tools.

    Attributes:
        engine: An `Engine`, which is opened at its first call.
        temperature: 0 is greedy.
        max_tokens: Of an answer.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    engine: Any
    temperature: float = 0.0
    max_tokens: int = 120

    @property
    def _llm_type(self) -> str:
        return "spex-engine"

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        *,
        seed: int = 0,
        **kwargs: Any,
    ) -> ChatResult:
        turns = tuple(Message(ROLES[said.type], said.text) for said in messages)
        thought = await self.engine.generate(
            Prompt(turns),
            Request(id=f"{uuid4().hex}/0", seed=seed),
            sampling=Sampling(temperature=self.temperature, stop=tuple(stop or ())),
            max_tokens=self.max_tokens,
        )
        return ChatResult(generations=[ChatGeneration(message=AIMessage(thought.text))])

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        *,
        seed: int = 0,
        **kwargs: Any,
    ) -> ChatResult:
        return portal().call(lambda: self._agenerate(messages, stop, seed=seed))
