"""What can go wrong here, one flat class for each way (never an exception group)."""

from typing import Any


class SpexError(Exception):
    """Base of every error this package raises on purpose.

    Attributes:
        partial: Of an error that ended a search: the best so far, a
            [`Result`][spex_agents.speculation.Result]; None where no search had begun.
    """

    partial: Any = None


class SettingsError(SpexError, ValueError):
    """A setting is outside what is allowed; raised before any model is called."""


class PolicyError(SpexError):
    """A policy broke its contract: a path demanded twice, beyond its cap, or without a parent."""


class EngineError(SpexError):
    """An engine could not write or score a thought, after its retries.

    It may be the fault of this prompt alone: a search marks its path as failed, and goes on.
    """


class EngineUnavailable(EngineError):
    """No other prompt would fare better: the key is refused, the model unknown, the server away.

    It ends a search at once.
    """


UNAVAILABLE = frozenset({401, 402, 403, 404, 405, 407, 429})
"""HTTP statuses that a server gives whoever asks, whatever the prompt."""


class PromptTooLong(EngineError):
    """A prompt does not fit the context of an engine's model."""


class AnswerError(EngineError):
    """A function given as ``extract=`` or ``canonical=`` failed, or returned what it may not.

    As with any other fault of one path, a search marks the path as failed, and goes on.
    """


class RewardError(SpexError):
    """A reward failed, is not a number, or lies outside its range."""


class SessionClosed(SpexError):
    """A closed session was asked to launch or take a thought."""


def at_least_zero(**settings: float) -> None:
    """Check settings that may be nothing, and not less.

    Raises:
        SettingsError: One of them is below 0, or no number.
    """
    for name, value in settings.items():
        if not value >= 0:
            raise SettingsError(f"{name}={value!r}: must be at least 0")


def share_above_zero(**settings: float) -> None:
    """Check settings that are a share, and not nothing.

    Raises:
        SettingsError: One of them is 0 or below, above 1, or no number.
    """
    for name, value in settings.items():
        if not 0 < value <= 1:
            raise SettingsError(f"{name}={value!r}: must lie in (0, 1]")


def above_zero(**settings: float) -> None:
    """Check settings that must be something.

    Raises:
        SettingsError: One of them is 0 or below, or no number.
    """
    for name, value in settings.items():
        if not value > 0:
            raise SettingsError(f"{name}={value!r}: must be above 0")


def at_least_one(**settings: int) -> None:
    """Check settings that count something.

    Raises:
        SettingsError: One of them is below 1.
    """
    for name, value in settings.items():
        if value < 1:
            raise SettingsError(f"{name}={value!r}: must be a whole number of at least 1")


def one_of(name: str, value: str, *allowed: str) -> None:
    """Check a setting that is one of a few words.

    Raises:
        SettingsError: It is none of them.
    """
    if value not in allowed:
        raise SettingsError(f"{name}={value!r}: must be one of {', '.join(map(repr, allowed))}")


def instance_of(kind: type, *, or_none: bool = False, **settings: object) -> None:
    """Check settings that are objects of one class.

    Raises:
        SettingsError: One of them is something else, such as the class itself.

    Example:
        >>> instance_of(str, name=str)
        Traceback (most recent call last):
        spex_agents.errors.SettingsError: name=str: is a class, pass an instance of it
    """
    for name, value in settings.items():
        if isinstance(value, kind) or (or_none and value is None):
            continue
        if isinstance(value, type):
            raise SettingsError(f"{name}={value.__name__}: is a class, pass an instance of it")
        others = ", or None" if or_none else ""
        raise SettingsError(f"{name}={value!r}: must be an instance of {kind.__name__}{others}")
