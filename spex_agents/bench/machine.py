"""Where something is measured."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from spex_agents.server.cpu.device import devices, has_cuda


def machine() -> dict[str, Any]:
    """Where it was measured."""
    packages: dict[str, str | None] = {}
    for name in ("spex-agents", "sglang", "torch"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = None
    return {"gpus": _gpus(), "processor": platform.processor() or platform.machine(), **packages}


def _gpus() -> list[str]:
    if not has_cuda():
        return []
    import pynvml  # noqa: PLC0415 (comes with SGLang)

    pynvml.nvmlInit()
    try:
        return [
            str(pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(index)))
            for index in range(pynvml.nvmlDeviceGetCount())
        ]
    finally:
        pynvml.nvmlShutdown()


def two_gpus() -> bool:
    """Whether there are two."""
    return has_cuda() and len(devices()) > 1
