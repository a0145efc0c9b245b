"""An OpenAI-compatible server on loopback that answers by script."""

from __future__ import annotations

import asyncio
import json
import socket
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import anyio
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from processes import PATIENCE

Then: TypeAlias = Literal[
    "finish",
    "hang",
    "go_on",
    "drop",
    "stop_short",
    "garbage",
    "error",
    "queue",
    "comments",
]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer: its tokens, then how it ends.

    `then`: ``finish`` with a reason, usage and [DONE]; ``hang`` for ever; ``go_on`` until its id is
    aborted; ``drop`` the connection; ``stop_short`` without a finish reason; ``garbage`` that is no
    JSON; ``error`` inside the stream. ``queue`` sends nothing, not even the tokens, until its id is
    aborted. ``comments`` come for ever, as servers send them to keep a connection alive. What is
    `raw` is sent as it is in place of the tokens and of a finish, and `response` in place of all.
    """

    tokens: tuple[str, ...] = ("It", " is", " 4", ".")
    finish: str = "stop"
    then: Then = "finish"
    raw: str = ""
    response: Response | None = None
    status: int = 200
    logprobs: bool = True
    top: Mapping[str, float] = field(default_factory=dict)
    usage: int | None = None
    error_code: int | str = 500
    said: str = ""
    error_fields: Mapping[str, object] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


class ScriptedServer:
    """Answers with `script`, first come first served, then with the default answer."""

    def __init__(self) -> None:
        self.script: deque[Answer] = deque()
        self.default = Answer()
        self.models: list[tuple[str, str]] = [("tiny", "sglang")]
        self.models_as_list = False
        self.several = False  # replies to one request that asks for `n`
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.ids: list[str] = []
        self.headers: list[Mapping[str, str]] = []
        self.aborted: list[str] = []
        self.live = 0
        self.most_live = 0
        self.url = ""
        self._changed = asyncio.Condition()
        self.app = FastAPI()
        self.app.get("/v1/models")(self._models)
        self.app.post("/v1/chat/completions")(self._complete)
        self.app.post("/v1/completions")(self._complete)
        self.app.post("/generate")(self._complete)

    async def until_live(self, live: int) -> None:
        """Return once exactly `live` requests are being answered."""
        with anyio.fail_after(PATIENCE):
            async with self._changed:
                await self._changed.wait_for(lambda: self.live == live)

    async def abort(self, rid: str) -> None:
        """End the request of that id, unless it hangs."""
        async with self._changed:
            self.aborted.append(rid)
            self._changed.notify_all()

    async def _models(self) -> Any:
        self.paths.append("/v1/models")
        data = [{"id": name, "object": "model", "owned_by": owner} for name, owner in self.models]
        return data if self.models_as_list else {"object": "list", "data": data}

    async def _complete(self, request: Request) -> Response:
        body = await request.json()
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        self.paths.append(request.url.path)
        self.ids.append(request.headers.get("X-Request-Id") or body.get("rid", ""))
        answer = self.script.popleft() if self.script else self.default
        if answer.response is not None:
            return answer.response
        if answer.status != 200:
            said = answer.said or f"scripted {answer.status}"
            error = {"message": said, "type": "scripted", **answer.error_fields}
            return JSONResponse(
                {"error": error}, status_code=answer.status, headers=dict(answer.headers)
            )
        stream = self._replay(answer) if answer.raw else self._stream(answer, body)
        if request.url.path == "/generate":
            stream = _as_generated(stream, answer)
        return StreamingResponse(
            stream, media_type="text/event-stream", headers=dict(answer.headers)
        )

    async def _stream(self, answer: Answer, body: Mapping[str, Any]) -> AsyncIterator[str]:
        chat = "messages" in body
        indices = range(int(body.get("n", 1)) if self.several else 1)
        await self._count(1)
        try:
            if answer.then == "queue":
                yield await self._until_aborted(body["rid"])
                return
            if chat:
                yield _event({"delta": {"role": "assistant", "content": ""}})
            for token in answer.tokens:
                logprobs = _logprobs(token, answer.top, chat=chat) if answer.logprobs else None
                asked = logprobs if body.get("logprobs") else None
                text = {"delta": {"content": token}} if chat else {"text": token}
                yield _events({**text, "logprobs": asked}, indices)
            match answer.then:
                case "hang":
                    await anyio.sleep_forever()
                case "go_on":
                    yield await self._until_aborted(body["rid"])
                case "drop":
                    raise ConnectionAbortedError
                case "garbage":
                    yield "data: {this is no JSON\n\n"
                case "error":
                    error = {"message": "scripted error", "code": answer.error_code}
                    yield f"data: {json.dumps({'error': error})}\n\n"
                case "finish":
                    yield _events({"delta": {}, "finish_reason": answer.finish}, indices)
                    if answer.usage is not None:
                        usage = {"prompt_tokens": 9, "completion_tokens": answer.usage}
                        yield f"data: {json.dumps({'choices': [], 'usage': usage})}\n\n"
            yield "data: [DONE]\n\n"
        finally:
            with anyio.CancelScope(shield=True):
                await self._count(-1)

    async def _replay(self, answer: Answer) -> AsyncIterator[str]:
        await self._count(1)
        try:
            yield answer.raw
            while answer.then in ("comments", "hang"):
                await anyio.sleep(0.005)
                if answer.then == "comments":
                    yield ": keep-alive\n\n"
        finally:
            with anyio.CancelScope(shield=True):
                await self._count(-1)

    async def _until_aborted(self, rid: str) -> str:
        async with self._changed:
            await self._changed.wait_for(lambda: rid in self.aborted)
        return _event({"delta": {}, "finish_reason": "abort"})

    async def _count(self, change: int) -> None:
        async with self._changed:
            self.live += change
            self.most_live = max(self.most_live, self.live)
            self._changed.notify_all()


async def _as_generated(stream: AsyncIterator[str], answer: Answer) -> AsyncIterator[str]:
    """The same stream as SGLang's own endpoint sends it: each chunk has all there is so far."""
    text, tokens, finish = "", list[str](), None
    async for event in stream:
        data = event.removeprefix("data: ")
        if "choices" not in data:
            yield event
            continue
        for choice in json.loads(data)["choices"]:
            if token := choice.get("text"):
                tokens.append(token)
                text += token
            finish = choice.get("finish_reason")
        if not tokens and not finish:
            continue
        meta = {
            "completion_tokens": len(tokens) if answer.usage is None else answer.usage,
            "prompt_tokens": 9,
            "finish_reason": {"type": finish} if finish else None,
            "output_token_logprobs": [[-0.5, 1, token] for token in tokens],
        }
        chunk = {"text": text, "output_ids": [1] * len(tokens), "meta_info": meta}
        yield f"data: {json.dumps(chunk)}\n\n"


