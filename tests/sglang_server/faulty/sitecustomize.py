"""Python runs it as it starts, where this directory is on PYTHONPATH: a hook fails on one rank.

The second rank fails to decide as soon as it sees a request whose id begins with ``fault/``.
"""

from collections.abc import Iterable
from typing import Any

from spex_agents.server.plugin.admission import Admission

_hold_back = Admission.hold_back


def _fail(self: Admission, running: Iterable[Any]) -> list[Any]:
    from sglang.srt.runtime_context import get_parallel  # noqa: PLC0415 (in a scheduler only)

    asked = any(request.rid.startswith("fault/") for request in self.scheduler.waiting_queue)
    held = _hold_back(self, running)
    if asked and get_parallel().tp_rank == 1:
        raise KeyError("a fault of the second rank")
    return held


Admission.hold_back = _fail  # type: ignore[method-assign]
