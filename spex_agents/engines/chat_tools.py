"""Tools that chat models are offered, and their calls as the text of a thought."""

from __future__ import annotations

import json
from inspect import signature
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from spex_agents.engines.prompts import Offer, Prompt

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

_NOTHING: dict[str, Any] = {"type": "object", "properties": {}}


class Offering:
    """A model, with the tools that prompts offer it bound to it.

    Args:
        model: A chat model with a `bind_tools` of its own; to any other nothing is offered, and
            what is bound to a model already is left as it is.
    """

    def __init__(self, model: Any) -> None:
        from langchain_core.language_models import BaseChatModel  # noqa: PLC0415 (half a second)

        own = getattr(type(model), "bind_tools", None)
        self.possible = isinstance(model, BaseChatModel) and own is not BaseChatModel.bind_tools
        self._model = model
        self._bound: WeakKeyDictionary[Offer, Any] = WeakKeyDictionary()

    def offer_in(self, prompt: Prompt) -> Offer | None:
        """What the model is offered."""
        return prompt.offer if self.possible else None

    def model(self, offer: Offer | None) -> Any:
        """The model to ask."""
        if offer is None:
            return self._model
        if offer not in self._bound:
            self._bound[offer] = _bind(self._model, offer)
        return self._bound[offer]


def _bind(model: Any, offer: Offer) -> Any:
    tools = [
        {"type": "function", "function": {"description": "", "parameters": _NOTHING, **tool}}
        for tool in offer.tools
    ]
    more: dict[str, Any] = {} if offer.choice == "auto" else {"tool_choice": offer.choice}
    if not offer.several and "parallel_tool_calls" in signature(model.bind_tools).parameters:
        more["parallel_tool_calls"] = False
    return model.bind_tools(tools, **more)


def calls_in(message: BaseMessage, offer: Offer | None) -> str:
    """The calls of a reply that is complete, as text; empty if there are none.

    They are one object, ``{"tool_calls": [{"name": ..., "arguments": {...}}]}``; where the offer
    says which tool is to be called, its arguments alone.
    """
    called = getattr(message, "tool_calls", None)
    if offer is None or not called:
        return ""
    calls = [{"name": call["name"], "arguments": call["args"]} for call in called]
    if not offer.forces:
        kept = calls if offer.several else calls[:1]
        return json.dumps({"tool_calls": kept})
    return next((json.dumps(c["arguments"]) for c in calls if c["name"] == offer.choice), "")


def called_in(message: BaseMessage) -> str:
    """The tools that a reply calls, or was about to: ``add(), look_up()``."""
    kinds = ("tool_calls", "invalid_tool_calls", "tool_call_chunks")
    called = [call for kind in kinds for call in getattr(message, kind, None) or ()]
    names = dict.fromkeys(call["name"] for call in called if call["name"])
    return ", ".join(f"{name}()" for name in names) or "a tool"


def calls_something(message: BaseMessage) -> bool:
    """Whether a reply calls a tool, or was about to."""
    return bool(
        getattr(message, "tool_calls", None)
        or getattr(message, "invalid_tool_calls", None)
        or getattr(message, "tool_call_chunks", None)
    )
