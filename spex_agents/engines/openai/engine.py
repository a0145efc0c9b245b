"""Any OpenAI-compatible server: SGLang, vLLM, llama.cpp's server, a hosted one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import PurePath

import anyio

from spex_agents.engines.base import Closing, Exactness, Features, Load, Request, Sampling
from spex_agents.engines.calls.cut import cut, tokens_of_step
from spex_agents.engines.calls.gate import Gate
from spex_agents.engines.calls.retries import Retries, attempt_id
from spex_agents.engines.openai.client import Client
from spex_agents.engines.openai.dialects import (
    Dialect,
    Fields,
    logprob_fields,
    prompt_fields,
    sampling_fields,
)
from spex_agents.engines.openai.models import find_served
from spex_agents.engines.openai.reply import Reply, label_probabilities
from spex_agents.engines.openai.stream import stream_reply
from spex_agents.engines.prompts import Prompt
from spex_agents.errors import EngineError, SettingsError
from spex_agents.search.tree import Thought

TOP_LOGPROBS = 20


class OpenAIEngine(Closing):
    """Writes and scores thoughts at an OpenAI-compatible server.

    Replies are streamed, so a cancelled call closes its connection and the server stops decoding.
    A partial reply is continued by the server (``continue_final_message``) or, with `template`,
    by ``/completions`` on a prompt written here. Prefer a template where the server's own trims
    the reply: without its last line break the model writes that first, an empty step.

    Args:
        base_url: With its version: ``http://127.0.0.1:30000/v1``.
        model: None for the only model served.
        api_key: Sent as the bearer token; no environment variable is read.
        dialect: What the server understands beyond OpenAI's protocol; None to go by the
            ``owned_by`` of its model (name it yourself behind a gateway).
        template: Writes the prompt of ``/completions``: `chatml`, or one of your own.
        extra_body: Further fields of every request; they win over the engine's.
        priorities: `priority` of demanded and of speculative requests, where the server was
            started to take it: ``(1, 0)`` for SGLang, ``(0, 1)`` for vLLM. None sends none.
        exactness: What a seed is worth on this server.
        max_concurrency: Requests in flight at most, demanded ones first; None for no limit.
        timeout: Seconds to wait for the first token.
        token_timeout: Seconds to wait between tokens; None: as long as for the first. Comments that
            keep a connection alive are no tokens.
        retries: Further tries after a failed connection, a timeout, a broken stream, 429 or 5xx.
        retry_wait: Seconds before the second try, doubled before each further one.
        patience: Seconds to wait for a server that has answered before and is away now (restarted,
            say: it refuses connections, or answers 502 or 503), without using up tries.

    Raises:
        SettingsError: A number is outside its range.

    Example:
        >>> engine = OpenAIEngine("http://127.0.0.1:30000/v1", model="qwen", max_concurrency=16)
        >>> engine.name, engine.features.exactness
        ('openai/qwen', 'seeded')
    """

    def __init__(
        self,
        base_url: str,
        *,
        model: str | None = None,
        api_key: str | None = None,
        dialect: Dialect | None = None,
        template: Callable[[Prompt], str] | None = None,
        extra_body: Mapping[str, object] | None = None,
        priorities: tuple[int, int] | None = None,
        exactness: Exactness = "seeded",
        max_concurrency: int | None = None,
        timeout: float = 300.0,
        token_timeout: float | None = None,
        retries: int = 3,
        retry_wait: float = 0.5,
        patience: float = 300.0,
    ) -> None:
        self.base_url = base_url
        self._model = model
        self._dialect = dialect
        self._template = template
        self._extra_body = dict(extra_body or {})
        self._priorities = priorities
        self._exactness = exactness
        self._gate = Gate(max_concurrency)
        self._client = Client(
            base_url,
            api_key=api_key,
            timeout=timeout,
            token_timeout=token_timeout,
            retries=Retries(times=retries, wait=retry_wait, patience=patience),
        )
        self._served: tuple[str, Dialect] | None = None
        self._asking = anyio.Lock()

    @property
    def name(self) -> str:
        model = self._served[0] if self._served else self._model
        if model and model.startswith("/"):  # llama.cpp's server names its file
            model = PurePath(model).stem
        return f"openai/{model or self.base_url}"

    @property
    def features(self) -> Features:
        return Features(
            exactness=self._exactness,
            logprobs=True,
            labels=True,
            promotion=self._gate.places is not None,
            slots=self._gate.places,
        )

    async def generate(
        self, prompt: Prompt, request: Request, *, sampling: Sampling, max_tokens: int
    ) -> Thought:
        """Continue `prompt.reply`; see `Engine.generate`.

        Raises:
            EngineError: No thought came after all tries, the server cannot continue a reply, or
                it sent no log-probabilities though asked.
            SettingsError: `sampling.top_k` is set and the server does not take it.
        """
        reply = await self._ask(prompt, request, sampling, max_tokens)
        text, at_delimiter = cut(reply.text, sampling.stop)
        logprobs = None
        if sampling.logprobs:
            if reply.text and not reply.logprobs:
                raise EngineError(
                    f"{self.base_url} sent no log-probabilities though asked: let the server "
                    "return them, or set Sampling(logprobs=False) and a reward without them"
                )
            tokens = [entry.token for entry in reply.logprobs]
            step = reply.logprobs[: tokens_of_step(tokens, sampling.stop)]
            logprobs = tuple(entry.logprob for entry in step if entry.logprob is not None)
        if at_delimiter:
            return Thought(text=text, tokens=reply.tokens, logprobs=logprobs)
        if reply.finish == "length":
            return Thought(text=text, tokens=reply.tokens, finish="length", logprobs=logprobs)
        return Thought(text=text, tokens=reply.tokens, finish="stop", ends=True, logprobs=logprobs)

    async def score(
        self, prompt: Prompt, request: Request, *, labels: Sequence[str]
    ) -> Mapping[str, float]:
        """The probability of each label as the next token; see `Engine.score`.

        A label is compared with the tokens' text as it is, a leading space included. One that is
        not among the most probable tokens the server lists (20) has probability 0.

        Raises:
            EngineError: No answer came after all tries, or it has no alternatives to its token.
        """
        sampling = Sampling(temperature=0, top_p=1, top_k=0, stop=(), logprobs=True)
        reply = await self._ask(prompt, request, sampling, 1, alternatives=TOP_LOGPROBS)
        if not reply.logprobs or not reply.logprobs[0].top:
            raise EngineError(
                f"{self.base_url} sent no top_logprobs though asked for {TOP_LOGPROBS}: let the "
                "server return them, or take a reward that does not read label probabilities"
            )
        return label_probabilities(reply.logprobs[0], labels)

    async def promote(self, request: Request) -> None:
        """Nothing to send: the gate reads `request.demanded` when a place falls free."""

    async def load(self) -> Load:
        """This client's requests; those of others at the same server are not counted."""
        gate = self._gate
        return Load(running=gate.running, waiting=gate.waiting)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _ask(
        self,
        prompt: Prompt,
        request: Request,
        sampling: Sampling,
        max_tokens: int,
        *,
        alternatives: int | None = None,
    ) -> Reply:
        async with self._gate.place(request):
            model, dialect = await self._find_served()
            self._check_top_k(dialect, sampling)
            fields: Fields = {
                "model": model,
                "max_tokens": max_tokens,
                "seed": request.seed,
                **prompt_fields(dialect, prompt, self._template),
                **sampling_fields(dialect, sampling),
            }
            if sampling.logprobs:
                fields |= logprob_fields(alternatives, chat="messages" in fields)
            ask = partial(self._try, fields, request, dialect, sampling.stop)
            return await self._client.run(ask)

    async def _try(
        self,
        fields: Fields,
        request: Request,
        dialect: Dialect,
        stop: Sequence[str],
        number: int,
    ) -> Reply:
        own_id = self._id_of(request, number)
        body = dict(fields)
        if dialect.request_id:
            body[dialect.request_id] = own_id
        if self._priorities:
            body["priority"] = self._priorities[0 if request.demanded else 1]
        return await stream_reply(
            self._client.http,
            "/completions" if "prompt" in body else "/chat/completions",
            {
                **body,
                "stream_options": {"include_usage": True, **dialect.stream_options},
                **self._extra_body,
            },
            Reply(),
            request,
            patience=self._client.patience,
            headers={"X-Request-Id": own_id},
            hang_up_at=() if dialect.keep_delimiter else stop,
            most_tokens=int(str(fields["max_tokens"])),
        )

    def _id_of(self, request: Request, number: int) -> str:
        return attempt_id(request.id, number)

    def _check_top_k(self, dialect: Dialect, sampling: Sampling) -> None:
        if sampling.top_k and not dialect.top_k and "top_k" not in self._extra_body:
            raise SettingsError(
                f"top_k={sampling.top_k!r}: not in OpenAI's protocol, and {self.base_url} is not "
                "known to take it; set Sampling(top_k=0), or name the server's dialect="
            )

    async def _find_served(self) -> tuple[str, Dialect]:
        async with self._asking:
            if self._served is None:
                self._served = await find_served(self._client, self._model, self._dialect)
            return self._served
