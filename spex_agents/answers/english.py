"""Answers announced in English: "Final answer: 42", "#### 42", "so the answer is 42."."""

from __future__ import annotations

import re

from spex_agents.answers.doubts import doubted
from spex_agents.answers.sentences import FAR
from spex_agents.answers.values import (
    Value,
    line_value,
    rest_of_line,
    span,
    statement_value,
    value_below,
)

STEMS = ("answer", "ans", "option", "choice", "correct", "right", "####")
"""What a line must have one of, in lower case, for the rest to be looked for."""

_LABEL = re.compile(
    r"(?:^(?:[ \t]*(?:q(?:uestion)?[ \t]*)?[(\[]?(?:\d{1,3}|[a-z]|[ivx]{1,4})[).\]](?=[ \t*_]))?"
    r"|(?<=[.!?;,:\n。])|(?<=\*\*)|(?<=\b(?:so|us)\b)|(?<=\bthen\b)|(?=\bfinal\b))"
    r"[^\w\n\"'“‘{\\$]{0,12}"
    r"(?:(?:so|thus|hence|therefore|here is|and|my|the|our)[,:]?[ \t]{1,4}){0,3}"
    r"[*_`]{0,4}(?:(?:final|correct|right|short|full|numerical|numeric|verified|exact|direct"
    r"|complete|overall)\s+)?"
    r"(?<![A-Za-z])(?:answers?|ans|(?:(?<=correct )|(?<=right ))(?:option|choice))(?![A-Za-z])\.?"
    r"(?:\s*\((?!\w\))[^()\n]{1,40}\))?"
    r"[ \t]{0,4}[*_`]{0,4}[ \t]{0,4}(?:is[ \t]{0,4})?"
    r"(?P<sign>[:：=＝]+|(?:(?<=\*\*)[ \t]|\][ \t]?)(?=[-−$\\(]?\d)"
    r"|->|→|—|–|⇒|\\(?:to|Rightarrow)\b|[-](?=[ \t])|(?<=ns\.)[ \t](?=[-$(\\]?\d|\([A-Ja-j]\)))"
    r"[ \t]{0,4}[*_`]{0,4}",
    re.IGNORECASE | re.MULTILINE,
)
_ASSIGNED = re.compile(  # indented, or what a function returns
    r"(?:\t| {4})|[^=]*=\s*(?!(?:max|min|gcd|lcm|sqrt|log|ln)\b)[A-Za-z_][\w.]+[(\[]"
)
_HEADING = re.compile(
    r"^[ \t]*(?:#{1,6}[ \t]*)?(?:\d+[.)][ \t]*)?[*_]{0,3}"
    r"(?:the[ \t]+)?(?:(?:final|correct)[ \t]+)?(?:answer|ans)"
    r"(?:[ \t]+is)?[*_]{0,3}[ \t]*[:：=]?[ \t]*[*_]{0,3}[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
_HASHES = re.compile(
    r"(?:^[ \t]*|(?<=[^\s#])[ \t]+(?=####[ \t]*[-$€£]?\d[^\n#]*$))"
    r"####(?!#)[ \t]*(?P<rest>\S[^\n]*)$",
    re.MULTILINE,
)
_PLAIN = re.compile(  # what may stand after ####: a word is a heading's
    r"(?:[^A-Za-z]+|[A-Za-z]?[^A-Za-z]*\\.*|(?:[^A-Za-z]*\b[A-Za-z]\b)+[^A-Za-z]*|yes|no|true|false|none"
    r"|[^A-Za-z]*\d[^A-Za-z]*[a-z]+(?:\s[a-z]+)?)$",
    re.IGNORECASE,
)
_SUM = r"\d[\d.() ]{0,20}[-+*/×÷^][-+*/×÷^\d.() ]{1,40}"
_PROSE = re.compile(
    r"\b(?P<noun>answers?|(?:answer|correct|right|best)\s+(?:option|choice|answer)"
    r"|(?:correct|right|best)\s+(?:options|choices|answers)"
    r"|(?:correct|right)\s+(?:one|letter|value|number))\b"
    r"(?P<of>(?:\s+(?:that\s+)?(?:we|i|you)\s+(?:(?:are|were|am)\s+)?(?:looking\s+for|seek|need|want"
    r"|get|got|obtain(?:ed)?|found|find)\b)?(?:\s{0,2}\([^()\n]{1,40}\)|,[^,.:;\n]{1,60},)?"
    rf"(?:\s+(?:to|of|for)\s+{_SUM}(?<! )"
    r"|\s+(?:to|for|of|in|as|here|choice|option|now)\b(?:[ \t]{1,4}[\w'()-]{1,40}){0,6}?)?)"
    r"[*_]{0,4}\s{0,4}(?P<verb>\bis(?:\s+equal\s+to)?\b|(?<=s )are\b"
    r"|['’]s\b|=|\bequals\b|\bw(?:ould|ill)\s+(?:then\s+|therefore\s+)?be\b"
    r"|\b(?:must|should)\s+(?:therefore\s+|then\s+)?be\b|\bhas\s+to\s+be\b|\bcomes\s+(?:out\s+)?to(?:\s+be)?\b"
    r"|\bturns\s+out\s+to\s+be\b|\bworks\s+out\s+(?:to|as)(?:\s+be)?\b|\bbecomes\b|\bremains\b)"
    r"[ \t]{0,4}[*_]{0,4}[:：]?",
    re.IGNORECASE,
)
_MODAL = re.compile(r"must|should|has to", re.IGNORECASE)
_WHOLE = re.compile(
    rf"(?:\s*\([^()]*\)|,[^,]*,)?\s*(?:(?:to|for|of)\s+{_SUM}"
    r"|(?:to|for|of)\s+(?:(?:this|the|your|our|that|my|a)\s+)?"
    r"(?:(?:given|original|whole|above|following|entire|overall|final|actual)\s+)?"
    r"(?:question|problem|puzzle|exercise|riddle|task|query|equation|it|this|everything|sum|prompt|"
    r"calculation)\b(?:\s+[\"“”'\w?()-]+){0,6}|here|now|choice|option|in\s+(?:simplest|lowest|decimal)\s+\w+"
    r"|(?:that\s+)?(?:we|i|you)\s+(?:\w+\s+)?\w+(?:\s+(?:for|at))?"
    r"|(?:in|as)\s+(?:an?\s+)?(?!the\b|his\b|her\b|my\b|our\b)[a-z]+(?:\s+[a-z]+)?)?$",
    re.IGNORECASE,
)
_DETERMINED = re.compile(  # what may stand before "answer": other answers are not the one
    r"(?:(?<![A-Za-z])(?P<whose>the|my|our)\s+)?(?:(?:final|correct|right|best|actual|required|desired|requested"
    r"|numerical|numeric|overall|exact|simplified|short|only|true|real|most\s+appropriate|full|complete"
    r"|resulting|one|single|unique|integer|rounded|direct|boxed|final)\s+){0,3}$",
    re.IGNORECASE,
)
_UNDETERMINED = re.compile(  # before "answer" where it has no "the"
    r"(?:^|[.!?;:,\n。！？；，—*_\"“'(\[>$-]|\b(?:so|hence|thus|therefore|then|and|finally|that|now))\s*$",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"([\"“'‘])\s*$")
_INVERTED = re.compile(
    r"(?:^|(?<=[\s*(\[$]))(?P<value>\(?[A-H]\)?(?:,\s\(?[A-H]\)?){0,3},?\s+and\s+\(?[A-H]\)?|\\text(?:bf)?\{\(?[A-H]\)?\}|\(?[A-H]\)?|\*\*[^*\n]{1,60}\*\*|\\?\$?-?\d[\d,.]*(?:\\?%|\$)?"
    r"|\$[^$\n]{1,80}\$)[.)*:]*\s+(?:is|are|must\s+be)\s+"
    r"(?:the\s+|our\s+|my\s+|thus\s+|therefore\s+)*(?:only\s+)?"
    r"(?:(?:final|correct|right|best)\s+(?:answer|option|choice)|answer|correct|right(?=[.\s]*$))\b"
    r"(?!\s+(?:to\s+(?:the\s+)?(?:first|second|part|sub)|or|if|only|digits?|number|then|for\s+the))",
    re.MULTILINE,
)


def _labelled(text: str, match: re.Match[str]) -> Value | None:
    rest = rest_of_line(text, match.end())
    if match["sign"] == "=" and _assigned(text, match.end()):
        return None
    if not rest.strip(" \t*_$`:："):
        return value_below(text, match.end())
    return line_value(rest, match.end())


def _assigned(text: str, position: int) -> bool:
    """Whether a line is of a program: "    answer = 2", "answer = solve(x)"."""
    line = text.rfind("\n", 0, position) + 1
    return bool(_ASSIGNED.match(text[line : position + FAR]))


def _headed(text: str, match: re.Match[str]) -> Value | None:
    return value_below(text, match.end())


def _hashed(text: str, match: re.Match[str]) -> Value | None:
    """GSM8K's mark; words after it are a heading."""
    rest = re.sub(r"[\s#]+$", "", match["rest"][:FAR])
    if re.match(r"\(?\d+[.):]\)?\s|\d+[.)]\s*[*_]*[A-Za-z]", rest):
        return None
    if re.fullmatch(r"\(?[a-z]\)", rest) and text[match.end() :].strip():
        return None  # the heading of a part
    value = statement_value(rest, match.start("rest"))
    if value is None or not _PLAIN.match(value.text):
        return None
    left = rest.rstrip(" .*#")[value.start - match.start("rest") + len(value.text) :]
    return value if len(left.split()) <= 2 else None


def _said(text: str, match: re.Match[str]) -> Value | None:
    """What a sentence says, if it is a plain statement about the whole question."""
    if not _WHOLE.match(match["of"]) or (match["verb"] == "=" and _assigned(text, match.end())):
        return None
    far = max(0, match.start() - FAR)
    determined = _DETERMINED.search(text, far, match.start())
    announced = match.start() if determined is None else determined.start()
    if not (determined and determined["whose"]) and not _UNDETERMINED.search(text[far:announced]):
        return None
    start = match.end()
    rest = rest_of_line(text, start)
    if quote := _QUOTED.search(text[far:announced]):
        rest = _quotation(text, announced, rest, quote[1])
    if not rest.strip(" \t*_$`:："):
        colon = match[0].rstrip(" *_")[-1:] in (":", "：")
        value = value_below(text, start) if colon or match["verb"] == "is" else None
    else:
        value = statement_value(rest, start)
    if value is None or (_MODAL.match(match["verb"]) and not _DEFINITE.match(value.text)):
        return None
    if match["verb"].casefold() == "are" and not _SEVERAL.match(value.text):
        return None
    if doubted(text, announced, span(text, value), "en"):
        return None
    return value


_DEFINITE = re.compile(
    r"\W*(?:\S*\d\S*(?:\s+(?!characters|decimals|digits|letters|words|places|lines|sentences)"
    r"\w+)?|\(?[A-J]\)?)$"
)
"""What "must be" says of an answer and not of its kind: 12 apples, but not "a whole number"."""


_SEVERAL = re.compile(
    r"(?=.*(?:,|\band\b|\bor\b|\\pm|±))(?:[^A-Za-z\\]|\\[a-z]+|\b(?:[A-Za-z]|and|or)\b)+$"
)
"""Answers of which there are several: 3 and 5."""


def _quotation(text: str, announced: int, rest: str, quote: str) -> str:
    """The rest of a quoted sentence; nothing where somebody says it, or a program prints it."""
    line = text.rfind("\n", 0, announced) + 1
    inside, closed, outside = rest.partition({"“": "”", "‘": "’"}.get(quote, quote))
    if re.search(r"\w", text[line:announced].rsplit(quote, 1)[0]) or re.search(r"\w", outside):
        return ""
    return inside if closed else rest


def _inverted(text: str, match: re.Match[str]) -> Value | None:
    rest = rest_of_line(text, match.end())
    if re.match(r"[^.!\n]{0,80}\?", rest) or doubted(text, match.start(), (match.end(),) * 2, "en"):
        return None
    before = text[max(0, match.start() - FAR) : match.start()]
    if _NO_SUBJECT.search(before):
        return None
    value = match["value"].strip("*$ ")
    if " and " not in value:
        value = value.strip("()").rstrip(".)")
    return Value(match.start("value"), value) if value else None


_NO_SUBJECT = re.compile(
    r"\b(?:if|whether|that|not|why|how|when|unless|maybe|perhaps|is|step|part)\s*$", re.IGNORECASE
)


MARKERS = (
    (_LABEL, _labelled),
    (_HEADING, _headed),
    (_HASHES, _hashed),
    (_PROSE, _said),
    (_INVERTED, _inverted),
)
"""What announces an answer, and who reads it."""
