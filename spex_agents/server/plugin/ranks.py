"""How the processes that schedule in step tell each other that a hook has failed."""

from __future__ import annotations

import sys

from spex_agents.server.plugin.guard import Exchange, RanksDifferError

_SCHEDULER = "sglang.srt.managers.scheduler"


def connect() -> Exchange | None:
    """An exchange with the ranks that have the same queue; None where there are none.

    Stages of a pipeline schedule at different times. They cannot be asked at each step, so that a
    failure there ends the server.
    """
    if _SCHEDULER not in sys.modules:
        return None
    import torch  # noqa: PLC0415 (comes with SGLang)
    from sglang.srt.runtime_context import get_parallel  # noqa: PLC0415 (as above)

    ranks = get_parallel()
    shared = (ranks.attn_tp_group, ranks.attn_cp_group)
    groups = [
        group
        for group in (shared if ranks.attn_dp_enabled else (ranks.tp_group,))
        if group.world_size > 1
    ]
    staged = ranks.pp_size > 1
    if not groups and not staged:
        return None

    def exchange(numbers: list[int]) -> list[int]:
        held = torch.tensor(numbers, dtype=torch.int32)
        for group in groups:
            largest = torch.distributed.ReduceOp.MAX
            torch.distributed.all_reduce(held, op=largest, group=group.cpu_group)
        told: list[int] = held.tolist()
        if staged and any(told):
            raise RanksDifferError("SPEX: a hook failed in a stage of a pipeline")
        return told

    return exchange
