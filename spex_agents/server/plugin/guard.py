"""Hooks that cannot take SGLang down: one that fails gives its features up, and SGLang goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

logger = logging.getLogger(__name__)


class Guard:
    """Runs hooks as long as a feature that needs them is on.

    A hook that raises loses its features for as long as the process lives: what went wrong once
    would go wrong at each step. SGLang's own errors pass through as they are.

    Args:
        features: Those that are on.

    Attributes:
        failures: Errors met inside hooks.
    """

    def __init__(self, features: set[str]) -> None:
        self.features = features
        self.failures = 0

    def around(self, gives: tuple[str, ...], hook: Callable[..., Any]) -> Callable[..., Any]:
        """`hook`, which is given the original and its arguments."""

        @wraps(hook)
        def run(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            if not self.features & set(gives):
                return original(*args, **kwargs)
            call = _Once(original)
            try:
                return hook(call, *args, **kwargs)
            except Exception as error:
                if call.error is not None:
                    raise call.error from None
                self._lose(gives, hook, error)
                return call.result if call.done else original(*args, **kwargs)

        return run

    def after(self, gives: tuple[str, ...], hook: Callable[..., Any]) -> Callable[..., Any]:
        """`hook`, which is given what the original returned, and its arguments."""

        @wraps(hook)
        def run(result: Any, *args: Any, **kwargs: Any) -> Any:
            if not self.features & set(gives):
                return result
            try:
                return hook(result, *args, **kwargs)
            except Exception as error:
                self._lose(gives, hook, error)
                return result

        return run

    def _lose(self, gives: tuple[str, ...], hook: Callable[..., Any], error: Exception) -> None:
        self.failures += 1
        lost = sorted(self.features & set(gives))
        self.features.difference_update(gives)
        logger.error(
            "SPEX: %s failed (%r); lost for this process: %s",
            hook.__name__, error, ", ".join(lost), exc_info=error,
        )  # fmt: skip


class _Once:
    """The original, called through its hook: what became of the call, and that it was one."""

    def __init__(self, original: Callable[..., Any]) -> None:
        self._original = original
        self.done = False
        self.result: Any = None
        self.error: Exception | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            self.result = self._original(*args, **kwargs)
        except Exception as error:
            self.error = error
            raise
        self.done = True
        return self.result
