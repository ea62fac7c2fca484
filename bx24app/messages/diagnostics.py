"""Words for the doctor's findings: what was found, and how to mend it."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import date

from flask_babel import format_date, ngettext
from flask_babel import gettext as _

from bx24app.i18n import N_
from bx24app.messages.installation import INSTALLATION_SENTENCES, FindingFacts, Sentences
from bx24app.messages.parts import PART_SENTENCES, refused, reinstall
from bx24app.messages.reasons import reason_sentence
from bx24app.services.diagnostics import Finding, Level

__all__ = ["PORTAL_SENTENCES", "SENTENCES", "FindingFacts", "FindingWords", "as_document", "describe"]


@dataclass(frozen=True)
class FindingWords:
    """A finding for people and, by ``asdict``, for programs; ``mend`` is empty where nothing needs mending.

    ``at`` is the moment that ends the sentence (ISO 8601), or empty.
    """

    check: str
    level: str
    about: str
    title: str
    sentence: str
    at: str
    mend: str


# The first nine are for the operator of the app, in English.
_TITLES = {
    "database": "Database",
    "files": "Database files",
    "waking": "Waking of workers",
    "networks": "Private networks",
    "keys": "Encryption keys",
    "spelling": "Spelling of an address",
    "address": "Our address",
    "portals": "Portals",
    "authorization": "Authorization server",
    "portal": "Bitrix24",
    "clock": N_("Clock"),
    "access": N_("Access"),
    "scopes": N_("Permissions (scopes)"),
    "lines": N_("Lines"),
    "voices": N_("Voices"),
    "history": N_("Call history"),
    "bound": N_("Tabs and menus"),
    "rules": N_("Automation rules"),
    "timeline": N_("Timeline of the CRM"),
    "notifications": N_("Notifications"),
    "to_dos": N_("To-dos"),
    "smart_processes": N_("Smart processes"),
    "events": N_("Call events"),
    "holidays": N_("Public holidays"),
    "country": N_("Country"),
}


def _next_holiday(facts: FindingFacts) -> str:
    day = format_date(date.fromisoformat(facts["day"]), "full") if facts["day"] else ""
    return str(
        _("The next holiday of %(region)s: %(day)s, %(name)s.", region=facts["region"], day=day, name=facts["name"])
    )


# What concerns one portal; administrators read it in the desk.
PORTAL_SENTENCES: dict[tuple[str, str], Callable[[FindingFacts], Sentences]] = {
    **PART_SENTENCES,
    ("clock", "ok"): lambda _f: (_("Agrees with Bitrix24's."), ""),
    ("clock", "ahead"): lambda f: (
        _("The app's clock is %(seconds)s seconds ahead of Bitrix24's.", seconds=f["seconds"]),
        _("The operator of the app sets the clock (NTP)."),
    ),
    ("clock", "behind"): lambda f: (
        _("The app's clock is %(seconds)s seconds behind Bitrix24's.", seconds=f["seconds"]),
        _("The operator of the app sets the clock (NTP)."),
    ),
    ("clock", "unknown"): lambda _f: (_("Bitrix24 did not say its time."), ""),
    ("portal", "uninstalled"): lambda _f: (_("The app is not installed there any more."), reinstall()),
    ("portal", "unpaid"): lambda _f: (reason_sentence("payment_required"), ""),
    ("portal", "silent"): lambda f: (reason_sentence(f["reason"]), _("Open this check again in a minute.")),
    ("access", "ok"): lambda f: (
        _("%(count)s administrators keep the app connected.", count=f["count"]),
        "",
    ),
    ("access", "alone"): lambda _f: (
        _("Only one administrator keeps the app connected. When that person leaves, it stops working."),
        _("Ask a second administrator to open the app once."),
    ),
    ("access", "disconnected"): lambda _f: (
        reason_sentence("portal_disconnected"),
        _("An administrator of that Bitrix24 opens the app once."),
    ),
    ("lines", "ok"): lambda f: (ngettext("%(num)s line found.", "%(num)s lines found.", int(f["count"])), ""),
    ("lines", "none"): lambda _f: (
        _("This Bitrix24 has no telephone line."),
        _("Rent a number or connect a PBX under Telephony, then refresh the list of lines in the desk."),
    ),
    ("lines", "default"): lambda f: (
        _("The default line %(line)s does not exist any more.", line=f["line"]),
        _("Choose another one under Settings, Calls."),
    ),
    ("lines", "foreign"): lambda _f: (
        _("All lines belong to another telephony app. It receives the requests, and results appear there."),
        _("Rent a number or connect a PBX under Telephony to follow callbacks here."),
    ),
    ("lines", "refused"): lambda f: refused(
        f, _("Give the right “Manage numbers: modify” to the administrator under whom the app is connected.")
    ),
    ("voices", "ok"): lambda f: (ngettext("%(num)s voice found.", "%(num)s voices found.", int(f["count"])), ""),
    ("voices", "default"): lambda f: (
        _("The default voice %(voice)s does not exist any more.", voice=f["voice"]),
        _("Choose another one under Settings, Calls."),
    ),
    ("voices", "refused"): lambda f: refused(f, _("Callbacks are spoken in the default voice.")),
    ("history", "ok"): lambda _f: (_("Can be read."), ""),
    ("history", "refused"): lambda f: refused(
        f, _("Give the right “Call statistics: view” to the administrator under whom the app is connected.")
    ),
    ("timeline", "ok"): lambda _f: (_("Nothing keeps callbacks from being shown in the cards of the CRM."), ""),
    ("timeline", "lacking"): lambda _f: (
        _("The permission (scope) “crm” or a function of this Bitrix24 is missing, so that cards show no callbacks."),
        reinstall(),
    ),
    ("timeline", "denied"): lambda _f: (
        _("Bitrix24 does not let the app write into some cards of the CRM, so that they show no callbacks."),
        _("An administrator who may change all cards should open the app once."),
    ),
    ("timeline", "refused"): lambda f: (
        _("A callback could not be shown in its card.") + " " + reason_sentence(f["reason"]),
        "",
    ),
    ("notifications", "ok"): lambda _f: (_("People are told in the messenger."), ""),
    ("notifications", "refused"): lambda f: (
        _("Bitrix24 did not take a notification.") + " " + reason_sentence(f["reason"]),
        _("The next ones are tried all the same."),
    ),
    ("to_dos", "ok"): lambda _f: (_("They are made on customers' cards."), ""),
    ("to_dos", "refused"): lambda f: (
        _("Bitrix24 did not take a to-do.") + " " + reason_sentence(f["reason"]),
        _("Give the administrator under whom the app is connected the right to change cards of the CRM."),
    ),
    ("holidays", "ok"): lambda f: (_next_holiday(f), ""),
    ("holidays", "part"): lambda f: (
        _(
            "Parts of %(region)s have more holidays than the whole country: people are called on them.",
            region=f["region"],
        )
        + " "
        + _next_holiday(f),
        _("Choose your part, or “None of these”, at the working hours."),
    ),
    ("country", "ok"): lambda f: (
        _("Numbers without a country code are read as those of %(code)s.", code=f["code"]),
        "",
    ),
    ("country", "unknown"): lambda _f: (
        _("Nobody has chosen the country: only numbers with a country code can be read."),
        _("Choose it under Settings, Calls."),
    ),
    ("country", "forms"): lambda f: (
        _(
            "These website forms accept no requests, because nobody has chosen their country: %(names)s.",
            names=f["names"],
        ),
        _("Choose the country under Settings, Calls, or in the settings of each form."),
    ),
    ("events", "ok"): lambda _f: (_("Arriving, last at"), ""),
    ("events", "never"): lambda f: (
        _("None has arrived from this Bitrix24 yet."),
        _("Nothing to do before the first call. If none arrives then, Bitrix24 cannot reach %(url)s.", url=f["url"]),
    ),
    ("events", "silent"): lambda f: (
        _("%(count)s calls were started in the last day, but no events of them arrived.", count=f["count"]),
        _(
            "The operator checks that %(url)s is reachable from the internet, with a valid certificate.",
            url=f["url"],
        ),
    ),
}
SENTENCES = {**INSTALLATION_SENTENCES, **PORTAL_SENTENCES}


def describe(findings: Iterable[Finding]) -> list[FindingWords]:
    """Put findings into words of the present language, the worst first.

    What another version of the app has found and kept, and this one has no words for, is left out.
    """
    told = []
    for finding in sorted(findings, key=lambda one: one.level.place):
        if (finding.check, finding.about) not in SENTENCES:
            continue
        sentence, mend = SENTENCES[finding.check, finding.about](finding.facts)
        at = finding.facts.get("at", "")
        title = str(_(_TITLES[finding.check]))
        told.append(FindingWords(finding.check, finding.level, finding.about, title, sentence, at, mend))
    return told


def as_document(findings: Iterable[FindingWords]) -> dict[str, object]:
    """Findings for programs; ``ok`` is false when one of them is a problem."""
    found = list(findings)
    return {"ok": all(one.level != Level.PROBLEM for one in found), "findings": [asdict(one) for one in found]}
