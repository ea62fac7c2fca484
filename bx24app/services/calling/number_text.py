"""The text around a telephone number: signs nobody sees, words, extensions, and other numbers in the same field."""

import re
import unicodedata
from dataclasses import dataclass, replace
from functools import lru_cache

from bx24app.inputs import in_normal_form

# Word processors, input methods and PDF put these where people see a space, a dash, a stroke or nothing.
_SIGNS = {
    **{char: char for char in "+-/.(),~#*:\n "},
    **dict.fromkeys("＋⁺₊﬩﹢➕", "+"),
    **dict.fromkeys("－−⁻₋˗﹣⁃─━▪_\x1e", "-"),
    **dict.fromkeys("／∕⁄\\＼", "/"),
    **dict.fromkeys("．·・•‧∙⋅。｡", "."),
    **dict.fromkeys("（［【〔「『｛{[<", "("),
    **dict.fromkeys("）］】〕」』｝}]>", ")"),
    **dict.fromkeys("，、；;|｜@=&،؛", ","),
    **dict.fromkeys("～〜∼", "~"),
    **dict.fromkeys("＃﹟", "#"),
    **dict.fromkeys("＊﹡∗", "*"),
    **dict.fromkeys("：﹕", ":"),
    **dict.fromkeys("\r\x0b\x0c\x1c\x1d\u2028\u2029", "\n"),
    **dict.fromkeys("\u115f\u1160\u3164\uffa0\u2800\ufffd\t", " "),
    **dict.fromkeys("\x1f\ufffc", ""),
}
# What stands here cannot be told apart from a digit or an order to the exchange.
NO_DIGIT = "\x00"
_ESCAPES = {"%2b": "+", "&#43;": "+", "&plus;": "+", "%20": " ", "&nbsp;": " ", "&#160;": " "}
# A number that a program has taken for a fraction; one that begins with 0 it cannot have.
_FRACTION = re.compile(r" *(\+?[1-9][0-9]{6,14})[.,]0{1,2} *")
_ESCAPED = re.compile("|".join(map(re.escape, _ESCAPES)), re.IGNORECASE)


# By the Unicode category of other characters; the letters and what is not here stay, or become a space.
_CATEGORIES = {
    **dict.fromkeys(("Cf", "Mn", "Mc", "Me"), ""),
    **dict.fromkeys(("Cc", "No", "Nl"), NO_DIGIT),
    **dict.fromkeys(("Ps", "Pi"), "("),
    **dict.fromkeys(("Pe", "Pf"), ")"),
    **dict.fromkeys(("Sc", "Sm"), ","),
    "Pd": "-",
}


@lru_cache(maxsize=4096)
def _sign(char: str) -> str:
    """Return what a character means here: an ASCII digit or sign, a letter, or nothing."""
    if char in _SIGNS:
        return _SIGNS[char]
    digit = unicodedata.decimal(char, None)
    if digit is not None:
        return str(digit)
    category = unicodedata.category(char)
    return _CATEGORIES.get(category, char if category[0] == "L" else " ")


def normalized(text: str) -> str:
    """Write a text with ASCII digits and a few signs; letters stay, and what nobody sees is left out."""
    if "%" in text or "&" in text:
        text = _ESCAPED.sub(lambda found: _ESCAPES[found[0].lower()], text)
    out = "".join(map(_sign, text))
    if fraction := _FRACTION.fullmatch(out):
        return fraction[1]
    # Japanese writers use the sign for long vowels as a dash.
    return re.sub(r"(?<=[0-9])ー(?=[0-9])", "-", out) if "ー" in out else out


def _key(word: str) -> str:
    """Write a word without its marks and case, as the lists below have it."""
    split = in_normal_form("NFKD", word.casefold())
    return "".join(char for char in split if unicodedata.category(char)[0] != "M")


# How people mark an extension, in the languages of Bitrix24's portals.
_EXTENSION_WORDS = frozenset(
    map(
        _key,
        (
            # English, German, French, Italian
            *("ext", "extn", "extension", "xtn", "x", "p", "pw", "w"),
            *("durchwahl", "dw", "nebenstelle", "nst", "app", "apparat", "kl", "klappe"),
            *("poste", "interno", "int", "interne", "derivazione"),
            # Spanish, Portuguese, Polish, Turkish
            *("extensión", "anexo", "interno", "extensão", "ramal", "wew", "wewn", "wewnętrzny", "dahili", "dah"),
            # Russian, Ukrainian, Belarusian, Kazakh
            *("доб", "добав", "добавочный", "доп", "дополнительный", "вн", "внутр", "внутренний"),
            *("дод", "додатковий", "внутрішній", "унутр", "ішкі", "қосымша", "қос"),
            # Vietnamese, Indonesian, Malay, Thai
            *("nhánh", "lẻ", "bộ", "ekstensi", "pesawat", "psw", "samb", "sambungan", "ต่อ", "เบอร์ต่อ", "ภายใน"),
            # Chinese, Japanese, Korean, Arabic, Hindi
            *(
                "转",
                "轉",
                "分机",
                "分機",
                "转分机",
                "轉分機",
                "内线",
                "內線",
                "内線",
                "내선",
                "구내",
                "تحويلة",
                "داخلي",
                "विस्तार",
                "एक्सटेंशन",
            ),
        ),
    )
)
# Units that take the digits before them: the number of "030 901820 17 Uhr" and of "030 901820 17:00" has no 17.
_UNIT_WORDS = frozenset(map(_key, (":", "uhr", "og", "stock", "etage", "час", "часа", "часов", "годин", "этаж")))
MAX_EXTENSION = 8


