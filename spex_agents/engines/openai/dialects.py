"""What servers make of OpenAI's protocol: one value each, in one table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from spex_agents.engines.base import Exactness, Sampling
from spex_agents.engines.reasoning import Thinking
from spex_agents.errors import SettingsError

Fields: TypeAlias = dict[str, object]

Partial: TypeAlias = Literal["continue", "tokenize", "template", "ask"]
"""How a partial reply is gone on with.

continue: sent as the last message of a chat; tokenize, template: by ``/completions``, on a prompt
that the server's ``/tokenize`` or ``/apply-template`` has begun; ask: told as a turn, and the next
step is asked for in another.
"""

CONTINUE: Mapping[str, object] = {"continue_final_message": True, "add_generation_prompt": False}

NO_THINKING: Mapping[str, object] = {
    "chat_template_kwargs": {"enable_thinking": False, "thinking": False}
}
THINKING: Mapping[str, object] = {
    "chat_template_kwargs": {"enable_thinking": True, "thinking": True}
}
"""What templates of models ask for that can do without reasoning: Qwen's and DeepSeek's words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What a kind of server adds to OpenAI's protocol, and leaves out of it.

    Attributes:
        name: What it is called.
        owners: How such servers name themselves in ``/v1/models`` (``owned_by``), besides `name`.
        host: The host of its service, which is recognised by that.
        fields: Sent with every request: what pins the sampling against a model's own defaults.
        cap: The field that caps a reply's tokens.
        whole_nucleus: Whether it takes ``top_p=1``, which means no limit.
        top_k: Whether it takes `top_k` (-1 for no limit).
        request_id: The field that carries a request's id, besides the header ``X-Request-Id``.
        partial: How a partial reply is gone on with; None: one short request finds out.
        continuation: Sent beside messages whose last is to be continued.
        mark: Of that message itself.
        keep_delimiter: Keeps the stop string in the text. Without it a reply that ended at a
            delimiter looks like one that the model ended, so no stop strings are sent: the
            engine reads until it sees a delimiter and closes the stream.
        stream_options: Beside ``include_usage``.
        thinking_off: Switches a model's reasoning off.
        thinking_on: Switches it on, for models that reason only if they are told to.
        thinking: What "auto" means.
        choices: Whether it takes `n`, and bills the prompt of `n` replies once.
        marks_caches: How models are named whose prompts are remembered up to marks alone.
        exactness: What a seed is worth, unless the server itself tells.

    Example:
        >>> Dialect(name="mine", fields={"repetition_penalty": 1.0}).thinks("auto")
        'keep'
    """

    name: str
    owners: tuple[str, ...] = ()
    host: str = ""
    fields: Mapping[str, object] = field(default_factory=dict)
    cap: str = "max_tokens"
    whole_nucleus: bool = True
    top_k: bool = False
    request_id: str | None = None
    partial: Partial | None = None
    continuation: Mapping[str, object] = field(default_factory=dict)
    mark: Mapping[str, object] = field(default_factory=dict)
    keep_delimiter: Mapping[str, object] | None = None
    stream_options: Mapping[str, object] = field(default_factory=dict)
    thinking_off: Mapping[str, object] = field(default_factory=dict)
    thinking_on: Mapping[str, object] = field(default_factory=dict)
    thinking: Thinking = "keep"
    choices: bool = False
    marks_caches: str | None = None
    exactness: Exactness = "seeded"

    def thinks(self, thinking: Thinking) -> Thinking:
        """What `thinking` comes to here."""
        return self.thinking if thinking == "auto" else thinking

    def thinking_fields(self, thinking: Thinking) -> Fields:
        """The fields that do what `thinking` says."""
        if self.thinks(thinking) == "off":
            return dict(self.thinking_off)
        return {} if thinking == "auto" else dict(self.thinking_on)

    def losses(
        self, sampling: Sampling, thinking: Thinking, extra: Mapping[str, object]
    ) -> Iterator[str]:
        """What it cannot do of what is wanted, with remedies."""
        if sampling.top_k and not self.top_k and "top_k" not in extra:
            yield (
                f"top_k={sampling.top_k} is not in OpenAI's protocol, and is left out; if the "
                "server takes it, name its dialect, else set top_k to 0"
            )
        if thinking == "off" and not (self.thinking_off or extra):
            yield "no means is known to switch reasoning off: give it in the extra body"


ANY = Dialect(name="any")
"""Nothing but the protocol: for servers that refuse fields they do not know."""

OPENAI = Dialect(
    name="openai",
    owners=("system", "openai-internal"),
    host="api.openai.com",
    cap="max_completion_tokens",
    partial="ask",
    thinking_off={"reasoning_effort": "none"},
    choices=True,
)

SGLANG = Dialect(
    name="sglang",
    fields={"min_p": 0.0, "repetition_penalty": 1.0},
    top_k=True,
    request_id="rid",
    partial="continue",
    continuation=CONTINUE,
    keep_delimiter={"no_stop_trim": True},
    stream_options={"continuous_usage_stats": True},
    thinking_off=NO_THINKING,
    thinking_on=THINKING,
    thinking="off",
)

VLLM = Dialect(
    name="vllm",
    fields={"min_p": 0.0, "repetition_penalty": 1.0},
    top_k=True,
    partial="tokenize",
    continuation=CONTINUE,
    keep_delimiter={"include_stop_str_in_output": True},
    stream_options={"continuous_usage_stats": True},
    thinking_off=NO_THINKING,
    thinking_on=THINKING,
    thinking="off",
)

LLAMA_CPP = Dialect(
    name="llamacpp",
    fields={"min_p": 0.0, "repeat_penalty": 1.0},
    top_k=True,
    partial="template",
    continuation=CONTINUE,  # older versions ignore it and continue an assistant message anyway
    thinking_off=NO_THINKING,
    thinking_on=THINKING,
    thinking="off",
)

OLLAMA = Dialect(
    name="ollama",
    owners=("library",),
    partial="continue",  # it continues a last message of the assistant by itself
    thinking_off={"reasoning_effort": "none"},
    thinking="off",
)

LM_STUDIO = Dialect(name="lmstudio", owners=("organization_owner",))

TGI = Dialect(
    name="tgi",
    whole_nucleus=False,
    partial="continue",
    continuation=CONTINUE,
    thinking_off=NO_THINKING,
    thinking_on=THINKING,
)

MISTRAL = Dialect(
    name="mistral",
    owners=("mistralai",),
    host="api.mistral.ai",
    partial="continue",
    mark={"prefix": True},
    choices=True,
    exactness="unseeded",  # its field is random_seed
)

DEEPSEEK = Dialect(
    name="deepseek",
    host="api.deepseek.com",
    partial="ask",  # a prefix is continued by its beta address alone
    thinking_off={"thinking": {"type": "disabled"}},
    thinking_on={"thinking": {"type": "enabled"}},
    exactness="unseeded",
)

TOGETHER = Dialect(
    name="together",
    host="api.together.xyz",
    top_k=True,
    thinking_off={"reasoning": {"enabled": False}},
    thinking_on={"reasoning": {"enabled": True}},
)

FIREWORKS = Dialect(
    name="fireworks",
    host="api.fireworks.ai",
    top_k=True,
    thinking_off={"reasoning_effort": "none"},
)

OPENROUTER = Dialect(
    name="openrouter",
    host="openrouter.ai",
    marks_caches="anthropic/",
    thinking_off={"reasoning": {"enabled": False}},
    thinking_on={"reasoning": {"enabled": True}},
)

ANTHROPIC = Dialect(
    name="anthropic",
    host="api.anthropic.com",
    partial="ask",
    thinking_off={"thinking": {"type": "disabled"}},
    exactness="unseeded",
)

DIALECTS: Mapping[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        *(ANY, OPENAI, SGLANG, VLLM, LLAMA_CPP, OLLAMA, LM_STUDIO, TGI),
        *(MISTRAL, DEEPSEEK, TOGETHER, FIREWORKS, OPENROUTER, ANTHROPIC),
    )
}
"""All dialects, by the name that `--dialect` takes."""


def dialect_named(dialect: Dialect | str | None) -> Dialect | None:
    """The dialect of that name; one that is given, or None, is passed through.

    Raises:
        SettingsError: There is none.

    Example:
        >>> dialect_named("vllm").top_k
        True
    """
    if dialect is None or isinstance(dialect, Dialect):
        return dialect
    if dialect not in DIALECTS:
        raise SettingsError(f"dialect={dialect!r}: must be one of {', '.join(DIALECTS)}")
    return DIALECTS[dialect]


def dialect_at(url: str) -> Dialect | None:
    """The dialect of the service at `url`, if its host is known.

    Example:
        >>> dialect_at("https://api.mistral.ai/v1").name, dialect_at("http://127.0.0.1:8000/v1")
        ('mistral', None)
    """
    host = urlsplit(url).hostname or ""
    known = (one for one in DIALECTS.values() if one.host)
    return next((one for one in known if f".{host}".endswith(f".{one.host}")), None)


def dialect_of(owned_by: object, url: str = "", model: str | None = None) -> Dialect:
    """The dialect of the server at `url` whose models are `owned_by`; `ANY` if unknown.

    Example:
        >>> dialect_of("vllm").name, dialect_of("somebody").name
        ('vllm', 'any')
    """
    if (at_home := dialect_at(url)) is not None:
        return at_home
    for dialect in DIALECTS.values():
        if owned_by in (dialect.name, *dialect.owners):
            return dialect
    return TGI if model is not None and owned_by == model else ANY
