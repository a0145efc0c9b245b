"""SGLang by its own endpoints: thoughts too, whose prompts it is sent as token ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import openai

from spex_agents.engines.base import Features, Load, Request
from spex_agents.engines.calls.control import SpecialTokens, without_control
from spex_agents.engines.calls.retries import Retries
from spex_agents.engines.openai.client import QuietOpenAI, body_of
from spex_agents.engines.openai.dialects import SGLANG, Dialect, Fields
from spex_agents.engines.openai.engine import OpenAIEngine
from spex_agents.engines.openai.failures import BrokenReply
from spex_agents.engines.openai.fields import Call
from spex_agents.engines.openai.models import Served, read_models
from spex_agents.engines.openai.settings import OF_SGLANG, ServerSettings
from spex_agents.engines.openai.templates import Template
from spex_agents.engines.prompts import Prompt
from spex_agents.engines.reasoning import CLOSE, Thinking
from spex_agents.engines.sglang.client import SGLangClient, id_of
from spex_agents.engines.sglang.prompts import PromptReader, messages_of
from spex_agents.engines.sglang.protocol import DEMANDED, SPECULATIVE
from spex_agents.engines.sglang.workers import GenerateReply, generate_fields, read_workers


class SGLangEngine(OpenAIEngine):
    """Writes and scores thoughts at an SGLang server, best one with the SPEX plugin.

    A cancelled call is aborted by its id, and ends when the server confirms it (2 s at most), so
    its tokens are all counted. With the plugin (`spex serve` starts it) a request changes class
    while it waits or runs, guesses are admitted by the load of the whole server, and seeds hold.
    Without it everything works, less well: `describe` says what is lost, and it is logged once.

    At a router, thoughts go through it; what else is asked (``/tokenize``), and what hurries and
    aborts, goes to its workers, which must be within reach of this process. Behind a gateway that
    hides these endpoints, take `OpenAIEngine` with ``dialect="sglang"``.

    Args:
        base_url: With or without ``/v1``: ``http://127.0.0.1:30000``.
        model: None for the only model served.
        api_key: Sent as the bearer token.
        reward_url: Of a server for the reward model, if there is one: `ProcessReward` asks there.
        template: Writes the prompt in place of the model's own: `chatml`, or one of yours.
        thinking: What becomes of a model's reasoning: "off" ("auto" here), "keep", or "steps".
        thinking_tokens: Of reasoning, beyond a thought's own cap.
        special_tokens: What becomes of a model's special tokens in questions and thoughts:
            "escape" breaks them, "refuse" is an error, "keep" lets them be control.
        extra_body: Further fields of every ``/generate`` for a thought.
        workers: Behind the router at `base_url`, if that does not tell them; None to ask it.
        max_concurrency: Requests in flight at most, demanded ones first; None for no limit.
        timeout: Seconds to wait for the first token.
        token_timeout: Seconds to wait between tokens; None: as long as for the first.
        retries: Further tries after a failed connection, a timeout, a broken stream, 429 or 5xx.
        retry_wait: Seconds before the second try, doubled before each further one.
        patience: Seconds to wait for a server that has answered before and is away now (restarted,
            say: it refuses connections, or answers 502 or 503), without using up tries.

    Raises:
        SettingsError: A number is outside its range.

    Example:
        >>> engine = SGLangEngine("http://127.0.0.1:30000", model="qwen")
        >>> engine.name, engine.features.exactness  # not asked yet: no promise
        ('sglang/qwen', 'unseeded')
    """

    def __init__(
        self,
        base_url: str,
        *,
        model: str | None = None,
        api_key: str | None = None,
        reward_url: str | None = None,
        template: Template | str | None = None,
        thinking: Thinking = "auto",
        thinking_tokens: int = 4096,
        special_tokens: SpecialTokens = "escape",
        extra_body: Mapping[str, object] | None = None,
        workers: Sequence[str] | None = None,
        max_concurrency: int | None = None,
        timeout: float = 300.0,
        token_timeout: float | None = None,
        retries: int = 3,
        retry_wait: float = 0.5,
        patience: float = 300.0,
    ) -> None:
        root = base_url.rstrip("/").removesuffix("/v1")
        super().__init__(
            f"{root}/v1",
            model=model,
            api_key=api_key,
            dialect=SGLANG,
            template=template,
            thinking=thinking,
            thinking_tokens=thinking_tokens,
            special_tokens=special_tokens,
            extra_body=extra_body,
            priorities=(DEMANDED, SPECULATIVE),
            max_concurrency=max_concurrency,
            timeout=timeout,
            token_timeout=token_timeout,
            retries=retries,
            retry_wait=retry_wait,
            patience=patience,
        )
        patiently = Retries(times=retries, wait=retry_wait, patience=patience)
        self.server = SGLangClient(
            root,
            api_key=api_key,
            timeout=timeout,
            token_timeout=token_timeout,
            retries=patiently,
            workers=workers or (),
        )
        self._reader = PromptReader(self.server)
        self.reward_server = self.server
        if reward_url is not None:
            self.reward_server = SGLangClient(
                reward_url,
                api_key=api_key,
                timeout=timeout,
                retries=patiently,
            )

    def __repr__(self) -> str:
        return (
            f"<SGLangEngine {self.name} at {self.server.url}: {self.server.known or 'not asked'}>"
        )

    @property
    def name(self) -> str:
        return super().name.replace("openai/", "sglang/", 1)

    @property
    def features(self) -> Features:
        """What the server is known to do; it is asked with the first call, or by `describe`."""
        known = self.server.known
        return Features(
            exactness=known.exactness if known else "unseeded",
            logprobs=True,
            labels=True,
            promotion=known is not None and "promotion" in known.features,
            slots=self._gate.places,
        )

    async def describe(self) -> str:
        """Ask the server what it is, and say what a search goes without there."""
        return str(await self.server.info())

    async def score(
        self, prompt: Prompt, request: Request, *, labels: Sequence[str]
    ) -> Mapping[str, float]:
        """The probability of each label as the next token; see `Engine.score`.

        Raises:
            EngineError: No answer came after all tries, or a label is not one token.
        """
        async with self._gate.place(request):
            served = await self.find_served()
            prompt = without_control(prompt, self._special_tokens)
            extra = self._thinking_fields(served.dialect)
            if self._template:
                fields: Fields = {"prompt": self._template(prompt)}
            else:
                fields = {**messages_of(prompt), **extra}
            tokens, opened = await self._reader.prompt_tokens(fields, prompt)
            if opened:
                tokens = [*tokens, *await self._reader.tokens_after(f"\n{CLOSE}\n\n")]
            return await self._reader.next_token(tokens, labels, request)

    async def promote(self, request: Request) -> None:
        """Hurry `request`, whether it waits here, waits at a server or runs there."""
        for server in dict.fromkeys((self.server, self.reward_server)):
            await server.promote(request)

    async def prune(self, prefix: str) -> None:
        """Abort every request below a path with one message: ``run/0.3`` spares ``run/0.31``.

        Needs the plugin; calls that are still awaited here are tried again, so cancel them too.
        """
        await self.server.send("abort", prefix)

    async def load(self) -> Load:
        """The server's own count of its requests, all clients' together.

        Raises:
            EngineError: It cannot be asked.
        """
        return await self.server.load()

    async def aclose(self) -> None:
        await super().aclose()
        await self.server.aclose()
        await self.reward_server.aclose()

    async def find_served(self) -> Served:
        await self.server.info()
        return await super().find_served()

    async def _send(
        self, call: Call, dialect: Dialect, fields: Fields, reply: Any, number: int
    ) -> Any:
        extra = self._thinking_fields(dialect)
        own = {key: value for key, value in extra.items() if key != "chat_template_kwargs"}
        prompt, opened = await self._reader.prompt_tokens({**fields, **extra}, call.prompt)
        generated = GenerateReply(opened=opened, whole=reply.whole)
        send = partial(
            self.server.stream,
            {**generate_fields(fields, prompt), **own},
            generated,
            call.request,
            number,
            hang_up_at=call.sampling.stop if call.own_stops else (),
            most_tokens=call.max_tokens,
        )
        rid = id_of(call.request, number)
        await self.server.abortable(call.request, rid, send)
        if generated.finish is None:  # read no further: its socket alone tells that too late
            await self.server.send("abort", rid)
        return generated


def engine_at(
    url: str,
    *,
    model: str | None = None,
    api_key: str | None = None,
    settings: ServerSettings | None = None,
) -> OpenAIEngine:
    """The engine for the server at `url`: SGLang's if its own endpoints are there, or its router's.

    A server that cannot be asked gets an `OpenAIEngine`, whose first call says why; so does one
    whose dialect is named in `settings`.

    Raises:
        SettingsError: SGLang's engine does not take one of `settings`.

    Example:
        >>> type(engine_at("http://127.0.0.1:9/v1")).__name__  # nobody is there
        'OpenAIEngine'
    """
    settings = settings or ServerSettings()
    named: dict[str, Any] = {"model": model, "api_key": api_key}
    if settings.dialect is None and _is_sglang(url, api_key):
        settings.check_taken(
            OF_SGLANG,
            engine="sglang",
            instead="it has means of its own; for the protocol alone, name dialect='sglang'",
        )
        return SGLangEngine(url, **named, **settings.told)
    return OpenAIEngine(url, **named, **settings.told)


def _is_sglang(url: str, api_key: str | None) -> bool:
    """Whether SGLang's own endpoints are there, or a router of its workers."""
    root = url.rstrip("/").removesuffix("/v1")
    with (
        suppress(openai.OpenAIError, BrokenReply),
        QuietOpenAI(base_url=url, api_key=api_key or "none", max_retries=0, timeout=5.0) as client,
    ):
        owners = read_models(_answers(client, "/models")).values()
        if "sglang" in owners and _answers(client, f"{root}/server_info"):
            return True
        # a router does not name SGLang
        return bool(read_workers(_answers(client, f"{root}/workers"), root))
    return False


def _answers(client: QuietOpenAI, url: str) -> object:
    """What is there; None if nothing is."""
    with suppress(openai.OpenAIError, ValueError):
        return body_of(client.get(url, cast_to=object))
    return None
