"""JSON over HTTP, to and from the servers at one address."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import openai

from spex_agents.engines.base import Request
from spex_agents.engines.openai.stream import Aborted, BrokenReply, open_client, read_stream
from spex_agents.engines.sglang.workers import GenerateReply


class Connection:
    """One client for all servers at an address, opened when it is needed.

    Whatever is asked raises `openai.OpenAIError` where a server cannot be reached, or refuses.

    Args:
        url: The address, to which paths are added; a whole URL is taken as it is.
        api_key: The bearer token.
        timeout: Seconds to wait for the next byte.
    """

    def __init__(self, url: str, *, api_key: str | None, timeout: float) -> None:
        self._url = url
        self._api_key = api_key
        self._timeout = timeout
        self._client: openai.AsyncOpenAI | None = None

    async def stream(
        self, path: str, body: Mapping[str, object], request: Request
    ) -> GenerateReply:
        """Stream what is generated for `body`; `request.tokens` grows with it."""
        stream = await self._open().post(
            path,
            cast_to=object,
            body={**body, "stream": True},
            stream=True,
            stream_cls=openai.AsyncStream[object],
        )
        return await read_stream(stream, GenerateReply(), request)

    async def answer(
        self, url: str, body: Mapping[str, object], request: Request
    ) -> dict[str, Any]:
        """Post `body` for `request`, and count the tokens that its answer tells of.

        Raises:
            Aborted: The server ended the request.
            BrokenReply: The answer cannot be read.
        """
        found = await self.post(url, body)
        meta = found.get("meta_info") or {}
        try:
            request.tokens += int(meta.get("completion_tokens") or 0)
            how = (meta.get("finish_reason") or {}).get("type")
        except (AttributeError, TypeError, ValueError) as error:
            raise BrokenReply(f"{url} sent no account of itself: {error!r}") from error
        if how == "abort":
            raise Aborted
        return found

    async def post(self, url: str, body: Mapping[str, object]) -> dict[str, Any]:
        """What is answered to `body`.

        Raises:
            BrokenReply: It is no JSON object.
        """
        try:
            found: Any = await self._open().post(url, cast_to=object, body=body)
        except ValueError as error:  # the client lets its decoder's errors through
            raise BrokenReply(f"{url} sent no JSON: {error}") from error
        if not isinstance(found, dict):
            raise BrokenReply(f"{url} sent something else than an answer")
        return found

    async def get(self, url: str) -> object:
        """What is there; None for what is no JSON."""
        try:
            return await self._open().get(url, cast_to=object)
        except ValueError:
            return None

    async def tell(self, url: str, body: Mapping[str, object]) -> None:
        """Post `body`, whatever is answered."""
        await self._open().post(url, cast_to=type(None), body=body)

    async def aclose(self) -> None:
        if client := self._client:
            self._client = None
            await client.close()

    def _open(self) -> openai.AsyncOpenAI:
        if self._client is None:
            self._client = open_client(self._url, self._api_key, self._timeout)
        return self._client
