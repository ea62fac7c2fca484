"""Words for the doctor's findings: what was found, and how to mend it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date

from flask_babel import format_date, ngettext
from flask_babel import gettext as _

from bx24app.i18n import N_
from bx24app.messages.reasons import reason_sentence
from bx24app.services.diagnostics import Finding, Level

FindingFacts = Mapping[str, str]
Sentences = tuple[str, str]


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


# The first eight are for the operator of the app, in English.
_TITLES = {
    "database": "Database",
    "files": "Database files",
    "networks": "Private networks",
    "keys": "Encryption keys",
    "spelling": "Spelling of an address",
    "address": "Our address",
    "authorization": "Authorization server",
    "portal": "Bitrix24",
    "clock": N_("Clock"),
    "access": N_("Access"),
    "scopes": N_("Permissions (scopes)"),
    "lines": N_("Lines"),
    "voices": N_("Voices"),
    "history": N_("Call history"),
    "bound": N_("Tabs and menus"),
    "events": N_("Call events"),
    "holidays": N_("Public holidays"),
    "country": N_("Country"),
}


def _refused(facts: FindingFacts, mend: str) -> Sentences:
    sentence = _("Bitrix24 does not let the app read this.")
    if facts.get("words"):
        sentence += " " + _("Bitrix24 says: “%(words)s”", words=facts["words"])
    return sentence, mend


def _next_holiday(facts: FindingFacts) -> str:
    day = format_date(date.fromisoformat(facts["day"]), "full") if facts["day"] else ""
    return str(
        _("The next holiday of %(region)s: %(day)s, %(name)s.", region=facts["region"], day=day, name=facts["name"])
    )


def _reinstall() -> str:
    return str(_("An administrator installs the app again from the marketplace; nothing is lost by that."))


# What the operator of the app is told on the command line, in English.
_INSTALLATION: dict[tuple[str, str], Callable[[FindingFacts], Sentences]] = {
    ("database", "ok"): lambda f: (f"Answers; its migrations are up to date ({f['head']}).", ""),
    ("database", "database"): lambda f: (
        f"Does not answer ({f['detail']}).",
        "Check BX24APP_DATABASE_URL and whether the database server runs.",
    ),
    ("database", "migrations"): lambda f: (
        f"Is at migration {f['present']}, the app needs {f['head']}.",
        "Run: flask --app app db upgrade",
    ),
    ("files", "ok"): lambda f: (f"{f['folder']} and what is in it are for the app's user alone.", ""),
    ("files", "closed"): lambda f: (
        f"Other users of this machine could read {f['files']} in {f['folder']} until now; that is mended.",
        "If others have accounts on this machine, think of what they may have read: rotate the keys.",
    ),
    ("files", "listed"): lambda f: (
        f"Other users of this machine may look into {f['folder']}; the files in it are closed to them.",
        f"If the folder is for the app alone: chmod 700 {f['folder']}",
    ),
    ("files", "shared"): lambda f: (
        f"Other users of this machine may put files into {f['folder']} and so hinder the app, or deceive it.",
        "Move the database into a folder of its own with mode 700 (BX24APP_DATABASE_URL).",
    ),
    ("files", "open"): lambda f: (
        f"Other users of this machine may read {f['files']} in {f['folder']}.",
        "The files belong to another user than the app's: give them to it (chown), mode 600.",
    ),
    ("files", "lock"): lambda f: (
        f"{f['files']} in {f['folder']} is a link, no file, or somebody else's. Writers do without it, more slowly.",
        "Stop web and worker, remove it, and find out who has put it there.",
    ),
    ("files", "read_only"): lambda f: (
        f"The app's user may not write in {f['folder']}: SQLite needs files beside the database.",
        "Give the folder to the app's user (chown), mode 700.",
    ),
    ("networks", "every"): lambda f: (
        f"Every portal that installs the app may name an address in {f['networks']}, and have the app talk to it.",
        "Name the portal in BX24APP_PRIVATE_PORTALS: member_id=network. The log names the member_id of each portal.",
    ),
    ("keys", "ok"): lambda f: (f"Everything sealed opens under the first key ({f['count']}).", ""),
    ("keys", "old"): lambda f: (
        f"{f['count']} values are still sealed under an older key.",
        "Run: flask --app app rotate-keys. Then the older keys can be taken out of BX24APP_ENCRYPTION_KEYS.",
    ),
    ("keys", "lost"): lambda f: (
        f"{f['count']} values cannot be opened: key {f['ids']} is not configured.",
        "Put the missing key back at the end of BX24APP_ENCRYPTION_KEYS; else those portals must be reinstalled.",
    ),
    ("spelling", "respelled"): lambda f: (f"{f['variable']} is {f['written']}, read as {f['read']}.", ""),
    ("address", "ok"): lambda f: (f"{f['url']} answers.", ""),
    ("address", "certificate"): lambda f: (
        f"The certificate of {f['url']} is not accepted.",
        "Install a valid certificate with its whole chain: Bitrix24 sends no events to any other.",
    ),
    ("address", "unreachable"): lambda f: (
        f"{f['url']} cannot be reached from here ({f['detail']}).",
        "Check BX24APP_PUBLIC_URL, the reverse proxy and the firewall.",
    ),
    ("address", "other"): lambda f: (
        f"{f['url']} is answered by something else (status {f['status']}).",
        "Check BX24APP_PUBLIC_URL and where the reverse proxy sends /healthz.",
    ),
    ("authorization", "ok"): lambda f: (f"{f['address']} answers and knows the app.", ""),
    ("authorization", "keys"): lambda f: (
        f"It does not accept the app's keys (client {f['client_id']}).",
        "Compare BX24APP_CLIENT_ID and BX24APP_CLIENT_SECRET with the developer's area.",
    ),
    ("authorization", "unreachable"): lambda f: (
        f"{f['address']} does not answer ({f['detail']}): tokens cannot be renewed.",
        "Check BX24APP_AUTH_SERVER and whether this machine may open https connections.",
    ),
}
# What concerns one portal; administrators read it in the desk.
PORTAL_SENTENCES: dict[tuple[str, str], Callable[[FindingFacts], Sentences]] = {
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
    ("portal", "uninstalled"): lambda _f: (_("The app is not installed there any more."), _reinstall()),
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
    ("scopes", "ok"): lambda _f: (_("All are granted."), ""),
    ("scopes", "missing"): lambda f: (_("Not granted: %(scopes)s.", scopes=f["scopes"]), _reinstall()),
    ("scopes", "refused"): lambda f: _refused(f, _reinstall()),
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
    ("lines", "refused"): lambda f: _refused(
        f, _("Give the right “Manage numbers: modify” to the administrator under whom the app is connected.")
    ),
    ("voices", "ok"): lambda f: (ngettext("%(num)s voice found.", "%(num)s voices found.", int(f["count"])), ""),
    ("voices", "default"): lambda f: (
        _("The default voice %(voice)s does not exist any more.", voice=f["voice"]),
        _("Choose another one under Settings, Calls."),
    ),
    ("voices", "refused"): lambda f: _refused(f, _("Callbacks are spoken in the default voice.")),
    ("history", "ok"): lambda _f: (_("Can be read."), ""),
    ("history", "refused"): lambda f: _refused(
        f, _("Give the right “Call statistics: view” to the administrator under whom the app is connected.")
    ),
    ("bound", "ok"): lambda _f: (_("All tabs and event handlers are in place."), ""),
    ("bound", "missing"): lambda f: (
        _("Missing or out of date: %(what)s.", what=f["what"]),
        _("The app sets them up by itself within the hour. If they stay missing, install the app again."),
    ),
    ("bound", "refused"): lambda f: _refused(f, _reinstall()),
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
SENTENCES = {**_INSTALLATION, **PORTAL_SENTENCES}
_WORST_FIRST = (Level.PROBLEM, Level.WARNING, Level.OK)


def describe(findings: Iterable[Finding]) -> list[FindingWords]:
    """Put findings into words of the present language, the worst first."""
    told = []
    for finding in sorted(findings, key=lambda one: _WORST_FIRST.index(one.level)):
        sentence, mend = SENTENCES[finding.check, finding.about](finding.facts)
        at = finding.facts.get("at", "")
        title = str(_(_TITLES[finding.check]))
        told.append(FindingWords(finding.check, finding.level, finding.about, title, sentence, at, mend))
    return told


def as_document(findings: Iterable[FindingWords]) -> dict[str, object]:
    """Findings for programs; ``ok`` is false when one of them is a problem."""
    found = list(findings)
    return {"ok": all(one.level != Level.PROBLEM for one in found), "findings": [asdict(one) for one in found]}
