"""What beam search and its diverse variant share: the sizes of their layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from spex_agents.errors import SettingsError, at_least_one
from spex_agents.search.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class BeamSizes(Policy):
    """Layers of `beams` thoughts, `width` of them below each thought that is kept.

    Attributes:
        beams: Thoughts in a layer.
        width: Children of a kept thought.

    Raises:
        SettingsError: `beams` or `width` is below 1, or `width` does not divide `beams`.
    """

    beams: int = 16
    width: int = 4

    def __post_init__(self) -> None:
        at_least_one(beams=self.beams)
        if self.width < 1 or self.beams % self.width:
            raise SettingsError(
                f"width={self.width!r}: must be at least 1 and divide beams={self.beams}"
            )

    @classmethod
    def sized(cls, width: int = 16) -> Self:
        """Layers of `width` thoughts, in which each kept one gets 4 children (3, 2, or all)."""
        share = next((share for share in (4, 3, 2) if width % share == 0), max(1, width))
        return cls(beams=width, width=share)
