"""What a workspace and all its forks share: where their layers are, and how runs are kept apart."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spex_agents.sandbox.isolation import Isolation
from spex_agents.sandbox.laying import kind_is, walk
from spex_agents.sandbox.limits import SandboxLimits

LEFT_OUT = (".git", ".hg", ".venv", "node_modules", "__pycache__", ".pytest_cache", ".mypy_cache")
"""Directories that a workspace does not take in."""


@dataclass(kw_only=True)
class Store:
    """Layers, which are directories named by number, and what their runs have.

    Attributes:
        place: The directory that the layers are in.
        user: Who owns what is in them; None if whoever writes it does.
        overlay: Whether layers are laid over each other; else each workspace has one.
        limits: Of each run.
        packages: A virtual environment that runs have.
        isolation: What keeps runs apart.
        made: How many layers there have been.
    """

    place: Path
    user: int | None
    overlay: bool
    limits: SandboxLimits
    packages: Path | None
    isolation: Isolation
    made: int = 0

    def new(self) -> str:
        """The name of a layer that is to be made; not for other threads to ask."""
        self.made += 1
        return str(self.made)

    def own(self, path: Path) -> None:
        """Give a file or a directory to the user."""
        if self.user is not None:
            os.chown(path, self.user, self.user, follow_symlinks=False)

    def places(self, layers: Sequence[str]) -> list[Path]:
        """The directories of layers."""
        return [self.place / name for name in layers]

    def make(self, name: str) -> Path:
        """Make a layer with nothing in it."""
        place = self.place / name
        place.mkdir()
        self.own(place)
        return place

    def take(self, name: str, directory: Path) -> None:
        """Make a layer with a copy of a directory's files, but what `LEFT_OUT` names."""
        place = self.place / name
        ignore = shutil.ignore_patterns(*LEFT_OUT)
        shutil.copytree(directory, place, symlinks=True, ignore=ignore)
        place.chmod(0o755)
        for top, folders, files in os.walk(place):
            for path in (top, *(os.path.join(top, one) for one in (*folders, *files))):
                self.own(Path(path))

    def merge(self, name: str, layers: Sequence[str]) -> None:
        """Make a layer with the files that others make."""
        target = self.make(name)
        for path, found in walk(self.places(layers)):
            to = target / path
            if kind_is(found, stat.S_ISDIR):
                to.mkdir()
                shutil.copystat(found, to)
            elif kind_is(found, stat.S_ISLNK) or kind_is(found, stat.S_ISREG):
                shutil.copy2(found, to, follow_symlinks=False)
            self.own(to)

    def size(self, layers: Sequence[str]) -> int:
        """The bytes that the files take which layers make."""
        return sum(found.lstat().st_blocks * 512 for _, found in walk(self.places(layers)))
