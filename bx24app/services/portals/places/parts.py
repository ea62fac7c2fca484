"""What a portal does not have of the app: said in one way for placements, events and rules, and kept with the portal.

Each part is granted, or lacks a scope, or was refused. Whoever reconciles parts keeps what is missing of them.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

from bx24app.models import Portal

# Of one kind; and of the words of the portal.
MAX_PARTS, MAX_PART_WORDS = 200, 300
UNKNOWN_METHOD = "method_unknown"


class PartKind(StrEnum):
    """Which parts are reconciled together."""

    # Placements and events (services/portals/bindings.py).
    PLACES = "places"
    # Automation rules (services/native/automation/registration.py).
    RULES = "rules"


@dataclass(frozen=True)
class MissingPart:
    """A part that a portal does not have, because it has not granted the scope ``lacks``.

    ``lacks`` "": it has refused with ``code`` and ``words``, or could not be asked.
    """

    name: str
    lacks: str = ""
    code: str = ""
    words: str = ""

    @property
    def is_refused(self) -> bool:
        """Tell whether it is worth asking again, though the portal has granted no more than before."""
        return not self.lacks


def keep_missing_parts(portal: Portal, kind: PartKind, missing: Sequence[MissingPart]) -> None:
    """Keep, in the caller's transaction, what is missing of the parts of a kind; they replace what was kept of it."""
    rows = [{**asdict(part), "words": part.words[:MAX_PART_WORDS]} for part in missing[:MAX_PARTS]]
    portal.missing_parts = {**portal.missing_parts, kind.value: rows}


def missing_parts(portal: Portal, kind: PartKind) -> list[MissingPart]:
    """What was missing of the parts of a kind when they were last reconciled."""
    names = ("name", "lacks", "code", "words")
    return [
        MissingPart(*(str(row.get(name, "")) for name in names)) for row in portal.missing_parts.get(kind.value, [])
    ]
