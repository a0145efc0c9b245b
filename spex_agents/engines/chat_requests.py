"""What is sent to chat models: messages, keywords, and how a call is named in traces."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from spex_agents.engines.base import Request, Sampling
from spex_agents.engines.calls.cut import estimated_tokens
from spex_agents.engines.chat_replies import END_MARK
from spex_agents.engines.prompts import Prompt
from spex_agents.errors import SettingsError

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

GO_ON = (
    "Go on from exactly where your reply ends, without repeating what is there. "
    f"If it is complete already, reply with {END_MARK} and nothing else."
)
STANDARD_PARAMETERS: Mapping[str, str] = MappingProxyType(
    {"temperature": "temperature", "max_tokens": "max_tokens"}
)
_PARAMETERS = ("temperature", "top_p", "top_k", "max_tokens", "logprobs", "stop")
_TAGS = ("nostream",)  # LangGraph's tag: keeps the call out of stream_mode="messages"
_MOST_MARKS = 4  # Anthropic's own limit for a prompt
_CALLS = {"tool_use", "tool_call", "function_call"}  # blocks that LangChain counts as content
TOLD_ABOVE: ContextVar[bool] = ContextVar("told_above", default=False)
"""Whether the run that a call is below in a trace has the name of the call's thought."""
_ALTERNATIVES = 5  # label probabilities are asked for among as many; the least that hosts allow


def chat_model_in(model: Any) -> Any:
    """The chat model below what is bound to it."""
    *_, inner = _layers(model)
    return inner


def tools_in(model: Any) -> list[Any]:
    """The definitions of the tools that are bound to a model, and of its output's form."""
    return [one for layer in _layers(model) for one in tools_of(getattr(layer, "kwargs", {}))]


def tools_of(keywords: Mapping[str, Any]) -> list[Any]:
    """The definitions of tools, and of the output's form, among the keywords of a call."""
    told = [*(keywords.get("tools") or ()), *filter(None, [keywords.get("response_format")])]
    return [_definition(tool) for tool in told]


def _definition(tool: Any) -> Any:
    """A tool as it is sent, as far as LangChain knows: a model may take others, such as names."""
    from langchain_core.utils.function_calling import convert_to_openai_tool  # noqa: PLC0415

    if isinstance(tool, dict | str):
        return tool
    try:
        return convert_to_openai_tool(tool)
    except Exception:  # only an estimate
        return tool


def _layers(model: Any) -> Iterator[Any]:
    """A model with what is bound to it, and what is below, down to the chat model."""
    while model is not None:
        yield model
        parts = (getattr(model, part, None) for part in ("bound", "runnable", "first"))
        model = next((part for part in parts if part is not None), None)


def prompt_estimate(messages: Iterable[Any], tools: Sequence[Any] = ()) -> int:
    """About how many tokens messages, or texts, and tools have, where nobody counts them."""
    from langchain_core.messages.utils import count_tokens_approximately  # noqa: PLC0415

    messages = list(messages)
    beside = [message.tool_calls for message in messages if _calls_beside_blocks(message)]
    told = [*map(repr, beside), *(json.dumps(tool, default=str) for tool in tools)]
    return count_tokens_approximately(messages) + sum(map(estimated_tokens, told))


def _calls_beside_blocks(message: Any) -> bool:
    """Whether a message has calls that LangChain expects to be among its blocks, and are not."""
    if not getattr(message, "tool_calls", None) or not isinstance(message.content, list):
        return False
    return not any(isinstance(one, dict) and one.get("type") in _CALLS for one in message.content)


def parameters_for(model: Any, given: Mapping[str, str] | None) -> dict[str, str]:
    """The model's keywords for what is to be sent: those given, or the standard ones.

    A standard one is left out where the model has a value of its own, which it keeps.

    Raises:
        SettingsError: One is given for something that is never sent.
    """
    if given is None:
        return {
            name: keyword
            for name, keyword in STANDARD_PARAMETERS.items()
            if getattr(model, name, None) is None
        }
    if unknown := set(given) - set(_PARAMETERS):
        allowed = sorted(_PARAMETERS)
        raise SettingsError(f"parameters name {sorted(unknown)}: allowed are {allowed}")
    return dict(given)


def marks_caches(model: Any) -> bool:
    """Whether the provider of `model` remembers prompts up to marks alone."""
    return getattr(model, "_llm_type", None) == "anthropic-chat"


def messages_of(prompt: Prompt, instruction: str, *, marks: bool = False) -> list[BaseMessage]:
    """The conversation, and with a partial reply the instruction to go on with it.

    Args:
        prompt: What is asked.
        instruction: Asks to go on.
        marks: What all thoughts share, and where the path ends, is marked to be remembered.
    """
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage  # noqa: PLC0415

    kinds: dict[str, Any] = {
        "system": SystemMessage,
        "user": HumanMessage,
        "assistant": AIMessage,
    }
    messages: list[BaseMessage] = [
        kinds[turn.role](turn.content) if turn.source is None else turn.source
        for turn in prompt.messages
    ]
    marks = marks and sum(map(_marks_in, messages)) <= _MOST_MARKS - 2
    if marks and messages:
        messages[-1] = _marked(messages[-1])
    if reply := prompt.reply.rstrip():  # Anthropic refuses a turn that ends in white space
        begun = AIMessage(reply)
        messages += [_marked(begun) if marks else begun, HumanMessage(instruction)]
    return messages


def _marks_in(message: BaseMessage) -> int:
    blocks = message.content if isinstance(message.content, list) else ()
    return sum("cache_control" in block for block in blocks if isinstance(block, dict))


def _marked(message: BaseMessage) -> BaseMessage:
    """A copy with the mark of Anthropic's prompt caching, if the last thing in it is text."""
    content: Any = message.content
    if isinstance(content, str):
        content = [{"type": "text", "text": content}] if content.strip() else []
    if message.type == "tool" or not content or not isinstance(content[-1], dict):
        return message
    if content[-1].get("type") != "text":
        return message
    last = {"cache_control": {"type": "ephemeral"}, **content[-1]}
    return message.model_copy(update={"content": [*content[:-1], last]})


def sampling_keywords(
    parameters: Mapping[str, str], sampling: Sampling, max_tokens: int
) -> dict[str, Any]:
    """The keywords that say how tokens are drawn, as `parameters` names them."""
    values = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k or None,
        "max_tokens": max_tokens,
        "logprobs": sampling.logprobs or None,
        "stop": list(sampling.stop) or None,
    }
    return {
        keyword: value
        for name, keyword in parameters.items()
        if (value := values[name]) is not None
    }


def label_keywords(model: Any) -> dict[str, Any]:
    """The keywords that ask for alternatives to each token, where the model knows of any."""
    if hasattr(model, "top_logprobs"):
        return {"logprobs": True, "top_logprobs": _ALTERNATIVES}
    return {}


def call_config(request: Request) -> dict[str, Any]:
    """How a call is named in traces: after its thought, unless the run above it is."""
    _, path, purpose = (*request.id.split("/"), "", "")[:3]
    early = "" if request.demanded else ", begun early"
    name = f"{purpose.partition('-')[0] or 'thought'} {path}{early}"
    metadata = {"spex_request": request.id, "spex_speculative": not request.demanded}
    named = {} if TOLD_ABOVE.get() else {"run_name": name}
    return {**named, "tags": list(_TAGS), "metadata": metadata}
