"""How long a decode step takes at each batch size, and where more requests stop being cheap."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class _Steps:
    count: int = 0
    seconds: float = 0.0
    """Mean of one step, the recent ones counting most."""


class StepTimes:
    """Mean seconds of a decode step by batch size, and the line through them.

    Example:
        >>> times = StepTimes()
        >>> for size in (1, 2, 4) * 8:
        ...     times.learn(size, 0.16 + 0.04 * size)
        >>> times.ridge()
        4
    """

    FIRST_GUESS = 8

    def __init__(self) -> None:
        self._steps: dict[int, _Steps] = {}

    def learn(self, size: int, seconds: float) -> None:
        steps = self._steps.setdefault(size, _Steps())
        if steps.count:
            seconds = min(seconds, 3 * steps.seconds)  # a hiccup is no measurement
        steps.count += 1
        steps.seconds += (seconds - steps.seconds) / min(steps.count, 16)

    def table(self) -> dict[int, tuple[int, float]]:
        """Steps and mean seconds of one, by batch size."""
        return {size: (steps.count, steps.seconds) for size, steps in sorted(self._steps.items())}

    def line(self) -> tuple[float, float] | None:
        """Seconds of a step: for itself, and for each request; None while too little is known."""
        points = [
            (size, steps.seconds, min(steps.count, 16))
            for size, steps in self._steps.items()
            if steps.count >= 4
        ]
        if len(points) < 2:
            return None
        weight = sum(w for _, _, w in points)
        x = sum(size * w for size, _, w in points) / weight
        y = sum(seconds * w for _, seconds, w in points) / weight
        spread = sum(w * (size - x) ** 2 for size, _, w in points)
        slope = sum(w * (size - x) * (seconds - y) for size, seconds, w in points) / spread
        slope = max(0.0, slope)
        return max(0.0, y - slope * x), slope

    def ridge(self) -> int:
        """The batch size at which a step's requests take as long as the step itself.

        On a roofline that is its ridge: below it, one request more costs little. Never more than
        twice the largest batch seen, because a line says little about what lies far beyond.
        """
        if (line := self.line()) is None:
            return self.FIRST_GUESS
        base, slope = line
        seen = max(self._steps)
        if base >= slope * 2 * seen:
            return max(self.FIRST_GUESS, 2 * seen)
        return max(1, round(base / slope))
