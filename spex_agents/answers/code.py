"""Blocks of program text, whose answers are none, and marks of other notations."""

from __future__ import annotations

import re

_FENCE = re.compile(r"^[ \t]*(?P<fence>```+|~~~+)[ \t]*(?P<language>[^\s`]*)[^\n`]*$", re.MULTILINE)
_TEXTS = frozenset(
    "json jsonc json5 text txt plaintext plain markdown md latex tex math output".split()
)


def without_code(text: str) -> str:
    r"""A text whose fenced blocks of a programming language are blank, at their length.

    Blocks of no language, of text and of JSON stay: a model puts its answer in them.

    Example:
        >>> without_code("```python\nanswer = 3\n```\nAnswer: 4").split()
        ['Answer:', '4']
    """
    if "```" not in text and "~~~" not in text:
        return text
    kept: list[str] = []
    position, opened = 0, None
    for fence in _FENCE.finditer(text):
        if opened is None:
            opened = fence
            if _code(fence):
                kept.append(text[position : fence.start()])
        elif fence["fence"].startswith(opened["fence"]) and not fence["language"]:
            if _code(opened):
                kept.append(" " * (fence.end() - opened.start()))
                position = fence.end()
            opened = None
    if opened is not None and _code(opened):
        return "".join(kept)
    return "".join([*kept, text[position:]])


def _code(fence: re.Match[str]) -> bool:
    language = fence["language"].casefold()
    return bool(language) and language not in _TEXTS and not language.startswith("{")


_ANGLED = re.compile(  # Answer: <C>, as a prompt has it that writes <letter>
    r"(?P<before>(?:[:：=]|\bis)[ \t]*[*_]*[ \t]*)<[ \t]*"
    r"(?P<value>[A-J]|[-+−]?[$€£]?\d[\d.]*(?:[ ]?[%°a-zA-Z]{1,12})?|[Yy]es|[Nn]o|[Tt]rue|[Ff]alse"
    r"|(?!(?:\w+ )*(?:Answer|Option|Choice|Value|Letter|Number|Result|Solution|Response|Text|Your"
    r"|Here|Output|End|Start|Think|Thinking|Reasoning|Final|Insert)\b)"
    r"[A-Z][a-z]+(?: [A-Z]?[a-z]+){0,3})"
    r"[ \t]*>(?=[ \t.*_]*$)",
    re.MULTILINE,
)
_MARKUP = re.compile(
    r"</?(?P<bold>b|strong|em|i|u|span|code|mark)(?:\s[^<>]{0,80})?>|</?(?P<line>p|br|div|h[1-6])(?:\s[^<>]{0,80})?\s?/?>"
    r"|~~[^~\n]{1,80}~~"
    r"|\\(?:textbf|text|mathbf|mathrm|emph|textit)\{(?P<label>[^{}\n]{0,20}[Aa]nswer[^{}\n]{0,10})\}",
    re.IGNORECASE,
)


def in_markdown(text: str) -> str:
    r"""A text in whose HTML and LaTeX marks of bold type and lines are those of Markdown.

    Example:
        >>> in_markdown(r"<b>Answer:</b> 4<br>\textbf{Answer:} 4")
        '**Answer:** 4\n**Answer:** 4'
    """
    if not any(mark in text for mark in "<\\~"):
        return text
    return _MARKUP.sub(_marked, _ANGLED.sub(r"\g<before>\g<value>", text))


def _marked(mark: re.Match[str]) -> str:
    if mark["line"]:
        return "\n"
    if mark["label"]:
        return f"**{mark['label']}**"
    return "**" if mark["bold"] else ""
