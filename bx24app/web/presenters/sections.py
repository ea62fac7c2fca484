"""The tabs of the desk and the lists of pages inside a section."""

from collections.abc import Sequence
from dataclasses import dataclass

from flask_babel import gettext as _


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
        ("notifications", _("Notifications")),
        ("smart-processes", _("Smart processes")),
        ("do-not-call", _("Do not call")),
        ("privacy", _("Privacy")),
        ("check", _("Setup check")),
        ("log", _("Request log")),
        ("journal", _("Journal")),
    ]
