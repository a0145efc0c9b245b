"""The race on a real model: the same server in front, whose texts come from another.

The server behind takes ``/v1/completions`` and streams (llama.cpp's, vLLM's), with a model of the
ChatML format. Its token cap and its latencies are its own; rewards stay those of the script.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import httpx

from benchmarks.race.world import DELIMITER, calculated, problems, said

MOST_TOKENS, MOST_STEP = 320, 80
"""Of a reply, and of one that ends after a step: small models do not always end."""


def shots(count: int, *, small: bool = False) -> str:
    """Solved problems, of another seed than any of the race's, that show how to write."""
    told = []
    for problem in problems(count, seed=-1, small=small):
        steps, value = [], problem.start
        for at, (sign, operand) in enumerate(problem.operations, 1):
            result = calculated(value, sign, operand)
            steps.append(said(at, value, sign, operand, result))
            value = result
        steps.append(f"All steps are done. The answer is \\boxed{{{value}}}.")
        told.append(_turn("user", problem.question) + _turn("assistant", DELIMITER.join(steps)))
    return "".join(told)


def _turn(role: str, content: str) -> str:
    return f"<|im_start|>{role}\n{content}<|im_end|>\n"


def prompt_of(messages: Sequence[Mapping[str, Any]]) -> str:
    """The conversation as the model reads it; a last turn of the assistant's is gone on with."""
    *before, last = messages
    begun = str(last["content"]) if last["role"] == "assistant" else ""
    told = before if last["role"] == "assistant" else messages
    turns = "".join(_turn(str(turn["role"]), str(turn["content"])) for turn in told)
    return f"{turns}<|im_start|>assistant\n{begun}"


class Upstream:
    """The server behind.

    Args:
        url: Its address, without a version.
        shown: Solved problems in front of each prompt.
        small: Short ones.
    """

    def __init__(self, url: str, shown: int = 2, *, small: bool = False) -> None:
        self._client = httpx.AsyncClient(base_url=url, timeout=3600)
        self._shots = shots(shown, small=small)

    async def written(
        self, body: Mapping[str, Any], *, stop: bool, count: Callable[[], None]
    ) -> AsyncIterator[tuple[str, bool]]:
        """What the model writes, in pieces, and whether it is at the end of a step.

        The request is given up at the delimiter, so that one that is asked to stop there is told
        from one that has ended. The delimiter itself is left out.

        Args:
            body: The request, as a chat.
            stop: End at the delimiter.
            count: Called for each token.
        """
        most = MOST_STEP if stop else MOST_TOKENS
        asked = {
            "prompt": self._shots + prompt_of(body["messages"]),
            "stream": True,
            "max_tokens": min(most, int(body.get("max_tokens") or most)),
            "temperature": body.get("temperature", 0.8),
            "stop": ["<|im_end|>"],
            **({"seed": body["seed"] % 2**31} if "seed" in body else {}),
        }
        text, sent = "", 0
        async with self._client.stream("POST", "/v1/completions", json=asked) as reply:
            reply.raise_for_status()
            async for line in reply.aiter_lines():
                if not line.startswith("data: {"):
                    continue
                choices = json.loads(line.removeprefix("data: "))["choices"]
                if not choices or not (piece := choices[0].get("text")):
                    continue
                count()
                text += piece
                if stop and (end := text.find(DELIMITER)) >= 0:
                    yield text[sent:end], True
                    return
                # A line's end may be the first half of a delimiter.
                known = len(text) - (stop and text.endswith("\n"))
                yield text[sent:known], False
                sent = known
        yield text[sent:], False
