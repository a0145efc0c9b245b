"""Any OpenAI-compatible server: SGLang, vLLM, llama.cpp's server, a hosted one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import PurePath
from typing import Any

from spex_agents.engines.base import Closing, Exactness, Features, Load, Request, Sampling
from spex_agents.engines.calls.control import (
    SpecialTokens,
    check_special_tokens,
    without_control,
)
from spex_agents.engines.calls.cut import repeated
from spex_agents.engines.calls.gate import Gate
from spex_agents.engines.calls.labels import read_labels
from spex_agents.engines.calls.pace import Pace
from spex_agents.engines.calls.retries import Retries, attempt_id
from spex_agents.engines.openai.attempts import Attempts
from spex_agents.engines.openai.client import Client
from spex_agents.engines.openai.dialects import Dialect, Fields, dialect_at, dialect_named
from spex_agents.engines.openai.discovery import Discovery
from spex_agents.engines.openai.fields import Call
from spex_agents.engines.openai.labels import label_call, label_probabilities
from spex_agents.engines.openai.models import Served
from spex_agents.engines.openai.prompts import PromptWriter, Written
from spex_agents.engines.openai.refusals import Refusals
from spex_agents.engines.openai.reply import Reply
from spex_agents.engines.openai.siblings import Group, Siblings
from spex_agents.engines.openai.stream import stream_reply
from spex_agents.engines.openai.templates import Template, template_named
from spex_agents.engines.openai.thoughts import BEGINS_ANEW, thought_of
from spex_agents.engines.prompts import Prompt
from spex_agents.engines.reasoning import Thinking, check_thinking
from spex_agents.errors import at_least_zero
from spex_agents.search.tree import Thought


class OpenAIEngine(Closing):
    """Writes and scores thoughts at an OpenAI-compatible server.

    Replies are streamed, so a cancelled call closes its connection and the server stops decoding.
    How a partial reply is gone on with, and what else a server adds to the protocol or leaves out,
    is its dialect's; where that does not say, one short request finds out. A parameter that the
    server refuses is left out from then on, with a warning that says what that costs.

    Args:
        base_url: With its version: ``http://127.0.0.1:30000/v1``.
        model: None for the only model served.
        api_key: Sent as the bearer token; no environment variable is read.
        dialect: What the server makes of OpenAI's protocol, or its name in `DIALECTS`; None to go
            by what it answers (name it yourself behind a gateway).
        template: Writes all prompts for ``/completions``: `chatml`, or one of your own.
        thinking: What becomes of a model's reasoning: "off" by the server's own means, "keep"
            (counted, shown, never searched for answers or stops), "steps" (thoughts are pieces of
            it), or "auto", which is off on servers of one's own that have a means, and else as the
            model has it.
        thinking_tokens: Of reasoning, beyond a thought's own cap.
        special_tokens: What becomes of a model's special tokens in questions and thoughts:
            "escape" breaks them, "refuse" is an error, "keep" lets them be control.
        extra_body: Further fields of every request; they win over the engine's.
        priorities: `priority` of demanded and of speculative requests, where the server was
            started to take it: ``(1, 0)`` for SGLang, ``(0, 1)`` for vLLM. None sends none.
        exactness: What a seed is worth on this server; None for what it tells, or its kind.
        max_concurrency: Requests in flight at most, demanded ones first; None for no limit.
        requests_per_minute: That the provider allows; None for what its answers tell. Half of a
            minute's is kept for demanded requests.
        tokens_per_minute: Likewise, of prompts and replies together.
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
        dialect: Dialect | str | None = None,
        template: Template | str | None = None,
        thinking: Thinking = "auto",
        thinking_tokens: int = 4096,
        special_tokens: SpecialTokens = "escape",
        extra_body: Mapping[str, object] | None = None,
        priorities: tuple[int, int] | None = None,
        exactness: Exactness | None = None,
        max_concurrency: int | None = None,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        timeout: float = 300.0,
        token_timeout: float | None = None,
        retries: int = 3,
        retry_wait: float = 0.5,
        patience: float = 300.0,
    ) -> None:
        at_least_zero(thinking_tokens=thinking_tokens)
        self.base_url = base_url
        self._template = template_named(template)
        self._thinking = check_thinking(thinking)
        self._special_tokens = check_special_tokens(special_tokens)
        self._extra_body = dict(extra_body or {})
        self._priorities = priorities
        self._exactness = exactness
        self._gate = Gate(max_concurrency)
        self._client = Client(
            base_url,
            api_key=api_key,
            timeout=timeout,
            token_timeout=token_timeout,
            pace=Pace(requests_per_minute, tokens_per_minute),
            retries=Retries(times=retries, wait=retry_wait, patience=patience),
        )
        self.refusals = Refusals(self._client.shown)
        self.discovery = Discovery(
            self._client,
            model=model,
            dialect=dialect_named(dialect),
            template=self._template,
            refusals=self.refusals,
        )
        self._attempts = Attempts(
            self._send,
            self.refusals,
            url=self._client.shown,
            thinking=self._thinking,
            thinking_tokens=thinking_tokens,
        )
        self._siblings = Siblings(self._ask, self._ask_together)

    @property
    def name(self) -> str:
        model = self.discovery.model
        if model and model.startswith("/"):  # llama.cpp's server names its file
            model = PurePath(model).stem
        return f"openai/{model or self._client.shown}"

    @property
    def features(self) -> Features:
        return Features(
            exactness=self._exactness or self.discovery.exactness,
            logprobs=self.refusals.sends_logprobs is not False,
            untried=self.refusals.sends_logprobs is None,
            labels=True,
            promotion=self._gate.places is not None,
            slots=self._gate.places,
            requests_per_minute=self._client.pace.per_minute("requests"),
            tokens_per_minute=self._client.pace.per_minute("tokens"),
            paid=dialect_at(self.base_url) is not None,
        )

    async def generate(
        self, prompt: Prompt, request: Request, *, sampling: Sampling, max_tokens: int
    ) -> Thought:
        """Continue `prompt.reply`; see `Engine.generate`.

        Thoughts have no log-probabilities where the server sends none, of which one warning tells.

        Raises:
            EngineError: No thought came after all tries.
        """
        told = without_control(prompt, self._special_tokens)
        call = Call(prompt=told, request=request, sampling=sampling, max_tokens=max_tokens)
        joins = request.demanded and self._takes_siblings(self.discovery.served)
        reply, written = await (self._siblings.ask(call) if joins else self._ask(call))
        thought = thought_of(reply, sampling, asked=written.asked)
        self.refusals.note_logprobs(thought, sampling)
        if written.asked and repeated(thought.text, prompt.reply, sampling.stop)[0]:
            self._client.warn(f"{self.name} {BEGINS_ANEW}")
        if thought.finish == "reasoning":
            self._client.warn(
                f"{self.name} reasoned for {thought.tokens} tokens and said nothing: raise "
                "thinking_tokens=, or set thinking='off'"
            )
        return thought

    async def score(
        self, prompt: Prompt, request: Request, *, labels: Sequence[str]
    ) -> Mapping[str, float]:
        """The probability of each label as the next token; see `Engine.score`.

        A label is compared with the tokens' text as it is, a leading space included. One that is
        not among the most probable tokens the server lists (20, or fewer) has probability 0. Where
        none are listed, the reply is read: what it names first has probability 1.

        Raises:
            EngineError: No answer came after all tries.
        """
        told = without_control(prompt, self._special_tokens)
        if self.features.logprobs:
            reply, _ = await self._ask(label_call(told, request))
            if (found := label_probabilities(reply, labels)) is not None:
                return found
            self.refusals.miss_logprobs()
        reply, _ = await self._ask(label_call(told, request, logprobs=False))
        return read_labels(reply.split.text, labels, self._client.warn)

    async def promote(self, request: Request) -> None:
        """Nothing to send: the gate reads `request.demanded` when a place falls free."""

    async def load(self) -> Load:
        """This client's requests; those of others at the same server are not counted."""
        gate = self._gate
        return Load(running=gate.running, waiting=gate.waiting)

    async def check(self) -> None:
        """Ask the server whether it is there.

        Raises:
            EngineError: It does not answer.
        """
        await self._client.check()

    async def aclose(self) -> None:
        await self._client.aclose()

    async def find_served(self) -> Served:
        """What the server is asked for, and how; asked of it once.

        Raises:
            EngineError: It does not say.
        """
        return await self.discovery.find_served()

    async def _ask(self, call: Call) -> tuple[Reply, Written]:
        async with self._gate.place(call.request):
            served, writer = await self._prepare(call)
            attempt = partial(self._attempts.alone, call, served, writer)
            return await self._client.run(attempt, request=call.request, tokens=call.cost())

    async def _ask_together(self, group: Group) -> None:
        """Send the calls of a group as one request, unless they are better sent alone."""
        call = group.calls[0]
        async with self._gate.place(call.request):
            served, writer = await self._prepare(call)
            several = len(group.close())
            if several > 1 and self._takes_siblings(served):
                attempt = partial(self._attempts.together, group, served, writer)
                tokens = call.cost(several)
                await self._client.run(attempt, request=call.request, tokens=tokens)

    async def _prepare(self, call: Call) -> tuple[Served, PromptWriter]:
        served = await self.find_served()
        for loss in served.dialect.losses(call.sampling, self._thinking, self._extra_body):
            self._client.warn(loss)
        extra, attempt = self._thinking_fields(served.dialect), self._attempts.alone
        writer = await self.discovery.find_writer(served, call, extra=extra, attempt=attempt)
        return served, writer

    def _takes_siblings(self, served: Served | None) -> bool:
        """Whether thoughts of one prompt may go as one request, as far as is known."""
        if served is None:
            return True
        worthless = (self._exactness or self.discovery.exactness) == "unseeded"
        return served.dialect.choices and worthless and "n" not in self.refusals

    async def _send(
        self, call: Call, dialect: Dialect, fields: Fields, reply: Any, number: int
    ) -> Any:
        own_id = attempt_id(call.request.id, number)
        fields["stream_options"] = {"include_usage": True, **dialect.stream_options}
        if dialect.request_id:
            fields[dialect.request_id] = own_id
        if self._priorities:
            fields["priority"] = self._priorities[0 if call.request.demanded else 1]
        told = self._thinking_fields(dialect)
        if "prompt" in fields and "chat_template_kwargs" not in self._extra_body:
            told.pop("chat_template_kwargs", None)  # no template is left to be told
        body = self.refusals.apply({**fields, **told})
        with self.refusals.learning(body):
            return await stream_reply(
                self._client.http,
                "/completions" if "prompt" in body else "/chat/completions",
                body,
                reply,
                call.request,
                patience=self._client.patience,
                headers={"X-Request-Id": own_id},
                hang_up_at=call.sampling.stop if call.own_stops else (),
                most_tokens=call.max_tokens,
                heard=self._client.pace.hear,
            )

    def _thinking_fields(self, dialect: Dialect) -> Fields:
        """The fields that switch reasoning off, and those of the user, which win."""
        return {**dialect.thinking_fields(self._thinking), **self._extra_body}
