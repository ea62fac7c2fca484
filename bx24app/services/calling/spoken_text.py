"""The text spoken to the manager: a plain text, or a template with the customer's name, topic, form and page."""

import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from bx24app.errors import TextInvalid, UnknownVariable
from bx24app.inputs import in_normal_form

# 300 characters are about 15 seconds of speech, during which the customer waits.
MAX_SPOKEN_LENGTH = 300
CHARACTERS_PER_SECOND = 20
VARIABLES = ("name", "topic", "form", "page")
# A template must leave at least so many characters for each of its variables.
ROOM_PER_VARIABLE = 12

_DEFAULTS = {
    "en": "Callback request. Connecting you with the customer.",
    "ru": "Заказан обратный звонок. Соединяю с клиентом.",
}
_DEFAULT_TEMPLATES = {
    "en": "Callback request from {name}, form {form}. Connecting you with the customer.",
    "ru": "Заказан обратный звонок от {name}, форма {form}. Соединяю с клиентом.",
}

# Only a single pair of braces is a variable: {{ }}, {% %} and ${ } belong to other engines and are spoken unchanged.
_VARIABLE = re.compile(r"(?<![{$])\{([^{}%]*)\}(?!\})")
# Staff know whom they call: theirs has the name only, and everything else in braces is spoken unchanged.
_NAME = re.compile(r"(?<![{$])\{\s*(name)\s*\}(?!\})")
# An empty variable is removed together with the short words before it and the quotes or brackets around it.
_LEADING = "about|at|by|called|for|form|from|in|named|of|on|page|to|topic|with"
_LEADING += "|в|для|из|имя|к|клиент|на|о|об|от|по|с|со|страница|страницы|тема|теме|форма|формы|форме"
_EMPTY = r"(?:\b(?:%s)\s+){0,2}[\"'“«„‘(\[]?\x00[\"'”»“’)\]]?"
_LEFT_EMPTY = re.compile(_EMPTY % _LEADING, re.IGNORECASE)
# These marks end a phrase; after the marks of _WEAK the sentence goes on.
_MARKS = re.compile(r"([,;.!?…]+(?=\s|$)|\s[—–-]+(?=\s))")
_WEAK = re.compile(r"[,;—–\s-]*")


def check_text(text: str) -> str:
    """Return a text that can be spoken, on one line; raises ``TextInvalid`` when it is empty or too long."""
    spoken = " ".join(text.split())
    if not any(map(str.isalnum, spoken)) or len(spoken) > MAX_SPOKEN_LENGTH:
        raise TextInvalid("text")
    return spoken


def default_text(language: str) -> str:
    """Return the default sentence for a portal's language, in English where there is none."""
    return _DEFAULTS.get(language.lower(), _DEFAULTS["en"])


def default_template(language: str) -> str:
    """Return the template for forms without a text of their own, in English where the language has none."""
    return _DEFAULT_TEMPLATES.get(language.lower(), _DEFAULT_TEMPLATES["en"])


def check_template(text: str) -> str:
    """Return a template that can be filled, on one line; variables are ``{name}``, ``{topic}``, ``{form}``, ``{page}``.

    Raises ``UnknownVariable`` for any other variable, ``TextInvalid`` for a template without words of its own or
    without room for its variables. The syntax of other template engines counts as plain text.
    """
    template = one_line(text)
    names = [name.strip() for name in _VARIABLE.findall(template)]
    for name in names:
        if name not in VARIABLES:
            raise UnknownVariable("text", "{" + name + "}")
    own = _VARIABLE.sub("", template)
    if not any(map(str.isalnum, own)) or len(own) + ROOM_PER_VARIABLE * len(names) > MAX_SPOKEN_LENGTH:
        raise TextInvalid("text")
    return template


def staff_text(text: str, name: str | None) -> str:
    """Return the text of a member of staff with the customer's name in place of ``{name}``; raises ``TextInvalid``."""
    checked = check_text(text)
    return check_text(_fill(checked, _NAME, {"name": name})) if _NAME.search(checked) else checked