def as_text(app: FastAPI) -> None:
    """Let it say of all its JSON that it is text, as routers do that pass bodies on."""

    @app.middleware("http")
    async def relabel(request: Request, call_next: Any) -> Any:
        answer = await call_next(request)
        if answer.headers.get("content-type") == "application/json":
            answer.headers["content-type"] = "text/plain; charset=utf-8"
        return answer


def _events(choice: Mapping[str, Any], indices: Iterable[int]) -> str:
    return "".join(_event({**choice, "index": index}) for index in indices)


def _event(choice: Mapping[str, Any]) -> str:
    chunk = {"choices": [{"index": 0, "finish_reason": None, **choice}]}
    return f"data: {json.dumps(chunk)}\n\n"


def _logprobs(token: str, top: Mapping[str, float], *, chat: bool) -> dict[str, Any]:
    if not chat:
        return {"tokens": [token], "token_logprobs": [-0.5], "top_logprobs": [dict(top)]}
    listed = [{"token": other, "logprob": logprob} for other, logprob in top.items()]
    return {"content": [{"token": token, "logprob": -0.5, "top_logprobs": listed}]}


@asynccontextmanager
async def serve(app: Any, port: int = 0) -> AsyncIterator[str]:
    """Serve an ASGI app on a loopback port, 0 for a free one; yields the address."""
    config = uvicorn.Config(app, log_level="critical", lifespan="off", ws="none")
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:  # asyncio sets TCP_NODELAY by it
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        host, port = listener.getsockname()
        await server.startup([listener])  # not serve(): that polls and takes over the signals
        try:
            yield f"http://{host}:{port}"
        finally:
            with anyio.fail_after(5, shield=True):
                await server.shutdown([listener])


@asynccontextmanager
async def scripted_server(port: int = 0) -> AsyncIterator[ScriptedServer]:
    """A running server; on leaving, no request may be live."""
    server = ScriptedServer()
    async with serve(server.app, port) as address:
        server.url = f"{address}/v1"
        yield server
        await server.until_live(0)
