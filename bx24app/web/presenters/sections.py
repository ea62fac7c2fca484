"""The tabs of the desk and the lists of pages inside a section."""

from collections.abc import Sequence
from dataclasses import dataclass

from flask_babel import gettext as _

from bx24app.messages.diagnostics import FindingWords, describe
from bx24app.services.diagnostics import Level, PortalCheck


@dataclass(frozen=True)
class SectionTab:
    """A tab: its section, the title, the icon of the sprite, and a number that asks for attention."""

    name: str
    title: str
    icon: str
    count: int = 0


def tabs(names: Sequence[str], findings: int) -> list[SectionTab]:
    """The tabs of the given sections; ``findings`` of the setup check stand on the settings. A single one is none."""
    known = {
        "callbacks": (_("Callbacks"), "phone"),
        "reports": (_("Reports"), "chart"),
        "websites": (_("Websites"), "globe"),
        "settings": (_("Settings"), "gear"),
    }
    counts = {"settings": findings}
    found = [SectionTab(name, *known[name], counts.get(name, 0)) for name in names]
    return found if len(found) > 1 else []


def settings_pages() -> list[tuple[str, str]]:
    """The pages of the settings, in the order of the list at the side."""
    return [
        ("calls", _("Calls")),
        ("hours", _("Hours")),
        ("people", _("People")),
        ("do-not-call", _("Do not call")),
        ("check", _("Setup check")),
        ("log", _("Request log")),
    ]


@dataclass(frozen=True)
class ShownCheck:
    """A setup check in words, the worst first; ``bad`` counts what needs attention."""

    findings: list[FindingWords]
    bad: int
    made_at: str


def shown_check(check: PortalCheck) -> ShownCheck:
    """A check as an administrator reads it."""
    return ShownCheck(describe(check.findings), count_bad(check), check.made_at.isoformat())


def count_bad(check: PortalCheck | None) -> int:
    """How many findings need attention, as far as it is known."""
    return sum(finding.level != Level.OK for finding in check.findings) if check else 0
