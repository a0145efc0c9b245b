"""Times of day and dates, as people write them."""

from __future__ import annotations

import re
from fractions import Fraction

from spex_agents.answers.numbers import number

_CLOCK = re.compile(
    r"(\d{1,2})(?::(\d\d)(?::(\d\d))?)?\s*(?:(a|p)\.?\s?m\.?|(o'clock)|h)?"
    r"(?:\s+(?:in\s+the\s+(morning|afternoon|evening)|at\s+(night)))?$",
    re.IGNORECASE,
)
_SPOKEN = re.compile(
    r"(?:a\s+)?(?:(half|quarter|\w+)(?:\s+minutes?)?\s+)(past|to|after)\s+(\w+)$", re.IGNORECASE
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
_NAMED = re.compile(r"(?:12(?::00)?\s+)?(noon|midnight)$", re.IGNORECASE)
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_WEEKDAYS = {
    "mon": "monday",
    "tue": "tuesday",
    "tues": "tuesday",
    "thu": "thursday",
    "thurs": "thursday",
    "fri": "friday",
}
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_DATES = (
    re.compile(rf"(?P<month>{_MONTH})\.?\s+{_DAY}(?:\s*,?\s+(?P<year>\d{{4}}))?$", re.IGNORECASE),
    re.compile(
        rf"(?:the\s+)?{_DAY}\s+(?:of\s+)?(?P<month>{_MONTH})\.?(?:\s*,?\s+(?P<year>\d{{4}}))?$",
        re.IGNORECASE,
    ),
    re.compile(r"(?P<year>\d{4})[-/](?P<month>\d\d?)[-/](?P<day>\d\d?)$"),
    re.compile(r"(?P<month>\d\d?)/(?P<day>\d\d?)/(?P<year>\d{4})$"),
    re.compile(r"(?P<day>\d\d?)[./](?P<month>\d\d?)[./](?P<year>\d{4})$"),
)


def time_or_date(text: str) -> tuple[str, str] | None:
    """A time of day with am or pm, or a date with its year, where they are said.

    Of 3/4/2024 the month is first, as in the data sets, unless it can be none.

    Example:
        >>> time_or_date("2:30 p.m."), time_or_date("14:30"), time_or_date("4 July 1776")
        (('time 2:30', 'pm'), ('time 2:30', 'pm'), ('date 7-4', '1776'))
    """
    if named := _NAMED.match(text):
        return "time 12:00", "pm" if named[1].casefold() == "noon" else "am"
    word = text.casefold().rstrip(".")
    if word in _WEEKDAYS:
        return _WEEKDAYS[word], ""
    if len(word) > 2 and (month := _MONTHS.get(word)):
        return f"month {month}", ""
    if clock := _CLOCK.match(text):
        hour, minute, second, half, whole, part, night = clock.groups()
        if (minute or half or whole or part or night) and int(hour) < 25 and int(minute or 0) < 60:
            if part or night:
                half = half or ("a" if (part or "").casefold() == "morning" else "p")
            return _time(int(hour), minute or "00", second, half)
    if spoken := _SPOKEN.match(text):
        return _spoken(*spoken.groups())
    for pattern in _DATES:
        if date := pattern.match(text):
            month = _MONTHS.get(date["month"].casefold()) or int(date["month"])
            if 0 < month <= 12 and 0 < int(date["day"]) <= 31:
                return f"date {month}-{int(date['day'])}", date["year"] or ""
    return None


def _spoken(part: str, sign: str, hour: str) -> tuple[str, str] | None:
    """Half past two, ten to five."""
    minutes = {"half": Fraction(30), "quarter": Fraction(15)}.get(part.casefold()) or number(part)
    whole = number(hour)
    if minutes is None or whole is None or not 0 < whole < 13 or not 0 < minutes < 60:
        return None
    if part.isdigit() and hour.isdigit() and sign.casefold() == "to":
        return None  # a ratio, or a range
    at = int(whole) * 60 + int(-minutes if sign.casefold() == "to" else minutes)
    return _time((at // 60 - 1) % 12 + 1, f"{at % 60:02}", None, None)


def _time(hour: int, minute: str, second: str | None, half: str | None) -> tuple[str, str]:
    note = f"{half.casefold()}m" if half else ""
    if not half and (hour > 12 or hour == 0):
        note = "pm" if 12 < hour < 24 else "am"
    seconds = f":{second}" if second and int(second) else ""
    return f"time {(hour - 1) % 12 + 1}:{minute}{seconds}", note
