"""Times of day and dates, as people write them."""

from __future__ import annotations

import re

_CLOCK = re.compile(
    r"(\d{1,2})(?::(\d\d)(?::(\d\d))?)?\s*(?:(a|p)\.?\s?m\.?|(o'clock)|h)?$", re.IGNORECASE
)
_MONTHS = {
    name: index
    for index, names in enumerate(
        "january jan|february feb|march mar|april apr|may|june jun|july jul|august aug|"
        "september sep sept|october oct|november nov|december dec".split("|"),
        1,
    )
    for name in names.split()
}
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_DATES = (
    re.compile(rf"(?P<month>{_MONTH})\.?\s+{_DAY}(?:\s*,?\s+(?P<year>\d{{4}}))?$", re.IGNORECASE),
    re.compile(
        rf"{_DAY}\s+(?:of\s+)?(?P<month>{_MONTH})\.?(?:\s*,?\s+(?P<year>\d{{4}}))?$", re.IGNORECASE
    ),
    re.compile(r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)$"),
)


def time_or_date(text: str) -> tuple[str, str] | None:
    """A time of day with am or pm, or a date with its year, where they are said.

    Example:
        >>> time_or_date("2:30 p.m."), time_or_date("14:30"), time_or_date("4 July 1776")
        (('time 2:30', 'pm'), ('time 2:30', 'pm'), ('date 7-4', '1776'))
    """
    if text.casefold() in ("noon", "midnight"):
        return "time 12:00", "pm" if text.casefold() == "noon" else "am"
    if clock := _CLOCK.match(text):
        hour, minute, second, half, whole = clock.groups()
        if (minute or half or whole) and int(hour) < 25 and int(minute or 0) < 60:
            return _time(int(hour), minute or "00", second, half)
    for pattern in _DATES:
        if date := pattern.match(text):
            month = _MONTHS.get(date["month"].casefold()) or int(date["month"])
            return f"date {month}-{int(date['day'])}", date["year"] or ""
    return None


def _time(hour: int, minute: str, second: str | None, half: str | None) -> tuple[str, str]:
    note = f"{half.casefold()}m" if half else ""
    if not half and (hour > 12 or hour == 0):
        note = "pm" if 12 < hour < 24 else "am"
    seconds = f":{second}" if second and int(second) else ""
    return f"time {(hour - 1) % 12 + 1}:{minute}{seconds}", note
