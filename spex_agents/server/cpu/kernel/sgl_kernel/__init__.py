"""Stands in for `sgl_kernel` where there is no CUDA: every name can be imported, none be called.

The package itself does not load without the CUDA driver, though a CPU without AMX calls nothing
of it: SGLang falls back to plain torch. It has no submodules, for which SGLang has its own
fallbacks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn


def __getattr__(name: str) -> Callable[..., NoReturn]:
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def missing(*_: object, **__: object) -> NoReturn:
        raise NotImplementedError(f"sgl_kernel.{name} needs CUDA, and this server runs on a CPU")

    return missing
