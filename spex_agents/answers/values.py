"""A value at the beginning of a line or a sentence, told from words that only go on."""

from __future__ import annotations

import re
from typing import NamedTuple


class Value(NamedTuple):
    """A value and where it begins in the whole text."""

    start: int
    text: str


_LONGEST = 160
_LEAD = re.compile(
    r"(?:[\s*_`“”\"]+|(?:therefore|thus|hence|indeed|simply|just|exactly|precisely|approximately|"
    r"about|roughly|around|clearly|then|obviously|now|probably|likely|definitely|certainly|"
    r"equal to|actually|in fact|also|still|again|only|letter|option|choice|answer|number|value|"
    r"of course|surely|and|≈|~)\b[\s,:]*|≈|~)+",
    re.IGNORECASE,
)
_ENDS = re.compile(
    r"(?<![\s.][ap])(?<!\b[A-Z]\.[A-Z])(?<!\b[ap]\.m)[.!。！](?=[\s*_\"”')\]$<`}]|$)|(?<=\b[ap]\.m)\.(?=\s+[A-Z]|\s*$)|[。！；]|(?<=\D)[!](?=\s|$)|\s*<(?=[/|a-zA-Z])|\?|？|\|"
)
_FORMULA = re.compile(
    r"\$\$(?P<a>[^$]{1,400})\$\$|\$(?P<b>[^$\s](?:[^$\n]{0,300}[^$\s\\])?|\s[^$\n]{1,400}\s)\$"
    r"|\\\((?P<c>.{1,400}?)\\\)|\\\[(?P<d>.{1,400}?)\\\]",
    re.DOTALL,
)
_BREAK = re.compile(
    r"[,;]\s+(?=(?:which|because|since|so|but|as|where|not|that|this|it|we|i|then|thus|hence|there|"
    r"therefore|making|giving|when|who|if|although|and\s+(?:so|thus|we|it|the|this|not)|"
    r"with|given|after|meaning|the|a|an|by|for|from)\b)"
    r"|\s+(?=(?:because|since|which|so|as|when|whenever|where|if|after|given|assuming|but|while|"
    r"although|though|due|and\s+(?:so|thus|therefore|we|it|this|not|the\s+\w+\s+is)|is|are|was|"
    r"whereas|unless|by\s+\w+ing|meaning|making|hence|thus|therefore)\b)"
    r"|\s+[—–]\s+|\s+-\s+(?=[A-Za-z]{2})|\s+\((?=[A-Za-z]{2,})|\s*(?:⇒|→|∵|√(?=\s)|✓|✔|✅)|;",
    re.IGNORECASE,
)
_TAIL = re.compile(
    r"[\s,]+(?:in\s+(?:total|all)|total|altogether|overall|left(?:\s+over)?|remaining|"
    r"respectively|again|then|now|exactly|too|indeed|here|instead|too)$",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"[-+−–±]?\s*(?:\\?[$£€¥₹₩₽฿]|US\$|USD|EUR|Rs\.?|R\$)?\s*[-+−]?(?:\d|\.\d|[٠-٩०-९০-৯０-９½¼¾⅓⅔])"
)
_MATH = re.compile(r"[-+−±√π∞∅]|\\|[(\[{|]|[A-Za-z]\s*(?:[-+*/^=_<>≤≥(]|\\[lg]e|$)|\d")
_WORD = re.compile(r"(?<![\\A-Za-z])[^\W\d_]{2,}")
_FUNCTIONS = frozenset(
    "sin cos tan cot sec csc log ln exp sqrt frac pi mod gcd lcm max min and or to abs arcsin "
    "arccos arctan inf infinity cm mm km kg am pm".split()
)
_NOT_UNITS = frozenset(
    "more less fewer greater smaller larger bigger times than plus minus divided multiplied of "
    "to is are was were not at most least digits digit numbers or if when steps step "
    "cases parts".split()
)
_CHOICE = re.compile(r"(?:\(([A-Ja-j])\)|\[([A-J])\]|([A-J])(?=[).:,\s]|$)|([a-j])(?=\)|\.?$))")
_ARTICLE = re.compile(r"A\s+[a-z]|I\s+\w")
_TITLES = re.compile(
    r"[A-ZÀ-ÞΑ-ΩА-Я\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af\u0600-\u06ff\u0900-\u0dff\u0e00-\u0e7f]"
)
_KNOWN = re.compile(
    r"(?:yes|no|true|false|none|half|(?:both|neither)(?:\s.{1,30})?|no\s+(?:real\s+)?solutions?|"
    r"none\s+of\s+(?:the|these|them)(?:\s+\w+)?|all\s+of\s+(?:the|these)\s+\w+|undefined|infinity|"
    r"infinitely\s+many(?:\s+\w+)?|does\s+not\s+exist|impossible|yellow|red|"
    r"oui|non|ja|nein|sí|si|sim|não|да|нет|evet|hayır|是|否|对|错)(?:$|[-,])",
    re.IGNORECASE,
)
_COUNT = (
    "(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|"
    "fifteen|sixteen|seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|"
    "ninety|hundred|thousand|million|a hundred|a thousand)"
)
_COUNTED = re.compile(
    rf"{_COUNT}(?:(?:[\s-]|\sand\s){_COUNT})*(?:\s+(?P<unit>[a-z]+))?$", re.IGNORECASE
)
_REFUSED = frozenset(
    """not no yet a an the this that these those it its in on at by for from with within without of
    to as if whether what which who how why when where either neither one some any each every all
    correct incorrect right wrong obvious clear unclear unknown known found given based obtained
    derived simple easy hard difficult ready complete incomplete final done there here below above
    hidden between more less greater smaller larger close near nearly almost at over under up
    different same similar likely unlikely possible impossible reasonable plausible consistent
    needed required still already always never often usually going supposed just equal written
    expressed computed calculated determined only indeed good bad fine true-ish positive negative
    nonzero large small big long short exact approximate rounded unique ambiguous straightforward
    trivial therefore thus hence so because since me you we they he she our your their his her my
    let next first second third following important interesting great nice quite very too really
    certain uncertain definite whole integer number also about around along after before until
    wait however actually maybe perhaps probably surely once twice beyond step steps none-yet
    hopefully sought wanted desired asked verified checked confirmed valid invalid explained
    shown stated as-follows follows provided left missing pending unchanged subject related linked
    best worse better worst safe solid sound meaningful meaningless elsewhere somewhere""".split()
)
_SUFFIX = re.compile(r"(?:ly|able|ible|ing|ed|ful|ous|less|ive|est)$")
_PROSE_START = re.compile(
    r"(?:let['’]?s?|we|i|to|first|since|because|step|if|when|as|in|for|now|here|this|it|there|given|"
    r"you|note|next|after|before|on|by|from|using|consider|so|then|not|see|what|which|how|why|who|"
    r"where|is|are|does|do|can|yet|unknown|pending|n/a|todo|tbd)\b[\s,:']*(?=\w)|(?:unknown|n/a|tbd|todo|pending)\b",
    re.IGNORECASE,
)


