"""When two answers are the same."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor, Future
from functools import lru_cache
from typing import Any, TypeAlias

from spex_agents.answers import symbolic
from spex_agents.answers.classes import classes, same
from spex_agents.answers.forms import Form, NeedsAlgebra
from spex_agents.answers.reader import read

Canonical: TypeAlias = Callable[[str], str]
"""Brings an answer to a form in which equal answers are equal strings."""


def equivalent(a: str, b: str) -> bool:
    r"""Whether two answers are the same, however they are written.

    Numbers are compared exactly, in whatever notation; formulas by their values, through sympy, in
    a process that can be killed; lists and sets without regard to order, tuples and intervals with
    it; words without regard to case. What is left unsaid in one of them does not count: a unit, am
    or pm, the name of a variable, the text of a choice. So "5 cm" is "5" and 5 is "x = 5", but 10
    minutes are not 10 hours, and "10 am" is not "10 pm".

    Blocks, some milliseconds as a rule, a second at first use and seconds at most: call it off the
    event loop, or use `same_as`. Forms are remembered.

    Example:
        >>> equivalent("0.50", r"\frac{1}{2}"), equivalent("1, 2", "12"), equivalent("5 cm", "5")
        (True, False, True)
    """
    return same(form(a), form(b))


async def same_as(given: str, known: Sequence[str]) -> tuple[bool, ...]:
    """Which of `known` are equivalent to `given`; blocks nobody.

    Example:
        >>> asyncio.run(same_as("6/8", ["0.75", "3/4", "x"]))
        (True, True, False)
    """
    mine, *others = await asyncio.gather(*map(formed, [given, *known]))
    return tuple(same(mine, other) for other in others)


def form(answer: str) -> Form:
    """What an answer comes to; blocks."""
    return forming(answer).result()


async def formed(answer: str) -> Form:
    """What an answer comes to; blocks nobody."""
    future = forming(answer)
    if future.done():
        return future.result()
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_Waiting(future), future.result)


class _Waiting(Executor):
    """Waits for a future without a thread; a loop without I/O calls its `result` itself."""

    def __init__(self, future: Future[Form]) -> None:
        self._future = future

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self._future


@lru_cache(maxsize=8192)
def forming(answer: str) -> Future[Form]:
    """Begin to find out what an answer comes to: of numbers and words it is known at once."""
    found: Future[Form] = Future()
    found.set_running_or_notify_cancel()  # whoever waits may be cancelled: nobody else's form is
    try:
        found.set_result(read(answer))
    except NeedsAlgebra:

        def ended(asked: Future[Form | None]) -> None:
            try:
                found.set_result(asked.result() or read(answer, _no_algebra))
            except BaseException as error:  # or who waits would wait for ever
                found.set_exception(error)
                raise

        symbolic.read(answer).add_done_callback(ended)
    return found


# In a forked child nobody would end what is under way.
os.register_at_fork(after_in_child=forming.cache_clear)


def _no_algebra(kind: str, formula: str) -> None:
    return None


def plain_form(answer: str) -> Form | None:
    """The form of a number, a word or a text; None where sympy is needed. Takes microseconds."""
    try:
        return read(answer)
    except NeedsAlgebra:
        return None


def canonical(answer: str) -> str:
    """A text that is the same for answers of the same value, and the same unit; blocks.

    Example:
        >>> canonical("0.50"), canonical("5.0 cm")
        ('1/2', '5 cm')
    """
    found = form(answer)
    return " ".join(filter(None, (found.value, found.note, found.label)))


def written(answers: Sequence[str], forms: Sequence[Form]) -> list[str]:
    r"""For each answer, the plainest way in which somebody has written the same one.

    Answers that are the same get the same text, so that they can be counted by it. An answer
    without a unit (or whatever else may be left unsaid) goes with those that have one if all of
    its value have the same; between several it stays by itself. The text then says the unit, for
    10 minutes are the same as 600 seconds and not as 600. The order of the answers does not matter.

    Args:
        answers: As they were found.
        forms: What they come to.

    Example:
        >>> answers = ["0.5", r"\frac{1}{2}", "2", "2 cm"]
        >>> written(answers, [form(answer) for answer in answers])
        ['0.5', '0.5', '2 cm', '2 cm']
    """
    names = classes(forms)
    plainest: dict[Hashable, str] = {}
    found = zip(answers, forms, names, strict=True)
    for answer, _, name in sorted(found, key=_plainness):
        plainest.setdefault(name, answer)
    return [plainest[name] for name in names]


def _plainness(found: tuple[str, Form, Hashable]) -> tuple[bool, int, str]:
    answer, one, _ = found
    return not one.base, len(answer), answer


async def counted(answers: Sequence[str], by: Canonical | None = None) -> list[str]:
    r"""For each answer the text under which it is counted, see `written`; blocks nobody.

    Args:
        answers: As they were found.
        by: Brings answers to a form of your own, called in a thread; None or `canonical` to count
            what is `equivalent` together.

    Example:
        >>> asyncio.run(counted(["0.5", "Paris", r"\frac{1}{2}", "paris."]))
        ['0.5', 'Paris', '0.5', 'Paris']
    """
    if by is None or by is canonical:
        return written(answers, await asyncio.gather(*map(formed, answers)))
    forms = await asyncio.to_thread(lambda: [Form(by(answer)) for answer in answers])
    return written(answers, forms)
