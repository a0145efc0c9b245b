"""Functions that users pass in: what is wrong with them is said before anything is called."""

from __future__ import annotations

import builtins
import dis
import inspect
from functools import partial
from typing import Any

from spex_agents.errors import SettingsError


def check_async(name: str, function: object, *arguments: str, returns: str) -> None:
    """Check that `function` is async and can be called with `arguments`, as far as it tells.

    A lambda may well call an async function. One that refers to nothing but its arguments and
    Python's built-in functions calls none.

    Raises:
        SettingsError: It is not, or cannot.

    Example:
        >>> check_async("reward", lambda question: 0.5, "question", "steps", returns="float")
        Traceback (most recent call last):
        ...
        spex_agents.errors.SettingsError: reward=<lambda>: must be an async function \
(question, steps) -> float, but takes (question)
    """
    wanted = f"must be an async function ({', '.join(arguments)}) -> {returns}"
    if isinstance(function, type):
        raise SettingsError(f"{name}={function.__name__}: {wanted}, but is a class")
    if not callable(function):
        raise SettingsError(f"{name}={function!r}: {wanted}")
    label = called(function)
    try:
        signature = inspect.signature(function)
    except ValueError:  # some that are written in C have none
        return
    try:
        signature.bind(*arguments)
    except TypeError:
        takes = ", ".join(map(str, signature.parameters.values()))
        raise SettingsError(f"{name}={label}: {wanted}, but takes ({takes})") from None
    code = _code_of(function)
    if inspect.isasyncgenfunction(code) or inspect.isgeneratorfunction(code):
        raise SettingsError(f"{name}={label}: {wanted}, but yields: return the value")
    plain = inspect.isfunction(code) or inspect.ismethod(code)
    if plain and not inspect.iscoroutinefunction(code) and not _may_await(code):
        raise SettingsError(
            f"{name}={label}: {wanted}, but is not async: write it as `async def` "
            "(asyncio.to_thread runs what blocks)"
        )


def called(function: Any) -> str:
    """What to call a function in reports."""
    while isinstance(function, partial):
        function = function.func
    return str(getattr(function, "__name__", type(function).__name__))


def _may_await(function: Any) -> bool:
    """Whether a plain function is a lambda that may pass on what an async one returns."""
    if function.__name__ != "<lambda>":
        return False
    code = function.__code__
    loaded = {one.argval for one in dis.get_instructions(code) if one.opname == "LOAD_GLOBAL"}
    nested = any(inspect.iscode(one) for one in code.co_consts)
    kept = code.co_freevars or function.__defaults__ or function.__kwdefaults__
    return bool(nested or kept or not loaded <= vars(builtins).keys())


def _code_of(function: Any) -> Any:
    """What runs when `function` is called: below partials and decorators, the first async one."""
    while isinstance(function, partial):
        function = function.func
    if not (inspect.isroutine(function) or inspect.iscoroutinefunction(function)):
        function = type(function).__call__
    return inspect.unwrap(function, stop=inspect.iscoroutinefunction)
