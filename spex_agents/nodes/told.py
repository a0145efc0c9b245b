"""What a search says to LangGraph's message stream: the thoughts on the answer's path, and that.

LangGraph streams what chat models say within its nodes, so here a chat model says what is certain.
Streams alone hear it: who traces or counts has heard of the calls that wrote the thoughts.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any, Final, cast
from uuid import UUID, uuid4

from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager, Callbacks
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.load import dumpd
from langchain_core.messages import (
    AIMessageChunk,
    BaseMessage,
    BaseMessageChunk,
    message_chunk_to_message,
)
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableConfig
from langchain_core.utils.utils import LC_ID_PREFIX
from langsmith import tracing_context

from spex_agents.errors import PolicyError
from spex_agents.nodes.state import Told, tree_of
from spex_agents.search.tree import Path, Tree
from spex_agents.speculation.config import SearchConfig
from spex_agents.speculation.session import Session

VOICE: Final = "__spex_voice"
NO_ANSWER = "No answer found."
REPORTED: Final = (
    "answer",
    "answer_path",
    "agreement",
    "ballots",
    "failures",
    "tree_sha256",
    "stopped",
    "ledger",
)
"""What the report of a search says."""


@dataclass(frozen=True, slots=True)
class Voice:
    """Who speaks for a search.

    Attributes:
        config: Of the node or tool that the stream names.
        answers: Whether the answer is said as well; what a tool returns is told by its agent.
        name: The `name` of the message, as of an agent among others.
    """

    config: RunnableConfig
    answers: bool = True
    name: str | None = None


def voice_of(config: RunnableConfig) -> Voice:
    """Who speaks for a search graph: the node or tool that it runs in, else its own node."""
    voice = config.get("configurable", {}).get(VOICE)
    return voice if isinstance(voice, Voice) else Voice(config)


def new_id() -> str:
    """The id of a message to be said, in the form that LangChain gives those of its runs."""
    return f"{LC_ID_PREFIX}-{uuid4()}"


async def say(
    chunks: Sequence[AIMessageChunk], config: RunnableConfig, *, to_end: bool = True
) -> None:
    """Say pieces of a message, to its end or not.

    Streams of version 3 take the id of the run for that of the message, and leave out a message of
    the node's that has it: so the last pieces are said by the run that the message is named after.
    """
    heard = _heard(config.get("callbacks"))
    if not chunks or not _anybody(heard):
        return
    identity = str(chunks[-1].id).removeprefix(f"{LC_ID_PREFIX}-")
    ended = chunks[-1].model_copy(update={"chunk_position": "last"})
    speaker = ChatSpex(chunks=[*chunks[:-1], ended], cache=False)
    named = UUID(identity) if to_end else None
    with tracing_context(enabled=False), _unasked():
        await speaker.ainvoke([], {**config, "callbacks": heard, "run_id": named})


def _heard(callbacks: Callbacks) -> Callbacks:
    """The handlers that are streams: it is no call of a model, so nobody is to count it as one."""
    if not isinstance(callbacks, BaseCallbackManager):
        return [one for one in callbacks or () if _streams(one)]
    heard = callbacks.copy()
    heard.handlers = [one for one in heard.handlers if _streams(one)]
    heard.inheritable_handlers = [one for one in heard.inheritable_handlers if _streams(one)]
    return heard


def _anybody(heard: Callbacks) -> bool:
    """Whether a handler may listen: what nobody hears costs as much as a step of the graph."""
    return bool(heard.handlers if isinstance(heard, BaseCallbackManager) else heard)


@contextmanager
def _unasked() -> Iterator[None]:
    """Hide handlers that LangChain finds in the context: of usage callbacks, of collected runs."""
    found = [
        (variable, variable.set(None))
        for variable, value in copy_context().items()
        if isinstance(value, BaseCallbackHandler) and not _streams(value)
    ]
    try:
        yield
    finally:
        for variable, token in found:
            variable.reset(token)


def _streams(handler: BaseCallbackHandler) -> bool:
    """As LangGraph's streams of messages do, `astream_events` and `astream_log`."""
    return hasattr(handler, "tap_output_aiter")