@dataclass(frozen=True)
class Run:
    """Digits with nothing but separators between them, as they stand in a text, and the extension after them."""

    groups: tuple[str, ...]
    # The digits on both sides of each stroke; one part when there is none.
    parts: tuple[str, ...]
    has_plus: bool = False
    # A form that was sent with its plus sign unescaped arrives with a space instead.
    has_space_before: bool = False
    # A word or a time of day follows that may take the last digits.
    has_unit: bool = False
    extension: str = ""
    # Only a comma or the like stands before the extension, so that its digits may belong to the number.
    may_go_on: bool = False

    @property
    def digits(self) -> str:
        """All digits."""
        return "".join(self.groups)


@dataclass(frozen=True)
class TypedText:
    """What a text holds; ``is_unclear``: something touches the digits that may be a part of the number."""

    runs: tuple[Run, ...]
    has_words: bool = False
    is_unclear: bool = False


_TOKEN = re.compile(
    r"(?P<run>[+( ]*[0-9](?:[-()./ 0-9]*[0-9])?)|(?P<word>[^\W\d_]+)|(?P<sign>.)",
    re.DOTALL,
)
_NOTE = re.compile(r"\(([^()]*[^\W\d_][^()]*)\)")
_ZEROS_BEFORE_PLUS = re.compile(r"(?<![0-9])0{1,2}[) ]*(?=\+)")
_TOUCHES_DIGITS = re.compile(r"\d ?\x00|\x00 ?[+\d]|\*\d")
# What makes the next digits an extension: a pause, a number sign, or a range of last digits ("~").
_MARK = re.compile(r"[ .:]*(?:[,#][ ,#.:]*|~ *)")
Part = tuple[str, str]


def split(text: str) -> TypedText:
    """Split a text, as ``normalized`` writes it, into its runs of digits and what stands between them."""
    whole = _ZEROS_BEFORE_PLUS.sub("", text)
    # Words in brackets keep their digits: "030 901820 (2. floor)".
    tokens = [(str(found.lastgroup), found[0]) for found in _TOKEN.finditer(_NOTE.sub(r"|\1|", whole))]
    runs: list[Run] = []
    between = 0
    for place, (kind, token) in enumerate(tokens):
        if kind == "run":
            run = _run(token, _next_word(tokens, place), is_first=place == 0)
            if runs and not runs[-1].extension and not run.has_plus and _is_extension(tokens[between:place], run):
                runs[-1] = replace(runs[-1], extension=run.digits, may_go_on=not _is_marked(tokens[between:place]))
            else:
                runs.append(run)
            between = place + 1
    unclear = _TOUCHES_DIGITS.search(whole) is not None or any(_is_part(tokens, at) for at in range(len(tokens)))
    return TypedText(tuple(runs), any(kind == "word" for kind, _ in tokens), unclear)


def _is_extension(between: list[Part], run: Run) -> bool:
    """Tell whether digits are an extension, by what stands between them and the number before."""
    if len(run.digits) > MAX_EXTENSION:
        return False
    words = [_key(token) for kind, token in between if kind == "word"]
    if words:
        return not _EXTENSION_WORDS.isdisjoint(words)
    return _MARK.fullmatch("".join(token for _, token in between)) is not None


def _is_marked(between: list[Part]) -> bool:
    """Tell whether an extension is clearly one: by a word, a number sign, a range or two pauses."""
    signs = "".join(text for kind, text in between if kind != "word")
    return any(kind == "word" for kind, _ in between) or re.search("[#~]|, *,", signs) is not None


def _is_part(tokens: list[Part], place: int) -> bool:
    """Tell whether a word may be a part of the number: it stands between digits, or is made of numerals (一二三)."""
    kind, token = tokens[place]
    if kind != "word" or _key(token) in _EXTENSION_WORDS:
        return False
    before, after = (tokens[at] if 0 <= at < len(tokens) else ("", "") for at in (place - 1, place + 1))
    if before[0] == "run" and after[0] == "run" and after[1][0].isdigit():
        return True
    if any(unicodedata.numeric(char, None) is None for char in token):
        return False
    beside = (tokens[place - 1 :: -1] if place else [], tokens[place + 1 :])
    return any(next((kind for kind, text in side if text not in "-. "), "") == "run" for side in beside)


def _next_word(tokens: list[Part], place: int) -> str:
    """Return the word that follows a run after nothing but spaces and stops, or a colon before the next digits."""
    following = [pair for pair in tokens[place + 1 : place + 4] if pair[1] not in " ."]
    kind, text = following[0] if following else ("", "")
    if text == ":" and following[1:] and following[1][0] == "run":
        return text
    return _key(text) if kind == "word" else ""


def _run(token: str, next_word: str, *, is_first: bool) -> Run:
    return Run(
        groups=tuple(re.findall(r"\d+", token)),
        parts=tuple("".join(re.findall(r"\d", part)) for part in token.split("/")),
        has_plus="+" in token,
        has_space_before=is_first and re.match(r" \d", token) is not None,
        has_unit=next_word in _UNIT_WORDS,
    )
