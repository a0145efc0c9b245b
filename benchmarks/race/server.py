"""An OpenAI-compatible server with a reward model beside it, both by script, and a ledger of both.

``python -m benchmarks.race.server`` prints its address. Texts depend on the prompt and the seed, or
on how often the prompt has been asked before where no seed is sent. Latencies are those of a hosted
model with room for all: time to the first token and tokens a second vary from call to call.
With ``--upstream`` a real model writes in place of the script.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import math
import socket
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.requests import ClientDisconnect

from benchmarks.race.upstream import Upstream
from benchmarks.race.world import DELIMITER, judged, number_in, problems, tokens_of, written

FIRST_TOKEN, FIRST_SPREAD = 0.35, 0.3  # seconds, sigma of the log-normal
RATE, RATE_SPREAD = 70.0, 0.2  # tokens a second
REWARD, REWARD_SPREAD = 1.0, 0.3  # seconds
CHUNK = 8  # tokens sent at once
SETTLE = 1.0  # seconds after an answer in which given-up requests may come to their end


@dataclass
class Spent:
    """What one problem has cost at the server.

    Attributes:
        requests: For texts.
        rewards: Asked for.
        tokens: Decoded, whether or not anybody read them.
        running: Requests that are being answered now.
        at_answer: Requests that were, when the answer was known.
        left: Those of them that still ran a second later.
        late_tokens: Decoded after the answer was known.
    """

    requests: int = 0
    rewards: int = 0
    tokens: int = 0
    running: int = 0
    at_answer: int = 0
    left: int = 0
    late_tokens: int = 0
    answered: bool = False


@dataclass
class End:
    """How a reply ends, known once it does."""

    prompt_tokens: int
    tokens: int
    at_step: bool = False

    @property
    def reason(self) -> dict[str, Any]:
        return {"finish_reason": "stop", "stop_reason": DELIMITER if self.at_step else None}

    @property
    def usage(self) -> dict[str, int]:
        return {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.tokens}


class RaceServer:
    """Answers, and counts.

    Args:
        count: Problems.
        seed: Of the problems.
        speed: How many times as fast as the latencies say.
        small: Short problems.
        upstream: Who writes in place of the script.
    """

    def __init__(
        self,
        count: int,
        seed: int,
        speed: float,
        upstream: Upstream | None = None,
        *,
        small: bool = False,
    ) -> None:
        self.problems = problems(count, seed, small=small)
        self.speed = speed
        self.upstream = upstream
        self.spent: defaultdict[int, Spent] = defaultdict(Spent)
        self._asked: Counter[str] = Counter()
        self.app = FastAPI()
        self.app.get("/v1/models")(self.models)
        self.app.post("/v1/chat/completions")(self.complete)
        self.app.post("/reward")(self.reward)
        self.app.post("/answered/{number}")(self.answered)
        self.app.get("/spent")(self.report)
        self.app.post("/reset")(self.reset)

    async def models(self) -> Any:
        return {"object": "list", "data": [{"id": "race", "object": "model", "owned_by": "race"}]}

    async def reset(self) -> Any:
        self.spent.clear()
        self._asked.clear()
        return {}

    async def report(self) -> Any:
        return {str(number): asdict(spent) for number, spent in sorted(self.spent.items())}

    async def answered(self, number: int) -> Any:
        """The answer to a problem is known: what still runs for it, now and a little later."""
        spent = self.spent[number]
        spent.at_answer, spent.answered = spent.running, True
        await asyncio.sleep(SETTLE)
        spent.left = spent.running
        return asdict(spent)

    async def reward(self, request: Request) -> Any:
        try:
            body = await request.json()
        except ClientDisconnect:  # given up before it was read
            return Response(status_code=499)
        number = int(body["problem"])
        rng = Random(hashlib.sha256(f"reward|{body['text']}".encode()).digest())
        self.spent[number].rewards += 1
        await asyncio.sleep(rng.lognormvariate(math.log(REWARD), REWARD_SPREAD) / self.speed)
        return {"reward": judged(self.problems[number], body["text"])}

    async def complete(self, request: Request) -> Response:
        try:
            body = await request.json()
        except ClientDisconnect:  # given up before it was read
            return Response(status_code=499)
        messages = body["messages"]
        prompt = json.dumps(messages)
        number = number_in(prompt)
        if number is None or not 0 <= number < len(self.problems):
            return JSONResponse({"error": {"message": "no problem of the race"}}, status_code=400)
        if self.upstream is not None:
            return await self._forward(self.upstream, request, body, self.spent[number])
        before = str(messages[-1]["content"]) if messages[-1]["role"] == "assistant" else ""
        self._asked[prompt] += 1
        key = f"{prompt}|{body.get('seed', f'call {self._asked[prompt]}')}"
        again = "Step 1" in prompt.removesuffix(json.dumps(before)) and not before
        steps = written(self.problems[number], before, key, again=again)
        stop = body.get("stop") or ()
        at_step = DELIMITER in ([stop] if isinstance(stop, str) else stop) and len(steps) > 1
        text = steps[0] if at_step else DELIMITER.join(steps)
        if at_step and (body.get("include_stop_str_in_output") or body.get("no_stop_trim")):
            text += DELIMITER
        pieces = self._decoded(self.spent[number], text, key)
        end = End(tokens_of(prompt), tokens_of(text), at_step=at_step)
        return await _reply(request, body, pieces, end)

    async def _forward(
        self, upstream: Upstream, request: Request, body: Any, spent: Spent
    ) -> Response:
        """What the server behind writes, and counted."""
        end = End(tokens_of(json.dumps(body["messages"])), 0)
        stop = body.get("stop") or ()
        stops = DELIMITER in ([stop] if isinstance(stop, str) else stop)
        keeps = body.get("include_stop_str_in_output") or body.get("no_stop_trim")

        def count() -> None:
            end.tokens += 1
            spent.tokens += 1
            spent.late_tokens += spent.answered

        async def pieces() -> AsyncIterator[str]:
            spent.requests += 1
            spent.running += 1
            try:
                async for piece, end.at_step in upstream.written(body, stop=stops, count=count):
                    yield piece + DELIMITER if keeps and end.at_step else piece
            finally:
                spent.running -= 1

        return await _reply(request, body, pieces(), end)

    async def _decoded(self, spent: Spent, text: str, key: str) -> AsyncIterator[str]:
        """`text` piece by piece, in the time that it takes, and counted."""
        rng = Random(hashlib.sha256(f"pace|{key}".encode()).digest())
        wait = rng.lognormvariate(math.log(FIRST_TOKEN), FIRST_SPREAD)
        rate = rng.lognormvariate(math.log(RATE), RATE_SPREAD)
        count = tokens_of(text)
        spent.requests += 1
        spent.running += 1
        try:
            for begun in range(0, count, CHUNK):
                tokens = min(CHUNK, count - begun)
                await asyncio.sleep((wait + tokens / rate) / self.speed)
                wait = 0.0
                spent.tokens += tokens
                spent.late_tokens += tokens * spent.answered
                end = begun + tokens
                yield text[begun * len(text) // count : end * len(text) // count]
        finally:
            spent.running -= 1


async def _reply(request: Request, body: Any, pieces: AsyncIterator[str], end: End) -> Response:
    """Stream the pieces, or send them at once, as it is asked."""
    if body.get("stream"):
        return StreamingResponse(_events(pieces, end), media_type="text/event-stream")
    text = ""
    async for piece in pieces:
        text += piece
        if await request.is_disconnected():
            await pieces.aclose()  # type: ignore[attr-defined]
            return Response(status_code=499)
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, **end.reason}
    return JSONResponse(
        {"id": "race", "object": "chat.completion", "choices": [choice], "usage": end.usage}
    )


async def _events(pieces: AsyncIterator[str], end: End) -> AsyncIterator[str]:
    def event(**fields: Any) -> str:
        chunk = {"id": "race", "object": "chat.completion.chunk", **fields}
        return f"data: {json.dumps(chunk)}\n\n"

    async for piece in pieces:
        yield event(choices=[{"index": 0, "delta": {"content": piece}, "finish_reason": None}])
    yield event(choices=[{"index": 0, "delta": {}, **end.reason}])
    yield event(choices=[], usage=end.usage)
    yield "data: [DONE]\n\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20, help="problems")
    parser.add_argument("--seed", type=int, default=0, help="of the problems")
    parser.add_argument("--speed", type=float, default=1.0, help="times as fast as a real one")
    parser.add_argument("--upstream", help="address of a server whose model writes")
    parser.add_argument("--shots", type=int, default=2, help="solved problems that model is shown")
    parser.add_argument("--small", action="store_true", help="short problems")
    given = parser.parse_args()
    listening = socket.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    upstream = None
    if given.upstream:
        upstream = Upstream(given.upstream, given.shots, small=given.small)
    app = RaceServer(given.count, given.seed, given.speed, upstream, small=given.small).app
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])


if __name__ == "__main__":
    main()
