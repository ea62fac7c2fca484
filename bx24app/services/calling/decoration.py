"""What a request brings beside number, consent and time: cut, made uniform or left out, for it never costs a call."""

import html
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from bx24app.inputs import in_normal_form, language_of
from bx24app.log import mask_numbers
from bx24app.services.calling.spoken_text import one_line, shortened

MAX_VISITOR_NAME = 80
MAX_TOPIC = 120
MAX_PAGE = 2000
MAX_UTM_FIELDS = 10
MAX_UTM_LENGTH = 255
# What a note tells: so many fields are named, and so much of each.
NOTED = ("cut", "left_out")
MAX_NOTED = 10
MAX_FIELD_NAME = 40
# Signs that programs for writing put in the place of those on the keyboard.
_SMART = str.maketrans(
    {"‘": "'", "’": "'", "ʼ": "'", "´": "'", "`": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"'}
)
_CUT_ESCAPE = re.compile(r"%[0-9A-Fa-f]?$")


@dataclass(frozen=True)
class SentTexts:
    """What was sent beside number, consent and time; ``others`` are the fields that nobody knows."""

    name: str = ""
    topic: str = ""
    page: str = ""
    # A tag as programs write them ("en_US"); empty: none was sent.
    language: str = ""
    others: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Decoration:
    """What is kept of it; ``cut`` and ``left_out`` name the fields of which the rest is not."""

    name: str = ""
    topic: str = ""
    page: str = ""
    language: str = "en"
    utm: dict[str, str] = field(default_factory=dict)
    cut: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def note(self) -> dict[str, str]:
        """What the portal is told of it, by what happened (``NOTED``); empty: all was kept."""
        told = zip(NOTED, (self.cut, self.left_out), strict=True)
        return {what: ", ".join(names[:MAX_NOTED]) for what, names in told if names}


def read_decoration(sent: SentTexts, topics: Iterable[str]) -> Decoration:
    """Read what was sent; where there are ``topics`` to choose from, one that is not among them is left out."""
    name, topic = one_line(sent.name), one_line(sent.topic)
    listed = listed_topic(topic, topics)
    chosen = topic if listed is None else listed
    whole = one_line(sent.page)
    page, utm = clean_page(whole), _utm_fields(whole, sent.others)
    others = [one_line(other) for other in sent.others if not other.lower().startswith("utm")]
    language = language_of(sent.language)
    too_long = {
        "name": len(name) > MAX_VISITOR_NAME,
        "topic": listed is None and len(topic) > MAX_TOPIC,
        "page": page and len(whole) > MAX_PAGE,
    }
    lost = {
        "topic": topic and not chosen,
        "page": whole and not page,
        "language": sent.language.strip() and not language,
    }
    return Decoration(
        name=shortened(name, MAX_VISITOR_NAME),
        topic=shortened(chosen, MAX_TOPIC) if listed is None else listed,
        page=page,
        language=language or "en",
        utm=utm,
        cut=tuple(what for what, is_cut in too_long.items() if is_cut),
        left_out=(
            *(what for what, is_lost in lost.items() if is_lost),
            *(mask_numbers(other)[:MAX_FIELD_NAME] for other in others if other),
        ),
    )


def listed_topic(topic: str, topics: Iterable[str]) -> str | None:
    """Find the topic of a list that was meant, as the administrator wrote it; "": none. None: there is no list."""
    by_spelling = {spelling(one): one_line(one) for one in topics} if topic else {}
    return by_spelling.get(spelling(topic), "") if by_spelling else None


def spelling(text: str) -> str:
    """Return what is compared of a text that people choose or type: what looks alike is alike, in either case."""
    plain = in_normal_form("NFKC", html.unescape(one_line(text))).translate(_SMART)
    dashed = "".join("-" if unicodedata.category(char) == "Pd" else char for char in plain)
    return one_line(in_normal_form("NFKC", dashed.casefold()))


def clean_page(text: str) -> str:
    """Return the address of a page in the form in which it is stored; empty when it is not an http address."""
    try:
        url = urlsplit(_CUT_ESCAPE.sub("", text[:MAX_PAGE]) if len(text) > MAX_PAGE else text)
    except ValueError:
        return ""
    return url.geturl() if url.scheme in ("https", "http") and url.netloc else ""


def _utm_fields(page: str, others: Mapping[str, object]) -> dict[str, str]:
    """Read the ``utm_*`` marks of a page's whole address and of fields of their own, at most ``MAX_UTM_FIELDS``."""
    _, _, query = page.partition("?")
    utm = parse_qsl(query.partition("#")[0], errors="ignore", max_num_fields=None) if clean_page(page) else []
    utm += [(name, value) for name, value in others.items() if isinstance(value, str)]
    marks = [(one_line(name).lower(), one_line(value)) for name, value in utm if name.lower().startswith("utm_")]
    return {name[:MAX_UTM_LENGTH]: value[:MAX_UTM_LENGTH] for name, value in marks[:MAX_UTM_FIELDS]}
