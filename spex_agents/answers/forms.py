"""The form of an answer: what it comes to, apart from how it is written."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Hashable
from typing import NamedTuple, TypeAlias

Algebra: TypeAlias = Callable[[str, str], str | None]
"""What a formula comes to: `kind` is "value", "equation" (left - right, up to a factor) or "order"
(left - right, up to a positive factor); None where sympy finds nothing."""

LONGEST = 300
"""Characters of a formula; what is longer is compared as text."""


class NeedsAlgebra(Exception):
    """The answer holds a formula that is more than a number."""


class Form(NamedTuple):
    """What an answer comes to.

    Attributes:
        value: Equal answers have equal values.
        note: What may be left unsaid: a unit, am or pm, the text of a choice.
        base: The same in another way of saying it, such as base units; "" for none.
        label: The name of the variable whose value it is, or "and", "or" between several; may be
            left unsaid, too.
        also: Bases that it may be meant as: a bare list a point, cents those of several currencies.
    """

    value: str
    note: str = ""
    base: str = ""
    label: str = ""
    also: tuple[str, ...] = ()

    @property
    def bare(self) -> bool:  # it leaves unsaid what others of its value may say
        return not self.note and not self.base and not self.label

    @property
    def name(self) -> Hashable:
        """What only those have in common that are the same in every company."""
        said = ("base", self.base) if self.base else (self.value, self.note)
        return (*said, self.label, self.also)


def joined(form: Form) -> str:
    """A form as a part of another one, where nothing may be left unsaid."""
    said = form.base or f"{form.value} {form.note}".strip()
    return f"{said} {form.label}" if form.label else said


_INITIALS = re.compile(r"\b(?:(?:[A-Z]\.\s?)+[A-Z]\b\.?|(?:[a-z]\.){2,}(?:[a-z]\b)?)")
_MOUNT = re.compile(r"\bmt\.?(?=\s\w)")
_ARTICLE = re.compile(r"(?:the|an?)\s+(?=\w{2})")


def text_form(text: str) -> Form:
    r"""What words come to: without regard to case, accents, hyphens, articles and full stops.

    Example:
        >>> text_form("The U.S.A.") == text_form("usa"), text_form(r"A \cup B").value
        (True, 'A\\cup B')
    """
    if "\\" in text:  # a formula that nobody reads: there case tells names apart
        folded = re.sub(r"\s*([^\w\s])\s*", r"\1", " ".join(text.split()))
    else:
        bare = _INITIALS.sub(lambda found: re.sub(r"\.\s?", "", found[0]), " ".join(text.split()))
        folded = unicodedata.normalize("NFKD", bare.casefold())
        folded = "".join(letter for letter in folded if not "\u0300" <= letter <= "\u036f")
        folded = _MOUNT.sub("mount", folded)
        folded = re.sub(r"(?<=\w\w)-(?=[^\W\d_]{2})", " ", folded).replace(" & ", " and ")
        folded = re.sub(r"\s+(?=%)", "", folded)
        folded = re.sub(r"\.(?=\s|$)", "", folded.strip(" \"'"))
        folded = _ARTICLE.sub("", folded, count=1) if _ARTICLE.match(folded) else folded
    if len(folded) > LONGEST:
        folded = "sha256 " + hashlib.sha256(folded.encode(errors="surrogatepass")).hexdigest()
    return Form(unicodedata.normalize("NFC", folded))
