"""What sampled replies say: each that cannot be read is asked for once more."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from spex_agents.engines.base import Engine, Request, Sampling
from spex_agents.engines.prompts import Prompt
from spex_agents.errors import SettingsError
from spex_agents.rewards.parts import in_parts
from spex_agents.search.tree import derive_seed

logger = logging.getLogger(__name__)

T = TypeVar("T")


async def readings(
    engine: Engine,
    prompt: Prompt,
    request: Request,
    *,
    samples: int,
    read: Callable[[str], T | None],
    sampling: Sampling,
    max_tokens: int,
) -> list[T]:
    """What up to `samples` replies say; those that say nothing at the second try are left out.

    Args:
        engine: Who replies.
        prompt: What is asked.
        request: What the replies belong to.
        samples: Replies.
        read: What a reply says, or None.
        sampling: How their tokens are drawn; they run to the model's stop, whatever `stop` says.
        max_tokens: Tokens of one reply.

    Raises:
        EngineError: A reply could not be written; the others are aborted.
    """
    sampling = replace(sampling, stop=(), logprobs=False)

    async def ask(index: int, part: Request) -> T | None:
        thought = await engine.generate(prompt, part, sampling=sampling, max_tokens=max_tokens)
        return read(prompt.reply + thought.text)

    said: list[T] = []
    missing = samples
    for first in (0, samples):
        seeds = [derive_seed(request.seed, (first + index,), "reply") for index in range(missing)]
        found = await in_parts(request, seeds, ask, first=first)
        said += [reading for reading in found if reading is not None]
        if not (missing := samples - len(said)):
            break
    else:
        logger.info("%d of %d replies for %s say nothing", missing, samples, request.id)
    return said


def last_line(reply: str) -> str:
    """The last line with anything in it, where a reply that thinks aloud says what it comes to."""
    return next((line for line in reversed(reply.splitlines()) if line.strip()), "")


def check_otherwise(otherwise: float | None) -> None:
    """Check the score for what no reply says anything about.

    Raises:
        SettingsError: It is neither None nor in [0, 1].
    """
    if otherwise is not None and not 0 <= otherwise <= 1:
        raise SettingsError(f"otherwise={otherwise!r}: must lie in [0, 1], or be None")
