"""Single tries of asking a server: what is sent, and what a reply says of the next try."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeAlias

from tenacity import TryAgain

from spex_agents.engines.base import Request
from spex_agents.engines.openai.dialects import Dialect, Fields
from spex_agents.engines.openai.failures import BrokenReply
from spex_agents.engines.openai.fields import Call
from spex_agents.engines.openai.models import Served
from spex_agents.engines.openai.prompts import PromptWriter, Written
from spex_agents.engines.openai.refusals import Refusals
from spex_agents.engines.openai.reply import Reply
from spex_agents.engines.openai.siblings import Group
from spex_agents.engines.openai.thoughts import ended_in_lead
from spex_agents.engines.reasoning import Thinking
from spex_agents.errors import EngineError

Send: TypeAlias = Callable[[Call, Dialect, Fields, Any, int], Awaitable[Any]]
"""Sends fields, and reads into a `Reply` or `Choices`, or into one of its own."""


class Attempts:
    """Asks a server once, for one thought or for several.

    Args:
        send: Sends what was put together, and reads into the reply that it is given.
        refusals: Of the server.
        url: Of it, for messages.
        thinking: What becomes of a model's reasoning.
        thinking_tokens: Of that, beyond a thought's own cap.
    """

    def __init__(
        self,
        send: Send,
        refusals: Refusals,
        *,
        url: str,
        thinking: Thinking,
        thinking_tokens: int,
    ) -> None:
        self._send = send
        self._refusals = refusals
        self._url = url
        self._thinking = thinking
        self._thinking_tokens = thinking_tokens
        self._reasons = False

    async def alone(
        self, call: Call, served: Served, writer: PromptWriter, number: int
    ) -> tuple[Reply, Written]:
        """One try for one thought.

        Raises:
            TryAgain: Its reply has shown that it was asked wrongly.
        """
        fields, written = await self._compose(call, served, writer)
        steps = self._thinking == "steps"
        begun = Reply(opened=written.opened, whole=steps)
        reply: Reply = await self._send(call, served.dialect, fields, begun, number)
        if steps and reply.reasoning:
            raise EngineError(
                f"{self._url} sends reasoning apart from the text: thinking='steps' needs "
                "template=, or a server that is sent its prompts written out (SGLang, vLLM, "
                "llama.cpp)"
            )
        if not call.reasons and (reply.split.reasoning or reply.reasoning_tokens):
            self._reasons = True  # its stops and its cap were meant for what it says
            raise TryAgain
        if not call.own_stops and ended_in_lead(reply, call.sampling.stop):
            call.own_stops = True
            raise TryAgain
        return reply, written

    async def together(
        self, group: Group, served: Served, writer: PromptWriter, number: int
    ) -> None:
        """One try for all thoughts of a group; who is not answered then has to ask alone."""
        if group.answered:
            return
        call = group.calls[0]
        fields, written = await self._compose(call, served, writer)
        fields["n"] = len(group.calls)
        own = Request(id=f"{call.request.id}/siblings", seed=call.request.seed)
        choices = group.choices(own, written, reasons=call.reasons)
        try:
            await self._send(replace(call, request=own), served.dialect, fields, choices, number)
        except BrokenReply:
            if not group.answered:
                raise
        self._refusals.note_choices(choices.replies)

    async def _compose(
        self, call: Call, served: Served, writer: PromptWriter
    ) -> tuple[Fields, Written]:
        dialect, refusals = served.dialect, self._refusals
        call.reasons = self._reasons or self._thinking == "keep"
        call.own_stops = call.own_stops or (
            not dialect.keep_delimiter or call.reasons or refusals.trims or "stop" in refusals
        )
        # a server does not say whether its template has opened a block of reasoning
        written = await writer.write(call.prompt, out=call.reasons or self._thinking == "steps")
        fields: Fields = {
            "model": served.model,
            **written.fields,
            **call.sampling_fields(dialect),
            **call.logprob_fields(chat="messages" in written.fields),
            dialect.cap: call.max_tokens + (self._thinking_tokens if call.reasons else 0),
        }
        return fields, written
