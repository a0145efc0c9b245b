"""How an answer is announced in languages that say it in few ways: data, to be added to.

Each row: ISO 639-1, stems, "answer", "is", and what an answer does not begin with, as told at
`spex_agents.answers.languages.Language`.
"""

from __future__ import annotations

OTHERS: tuple[tuple[str, tuple[str, ...], str, str, str], ...] = (
    (
        "no",
        ("svar",),
        r"\b[Ss]var(?:et)?\b",
        r"er\b",
        r"(?:ikke|feil|forkert|rett|rigtigt|en|et)\b",
    ),
    ("fi", ("vastaus",), r"\b(?:[Oo]ikea\s+)?[Vv]astaus\b", r"on\b", r"(?:ei|väärä|oikea|vielä)\b"),
    (
        "cs",
        ("odpověď",),
        r"\b(?:[SsKk]\w+ná\s+)?[Oo]dpověď\b",
        r"(?:je|zní)\b",
        r"(?:ne|není|že)\b",
    ),
    ("sk", ("odpoveď",), r"\b(?:[Ss]právna\s+)?[Oo]dpoveď\b", r"je\b", r"(?:nie|že)\b"),
    ("hu", ("válasz",), r"\b(?:[Hh]elyes\s+|[Vv]égső\s+)?[Vv]álasz\b", "", r"nem\b"),
    (
        "ro",
        ("răspuns",),
        r"\b[Rr]ăspuns(?:ul)?(?:\s+(?:final|corect))?\b",
        r"este\b",
        r"(?:nu|un|o)\b",
    ),
    (
        "bg",
        ("отговор",),
        r"\b(?:[А-Яа-я]+(?:ят|ен)\s+)?[Оо]тговор(?:ът|а)?\b",
        r"е\b",
        r"(?:не|един)\b",
    ),
    ("hr", ("odgovor",), r"\b(?:[TtKk]\w+an\s+)?[Oo]dgovor\b", r"je\b", r"(?:nije|da|jedan)\b"),
    ("sr", ("одговор",), r"\b(?:[Тт]ачан\s+)?[Оо]дговор\b", r"је\b", r"(?:није|да|један)\b"),
    (
        "ca",
        ("resposta",),
        r"\b[Rr]esposta(?:\s+(?:final|correcta))?\b",
        r"és\b",
        r"(?:no|una?|el|la|que)\b",
    ),
    (
        "ms",
        ("jawapan",),
        r"\b[Jj]awapan(?:nya)?(?:\s+akhir)?\b",
        r"(?:ialah|adalah)\b",
        r"(?:bukan|belum)\b",
    ),
    ("tl", ("sagot",), r"\b(?:[Tt]amang\s+)?[Ss]agot\b", r"ay\b", r"(?:hindi|mali)\b"),
    ("ta", ("விடை", "பதில்"), r"(?:விடை|பதில்)", "", r"இல்லை"),
    ("ml", ("ഉത്തരം",), r"ഉത്തരം", "", r"അല്ല"),
    ("kn", ("ಉತ್ತರ",), r"ಉತ್ತರ", "", r"ಅಲ್ಲ"),
    ("gu", ("જવાબ",), r"જવાબ", "", r"નથી"),
    ("yo", ("ìdáhùn",), r"\b[Ìì]dáhùn\b", r"ni\b", r"kì"),
    ("zu", ("impendulo",), r"\b[Ii]mpendulo\b", "", r"ayi"),
)
