"""A streamed completion, put together from its chunks, whatever shape these have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, NamedTuple

from spex_agents.engines.calls.cut import cut, estimated_tokens
from spex_agents.engines.reasoning import REASONING_FIELDS, Split, split_reasoning

FINISHES: Mapping[str, str] = {
    **dict.fromkeys(
        ("stop", "eos_token", "eos", "end_turn", "stop_sequence", "end", "complete"), "stop"
    ),
    **dict.fromkeys(("length", "max_tokens", "max_output_tokens", "model_length"), "length"),
    **dict.fromkeys(("abort", "cancelled", "error", "network_error"), "abort"),
    "insufficient_system_resource": "abort",
}
"""What servers call the ends of a reply, in lower case; what is not here is no thought's end."""

CACHED = (
    ("prompt_tokens_details", "cached_tokens"),
    ("", "prompt_cache_hit_tokens"),
    ("", "cached_tokens"),
    ("", "cache_read_input_tokens"),
)
"""Where usage tells how much of a prompt had been read before: OpenAI, vLLM, SGLang; DeepSeek;
Moonshot; gateways to Anthropic."""


class TokenLogprob(NamedTuple):
    """A token; its log-probability is None where the server has sent none for it."""

    token: str
    logprob: float | None
    top: tuple[tuple[str, float], ...]


@dataclass(slots=True)
class Reply:
    """What one stream has brought so far; reads chat completions and completions alike.

    Attributes:
        choice: Which of a request's choices it is.
        opened: The prompt itself has opened a block of reasoning, which the text goes on with.
        whole: Reasoning in the text is part of what it says.
        text: The text as it came, a block of reasoning at its beginning included.
        reasoning: What came apart from the text.
        finish: The server's finish reason in OpenAI's word, once it has come.
        prompt_tokens: The server's count of its prompt, once it has sent it.
        cached_tokens: Those of the prompt that it had read before.
        logprobs: The tokens of the text with their log-probabilities, where the server sends them.
    """

    choice: int = 0
    opened: bool = False
    whole: bool = False
    text: str = ""
    reasoning: str = ""
    finish: str | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    logprobs: list[TokenLogprob] = field(default_factory=list)
    _chunks: int = 0
    _usage: int | None = None
    _accounted: int = 0
    _reasoning_usage: int | None = None

    @property
    def tokens(self) -> int:
        """Tokens decoded: the server's last count, and what was seen since."""
        return self.told_tokens + self._seen - self._accounted

    @property
    def told_tokens(self) -> int:
        """Those that the server has counted."""
        return self._usage or 0

    @property
    def _seen(self) -> int:
        return max(self._chunks, len(self.logprobs))

    @property
    def reasoning_tokens(self) -> int:
        """Those of the tokens that are reasoning: the server's count, else by its share."""
        if self._reasoning_usage is not None:
            return min(self._reasoning_usage, self.tokens)
        hidden, shown = len(self.split.reasoning), len(self.split.text)
        return round(self.tokens * hidden / (hidden + shown)) if hidden else 0

    @property
    def split(self) -> Split:
        """What it says, and what it was reasoned from."""
        found = self.split_of(self.text)
        return Split(found.text, self.reasoning + found.reasoning)

    def split_of(self, text: str) -> Split:
        """The same of `text`, which is all of it or its beginning."""
        if self.whole:
            return Split(text, "")
        return split_reasoning(text, opened=self.opened)

    def take(
        self, chunk: object, *, hang_up_at: Sequence[str] = (), most_tokens: int | None = None
    ) -> bool:
        """Add a chunk; whether what it says is enough.

        Args:
            chunk: Whatever came.
            hang_up_at: It is, once it says one of these.
            most_tokens: It is after so many, reasoning not counted; the rest is dropped.
        """
        text, logprobs = self.text, len(self.logprobs)
        self.read(chunk)
        said = self.tokens - self.reasoning_tokens
        if most_tokens and said > most_tokens and not self.finish:
            self.text, self.finish = text, "length"
            del self.logprobs[logprobs:]
            return True
        return bool(hang_up_at) and cut(self.split.text.lstrip("\n"), hang_up_at)[1]

    def read(self, chunk: object) -> None:
        """Add a chunk. What is none, is skipped; so is a piece of it that cannot be read."""
        if not isinstance(chunk, Mapping):
            return
        self._read_usage(chunk.get("usage"))
        if isinstance(timings := chunk.get("timings"), Mapping):  # llama.cpp's server
            self.cached_tokens = _number(timings.get("cache_n"), self.cached_tokens)
        for choice in _list(chunk.get("choices")):
            if isinstance(choice, Mapping) and _number(choice.get("index"), 0) == self.choice:
                self._read_choice(choice)
        usage = chunk.get("usage")
        if isinstance(usage, Mapping) and _number(usage.get("completion_tokens"), -1) >= 0:
            self._accounted = self._seen

    def read_whole(self, answer: object) -> None:
        """Read an answer that came in one piece, though a stream was asked for."""
        self.read(answer)
        if self._usage is None:
            self._chunks = estimated_tokens(self.text + self.reasoning)

    def _read_choice(self, choice: Mapping[str, Any]) -> None:
        delta = choice.get("delta") or choice.get("message")
        delta = delta if isinstance(delta, Mapping) else {}
        text = _text(choice.get("text")) or _text(delta.get("content"))
        text = text or _text(delta.get("refusal"))
        reasoning = next((said for key in REASONING_FIELDS if (said := _text(delta.get(key)))), "")
        reasoning += _parts(delta.get("content"), "thinking")
        self._chunks += bool(text or reasoning)
        self.text = _paired(self.text, text)
        self.reasoning += reasoning
        if text or not reasoning:
            self.logprobs += _logprobs(choice.get("logprobs"))
        reason = str(choice.get("finish_reason") or "")
        if reason.lower() not in ("", "null", "none"):
            self.finish = FINISHES.get(reason.lower(), reason)

    def _read_usage(self, usage: object) -> None:
        if not isinstance(usage, Mapping):
            return
        self._usage = _number(usage.get("completion_tokens"), self._usage)
        self.prompt_tokens = _number(usage.get("prompt_tokens"), self.prompt_tokens)
        for holder, key in CACHED:
            found = usage.get(holder) if holder else usage
            if isinstance(found, Mapping):
                self.cached_tokens = _number(found.get(key), self.cached_tokens)
        if isinstance(found := usage.get("completion_tokens_details"), Mapping):
            self._reasoning_usage = _number(found.get("reasoning_tokens"), self._reasoning_usage)


