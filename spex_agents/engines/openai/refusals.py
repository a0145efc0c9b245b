"""Parameters that a server refuses: left out from then on."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import openai
from tenacity import TryAgain

from spex_agents.engines.openai.dialects import Fields

logger = logging.getLogger(__name__)

REFUSABLE = (
    *("max_tokens", "max_completion_tokens", "top_logprobs", "logprobs", "top_k", "min_p"),
    *("repetition_penalty", "repeat_penalty", "top_p", "temperature", "seed", "stop"),
    *("include_stop_str_in_output", "no_stop_trim", "stream_options", "priority", "rid"),
    *("chat_template_kwargs", "reasoning_effort", "thinking", "reasoning"),
    *("continue_final_message", "add_generation_prompt"),
)
"""What a request can do without, or say otherwise; the first that an answer names goes."""

CAPS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}

_BELONGS = {
    "logprobs": ("top_logprobs",),
    "stop": ("include_stop_str_in_output", "no_stop_trim"),
    "include_stop_str_in_output": ("stop",),  # without it nobody sees where a reply was stopped
    "no_stop_trim": ("stop",),
    "continue_final_message": ("add_generation_prompt",),
}

_COSTS = {
    "temperature": "thoughts are drawn at the model's own temperature",
    "top_p": "thoughts are drawn with the model's own top_p",
    "top_k": "thoughts are drawn without it",
    "seed": "thoughts are the same in distribution only",
    "stop": "steps are cut here, what is decoded after them is lost",
    "chat_template_kwargs": "a model's reasoning stays on",
    "reasoning_effort": "a model's reasoning stays on",
    "thinking": "a model's reasoning stays on",
    "reasoning": "a model's reasoning stays on",
}
"""What a search goes without where a parameter is refused."""

_SYSTEM = re.compile(r"system (role|message|prompt)s?\b.*not (be )?support", re.IGNORECASE)
_PREFILL = re.compile(
    r"prefill|must end with a user|last message .*(must|should|role)|continue_final_message",
    re.IGNORECASE,
)
_WHITE = re.compile(r"(end|trailing) .*white ?space|trailing white ?space", re.IGNORECASE)


class Refusals:
    """What one server has refused so far.

    Args:
        url: As messages name it.

    Attributes:
        left_out: Parameters that are not sent any more.
        most_alternatives: Log-probabilities of a token that it lists at most, as far as is known.
        folds_system: The system message is told within the user's turn.
        asks: It continues no partial reply: the next step is asked for.
        trims: A partial reply must not end in white space.
    """

    def __init__(self, url: str) -> None:
        self.left_out: set[str] = set()
        self.most_alternatives: int | None = None
        self.folds_system = False
        self.asks = False
        self.trims = False
        self._renamed: dict[str, str] = {}
        self._url = url

    def __contains__(self, name: str) -> bool:
        return name in self.left_out

    def apply(self, fields: Mapping[str, object]) -> Fields:
        """`fields` without what the server refuses, or in its own words."""
        body = {
            self._renamed.get(name, name): value
            for name, value in fields.items()
            if name not in self.left_out
        }
        if (most := self.most_alternatives) is not None:
            for name in ("top_logprobs", "logprobs"):
                value = body.get(name)
                if isinstance(value, int) and not isinstance(value, bool):
                    body[name] = min(value, most)
        if self.folds_system and isinstance(messages := body.get("messages"), list):
            body["messages"] = _folded(messages)
        return body

    @contextmanager
    def learning(self, sent: Mapping[str, object]) -> Iterator[None]:
        """Learn from what is refused of the fields `sent`.

        Raises:
            TryAgain: It may go better now.
        """
        try:
            yield
        except openai.APIStatusError as error:
            if self.learn(error, sent):
                raise TryAgain from error
            raise

    def learn(self, error: openai.APIStatusError, sent: Mapping[str, object]) -> bool:
        """Note what `error` refuses of the fields `sent`; whether another try may go better."""
        if error.status_code not in (400, 404, 422):
            return False
        said = _said(error)
        if _SYSTEM.search(said) and not self.folds_system and "messages" in sent:
            self.folds_system = True
            self._warn("system messages", "they are told within the user's turn")
            return True
        continued = _ends_in_reply(sent)
        if continued and _WHITE.search(said) and not self.trims:
            self.trims = True
            return True
        if continued and _PREFILL.search(said) and not self.asks:
            self.asks = True
            self._warn("partial replies", "each step is asked for in a turn of its own")
            return True
        return self._drop(next(_named(error, said, sent), None), said, sent)

    def _drop(self, name: str | None, said: str, sent: Mapping[str, object]) -> bool:
        if name is None:
            return False
        if name in CAPS:
            if CAPS[name] in self._renamed:  # it wants neither
                return False
            self._renamed[name] = CAPS[name]
            return True
        asked = sent.get("top_logprobs", sent.get("logprobs"))
        if "logprobs" in name and isinstance(asked, int) and asked > 1:
            fewer = [int(number) for number in re.findall(r"\d+", said) if 0 < int(number) < asked]
            if fewer:
                self.most_alternatives = max(fewer)
                return True
        self.left_out |= {name, *_BELONGS.get(name, ())}
        self._warn(f"{name}={sent[name]!r}", _COSTS.get(name, "it is left out from now on"))
        return True

    def _warn(self, what: str, cost: str) -> None:
        logger.warning("%s refuses %s: %s", self._url, what, cost)


def _named(error: openai.APIStatusError, said: str, sent: Mapping[str, object]) -> Iterator[str]:
    """The parameters that an answer complains of: by its own word, then by its text."""
    known = [name for name in REFUSABLE if name in sent]
    if (param := str(getattr(error, "param", None) or "").split(".")[0]) in known:
        yield param
    yield from (name for name in known if re.search(rf"\b{name}\b", said))
    if "chat_template_kwargs" in known and "chat_template" in said:
        yield "chat_template_kwargs"
    if "logprobs" in said:
        yield from (name for name in known if "logprobs" in name)


def _said(error: openai.APIStatusError) -> str:
    """All that an answer says, wherever it says it."""
    return f"{error.message} {error.body}"


def _ends_in_reply(sent: Mapping[str, Any]) -> bool:
    messages = sent.get("messages")
    return isinstance(messages, list) and messages[-1]["role"] == "assistant"


def _folded(messages: list[Any]) -> list[Any]:
    """The messages, the system's told at the beginning of the first one of the user."""
    system = "\n\n".join(turn["content"] for turn in messages if turn["role"] == "system")
    rest = [turn for turn in messages if turn["role"] != "system"]
    if not system or not rest or rest[0]["role"] != "user":
        return rest
    return [{**rest[0], "content": f"{system}\n\n{rest[0]['content']}"}, *rest[1:]]
