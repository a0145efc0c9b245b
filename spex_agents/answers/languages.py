"""How an answer is announced in some languages: data, to be added to."""

from __future__ import annotations

from typing import NamedTuple

from spex_agents.answers.other_languages import OTHERS


class Language(NamedTuple):
    """How one language says what an answer is.

    Attributes:
        name: ISO 639-1.
        stems: What a line must have one of, in lower case, for the rest to be looked for.
        nouns: Regular expressions of "answer", a colon or a verb comes next.
        verbs: Of "is", between the noun and the answer.
        refused: Of what an answer does not begin with: "not", "what", "wrong".
        tail: Of what ends a sentence after the answer.
        correct: Of "is correct" after the letter of a choice.
    """

    name: str
    stems: tuple[str, ...]
    nouns: str
    verbs: str
    refused: str
    tail: str = ""
    correct: str = ""


OPTION = (
    r"(?:l['’]|(?:the|la|le|les|el|il|lo|die|der|das|a|o|het|de|это|это\s+—|to)\s+)?"
    r"(?:(?:option|choice|letter|answer|opción|letra|respuesta|inciso|alternativa|opção"
    r"|opzione|lettera"
    r"|risposta|lettre|réponse|proposition|antwort(?:möglichkeit)?|buchstabe|optie|keuze"
    r"|odpowiedź|opcja"
    r"|вариант(?:\s+ответа)?|буква|ответ|варіант|şık|seçenek|pilihan|opsi|phương\s+án"
    r"|đáp\s+án|alternativ"
    r"|الخيار|الحرف|विकल्प|ตัวเลือก|ข้อ|επιλογή|אפשרות|گزینه)\b[ \t]*[:：]?[ \t]*"
    r"|(?:选项|選項|選択肢|선택지|보기)[ \t]*[:：]?[ \t]*)?"
    r"(?-i:(?=[*_«\"“„「]{0,2}(?:[A-HА-Д](?![A-Za-zÀ-ÿА-я\d])|\([A-Ha-hА-Д]\)|[a-h]\))))"
)
"""What stands before the letter of a choice in a sentence, in any of the languages."""

OWNED = (
    r"\b(?:seine?|ihre?|deine?|eine|keine|erste|zweite|falsche|mögliche|sa|son|leur|ta|une|première"
    r"|fausse|sus?|tus?|otra|primera|una|sua|tua|uma|primeira|prima|seconda|его|её|их|первый"
    r"|неверный|неправильный|ошибочный|mauvaise|verkeerde|foute|yanlış|błędna|felaktigt|väärä"
    r"|грешен|грешният|nesprávná|pogrešan)"
    r"|(?:他|她|他们|小\w|第.[个個]|错误|錯誤)的?|(?:彼|彼女|君|さん|間違った)の?"
    r"|그의|그녀의|잘못된|गलत|उसका"
)
"""What stands before "answer" where it is somebody's, or one of several: in any language."""

THEN = (
    r"(?:aproximadamente|environ|approximativement|ungefähr|etwa|circa|cerca\s+de|unos|unas"
    r"|ongeveer"
    r"|około|yaklaşık|khoảng|sekitar|ungefär|примерно|приблизительно|около|大约|大約|约|約"
    r"|약|حوالي|लगभग|donc|alors|ainsi|also|somit|daher|folglich|demnach|nun|dann|schließlich"
    r"|entonces|pues|así"
    r"|quindi|dunque|pertanto|allora|portanto|então|logo|assim|dus|alltså|więc|zatem|итак"
    r"|таким\s+образом"
    r"|тогда|поэтому|следовательно|deci|maka|vậy|exactement|genau|exactamente|precisamente"
    r"|esattamente"
    r"|exatamente|igual\s+a|égale?\s+à|gleich|равен|就是|则|即|因此|따라서|إذن"
    r"|तो)(?![A-Za-zÀ-ÿА-яёא-ۿऀ-ॿ])[\s,:：]*"
)
"""Words between "is" and the answer that say nothing of it."""

