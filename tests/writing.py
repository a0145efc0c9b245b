"""What tests ask of any engine, and how a server's stream says what it answers."""

from __future__ import annotations

import json

from spex_agents.engines.base import Engine, Request, Sampling
from spex_agents.engines.prompts import Message, Prompt
from spex_agents.search.tree import Thought

PROMPT = Prompt((Message("system", "Be brief."), Message("user", "2 + 2?")))
DONE = "data: [DONE]\n\n"


def request(name: str = "run/0", *, demanded: bool = True) -> Request:
    return Request(id=name, seed=7, demanded=demanded)


async def write(
    engine: Engine,
    asked: Request | None = None,
    *,
    prompt: Prompt = PROMPT,
    sampling: Sampling | None = None,
) -> Thought:
    return await engine.generate(
        prompt, asked or request(), sampling=sampling or Sampling(), max_tokens=16
    )


def events(*chunks: object, end: str = DONE) -> str:
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + end
