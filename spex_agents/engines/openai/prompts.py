"""How a prompt is told to a server: as messages, or written out where it is to be continued."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import openai

from spex_agents.engines.base import Request
from spex_agents.engines.openai.client import Client
from spex_agents.engines.openai.continuation import find_partial
from spex_agents.engines.openai.dialects import Fields, Partial
from spex_agents.engines.openai.fields import Call
from spex_agents.engines.openai.models import Served
from spex_agents.engines.openai.refusals import Refusals
from spex_agents.engines.openai.reply import Reply
from spex_agents.engines.openai.templates import Template
from spex_agents.engines.prompts import NEXT_STEP, Prompt
from spex_agents.engines.reasoning import OPEN, with_reasoning

_MISSING = (401, 403, 404, 405, 501)
"""How servers, and gateways before them, say that an endpoint is not there."""

_OPENED = re.compile(rf"{OPEN}(?:\s|\u010a|\u0120|\u2581|<0x0A>)*\Z")
"""How the texts of tokens end there; vocabularies write white space in their own ways."""


@dataclass(frozen=True, slots=True)
class Written:
    """A prompt as it is sent.

    Attributes:
        fields: Of the request.
        opened: It ends within a block of reasoning, which the reply goes on with.
        asked: It asks for one more step, in place of having the reply continued.
    """

    fields: Fields
    opened: bool = False
    asked: bool = False


class PromptWriter:
    """Writes prompts in the way that one server can go on with.

    Args:
        client: Of the server.
        served: What is asked for there.
        refusals: What it has refused.
        template: Writes every prompt out here, if there is one.
        extra: What chat templates are given besides, as fields of the request.

    Attributes:
        partial: How it goes on with a partial reply; None while that is not known.
    """

    def __init__(
        self,
        client: Client,
        served: Served,
        refusals: Refusals,
        template: Template | None,
        extra: Mapping[str, object],
    ) -> None:
        self._client = client
        self._root = client.shown.rstrip("/").removesuffix("/v1")
        self._model = served.model
        self._dialect = served.dialect
        self.partial: Partial | None = served.dialect.partial
        marked = served.dialect.marks_caches
        self._marks = marked is not None and served.model.startswith(marked)
        self._refusals = refusals
        self._template = template
        self._extra = {key: extra[key] for key in ("chat_template_kwargs",) if key in extra}

    async def find_out(self, ask: Callable[[Call], Awaitable[Reply]], request: Request) -> None:
        """Find out how a partial reply is gone on with, where nobody knows; see `find_partial`."""
        if self.partial is not None or self._template:
            return
        self.partial = "continue"
        try:
            self.partial = await find_partial(ask, request, self._refusals)
        except BaseException:
            self.partial = None
            raise

    async def write(self, prompt: Prompt, *, out: bool = False) -> Written:
        """What is sent for `prompt`.

        Args:
            prompt: What for.
            out: Written out if the server can do that, also where there is no reply to continue.

        Raises:
            openai.OpenAIError: The server cannot be asked for what is needed.
        """
        if self._template:
            text = self._template(prompt)
            return Written({"prompt": text}, opened=text.rstrip().endswith(OPEN))
        if (prompt.reply or out) and self.partial in ("tokenize", "template"):
            if (written := await self._write_out(prompt)) is not None:
                return written
            self.partial = "continue"
        return self._as_chat(prompt)

    def _as_chat(self, prompt: Prompt) -> Written:
        messages: list[Fields] = [
            {"role": turn.role, "content": turn.content} for turn in prompt.messages
        ]
        if self._marks and messages:
            messages[-1] = _marked(messages[-1])
        if not prompt.reply:
            return Written({"messages": messages})
        reply: Fields = {"role": "assistant", "content": prompt.reply, **self._dialect.mark}
        if self.partial == "ask" or self._refusals.asks:
            asking: Fields = {"role": "user", "content": NEXT_STEP}
            told: Fields = {"role": "assistant", "content": prompt.reply.rstrip()}
            messages += [_marked(told) if self._marks else told, asking]
            return Written({"messages": messages}, asked=True)
        if self._refusals.trims:
            reply["content"] = prompt.reply.rstrip()
        if prompt.reasoning:
            reply |= {"reasoning_content": prompt.reasoning, "reasoning": prompt.reasoning}
        messages.append(_marked(reply) if self._marks else reply)
        return Written({"messages": messages, **self._dialect.continuation})

    async def _write_out(self, prompt: Prompt) -> Written | None:
        """The prompt of a completion, begun by the server; None if it does not do that."""
        head: Fields = {
            **self._as_chat(Prompt(prompt.messages)).fields,
            **self._extra,
            "add_generation_prompt": True,
        }
        if self.partial == "template":
            if (begun := await self._ask("/apply-template", head, "prompt")) is None:
                return None
            opened = begun["prompt"].rstrip().endswith(OPEN)
            text = begun["prompt"] + with_reasoning(prompt, opened=opened)
            return Written({"prompt": text}, opened=opened and not prompt.reply)
        named: Fields = {"model": self._model}
        begun = await self._ask("/tokenize", {**named, **head, "return_token_strs": True}, "tokens")
        if begun is None:
            return None
        opened = _opens(begun.get("token_strs"))
        text = with_reasoning(prompt, opened=opened)
        if not text:
            return Written({"prompt": begun["tokens"]}, opened=opened)
        rest = {**named, "prompt": text, "add_special_tokens": False}
        if (ended := await self._ask("/tokenize", rest, "tokens")) is None:
            return None
        return Written({"prompt": [*begun["tokens"], *ended["tokens"]]})

    async def _ask(self, path: str, body: Fields, key: str) -> dict[str, Any] | None:
        """What the server itself answers, `key` within it; None if it has no such endpoint."""
        sent = self._refusals.apply(body)
        try:
            with self._refusals.learning(sent):
                found = await self._client.post(f"{self._root}{path}", sent)
        except openai.APIStatusError as error:
            if error.status_code in _MISSING:
                return None
            raise
        return found if isinstance(found, dict) and found.get(key) is not None else None


def _marked(turn: Fields) -> Fields:
    """The turn with the mark up to which its host is to remember what it has read."""
    part = {"type": "text", "text": turn["content"], "cache_control": {"type": "ephemeral"}}
    return {**turn, "content": [part]}


def _opens(tokens: object) -> bool:
    """Whether a prompt of these tokens ends within a block of reasoning."""
    texts = [str(token) for token in tokens[-8:]] if isinstance(tokens, list) else []
    return _OPENED.search("".join(texts)) is not None