CLAUSES = (
    r"[,，、]\s+(?=[^\W\d_]{2,}\b(?!\s*[=(]))(?!(?:y|et|und|e|ed|en|och|и|i|ve)\s)"
    r"|[,;，]?\s*(?:因为|因為|由于|而不是|而非|，|,\s*而)"
    r"|[,;]?\s+(?=(?:porque|pues|ya\s+que|puesto\s+que|dado\s+que|debido|si|cuando|y\s+no"
    r"|pero|car|parce"
    r"|puisque|quand|lorsque|mais|et\s+non|weil|denn|da|wenn|falls|aber|und\s+nicht|perché"
    r"|poiché|siccome"
    r"|se|quando|ma|pois|já\s+que|visto|mas|e\s+(?:não|non)|потому|так\s+как|поскольку|если"
    r"|когда|но|а\s+не"
    r"|omdat|want|als|maar|ponieważ|bo|jeśli|ale|çünkü|vì|bởi|nếu|karena|jika|tetapi|eftersom|om"
    r"|لأن|إذا|क्योंकि|यदि|επειδή|γιατί|כי|زیرا|چون)(?!\w))"
)
"""What begins another clause after an answer, in any of the languages."""

LANGUAGES = (
    Language(
        "zh",
        ("答案", "結果", "结果", "选项", "選項"),
        r"(?:最终|最後|最后|正确|正確|参考|(?:本|此|该|这道?)题|问题|方程|题目|所以"
        r"|因此)?的?(?:答案|(?<=最[终終后後])[结結]果|(?<=正确的)选项|(?<=正确)选项"
        r"|(?<=正確)選項)(?:选项)?",
        r"(?:应该|應該|应|就)?(?:大约|大約|约|約)?(?:是|为|為|等于|等於|选|選)",
        r"不|否|非|什么|什麼|多少|错|錯|对|對|正确|正確|哪|显|明显|未知|吗|因为|根据|由"
        r"|一?个?[正负整奇偶分小]数|一个|唯一|[^，。]{1,12}(?:的|之)(?:和|差|积|商|倍数)"
        r"|简单|[^，。]{1,10}的(?:[。，]|$)",
        r"个?[。！]|吧|了$",
        r"(?:是|为)?(?:正确|正確|对|對)的?(?![吗嗎])",
    ),
    Language(
        "zh",
        ("选", "選"),
        r"(?<![不没可挑])(?:故|因此|所以|应|本题|答案)?(?:选|選)(?:项|項|择)?",
        r"(?=\s*[A-Ha-h]\b|\s*[（(][A-H])",
        r"不|择|項",
    ),
    Language(
        "ja",
        ("答", "正解", "選択肢"),
        r"(?:最終的な|最終|正しい|よって|したがって)?(?:答え|解答|回答|答|正解|(?<=正しい)選択肢)",
        r"(?:は|が)[、,]?",
        r".{0,20}(?:では|じゃ)(?:あり|な)|何|なに|いくつ|まだ|不明|わか[らり]|間違|正し|どれ"
        r"|どう|ない|簡単|この|その|整数|正の|負の|偶数|奇数|[^。]{1,12}の(?:和|差|積|商"
        r"|倍数)|[^。]{1,12}より",
        r"(?:です|となります|になります|である|だ|となる|になる)[。．]?|[。．]",
        r"(?:が|は)(?:正解|正しい|正答)",
    ),
    Language(
        "ko",
        ("답",),
        r"(?:최종|따라서)?\s*(?:정답|답|해답)",
        r"(?:은|는|이)(?=\s)",
        r".{0,20}아니|.{0,20}아닙|무엇|아직|정수|자연수|짝수|홀수|양수|음수"
        r"|[^.]{1,12}의 (?:합|차|곱)|[^.]{1,12}보다|모르|틀|맞|아니|아닙|얼마|어떤",
        r"(?:입니다|이다|이에요|예요|가 됩니다|이 됩니다|개입니다)\.?",
        r"(?:이|가|은|는) ?(?:정답|맞)",
    ),
    Language(
        "de",
        ("antwort", "lösung", "ergebnis"),
        r"\b(?:(?:Die|die)\s+)?(?:(?:endgültige|richtige|korrekte|finale|Endgültige|Richtige)\s+)?"
        r"(?:Antwort|Lösung)\b|\b(?:Endergebnis|Endantwort|Ergebnis(?=\W{0,6}[:：]))\b",
        r"(?:ist|lautet|beträgt)\b",
        r"(?:nicht|noch|kein|falsch|richtig|korrekt|klar|unklar|was|ob|das|die|der|eine?"
        r"|weder|kaum|nie|offensichtlich|eindeutig|einfach|bekannt|gegeben|positiv|negativ"
        r"|größer|kleiner|mindestens|höchstens)\b",
        correct=r" ist (?:also |daher |somit )?(?:richtig|korrekt|die (?:richtige"
        r"|korrekte) (?:Antwort|Lösung|Option))\b",
    ),
    Language(
        "sv",
        ("svar",),
        r"\bär\s+(?:det\s+rätta\s+)?svaret\b",
        r"(?=[ \t])",
        r"(?:inte|fel|rätt|en|ett)\b",
    ),
    Language(
        "nl",
        ("antwoord",),
        r"\bis\s+(?:dus\s+)?het\s+(?:juiste\s+)?antwoord\b",
        r"(?=[ \t])",
        r"(?:niet|nog|geen|fout|juist|een|de|het|op)\b",
    ),
    Language(  # "Somit ist die Antwort 12."
        "de",
        ("antwort",),
        r"\b(?:ist|lautet)\s+(?:also\s+|somit\s+|daher\s+)?(?:die|meine)\s+"
        r"(?:(?:endgültige|richtige|korrekte|finale)\s+)?Antwort\b(?:\s+also\b)?",
        r"(?=[ \t])",
        r"(?:nicht|noch|kein|falsch|richtig|korrekt|klar|unklar|was|ob|weder|auf)\b",
    ),
    Language(
        "fr",
        ("réponse", "correcte", "bonne"),
        r"\b(?:(?:La|la)\s+)?(?:[Bb]onne\s+)?(?:[Rr]éponse(?:\s+(?:finale|correcte|exacte|juste))?"
        r"|(?:[Oo]ption|[Pp]roposition)\s+correcte|(?<=bonne )option)\b",
        r"(?:est|vaut)\b",
        r"(?:pas|fausse|correcte|juste|claire|inconnue|incorrecte|donc\s+pas|celle|une?|dans"
        r"|ni|le|la|les|évidente?|simple|connue?|positive|négative|unique|supérieure"
        r"|inférieure|plus|moins|au)\b",
        correct=r" est (?:donc )?(?:correcte?|juste|la (?:bonne|réponse) (?:réponse|correcte))\b",
    ),
    Language(
        "es",
        ("respuesta", "correcta"),
        r"\b(?:(?:La|la)\s+)?(?:[Rr]espuesta(?:\s+(?:final|correcta))?"
        r"|(?:[Oo]pción|[Aa]lternativa|[Ll]etra)\s+correcta)\b",
        r"(?:es|será|sería)\b",
        r"(?:incorrecta|correcta|errónea|clara|desconocida|una?|el|la|los|las|que|no(?=\s+\w)|ni"
        r"|evidente|obvia|simple|sencilla|conocida|positiva|negativa|única|mayor|menor|más"
        r"|menos)\b",
        correct=r" es (?:la )?(?:opción |respuesta )?correcta\b",
    ),
    Language(
        "pt",
        ("resposta", "corret", "certa"),
        r"\b(?:(?:A|a)\s+)?(?:[Rr]esposta(?:\s+(?:final|correta|certa))?"
        r"|(?:[Oo]pção|[Aa]lternativa|[Ll]etra)\s+(?:correta|certa))\b",
        r"(?:é|será|seria)\b",
        r"(?:incorreta|correta|errada|certa|clara|desconhecida|uma?|o|a|os|as|que|não|nem"
        r"|evidente|óbvia|simples|conhecida|positiva|negativa|única|maior|menor|mais"
        r"|menos)\b",
        correct=r" (?:é|está) (?:a )?(?:opção |resposta |alternativa )?(?:correta|certa)\b",
    ),
    Language(
        "it",
        ("risposta", "corretta", "giusta"),
        r"\b(?:(?:La|la)\s+)?(?:[Rr]isposta(?:\s+(?:finale|corretta|esatta|giusta))?"
        r"|(?:[Oo]pzione|[Aa]lternativa|[Ll]ettera)\s+(?:corretta|giusta|esatta))\b",
        r"è",
        r"(?:sbagliata|corretta|errata|chiara|una?|il|lo|la|le|i|che|non|né|evidente|ovvia"
        r"|semplice|nota|positiva|negativa|unica|maggiore|minore|più|meno)\b",
        correct=r" è (?:la )?(?:risposta |opzione )?(?:corretta|giusta|quella corretta)\b",
    ),
    Language(
        "ru",
        ("ответ", "вариант"),
        r"\b(?:[Оо]кончательный\s+|[Пп]равильный\s+|[Вв]ерный\s+)?[Оо]твет\b"
        r"|\b(?:[Пп]равильный|[Вв]ерный)\s+вариант(?:\s+ответа)?\b",
        r"(?:[—–-](?:[ \t]*это\b)?|равен|равна|равно|это|(?=[ \t][-−]?[\d$(]))",
        r"(?:не|неверн\w*|верн\w*|правильн\w*|ещё|еще|неизвестен|на|ни|был|будет|очевид\w+"
        r"|прост\w*|известен|больше|меньше|положител\w+|цел\w+\s+числ\w+|сумм\w+|разност\w+"
        r"|произведени\w+|между|отрицател\w+)\b",
        correct=r" (?:[—–-] )?(?:является )?(?:правильн|верн)\w+",
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
        ("جابة", "جواب", "خيار"),
        r"(?:الإجابة|الاجابة|الجواب|إجابة|الخيار(?=\s+الصحيح))(?:\s+(?:النهائية|النهائي"
        r"|الصحيحة|الصحيح))?",
        r"(?:هي|هو|تساوي|يساوي)",
        r"ليس|ليست|لا\b|غير|ما\b|عدد|مجموع|أكبر|أصغر|بين",
    ),
    Language(
        "hi",
        ("उत्तर", "जवाब", "विकल्प"),
        r"(?:अंतिम\s+|सही\s+|इसलिए\s+)?(?:उत्तर|जवाब|(?<=सही )विकल्प)",
        r"(?:है|हैं|होगा)?",
        r".{0,20}नहीं|क्या|गलत|सही|अभी|एक |पूर्णांक|.{0,12}से (?:अधिक|कम|बड़ा|छोटा)",
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
        r"['’]?[dt][ıiuü]r\.?(?!\w)",
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
    Language("he", ("תשובה",), r"ה?תשובה(?:\s+ה?(?:סופית|נכונה))?", r"היא", r"לא|שגויה|נכונה"),
    Language(
        "fa",
        ("پاسخ", "جواب"),
        r"(?<!\w)(?:پاسخ|جواب)(?:\s+(?:نهایی|صحیح|درست))?",
        r"(?:برابر|است)?",
        r"نیست|نه|غلط",
        r"\s*است\s*\.?",
    ),
    *(Language(*one) for one in OTHERS),
)