def _logprobs(found: object) -> Iterator[TokenLogprob]:
    if not isinstance(found, Mapping):
        return
    if content := _entries(found.get("content")):
        for entry in content:
            alternatives = tuple(
                (str(other["token"]), float(other["logprob"]))
                for other in _entries(entry.get("top_logprobs"))
                if other.get("logprob") is not None
            )
            yield TokenLogprob(str(entry["token"]), _float(entry.get("logprob")), alternatives)
    elif tokens := _list(found.get("tokens")):
        tops = _list(found.get("top_logprobs"))
        for token, logprob, top in zip_longest(tokens, _list(found.get("token_logprobs")), tops):
            listed = (top or {}).items() if token is not None else ()
            alternatives = tuple((text, float(one)) for text, one in listed if one is not None)
            yield TokenLogprob(str(token), _float(logprob), alternatives)


def _entries(value: object) -> list[Mapping[str, Any]]:
    return [one for one in _list(value) if isinstance(one, Mapping) and "token" in one]


def _float(value: Any) -> float | None:
    return None if value is None else float(value)


def _text(value: object) -> str:
    """A text, or the texts of its parts, as Mistral sends them."""
    return value if isinstance(value, str) else _parts(value, "text")


def _parts(value: object, key: str) -> str:
    parts = (part for part in _list(value) if isinstance(part, Mapping))
    return "".join(_text(part.get(key)) for part in parts)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(value: Any, known: Any) -> Any:
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    return int(value) if isinstance(value, int | float) else known


def _paired(text: str, more: str) -> str:
    """The two together; a character whose halves came apart is whole again."""
    if "\udc00" <= more[:1] <= "\udfff" and "\ud800" <= text[-1:] <= "\udbff":
        pair = (text[-1] + more[0]).encode("utf-16", "surrogatepass").decode("utf-16")
        return text[:-1] + pair + more[1:]
    return text + more
