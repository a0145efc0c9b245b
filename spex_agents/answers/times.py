"""Times of day and dates, as people write them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from spex_agents.answers.forms import Form
from spex_agents.answers.numbers import number

_CLOCK = re.compile(
    r"(\d{1,2})(?:(?::|\.(?=\d\d\s*[ap]\.?m\b))(\d\d)(?::(\d\d))?)?\s*(?:(a|p)\.?\s?m\.?|(o'clock)|h)?"
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
    short: names.split()[0]
    for names in (
        "monday mon",
        "tuesday tue tues",
        "wednesday wed weds",
        "thursday thu thur thurs",
        "friday fri",
        "saturday sat",
    )
    for short in names.split()
}
_WHEN = re.compile(r"(?:(on|in)\s+)?([a-z]+)\.?$", re.IGNORECASE)
_LASTING = re.compile(
    r"(\d{1,3}):(\d\d)(?::(\d\d))?\s*(?:(hours?|hrs?\.?)|(min(?:ute)?s?\.?)|(h))$|(\d{1,3})\s?h\s?(\d\d)$",
    re.IGNORECASE,
)
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


def time_or_date(text: str) -> Form | None:
    """A time of day with am or pm, or a date with its year, where they are said.

    What has 12 hours may be of either half of a day; 22:30 is of one. Of 3/4/2024 the month is
    first, as in the data sets, unless it can be none.

    Example:
        >>> time_or_date("2:30 p.m.") == Form("time 2:30", "pm", "clock 14:30")
        True
        >>> time_or_date("14:30").base, time_or_date("2:30 hours").base
        ('clock 14:30', '9000 s')
    """
    if named := _NAMED.match(text):
        return _time(12, "00", None, "p" if named[1].casefold() == "noon" else "a")
    if (when := _WHEN.match(text)) and (day := _day_or_month(*when.groups())):
        return day
    if lasting := _LASTING.match(text):
        return _lasting(lasting)
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
                return Form(f"date {month}-{int(date['day'])}", date["year"] or "")
    return None


def among_days(parts: Sequence[str]) -> list[str]:
    """Several, with Sunday for Sun where there are other days.

    Example:
        >>> among_days(["Sat", "Sun"]), among_days(["Sun", "Moon"])
        (['Sat', 'Sunday'], ['Sun', 'Moon'])
    """
    if not any(part.casefold().rstrip(".") in _WEEKDAYS for part in parts):
        return list(parts)
    return ["Sunday" if part.casefold().rstrip(".") == "sun" else part for part in parts]


def _day_or_month(preposition: str | None, name: str) -> Form | None:
    said, word = (preposition or "").casefold(), name.casefold()
    if said != "in" and (day := _WEEKDAYS.get(word)):
        return Form(day)
    if said != "in" and (word == "sunday" or (said and word == "sun")):
        return Form("sunday", base="sunday")
    if word == "sun":
        return Form("sun", also=("sunday",))  # or the star
    if said != "on" and (month := _MONTHS.get(word)):
        return Form(f"month {month}")
    return None


def _lasting(found: re.Match[str]) -> Form | None:
    """How long something takes, in hours or in minutes; with an h it may be a time of day, too."""
    first, second, third, _, minutes, sign, whole, part = found.groups()
    of, rest, last = int(first or whole), int(second or part), int(third or 0)
    if rest > 59 or last > 59 or (minutes and third):
        return None
    base = f"{of * 60 + rest if minutes else of * 3600 + rest * 60 + last} s"
    if (sign or whole) and of < 25:
        return _time(of, second or part, third, None)._replace(also=(base,))
    said = f"{of}:{second or part}{f':{third}' if third else ''}"
    return Form(f"time {said}", "min" if minutes else "h", base)


def _spoken(part: str, sign: str, hour: str) -> Form | None:
    """Half past two, ten to five."""
    minutes = {"half": Fraction(30), "quarter": Fraction(15)}.get(part.casefold()) or number(part)
    whole = number(hour)
    if minutes is None or whole is None or not 0 < whole < 13 or not 0 < minutes < 60:
        return None
    if part.isdigit() and hour.isdigit() and sign.casefold() == "to":
        return None  # a ratio, or a range
    at = int(whole) * 60 + int(-minutes if sign.casefold() == "to" else minutes)
    return _time((at // 60 - 1) % 12 + 1, f"{at % 60:02}", None, None)


def _time(hour: int, minute: str, second: str | None, half: str | None) -> Form:
    rest = f"{minute}:{second}" if second and int(second) else minute
    if half is None:
        sure = not 0 < hour < 13
        return Form(f"time {hour}:{rest}", base=f"clock {hour % 24}:{rest}" if sure else "")
    half = half.casefold()
    whole = hour % 12 + (12 if half == "p" else 0)
    return Form(f"time {(hour - 1) % 12 + 1}:{rest}", f"{half}m", f"clock {whole}:{rest}")
