"""How a GPU's memory is divided between the servers on it, by what their models weigh."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

from spex_agents.errors import SettingsError
from spex_agents.server.cpu.device import Memory, has_cuda
from spex_agents.server.launch.settings import ROOM, Serving

ASKED_WITHIN = 5.0
"""Seconds the model hub has to tell the size of a model."""

_PARALLEL = (
    ("--tp", "--tp-size", "--tensor-parallel-size"),
    ("--pp", "--pp-size", "--pipeline-parallel-size"),
)


def shares(serving: Serving, total: int) -> tuple[float | None, float | None]:
    """The shares of the first GPU's memory for policy and reward, weights and cache.

    Both get what their weights take; what is left for caches goes by the same proportion, but a
    fifth of it at least to each.

    Args:
        serving: What to serve.
        total: Bytes of the GPU; 0 where there is none.

    Returns:
        None for a model that has the GPU alone, where nothing else was asked for: SGLang's own
        choice is better then.

    Raises:
        SettingsError: The weights leave no room for a cache.
    """
    if serving.policy is None or serving.reward is None:
        return serving.memory, serving.memory
    static = 1 - 2 * ROOM if serving.memory is None else serving.memory
    if serving.reward_memory is not None:
        return static - serving.reward_memory, serving.reward_memory
    sizes = (
        weight_bytes(serving.policy) / parallel(serving.flags),
        weight_bytes(serving.reward) / parallel(serving.reward_flags),
    )
    if not total or not all(sizes):
        return static / 2, static / 2
    rest = static * total - sum(sizes)
    if rest <= 0:
        raise SettingsError(
            f"the weights of {serving.policy!r} and {serving.reward!r} take "
            f"{sum(sizes) / 2**30:.1f} GiB of a GPU, and {static * total / 2**30:.1f} are for "
            "weights and caches: take smaller models, or spread them by --tp"
        )
    part = min(max(sizes[1] / sum(sizes), 0.2), 0.8)
    reward = (sizes[1] + rest * part) / total
    return static - reward, reward


def static_fraction(share: float | None, memory: Memory) -> float | None:
    """``--mem-fraction-static``, which SGLang counts from what is free when it starts.

    Args:
        share: Of all memory; None for all but the room that a server needs.
        memory: Of the device, now.

    Returns:
        None where SGLang chooses better: it has the device alone, and nothing else was asked for.

    Raises:
        SettingsError: Less than the share is free.

    Example:
        >>> static_fraction(0.4, Memory(total=80, free=64))
        0.5
    """
    if share is None:
        if memory.free > 0.95 * memory.total:
            return None
        share = memory.free / memory.total - ROOM
    needed = share * memory.total
    if not 0 < needed <= 0.97 * memory.free:
        raise SettingsError(
            f"{max(needed, 0) / 2**30:.1f} GiB of the device's memory are wanted and "
            f"{memory.free / 2**30:.1f} are free: lower --memory, or stop what holds the rest"
        )
    return round(needed / memory.free, 3)


@cache
def weight_bytes(model: str) -> int:
    """Of a model's directory, or of one on the model hub; 0 where nobody tells."""
    directory = Path(model).expanduser()
    if directory.is_dir():
        files = [*directory.glob("*.safetensors")] or [*directory.glob("*.bin")]
        return sum(file.stat().st_size for file in files)
    if find_spec("huggingface_hub") is None:
        return 0
    from huggingface_hub import HfApi  # noqa: PLC0415 (seconds)

    try:
        found = HfApi().model_info(model, files_metadata=True, timeout=ASKED_WITHIN)
    except Exception:  # offline, unknown, gated: it is only a size
        return 0
    sizes = {each.rfilename: each.size or 0 for each in found.siblings or []}
    for ending in (".safetensors", ".bin"):
        if weights := [size for name, size in sizes.items() if _is_weights(name, ending)]:
            return sum(weights)
    return 0


def _is_weights(name: str, ending: str) -> bool:
    """Whether SGLang would load it: at the top, and not the same weights once more."""
    return name.endswith(ending) and "/" not in name and not name.startswith("consolidated")


def parallel(flags: Sequence[str]) -> int:
    """Over how many GPUs SGLang's flags spread the weights.

    Example:
        >>> parallel(["--tp", "2", "--pp-size=2"])
        4
    """
    words = [part for flag in flags for part in flag.split("=", 1)]
    product = 1
    for names in _PARALLEL:
        for flag, value in pairwise(words):
            if flag in names and value.isdecimal():
                product *= max(1, int(value))
    return product


def takes_turns(policy: str | None, reward: str | None) -> bool:
    """Whether the servers of two models share a GPU that runs one process at a time."""
    if policy is None or reward is None or not has_cuda():
        return False
    pipe = os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps")  # noqa: S108 (NVIDIA's)
    return not Path(pipe, "control").exists()


MPS = "start NVIDIA's MPS (nvidia-cuda-mps-control -d), so that both compute at the same time"
"""What helps where two servers take turns."""
