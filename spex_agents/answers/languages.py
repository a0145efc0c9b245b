"""How an answer is announced in some languages: data, to be added to."""

from __future__ import annotations

from typing import NamedTuple


class Language(NamedTuple):
    """How one language says what an answer is.

    Attributes:
        name: ISO 639-1.
        stems: What a line must have one of, in lower case, for the rest to be looked for.
        nouns: Regular expressions of "answer", a colon or a verb comes next.
        verbs: Of "is", between the noun and the answer.
        refused: Of what an answer does not begin with: "not", "what", "wrong".
        tail: Of what ends a sentence after the answer.
    """

    name: str
    stems: tuple[str, ...]
    nouns: str
    verbs: str
    refused: str
    tail: str = ""


LANGUAGES = (
    Language(
        "zh",
        ("答案", "結果", "结果"),
        r"(?:最终|最後|最后|正确|正確|参考|本题|此题|所以|因此)?的?(?:答案|結果|结果)(?:选项)?",
        r"(?:应该|應該|应|就)?(?:是|为|為|等于|等於|选|選)",
        r"不|否|非|什么|什麼|多少|错|錯|对|對|正确|正確|哪|显然|未知|吗|因为|根据|由",
        r"个?[。！]|吧|了$",
    ),
    Language(
        "zh",
        ("选", "選"),
        r"(?:故|因此|所以|应|本题)?(?:选|選)(?:项|項|择)?",
        r"(?=\s*[A-Ha-h]\b|\s*[（(][A-H])",
        r"不|择|項",
    ),
    Language(
        "ja",
        ("答", "正解"),
        r"(?:最終的な|最終|正しい|よって|したがって)?(?:答え|解答|回答|答|正解)",
        r"(?:は|が)[、,]?",
        r".{0,20}(?:では|じゃ)(?:あり|な)|何|なに|いくつ|まだ|不明|わから|間違|正し|どれ|どう|ない|簡単|この|その",
        r"(?:です|となります|になります|である|だ|となる|になる)[。．]?|[。．]",
    ),
    Language(
        "ko",
        ("답",),
        r"(?:최종|따라서)?\s*(?:정답|답|해답)",
        r"(?:은|는|이)",
        r".{0,20}아니|.{0,20}아닙|무엇|아직|모르|틀|맞|아니|아닙|얼마|어떤",
        r"(?:입니다|이다|이에요|예요|가 됩니다|이 됩니다|개입니다)\.?",
    ),
    Language(
        "de",
        ("antwort", "lösung", "ergebnis"),
        r"\b(?:(?:Die|die)\s+)?(?:(?:endgültige|richtige|korrekte|finale|Endgültige|Richtige)\s+)?"
        r"(?:Antwort|Lösung)\b|\b(?:Endergebnis|Endantwort|Ergebnis)\b",
        r"(?:ist|lautet|beträgt)\b",
        r"(?:nicht|noch|kein|falsch|richtig|korrekt|klar|unklar|was|ob|das|die|der|eine?)\b",
    ),
    Language(
        "fr",
        ("réponse",),
        r"\b(?:(?:La|la)\s+)?(?:bonne\s+)?[Rr]éponse(?:\s+(?:finale|correcte|exacte))?\b",
        r"(?:est|vaut)\b",
        r"(?:pas|fausse|correcte|juste|claire|inconnue|donc\s+pas|celle|une?|dans)\b",
    ),
    Language(
        "es",
        ("respuesta",),
        r"\b(?:(?:La|la)\s+)?[Rr]espuesta(?:\s+(?:final|correcta))?\b",
        r"(?:es|será|sería)\b",
        r"(?:incorrecta|correcta|errónea|clara|desconocida|una?|el|la|que)\b",
    ),
    Language(
        "pt",
        ("resposta",),
        r"\b(?:(?:A|a)\s+)?[Rr]esposta(?:\s+(?:final|correta|certa))?\b",
        r"(?:é|será|seria)\b",
        r"(?:incorreta|correta|errada|certa|clara|desconhecida|uma?|o|a|que)\b",
    ),
    Language(
        "it",
        ("risposta",),
        r"\b(?:(?:La|la)\s+)?[Rr]isposta(?:\s+(?:finale|corretta|esatta|giusta))?\b",
        r"è",
        r"(?:sbagliata|corretta|errata|chiara|una?|il|la|che)\b",
    ),
    Language(
        "ru",
        ("ответ",),
        r"\b(?:[Оо]кончательный\s+|[Пп]равильный\s+|[Вв]ерный\s+)?[Оо]твет\b",
        r"(?:—|–|-|равен|равна|равно|это)",
        r"(?:не|неверн\w*|верн\w*|правильн\w*|ещё|еще|неизвестен|на)\b",
    ),
    Language(
        "uk",
        ("відповідь",),
        r"\b(?:[Оо]статочна\s+|[Пп]равильна\s+)?[Вв]ідповідь\b",
        r"(?:—|–|-|це|є)",
        r"(?:не|ще)\b",
    ),
    Language(
        "ar",
        ("جابة", "جواب"),
        r"(?:الإجابة|الاجابة|الجواب|إجابة)(?:\s+(?:النهائية|النهائي|الصحيحة|الصحيح))?",
        r"(?:هي|هو|تساوي|يساوي)",
        r"ليس|ليست|لا|غير|ما",
    ),
    Language(
        "hi",
        ("उत्तर", "जवाब"),
        r"(?:अंतिम\s+|सही\s+|इसलिए\s+)?(?:उत्तर|जवाब)",
        r"(?:है|हैं|होगा)?",
        r".{0,20}नहीं|क्या|गलत|सही|अभी",
        r"\s*(?:है|हैं|होगा)\s*[।.]?|।",
    ),
    Language("bn", ("উত্তর",), r"(?:চূড়ান্ত\s+|সঠিক\s+)?উত্তর", r"(?:হল|হলো|হচ্ছে)?", r"নয়|কী|ভুল", r"।"),
    Language("te", ("సమాధానం", "జవాబు"), r"(?:తుది\s+|సరైన\s+)?(?:సమాధానం|జవాబు)", r"", r"కాదు"),
    Language("th", ("คำตอบ",), r"(?:คำตอบ)(?:สุดท้าย|ที่ถูกต้อง)?", r"(?:คือ|เท่ากับ)", r"ไม่|อะไร|ผิด"),
    Language(
        "nl",
        ("antwoord",),
        r"\b(?:(?:Het|het)\s+)?(?:(?:juiste|definitieve|uiteindelijke)\s+)?[Aa]ntwoord\b",
        r"(?:is|luidt)\b",
        r"(?:niet|nog|geen|fout|juist|een|de|het)\b",
    ),
    Language(
        "pl",
        ("odpowiedź",),
        r"\b(?:[Oo]stateczna\s+|[Pp]oprawna\s+)?[Oo]dpowiedź\b",
        r"(?:to|brzmi|wynosi)\b",
        r"nie\b",
    ),
    Language(
        "tr",
        ("cevap",),
        r"\b(?:[Dd]oğru\s+|[Ss]on\s+)?[Cc]evap\b",
        r",?",
        r"(?:.{0,20}değil|yanlış|henüz|ne)\b",
    ),
    Language(
        "vi",
        ("đáp", "câu"),
        r"(?:[ĐđCc]\w+\s+)?(?:[Đđ]áp\s+(?:án|số)|[Cc]âu\s+trả\s+lời)(?:\s+(?:cuối\s+cùng|đúng))?",
        r"là",
        r"không|gì|sai",
    ),
    Language(
        "id",
        ("jawaban",),
        r"\b[Jj]awaban(?:nya)?(?:\s+(?:akhir|akhirnya|yang\s+benar))?\b",
        r"(?:adalah|ialah)\b",
        r"(?:bukan|belum|salah|benar)\b",
    ),
    Language("sw", ("jibu",), r"\b[Jj]ibu(?:\s+(?:la\s+mwisho|sahihi))?\b", r"ni\b", r"si\b"),
    Language("sv", ("svar",), r"\b[Ss]var(?:et)?\b", r"är\b", r"(?:inte|fel|rätt|en|ett)\b"),
    Language(
        "el",
        ("απάντηση",),
        r"(?:[ΗηΤ]\w*\s+)?(?:τελική\s+|σωστή\s+)?[Αα]πάντηση",
        r"είναι",
        r"(?:δεν|λάθος|σωστή)\b",
    ),
    Language("he", ("תשובה",), r"ה?תשובה(?:\s+(?:הסופית|הנכונה))?", r"היא", r"לא|שגויה|נכונה"),
    Language(
        "fa",
        ("پاسخ", "جواب"),
        r"(?:پاسخ|جواب)(?:\s+(?:نهایی|صحیح|درست))?",
        r"(?:برابر|است)?",
        r"نیست|نه|غلط",
        r"\s*است\s*\.?",
    ),
)