def statement_value(text: str, start: int, *, known_words: bool = False) -> Value | None:
    """The value with which the rest of a sentence begins; None where it only goes on in words.

    Args:
        text: From after the verb on, at most one line.
        start: Where it begins in the whole text.
        known_words: Words have been checked against their language's refused ones.
    """
    lead = _LEAD.match(text)
    offset = lead.end() if lead else 0
    if (
        lead
        and re.search(r"(?:number|value|letter)\W*$", lead[0])
        and text[offset : offset + 3] == "of "
    ):
        return None
    sentence, asked = _sentence(text[offset:])
    if asked or not sentence:
        return None
    value = _short(sentence, known_words=known_words)
    return None if value is None else Value(start + offset, value)


def line_value(text: str, start: int, *, alone: bool = False) -> Value | None:
    """The value on a line that follows a label, or stands below a heading.

    Args:
        text: The line.
        start: Where it begins in the whole text.
        alone: It stands below: a sentence is read for what it states, not taken as it is.
    """
    bullet = r"[-•]\s+" if alone else r"•\s+|-\s+(?![$€£]?\d)"  # on the label's line: minus 3
    lead = re.match(
        rf"[\s*_`>:：]*(?:{bullet})?(?:(?:there\s+(?:is|are|were|will\s+be)|it\s+is|it's|that\s+is)\s+)?",
        text,
        re.IGNORECASE,
    )
    offset = lead.end() if lead else 0
    rest = text[offset:]
    if (known := statement_value(rest, start + offset)) is not None:
        return known
    sentence, asked = _sentence(rest)
    if asked or not sentence or _PROSE_START.match(sentence):
        return None
    words = sentence.split()
    if len(words) > (6 if alone else 12) or len(sentence) > _LONGEST:
        return None
    if alone and words[0].casefold().strip(",") in _REFUSED and len(words) > 1:
        return None
    if not alone and words[0].casefold() in ("not", "unknown", "must", "should", "will", "is"):
        return None
    return Value(start + offset, _bare(sentence)) if _bare(sentence) else None


def _sentence(text: str) -> tuple[str, bool]:
    """The first sentence, and whether it is a question."""
    for end in _ENDS.finditer(text):
        head = text[: end.start()]
        if head.count("$") % 2 and re.match(r"\s*\$", text) and "$" in text[end.start() :]:
            continue  # inside a formula
        if end[0] == "|" and head.count("|") % 2:
            continue
        if (
            end[0] == "!"
            and re.search(r"\d$", head)
            and re.match(r"!\s*[-+*/=]", text[end.start() :])
        ):
            continue
        return head.strip(), end[0] in ("?", "？")
    return text.strip(), False


