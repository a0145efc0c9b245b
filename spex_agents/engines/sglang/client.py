"""SGLang's own endpoints, and what its SPEX plugin adds: of a server, or behind a router."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, TypeVar
from zlib import crc32

import anyio
import openai
from tenacity import TryAgain

from spex_agents.engines.base import Load, Request
from spex_agents.engines.calls.retries import Retries, attempt_id
from spex_agents.engines.calls.tasks import ended_by_server
from spex_agents.engines.openai.client import Client
from spex_agents.engines.openai.failures import Aborted, BrokenReply, is_transient
from spex_agents.engines.sglang.connection import Connection
from spex_agents.engines.sglang.info import ServerInfo, read_info
from spex_agents.engines.sglang.protocol import DEMANDED, END, SPECULATIVE, Message, Verb, owner_of
from spex_agents.engines.sglang.workers import ASK_SECONDS, GenerateReply, Workers
from spex_agents.errors import EngineError
from spex_agents.loops import PerLoop

logger = logging.getLogger(__name__)

CONFIRM_SECONDS = 2.0
"""How long a cancelled call waits for the server to end it."""

_NEEDS: Mapping[Verb, str] = {"promote": "promotion", "demote": "promotion", "abort": "abort"}

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Flight:
    """A try that the server has been sent; `hurried`: it was aborted to be sent again."""

    request: Request
    rid: str
    hurried: bool = False


class SGLangClient:
    """The native endpoints of a server. `EngineError` is all that its calls raise.

    A router passes generation on and nothing else, so messages go to all workers behind it, whose
    loads are added up; ids are unique, and a worker without the request has nothing to do.

    Args:
        url: With or without ``/v1``.
        api_key: The bearer token.
        timeout: Seconds to wait for the first token.
        token_timeout: Seconds to wait between tokens; None: as long as for the first.
        retries: Of calls that failed on the way, or found the server away.
        workers: Behind the router at `url`; empty to ask it.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None,
        timeout: float,
        retries: Retries,
        token_timeout: float | None = None,
        workers: Sequence[str] = (),
    ) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        self.known: ServerInfo | None = None
        self._client = Client(
            self.url, api_key=api_key, timeout=timeout, retries=retries, token_timeout=token_timeout
        )
        self._http = Connection(self._client)
        self.workers = Workers(self.url, workers, self._client.get)
        self._asking = PerLoop(anyio.Lock)
        self._flying: dict[str, _Flight] = {}
        self._turns = count()

    async def info(self) -> ServerInfo:
        """What the server is; asked once. What is missing there is logged then.

        One that does not tell (behind a gateway, say) counts as plain.
        """
        async with self._asking():
            if self.known is None:
                self.known = read_info(await self.ask("/server_info"))
                if losses := self.known.losses:
                    logger.warning("%s: %s", self.url, "; ".join(losses))
            return self.known

    async def call(self, path: str, body: Mapping[str, object], request: Request) -> Any:
        """Post `body` under the request's id: tried again, promoted and aborted like the rest."""

        async def attempt(number: int) -> Any:
            rid = id_of(request, number)
            sent = {**body, "rid": rid, "priority": priority_of(request)}
            url = path if path == "/generate" else await self._own_url(path, owner_of(rid), number)
            return await self.abortable(
                request, rid, partial(self._http.answer, url, sent, request)
            )

        return await self._client.run(attempt)

    async def stream(
        self,
        body: Mapping[str, object],
        reply: GenerateReply,
        request: Request,
        number: int,
        *,
        hang_up_at: Sequence[str] = (),
        most_tokens: int | None = None,
    ) -> GenerateReply:
        """One try of a thought, for `abortable`."""
        sent = {**body, "rid": id_of(request, number), "priority": priority_of(request)}
        return await self._http.stream(
            "/generate",
            sent,
            reply,
            request,
            hang_up_at=hang_up_at,
            most_tokens=most_tokens,
        )

    async def abortable(self, request: Request, rid: str, call: Callable[[], Awaitable[T]]) -> T:
        """Await a call that runs under `rid`; abort it if cancelled, or if the way to it broke.

        Raises:
            TryAgain: `promote` had it aborted: it has to be sent anew.
        """
        flight = self._flying[request.id] = _Flight(request, rid)
        request.started = None
        abort = partial(self.send, "abort", rid)
        try:
            return await ended_by_server(call, abort, seconds=CONFIRM_SECONDS)
        except Aborted as error:
            if flight.hurried:
                raise TryAgain from error
            raise
        except (BrokenReply, openai.APIConnectionError):
            with anyio.CancelScope(shield=True):
                await abort()
            raise
        finally:
            del self._flying[request.id]

    async def promote(self, request: Request) -> None:
        """Hurry a request that has been sent, and the parts of it that have been.

        What has not will be sent as it is by then.

        A server that schedules by priority but takes no message is sent the request anew if it
        still waits there. One that runs is left alone: its tokens would be lost.
        """
        if (known := self.known) is None:
            return
        for flight in [one for name, one in self._flying.items() if request.covers(name)]:
            if "promotion" in known.features:
                await self.send("promote", flight.rid)
            elif known.priorities and flight.request.started is None and not flight.hurried:
                flight.hurried = True
                await self.send("abort", flight.rid)

    async def send(self, verb: Verb, target: str) -> None:
        """Tell the plugin something; a plain server understands the abort of one request only.

        Never raises: a message that cannot be delivered is logged.
        """
        features = self.known.features if self.known else frozenset[str]()
        if _NEEDS[verb] in features:
            target = Message(verb, target).encode()
        elif verb != "abort":
            return
        async with anyio.create_task_group() as tasks:
            for url in self.workers.known:
                tasks.start_soon(self._deliver, url, target)

    async def _deliver(self, url: str, target: str) -> None:
        try:
            with anyio.fail_after(CONFIRM_SECONDS):
                await self._http.tell(f"{url}/abort_request", {"rid": target})
        except (openai.OpenAIError, TimeoutError) as error:
            logger.warning("%s did not take %r: %r", url, target, error)

    async def load(self) -> Load:
        """The servers' own count of their requests, all clients' together."""
        counted = "counters" in (await self.info()).features
        path = "/server_info" if counted else "/v1/loads?include=core"
        found = await self.ask(path)
        try:
            if counted:
                states = [state["spex"] for one in found for state in one["internal_states"]]
                return _sum(states, "running", "waiting")
            states = [state for one in found for state in one["loads"]]
            return _sum(states, "num_running_reqs", "num_waiting_reqs")
        except (KeyError, TypeError, ValueError) as error:
            raise EngineError(f"{self.url}{path} tells no load: {error!r}") from error

    async def ask(self, path: str) -> list[Any]:
        """What each healthy server answers to a GET; None from one that refuses.

        One of several that cannot be asked is left out.
        """

        async def ask(url: str, answers: dict[str, Any], *, patience: float) -> None:
            try:
                with anyio.fail_after(patience):
                    answers[url] = await self._client.get(f"{url}{path}")
            except openai.APIStatusError as error:
                answers[url] = error if is_transient(error) else None
            except openai.OpenAIError as error:
                answers[url] = error
            except TimeoutError:
                answers[url] = BrokenReply(f"{url}{path} did not answer in {patience:g} s")

        async def ask_all(_: int) -> list[Any]:
            urls = await self.workers.healthy()
            answers: dict[str, Any] = dict.fromkeys(urls)
            patience = ASK_SECONDS if len(urls) > 1 else math.inf
            async with anyio.create_task_group() as tasks:
                for url in urls:
                    tasks.start_soon(partial(ask, url, answers, patience=patience))
            told = [one for one in answers.values() if not isinstance(one, Exception)]
            if not told:
                raise answers[urls[0]]
            return told

        return await self._client.run(ask_all)

    async def tokenize(self, body: Mapping[str, object]) -> list[Any]:
        """What ``/tokenize`` answers to `body`."""
        turn = str(next(self._turns))

        async def attempt(number: int) -> list[Any]:
            url = await self._own_url("/tokenize", turn, number)
            tokens = (await self._http.post(url, body)).get("tokens")
            if not isinstance(tokens, list):
                raise BrokenReply("/tokenize sent no tokens")
            return tokens

        return await self._client.run(attempt)

    async def detokenize(self, tokens: Sequence[int]) -> str:
        """The text of `tokens`; empty where the server does not tell."""
        turn = str(next(self._turns))

        async def attempt(number: int) -> str:
            url = await self._own_url("/detokenize", turn, number)
            try:
                found = await self._http.post(url, {"tokens": list(tokens)})
            except openai.APIStatusError as error:
                if is_transient(error):
                    raise
                return ""
            return str(found.get("text") or "")

        return await self._client.run(attempt)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _own_url(self, path: str, key: str, number: int) -> str:
        """Where a server itself is to be asked: the same for the same `key`, another next time."""
        urls = await self.workers.healthy()
        return f"{urls[(crc32(key.encode()) + number) % len(urls)]}{path}"


def id_of(request: Request, number: int) -> str:
    """The id that one try goes by at the server."""
    return attempt_id(request.id, number) + END


def _sum(states: Sequence[Mapping[str, Any]], running: str, waiting: str) -> Load:
    return Load(
        running=sum(int(state[running]) for state in states),
        waiting=sum(int(state[waiting]) for state in states),
    )


def priority_of(request: Request) -> int:
    return DEMANDED if request.demanded else SPECULATIVE
