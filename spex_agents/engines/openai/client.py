"""Calls of one server: tried again, and waited for while it is away."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn, TypeVar, cast
from urllib.parse import unquote, urlsplit, urlunsplit

import openai

from spex_agents.engines.base import Request
from spex_agents.engines.calls.pace import Pace
from spex_agents.engines.calls.retries import Retries
from spex_agents.engines.calls.tasks import in_own_task
from spex_agents.engines.openai.failures import (
    BrokenReply,
    explain,
    is_away,
    is_limit,
    is_transient,
    refuses_connections,
    wanted,
)
from spex_agents.engines.openai.stream import Patience
from spex_agents.errors import EngineUnavailable, SettingsError, above_zero

logger = logging.getLogger(__name__)

SENT = ("accept", "authorization", "content-type", "user-agent")
"""Headers of ours: the client would add more, out of environment variables and of this machine."""

T = TypeVar("T")


class _Quiet:
    @property
    def default_headers(self) -> dict[str, Any]:
        headers: dict[str, Any] = super().default_headers  # type: ignore[misc]
        return {name: value for name, value in headers.items() if name.lower() in SENT}


class QuietAsyncOpenAI(_Quiet, openai.AsyncOpenAI):
    """Sends nothing that it finds in the environment."""


class QuietOpenAI(_Quiet, openai.OpenAI):
    """Sends nothing that it finds in the environment."""


class Client:
    """Calls one server, through failures and restarts.

    A server that has answered before and refuses connections now, or says that it is not ready
    (502, 503), is waited for; one that was never reached has a wrong address as a rule. Once it was
    waited for in vain, further calls try as often as after other failures, until it answers.

    Args:
        url: Its address.
        api_key: The bearer token.
        timeout: Seconds to wait for an answer's first token.
        retries: How often, and how patiently.
        token_timeout: Seconds to wait between tokens; None: as long as for the first.
        pace: What the provider allows; None for what its answers tell.

    Raises:
        SettingsError: A number is outside its range, or `url` is no address.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None,
        timeout: float,
        retries: Retries,
        token_timeout: float | None = None,
        pace: Pace | None = None,
    ) -> None:
        between = timeout if token_timeout is None else token_timeout
        above_zero(timeout=timeout, token_timeout=between)
        self.retries = retries
        self.url = url
        self.shown = _without_secrets(url)
        if not url.startswith(("http://", "https://")) or not urlsplit(url).hostname:
            raise SettingsError(
                f"base_url={self.shown!r}: must be a server's address, such as "
                "http://127.0.0.1:30000/v1"
            )
        self._api_key = api_key
        self._timeout = timeout
        self.patience = Patience(timeout, between)
        self._process = os.getpid()
        self._https: dict[asyncio.AbstractEventLoop, openai.AsyncOpenAI] = {}
        self.pace = pace or Pace()
        self._answered = False
        self._away = False
        self._given_up = False
        self._refused = 0
        self._warned: set[str] = set()

    @property
    def http(self) -> openai.AsyncOpenAI:
        """What single tries go through; opened when it is needed, for each event loop anew."""
        loop = asyncio.get_running_loop()
        self._forget_the_parent_s()
        if (http := self._https.get(loop)) is None:
            for other in list(self._https):
                if other.is_closed():
                    self._https.pop(other, None)
            http = self._https[loop] = QuietAsyncOpenAI(
                base_url=self.shown,  # which whoever logs requests may log
                api_key=self._api_key or "none",
                default_headers=_basic(self.url),
                max_retries=0,
                timeout=openai.Timeout(self._timeout, connect=min(self._timeout, 10.0)),
            )
        return http

    def warn(self, what: str) -> None:
        """Log something about the server, once for what is before its first colon."""
        if (topic := what.partition(":")[0]) not in self._warned:
            self._warned.add(topic)
            logger.warning("%s: %s", self.shown, what)

    async def aclose(self) -> None:
        """Close all connections; the next call opens them anew."""
        here = asyncio.get_running_loop()
        self._forget_the_parent_s()
        for loop in list(self._https):
            if (http := self._https.pop(loop, None)) is None:
                continue
            if loop is here:
                await http.close()
            elif loop.is_running():
                closing = asyncio.run_coroutine_threadsafe(http.close(), loop)
                await asyncio.wrap_future(closing)

    def _forget_the_parent_s(self) -> None:
        """After a fork: loops of the process that this one comes from are not run here."""
        if self._process != os.getpid():
            self._process, self._https = os.getpid(), {}

    async def check(self) -> None:
        """Ask for its models, once; one that does not know the question answers, too.

        Raises:
            EngineError: It does not answer.
        """
        try:
            await self.http.get("/models", cast_to=object)
        except openai.OpenAIError as error:
            if getattr(error, "status_code", 500) >= 500:
                self._raise(error, tries=1)
        self._answered, self._given_up = True, False

    async def get(self, url: str) -> object:
        """What is there, read as `body_of` does; None for what is no JSON though it says so.

        Raises:
            openai.OpenAIError: The server cannot be reached, or refuses.
        """
        try:
            return body_of(await self.http.get(url, cast_to=object))
        except ValueError:  # the openai client lets its decoder's errors through
            return None

    async def post(self, url: str, body: Mapping[str, object]) -> object:
        """What is answered to `body`, likewise.

        Raises:
            openai.OpenAIError: The server cannot be reached, or refuses.
        """
        try:
            return body_of(await self.http.post(url, cast_to=object, body=body))
        except ValueError:
            return None

    async def run(
        self,
        attempt: Callable[[int], Awaitable[T]],
        *,
        request: Request | None = None,
        tokens: int = 0,
    ) -> T:
        """Call `attempt` with 0, 1 ... until it returns, in a task of its own.

        Where the server limits its callers, all calls wait together.

        Args:
            attempt: One try.
            request: Whose, if it counts for what the provider allows in a minute.
            tokens: That it takes of that, about.

        Raises:
            EngineError: It failed too often, the server was away too long, or refused.
        """

        async def once(number: int) -> T:
            await self.pace.turn(request, tokens)
            try:
                result = await attempt(number)
            except openai.APIStatusError as error:
                self._heed(error)
                raise
            self._answered, self._away, self._given_up, self._refused = True, False, False, 0
            return result

        retries = replace(self.retries, patience=0) if self._given_up else self.retries
        calling = partial(
            retries.run,
            once,
            transient=self._is_transient,
            away=self._is_away,
            paused=lambda _: self.pace.paused,
            key=request.id if request else self.url,
        )
        try:
            return await in_own_task(calling)
        except (openai.OpenAIError, BrokenReply) as error:
            if retries.patience and is_away(error) and self._is_away(error):
                self._given_up = True
                raise EngineUnavailable(
                    f"{self.shown} was away for {self.retries.patience:g} s ({error}): see its "
                    "log, or raise patience= if it takes longer to restart"
                ) from error
            self._raise(error, tries=self.retries.times + 1)

    def _raise(self, error: Exception, *, tries: int) -> NoReturn:
        """Raise what explains the error, without the key, which servers quote."""
        explained = explain(error, self.shown, tries=tries)
        if self._api_key and self._api_key in f"{explained}{error}":
            hidden = str(explained).replace(self._api_key, "[the key]")
            raise type(explained)(hidden) from None
        raise explained from error

    def _heed(self, error: openai.APIStatusError) -> None:
        """Pause for a server that wants fewer requests."""
        self.pace.hear(error.response.headers)
        if not is_limit(error):
            return
        if (seconds := wanted(error)) is not None:
            self.pace.pause(min(seconds, self.retries.patience), self.shown)
        elif not self.pace.paused:
            growing = self.retries.wait * 2**self._refused
            self._refused += 1
            self.pace.pause(min(growing, self.retries.longest), self.shown)

    def _is_transient(self, error: BaseException) -> bool:
        """Whether another try may go better, and is not asked for too late."""
        if isinstance(error, openai.APIStatusError) and is_limit(error):
            return (wanted(error) or 0) <= self.retries.patience
        return is_transient(error)

    def _is_away(self, error: BaseException) -> bool:
        if isinstance(error, openai.APIStatusError) and is_limit(error):
            return wanted(error) is not None
        if not is_away(error) or (refuses_connections(error) and not self._answered):
            return False
        if not self._away and self.retries.patience:
            self._away = True
            told = (self.shown, error, self.retries.patience)
            logger.warning("%s is away (%s): it is waited for up to %g s", *told)
        return True


def body_of(found: object) -> object:
    """What an answer says: routers pass JSON on as a mere text.

    Example:
        >>> body_of('{"data": []}'), body_of("no JSON"), body_of({"data": []})
        ({'data': []}, 'no JSON', {'data': []})
    """
    if isinstance(found, str):
        with suppress(ValueError):
            return cast(object, json.loads(found))
    return found


def _basic(url: str) -> dict[str, str]:
    """The header for a user and password that an address begins with, if it does."""
    parts = urlsplit(url)
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}


def _without_secrets(url: str) -> str:
    """The address without what is before its host."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
