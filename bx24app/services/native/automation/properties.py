"""What was chosen in a rule, as typed values: portals fill in fields of documents, so every value may be odd."""

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from bx24app.errors import Refusal
from bx24app.models import Portal
from bx24app.services.calling.phone_numbers import NumberProblem, read_number
from bx24app.services.calling.spoken_text import MAX_SPOKEN_LENGTH, one_line, shortened

# The properties of manifest/app.json, with the most that is kept of each.
PROPERTY_LENGTHS = {"number": 256, "line": 255, "voice": 255, "text": 2000, "delay": 16, "at": 64, "hours": 8, "as": 8}
LONGEST_DELAY = timedelta(days=366)
# "24.12.2026 15:00:00" in most countries, "12/24/2026 03:00:00 pm" in the USA; a portal writes its own way.
_WRITTEN = ("%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M %p", "%d.%m.%Y", "%Y-%m-%d")
# What a chosen "yes" may be written as, of a list or of a field of the document.
_YES = ("Y", "YES", "1", "TRUE")
# Each takes a tenth of a millisecond, and an erasure reads the texts of all runs that wait.
NUMBERS_READ = 5
_BETWEEN = re.compile(r"[,;\n]")
_MINUTES = re.compile(r"\d{1,6}")


class RuleUnreadable(Refusal):
    """A property of a rule has a value that cannot be understood; ``sentence`` names what says why."""

    def __init__(self, sentence: str) -> None:
        super().__init__("properties")
        self.sentence = sentence

    @property
    def explanation(self) -> str:
        """The code of the sentence that explains the problem to people."""
        return self.sentence


@dataclass(frozen=True)
class RuleProperties:
    """``number`` "": those of the document; ``line_id``, ``voice_id``, ``text`` "": the usual ones.

    ``at`` None: as soon as possible. ``as_person``: dialled under the access that the rule runs with, not the app's.
    """

    number: str = field(repr=False)
    line_id: str
    voice_id: str
    text: str = field(repr=False)
    at: datetime | None
    in_hours: bool
    as_person: bool


def kept_properties(sent: dict[str, str]) -> dict[str, str]:
    """Return what is stored of the properties that came: those of ours, none of them longer than it may be."""
    return {name: sent[name][:length] for name, length in PROPERTY_LENGTHS.items() if sent.get(name, "").strip()}


def wants_hours(kept: dict[str, str]) -> bool:
    """Tell whether the callback is dialled in working hours only."""
    return kept.get("hours", "").strip().upper() in _YES


def wants_person(kept: dict[str, str]) -> bool:
    """Tell whether the callback is dialled under the access of the person for whom the rule runs."""
    return kept.get("as", "") == "person"


def first_number(text: str, country: str | None) -> str:
    """Return the part of a text that is one number.

    A field of a document with several numbers is written with commas between them: of the first few the first that can
    be called counts.
    """
    if read_number(text, country).problem is not NumberProblem.SEVERAL:
        return text
    parts = _BETWEEN.split(text, NUMBERS_READ)[:NUMBERS_READ]
    return next((part for part in parts if read_number(part, country).can_be_dialled), text)


def read_properties(kept: dict[str, str], portal: Portal, made_at: datetime) -> RuleProperties:
    """Read the kept properties; a delay counts from ``made_at``. Raises ``RuleUnreadable``."""
    return RuleProperties(
        # A space in front may have been a plus.
        number=kept.get("number", ""),
        line_id=kept.get("line", "").strip(),
        voice_id=kept.get("voice", "").strip(),
        text=shortened(one_line(kept.get("text", "")), MAX_SPOKEN_LENGTH),
        at=_moment(kept, portal, made_at),
        in_hours=wants_hours(kept),
        as_person=wants_person(kept),
    )


def _moment(kept: dict[str, str], portal: Portal, made_at: datetime) -> datetime | None:
    delay, at = kept.get("delay", "").strip(), kept.get("at", "").strip()
    if at:
        return _read_moment(at, ZoneInfo((portal.settings.hours or {}).get("zone", "UTC")))
    if not delay:
        return None
    if not _MINUTES.fullmatch(delay) or timedelta(minutes=int(delay)) > LONGEST_DELAY:
        raise RuleUnreadable("rule_delay")
    return made_at + timedelta(minutes=int(delay))


def _read_moment(text: str, zone: ZoneInfo) -> datetime:
    """Read a time as a portal writes it; one without an offset is in the company's zone."""
    for form in ("", *_WRITTEN):
        try:
            moment = datetime.strptime(text, form) if form else datetime.fromisoformat(text)  # noqa: DTZ007
        except ValueError:
            continue
        return moment if moment.tzinfo else moment.replace(tzinfo=zone)
    raise RuleUnreadable("rule_time")
