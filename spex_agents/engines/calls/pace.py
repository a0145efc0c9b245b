"""How fast a provider lets requests come: one pace for all of an engine's."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import anyio

from spex_agents.engines.base import Request
from spex_agents.engines.calls.retries import spread_of
from spex_agents.errors import above_zero

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.2
"""How often a request that waits looks whether it has become a demanded one."""

KEPT = 0.5
"""Share of what a provider allows in a minute that is kept for demanded requests."""

_EPOCH = 1e9
_SPAN = r"((?:[\d.]+\s*(?:ms|s|m|h)(?![a-z])\s*)+)"
_AGAIN = re.compile(rf"(?:try again in|retry in|retryDelay\W+)\s*{_SPAN}", re.IGNORECASE)
"""How OpenAI and Gemini tell when to come again, where no header does."""

_PARTS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


@dataclass(slots=True)
class Bucket:
    """What may still be spent: it fills up all the time, to what a minute allows.

    Attributes:
        limit: What it holds when full.
        level: What it held when it was looked at.
        rate: What flows in, a second.
        seen: When it was looked at.
    """

    limit: float
    level: float
    rate: float
    seen: float

    def look(self, now: float) -> None:
        """Let flow in what has come since."""
        self.level = min(self.limit, self.level + (now - self.seen) * self.rate)
        self.seen = now

    def wait(self, cost: float, kept: float) -> float:
        """Seconds until `cost` can be taken with the share `kept` still left in."""
        needed = min(cost + kept * self.limit, self.limit)
        return max(0.0, (needed - self.level) / self.rate)


class Pace:
    """Says when one more request may be sent.

    Args:
        requests: That the provider allows in a minute; None for what its answers tell.
        tokens: Likewise, of prompts and replies together.

    Raises:
        SettingsError: One of them is not above 0.
    """

    def __init__(self, requests: float | None = None, tokens: float | None = None) -> None:
        given = {"requests_per_minute": requests, "tokens_per_minute": tokens}
        above_zero(**{name: value for name, value in given.items() if value is not None})
        self._given = {"requests": requests, "tokens": tokens}
        self._buckets: dict[str, Bucket] = {}
        self._until = self._spread = 0.0

    def per_minute(self, kind: str) -> float | None:
        """Requests or tokens that are allowed in a minute, as far as is known."""
        if (given := self._given[kind]) is not None:
            return given
        return self._buckets[kind].rate * 60 if kind in self._buckets else None

    async def turn(self, request: Request | None, tokens: int) -> None:
        """Wait until `request`, of about so many tokens, may be sent; demanded ones go first."""
        while (wait := self._wait(request, tokens)) > 0:  # noqa: ASYNC110 (time alone tells)
            await anyio.sleep(min(wait, LOOK_SECONDS))

    def pause(self, seconds: float, who: str) -> None:
        """Let nobody send for a while, and then not all at once; the first time, say so."""
        level = logging.INFO if self._until else logging.WARNING
        logger.log(level, "%s limits its callers: all of its calls wait %.3g s", who, seconds)
        now = anyio.current_time()
        if now + seconds > self._until:
            self._until, self._spread = now + seconds, min(1.0, seconds / 4)

    @property
    def paused(self) -> bool:
        return anyio.current_time() < self._until

    def hear(self, headers: Mapping[str, str]) -> None:
        """Learn what the provider allows from the headers of an answer."""
        for kind, given in self._given.items():
            told = _told(headers, kind)
            if given is not None or told is None:
                continue
            limit, left, reset = told
            rate = (limit - left) / reset if reset > 0 and left < limit else limit / 60
            self._buckets[kind] = Bucket(limit, left, rate, anyio.current_time())

    def _wait(self, request: Request | None, tokens: int) -> float:
        """Seconds to wait; without any, what the request costs is taken."""
        now = anyio.current_time()
        if self._until:
            behind = spread_of(request.id) if request else 0.0
            if (wait := self._until + behind * self._spread - now) > 0:
                return wait
        if request is None:
            return 0.0
        due = []
        for kind, cost in (("requests", 1), ("tokens", tokens)):
            given = self._given[kind]
            if given is not None and kind not in self._buckets:
                self._buckets[kind] = Bucket(given, given, given / 60, now)
            if (bucket := self._buckets.get(kind)) is not None:
                bucket.look(now)
                due.append((bucket, cost))
        kept = 0.0 if request.demanded else KEPT
        if (wait := max((bucket.wait(cost, kept) for bucket, cost in due), default=0.0)) > 0:
            return wait
        for bucket, cost in due:
            bucket.level -= cost
        return 0.0


def retry_after(headers: Mapping[str, str], said: str = "") -> float | None:
    """Seconds after which a server wants to be asked again; None if it does not say.

    Args:
        headers: Of its answer.
        said: The answer itself, where some hosts tell it instead.

    Example:
        >>> retry_after({"retry-after-ms": "1500", "retry-after": "2"}), retry_after({})
        (1.5, None)
        >>> retry_after({}, "Rate limit reached. Please try again in 1m2.5s.")
        62.5
    """
    if (found := _number(headers.get("retry-after-ms"))) is not None:
        return max(0.0, found / 1000)
    if (given := headers.get("retry-after")) is None:
        return _seconds(told[1]) if (told := _AGAIN.search(said)) else None
    if _number(given) is not None:
        return max(0.0, _seconds(given))
    if re.fullmatch(r"([\d.]+\s*(ms|s|m|h)\s*)+", given):
        return _seconds(given)
    try:
        then = _moment(given)
        now = _moment(headers["date"]) if "date" in headers else datetime.now(UTC)
        return max(0.0, (then - now).total_seconds())
    except (TypeError, ValueError):
        return None


def _moment(text: str) -> datetime:
    """A date of HTTP's, or of ISO 8601; in UTC where it names no zone."""
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _told(headers: Mapping[str, str], kind: str) -> tuple[float, float, float] | None:
    """A limit, what is left of it, and the seconds until it is whole again."""
    for name in ("x-ratelimit-{what}-{kind}", "anthropic-ratelimit-{kind}-{what}"):
        limit, left, reset = (
            headers.get(name.format(kind=kind, what=what))
            for what in ("limit", "remaining", "reset")
        )
        known, rest = _number(limit), _number(left)
        if known is not None and rest is not None and known > 0:
            return known, min(rest, known), _seconds(reset or "")
    return None


def _seconds(text: str) -> float:
    """The seconds that a text tells: ``1m30.5s``, a number, or a moment; 0 for none.

    Example:
        >>> _seconds("1m30.5s"), _seconds("20ms"), _seconds("7")
        (90.5, 0.02, 7.0)
    """
    if (found := _number(text)) is not None:
        if found > _EPOCH:  # a moment, in seconds or milliseconds of Unix
            moment = found if found < 1000 * _EPOCH else found / 1000
            return max(0.0, moment - datetime.now(UTC).timestamp())
        return found
    if parts := re.findall(r"([\d.]+)\s*(ms|s|m|h|d)", text):
        return sum(float(number) * _PARTS[unit] for number, unit in parts)
    try:
        return max(0.0, (datetime.fromisoformat(text) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return 0.0


def _number(text: str | None) -> float | None:
    try:
        found = float(text or "")
    except ValueError:
        return None
    return found if math.isfinite(found) else None
