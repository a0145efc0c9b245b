"""Waiting for work that may turn out not to be needed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def unless(
    work: Coroutine[Any, Any, T],
    news: asyncio.Event,
    stop: Callable[[], Awaitable[tuple[bool, float | None]]],
) -> T | None:
    """Return what `work` comes to, or None if `stop` says so before.

    Args:
        work: Cancelled if it is not needed.
        news: Set when there is a reason to ask.
        stop: Tells whether to stop, and in how many seconds to ask again though there is no news.
    """
    doing = asyncio.ensure_future(work)
    try:
        while not doing.done():
            news.clear()
            stopped, due = await stop()
            if stopped:
                return None
            hearing = asyncio.ensure_future(news.wait())
            try:
                both = (doing, hearing)
                await asyncio.wait(both, timeout=due, return_when=asyncio.FIRST_COMPLETED)
            finally:
                hearing.cancel()
        return doing.result()
    finally:
        if not doing.done():
            doing.cancel()
            await asyncio.wait([doing])
