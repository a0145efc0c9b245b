"""Any LangChain chat model."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

from spex_agents.engines.base import Closing, Exactness, Features, Load, Request, Sampling
from spex_agents.engines.calls.cut import repeated
from spex_agents.engines.calls.gate import Gate
from spex_agents.engines.calls.pace import Pace
from spex_agents.engines.calls.retries import Retries
from spex_agents.engines.calls.tasks import in_own_task
from spex_agents.engines.chat_replies import (
    as_message,
    failure,
    label_chances,
    refused,
    remedy_of,
    spoken,
    take,
    wait_of,
)
from spex_agents.engines.chat_requests import (
    GO_ON,
    call_config,
    chat_model_in,
    label_keywords,
    marks_caches,
    messages_of,
    parameters_for,
    prompt_estimate,
    sampling_keywords,
    tools_in,
)
from spex_agents.engines.chat_thoughts import BEGINS_ANEW, Step, step_is_whole, thought_of
from spex_agents.engines.chat_tools import Offering, calls_something
from spex_agents.engines.prompts import Prompt
from spex_agents.errors import EngineError, SettingsError
from spex_agents.search.tree import Thought

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage
    from langchain_core.runnables import Runnable

logger = logging.getLogger(__name__)


class ChatModelEngine(Closing):
    """Writes thoughts with a LangChain chat model.

    Messages go to the model as they are: system message, turns, tool calls and results, images and
    files. The thoughts so far are shown as the assistant's turn, and `instruction` asks to go on.

    Where the model's reply ends, the path ends. A reply is cut at the first step delimiter, and its
    stream is closed there: providers do not tell a stop string from the end of a reply, and some
    take no stop strings at all. A model that is to be sent them all the same (`parameters` with
    "stop") ends its steps by itself, and then only an empty answer ends a path. Of a step, white
    space before it is removed, and what a reply that begins anew repeats: one warning tells of it.
    Reasoning, in blocks of its own or between ``<think>`` marks, is counted, and no part of it.

    Tokens are the model's own count (`usage_metadata`). Without one, as in a stream that was
    closed, they are counted by the model's `custom_get_token_ids` if set, else estimated: by chunks
    or characters.

    What all thoughts share, and a path's end, are marked for Anthropic's prompt caching. Calls
    carry the tag ``nostream``: their tokens stay out of LangGraph's message stream.

    Where a provider limits its callers and says for how long (429 or 529 with `Retry-After`), all
    calls wait together. A parameter that the model refuses, with an error that names it, is left
    out from then on.

    Tools that a template offers (`PromptTemplate.offer`) are bound to the model, and a reply that
    calls some ends its path: the calls are told as JSON at the end of the thought's text.

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
        self._inner: Any = chat_model_in(model)
        self._marks = marks_caches(self._inner)
        self._parameters = parameters_for(self._inner, parameters)
        if exactness != "unseeded" and seed_parameter is None:
            raise SettingsError(f"exactness={exactness!r}: needs seed_parameter=")
        self._instruction = instruction
        self._seed_parameter = seed_parameter
        self._exactness = exactness
        self._gate = Gate(max_concurrency)
        self._retry_on = retry_on
        self._retries = Retries(times=retries, wait=retry_wait)
        self._pace = Pace()
        self._refused: set[str] = set()
        self._offering = Offering(model)
        self._warned: set[str] = set()

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
            paid=True,
            tools=self._offering.possible,
        )

    async def generate(
        self, prompt: Prompt, request: Request, *, sampling: Sampling, max_tokens: int
    ) -> Thought:
        """Ask for the thought after `prompt.reply`; see `Engine.generate`.

        Raises:
            EngineError: The model failed, after all tries, sent nothing but reasoning, or no
                log-probabilities though `parameters` names its keyword for them.
        """
        messages = messages_of(prompt, self._instruction, marks=self._marks)
        keywords = sampling_keywords(self._parameters, sampling, max_tokens)
        if self._seed_parameter:
            keywords[self._seed_parameter] = request.seed
        async with self._gate.place(request):
            step = Step(prompt.reply, sampling.stop, self._offering.offer_in(prompt))
            ask = partial(self._try, messages, request, step)
            thought: Thought = await self._asked(ask, keywords)
        return thought

    async def score(
        self, prompt: Prompt, request: Request, *, labels: Sequence[str]
    ) -> Mapping[str, float]:
        """The probability of each label as the reply's first token, where the model tells it.

        Of any other model the reply is read: the one label that it names first has probability 1;
        all have the same if it names none, which is warned of once.

        Raises:
            EngineError: The model failed, after all tries.
        """
        messages = messages_of(prompt, self._instruction, marks=self._marks)
        keywords = label_keywords(self._inner)
        async with self._gate.place(request):
            said = await self._asked(partial(self._read, messages, request, Step()), keywords)
        return label_chances(said, labels, self._warn)

    async def promote(self, request: Request) -> None:
        """Nothing to send: the gate reads `request.demanded` when a place falls free."""

    async def load(self) -> Load:
        return Load(running=self._gate.running, waiting=self._gate.waiting)

    async def aclose(self) -> None:
        """Nothing to close: the model is its owner's."""

    async def _asked(self, ask: Any, keywords: dict[str, Any]) -> Any:
        """Ask until the model takes the parameters and answers."""

        async def attempt(_: int) -> Any:
            while True:
                await self._pace.turn(None, 0)
                sent = {key: keywords[key] for key in keywords.keys() - self._refused}
                try:
                    return await ask(sent)
                except Exception as error:
                    if (seconds := wait_of(error)) is not None:
                        self._pace.pause(min(seconds, self._retries.patience), self.name)
                    if (keyword := refused(error, sent.keys() - {self._seed_parameter})) is None:
                        raise
                    logger.info("%s takes no %s: left out from now on", self.name, keyword)
                    self._refused.add(keyword)

        try:
            return await in_own_task(
                partial(
                    self._retries.run,
                    attempt,
                    transient=self._is_transient,
                    away=lambda error: wait_of(error) is not None,
                    paused=lambda _: self._pace.paused,
                )
            )
        except EngineError:
            raise
        except Exception as error:
            raise failure(f"{self.name} failed", error, remedy_of(error)) from error

    def _is_transient(self, error: BaseException) -> bool:
        if (seconds := wait_of(error)) is not None:
            return seconds <= self._retries.patience
        return isinstance(error, self._retry_on)

    def _warn(self, what: str) -> None:
        """Log something about the model, once for what is before its first colon."""
        if (topic := what.partition(":")[0]) not in self._warned:
            self._warned.add(topic)
            logger.warning("%s %s", self.name, what)

    async def _try(
        self,
        messages: Sequence[BaseMessage],
        request: Request,
        step: Step,
        keywords: Mapping[str, Any],
    ) -> Thought:
        before = request.tokens
        said = await self._read(messages, request, step, keywords)
        if repeated(spoken(said).lstrip(), step.begun, step.stop)[0]:
            self._warn(BEGINS_ANEW)
        return thought_of(
            said,
            step,
            tokens=request.tokens - before,
            logprobs_asked=self._parameters.get("logprobs") in keywords,
            stop_sent=self._parameters.get("stop") in keywords,
            name=self.name,
        )

    async def _read(
        self,
        messages: Sequence[BaseMessage],
        request: Request,
        step: Step,
        keywords: Mapping[str, Any],
    ) -> BaseMessage:
        """What the model says, up to where the next step begins; its tokens are counted."""
        model = self._offering.model(step.offer)
        asked = prompt_estimate(messages, tools_in(model))
        before, sent = request.tokens, request.prompt_tokens
        request.prompt_tokens += asked  # until the model tells, if it does
        whole: Any = None
        chunks = 0
        stream: Any = model.astream(list(messages), call_config(request), **keywords)
        try:
            async with aclosing(stream):
                async for chunk in stream:
                    said = as_message(chunk)
                    chunks += bool(said.text) or calls_something(said)
                    whole = whole + said if said is chunk and whole is not None else said
                    request.tokens = before + chunks
                    if step_is_whole(spoken(whole), step):
                        break  # the next one has begun
        except Exception:
            if whole is None:  # refused, and not read
                request.prompt_tokens = sent
            raise
        finally:
            if whole is not None:  # also where the call is cancelled
                count = getattr(self._inner, "custom_get_token_ids", None)
                take(request, whole, asked=asked, chunks=chunks, count=count)
        if whole is None:
            raise EngineError(f"{self.name} answered nothing at all: it must yield a message")
        message: BaseMessage = whole
        return message
