"""What SGLang's requests say of themselves."""

from __future__ import annotations

from typing import Any

from spex_agents.engines.sglang.protocol import RETRACTED, SPECULATIVE


def is_speculative(request: Any) -> bool:
    """Whether nobody waits for it: its priority says so. SGLang's own lowest one does not."""
    return request.priority is not None and RETRACTED <= request.priority <= SPECULATIVE


def is_leaving(request: Any) -> bool:
    """Whether it ends with the step that runs: it is finished, or has been aborted."""
    return request.finished() or request.to_finish is not None


def is_health_check(request: Any) -> bool:
    """Whether SGLang sent it to itself."""
    return bool(request.rid.startswith("HEALTH_CHECK"))


def memory_of(request: Any) -> int:
    """Tokens that it holds when it ends, as far as SGLang provides for them."""
    return int(len(request.origin_input_ids) + min(request.sampling_params.max_new_tokens, 4096))
