"""Errors in the form that OpenAI's clients know: a status, a type, a message and a parameter."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import groupby
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from spex_agents.errors import EngineError, PromptTooLong, SettingsError, SpexError
from spex_agents.server.gateway.faults import FAULTS, storage_fault


class ErrorDetail(BaseModel):
    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    """What every refusal and failure has for its body."""

    error: ErrorDetail


RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": text}
    for status, text in {
        400: "The request is not valid: `param` says where.",
        401: "No API key, or an unknown one.",
        403: "The API key is for something else.",
        404: "No such model or search.",
        408: "The body came too slowly.",
        413: "The body is too large.",
        422: "The Idempotency-Key belongs to another request.",
        429: "A limit of the key; Retry-After says when to try again.",
        500: "A reward or a policy failed.",
        502: "The engine failed.",
        503: "No room, or about to stop; Retry-After says when to try again.",
        504: "The search took too long.",
    }.items()
}


class ApiError(Exception):
    """A request that is refused, or a search that failed.

    Args:
        status: Of HTTP.
        message: What was given, what is allowed, what to do.
        kind: OpenAI's ``type``.
        param: Which field of the request it is about.
        code: For programs.
        retry_after: Seconds until it is worth trying again.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.detail = ErrorDetail(message=message, type=kind, param=param, code=code)
        self.retry_after = retry_after

    def body(self) -> dict[str, Any]:
        return ErrorBody(error=self.detail).model_dump()

    def response(self) -> JSONResponse:
        headers = {}
        if self.retry_after is not None:
            headers["Retry-After"] = str(max(1, round(self.retry_after + 0.5)))
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if self.detail.code == "stopping":
            headers["Connection"] = "close"  # the next request may find another gateway
        return JSONResponse(self.body(), self.status, headers)

    def saved(self) -> dict[str, Any]:
        return {"status": self.status, **self.detail.model_dump()}

    @classmethod
    def from_saved(cls, saved: Mapping[str, Any]) -> ApiError:
        return cls(
            saved["status"],
            saved["message"],
            kind=saved["type"],
            param=saved["param"],
            code=saved["code"],
        )


def stopping(*, idempotent: bool) -> ApiError:
    """What clients are told while the gateway is about to stop.

    Args:
        idempotent: Whether the request had an Idempotency-Key.
    """
    again = (
        "with the same Idempotency-Key to go on where it was"
        if idempotent
        else "and with an Idempotency-Key, so that another time its search goes on where it was"
    )
    return ApiError(
        503,
        f"the gateway is about to stop: send the request again, {again}",
        kind="server_error",
        code="stopping",
        retry_after=5.0,
    )


def deleted() -> ApiError:
    """What a search ends with that was forgotten while it ran."""
    return ApiError(404, "the search was deleted while it ran", code="search_deleted")


def storage_error(code: str) -> ApiError:
    """What a client is told where storage fails."""
    return ApiError(
        503,
        f"the gateway's storage fails: {FAULTS[code]}; try again later",
        kind="server_error",
        code=code,
        retry_after=5.0,
    )


_GIVEN = re.compile(r"^(\w+)[= ]")
_BRANCH = re.compile(r"str$|[A-Z]\w*$|[\w-]+\[")
"""What pydantic puts between a field and a part of it: which of several types it tried."""

_ADDRESS = re.compile(
    r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>,;)\]}]+|\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"
    r"|\b[\w.-]+:\d{2,5}\b(?!\.\d)|\[[0-9a-f:]+\](?::\d+)?",
    re.IGNORECASE,
)
"""Addresses of what is inside: engines, their workers, the database."""

_REMEDY = re.compile(r"[:;,] [^:;]*\b[a-z]+(?:_[a-z]+)*=(?![=\d]).*", re.DOTALL)
"""What to do about it with settings in Python, which are the operator's; a number is a limit."""


def explain(error: Exception, *, names: Mapping[str, str] | None = None) -> ApiError:
    """What a client is told of an error.

    Args:
        error: What went wrong.
        names: Where the request has a setting, by the setting's name.
    """
    if isinstance(error, ApiError):
        return error
    if isinstance(error, SettingsError):
        found = _GIVEN.match(str(error))
        param = None if found is None else (names or {}).get(found[1])
        return ApiError(400, str(error), param=param)
    if isinstance(error, PromptTooLong):
        said = for_clients(str(error))
        return ApiError(400, said, param="messages", code="context_length_exceeded")
    if isinstance(error, EngineError):
        said = for_clients(str(error))
        return ApiError(502, said, kind="server_error", code="engine_failed")
    if isinstance(error, TimeoutError):
        return ApiError(504, str(error), kind="server_error", code="search_timeout")
    if (fault := storage_fault(error)) is not None:
        return storage_error(fault)
    if isinstance(error, SpexError):
        return ApiError(500, for_clients(str(error)), kind="server_error", code="search_failed")
    # What is not foreseen may quote anything: the log has it, the client has not.
    return ApiError(500, "internal error", kind="server_error", code="internal_error")


def for_clients(text: str) -> str:
    """What is said, without where anything is and which settings of the operator's would help.

    Example:
        >>> for_clients("http://key@10.0.0.5:30000/v1 failed: Cannot connect to gpu7:30000")
        'the engine failed: Cannot connect to ...'
        >>> for_clients("http://gpu7/v1 cannot be reached: start the server, or correct base_url=")
        'the engine cannot be reached'
    """
    said = _ADDRESS.sub("...", _REMEDY.sub("", text))
    return f"the engine{said[3:]}" if said.startswith("... ") else said


def install(app: FastAPI) -> None:
    """Let `app` answer every error in this form."""

    async def refused(_: Request, error: Exception) -> JSONResponse:
        return explain(error).response()

    async def invalid(_: Request, error: Any) -> JSONResponse:
        first = max(error.errors(), key=lambda one: len(one["loc"]))  # of a union the closest
        where = [str(part) for part in first["loc"] if part != "body"]
        where = [name for name, _ in groupby(part for part in where if not _BRANCH.match(part))]
        if first["type"] == "json_invalid":
            where = []
        message = f"{'.'.join(where) or 'body'}: {first['msg']}"
        return ApiError(400, message, param=".".join(where) or None).response()

    async def plain(_: Request, error: Any) -> JSONResponse:
        response = ApiError(error.status_code, str(error.detail)).response()
        response.headers.update(error.headers or {})
        return response

    app.add_exception_handler(ApiError, refused)
    app.add_exception_handler(SpexError, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, plain)
