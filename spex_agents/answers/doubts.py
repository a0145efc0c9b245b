r"""What around a statement makes it none: conditions, denials, others' views. Data, to be added to.

"I don't think the answer is 12", "if x = 3, the answer is 12", "the answer is 12, which is wrong".
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from spex_agents.answers.sentences import FAR, beginning, ending


class Doubts(NamedTuple):
    """Regular expressions, any of whose matches makes a sentence no statement of the answer.

    Attributes:
        before: Of the sentence up to where the answer is announced, from its last conclusion on.
        after: Of what follows the answer in its sentence.
        conclusion: Of what begins a conclusion: what is before it casts no doubt on it.
        sure: Of what looks like a doubt and is none: "no doubt".
    """

    before: str
    after: str = r"(?!)"
    conclusion: str = r"(?!)"
    sure: str = r"(?!)"


_WRONG = (
    r"(?:wrong|incorrect|false|mistaken|impossible|absurd|invalid|too\s+\w+|off|a\s+mistake"
    r"|an\s+error"
    r"|not\s+(?:\w+\s+)?(?:right|correct|true|possible|valid|it|quite\s+right|the\s+(?:final|right|"
    r"correct|answer)\b[\w ]*))\b"
)
_IS_WRONG = (
    rf"(?:(?:is|was|would\s+be|must\s+be|seems|looks|['’]s)\s+(?:\w+ly\s+)?{_WRONG}"
    r"|(?:can(?:no|['’])t|could(?:n['’]t|\s+not)|isn['’]t|wasn['’]t|doesn['’]t|does\s+not)\s+"
    r"(?:be\s+|seem\s+|look\s+|quite\s+)*(?:right|correct|true|possible|valid|work"
    r"|make\s+sense|add\s+up"
    r"|fit|match)\b)"
)

DOUBTS = {
    "en": Doubts(
        # A denial takes back what follows in its own clause, unless that gives the reason.
        r"(?:^|[,;:—])\s*(?!(?:since|because|as|although|though|while"
        r"|given)\b)[^,;:—]*\b(?:not|never"
        r"|nobody|none|nor|neither|no\s+(?:way|one|reason|chance|evidence|guarantee|proof)|hardly"
        r"|scarcely|barely|(?:un|im|in)\w*(?:likely|probable|possible|conceivable|correct)|doubt\w*"
        r"|false|wrong|mistake\w*|error|fallacy|absurd|rule[sd]?\s+out|exclude|den(?:y|ies)"
        r"|disprove\w*"
        r"|cannot|\w+n[’']t|might|could|may|tempting|wonder\w*|when(?:ever)?|until|before"
        r"|once|without"
        r"|far\s+from|pretend\w*|whether|let['’]s\s+say|would\s+follow"
        r"|(?:some|people|many|most|others|one|everyone|\w*one|students|they"
        r"|you)\s+[^,;:—]*(?:say|think"
        r"|believe|claim|argue|expect|guess|assume))\b[^,;:—]*$"
        # A condition holds for the whole sentence.
        r"|\b(?:if|unless|suppos(?:e|ing)|assum(?:e|ing)|imagine|otherwise|(?:in"
        r"|for)\s+(?:that|which)"
        r"\s+case|perhaps|maybe|possibly|so\s+far|at\s+first|initially|(?:first|initial|naive)\s+"
        r"(?:guess|thought|attempt|try|instinct|idea|intuition)|hypothetically|hopefully"
        r"|provided(?:\s+that)?|as\s+long\s+as|ha(?:d"
        r"|ve)\s+(?:he|she|it"
        r"|they|we|i|you)\s+\w+(?:ed|en|id|nt|ad)|according\s+to\s+(?-i:[A-Z]\w+|him|her"
        r"|them|my|his)"
        r"|(?:common|typical|frequent)\s+(?:mistake|error|misconception))\b"
        r"|\b(?:for|with|at|when)\s+\$?\w{1,2}\s*=\s*[^,;:—]*,?\s*$"
        r"|\b(?:cases?|parts?|sub-?(?:problem|question))\s*[(\[]?(?:\d+|[a-z]"
        r"|i+)[)\]]?\s*[:,.]?\s*$"
        r"|\b(?:first|second|third|last|other|one|either)\s+(?:case|part)\b|\bin\s+case\b"
        # Others' views, and what is to be shown, directly before.
        r"|\b(?:who|what|where|why|how|than|like|as|of|verify|check|confirm|ensure"
        r"|sure(?=\s+(?:that\s+)?$)(?<=make sure)|show"
        r"|prove|hope|is"
        r"|does|did|was|says|said|claims|claimed"
        r"|(?<!\bwe )(?<!\bi )claim(?!\W*:)|guess|suspect|believe[sd]|thinks|thought|wrote|writes"
        r"|argue[sd]?"
        r"|told|guess(?:es|ed)|answered|insist(?:s|ed)?|state[sd]|statement|imagine"
        r"|concludes|infers|deduces|suggestion|idea|assumption|assumed)"
        r"(?:\s+(?:me|us|him|her|them|you))?(?:\s+that)?[\s:,\"'“‘]*$",
        r"^[\s,;*$)—-]*(?:(?:but|and|or)\s+)?(?:only\s+)?(?:if|unless|except|when)\b"
        r"(?!\s+(?:necessary|any|needed|rounded|we\s+round|i\b))"
        r"|^[\s,]*so\s+far\b"
        r"|^[\s$]*[,;—–.-]+\s*(?:no\s*,|no\s+wait|wait\b|sorry\b|or\s+rather\b)"
        rf"|^[\s\"'”’)*]*{_IS_WRONG}|^[\s\"'”’)*]*,?\s*(?:said|says|sa(?:id|ys)\s+\w+|he|she"
        rf"|they|wrote"
        r"|claim(?:s|ed)|thinks|thought)\b"
        rf"|\b(?:that|this|it|which|but)\s*{_IS_WRONG}|\bbut\s+(?:this|that|it)\s+(?:ignores"
        rf"|forgets|"
        r"misses|neglects|counts|does\s+not|doesn['’]t|assumes|contradicts)\b|\b(?:as"
        r"|like)\s+(?:he|she|"
        r"they|[A-Z]\w+)\s+(?:says|said|claims|thinks)\b",
        r"(?:^|(?<!\bif)[\s,;:—])(?:so|hence|thus|therefore|consequently|accordingly"
        r"|it\s+follows\s+that"
        r"|which\s+means(?:\s+that)?|this\s+means(?:\s+that)?|meaning|we\s+conclude|but)\b(?!\s+far)",
        r"\b(?:even\s+if\b|no\s+doubt|without\s+(?:a\s+|any\s+)?doubt|undoubtedly"
        r"|not\s+(?:too\s+|very\s+)?"
        r"(?:hard|difficult|surprising(?:ly)?)|not\s+counting|(?:if|unless)\s+(?:i\b|i['’]m"
        r"|my\b|we\b)"
        r"[^,;:]*\b(?:mistaken|correct(?:ly)?|right|mistakes?|errors?|wrong))",
    ),
    "es": Doubts(
        r"\b(?:si|quizás?|tal\s+vez|acaso|supon\w+|a\s+menos|no\s+(?:creo|pienso"
        r"|es\s+(?:cierto|verdad|"
        r"posible|probable|seguro)|estoy|significa|parece|considero|sé|quiere|diría)|dudo|imposible"
        r"|improbable|poco\s+probable|falso|cuando|podría|dice|dijo|cree)\b",
        r"^[\s,]*(?:pero\s+|y\s+)?(?:sólo\s+|solo\s+)?(?:si|a\s+menos|cuando|salvo)\b"
        r"|(?:es|está)\s+(?:incorrect|equivocad|mal\b|fals|erróne)",
        r"\b(?:por\s+(?:lo\s+)?tanto|así\s+que|en\s+consecuencia|por\s+ende)\b",
    ),
    "fr": Doubts(
        r"\b(?:si|s['’]ils?|peut-être|suppos\w+|à\s+moins|(?:ne\s+|n['’])(?:pense|crois|suis"
        r"|signifie|"
        r"veut|implique|est\s+pas\s+(?:vrai|certain|sûr|possible|évident))|doute|impossible"
        r"|improbable"
        r"|peu\s+probable|faux|est-ce|quand|lorsque|dit|pense\s+que\s+non|pourrait)\b",
        r"^[\s,]*(?:mais\s+|et\s+)?(?:seulement\s+)?(?:si|sauf|à\s+moins|quand|lorsque)\b"
        r"|est\s+(?:incorrect|faux|fausse|erroné)|n['’]est\s+pas\s+(?:correct|juste|bon)",
        r"\b(?:donc|ainsi|par\s+conséquent|d['’]où)\b",
    ),
    "de": Doubts(
        r"\b(?:wenn|falls|sofern|ob|angenommen|vielleicht|möglicherweise|eventuell|nicht\b.*\bdass"
        r"|(?:glaube|denke|meine|heißt|bedeutet)\s+(?:\w+\s+)?nicht|bezweifle|unmöglich"
        r"|unwahrscheinlich"
        r"|kaum|keines(?:falls|wegs)|behauptet|sagt|meint|glaubt|könnte|dürfte|hätte|wäre)\b",
        r"^[\s,]*(?:aber\s+|und\s+)?(?:nur\s+)?(?:wenn|falls|sofern|außer)\b"
        r"|(?:ist|war)\s+(?:aber\s+|jedoch\s+)?(?:falsch|nicht\s+(?:richtig|korrekt)|unmöglich)",
        r"\b(?:also|daher|deshalb|somit|folglich|demnach|deswegen)\b",
    ),
    "it": Doubts(
        r"\b(?:se|forse|suppon\w+|a\s+meno|non\s+(?:credo|penso|è\s+(?:vero|possibile|detto"
        r"|certo)|sono"
        r"|significa|sembra|ritengo)|dubito|impossibile|improbabile|falso|quando|potrebbe|dice)\b",
        r"^[\s,]*(?:ma\s+|e\s+)?(?:solo\s+)?(?:se|tranne|a\s+meno|quando)\b"
        r"|è\s+(?:sbagliat|errat|fals|scorrett)|non\s+è\s+(?:corrett|giust)",
        r"\b(?:quindi|pertanto|perciò|dunque)\b",
    ),
    "pt": Doubts(
        r"\b(?:se|talvez|supon\w+|suponha\w*|a\s+menos|caso|não\s+(?:acho|creio|acredito"
        r"|penso|é\s+(?:"
        r"verdade|possível|certo)|estou|significa|parece)|duvido|impossível|improvável|falso|quando"
        r"|poderia|pode|disse|diz)\b",
        r"^[\s,]*(?:mas\s+|e\s+)?(?:só\s+|somente\s+|apenas\s+)?(?:se|a\s+menos|quando|exceto)\b"
        r"|está\s+(?:incorret|errad)|é\s+(?:incorret|errad|fals)",
        r"\b(?:portanto|logo|assim|por\s+isso)\b",
    ),
    "zh": Doubts(
        r"如果|假如|假设|假設|若|要是|除非|也许|也許|或许|或許|不(?:认为|認為|觉得|能说|能說"
        r"|可能|意味|代表|一定)"
        r"|(?:不|没|沒)[^，。；]{0,4}(?:说|說|认为|認為)|可能|是否|怀疑|懷疑|难道|難道"
        r"|误以为|有人|(?:小|老)\w说",
        r"^.{0,6}(?:是错|是錯|不对|不對|错误|錯誤)|(?:但|可是|不过)?(?:这|那|這)?(?:是错"
        r"|是錯|不对|不對|不正确|错了)"
        r"|(?:的话|時候|时候)",
        r"所以|因此|因而|故|综上|綜上|从而|于是",
    ),
    "ja": Doubts(
        r"もし|仮に|ならば?[、,]|なければ|れば[、,]|場合|とすると|たら[、,]|かどうか",
        r"(?:かも|と(?:は|も)?(?:思(?:い|わ|え)|言え|限ら|考え)|とは|ではな|じゃな"
        r"|でしょうか|だろうか|のか|なら|場合|間違)",
        r"したがって|よって|ゆえに|だから|そのため",
    ),
    "ko": Doubts(
        r"만약|만일|가정|(?:이|라|다)면|없다면|아마도?|혹시|경우",
        r"(?:아니|아닙|아닌|않|수도|생각하지|까\b|까요|(?:이|라)면|틀렸|틀린)",
        r"따라서|그러므로|그래서",
    ),
    "ru": Doubts(
        r"\b(?:если|предположим|допустим|возможно|может|не\s+(?:думаю|считаю|уверен\w*|верю"
        r"|значит|факт"
        r"|означает|верно)|неверно|вряд\s+ли|сомневаюсь|невозможно|маловероятно|когда|ли|бы|якобы"
        r"|сказал\w*|думает|считает)\b",
        r"^[\s,]*(?:но\s+|и\s+)?(?:только\s+)?(?:если|когда|кроме)\b|\b(?:неверн|неправильн"
        r"|ошибочн)",
        r"\b(?:поэтому|следовательно|таким\s+образом|значит|итак)\b",
    ),
    "ar": Doubts(
        r"(?<!\w)(?:إذا|لو\s|ربما|قد\s|لعل|بافتراض|نفترض|لا\s+(?:أعتقد|أظن|أرى|يعني)|لست|ليس"
        r"|أشك|مستحيل|هل|يقول)",
        r"^[\s،,]*(?:فقط\s+)?(?:إذا|لو|عندما)|(?:خطأ|غير\s+صحيح)",
        r"لذلك|إذن|وبالتالي|لذا|وعليه",
    ),
    "hi": Doubts(
        r"यदि|अगर|शायद|मान\s+लीजिए|मान\s+लें|नहीं\s+(?:लग|मान|सोच|कह)|असंभव|क्या|हो\s+सकता|संभव",
        r"नहीं|गलत|यदि|अगर|हो\s+सकता|तब\s+जब|क्या",
        r"इसलिए|अतः|अत:|इस\s+प्रकार",
    ),
    "nl": Doubts(
        r"\b(?:als|indien|misschien|mogelijk|stel|tenzij|(?:denk|geloof|betekent)\s+niet"
        r"|twijfel|onmogelijk"
        r"|onwaarschijnlijk|zegt|zou)\b",
        r"^[\s,]*(?:alleen\s+)?(?:als|indien|tenzij)\b|is\s+(?:fout|onjuist|niet\s+juist)",
        r"\b(?:dus|daarom|derhalve)\b",
    ),
    "pl": Doubts(
        r"\b(?:jeśli|jeżeli|gdyby|może|załóżmy|nie\s+(?:sądzę|myślę|uważam|wierzę)|wątpię"
        r"|niemożliwe)\b",
        r"^[\s,]*(?:tylko\s+)?(?:jeśli|jeżeli|gdy\w*)\b|\b(?:błędn|niepoprawn)",
        r"\b(?:więc|zatem|dlatego)\b",
    ),
    "tr": Doubts(
        r"\b(?:eğer|belki|varsayalım|sanmıyorum|muhtemelen)\b",
        r"değil|sanmıyorum|düşünmüyorum|olabilir|yanlış|eğer",
        r"\b(?:dolayısıyla|bu\s+yüzden|bu\s+nedenle)\b",
    ),
    "vi": Doubts(
        r"nếu|có\s+thể|có\s+lẽ|giả\s+sử|không\s+(?:nghĩ|tin|phải|chắc)|trừ\s+khi",
        r"^[\s,]*(?:chỉ\s+)?(?:nếu|khi)\b|\bsai\b|không\s+đúng",
        r"\b(?:vậy|vì\s+vậy|do\s+đó)\b",
    ),
    "id": Doubts(
        r"\b(?:jika|kalau|apabila|mungkin|andaikan|misalkan|tidak\s+(?:yakin|berpikir"
        r"|percaya|mungkin)"
        r"|bukan|mustahil|kecuali)\b",
        r"^[\s,]*(?:hanya\s+)?(?:jika|kalau|apabila|kecuali)\b|\bsalah\b|tidak\s+benar",
        r"\b(?:jadi|maka\s+dari\s+itu|oleh\s+karena\s+itu)\b",
    ),
    "sv": Doubts(
        r"\b(?:om|kanske|anta|tror\s+inte|möjligen|omöjligt|såvida)\b",
        r"^[\s,]*(?:bara\s+|endast\s+)?(?:om|såvida)\b|är\s+fel\b",
        r"\b(?:alltså|därför|således)\b",
    ),
    "uk": Doubts(
        r"\b(?:якщо|можливо|припустимо|не\s+(?:думаю|вважаю|вірю)|навряд|неможливо)\b",
        r"^[\s,]*(?:лише\s+|тільки\s+)?якщо\b|\bнеправильн",
        r"\b(?:отже|тому)\b",
    ),
    "el": Doubts(
        r"\b(?:αν|εάν|ίσως|δεν\s+(?:νομίζω|πιστεύω)|υποθέτουμε)\b", r"^[\s,]*(?:αν|εάν)\b"
    ),
    "he": Doubts(r"אם\s|אולי|לא\s+(?:חושב|סביר|בטוח)|נניח", r"^[\s,]*אם\s|שגוי"),
    "fa": Doubts(r"اگر|شاید|فرض|فکر\s+نمی", r"نیست|اگر|غلط"),
    "bn": Doubts(r"যদি|হয়তো|মনে\s+হয়\s+না", r"নয়|না\b|ভুল|যদি"),
    "te": Doubts(r"ఒకవేళ|బహుశా|అయితే", r"కాదు|తప్పు"),
    "th": Doubts(r"ถ้า|หาก|อาจ|ไม่(?:คิด|เชื่อ|ใช่)", r"ถ้า|หาก|ไม่ใช่|ผิด|หรือไม่"),
    "sw": Doubts(r"\b(?:kama|ikiwa|labda|sidhani)\b", r"\b(?:kama|ikiwa)\b"),
}
"""By the language's code, see `spex_agents.answers.languages.Language.name`."""

