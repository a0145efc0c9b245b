"""Words and signs by which values are told from what only goes on: data, to be added to."""

from __future__ import annotations

import re

from spex_agents.answers.languages import CLAUSES

LONGEST = 160
LEAD = re.compile(
    r"(?:[\s*_`“”\",]+|\.{3}|…|[—–](?=\s)|approx\.\s*|(?:no|without(?:\s+a)?)\s+doubt\b|(?:(?:very|quite|now|thus|indeed)\s+)?(?:simple|clear|easy|obvious|"
    r"straightforward|plain|trivial|as\s+follows|the\s+following|follows|this)\s*[:：]|(?:therefore|thus|hence|indeed|simply|just|exactly|precisely|approximately|"
    r"about|roughly|around|clearly|then|obviously|now|probably|likely|definitely|certainly|"
    r"equal to|actually|in fact|also|still|again|only|letter|option|choice|answer|number|value|"
    r"of course|surely|and|most\s+(?:likely|probably)|≈|~)\b[\s,:]*|≈|~)+",
    re.IGNORECASE,
)
STOPS = re.compile(r"\s*<(?=[/|a-zA-Z])|\|")  # an end that is no mark of a sentence
FORMULA = re.compile(
    r"\$\$(?P<a>[^$]{1,400})\$\$|\$(?P<b>[^$\s](?:[^$\n]{0,300}[^$\s\\])?|\s[^$\n]{1,400}\s)\$"
    r"|\\\((?P<c>.{1,400}?)\\\)|\\\[(?P<d>.{1,400}?)\\\]",
    re.DOTALL,
)
JOINED = re.compile(
    r"\$[^$\n]{1,60}\$(?:(?:\s*,|\s*,?\s+(?:and|or|und|et|y|e))\s*\$[^$\n]{1,60}\$)+(?=[\s.*]*$)"
)
BREAK = re.compile(
    r",\s+(?=(?:no|wait|sorry|or\s+rather)\b)|,?\s+(?=rounded\b|correct\s+to\b)|[,;]\s+(?=(?:which|because|since|so|but|as|where|not|that|this|it|we|i|then|thus|hence|there|"
    r"therefore|making|giving|when|who|if|although|and\s+(?:so|thus|we|it|the|this|not)|"
    r"with|given|after|meaning|the|a|an|by|for|from)\b)"
    r"|\s+(?=(?:because|since|which|so|as|when|whenever|where|if|after|given|assuming|but|while|"
    r"although|though|due|and\s+(?:so|thus|therefore|we|it|this|not|the\s+\w+\s+is)|is|are|was|"
    r"whereas|unless|provided|for\s+(?:all|any|every|some)|by\s+\w+ing|meaning|making|hence|thus|therefore)\b)"
    r"|\s+[—–]\s+|\s+-\s+(?=[A-Za-z]{2})|\s+\((?=[A-Za-z]{2,})|\s*(?:⇒|→|∵|√(?=\s)|✓|✔|✅)|;",
    re.IGNORECASE,
)
CLAUSE = re.compile(CLAUSES, re.IGNORECASE)
ITEM = re.compile(r"\d{1,2}[.)]\s+\S")
TOLD = re.compile(  # "John has 12 apples", "the total is 12": the number is the answer
    r"(?!(?:We|You|Let|I|First|To|Step|Then|Next|Now|Note)\b)"
    r"(?=[A-Z]|the\s|it\s|there\s|he\s|she\s|they\s)(?:[^\W\d_][\w'’-]*\s+){1,7}?"
    r"(?:is|are|was|were|had|made|took|spent|sold|bought|paid|have|be|cost|got|won|left|[a-z]{2,}(?:s|ed))\s+"
    r"(?:to\s+[a-z]+\s+)?(?:(?:a\s+total\s+of|exactly|now|only|approximately|about|at)\s+)*"
    r"(?=[-$€£]?\d[^=+*/\d]*(?:[\d,.:/]*\d)?[^=+*/\d]*$)"
    r"|(?:[^\W\d_][\w'’-]*\s+){1,6}?(?:hat|haben|sind|kostet|kosten|verdient|braucht|beträgt|bleiben|a|ont"
    r"|sont|est|coûte|gagne|dépense|reste|tiene|tienen|son|es|hay|cuesta|gana|gastó|quedan|necesita|tem|têm"
    r"|são|custa|ganha|gasta|precisa|ha|hanno|sono|costa|guadagna|spende|heeft|hebben|zijn|kost|verdient)\s+"
    r"(?:(?:insgesamt|noch|genau|en\s+tout|en\s+total|um\s+total\s+de|un\s+total\s+de|in\s+totale|in\s+totaal)\s+)?"
    r"(?=[-$€£]?\d[^=+*/\d]*(?:[\d,.:/]*\d)?[^=+*/\d]*$)"
    r"|[Уу]\s+\w+\s+(?:есть\s+|осталось\s+|будет\s+|было\s+)?(?=\d[^=+*/\d]*(?:[\d,.:/]*\d)?[^=+*/\d]*$)"
    r"|[\u4e00-\u9fff]{1,12}?(?:一共|总共|共)?(?:有|是|为|需要|花了?|赚了?|得到)(?:了)?\s*(?=\d)"
)
TITLE = re.compile(  # of a book, a song: "To Kill a Mockingbird"
    r"(?:[\"“][^\"”\n]{2,80}[\"”]|(?:To|In|On|For|We|The|Let|From|As|When|Who|What|This|Here|If|After|By|See)"
    r"(?:\s+(?:[a-z]{1,3}\s+)?[A-Z][\w'’]+){2,7})(?=[\s.*]*$)"
)
TAIL = re.compile(
    r"[\s,]+(?:in\s+(?:total|all)|total|altogether|overall|left(?:\s+over)?|remaining|"
    r"respectively|again|then|now|exactly|too|indeed|here|instead|for\s+sure|for\s+certain|"
    r"of\s+course|obviously|clearly|(?<=,\s)i\s+(?:believe|think))$",
    re.IGNORECASE,
)
NUMBER = re.compile(
    r"[-+−–±]?\s*(?:\\?[$£€¥₹₩₽฿]|US\$|USD|EUR|Rs\.?|R\$)?\s*[-+−]?(?:\d|\.\d|[٠-٩०-९০-৯０-９½¼¾⅓⅔])"
)
MATH = re.compile(r"[-+−±√π∞∅]|\\|[(\[{|]|[A-Za-z]\s*(?:[-+*/^=_<>≤≥≠≈∈(]|\\[lg]e|$)|\d")
WORD = re.compile(r"(?<![\\A-Za-z])[^\W\d_]{2,}")
FUNCTIONS = frozenset(
    "sin cos tan cot sec csc log ln exp sqrt frac pi mod gcd lcm max min and or to abs arcsin "
    "arccos arctan inf infinity cm mm km kg am pm".split()
)
NOT_UNITS = frozenset(
    "more less fewer greater smaller larger bigger times than plus minus divided multiplied of "
    "to is are was were not at most least digits digit numbers or if when steps step "
    "cases parts".split()
)
CHOICE = re.compile(r"(?:\(([A-Ja-j])\)|\[([A-J])\]|([A-J])(?=[).:,\s]|$)|([a-j])(?=\)|\.?$))")
ARTICLE = re.compile(r"A\s+[a-z]|I\s+\w")
TITLES = re.compile(
    r"[A-ZÀ-ÞΑ-ΩА-Я\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af\u0600-\u06ff\u0900-\u0dff\u0e00-\u0e7f]"
)
ROMAN = re.compile(r"[IVX]{1,4}(?:(?:\s*,\s*|\s+)(?:(?:and|or)\s+)?[IVX]{1,4})*(?:\s+only)?")
_TERM = r"(?:[A-Za-z]{1,3}(?![A-Za-z])|\d+(?!\d))"
EQUATION = re.compile(  # E = mc^2: short names that are multiplied
    rf"[A-Za-z]{{1,3}}\s*=\s*{_TERM}(?:(?:[-+*/()\s]+\^?|\^)?{_TERM})*"
)
EMOJI = re.compile("^\\s+|[\\s\\u2600-\\u27bf\\ufe0f\\U0001f000-\\U0001faff]+$")
KEPT = re.compile(r"\d['′]\s?\d{1,2}(\")[*.\s]*$|\.\d+(\.\.\.)[*\s]*$")
"""What a value ends with that else only surrounds one: inches, and dots of a decimal."""
KNOWN = re.compile(
    r"(?:yes|no|true|false|none|half|not\s+enough\s+info(?:rmation)?|both(?:\s.{1,30})?|neither(?:\s+of\s.{1,30})?$|no\s+(?:real\s+)?solutions?|"
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
COUNTED = re.compile(
    rf"{_COUNT}(?:(?:[\s-]|\sand\s){_COUNT})*(?:\s+(?P<unit>[a-z]+))?$", re.IGNORECASE
)
REFUSED = frozenset(
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
    best worse better worst safe solid sound meaningful meaningless elsewhere somewhere yours
    two-fold twofold threefold open in-between
    sometimes symmetric e.g. i.e.""".split()
)
SUFFIX = re.compile(r"(?:ly|able|ible|ing|ed|ful|ous|less|ive|est)$")
PROSE_START = re.compile(
    r"[ei]\.[ge]\.|(?:let['’]?s?|we|i|to|first|since|because|step|if|when|as|in|for|now|here|this|it|there|given|"
    r"you|note|next|after|before|on|by|from|using|consider|so|then|not|see|what|which|how|why|who|"
    r"where|is|are|does|do|can|yet|unknown|pending|n/a|todo|tbd)\b[\s,:']*(?=\w)|(?:unknown|n/a|tbd|todo|pending)\b",
    re.IGNORECASE,
)
