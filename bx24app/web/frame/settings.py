"""The section Settings: one page for each kind of choice, and what the app knows of its connection."""

from typing import Annotated, Literal

from flask import render_template, request
from flask_babel import get_locale
from pydantic import BaseModel, Field

from bx24app.inputs import SPELLED
from bx24app.models import utcnow
from bx24app.services import diagnostics
from bx24app.services.callbacks import desk, people
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.roles import Role
from bx24app.services.calling import business_hours, do_not_call, phone_numbers, public_holidays, spoken_text
from bx24app.services.native.follow_up import notices
from bx24app.services.native.follow_up.choices import NoticeEvent, NotificationChoices
from bx24app.services.portals import request_log, settings
from bx24app.services.portals.places import smart_processes
from bx24app.services.security import journal
from bx24app.services.security.journal import JournalPage
from bx24app.settings import settings as app_settings
from bx24app.web.frame.views import Section, View
from bx24app.web.guards import read_query
from bx24app.web.presenters import hours as hours_presenter
from bx24app.web.presenters import journal as journal_presenter
from bx24app.web.presenters import panels as panel_presenter
from bx24app.web.presenters import sections as section_presenter
from bx24app.web.presenters.callbacks import settings_of
from bx24app.web.presenters.setup import check as check_presenter

# Rows of the do-not-call list.
LISTED = 50


def _show(current: str, **shown: object) -> str:
    pages = section_presenter.settings_pages()
    return render_template("desk/settings.html", current=current, pages=pages, scope="settings", **shown)


def _show_form(principal: Principal, current: str, **shown: object) -> str:
    """A page that saves as one form, with the version of the settings that it shows."""
    portal = principal.portal
    last = journal.last_entry(portal.id, current)
    changed = journal_presenter.last_change(last, people.names_of(portal.id, [last.user_id] if last else []))
    version, counted = settings.version_of(portal), panel_presenter.counted_changes()
    return _show(current, version=version, counted_changes=counted, last_change=changed, **shown)


def _show_choices(principal: Principal, current: str, **shown: object) -> str:
    portal = principal.portal
    options = panel_presenter.setting_options(portal)
    chosen = settings_of(portal, spoken_text.default_text(portal.language))
    return _show_form(principal, current, settings=chosen, **options, **shown)


def show_calls(principal: Principal) -> str:
    """The line, voice and text that a call begins with, and what happens when it fails."""
    return _show_choices(principal, "calls")


def show_hours(principal: Principal) -> str:
    """The working hours of the portal, and what they mean now."""
    hours, now = business_hours.hours_in_force(principal.portal), utcnow()
    locale = get_locale()
    language = locale.language if locale else "en"
    holidays = public_holidays.look_up(hours.holidays, hours.today(now), language) if hours else None
    proof = hours_presenter.hours_proof(hours, holidays, now)
    return _show_choices(principal, "hours", proof=proof, short_days=hours_presenter.short_days())


def show_people(principal: Principal) -> str:
    """Who may call, what they see, and who that is."""
    portal = principal.portal
    chosen = portal.settings.roles
    known = people.known_people(portal.id)
    names = people.names_of(portal.id, chosen["operators"]["people"] if chosen else [])
    return _show_form(
        principal,
        "people",
        people=panel_presenter.people_choice(chosen, names),
        known=panel_presenter.told_apart(known),
        administrators=people.administrators(portal.id),
        shares={"callbacks": portal.settings.shares_callbacks, "reports": portal.settings.shares_reports},
    )


def show_notifications(principal: Principal) -> str:
    """Who is told of which event, and whether the reader is told anything."""
    portal = principal.portal
    chosen = NotificationChoices.of(portal)
    known = people.everybody_known(portal.id)
    listed = [id for event in NoticeEvent for id in chosen.told(event).people]
    names = people.names_of(portal.id, listed)
    return _show_form(
        principal,
        "notifications",
        events=panel_presenter.event_choices(chosen),
        people=panel_presenter.offered_people(known, listed, names),
        is_muted=notices.is_muted(portal.id, principal.user_id or 0),
    )


def show_smart_processes(principal: Principal) -> str:
    """The smart processes whose cards have a tab, as the portal listed them last."""
    portal = principal.portal
    types = panel_presenter.type_choices(smart_processes.kept_list(portal.id), smart_processes.chosen(portal))
    return _show_form(principal, "smart-processes", types=types)


def show_do_not_call(principal: Principal) -> str:
    """The numbers listed last, or those with the given digits."""
    wanted = request.args.get("q", "")[:32]
    found = do_not_call.list_numbers(principal.portal.id, None, LISTED + 1, phone_numbers.digits(wanted))
    names = people.names_of(principal.portal.id, [row.added_by for row in found])
    rows = [panel_presenter.number_row(row, names) for row in found[:LISTED]]
    return _show("do-not-call", numbers=rows, q=wanted, more=len(found) > LISTED)


def show_log(principal: Principal) -> str:
    """The filters of the log of requests to Bitrix24."""
    return _show("log", methods=request_log.methods(principal.portal.id))


def show_check(principal: Principal) -> str:
    """What the last setup check found; the page's script asks for another where it is too old."""
    check = diagnostics.load_check(principal.portal.id)
    access = desk.administrator_access(principal.portal.id, principal.user_id or 0)
    return _show("check", check=check and check_presenter.shown_check(check, principal.portal), access=access)


class JournalQuery(BaseModel):
    """The filters of the journal; ``before`` is the id of the last entry shown."""

    page: Annotated[JournalPage | Literal[""], SPELLED] = ""
    person: Annotated[int, Field(ge=0, lt=2**31)] = 0
    before: Annotated[int, Field(ge=0, lt=2**31)] = 0


def show_journal(principal: Principal) -> str:
    """Who changed what and when, by person and page."""
    portal_id, query = principal.portal.id, read_query(JournalQuery)
    wanted = journal.JournalFilter(query.page or None, query.person or None, query.before or None)
    found, before = journal.list_entries(portal_id, wanted)
    names = people.names_of(portal_id, who := journal.who_changed(portal_id))
    return _show(
        "journal",
        entries=[journal_presenter.entry_row(entry, names) for entry in found],
        more_before=before,
        query=query,
        page_names=journal_presenter.page_names(),
        persons=[(id, journal_presenter.person_name(id, names)) for id in who],
    )


def show_privacy(_principal: Principal) -> str:
    """What is kept and how long, and finding and erasing a number."""
    kept = {"callbacks": app_settings.retention_days, "log": app_settings.rest_log_days}
    return _show("privacy", kept=kept, kinds=journal_presenter.kinds_of_rows())


SECTION = Section(
    "settings",
    Role.ADMINISTRATOR,
    (
        View("", show_calls),
        View("/calls", show_calls),
        View("/hours", show_hours),
        View("/people", show_people),
        View("/notifications", show_notifications),
        View("/smart-processes", show_smart_processes),
        View("/do-not-call", show_do_not_call),
        View("/log", show_log),
        View("/privacy", show_privacy),
        View("/check", show_check),
        View("/journal", show_journal),
    ),
)
