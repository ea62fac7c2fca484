"""Types of what administrators set, as they write it and as it is stored: in the form in which it is compared."""

import unicodedata
from typing import Annotated, Literal

import phonenumbers
from pydantic import AfterValidator, Field

from bx24app.inputs import AlsoWritten, Text, language_of, upper
from bx24app.services.calling.decoration import spelling
from bx24app.services.calling.spoken_text import one_line

MAX_WRITTEN_PREFIX = 40


def _readable(text: str) -> str:
    if not text.strip():
        raise ValueError("nothing to read in it")
    return text.strip()


def _prefix(written: object) -> object:
    """Write the beginning of a number as E.164 does; people write 0049 30, +49 (30) or +49-30."""
    if not isinstance(written, str) or len(written) > MAX_WRITTEN_PREFIX:
        return written
    text = "".join(char for char in written if char == "+" or unicodedata.decimal(char, None) is not None)
    if any(char.isalpha() for char in written):
        return written
    plain = "".join(char if char == "+" else str(unicodedata.decimal(char)) for char in text)
    return f"+{plain[2:]}" if plain.startswith("00") else plain


def _languages(written: object) -> object:
    return language_of(written) or written


def _country(code: str) -> str:
    if code not in phonenumbers.SUPPORTED_REGIONS:
        raise ValueError("a country such as DE")
    return code


def spelled_once(topics: list[str]) -> list[str]:
    """Keep of topics that are compared as one the first."""
    first: dict[str, str] = {}
    for topic in topics:
        first.setdefault(spelling(topic), topic)
    return list(first.values())


Readable = Annotated[Text, Field(max_length=255), AfterValidator(_readable)]
LongReadable = Annotated[Text, Field(max_length=4000), AfterValidator(_readable)]
# As it is compared with what a visitor chooses.
Topic = Annotated[Text, Field(max_length=255), AfterValidator(one_line), AfterValidator(_readable)]
Country = Annotated[str, AlsoWritten(upper), AfterValidator(_country)]
Prefix = Annotated[
    str,
    Field(pattern=r"^\+[1-9]\d{0,13}$"),
    AlsoWritten(_prefix, ({"type": "string", "minLength": 2, "maxLength": MAX_WRITTEN_PREFIX},)),
]
Language = Annotated[
    Literal["en", "ru"],
    AlsoWritten(_languages, ({"type": "string", "pattern": r"^\s*([Ee][Nn]|[Rr][Uu])([^A-Za-z]|$)"},)),
]
