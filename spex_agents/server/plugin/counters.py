"""What the plugin did, for the server's metrics and for clients."""

from __future__ import annotations

import os
from typing import Any

NAMES = {
    "admitted_demanded": "Demanded requests that joined the running batch.",
    "admitted_speculative": "Speculative requests that joined the running batch.",
    "prefill_batches": "Batches that requests joined in, one or several at once.",
    "demanded_steps": "Batches run while demanded requests ran or waited.",
    "shared_steps": "Those of them in which guesses of one run slowed another's demanded requests.",
    "deferred": "Speculative requests that were held back at least once.",
    "displaced": "Speculative requests put back from the running batch for others' work.",
    "promoted": "Speculative requests that became demanded.",
    "demoted": "Demanded requests that became speculative.",
    "aborted": "Requests that were aborted.",
    "wasted_tokens": "Tokens decoded for requests that were aborted.",
}


class Counters:
    """Counts by name; on the server's Prometheus page as ``spex:NAME_total`` where it has one."""

    def __init__(self, *, export: bool) -> None:
        self.values = dict.fromkeys(NAMES, 0)
        self._exported: dict[str, Any] = {}
        self._seconds: Any = None
        self._steps: Any = None
        if export and "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            from prometheus_client import Counter  # noqa: PLC0415 (it reads that variable)

            self._exported = {name: Counter(f"spex:{name}", text) for name, text in NAMES.items()}
            size = ["batch_size"]
            self._seconds = Counter("spex:decode_seconds", "Seconds in decode steps.", size)
            self._steps = Counter("spex:decode_steps", "Decode steps.", size)

    def add(self, name: str, amount: int = 1) -> None:
        self.values[name] += amount
        if amount and (exported := self._exported.get(name)) is not None:
            exported.inc(amount)

    def step(self, size: int, seconds: float) -> None:
        """Count a decode step; sizes from 16 on are rounded up to a power of two."""
        if self._steps is not None:
            label = str(size if size < 16 else 1 << (size - 1).bit_length())
            self._steps.labels(label).inc()
            self._seconds.labels(label).inc(seconds)
