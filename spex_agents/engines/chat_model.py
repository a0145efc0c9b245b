"""Any LangChain chat model."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from spex_agents.engines.base import Closing, Exactness, Features, Load, Request, Sampling
from spex_agents.engines.calls.cut import cut, estimated_tokens
from spex_agents.engines.calls.gate import Gate
from spex_agents.engines.calls.retries import Retries
from spex_agents.engines.calls.tasks import in_own_task
from spex_agents.engines.chat_replies import (
    END_MARK,
    as_message,
    is_cut_off,
    label_chances,
    logprobs_of,
    reasoning_in,
    refused,
    spoken,
    status_of,
)
from spex_agents.engines.prompts import Prompt
from spex_agents.errors import UNAVAILABLE, EngineError, EngineUnavailable, SettingsError
from spex_agents.search.tree import Thought

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage
    from langchain_core.runnables import Runnable

logger = logging.getLogger(__name__)

GO_ON = (
    "Go on from exactly where your reply ends, without repeating what is there. "
    f"If it is complete already, reply with {END_MARK} and nothing else."
)
STANDARD_PARAMETERS: Mapping[str, str] = MappingProxyType(
    {"temperature": "temperature", "max_tokens": "max_tokens"}
)
_PARAMETERS = ("temperature", "top_p", "top_k", "max_tokens", "logprobs", "stop")
_TAGS = ("nostream",)  # LangGraph's tag: keeps the call out of stream_mode="messages"
_ALTERNATIVES = 5  # label probabilities are asked for among as many; the least that hosts allow


class ChatModelEngine(Closing):
    """Writes thoughts with a LangChain chat model.

    Messages go to the model as they are: system message, turns, tool calls and results, images and
    files. The thoughts so far are shown as the assistant's turn, and `instruction` asks to go on.

    Where the model's reply ends, the path ends. A reply is cut at the first step delimiter, and its
    stream is closed there: providers do not tell a stop string from the end of a reply, and some
    take no stop strings at all. A model that is to be sent them all the same (`parameters` with
    "stop") ends its steps by itself, and then only an empty answer ends a path. White space before
    a step is removed. Reasoning, in blocks of its own or between ``<think>`` marks, is counted, and
    is no part of a thought.

    Tokens are the model's own count (`usage_metadata`). Without one, as in a stream that was
    closed, they are counted by the model's `custom_get_token_ids` if set, else estimated: the
    chunks, or a token to four characters if that is more. Nothing is downloaded to count.

    A parameter that the model refuses, with an error that names it, is left out from then on.

    Calls carry the tag ``nostream``: their tokens stay out of LangGraph's message stream.

    Args:
        model: A chat model, or one with tools, structured output, retries or fallbacks bound to it;
            called through `astream`.
        instruction: Asks to go on.
        parameters: The model's keywords for `temperature`, `top_p`, `top_k`, `max_tokens`,
            `logprobs` and `stop`; what is not named here is left as the model was configured. None
            for `temperature` and `max_tokens`, as far as the model has none of its own.
        seed_parameter: The model's keyword for a seed; None sends none.
        exactness: What a seed is worth.
        max_concurrency: Calls in flight at most, demanded ones first; None for no limit.
        retry_on: Exceptions worth another try, such as the provider's own connection errors.
        retries: Further tries.
        retry_wait: Seconds before the second try, doubled before each further one.

    Raises:
        SettingsError: A setting is not among what is allowed.

    Example:
        >>> import anyio
        >>> from langchain_core.language_models import FakeListChatModel
        >>> from spex_agents.engines.prompts import Message
        >>> engine = ChatModelEngine(FakeListChatModel(responses=["2 + 2 = 4. So ..."]))
        >>> prompt = Prompt((Message("user", "What is 2 + 2?"),))
        >>> async def main() -> Thought:
        ...     request = Request(id="run/0", seed=1)
        ...     sampling = Sampling(stop=(" So",))
        ...     return await engine.generate(prompt, request, sampling=sampling, max_tokens=32)
        >>> anyio.run(main).text
        '2 + 2 = 4.'
    """

    def __init__(
        self,
        model: Runnable[Any, Any],
        *,
        instruction: str = GO_ON,
        parameters: Mapping[str, str] | None = None,
        seed_parameter: str | None = None,
        exactness: Exactness = "unseeded",
        max_concurrency: int | None = None,
        retry_on: tuple[type[Exception], ...] = (ConnectionError, TimeoutError),
        retries: int = 3,
        retry_wait: float = 0.5,
    ) -> None:
        self._inner: Any = _chat_model_in(model)
        if parameters is None:
            open_ones = (name for name in STANDARD_PARAMETERS if not _configured(self._inner, name))
            parameters = {name: STANDARD_PARAMETERS[name] for name in open_ones}
        if unknown := set(parameters) - set(_PARAMETERS):
            allowed = sorted(_PARAMETERS)
            raise SettingsError(f"parameters name {sorted(unknown)}: allowed are {allowed}")
        if exactness != "unseeded" and seed_parameter is None:
            raise SettingsError(f"exactness={exactness!r}: needs seed_parameter=")
        self._model: Any = model
        self._instruction = instruction
        self._parameters = dict(parameters)
        self._seed_parameter = seed_parameter
        self._exactness = exactness
        self._gate = Gate(max_concurrency)
        self._retry_on = retry_on
        self._retries = Retries(times=retries, wait=retry_wait)
        self._refused: set[str] = set()

    @property
    def name(self) -> str:
        name = getattr(self._inner, "model_name", None) or getattr(self._inner, "model", None)
        return f"chat-model/{name or type(self._inner).__name__}"

    @property
    def features(self) -> Features:
        return Features(
            exactness=self._exactness,
            logprobs="logprobs" in self._parameters,
            labels=True,
            promotion=self._gate.places is not None,
            slots=self._gate.places,
            messages=True,
        )

    async def generate(
        self, prompt: Prompt, request: Request, *, sampling: Sampling, max_tokens: int
    ) -> Thought:
        """Ask for the thought after `prompt.reply`; see `Engine.generate`.

        Raises:
            EngineError: The model failed, after all tries, sent nothing but reasoning, or no
                log-probabilities though `parameters` names its keyword for them.
        """
        messages = self._messages(prompt)
        keywords = self._keywords(request, sampling, max_tokens)
        async with self._gate.place(request):
            ask = partial(self._try, messages, request, sampling.stop)
            thought: Thought = await self._asked(ask, keywords)
        return thought

    async def score(
        self, prompt: Prompt, request: Request, *, labels: Sequence[str]
    ) -> Mapping[str, float]:
        """The probability of each label as the reply's first token, where the model tells it.

        Of any other model the reply is read: the one label that it names first has probability 1;
        all have the same if it names none.

        Raises:
            EngineError: The model failed, after all tries.
        """
        messages = self._messages(prompt)
        keywords: dict[str, Any] = {}
        if hasattr(self._inner, "top_logprobs"):
            keywords = {"logprobs": True, "top_logprobs": _ALTERNATIVES}
        async with self._gate.place(request):
            said = await self._asked(partial(self._read, messages, request, ()), keywords)
        return label_chances(said, labels)

    async def promote(self, request: Request) -> None:
        """Nothing to send: the gate reads `request.demanded` when a place falls free."""

    async def load(self) -> Load:
        gate = self._gate
        return Load(running=gate.running, waiting=gate.waiting)

    async def aclose(self) -> None:
        """Nothing to close: the model is its owner's."""

    async def _asked(self, ask: Any, keywords: dict[str, Any]) -> Any:
        """Ask until the model takes the parameters and answers."""

        async def attempt(_: int) -> Any:
            while True:
                sent = {key: keywords[key] for key in keywords.keys() - self._refused}
                try:
                    return await ask(sent)
                except Exception as error:
                    keyword = refused(error, sent.keys() - {self._seed_parameter})
                    if keyword is None:
                        raise
                    logger.info("%s takes no %s: left out from now on", self.name, keyword)
                    self._refused.add(keyword)

        try:
            return await in_own_task(
                partial(self._retries.run, attempt, transient=self._is_transient)
            )
        except EngineError:
            raise
        except Exception as error:
            away = isinstance(error, ConnectionError)
            kind = EngineUnavailable if away or status_of(error) in UNAVAILABLE else EngineError
            raise kind(
                f"{self.name} failed: {type(error).__name__}: {error}; if another try may "
                "help, name the exception in retry_on="
            ) from error

    def _is_transient(self, error: BaseException) -> bool:
        return isinstance(error, self._retry_on)

    async def _try(
        self,
        messages: Sequence[BaseMessage],
        request: Request,
        stop: tuple[str, ...],
        keywords: Mapping[str, Any],
    ) -> Thought:
        before = request.tokens
        said = await self._read(messages, request, stop, keywords)
        text, at_delimiter = cut(spoken(said).lstrip(), stop)
        tokens = request.tokens - before
        logprobs = logprobs_of(said, stop)
        if text and logprobs is None and self._parameters.get("logprobs") in keywords:
            raise EngineError(
                f"{self.name} sent no log-probabilities though asked: set "
                "Sampling(logprobs=False), or take 'logprobs' out of parameters="
            )
        if not text and not at_delimiter and is_cut_off(said) and tokens:
            raise EngineError(
                f"{self.name} sent nothing but reasoning, {tokens} tokens of it: raise "
                "Limits(step_tokens=..., path_tokens=...), or let the model reason less"
            )
        marked = text.rstrip().endswith(END_MARK)
        if marked:
            text = text.rstrip().removesuffix(END_MARK).rstrip()
        if at_delimiter:
            ended = not _after(spoken(said).lstrip(), text, stop)
        else:
            ended = not is_cut_off(said) and self._parameters.get("stop") not in keywords
        if marked or ended or not (text or at_delimiter):
            return Thought(text=text, tokens=tokens, finish="stop", ends=True, logprobs=logprobs)
        cut_off = is_cut_off(said) and not at_delimiter
        return Thought(
            text=text, tokens=tokens, finish="length" if cut_off else "step", logprobs=logprobs
        )

    async def _read(
        self,
        messages: Sequence[BaseMessage],
        request: Request,
        stop: tuple[str, ...],
        keywords: Mapping[str, Any],
    ) -> BaseMessage:
        """What the model says, up to where the next step begins; its tokens are counted."""
        asked = sum(estimated_tokens(str(message.text)) for message in messages)
        before, sent = request.tokens, request.prompt_tokens
        request.prompt_tokens += asked  # until the model tells, if it does
        whole: Any = None
        chunks = 0
        stream: Any = self._model.astream(list(messages), _call_config(request), **keywords)
        async with aclosing(stream):
            async for chunk in stream:
                said = as_message(chunk)
                chunks += bool(said.text)
                whole = whole + said if said is chunk and whole is not None else said
                request.tokens = before + chunks
                text, at_delimiter = cut(spoken(whole).lstrip(), stop)
                if at_delimiter and _after(spoken(whole).lstrip(), text, stop):
                    break  # the next step has begun
        if whole is None:
            raise EngineError(f"{self.name} answered nothing at all: it must yield a message")
        message: BaseMessage = whole
        if usage := getattr(message, "usage_metadata", None):
            request.prompt_tokens = sent + (usage["input_tokens"] or asked)
        request.tokens = before + self._tokens(message, chunks)
        return message

    def _messages(self, prompt: Prompt) -> list[BaseMessage]:
        from langchain_core.messages import AIMessage, HumanMessage, SystemMessage  # noqa: PLC0415

        kinds: dict[str, Any] = {
            "system": SystemMessage,
            "user": HumanMessage,
            "assistant": AIMessage,
        }
        messages: list[BaseMessage] = [
            kinds[turn.role](turn.content) if turn.source is None else turn.source
            for turn in prompt.messages
        ]
        if reply := prompt.reply.rstrip():  # Anthropic refuses a turn that ends in white space
            messages += [AIMessage(reply), HumanMessage(self._instruction)]
        return messages

    def _keywords(self, request: Request, sampling: Sampling, max_tokens: int) -> dict[str, Any]:
        values = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k or None,
            "max_tokens": max_tokens,
            "logprobs": sampling.logprobs or None,
            "stop": list(sampling.stop) or None,
        }
        keywords: dict[str, Any] = {
            keyword: value
            for name, keyword in self._parameters.items()
            if (value := values[name]) is not None
        }
        if self._seed_parameter:
            keywords[self._seed_parameter] = request.seed
        return keywords

    def _tokens(self, message: BaseMessage, chunks: int) -> int:
        if usage := getattr(message, "usage_metadata", None):
            return int(usage["output_tokens"])
        text = str(message.text)
        if count := getattr(self._inner, "custom_get_token_ids", None):
            return len(count(text))
        return max(chunks, estimated_tokens(text) + estimated_tokens(reasoning_in(message)))


def _after(whole: str, text: str, stop: Sequence[str]) -> str:
    """What follows `text` and its delimiter in the whole of a reply, but for white space."""
    rest = whole[len(text) :]
    delimiter = max((mark for mark in stop if rest.startswith(mark)), key=len, default="")
    return rest.removeprefix(delimiter).strip()


def _call_config(request: Request) -> dict[str, Any]:
    """How a call is named in traces."""
    _, path, purpose = (*request.id.split("/"), "", "")[:3]
    early = "" if request.demanded else ", begun early"
    name = f"{purpose.partition('-')[0] or 'thought'} {path}{early}"
    metadata = {"spex_request": request.id, "spex_speculative": not request.demanded}
    return {"run_name": name, "tags": list(_TAGS), "metadata": metadata}


def _chat_model_in(model: Any) -> Any:
    """The chat model below what is bound to it."""
    while True:
        for part in ("bound", "runnable", "first"):
            if (inner := getattr(model, part, None)) is not None:
                model = inner
                break
        else:
            return model


def _configured(model: Any, parameter: str) -> bool:
    """Whether the model has a value of its own for a parameter, which it keeps."""
    return getattr(model, parameter, None) is not None
