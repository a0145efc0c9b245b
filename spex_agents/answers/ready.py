"""Ready ways to find an answer, for ``extract=``: other markers than `extract_answer` looks for."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from spex_agents.answers.extract import Extract, extract_answer, found_in
from spex_agents.answers.markers import boxes, keys
from spex_agents.answers.reasoning import without_reasoning

_NUMBER = re.compile(r"(?<![\w.])[-+−]?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)")
_CHOICE = re.compile(
    r"\(([A-J])\)|(?<![\w'’])([A-J])(?=[.):](?:\s|$))|(?:^|:)[ \t*]*([A-J])[*.]*[ \t]*$",
    re.MULTILINE,
)
_LETTER = re.compile(r"[^A-Za-z]*(?:\\\w+\{)*\(?([A-Ja-j])(?![A-Za-z])")
_BLOCK = re.compile(
    r"^```[ \t]*(?:python3?|py)?[ \t]*\n(.*?)^```", re.MULTILINE | re.DOTALL | re.IGNORECASE
)


def whole_text(text: str) -> str | None:
    """The whole text is the answer.

    Example:
        >>> whole_text("  Paris  ")
        'Paris'
    """
    return without_reasoning(text).strip() or None


def last_line(text: str, *, cut: bool = False) -> str | None:
    r"""The last line that is not blank; of a text that was cut off, the last whole one.

    Example:
        >>> last_line("3 + 4 = 7\n7 apples\n"), last_line("3 + 4 = 7\n7 app", cut=True)
        ('7 apples', '3 + 4 = 7')
    """
    lines = without_reasoning(text).split("\n")
    lines = [line.strip() for line in (lines[:-1] if cut else lines)]
    return next((line for line in reversed(lines) if line), None)


def last_number(text: str, *, cut: bool = False) -> str | None:
    """The last number; of a text that was cut off, the last one whose end is seen.

    Example:
        >>> last_number("3 apples at $1,250.50 each."), last_number("3 apples at $1,25", cut=True)
        ('1,250.50', '3')
    """
    text = without_reasoning(text)
    if cut:
        text = text.rstrip("0123456789.,")
    found = _NUMBER.findall(text)
    return found[-1] if found else None


def boxed(text: str) -> str | None:
    r"""What is in the last ``\boxed{}`` that is closed and not empty.

    Example:
        >>> boxed(r"The answer is 3, \boxed{4}, and \boxed{")
        '4'
    """
    found = max(boxes(without_reasoning(text)), key=lambda one: one.start, default=None)
    return None if found is None else found.answer


def choice_letter(text: str, *, cut: bool = False) -> str | None:
    """The letter of a choice from A to J: of the answer, or the last one that stands alone.

    Example:
        >>> choice_letter("The answer is (B) Paris."), choice_letter("It is Paris: C")
        ('B', 'C')
    """
    answer = extract_answer(text, cut=cut)
    if answer is not None and (letter := _LETTER.match(answer)):
        return letter[1].upper()
    found = [a or b or c for a, b, c in _CHOICE.findall(without_reasoning(text))]
    return found[-1] if found else None


def python_block(text: str) -> str | None:
    r"""The last complete block of Python.

    Example:
        >>> python_block("```python\nprint(1)\n```")
        'print(1)\n'
    """
    blocks = _BLOCK.findall(text)
    return blocks[-1] if blocks else None


def json_key(name: str) -> Extract:
    """The last value of a key of a JSON object, wherever in the text the object stands.

    Example:
        >>> json_key("total")('So: {"items": 2, "total": 42}')
        '42'
    """

    def extract(text: str) -> str | None:
        found = list(keys(without_reasoning(text), {name.casefold()}))
        return found[-1].answer if found else None

    return extract


@dataclass(frozen=True)
class at_end:  # noqa: N801 (reads as a function)
    """What `extract` finds, but only once the path has ended for another reason.

    So a number in the middle of a path does not end it.

    Example:
        >>> rule = at_end(last_number)
        >>> rule("3 + 4 = 7"), rule("3 + 4 = 7", ended=False)
        ('7', None)
    """

    extract: Extract

    def __call__(self, text: str, *, cut: bool = False, ended: bool = True) -> str | None:
        return found_in(self.extract, text, cut=cut) if ended else None


def either(*extracts: Extract) -> Callable[..., str | None]:
    r"""What the first of `extracts` finds that finds anything.

    Example:
        >>> rule = either(boxed, at_end(last_number))  # as search-and-learn counts answers
        >>> rule(r"\boxed{4} of 5"), rule("4 of 5"), rule("4 of 5", ended=False)
        ('4', '5', None)
    """

    def extract(text: str, *, cut: bool = False, ended: bool = True) -> str | None:
        found = (found_in(each, text, cut=cut, ended=ended) for each in extracts)
        return next((answer for answer in found if answer is not None), None)

    return extract
