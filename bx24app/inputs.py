"""JSON of other programs: one reading of absent, null and empty, of booleans, numbers and texts, at every door.

Every tolerance is described in the schema of its field too, so that OpenAPI tells what is taken.
"""

import json
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Annotated, Any, Literal, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

JsonSchema = dict[str, Any]
BLANK: JsonSchema = {"type": "string", "pattern": r"^[ \t\r\n]*$"}
_NOTHING: tuple[JsonSchema, ...] = (
    {"type": "null"},
    BLANK,
    {"type": "array", "maxItems": 0},
    {"type": "object", "maxProperties": 0},
)
# A text may have lines; nothing else of what cannot be seen.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
# Marks of direction and width, which copying brings along.
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_WHOLE = re.compile(r"[+-]?\d{1,15}(\.0{1,9})?", re.ASCII)
_TAG = re.compile(r"([A-Za-z]{2})(?![A-Za-z])")
# A longer number is no telephone number, and floats of other programs do not hold it exactly.
_MOST_DIGITS = 10**15
# On one letter. More are drawn over the lines above and below.
_MOST_MARKS = 8
YES = ("true", "yes", "on", "1", "y")
NO = ("false", "no", "off", "0", "n")


def is_nothing(value: object) -> bool:
    """Tell whether a program has sent nothing in a field; PHP writes an empty object as an empty list."""
    return value is None or value in ([], {}) or (isinstance(value, str) and not bare(value))


class TolerantModel(BaseModel):
    """What a program sends: an optional field may be absent, null or empty, which is all the same.

    In a PATCH, where an absent field stays as it is, null and empty clear a field that may be null, and a list. Other
    fields, which cannot be cleared, stay.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    @classmethod
    def read(cls, sent: object) -> Self:
        """Read a JSON value; raises pydantic's ``ValidationError``, and ``RecursionError``."""
        return cls.model_validate_json(json.dumps(_without_nothings(cls, sent)))

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchema:
        """Describe that what is optional may be empty."""
        schema = handler(core)
        whole = handler.resolve_ref_schema(schema)
        properties = whole.get("properties", {})
        for name in properties.keys() - set(whole.get("required", ())):
            properties[name] = {"anyOf": [properties[name], *_NOTHING]}
        return schema


def _without_nothings(model: type[BaseModel], sent: object) -> object:
    if not isinstance(sent, dict):
        return sent
    kept: dict[str, object] = {}
    for name, value in sent.items():
        field = model.model_fields.get(name)
        kinds = () if field is None else (field.annotation, *get_args(field.annotation))
        if field is not None and not field.is_required() and is_nothing(value):
            if type(None) in kinds:
                kept[name] = None
            elif get_origin(field.annotation) is list:
                kept[name] = []
            continue
        models = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, TolerantModel)]
        # Of several models the one that has most of the names is meant.
        names = value.keys() if isinstance(value, dict) else ()
        inner = max(models, key=lambda model: len(model.model_fields.keys() & names), default=None)
        kept[name] = _without_nothings(inner, value) if inner else value
    return kept


@dataclass(frozen=True, eq=False)
class AlsoWritten:
    """Other spellings of a type: ``read`` makes of them the usual one, and ``also`` describes them."""

    read: Callable[[object], object]
    also: tuple[JsonSchema, ...] = ()

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.read, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchema:
        return {"anyOf": [handler(core), *self.also]} if self.also else handler(core)


