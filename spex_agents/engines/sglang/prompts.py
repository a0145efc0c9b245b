"""What the model at an SGLang server makes of a prompt."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

from spex_agents.engines.base import Request
from spex_agents.engines.openai.dialects import Fields
from spex_agents.engines.prompts import Prompt
from spex_agents.engines.reasoning import OPEN, with_reasoning
from spex_agents.engines.sglang.client import SGLangClient
from spex_agents.errors import EngineError

HEADS = 64
"""Conversations whose token ids are remembered: those of the searches that run."""


def messages_of(prompt: Prompt) -> Fields:
    """The turns of a prompt as a chat has them, without the reply."""
    return {"messages": [{"role": turn.role, "content": turn.content} for turn in prompt.messages]}


class PromptReader:
    """Tells a prompt's tokens, which token comes next, and what a reward head says.

    Args:
        server: Where the model is.
    """

    def __init__(self, server: SGLangClient) -> None:
        self._server = server
        self._labels: dict[str, int] = {}
        self._heads: dict[str, tuple[list[int], bool]] = {}
        self._ends: dict[tuple[int, ...], bool] = {}

    async def tokens(self, prompt: str | list[str] | Prompt) -> list[int]:
        """The token ids of a text, or of a conversation in the model's own chat template.

        The pieces of a list are tokenised each by itself, with special tokens before the first.
        """
        if isinstance(prompt, list):
            rest = {"prompt": prompt[1:], "add_special_tokens": False}
            later = await self._server.tokenize(rest) if prompt[1:] else []
            return [*await self.tokens(prompt[0]), *(token for ids in later for token in ids)]
        if isinstance(prompt, str):
            return await self._server.tokenize({"prompt": prompt})
        return (await self.prompt_tokens(messages_of(prompt), prompt))[0]

    async def prompt_tokens(
        self, fields: Mapping[str, object], prompt: Prompt
    ) -> tuple[list[int], bool]:
        """The token ids of a completion's prompt, or of a chat's with its partial reply after it.

        The second is whether they end within a block of reasoning.
        """
        if (written := fields.get("prompt")) is not None:
            text = str(written)
            return await self.tokens(text), text.rstrip().endswith(OPEN)
        head = messages_of(prompt)
        if kwargs := fields.get("chat_template_kwargs"):
            head["chat_template_kwargs"] = kwargs
        tokens, opened = await self._head(head)
        if not prompt.reply:
            return list(tokens), opened
        return [*tokens, *await self.tokens_after(with_reasoning(prompt, opened=opened))], False

    async def tokens_after(self, text: str) -> list[int]:
        """The token ids of a text that goes on with another."""
        return await self._server.tokenize({"prompt": text, "add_special_tokens": False})

    async def _head(self, head: Mapping[str, object]) -> tuple[list[int], bool]:
        """A conversation up to the reply, and whether that begins within a block of reasoning."""
        key = json.dumps(head)
        if key not in self._heads:
            tokens = await self._server.tokenize(head)
            end = tuple(tokens[-4:])
            if end not in self._ends:
                self._ends[end] = (await self._server.detokenize(end)).rstrip().endswith(OPEN)
            if len(self._heads) >= HEADS:
                del self._heads[next(iter(self._heads))]
            self._heads[key] = tokens, self._ends[end]
        return self._heads[key]

    async def label(self, text: str) -> int:
        """The id of a label that is one token.

        Raises:
            EngineError: It is several, or none.
        """
        if text not in self._labels:
            ids = await self._server.tokenize({"prompt": text, "add_special_tokens": False})
            if len(ids) != 1:
                raise EngineError(
                    f"label {text!r} is {len(ids)} tokens for the model at {self._server.url}: "
                    "a label must be a single one"
                )
            self._labels[text] = int(ids[0])
        return self._labels[text]

    async def next_token(
        self, prompt: Sequence[int], labels: Sequence[str], request: Request
    ) -> dict[str, float]:
        """The probability of each label as the token after `prompt`."""
        ids = [await self.label(label) for label in labels]
        body = {
            "input_ids": list(prompt),
            "sampling_params": {"temperature": 0, "max_new_tokens": 1},
            "return_logprob": True,
            "token_ids_logprob": ids,
        }
        reply = await self._server.call("/generate", body, request)
        try:
            found = {row[1]: row[0] for row in reply["meta_info"]["output_token_ids_logprobs"][0]}
            chances = (min(1.0, math.exp(found[token])) for token in ids)
            return dict(zip(labels, chances, strict=True))
        except (KeyError, IndexError, TypeError) as error:
            raise EngineError(
                f"{self._server.url} sent no label probabilities: {error!r}"
            ) from error

    async def classify(self, prompt: Sequence[int], request: Request) -> list[float]:
        """What the reward head says of `prompt`."""
        reply = await self._server.call("/classify", {"input_ids": list(prompt)}, request)
        try:
            return [float(value) for value in reply["embedding"]]
        except (KeyError, TypeError, ValueError) as error:
            raise EngineError(f"{self._server.url} sent no classification: {error!r}") from error
