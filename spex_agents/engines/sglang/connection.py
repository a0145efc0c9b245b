"""JSON over HTTP, to and from the servers at one address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spex_agents.engines.base import Request
from spex_agents.engines.openai.client import Client
from spex_agents.engines.openai.failures import Aborted, BrokenReply
from spex_agents.engines.openai.stream import stream_reply
from spex_agents.engines.sglang.workers import GenerateReply


class Connection:
    """All servers at an address: paths are added to it, a whole URL is taken as it is.

    Whatever is asked raises `openai.OpenAIError` where a server cannot be reached, or refuses.

    Args:
        client: Of the address.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    async def stream(
        self,
        path: str,
        body: Mapping[str, object],
        reply: GenerateReply,
        request: Request,
        *,
        hang_up_at: Sequence[str] = (),
        most_tokens: int | None = None,
    ) -> GenerateReply:
        """Stream what is generated for `body`; `request.tokens` grows with it."""
        return await stream_reply(
            self._client.http,
            path,
            body,
            reply,
            request,
            patience=self._client.patience,
            hang_up_at=hang_up_at,
            most_tokens=most_tokens,
        )

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
            request.prompt_tokens += int(meta.get("prompt_tokens") or 0)
            request.cached_tokens += int(meta.get("cached_tokens") or 0)
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
        found = await self._client.post(url, body)
        if not isinstance(found, dict):
            raise BrokenReply(f"{url} sent no JSON object")
        return found

    async def tell(self, url: str, body: Mapping[str, object]) -> None:
        """Post `body`, whatever is answered."""
        await self._client.http.post(url, cast_to=type(None), body=body)
