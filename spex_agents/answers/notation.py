r"""One notation out of many: LaTeX or not, full-width or other digits, bold, blanks."""

from __future__ import annotations

import re
import unicodedata

_SIGNS = str.maketrans(
    {
        **dict.fromkeys("−–—‐‑‒﹣", "-"),
        **dict.fromkeys("\u00a0\u2009\u202f\u2007\u2002\u2003\u3000\t\r\n\v\f", " "),
        **dict.fromkeys("\x85\u2028\u2029", " "),
        **dict.fromkeys("\u200b\u200e\u200f\u2060\ufeff", None),
        **dict.fromkeys("“”„«»″", '"'),
        **dict.fromkeys("’‘′", "'"),
        "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ", "÷": "/", "∕": "/",
        "⁄": "/",
        "π": r"\pi ", "√": r"\sqrt ", "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ",
        "≈": r"\approx ", "∛": r"\sqrt[3]", "…": r"\ldots ", "ℝ": r"\R ", "ℤ": r"\Z ",
        "ℚ": r"\Q ", "ℕ": r"\N ", "ℂ": r"\C ", "∧": r"\land ", "∨": r"\lor ", "¬": r"\neg ",
        "→": r"\to ", "⇒": r"\to ", "∠": r"\angle ", "△": r"\triangle ", "⊂": r"\subset ",
        "⊆": r"\subseteq ", "≡": r"\equiv ", "⌊": r"\lfloor ", "⌋": r"\rfloor ",
        "⌈": r"\lceil ", "⌉": r"\rceil ", "∖": r"\setminus ", "\u2126": "Ω",
        "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "±": r"\pm ", "∅": r"\emptyset ",
        "°": r"^\circ ", "º": r"^\circ ",
        "、": ",", "，": ",", "。": ".", "；": ";", "：": ":", "（": "(", "）": ")", "％": "%",
        "｛": "{", "｝": "}", "［": "[", "］": "]", "＝": "=", "＋": "+", "－": "-", "＄": "$",
        "．": ".",
        "／": "/", "＜": "<", "＞": ">", "٪": "%", "٫": ".", "٬": ",", "∗": "*",
    }
)  # fmt: skip
_HIGH = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
_RAISED = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+")
_LOW = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_LOWERED = re.compile("[₀₁₂₃₄₅₆₇₈₉]+")
_WRAPPED = re.compile(
    r"\\(?:text|textbf|textit|textrm|textsf|texttt|mathtt|mathbf|mathrm|mathit|mathsf|mathcal|bold|"
    r"boldsymbol|bf|rm|ce|mbox|hbox|emph|boxed|fbox|operatorname\*?|overset\{\}|underline|bm|ensuremath)"
    r"\s*\{((?:[^{}]|\{[^{}]*\})*)\}"
)
_NOTHING = re.compile(
    r"\\(?:left|right|big|Big|bigg|Bigg|bigl|bigr|Bigl|Bigr|displaystyle|textstyle|limits|nolimits|"
    r"bf|rm|quad|qquad|hfill|phantom\{[^{}]*\})(?![A-Za-z])"
)
_THIN = re.compile(r"(?<!\\)\\[,;:! >]|~|\\(?:thinspace|enspace|space)(?![A-Za-z])")
_SAME = (
    ("\\dfrac", "\\frac"), ("\\tfrac", "\\frac"), ("\\cfrac", "\\frac"), ("{,}", ","), ("{:}", ":"),
    ("\\%", "%"), ("\\#", "#"), ("\\&", "&"), ("\\!", ""),
    ("\\leqslant", "\\le "), ("\\geqslant", "\\ge "), ("\\leq", "\\le"), ("\\geq", "\\ge"),
    ("\\neq", "\\ne"), (" != ", "\\ne "), ("<=", "\\le "), (">=", "\\ge "),
    ("\\simeq", "\\approx"), ("\\dots", "\\ldots"), ("\\cdots", "\\ldots"), ("\\pounds", "£"),
    ("\\euro", "€"),
    ("\\lt", "<"), ("\\gt", ">"), ("\\degree", "^\\circ"), ("^{\\circ}", "^\\circ"),
    ("\\longrightarrow", "\\to "), ("\\rightarrow", "\\to "), ("-->", "\\to "), ("->", "\\to "),
    ("\\lbrace", "\\{"), ("\\rbrace", "\\}"), ("\\varnothing", "\\emptyset"), ("\\div", "/"),
    ("\\ast", "*"), ("\\langle", "("), ("\\rangle", ")"), ("\\colon", ":"),
)  # fmt: skip
_INDEXED = re.compile(r"(?<![\w\\])([a-z])(\d)(?=\s*=)")  # x1 = 2
_LEFT_OUT = re.compile(r"(?<![A-Za-z\\])(?:\\R|R|\\mathbb\s*\{?\s*R\s*\}?|ℝ)\s*\\\s*\{")  # R \ {2}
_BARRED = re.compile(r"^\(\s*-?[\d./]+(?:\s*\|\s*-?[\d./]+)+\s*\)$")  # (3|4)
_NO_BLANK = re.compile(r",\s*\\!\s*")  # 11,\! 111
_VECTOR = re.compile(r"\\(?:mathbf|boldsymbol|bm)\s*\{\s*([a-z])\s*\}")
_CHOOSE = re.compile(r"\{\s*(\w+)\s*\\choose\s*(\w+)\s*\}")
_NUMBERS = re.compile(r"\\mathbb\s*\{?\s*([NZQRC])\s*\}?")
_BEFORE_POWER = re.compile(r"\s+(?=\^(?!\\circ))")
_COLOR = re.compile(r"\\(?:text)?color\s*\{\s*\w+\s*\}")
_VECTOR_OF = re.compile(r"<\s*([^<>=]{1,80},[^<>=]{1,80})>$")
_QUOTED = re.compile(r"'([^'\"]*)'")
_WORD_LENGTH = 60
_CALLED = re.compile(r"(?:^|\s)(?:no|[^\W\d_]{3,})!+$", re.IGNORECASE)
_INLINE = re.compile(r"(?<![\w$\\])\$([^$\s](?:[^$]{0,200}[^$\s\\])?)\$(?![\w$])")
_MIXED = re.compile(r"(?<=\d)\{\s*(\\frac\s*\{\d+\}\s*\{\d+\})\s*\}")  # 1{\frac{1}{2}}
_SYSTEM = re.compile(
    r"(?:\\\{\s*)?\\begin\{(cases|aligned|align\*?|gathered|split|array)\}(?:\{[lcr| ]*\})?(.*)"
    r"\\end\{\1\}\s*\.?$",
    re.DOTALL,
)
_ROW = re.compile(r"\s*,?\s*\\\\(?![A-Za-z])\s*")
_SPAN = re.compile(r"(?<=\d)\s*–\s*(?=\d)")  # from one to another, however far apart
_EDGES = "*`_ \n"


