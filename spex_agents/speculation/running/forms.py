"""What a path answers, by functions of the user's: what these raise is the fault of a path."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from spex_agents.answers.equivalence import Canonical, canonical, formed, forming
from spex_agents.answers.extract import Extract, found_in
from spex_agents.answers.forms import Form
from spex_agents.errors import AnswerError, SpexError


def found(extract: Extract, text: str, *, cut: bool, ended: bool = True) -> str | None:
    """What `extract` finds in a path's text.

    Raises:
        AnswerError: It failed, or found what is no text.
    """
    with _failing("extract", extract, text):
        answer = found_in(extract, text, cut=cut, ended=ended)
    return None if answer is None else _text(answer, "extract", extract, "a string or None")


class Forms:
    """What answers come to, each found once.

    Args:
        by: Brings an answer to the form in which it is counted.
    """

    def __init__(self, by: Canonical) -> None:
        self._by = by
        self._known: dict[str, Form] = {}

    async def begin(self, answer: str) -> None:
        """Begin what `answer` comes to, so that no decision waits for it.

        Raises:
            AnswerError: It cannot be counted.
        """
        if self._by is canonical:
            forming(answer)
        else:
            await self.of(answer)

    async def of(self, answer: str) -> Form:
        """What `answer` comes to.

        Raises:
            AnswerError: It cannot be counted.
        """
        if self._by is canonical:
            return await formed(answer)
        if answer not in self._known:
            with _failing("canonical", self._by, answer):
                form = await asyncio.to_thread(self._by, answer)
            self._known[answer] = Form(_text(form, "canonical", self._by, "a string"))
        return self._known[answer]


@contextmanager
def _failing(setting: str, function: Callable[..., object], text: str) -> Iterator[None]:
    """Name the function of the user's in whatever it raises."""
    try:
        yield
    except SpexError:
        raise
    except Exception as error:
        raise AnswerError(
            f"{setting}={_name(function)} failed on {text[-80:]!r}: {error!r}"
        ) from error


def _text(value: Any, setting: str, function: Callable[..., object], allowed: str) -> str:
    if not isinstance(value, str):
        raise AnswerError(f"{setting}={_name(function)} returned {value!r}: must return {allowed}")
    return value


def _name(function: Callable[..., object]) -> str:
    return getattr(function, "__qualname__", None) or repr(function)
