"""Special tokens in what is said: read as text, whatever the template makes of it."""

from __future__ import annotations

import re
from typing import Any

_ASIDE = re.compile("\ue000(\\d{1,9})\ue000")  # a private character: no text has it but by malice


def control_tokens(vocab: Any) -> re.Pattern[str]:
    """Finds what the tokenizer of `vocab` takes for special tokens."""
    special = {vocab.get_text(token) for token in range(vocab.n_vocab) if vocab.is_control(token)}
    longest_first = sorted(special - {""}, key=lambda text: (-len(text), text))
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")


class Aside:
    """The special tokens of one prompt's texts, put aside until it is tokenised.

    Args:
        control: Finds them.
    """

    def __init__(self, control: re.Pattern[str]) -> None:
        self._control = control
        self._texts: list[str] = []

    def put(self, text: str) -> str:
        """`text` with something in place of each of its special tokens."""
        return self._control.sub(self._put_one, text)

    def _put_one(self, found: re.Match[str]) -> str:
        self._texts.append(found[0])
        return f"\ue000{len(self._texts) - 1}\ue000"

    def tokens(self, vocab: Any, text: str, *, add_bos: bool) -> list[int]:
        """The tokens of `text`, in which they are text again."""
        first, *rest = _ASIDE.split(text)
        tokens = list(vocab.tokenize(first, add_bos, True))
        for index, after in zip(rest[::2], rest[1::2], strict=True):
            known = int(index) < len(self._texts)
            tokens += vocab.tokenize(self._texts[int(index)] if known else "", False, False)
            tokens += vocab.tokenize(after, False, True)
        return tokens