def plain(answer: str) -> str:
    r"""An answer in one notation, its mathematics still in LaTeX.

    Example:
        >>> plain(r"**$\dfrac{1}{2}$**."), plain("５²"), plain(r"\text{(B)}")
        ('\\frac{1}{2}', '5^{2}', '(B)')
    """
    text = _SPAN.sub("-", "".join(map(_digit, answer)))
    text = _LEFT_OUT.sub(r"\\R \\setminus {", text).replace("+/-", "±")
    text = _RAISED.sub(lambda high: "^{" + high[0].translate(_HIGH) + "}", text)
    text = _LOWERED.sub(lambda low: "_{" + low[0].translate(_LOW) + "}", text)
    text = _NUMBERS.sub(r"\\\1 ", text.translate(_SIGNS))
    text = _COLOR.sub(" ", _NO_BLANK.sub(",", text))
    for old, new in _SAME:
        text = text.replace(old, new)
    text = _NOTHING.sub(" ", _THIN.sub(" ", text))
    text = _MIXED.sub(r"\1", text)
    text = _VECTOR.sub(r"\\vec{\1}", text)
    text = _CHOOSE.sub(r"\\binom{\1}{\2}", text)
    for _ in range(8):  # as deep as anybody nests bold text; without end in a hostile one
        if (bare := _WRAPPED.sub(lambda wrapped: " " + wrapped[1] + " ", text)) == text:
            break
        text = bare
    text = _stripped(_BEFORE_POWER.sub("", " ".join(text.split())))
    text = _INLINE.sub(r"\1", text).replace("\\(", "").replace("\\)", "").replace("\\$", "$")
    if text[:1] in ("{", "["):  # Python's quotes, and JSON's
        text = _QUOTED.sub(r'"\1"', text)
    text = text.replace("|", ", ") if _BARRED.match(text) else _INDEXED.sub(r"\1_\2", text)
    return _VECTOR_OF.sub(r"(\1)", _system(text))