def _short(sentence: str, *, known_words: bool) -> str | None:
    """What is a value at the beginning of a sentence."""
    if formula := _FORMULA.match(sentence):
        inside = next(group for group in formula.groups() if group is not None).strip()
        return inside + _unit(sentence[formula.end() :])
    sentence = _cut(sentence)
    bare = _bare(sentence)
    if not bare:
        return None
    if (choice := _CHOICE.match(bare)) and not _ARTICLE.match(bare):
        return _chosen(bare, choice)
    if _NUMBER.match(bare):
        return _quantity(bare)
    if _KNOWN.match(bare):
        return bare if len(bare.split()) <= 6 else None
    if counted := _COUNTED.match(bare):
        return None if (counted["unit"] or "").casefold() in _REFUSED | _NOT_UNITS else bare
    words = [word for word in _WORD.findall(bare) if word.casefold() not in _FUNCTIONS]
    if _MATH.match(bare) and not [
        word for word in words if not re.search(rf"\\\w*\{{?{re.escape(word)}", bare)
    ]:
        return bare
    return _words(bare, known_words=known_words)


def _chosen(bare: str, choice: re.Match[str]) -> str | None:
    """A choice letter with its text, or several; None where the letter begins something else."""
    rest = bare[choice.end() :]
    if not rest or re.match(r"(?:\s*(?:,|and|or|&)+\s*\(?[A-J]\)?)+$", rest):
        return bare
    if re.match(r"\s*[-+*/^=<>]", rest):
        return bare if not _WORD.search(rest) else None
    if (
        bare[choice.end() : choice.end() + 1] == " "
        and bare[0].isalpha()
        and not re.match(r"\s+\(|\s+-|\s+[A-Z]", rest)
    ):
        return None  # "A dog"
    return bare if len(bare.split()) <= 12 else choice[0]


def _quantity(bare: str) -> str | None:
    """A number and what is counted; None where it is only part of a sum told in words."""
    words = [word.casefold() for word in _WORD.findall(bare)]
    if _NOT_UNITS & set(words):
        kept = re.match(r".*?\d[\d,.]*(?=\s+(?:of|or|at|to)\b)", bare)
        head = re.match(r"[^A-Za-z]*", bare)
        if "of" in words and kept and "times" not in words and not re.match(r"\S+\s+of\b", bare):
            return bare[: bare.index(" of")]
        if (
            "or" in words
            and head
            and re.fullmatch(r"\S+\s+or\s+\S+(?:\s+\w+)?", bare)
            and bare[-1] != "e"
        ):
            return bare
        return None
    if len(words) > 6:
        number = re.match(r"\S*\d\S*(?:\s+\w+)?", bare)
        return number[0].rstrip(",;:") if number else None
    return bare


def _words(bare: str, *, known_words: bool) -> str | None:
    words = bare.split()
    first = words[0].strip(",'\"“”’")
    if not first or len(words) > 6 or len(bare) > 60 or _PROSE_START.match(bare):
        return None
    if known_words:
        return bare if len(words) <= 4 and (len(bare) <= 20 or _TITLES.match(first)) else None
    named = [word for word in words if _TITLES.match(word.lstrip("\"'“("))]
    low = first.casefold()
    if low in ("the", "a", "an") and named:
        return bare if len(words) <= 4 else None
    if low in _REFUSED or "not" in words:
        return None
    if _TITLES.match(first):
        return bare
    if len(words) > 2 or _SUFFIX.search(low) or any(w.casefold() in _REFUSED for w in words):
        return None
    return bare


def _cut(sentence: str) -> str:
    """A sentence up to where another clause begins."""
    for end in _BREAK.finditer(sentence):
        if end.start() and sentence[: end.start()].count("(") <= sentence[: end.start()].count(")"):
            sentence = sentence[: end.start()]
            break
    while (shorter := _TAIL.sub("", sentence.rstrip(" .,;:"))) != sentence:
        sentence = shorter
    return sentence


def _bare(text: str) -> str:
    """A value without emphasis, quotes, and what ends a sentence."""
    before = ""
    while before != text:
        before = text
        text = text.strip().strip('*`"“”„').rstrip(".,;:。，、").strip()
        if text.startswith("_") or text.endswith("_"):
            text = text.strip("_")
        if text.endswith("$") and text.count("$") % 2:
            text = text.removesuffix("\\$" if text.endswith("\\$") else "$")
        if len(text) > 1 and text[0] == text[-1] == "$" and "$" not in text[1:-1]:
            text = text[1:-1]
    return text


def _unit(rest: str) -> str:
    """The unit that follows a formula."""
    found = re.match(
        r"\s*((?:\\?[%°]|[a-zA-Zµ²³/]{1,12}(?:\s+(?:per\s+)?[a-z]{1,12})?))[.,;!*\s]*$", rest
    )
    if found is None or _PROSE_START.match(found[1] + " x") or found[1].casefold() in _REFUSED:
        return ""
    return " " + found[1]
