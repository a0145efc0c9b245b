"""Any LangChain chat model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from spex_agents.engines.base import Closing, Exactness, Features, Load, Request, Sampling
from spex_agents.engines.calls.cut import cut, estimated_tokens, tokens_of_step
from spex_agents.engines.calls.gate import Gate
from spex_agents.engines.calls.retries import Retries
from spex_agents.engines.calls.tasks import in_own_task
from spex_agents.engines.prompts import NEXT_STEP, Prompt
from spex_agents.errors import EngineError, SettingsError
from spex_agents.search.tree import Finish, Thought

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessageChunk, BaseMessage

STANDARD_PARAMETERS: Mapping[str, str] = MappingProxyType(
    {"temperature": "temperature", "max_tokens": "max_tokens"}
)
_TAGS = ("nostream",)  # LangGraph's tag: keeps the call out of stream_mode="messages"
_CUT_OFF = {"length", "max_tokens"}


class ChatModelEngine(Closing):
    """Writes thoughts with a LangChain chat model.

    Chat interfaces do not continue a partial reply as it is. The steps so far are shown as the
    assistant's turn, and `instruction` asks for the next one; the end of the model's answer is
    then the end of a step, so only an empty answer ends a path. The stop strings are passed on
    and applied here as well, for models that ignore them. White space before a step is removed.

    Tokens are the model's own count (`usage_metadata`). Without one they are counted by the
    model's `custom_get_token_ids` if set, else estimated: the chunks, or a token to four
    characters if that is more. Nothing is downloaded to count.

    Calls carry the tag ``nostream``: their tokens stay out of LangGraph's message stream.

    Args:
        model: Called through `astream`.
        instruction: Asks for the next step.
        parameters: The model's keywords for `temperature`, `top_p`, `top_k`, `max_tokens`
            and `logprobs`; what is not named here is left as the model was configured.
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
        model: BaseChatModel,
        *,
        instruction: str = NEXT_STEP,
        parameters: Mapping[str, str] = STANDARD_PARAMETERS,
        seed_parameter: str | None = None,
        exactness: Exactness = "unseeded",
        max_concurrency: int | None = None,
        retry_on: tuple[type[Exception], ...] = (ConnectionError, TimeoutError),
        retries: int = 3,
        retry_wait: float = 0.5,
    ) -> None:
        allowed = {"temperature", "top_p", "top_k", "max_tokens", "logprobs"}
        if unknown := set(parameters) - allowed:
            raise SettingsError(f"parameters name {sorted(unknown)}: allowed are {sorted(allowed)}")
        if exactness != "unseeded" and seed_parameter is None:
            raise SettingsError(f"exactness={exactness!r}: needs seed_parameter=")
        self._model = model
        self._instruction = instruction
        self._parameters = dict(parameters)
        self._seed_parameter = seed_parameter
        self._exactness = exactness
        self._gate = Gate(max_concurrency)
        self._retry_on = retry_on
        self._retries = Retries(times=retries, wait=retry_wait)

    @property
    def name(self) -> str:
        model: object = self._model
        name = getattr(model, "model_name", None) or getattr(model, "model", None)
        return f"chat-model/{name or type(model).__name__}"

    @property
    def features(self) -> Features:
        return Features(
            exactness=self._exactness,
            logprobs="logprobs" in self._parameters,
            promotion=self._gate.places is not None,
            slots=self._gate.places,
        )

    async def generate(
        self, prompt: Prompt, request: Request, *, sampling: Sampling, max_tokens: int
    ) -> Thought:
        """Ask for the step after `prompt.reply`; see `Engine.generate`.

        Raises:
            EngineError: The model failed, after all tries, or sent no log-probabilities though
                `parameters` names its keyword for them.
        """
        messages = self._messages(prompt)
        keywords = self._keywords(request, sampling, max_tokens)
        async with self._gate.place(request):
            ask = partial(self._try, messages, request, sampling.stop, keywords)
            try:
                return await in_own_task(
                    partial(self._retries.run, ask, transient=self._is_transient)
                )
            except EngineError:
                raise
            except Exception as error:
                raise EngineError(
                    f"{self.name} failed: {type(error).__name__}: {error}; if another try may "
                    "help, name the exception in retry_on="
                ) from error

    async def score(
        self, prompt: Prompt, request: Request, *, labels: Sequence[str]
    ) -> Mapping[str, float]:
        """Chat models give no label probabilities.

        Raises:
            EngineError: Always.
        """
        raise EngineError(
            f"{self.name} cannot read the probabilities of {list(labels)}: take OpenAIEngine or "
            "an embedded engine for this reward, or a reward that reads text"
        )

    async def promote(self, request: Request) -> None:
        """Nothing to send: the gate reads `request.demanded` when a place falls free."""

    async def load(self) -> Load:
        gate = self._gate
        return Load(running=gate.running, waiting=gate.waiting)

    async def aclose(self) -> None:
        """Nothing to close: the model is its owner's."""

    def _is_transient(self, error: BaseException) -> bool:
        return isinstance(error, self._retry_on)

    async def _try(
        self,
        messages: Sequence[BaseMessage],
        request: Request,
        stop: tuple[str, ...],
        keywords: Mapping[str, Any],
        _: int,
    ) -> Thought:
        before = request.tokens
        whole: AIMessageChunk | None = None
        text, chunks, at_delimiter = "", 0, False
        stream: Any = self._model.astream(
            list(messages), {"tags": list(_TAGS)}, stop=list(stop) or None, **keywords
        )
        async with aclosing(stream):
            async for chunk in stream:
                whole = chunk if whole is None else whole + chunk
                chunks += bool(chunk.text)
                text, at_delimiter = cut(str(whole.text).lstrip(), stop)
                request.tokens = before + chunks
                if at_delimiter:
                    break
        if whole is None:
            raise EngineError(f"{self.name} answered nothing at all: it must yield a message")
        tokens = self._tokens(whole, chunks)
        request.tokens = before + tokens
        if whole.usage_metadata:
            request.prompt_tokens = whole.usage_metadata["input_tokens"]
        logprobs = _logprobs(whole, stop)
        if text and logprobs is None and self._parameters.get("logprobs") in keywords:
            raise EngineError(
                f"{self.name} sent no log-probabilities though asked: set "
                "Sampling(logprobs=False), or take 'logprobs' out of parameters="
            )
        if not text and not at_delimiter:
            return Thought(text="", tokens=tokens, finish="stop", ends=True, logprobs=logprobs)
        cut_off = _finish_reason(whole) in _CUT_OFF and not at_delimiter
        finish: Finish = "length" if cut_off else "step"
        return Thought(text=text, tokens=tokens, finish=finish, logprobs=logprobs)

    def _messages(self, prompt: Prompt) -> list[BaseMessage]:
        from langchain_core.messages import AIMessage, HumanMessage, SystemMessage  # noqa: PLC0415

        kinds: dict[str, Callable[[str], BaseMessage]] = {
            "system": SystemMessage,
            "user": HumanMessage,
            "assistant": AIMessage,
        }
        messages = [kinds[turn.role](turn.content) for turn in prompt.messages]
        if prompt.reply:
            messages += [AIMessage(prompt.reply), HumanMessage(self._instruction)]
        return messages

    def _keywords(self, request: Request, sampling: Sampling, max_tokens: int) -> dict[str, Any]:
        values = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k or None,
            "max_tokens": max_tokens,
            "logprobs": sampling.logprobs or None,
        }
        keywords: dict[str, Any] = {
            keyword: value
            for name, keyword in self._parameters.items()
            if (value := values[name]) is not None
        }
        if self._seed_parameter:
            keywords[self._seed_parameter] = request.seed
        return keywords

    def _tokens(self, message: AIMessageChunk, chunks: int) -> int:
        if message.usage_metadata:
            return message.usage_metadata["output_tokens"]
        text = str(message.text)
        if count := self._model.custom_get_token_ids:
            return len(count(text))
        return max(chunks, estimated_tokens(text))


def _finish_reason(message: AIMessageChunk) -> str:
    given = message.response_metadata
    return str(
        given.get("finish_reason") or given.get("stop_reason") or given.get("done_reason")
    ).lower()


def _logprobs(message: AIMessageChunk, stop: Sequence[str]) -> tuple[float, ...] | None:
    found = message.response_metadata.get("logprobs")
    entries = found.get("content") if isinstance(found, Mapping) else None
    if not entries:
        return None
    tokens = [entry["token"] for entry in entries]
    blank = next((at for at, token in enumerate(tokens) if token.strip()), len(tokens))
    tokens[: blank + 1] = [token.lstrip() for token in tokens[: blank + 1]]  # as in the text
    step = entries[: tokens_of_step(tokens, stop)]
    return tuple(float(entry["logprob"]) for entry in step)
