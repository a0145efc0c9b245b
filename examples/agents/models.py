"""The chat model of the examples: a provider's if there is a key for it, else a scripted one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain.chat_models import init_chat_model
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable

PROVIDERS: Mapping[str, str] = {
    "OPENAI_API_KEY": "openai:gpt-5-mini",
    "ANTHROPIC_API_KEY": "anthropic:claude-haiku-4-5",
}
"""The model that is taken where this variable is set; SPEX_CHAT_MODEL names another."""

Says = Callable[[Sequence[BaseMessage]], Sequence[AIMessage]]
"""All that the model may say to these messages, the likeliest first."""


class Scripted(BaseChatModel):
    """Says what a script has: the likeliest without a seed, and with one what it draws.

    Attributes:
        says: The script, a `Says`.
        seconds: That each call takes.
    """

    says: Any
    seconds: float = 0.05

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Runnable[Any, AIMessage]:
        return self.bind(**kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        *,
        seed: int = 0,
        **kwargs: Any,
    ) -> ChatResult:
        choices = self.says(messages)
        said = choices[seed % len(choices)].model_copy(deep=True)
        sent, decoded = sum(map(_tokens, messages)), _tokens(said)
        said.usage_metadata = UsageMetadata(
            input_tokens=sent, output_tokens=decoded, total_tokens=sent + decoded
        )
        return ChatResult(generations=[ChatGeneration(message=said)])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        await asyncio.sleep(self.seconds)
        return self._generate(messages, stop, None, **kwargs)


def _tokens(message: BaseMessage) -> int:
    calls = message.tool_calls if isinstance(message, AIMessage) else []
    return max(1, (len(str(message.text)) + len(str(calls or ""))) // 4)


def chat_model(says: Says) -> tuple[BaseChatModel, str | None]:
    """The model, and its keyword for a seed: a provider's draws by itself."""
    for key, usual in PROVIDERS.items():
        if os.environ.get(key):
            return init_chat_model(os.environ.get("SPEX_CHAT_MODEL", usual)), None
    return Scripted(says=says), "seed"
