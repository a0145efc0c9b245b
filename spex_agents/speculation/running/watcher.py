"""Who hears what becomes known in a search."""

from __future__ import annotations

from typing import Protocol

from spex_agents.search.tree import Path, Thought


class Watcher(Protocol):
    """Hears of thoughts and rewards as they arrive, demanded or not."""

    def written(self, path: Path, thought: Thought) -> None: ...

    def judged(self, path: Path) -> None:
        """The reward of `path` is known."""
        ...

    def demanded(self) -> None:
        """What the last decision asks for is under way."""
        ...

    def changed(self) -> None:
        """All of this event has been told; or something has failed, or been decided."""
        ...


class Nobody:
    """Where nobody runs ahead."""

    def written(self, path: Path, thought: Thought) -> None: ...

    def judged(self, path: Path) -> None: ...

    def demanded(self) -> None: ...

    def changed(self) -> None: ...