class _Spelled:
    """Read a word of a list (a ``Literal`` or an ``Enum``) in either case, with spaces around, and other dashes inside.

    ``Annotated[Literal["LEAD", "DEAL"], SPELLED]`` takes ``lead`` too; ``dial_again`` may be ``Dial-again``.
    """

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        is_enum = isinstance(source, type) and issubclass(source, Enum)
        words = {_spelling(str(word)): word for word in (source if is_enum else get_args(source))}

        def read(value: object) -> object:
            return words.get(_spelling(value), value) if isinstance(value, str) else value

        return core_schema.no_info_before_validator_function(read, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchema:
        """List the words, and describe their other spellings."""
        schema = handler(core)
        words = tuple(word for word in handler.resolve_ref_schema(schema)["enum"] if word)
        return {"anyOf": [schema, {"type": "string", "pattern": _any_case(words)}]}


def _spelling(word: str) -> str:
    """Return what is compared of a word of a list."""
    dashed = ("_" if char.isspace() or unicodedata.category(char) in ("Pd", "Pc") else char for char in bare(word))
    return "".join(dashed).casefold()


def is_yes(value: object) -> bool:
    """Tell whether a value says yes, as programs and forms write it; anything else is no."""
    return _flag(value) is True


def _flag(value: object) -> object:
    if isinstance(value, str):
        word = bare(value).casefold()
        return True if word in YES else False if word in NO else value
    return bool(value) if value in (0, 1) else value


def _whole(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and _WHOLE.fullmatch(bare(value)):
        return int(float(bare(value)))
    return value


def typed_number(value: object) -> object:
    """Read a telephone number that came as a number: its digits, from which a plus and leading zeros are lost.

    It is read like the same digits as text, which are understood as national or international.
    """
    whole = _whole(value) if isinstance(value, float) else value
    if isinstance(whole, int) and not isinstance(whole, bool) and 0 < whole < _MOST_DIGITS:
        return str(whole)
    return value


def text_of(value: object) -> object:
    """Read a text: a number as its digits, and without characters that no text has."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(_whole(value))
    return _CONTROL.sub("", value) if isinstance(value, str) else value


def in_normal_form(form: Literal["NFC", "NFKC", "NFKD"], text: str) -> str:
    """Write a text in a normal form of Unicode; of more than eight marks on one letter the others are left out.

    Marks are put in order, which takes the square of their number, while no other thread of the process runs. No
    language has that many (for the kind of bound: Unicode Standard Annex 15, "Stream-Safe Text Format").
    """
    if text.isascii():
        return text
    return unicodedata.normalize(form, text if len(text) <= _MOST_MARKS else _with_few_marks(text))


def _with_few_marks(text: str) -> str:
    kept, marks = [], 0
    for char in text:
        marks = marks + 1 if _is_mark(char) else 0
        if marks <= _MOST_MARKS:
            kept.append(char)
    return "".join(kept)


@lru_cache(maxsize=4096)
def _is_mark(char: str) -> bool:
    """Tell whether a character is a mark, or becomes one when it is taken apart."""
    return unicodedata.category(unicodedata.normalize("NFKD", char)[0]).startswith("M")


def bare(text: str) -> str:
    """Take from a text the marks that nobody sees, and the spaces around it."""
    return _INVISIBLE.sub("", text).strip()


def copied(value: object) -> object:
    """Read what is copied from elsewhere and has no spaces of its own."""
    return bare(value) if isinstance(value, str) else value


def _identifier(value: object) -> object:
    text = text_of(value)
    return bare("".join(text.split("\n"))) if isinstance(text, str) else text


def decoration_of(value: object) -> str:
    """Read as a text whatever was sent as one; of lists and objects their texts, of anything else nothing."""
    if isinstance(value, list | dict):
        parts = value.values() if isinstance(value, dict) else value
        return ", ".join(filter(None, (decoration_of(part) for part in parts if not isinstance(part, list | dict))))
    text = text_of(value)
    return text if isinstance(text, str) else ""


def upper(value: object) -> object:
    """Read a code, which has capital letters."""
    return bare(value).upper() if isinstance(value, str) else value


def language_of(value: object) -> str:
    """Read a language tag as programs write it (``en_US``, ``EN-us``, ``ru-RU,ru;q=0.9``); empty: none is meant."""
    found = _TAG.match(bare(value)) if isinstance(value, str) else None
    return found[1].lower() if found else ""


def _any_case(words: tuple[str, ...]) -> str:
    letters = (
        "".join(f"[{c.upper()}{c.lower()}]" if c.isalpha() else "[-_ ]" if c == "_" else c for c in word)
        for word in words
    )
    return rf"^\s*({'|'.join(letters)})\s*$"


_FLAG_WORDS: JsonSchema = {"type": "string", "pattern": _any_case(YES + NO)}
_WRITTEN_DIGITS: JsonSchema = {"type": "string", "pattern": r"^[ \t\r\n]*[+-]?[0-9]{1,15}(\.0{1,9})?[ \t\r\n]*$"}
_ANYTHING: JsonSchema = {}

Flag = Annotated[bool, AlsoWritten(_flag, ({"enum": [0, 1]}, _FLAG_WORDS))]
# Nothing but a yes.
Yes = Annotated[Literal[True], AlsoWritten(_flag, ({"const": 1}, {"type": "string", "pattern": _any_case(YES)}))]
SPELLED = _Spelled()
# What is no yes is a no.
Consent = Annotated[bool, AlsoWritten(is_yes, (_ANYTHING,))]
WRITTEN_WHOLE = AlsoWritten(_whole, (_WRITTEN_DIGITS,))
# One sign more than the reader of numbers takes, so that it says itself what is too long.
TypedNumber = Annotated[
    str, Field(max_length=256), AlsoWritten(typed_number, ({"type": "number", "minimum": 1, "maximum": _MOST_DIGITS},))
]
CountryCode = Annotated[
    str, Field(pattern=r"^[A-Z]{2}$"), AlsoWritten(upper, ({"type": "string", "pattern": r"^\s*[A-Za-z]{2}\s*$"},))
]
CurrencyCode = Annotated[
    str, Field(pattern=r"^[A-Z]{3}$"), AlsoWritten(upper, ({"type": "string", "pattern": r"^\s*[A-Za-z]{3}\s*$"},))
]
_CARD_WORDS = ("LEAD", "DEAL", "CONTACT", "COMPANY")
# The kind of a card in the CRM; that of a smart process has the number of its type.
CardKind = Annotated[
    str,
    Field(pattern=rf"^({'|'.join(_CARD_WORDS)}|DYNAMIC_[1-9][0-9]{{0,8}})$"),
    AlsoWritten(upper, ({"enum": [*_CARD_WORDS]}, {"type": "string", "pattern": _any_case(_CARD_WORDS)})),
]
Text = Annotated[str, AlsoWritten(text_of, ({"type": "number"},))]
# What is only decoration, see ``calling/decoration.py``.
Decor = Annotated[str, AlsoWritten(decoration_of, (_ANYTHING,))]
Identifier = Annotated[
    str, Field(min_length=1, max_length=255), AlsoWritten(_identifier, ({"type": "number"}, {"type": "string"}))
]


def several_of(words: tuple[str, ...]) -> AlsoWritten:
    """Read words of a list with commas between them, each spelled as people do (see ``SPELLED``)."""
    known = {_spelling(word): word for word in words}

    def read(value: object) -> object:
        return ",".join(known.get(_spelling(one), one) for one in value.split(",")) if isinstance(value, str) else value

    one = _any_case(words).strip("^$")
    return AlsoWritten(read, ({"type": "string", "pattern": f"^{one}(,{one})*$"},))