_RETRACTED = re.compile(
    r"^[\s\"'”’*_)$.!…-]*(?:(?:oh|but|no|wait|hmm+|hold\s+on|actually|sorry|oops|however"
    r"|hang\s+on|ah)\b"
    r"[\s,.!…—–-]*)*"
    r"(?:(?:that|this|it)\s+(?:ignores|forgets|misses|neglects|contradicts|overcounts"
    r"|double-counts)\b"
    rf"|(?:that|this|it|which)\s*{_IS_WRONG}|i\s+(?:\w+\s+)?(?:made\s+an?\s+(?:\w+\s+)?"
    r"(?:mistake|error|slip)|forgot|missed|mis(?:read|\w+ed))\b"
    r"|there\s+(?:is|was|['’]s)\s+(?:a\s+mistake|an\s+error)|(?:let\s+me|i\s+(?:need|have"
    r"|must|should)"
    r"(?:\s+to)?|let['’]?s)\s+(?:re(?:do|compute|calculate|consider|think|start|read"
    r"|evaluate|visit)"
    r"|try\s+again|start\s+over|correct)|(?:scratch|strike)\s+that|on\s+second\s+thought"
    r"|never\s*mind)",
    re.IGNORECASE,
)
_TAKEN_BACK = re.compile(
    r"^[\s\"'”’*_)$.!…-]*(?:but\s+)?(?:wait|hold\s+on|hmm+|oops|no|nope)\b[\s,.!…—–-]+"
    r"(?:no\b|that|this|it\b|i\s|not\b|we\s+(?:need|forgot|must|have|should))",
    re.IGNORECASE,
)


