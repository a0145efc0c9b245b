"""The event loop of synchronous runs."""

from __future__ import annotations

import atexit
from contextlib import ExitStack
from functools import cache
from threading import Lock

from anyio.from_thread import BlockingPortal, start_blocking_portal


def portal() -> BlockingPortal:
    """The event loop of all synchronous runs, in a thread that lives as long as the process.

    One for all, because searches on the same engine share its budget; and one that stays, because
    an engine's connections belong to the loop that opened them.
    """
    with _starting:
        return _portal()


_starting = Lock()


@cache
def _portal() -> BlockingPortal:
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(start_blocking_portal(name="spex-agents"))
