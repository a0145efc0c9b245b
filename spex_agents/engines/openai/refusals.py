"""Parameters that a server refuses: left out from then on."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import openai
from tenacity import TryAgain

from spex_agents.engines.base import Sampling
from spex_agents.engines.openai.dialects import Fields
from spex_agents.engines.openai.failures import is_quota, is_too_long
from spex_agents.engines.openai.reply import Reply
from spex_agents.search.tree import Thought

logger = logging.getLogger(__name__)

REFUSABLE = (
    *("max_tokens", "max_completion_tokens", "top_logprobs", "logprobs", "top_k", "min_p"),
    *("repetition_penalty", "repeat_penalty", "top_p", "temperature", "seed", "stop"),
    *("include_stop_str_in_output", "no_stop_trim", "stream_options", "priority", "rid"),
    *("chat_template_kwargs", "reasoning_effort", "thinking", "reasoning"),
    *("continue_final_message", "add_generation_prompt", "n"),
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
    "n": "each thought's prompt is paid for",
    "stop": "steps are cut here, what is decoded after them is lost",
    "chat_template_kwargs": "a model's reasoning stays on",
    "reasoning_effort": "a model's reasoning stays on",
    "thinking": "a model's reasoning stays on",
    "reasoning": "a model's reasoning stays on",
}
"""What a search goes without where a parameter is refused."""

_SYSTEM = re.compile(
    r"system (role|message|prompt)s?\b.*not (be )?support|roles must alternate"
    r"|roles are supported, got system|(unexpected|invalid|unsupported) role\W+system"
    r"|developer instruction is not",
    re.IGNORECASE,
)
"""How templates, and hosts of models without system messages, refuse one."""

_PREFILL = re.compile(
    r"prefill|must end with a user|last (message|role) .*(must|should|role)|expected last role"
    r"|continue_final_message",
    re.IGNORECASE,
)
_TOO_MANY = re.compile(r"too large|at most|exceeds?\b|greater than|maximum", re.IGNORECASE)
_WHITE = re.compile(r"(end|trailing) .*white ?space|trailing white ?space", re.IGNORECASE)


class Refusals:
    """What one server has refused so far.

    Args:
        url: As messages name it.

    Attributes:
        left_out: Parameters that are not sent any more.
        most_alternatives: Log-probabilities of a token that it lists at most, as far as is known.
        most_tokens: Of a reply that may be asked for, likewise.
        folds_system: The system message is told within the user's turn.
        asks: It continues no partial reply: the next step is asked for.
        trims: A partial reply must not end in white space.
        sends_logprobs: Whether it does when it is asked; None while that is not known.
        costs: What searches go without, by what is refused: each is logged once.
    """

    def __init__(self, url: str) -> None:
        self.left_out: set[str] = set()
        self.most_alternatives: int | None = None
        self.most_tokens: int | None = None
        self.folds_system = False
        self.asks = False
        self.trims = False
        self.sends_logprobs: bool | None = None
        self.costs: dict[str, str] = {}
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
        _bound(body, ("top_logprobs", "logprobs"), self.most_alternatives)
        _bound(body, tuple(CAPS), self.most_tokens)
        if self.folds_system and isinstance(messages := body.get("messages"), list):
            body["messages"] = _folded(messages)
        return body

    def note_choices(self, replies: Sequence[Reply]) -> None:
        """Note whether all choices have come that were asked for."""
        first, *others = replies
        if first.finish and not any(reply.tokens or reply.finish for reply in others):
            self.left_out.add("n")
            self._warn(f"n={len(replies)}", _COSTS["n"])

    def note_logprobs(self, thought: Thought, sampling: Sampling) -> None:
        """Note whether a thought has the log-probabilities that were asked for."""
        if sampling.logprobs and thought.text and thought.logprobs is None:
            self.miss_logprobs()
        elif thought.logprobs:
            self.sends_logprobs = True

    def miss_logprobs(self) -> None:
        """Note that none came, unless some have come before: then it is one reply's fault."""
        if self.sends_logprobs is None:
            self.sends_logprobs = False
            self._warn(
                "log-probabilities",
                "thoughts have none, and labels are read off replies; let the server return them, "
                "or take a reward without them",
            )

    @contextmanager
    def learning(self, sent: Mapping[str, object]) -> Iterator[None]:
        """Learn from what is refused of the fields `sent`.

        Raises:
            TryAgain: It may go better now.
        """
        try:
            yield
        except openai.APIError as error:
            if self.learn(error, sent):
                raise TryAgain from error
            raise

    def learn(self, error: openai.APIError, sent: Mapping[str, object]) -> bool:
        """Note what `error` refuses of the fields `sent`; whether another try may go better."""
        status = str(getattr(error, "status_code", error.code))  # inside a stream it is a code
        if status not in ("400", "404", "422") or is_too_long(error) or is_quota(error):
            return False
        said = _said(error)
        if _SYSTEM.search(said) and not self.folds_system and _has_system(sent):
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
            if fewer := _fewer(said, sent[name]):
                self.most_tokens = max(fewer)
                self._warn(f"{name}={sent[name]}", f"replies are cut at {self.most_tokens} tokens")
                return True
            if CAPS[name] in self._renamed:  # it wants neither
                return False
            self._renamed[name] = CAPS[name]
            return True
        asked = sent.get("top_logprobs", sent.get("logprobs"))
        if "logprobs" in name and (fewer := _fewer(said, asked)):
            self.most_alternatives = max(fewer)
            return True
        self.left_out |= {name, *_BELONGS.get(name, ())}
        if name == "logprobs":
            self.miss_logprobs()
            return True
        self._warn(f"{name}={sent[name]!r}", _COSTS.get(name, "it is left out from now on"))
        return True

    def _warn(self, what: str, cost: str) -> None:
        self.costs[what] = cost
        logger.warning("%s refuses %s: %s", self._url, what, cost)


def _bound(body: Fields, names: Sequence[str], most: int | None) -> None:
    """Lower the numbers of that name to `most`, if there is one."""
    for name in names:
        value = body.get(name)
        if most is not None and isinstance(value, int) and not isinstance(value, bool):
            body[name] = min(value, most)


def _fewer(said: str, asked: object) -> list[int]:
    """The numbers below what was asked for, in an answer that calls that too many."""
    if not isinstance(asked, int) or not _TOO_MANY.search(said):
        return []
    return [int(number) for number in re.findall(r"\d+", said) if 0 < int(number) < asked]


def _named(error: openai.APIError, said: str, sent: Mapping[str, object]) -> Iterator[str]:
    """The parameters that an answer complains of: by its own word, then by its text."""
    known = [name for name in REFUSABLE if name in sent]
    if (param := str(getattr(error, "param", None) or "").split(".")[0]) in known:
        yield param
    yield from (name for name in known if re.search(rf"\b{name}\b", said, re.IGNORECASE))
    if "chat_template_kwargs" in known and "chat_template" in said:
        yield "chat_template_kwargs"
    if "logprobs" in said:
        yield from (name for name in known if "logprobs" in name)


def _said(error: openai.APIError) -> str:
    """All that an answer says, wherever it says it."""
    return f"{error.message} {error.body}"


def _has_system(sent: Mapping[str, Any]) -> bool:
    return any(turn["role"] == "system" for turn in sent.get("messages") or ())


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