def doubted(text: str, announced: int, answer: tuple[int, int], language: str) -> bool:
    """Whether what is around a statement of an answer makes it none.

    Args:
        text: The whole text.
        announced: Where the answer is announced: after "the final" of "the final answer is 12".
        answer: Where the answer begins and ends.
        language: Its code.
    """
    before, after, conclusion, sure = _compiled(language)
    sentence = text[beginning(text, announced) : announced]
    sentence = sentence[max((end.end() for end in conclusion.finditer(sentence)), default=0) :]
    sentence = sure.sub("", sentence)
    end = answer[1]
    stop = ending(text, end)
    # In some languages the verb is last, and stands in what has been read as the answer.
    if before.search(sentence) or any(after.search(text[at:stop]) for at in answer):
        return True
    return retracted(text, end) or retracted(text, stop)


def retracted(text: str, end: int) -> bool:
    """Whether what follows takes back what has been said: "Wait, that is wrong."."""
    following = text[end : end + FAR]
    return bool(_RETRACTED.match(following) or _TAKEN_BACK.match(following))


@cache
def _compiled(language: str) -> tuple[re.Pattern[str], ...]:
    doubts = DOUBTS.get(language, Doubts(r"(?!)"))
    return tuple(re.compile(pattern, re.IGNORECASE) for pattern in doubts)
