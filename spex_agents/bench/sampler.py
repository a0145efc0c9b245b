"""What seeds cost: the seeded sampler beside torch's own draw, in time and memory.

``python -m spex_agents.bench.sampler`` prints a row of JSON for each batch and setting; it reads
the size of the vocabulary from its input, if that has one.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace
from typing import Any

from spex_agents.server.cpu.device import has_cuda

VOCABULARY = 151_936
"""Tokens of Qwen3."""

BATCHES = (1, 64, 256)

SETTINGS: dict[str, dict[str, float]] = {
    "unbounded": {},
    "top-k 20, top-p 0.95": {"top_k": 20, "top_p": 0.95},
    "top-p 0.95": {"top_p": 0.95},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """One draw for each row of a batch.

    Attributes:
        settings: What bounds the candidates.
        batch: Rows.
        seconds: Of the seeded draw, the best of three.
        megabytes: What it needed at once besides the probabilities; None where nobody tells.
        plain_seconds: Of torch's draw from the same probabilities, bounded by nothing.
    """

    settings: str
    batch: int
    seconds: float
    megabytes: float | None
    plain_seconds: float

    def report(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def measure(
    device: str, batches: tuple[int, ...] = BATCHES, vocabulary: int = VOCABULARY
) -> list[Cost]:
    """Time draws on a device, as SGLang's sampler asks for them.

    Args:
        device: As torch has it: "cuda", "cpu".
        batches: Rows of each.
        vocabulary: Probabilities of a row.
    """
    import torch  # noqa: PLC0415 (comes with SGLang)

    from spex_agents.server.plugin.seeded import sample  # noqa: PLC0415 (as above)

    costs = []
    for batch in batches:
        random = torch.Generator(device).manual_seed(1)
        logits = torch.randn(batch, vocabulary, generator=random, device=device)
        probs = torch.softmax(logits.mul_(3), dim=-1)
        del logits
        positions = torch.arange(batch, device=device)
        plain = _best(partial(torch.multinomial, probs, 1), device)[0]
        for name, settings in SETTINGS.items():
            info = _info(batch, settings, device)
            seconds, megabytes = _best(partial(sample, probs, info, positions), device)
            costs.append(
                Cost(
                    settings=name,
                    batch=batch,
                    seconds=seconds,
                    megabytes=megabytes,
                    plain_seconds=plain,
                )
            )
    return costs


def _info(batch: int, settings: dict[str, float], device: str) -> Any:
    """SGLang's `SamplingBatchInfo`, as far as the sampler reads it."""
    import torch  # noqa: PLC0415 (comes with SGLang)

    top_k = int(settings.get("top_k", 1 << 30))
    return SimpleNamespace(
        sampling_seed=torch.arange(batch, device=device),
        max_top_k=top_k if "top_k" in settings else None,
        need_top_k_sampling="top_k" in settings,
        need_top_p_sampling="top_p" in settings,
        need_min_p_sampling=False,
        is_any_greedy=False,
        top_ks=torch.full((batch,), top_k, dtype=torch.int32, device=device),
        top_ps=torch.full((batch,), settings.get("top_p", 1.0), device=device),
        min_ps=torch.zeros(batch, device=device),
    )


def _best(draw: Any, device: str) -> tuple[float, float | None]:
    """Seconds and megabytes of one draw."""
    import torch  # noqa: PLC0415 (comes with SGLang)

    settle = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    draw()  # kernels and thread pools are made at the first one
    settle()
    before = _reset_peak(torch, device)
    seconds = []
    for _ in range(3):
        start = perf_counter()
        draw()
        settle()
        seconds.append(perf_counter() - start)
    after = _peak(torch, device)
    known = before is not None and after is not None
    return min(seconds), (after - before) / 1e6 if known else None  # type: ignore[operator]


_STATUS = Path("/proc/self/status")


def _reset_peak(torch: Any, device: str) -> float | None:
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        return float(torch.cuda.memory_allocated())
    if sys.platform != "linux":
        return None
    Path("/proc/self/clear_refs").write_text("5")  # the peak of what is resident
    return _status("VmRSS")


def _peak(torch: Any, device: str) -> float | None:
    if device.startswith("cuda"):
        return float(torch.cuda.max_memory_allocated())
    return _status("VmHWM") if sys.platform == "linux" else None


def _status(name: str) -> float:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(name))
    return float(line.split()[1]) * 1024


if __name__ == "__main__":
    width = int(sys.stdin.read() or VOCABULARY) if not sys.stdin.isatty() else VOCABULARY
    costs = measure("cuda" if has_cuda() else "cpu", vocabulary=width)
    print(json.dumps([cost.report() for cost in costs]))
