"""The events of a stream, as servers send them in the wild."""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from collections.abc import AsyncGenerator
from typing import Any

import openai

from spex_agents.engines.openai.choices import Choices
from spex_agents.engines.openai.failures import BrokenReply
from spex_agents.engines.openai.reply import Reply

SHOWN = 120
"""Characters of what cannot be read that an error shows."""

_LINE_END = re.compile(rb"\r\n|\n|\r(?!\Z)")
_ALIVE = re.compile(r"^\[?(?:keep-?alive|heartbeat|ping)\]?$", re.IGNORECASE)
"""What some proxies send as data while there is none."""
_FIELDS = (":", "event:", "id:", "retry:")
"""Lines of a stream besides its data."""


async def chunks_of(response: Any, reply: Reply | Choices) -> AsyncGenerator[object, None]:
    """The chunks of a stream, up to ``[DONE]``; an answer in one piece goes to `reply` itself.

    Raises:
        openai.APIError: An error was sent.
        BrokenReply: It cannot be read.
    """
    begun, whole = "", ""
    told = failed = False
    async for line in _lines(response):
        if line.startswith("data:"):
            begun += _ALIVE.sub("", line.removeprefix("data:").strip())
            if begun.upper() == "[DONE]":
                return
            try:
                chunk = json.loads(begun)
            except ValueError:  # it may go on in the next line
                continue
            begun, told = "", True
            yield _unless_error(chunk, response, failed=failed)
        elif line.startswith(_FIELDS):
            failed = line.partition(":")[2].strip() == "error"
        elif begun and not line:
            break
        elif (piece := _piece(line, begun=told)) is not None:  # a stream of bare lines
            told = True
            yield _unless_error(piece, response)
        elif told and line.startswith("{"):
            _unless_error(json.loads(line), response)
        elif not told:
            whole += f"{line}\n"
    if begun:
        raise BrokenReply(f"the stream has what is no JSON: {begun[:SHOWN]!r}")
    if not told and whole.lstrip().startswith(("{", "[{")):
        answer = json.loads(whole)
        reply.read_whole(_unless_error(answer[0] if isinstance(answer, list) else answer, response))
        yield None
    elif not told and whole.strip():
        raise BrokenReply(f"{response.url} answers no completion: {whole.strip()[:SHOWN]!r}")


async def _lines(response: Any) -> AsyncGenerator[str, None]:
    """The lines of a body; a text in it may have separators that Python takes for line ends."""
    rest, begins = b"", True
    async for piece in response.aiter_bytes():
        *lines, rest = _LINE_END.split(rest + piece)
        if begins and lines:
            lines[0], begins = lines[0].removeprefix(BOM_UTF8), False
        for line in lines:
            yield line.decode(errors="replace")
    yield rest.decode(errors="replace")
    yield ""


def _piece(line: str, *, begun: bool) -> dict[str, Any] | None:
    """A chunk that is a line by itself, without "data:"."""
    if not (line.startswith("{") and (begun or '"delta"' in line)):
        return None
    try:
        chunk = json.loads(line)
    except ValueError:
        return None
    return chunk if isinstance(chunk, dict) and "choices" in chunk else None


def _unless_error(chunk: object, response: Any, *, failed: bool = False) -> object:
    """The chunk, unless it is an error, which is raised."""
    if not isinstance(chunk, dict):
        return chunk
    error = chunk.get("error")
    if isinstance(choices := chunk.get("choices"), list) and choices:
        error = error or (isinstance(choices[0], dict) and choices[0].get("error"))
    if not error and "choices" in chunk:
        return chunk
    if not error and (failed or chunk.get("object") == "error" or "detail" in chunk):
        error = chunk
    if error:
        said = error if not isinstance(error, dict) else error.get("message") or error.get("detail")
        raise openai.APIError(str(said or "no reason told"), request=response.request, body=error)
    return chunk
