"""Edits of files, as a model writes them: blocks of what to search for and what to put there."""

from __future__ import annotations

import re
from dataclasses import dataclass

from spex_agents.errors import SettingsError
from spex_agents.sandbox import Workspace

_BLOCK = re.compile(
    r"^([\w./-]+)\n(?:```\w*\n)?<{5,9} ?SEARCH\n(.*?)^={5,9}\n(.*?)(?:^>{5,9} ?REPLACE|\Z)",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A piece of a file, and what replaces it; nothing to search for is the whole of a new file."""

    path: str
    search: str
    replace: str

    def applied(self, text: str) -> str | None:
        """The text with the edit; None if what it searches for is not there once."""
        if not self.search:
            return None if text else self.replace
        if text.count(self.search) != 1:
            return None
        return text.replace(self.search, self.replace)


def edits_in(text: str) -> list[Edit]:
    r"""The edits in a model's reply; the last may lack its end.

    Example:
        >>> edits_in("a.py\n<<<<<<< SEARCH\nx = 1\n=======\nx = 2\n>>>>>>> REPLACE")
        [Edit(path='a.py', search='x = 1\n', replace='x = 2\n')]
    """
    return [
        Edit(path=path, search=search, replace=f"{replace}\n" if replace[-1:].strip() else replace)
        for path, search, replace in _BLOCK.findall(text)
    ]


def apply(edits: list[Edit], workspace: Workspace) -> bool:
    """Make the edits in a workspace, one after the other; whether all of them fit."""
    for edit in edits:
        try:
            text = workspace.read(edit.path).decode()
        except FileNotFoundError:
            text = ""
        except (SettingsError, UnicodeDecodeError):
            return False
        if (changed := edit.applied(text)) is None:
            return False
        try:
            workspace.write(edit.path, changed)
        except SettingsError:
            return False
    return True
