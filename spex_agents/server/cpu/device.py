"""Where SGLang runs: on CUDA, or on a CPU, and what it needs there."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

STAND_IN = Path(__file__).parent / "kernel"
"""Put on PYTHONPATH, it replaces `sgl_kernel`, which loads only with the CUDA driver."""

CPU_ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {
        "SGLANG_USE_CPU_ENGINE": "1",
        # threads that spin while they wait starve those of the other server
        "OMP_WAIT_POLICY": "PASSIVE",
    }
)

CPU_FLAGS: Mapping[str, str | None] = MappingProxyType(
    {
        "--device": "cpu",
        "--dtype": "float32",  # without AMX, bfloat16 is slower
        "--max-total-tokens": "32768",
        "--disable-overlap-schedule": None,
        "--sleep-on-idle": None,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Of the device, in bytes."""

    total: int
    free: int


@cache
def has_cuda() -> bool:
    """Whether a CUDA device is there for this process; without importing torch."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return (
        driver.cuInit(0) == 0
        and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
        and count.value > 0
    )


def cpu_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` for SGLang on a CPU; what is set there wins, except for the stand-in."""
    path = [str(STAND_IN), environment.get("PYTHONPATH", "")]
    return {
        **CPU_ENVIRONMENT,
        **environment,
        "PYTHONPATH": os.pathsep.join(part for part in path if part),
    }


def devices() -> tuple[str, ...]:
    """The CUDA devices this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    if (named := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return tuple(part.strip() for part in named.split(",") if part.strip())
    import pynvml  # noqa: PLC0415 (comes with SGLang)

    pynvml.nvmlInit()
    try:
        return tuple(str(index) for index in range(pynvml.nvmlDeviceGetCount()))
    finally:
        pynvml.nvmlShutdown()


def device_memory(device: str | None = None) -> Memory:
    """Of a CUDA device (the first this process may use), or of the machine without one."""
    if not has_cuda():
        page = os.sysconf("SC_PAGE_SIZE")
        return Memory(total=page * os.sysconf("SC_PHYS_PAGES"), free=_available())
    import pynvml  # noqa: PLC0415 (comes with SGLang)

    pynvml.nvmlInit()
    try:
        found: Any = pynvml.nvmlDeviceGetMemoryInfo(_handle(pynvml, device))
        return Memory(total=int(found.total), free=int(found.free))
    finally:
        pynvml.nvmlShutdown()


def _handle(pynvml: Any, device: str | None) -> Any:
    first = device or os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip() or "0"
    if first.isdecimal():
        return pynvml.nvmlDeviceGetHandleByIndex(int(first))
    return pynvml.nvmlDeviceGetHandleByUUID(first)


def _available() -> int:
    """Memory that can be had without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
