"""Where a step ends in what a model wrote."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

REPEATED: Final = 16
"""Characters: shorter beginnings may be alike by chance, as those of lists of numbers."""


def cut(text: str, stop: Sequence[str]) -> tuple[str, bool]:
    r"""The text before the first step delimiter, and whether there was one.

    Example:
        >>> cut("2 + 2 = 4.\nSo", ("\n",))
        ('2 + 2 = 4.', True)
    """
    found = [at for delimiter in stop if (at := text.find(delimiter)) >= 0]
    return (text[: min(found)], True) if found else (text, False)


def without_lead(text: str, stop: Sequence[str]) -> str:
    r"""The text without step delimiters, and parts of them, at its beginning.

    A server may take the partial reply's last line end away, which the model then writes anew.

    Example:
        >>> without_lead("\n\n2 + 2 = 4.\n", ("\n\n",))
        '2 + 2 = 4.\n'
    """
    while lead := next((one for one in (*stop, "\n") if stop and text.startswith(one)), ""):
        text = text.removeprefix(lead)
    return text


def repeated(text: str, begun: str, stop: Sequence[str]) -> tuple[int, bool]:
    r"""Where what `text` repeats of the steps of `begun` ends, and whether that may go on.

    It repeats them if it begins with the same steps, whole ones, of `REPEATED` characters at least.
    Where it goes another way then, what is in `begun` all the same is a repeat, too.

    Example:
        >>> begun, stop = "We add 5 and 7 first.\nThat is 12.\n", ("\n",)
        >>> at, goes_on = repeated(begun + "Answer: 12", begun, stop)
        >>> (begun + "Answer: 12")[at:], goes_on
        ('Answer: 12', False)
        >>> repeated("We add 5", begun, stop), repeated("Answer: 12", begun, stop)
        ((0, True), (0, False))
    """
    if not stop or not begun:
        return 0, False
    marks = re.compile("|".join(map(re.escape, sorted(stop, key=len, reverse=True))))
    steps = [step for part in marks.split(begun) if (step := part.strip())]
    end = size = met = 0
    while True:
        expected = steps[met : met + 1]
        if expected and size >= REPEATED:
            expected = steps
        at = len(text) - len(text[end:].lstrip())
        mark = marks.search(text, at)
        said = text[at : mark.start() if mark else None].rstrip()
        if mark is None or said not in expected:
            goes_on = mark is None and any(step.startswith(said) for step in expected)
            if said in expected:  # to the end, so far
                end, size = len(text), size + len(said)
            return end if size >= REPEATED else 0, goes_on
        met += said in steps[met : met + 1]
        end, size = mark.end(), size + len(said)


def estimated_tokens(text: str) -> int:
    """About how many tokens a text has, where nobody counts them: one for four characters."""
    return -(-len(text) // 4)


def tokens_of_step(tokens: Iterable[str], stop: Sequence[str]) -> int:
    r"""How many tokens the step took, the one that completes its delimiter included.

    Example:
        >>> tokens_of_step(["4", ".", "\n", "So"], ("\n",))
        3
    """
    written, number = "", 0
    for token in tokens:
        written += token
        number += 1
        if any(delimiter in written for delimiter in stop):
            break
    return number
