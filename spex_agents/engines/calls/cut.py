"""Where a step ends in what a model wrote."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


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
