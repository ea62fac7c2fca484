"""The section Settings: one page for each kind of choice, and what the app knows of its connection."""

from flask import render_template, request

from bx24app.services import diagnostics
from bx24app.services.callbacks import desk, people
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.roles import Role
from bx24app.services.calling import do_not_call, phone_numbers, spoken_text
from bx24app.services.portals import request_log
from bx24app.web.frame.views import Section, View
from bx24app.web.presenters import panels as panel_presenter
from bx24app.web.presenters import sections as section_presenter
from bx24app.web.presenters.callbacks import settings_of

# Rows of the do-not-call list.
LISTED = 50


def _show(current: str, **shown: object) -> str:
    pages = section_presenter.settings_pages()
    return render_template("desk/settings.html", current=current, pages=pages, scope="settings", **shown)


def _show_choices(principal: Principal, current: str) -> str:
    portal = principal.portal
    options = panel_presenter.setting_options(portal)
    return _show(current, settings=settings_of(portal, spoken_text.default_text(portal.language)), **options)


def show_calls(principal: Principal) -> str:
    """The line, voice and text that a call begins with, and what happens when it fails."""
    return _show_choices(principal, "calls")


def show_hours(principal: Principal) -> str:
    """The working hours of the portal."""
    return _show_choices(principal, "hours")


def show_people(principal: Principal) -> str:
    """Who may call, and what the others see."""
    chosen = principal.portal.settings.roles
    ids = chosen["operators"]["people"] if chosen else []
    names = people.names_of(principal.portal.id, ids)
    return _show("people", people=panel_presenter.people_choice(chosen, names))


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
    check = diagnostics.kept_check(principal.portal.id)
    access = desk.administrator_access(principal.portal.id, principal.user_id or 0)
    return _show("check", check=check and section_presenter.shown_check(check), access=access)


SECTION = Section(
    "settings",
    Role.ADMINISTRATOR,
    (
        View("", show_calls),
        View("/calls", show_calls),
        View("/hours", show_hours),
        View("/people", show_people),
        View("/do-not-call", show_do_not_call),
        View("/log", show_log),
        View("/check", show_check),
    ),
)