async def tell(
    session: Session, told: Told, path: Path, voice: Voice, result: Mapping[str, Any] | None = None
) -> Told:
    """Say the thoughts on `path` that have not been said, and what the search came to.

    Raises:
        PolicyError: What has been said is not on `path`.
    """
    identity, said = told["id"], tuple(told["path"])
    if path[: len(said)] != said:
        raise PolicyError(
            f"frontier() had left nothing beside {said!r}, which was streamed, but now something "
            "is: it must name paths at or below which all lies that is still to come"
        )
    chunks = _thoughts(session.config, session.tree, path, identity=identity, said=said)
    if result is not None and voice.answers:
        chunks.append(_conclusion(result, identity=identity))
    if voice.name is not None:
        chunks = [chunk.model_copy(update={"name": voice.name}) for chunk in chunks]
    await say(chunks, voice.config, to_end=result is not None)
    return Told(id=identity, path=list(path))


def reply(search: SearchConfig, result: Mapping[str, Any], name: str | None) -> BaseMessage:
    """The sum of all pieces, from the result of a search graph, by whoever has this name."""
    identity, path = result["told"]["id"], tuple(result["told"]["path"])
    pieces: list[BaseMessageChunk] = [
        *_thoughts(search, tree_of(result), path, identity=identity),
        _conclusion(result, identity=identity),
    ]
    message = message_chunk_to_message(reduce(add, pieces))
    message.name = name
    return message


def report_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """What a search graph's result says of the search, but for its tree."""
    return {key: result[key] for key in REPORTED}


def _thoughts(
    search: SearchConfig, tree: Tree, path: Path, *, identity: str, said: Path = ()
) -> list[AIMessageChunk]:
    """The thoughts on `path` below `said`, as pieces of the reasoning of a message."""
    return [
        AIMessageChunk(
            content="",
            id=identity,
            additional_kwargs={
                "reasoning_content": thought.text
                + (search.template.delimiter if thought.finish == "step" else "")
            },
        )
        for thought in tree.chain(path)[len(said) :]
    ]


def _conclusion(result: Mapping[str, Any], *, identity: str) -> AIMessageChunk:
    """The answer as the last piece of a message."""
    answer = result["answer"]
    content = NO_ANSWER if answer is None else words(answer)
    return AIMessageChunk(
        content=content,
        id=identity,
        response_metadata={"spex": report_of(result)},
        usage_metadata=usage_of(result["ledger"]),
    )


def usage_of(ledger: Mapping[str, float]) -> UsageMetadata:
    """All that a search has spent, as a chat model tells it of one call."""
    sent, decoded = int(ledger["sent_tokens"]), int(ledger["decoded_tokens"])
    return UsageMetadata(input_tokens=sent, output_tokens=decoded, total_tokens=sent + decoded)


def words(answer: str | Mapping[str, Any]) -> str:
    """An answer as text: one that has fields as JSON."""
    return answer if isinstance(answer, str) else json.dumps(answer)


def is_free_text(session: Session, path: Path, answer: object) -> bool:
    """Whether the answer is what the thoughts on its path say as a whole."""
    return session.config.free_text and answer == session.text(path)


class ChatSpex(BaseChatModel):
    """Says what it was made with."""

    chunks: list[AIMessageChunk]

    @property
    def _llm_type(self) -> str:
        return "spex"

    @property
    def _serialized(self) -> dict[str, Any]:
        """LangChain caches it, which before Python 3.12 takes a lock: a fork may copy it locked."""
        return cast(dict[str, Any], dumpd(self))

    def _said(self) -> Iterator[ChatGenerationChunk]:
        return (ChatGenerationChunk(message=chunk) for chunk in self.chunks)

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        return generate_from_stream(self._said())

    async def _agenerate(self, *args: Any, **kwargs: Any) -> ChatResult:
        return generate_from_stream(self._said())

    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._said():
            yield chunk
