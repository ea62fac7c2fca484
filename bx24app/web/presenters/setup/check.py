"""The setup check in words: what was found, the worst first, each with the button that cures it."""

from collections.abc import Callable
from dataclasses import dataclass

from flask_babel import gettext as _

from bx24app.messages.diagnostics import FindingWords, describe
from bx24app.messages.installation import FindingFacts
from bx24app.messages.links import desk_url
from bx24app.models import Portal
from bx24app.services.diagnostics import Finding, Level, PortalCheck


@dataclass(frozen=True)
class Cure:
    """A button beside a finding: it does the ``action`` of the panel's script, or leads to the view at ``path``.

    With ``copied`` it copies these words, which stand beside it under the name ``label``.
    """

    title: str
    action: str = ""
    path: str = ""
    label: str = ""
    copied: str = ""


@dataclass(frozen=True)
class ShownCheck:
    """A setup check in words, the worst first; ``bad`` counts what needs attention."""

    findings: list[tuple[FindingWords, Cure | None]]
    bad: int
    made_at: str


def shown_check(check: PortalCheck, portal: Portal) -> ShownCheck:
    """A check as an administrator reads it."""
    told = [(words, _cure(finding, words, portal)) for finding in check.findings for words in describe([finding])]
    return ShownCheck(told, count_bad(check), check.made_at.isoformat())


def count_bad(check: PortalCheck | None) -> int:
    """How many findings need attention, as far as it is known."""
    return sum(finding.level != Level.OK for finding in check.findings) if check else 0


def _choose(words: Callable[[], str], path: str) -> Callable[[FindingFacts], Cure]:
    return lambda _facts: Cure(words(), path=path)


def _refresh(_facts: FindingFacts) -> Cure:
    return Cure(_("Refresh lines"), "lines")


def _bind(_facts: FindingFacts) -> Cure:
    return Cure(_("Bind again"), "bind")


def _choose_types(_facts: FindingFacts) -> Cure:
    return Cure(_("Choose smart processes"), path="settings/smart-processes")


def _holidays(facts: FindingFacts) -> Cure:
    form = facts.get("form")
    return Cure(_("Choose the part"), path=f"websites/{form}/hours" if form else "settings/hours")


_CURES: dict[tuple[str, str], Callable[[FindingFacts], Cure]] = {
    ("lines", "none"): _refresh,
    ("lines", "foreign"): _refresh,
    ("lines", "default"): _choose(lambda: _("Choose a line"), "settings/calls"),
    ("voices", "default"): lambda _facts: Cure(_("Use the default voice"), "voice"),
    ("bound", "missing"): _bind,
    ("bound", "refused"): _bind,
    ("bound", "denied"): _bind,
    **{("smart_processes", about): _choose_types for about in ("gone", "useless", "denied")},
    ("holidays", "part"): _holidays,
    ("country", "unknown"): _choose(lambda: _("Choose the country"), "settings/calls"),
    ("country", "forms"): _choose(lambda: _("Choose the country"), "settings/calls"),
    ("events", "never"): _choose(lambda: _("Make a test call"), "callbacks"),
}
# What a colleague with administrator rights cures by opening the app, and what the operator of the app mends.
_COLLEAGUES = {("access", "alone"), ("access", "disconnected")}
_OPERATORS = {("clock", "ahead"), ("clock", "behind"), ("events", "silent")}


def _cure(finding: Finding, words: FindingWords, portal: Portal) -> Cure | None:
    """The button of a finding; None where nothing is wrong. What is mended elsewhere is looked at once more."""
    key = (finding.check, finding.about)
    if finding.level == Level.OK:
        return None
    if key in _COLLEAGUES:
        return Cure(_("Ask a colleague"), "copy", label=_("Link for a colleague"), copied=desk_url(portal, "check"))
    if key in _OPERATORS:
        return Cure(
            _("Copy for the operator"),
            "copy",
            label=_("Words for the operator of the app"),
            copied=f"{words.title}: {words.sentence} {words.mend}",
        )
    return _CURES[key](finding.facts) if key in _CURES else Cure(_("I have done this"), "again")