def _system(text: str) -> str:
    """Equations one below the other as a sentence; a matrix as it is."""
    found = _SYSTEM.match(text)
    rows = [row for row in _ROW.split(found[2] if found else text) if row.strip()]
    if (found is None and text.startswith("\\begin")) or not all("=" in row for row in rows):
        return text
    return " and ".join(row.replace("&", "").strip() for row in rows) if rows else text


def _stripped(text: str) -> str:
    """Without what stands around it: signs of a formula, bold, quotes, the end of a sentence."""
    before = None
    while before != text:
        before = text
        text = text.strip(_EDGES)
        for quote in "\"'":  # but 6" are inches, and y' is not y
            if text[:1] == quote:
                text = text[1:].removesuffix(quote)
            elif text[-1:] == '"' and not text[-2:-1].isdigit():
                text = text[:-1]
        if text[-1:] == "}" and text.count("}") > text.count("{"):  # of a box that was cut
            text = text[:-1]
        text = text.rstrip("\\ ")  # of a line
        if text[-1:] == "!" and _CALLED.search(text[-_WORD_LENGTH:]):
            text = text.rstrip("!")
        if len(text) > 1 and text[-1] in ".,;:" and text[-3:] != "...":
            text = text[:-1]
        for opened, closed in (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")):
            inside = text[len(opened) : -len(closed)]
            if (
                len(text) > len(opened) + len(closed)
                and text.startswith(opened)
                and text.endswith(closed)
                and "$" not in inside.replace("\\$", "")
                and inside[-1] != "\\"
            ):
                text = inside
                break
    return text


def _digit(letter: str) -> str:
    if letter < "\x80":
        return letter
    if "\uff01" <= letter <= "\uff5e":
        return chr(ord(letter) - 0xFEE0)
    if unicodedata.category(letter) == "Nd":
        return str(unicodedata.decimal(letter))
    if unicodedata.category(letter) == "No" and unicodedata.normalize("NFKC", letter) != letter:
        fraction = unicodedata.normalize("NFKC", letter).replace("⁄", "/")
        if "/" in fraction:
            return f" {fraction} "
    return letter


def split(text: str, separator: re.Pattern[str]) -> list[str]:
    """`text` without the separators that stand outside all brackets, and what is between them."""
    parts, depth, last = [], 0, 0
    position = 0
    while position < len(text):
        if depth == 0 and (found := separator.match(text, position)) and found.end() > position:
            parts.append(text[last:position])
            position = last = found.end()
            continue
        letter = text[position]
        if letter == "\\" and position + 1 < len(text) and text[position + 1] not in "{}":
            depth += text.startswith("\\begin{", position)
            depth = max(depth - text.startswith("\\end{", position), 0)
            position += 2
            continue
        depth += (letter in "([{") - (letter in ")]}")
        depth = max(depth, 0)
        position += 1
    return [*parts, text[last:]]


def closes_at_end(text: str) -> bool:
    """Whether the bracket that opens a text is closed by its last character."""
    depth = 0
    for position, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if depth == 0:
            return position == len(text) - 1
    return False
