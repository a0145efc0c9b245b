"""What every route has at hand: the gateway's parts, and whose request it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from spex_agents.server.gateway.errors import RESPONSES, ApiError
from spex_agents.server.gateway.hosting import Hosting
from spex_agents.server.gateway.keyring import Keyring
from spex_agents.server.gateway.keys import Key
from spex_agents.server.gateway.readiness import Checks
from spex_agents.server.gateway.searches import Searches


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A gateway that is open."""

    searches: Searches
    keys: Keyring
    hosting: Hosting
    checks: Checks


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


Gateway: TypeAlias = Annotated[Parts, Depends(_parts)]

_bearer = HTTPBearer(auto_error=False, description="A key of `spex gateway key create`.")


async def _caller(
    request: Request,
    _: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
) -> Key:
    key = _key(request)
    if key.metrics:
        raise ApiError(403, "this key is for /metrics alone: take another", code="wrong_key")
    return key


async def _operator(
    request: Request,
    gateway: Gateway,
    _: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
) -> None:
    if gateway.hosting.open_metrics or gateway.keys.open:
        return
    if not _key(request).metrics:
        raise ApiError(
            403,
            "this key is for searches: take one of `spex gateway key create NAME --metrics`",
            code="wrong_key",
        )


def _key(request: Request) -> Key:
    key: Key = request.state.caller  # the guard has let it in
    return key


Caller: TypeAlias = Annotated[Key, Depends(_caller)]

OPERATOR = Depends(_operator)
"""Of routes that tell about all keys."""


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of a route, for its description."""
    return {status: RESPONSES[status] for status in statuses}