@dataclass(frozen=True)
class SpokenText:
    """What will be said, and about how long that takes."""

    text: str
    seconds: int


def preview(text: str, name: str | None) -> SpokenText | None:
    """Tell what a text of staff will sound like; None for one that cannot be said."""
    try:
        spoken = staff_text(text, name)
    except TextInvalid:
        return None
    return SpokenText(spoken, max(1, math.ceil(len(spoken) / CHARACTERS_PER_SECOND)))


def fill_template(template: str, **values: str | None) -> str:
    """Fill a template: the text has at most ``MAX_SPOKEN_LENGTH`` characters on one line, whatever the values contain.

    Values are inserted once, as plain text without control characters; long values are shortened. An empty value is
    left out together with the words that lead to it ("from", a label, a comma), so that the sentence stays correct.
    """
    return _fill(template, _VARIABLE, values)


def _fill(template: str, variable: re.Pattern[str], values: Mapping[str, str | None]) -> str:
    cleaned = {name: one_line(values.get(name) or "") for name in VARIABLES}
    whole = _without_empty(one_line(template), variable, cleaned)
    used = [name.strip() for name in variable.findall(whole)]
    room = MAX_SPOKEN_LENGTH - len(variable.sub("", whole))
    lengths = [len(cleaned.get(name, "")) for name in used]
    longest = next(
        cap for cap in range(MAX_SPOKEN_LENGTH, -1, -1) if cap == 0 or sum(min(n, cap) for n in lengths) <= room
    )
    spoken = variable.sub(lambda match: shortened(cleaned.get(match[1].strip(), ""), longest), whole)
    return spoken[:MAX_SPOKEN_LENGTH].strip()


def one_line(text: str) -> str:
    """Put a text on one line, each accent in its letter (NFC).

    Control, formatting and unassigned characters, which can reorder text, are left out.
    """
    line = in_normal_form("NFC", " ".join(text.split()))
    if line.isprintable():  # Nearly every text is, and checking each character takes longer.
        return line
    return " ".join("".join(char for char in line if unicodedata.category(char)[0] != "C").split())


def _without_empty(template: str, variable: re.Pattern[str], values: dict[str, str]) -> str:
    """Leave out the variables that are empty, with the words that lead to them."""
    marked = variable.sub(lambda match: match[0] if values.get(match[1].strip()) else "\0", template)
    if "\0" not in marked:
        return template
    kept: list[tuple[str, str]] = []
    pieces = [*_MARKS.split(marked), ""]
    for phrase, mark in zip(pieces[::2], pieces[1::2], strict=True):
        left = " ".join(_LEFT_EMPTY.sub("", phrase).split()).lstrip(": ")
        if "\0" not in phrase or (any(map(str.isalnum, left)) and not left.endswith(":")):
            kept.append((left, mark))
        elif kept and _WEAK.fullmatch(kept[-1][1]):
            # The phrase is left out, but the mark that ends its sentence is kept.
            kept[-1] = (kept[-1][0], mark)
    whole = " ".join(phrase + mark for phrase, mark in kept).rstrip(" ,;—–-")
    if not any(map(str.isalnum, whole)):
        return " ".join(marked.replace("\0", "").split())  # The whole template is only a label.
    return whole[:1].upper() + whole[1:] if marked[:1].isupper() or marked[:1] in "{\0" else whole


def shortened(value: str, length: int) -> str:
    """Cut a text to a length, at the end of a word where there is one, with an ellipsis."""
    if len(value) <= length:
        return value
    if length < ROOM_PER_VARIABLE:
        return value[:length]
    cut = value[: length - 1]
    at_word, _, rest = cut.rpartition(" ")
    return (at_word if at_word and len(rest) < ROOM_PER_VARIABLE else cut).rstrip(" ,.;:-") + "…"
