"""What servers understand beyond OpenAI's own protocol, and requests written accordingly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from spex_agents.engines.base import Sampling
from spex_agents.engines.prompts import Prompt
from spex_agents.errors import EngineError

Fields: TypeAlias = dict[str, object]

CONTINUE: Mapping[str, object] = {"continue_final_message": True, "add_generation_prompt": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """A server's additions to OpenAI's protocol.

    Attributes:
        name: As the server names itself in ``/v1/models`` (``owned_by``).
        fields: Sent with every request: what pins the sampling against a model's own defaults.
        top_k: Whether it takes `top_k` (-1 for no limit).
        request_id: The field that carries a request's id, besides the header ``X-Request-Id``.
        continuation: Makes a chat completion continue its last message; None: it cannot.
        keep_delimiter: Keeps the stop string in the text. Without it a reply that ended at a
            delimiter looks like one that the model ended, so no stop strings are sent: the
            engine reads until it sees a delimiter and closes the stream.
        stream_options: Beside ``include_usage``.
    """

    name: str
    fields: Mapping[str, object] = field(default_factory=dict)
    top_k: bool = False
    request_id: str | None = None
    continuation: Mapping[str, object] | None = None
    keep_delimiter: Mapping[str, object] | None = None
    stream_options: Mapping[str, object] = field(default_factory=dict)


OPENAI = Dialect(name="openai")
"""Nothing but the protocol: for servers that refuse fields they do not know."""

SGLANG = Dialect(
    name="sglang",
    fields={"min_p": 0.0, "repetition_penalty": 1.0},
    top_k=True,
    request_id="rid",
    continuation=CONTINUE,
    keep_delimiter={"no_stop_trim": True},
    stream_options={"continuous_usage_stats": True},
)

VLLM = Dialect(
    name="vllm",
    fields={"min_p": 0.0, "repetition_penalty": 1.0},
    top_k=True,
    continuation=CONTINUE,
    keep_delimiter={"include_stop_str_in_output": True},
    stream_options={"continuous_usage_stats": True},
)

LLAMA_CPP = Dialect(
    name="llamacpp",
    fields={"min_p": 0.0, "repeat_penalty": 1.0},
    top_k=True,
    continuation=CONTINUE,  # older versions ignore it and continue an assistant message anyway
)

DIALECTS: tuple[Dialect, ...] = (OPENAI, SGLANG, VLLM, LLAMA_CPP)


def dialect_of(owned_by: object) -> Dialect:
    """The dialect of the server whose models are `owned_by`; plain OpenAI if unknown.

    Example:
        >>> dialect_of("vllm").name, dialect_of("somebody").name
        ('vllm', 'openai')
    """
    return next((dialect for dialect in DIALECTS if dialect.name == owned_by), OPENAI)


def sampling_fields(dialect: Dialect, sampling: Sampling) -> Fields:
    """The fields that say how tokens are drawn and where a reply ends."""
    fields: Fields = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        **dialect.fields,
    }
    if dialect.top_k:
        fields["top_k"] = sampling.top_k or -1
    if sampling.stop and dialect.keep_delimiter:
        fields |= {"stop": list(sampling.stop), **dialect.keep_delimiter}
    return fields


def logprob_fields(alternatives: int | None, *, chat: bool) -> Fields:
    """The fields that ask for each token's log-probability, and for its alternatives'."""
    if not chat:
        return {"logprobs": alternatives or 1}
    if alternatives is None:
        return {"logprobs": True}
    return {"logprobs": True, "top_logprobs": alternatives}


def prompt_fields(
    dialect: Dialect, prompt: Prompt, template: Callable[[Prompt], str] | None
) -> Fields:
    """The prompt of a completion where there is a template, else the messages of a chat.

    Raises:
        EngineError: The reply is to be continued, and the dialect has no way to ask for it.
    """
    if template:
        return {"prompt": template(prompt)}
    messages = [{"role": turn.role, "content": turn.content} for turn in prompt.messages]
    if not prompt.reply:
        return {"messages": messages}
    if dialect.continuation is None:
        raise EngineError(
            f"a server of dialect {dialect.name!r} is not known to continue a partial reply: name "
            "its own dialect=, pass template= to use /completions, or use ChatModelEngine"
        )
    messages.append({"role": "assistant", "content": prompt.reply})
    return {"messages": messages, **dialect.continuation}


def chatml(prompt: Prompt) -> str:
    r"""Write a prompt in ChatML (Qwen, SmolLM2, ...), its reply left open.

    Example:
        >>> from spex_agents.engines.prompts import Message
        >>> chatml(Prompt((Message("user", "2 + 2?"),), reply="It is"))
        '<|im_start|>user\n2 + 2?<|im_end|>\n<|im_start|>assistant\nIt is'
    """
    turns = "".join(
        f"<|im_start|>{message.role}\n{message.content}<|im_end|>\n" for message in prompt.messages
    )
    return f"{turns}<|im_start|>assistant\n{prompt.reply}"
