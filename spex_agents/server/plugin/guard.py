"""Hooks that cannot take SGLang down: one that fails gives its features up, and SGLang goes on.

Processes that schedule in step, the ranks of a group, give a feature up together and at the same
step: else they would batch different requests, and wait for each other forever. So a hook that
decides what SGLang does, `together`, first decides without changing anything of SGLang's, then
hears from the others whether a hook of theirs has failed, and only then acts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any, TypeAlias

from spex_agents.server.plugin.expectations import FEATURES

logger = logging.getLogger(__name__)

Exchange: TypeAlias = Callable[[list[int]], list[int]]
"""Gives the largest that any rank gave, number by number."""

FAILED, CHANGED = 1, 2
"""A hook failed: before it changed anything of SGLang's, or while it did."""


class RanksDifferError(RuntimeError):
    """A hook failed on some ranks while it changed what SGLang schedules.

    Nothing can bring them together again. It ends the server, which is restarted.
    """


class Guard:
    """Runs hooks as long as a feature that needs them is on.

    A hook that raises loses its features for as long as the process lives: what went wrong once
    would go wrong at each step. SGLang's own errors pass through as they are.

    Args:
        features: Those that are on: with several ranks, on all of them.
        connect: Called once, at the first hook: how the ranks exchange numbers; None for one rank.

    Attributes:
        failures: Errors met inside hooks.
        exchanges: How often the ranks have told each other.
    """

    def __init__(
        self, features: set[str], connect: Callable[[], Exchange | None] = lambda: None
    ) -> None:
        self.features = features
        self.failures = 0
        self.exchanges = 0
        self._faults: dict[str, int] = {}
        self._connect = connect
        self._connected: tuple[Exchange | None] | None = None

    def around(
        self,
        gives: tuple[str, ...],
        hook: Callable[..., Any],
        *,
        together: bool = False,
        without: Callable[..., Any] | None = None,
    ) -> Callable[..., Any]:
        """`hook`, which is given the original and its arguments.

        Args:
            gives: The features that need it.
            hook: May call ``original.settle()`` when it has decided and has changed nothing yet;
                otherwise the call of the original does.
            together: Whether all ranks call it at the same step, and must do the same in it.
            without: Runs in its place once the features are lost; by default the original alone.
        """

        @wraps(hook)
        def run(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            settle = self.settle if together else _nothing
            call = _Once(original, settle, lost=lambda: not self._works(gives))
            try:
                found = hook(call, *args, **kwargs) if self._works(gives) else None
                call.settle()
                return found
            except RanksDifferError:
                raise
            except _LostError:
                pass
            except Exception as error:
                if call.error is not None:
                    raise call.error from None
                self._fail(gives, hook, error, CHANGED if together and call.settled else FAILED)
                with suppress(_LostError):
                    call.settle()
            if call.done:
                return call.result
            return (without or _alone)(original, *args, **kwargs)

        return run

    def after(
        self, gives: tuple[str, ...], hook: Callable[..., Any], *, together: bool = False
    ) -> Callable[..., Any]:
        """`hook`, which is given what the original returned, and its arguments; it changes nothing.

        Args:
            gives: The features that need it.
            hook: Returns what is returned instead.
            together: Whether all ranks call it at the same step, and must return the same.
        """

        @wraps(hook)
        def run(result: Any, *args: Any, **kwargs: Any) -> Any:
            found = result
            try:
                if self._works(gives):
                    found = hook(result, *args, **kwargs)
            except Exception as error:
                self._fail(gives, hook, error, FAILED)
            if together:
                self.settle()
            return found if self._works(gives) else result

        return run

    def settle(self) -> None:
        """Hear what failed on any rank since the last time; all of them call it at the same step.

        Raises:
            RanksDifferError: They cannot go on in step.
        """
        exchange = self._exchange()
        if exchange is None or not self.features:
            return
        ours = [self._faults.get(feature, 0) for feature in FEATURES]
        told = exchange([*ours, *(-fault for fault in ours)])
        self.exchanges += 1
        worst = dict(zip(FEATURES, told, strict=False))
        least = {feature: -told[len(FEATURES) + i] for i, feature in enumerate(FEATURES)}
        differ = [each for each in FEATURES if worst[each] == CHANGED > least[each]]
        if differ:
            raise RanksDifferError(
                f"SPEX: a hook failed on some ranks and not on others ({', '.join(differ)})"
            )
        self._faults.clear()
        self._lose({feature for feature in FEATURES if worst[feature]})

    def _works(self, gives: tuple[str, ...]) -> bool:
        return bool((self.features - self._faults.keys()) & set(gives))

    def _exchange(self) -> Exchange | None:
        if self._connected is None:
            self._connected = (self._connect(),)
        return self._connected[0]

    def _fail(
        self, gives: tuple[str, ...], hook: Callable[..., Any], error: Exception, fault: int
    ) -> None:
        self.failures += 1
        logger.error("SPEX: %s failed (%r)", hook.__name__, error, exc_info=error)
        for feature in self.features & set(gives):
            self._faults[feature] = max(fault, self._faults.get(feature, 0))
        if self._exchange() is None:
            self._lose(set(self._faults))
            self._faults.clear()

    def _lose(self, features: set[str]) -> None:
        if lost := sorted(self.features & features):
            self.features.difference_update(lost)
            where = "for this process"
            if self._exchange() is not None:
                where = f"on all ranks, at exchange {self.exchanges}"
            logger.error("SPEX: lost %s: %s", where, ", ".join(lost))


class _LostError(Exception):
    """What the hook has decided is not to be done."""


class _Once:
    """The original, called through its hook: what became of the call, and that it was one.

    Args:
        original: Of SGLang.
        settle: Called once, before the first call or before the hook's own changes.
        lost: Whether the hook's features are lost after that.
    """

    def __init__(
        self, original: Callable[..., Any], settle: Callable[[], None], lost: Callable[[], bool]
    ) -> None:
        self._original = original
        self._settle = settle
        self._lost = lost
        self.settled = False
        self.done = False
        self.result: Any = None
        self.error: Exception | None = None

    def settle(self) -> None:
        """Go on only if no rank has lost what the hook is for."""
        if not self.settled:
            self.settled = True
            self._settle()
            if self._lost():
                raise _LostError

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.settle()
        try:
            self.result = self._original(*args, **kwargs)
        except Exception as error:
            self.error = error
            raise
        self.done = True
        return self.result


def _nothing() -> None:
    pass


def _alone(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return original(*args, **kwargs)
