"""Work that a gateway does over and over, whatever becomes of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

logger = logging.getLogger(__name__)


async def repeat(work: Callable[[], Awaitable[object]], *, seconds: float, failed: str) -> None:
    """Do `work`, wait for `seconds`, and again, until it is cancelled.

    Args:
        work: What fails is tried again like all else.
        seconds: From one's end to the next.
        failed: What is logged of a failure: once, not as often as it is tried.
    """
    failing = False
    while True:
        try:
            await work()
            failing = False
        except Exception:
            if not failing:
                logger.exception(failed)
            failing = True
        await asyncio.sleep(seconds)
