"""The journal in words: pages, fields, and old and new values."""

from dataclasses import dataclass

from flask_babel import gettext as _

from bx24app.models import JournalEntry
from bx24app.services.security.journal import JournalPage
from bx24app.web.moments import iso


@dataclass(frozen=True)
class LastChange:
    """Who changed a page last, and when."""

    name: str
    made_at: str


@dataclass(frozen=True)
class ShownChange:
    """One field with its old and new value, as people read them."""

    field: str
    old: str
    new: str


@dataclass(frozen=True)
class JournalRow:
    """One entry."""

    name: str
    page: str
    subject: str
    changes: list[ShownChange]
    made_at: str


def person_name(user_id: int | None, names: dict[int, str]) -> str:
    """The name of whoever did something."""
    if user_id is None:
        return str(_("the app"))
    return names.get(user_id) or str(_("employee #%(id)s", id=user_id))


def last_change(entry: JournalEntry | None, names: dict[int, str]) -> LastChange | None:
    """The last change of a page; None: nobody has changed it since there is a journal."""
    return None if entry is None else LastChange(person_name(entry.user_id, names), iso(entry.made_at))


def page_names() -> dict[str, str]:
    """The pages by name."""
    return {
        JournalPage.CALLS: _("Calls"),
        JournalPage.HOURS: _("Hours"),
        JournalPage.PEOPLE: _("People"),
        JournalPage.NOTIFICATIONS: _("Notifications"),
        JournalPage.SMART_PROCESSES: _("Smart processes"),
        JournalPage.FORMS: _("Forms"),
        JournalPage.KEYS: _("API keys"),
        JournalPage.WEBHOOKS: _("Webhooks"),
        JournalPage.DO_NOT_CALL: _("Do not call"),
        JournalPage.CALLBACKS: _("Callbacks"),
        JournalPage.PRIVACY: _("Privacy"),
        JournalPage.OPERATOR: _("Operator of the app"),
    }


def _field_names() -> dict[str, str]:
    return {
        "default_line_id": _("Default line"),
        "default_voice_id": _("Default voice"),
        "default_text": _("Default text"),
        "default_country": _("Country of numbers without a country code"),
        "retries": _("Repeat unsuccessful staff calls"),
        "retry_minutes": _("Minutes between attempts"),
        "line_cap": _("Calls at once on one line"),
        "stands_in": _("Make scheduled calls of colleagues without access"),
        "shows_in_crm": _("Show callbacks in the customer's card"),
        "websites_off": _("All website forms are paused."),
        "hours.week": _("Hours"),
        "hours.zone": _("Time zone"),
        "hours.holidays": _("Closed on the public holidays of"),
        "hours.closed": _("Also closed on"),
        "roles.operators": _("Who may call"),
        "roles.others": _("What the others see"),
        "shares_callbacks": _("Callbacks that people who may call see"),
        "shares_reports": _("Figures that they see in the reports"),
        "notifications": _("Notifications"),
        "person_id": _("Whose requests these are"),
        "smart_processes": _("Smart processes with a tab"),
        "is_on": _("Form"),
        "key": _("API key"),
        "webhook": _("Webhook"),
        "secret": _("Secret"),
        "outcome": _("Outcome"),
        "numbers_added": _("Numbers added"),
        "numbers_removed": _("Numbers removed"),
        "rows_erased": _("A number was erased, rows"),
        "line": _("Line"),
        "restored": _("Everything was restored to the state of"),
    }


def _field_name(path: str) -> str:
    """The words for a field, or for the nearest one around it with its own name behind."""
    known = _field_names()
    names = path.split(".")
    for length in range(len(names), 0, -1):
        words = known.get(".".join(names[:length]))
        if words:
            return " · ".join([words, *names[length:]])
    return path


def _value(text: str) -> str:
    words = {
        "": "–",
        "true": _("on"),
        "false": _("off"),
        "created": _("created"),
        "removed": _("removed"),
        "revoked": _("revoked"),
        "rotated": _("changed"),
        "stopped": _("no money"),
        "resumed": _("has money again"),
        "unknown": _("Outcome unknown"),
        "reached": _("I talked to the customer"),
        "not_reached": _("We did not reach the customer"),
        "dial_again": _("Call once more"),
    }
    return str(words.get(text, text))


def entry_row(entry: JournalEntry, names: dict[int, str]) -> JournalRow:
    """An entry as an administrator reads it."""
    return JournalRow(
        name=person_name(entry.user_id, names),
        page=page_names().get(entry.page, entry.page),
        subject=entry.subject,
        changes=[ShownChange(_field_name(field), _value(old), _value(new)) for field, old, new in entry.changes],
        made_at=iso(entry.made_at),
    )


def kinds_of_rows() -> dict[str, str]:
    """What is kept about a number, by the names that services/privacy.py gives it."""
    return {
        "callbacks": _("Callbacks"),
        "attempts": _("Calls"),
        "decisions": _("Decisions about them"),
        "website_requests": _("Website requests"),
        "deliveries": _("Webhook deliveries"),
        "call_reports": _("Call events"),
        "rejections": _("Rejected requests"),
        "do_not_call": _("Do-not-call list"),
        "filters": _("Saved filters of colleagues"),
        "left_desks": _("Searches of colleagues"),
    }
