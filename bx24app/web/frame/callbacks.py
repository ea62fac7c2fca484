"""The section Callbacks: the alerts, the start bar and the list; one callback has a module of its own."""

from flask import render_template
from pydantic import ValidationError

from bx24app.errors import InvalidRequest
from bx24app.messages.reasons import reason_sentence
from bx24app.models import utcnow
from bx24app.services.callbacks.desk import Desk, load_desk, open_desk
from bx24app.services.callbacks.listing import memory
from bx24app.services.callbacks.listing.memory import LeftDesk
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.roles import Role
from bx24app.services.diagnostics import first_run
from bx24app.services.native.follow_up import notices
from bx24app.services.websites import availability
from bx24app.web.api.listing.list_query import ShownQuery
from bx24app.web.api.me import DeskBody
from bx24app.web.frame.one_callback import show_callback
from bx24app.web.frame.views import Section, View
from bx24app.web.guards import read_query
from bx24app.web.presenters import desk as desk_presenter
from bx24app.web.presenters.listing.callback_list import list_view


def show_list(principal: Principal) -> str:
    """The list of a desk that is open already, as the address says; an odd one is named, and the first list shown."""
    left = memory.load_left_desk(principal)
    try:
        query = read_query(ShownQuery).with_kept(kept_desk(left))
        return _render(load_desk(principal, query.choice()), query, left)
    except InvalidRequest as error:
        first = ShownQuery()
        return _render(load_desk(principal, first.choice()), first, left, reason_sentence(error.explanation))


def open_list(principal: Principal, left: LeftDesk) -> str:
    """The list with which the desk opens: as its person left it."""
    query = ShownQuery().with_kept(kept_desk(left))
    try:
        desk = open_desk(principal, None, query.choice())
    except InvalidRequest:
        # What was kept is not there any more.
        query = ShownQuery()
        desk = open_desk(principal, None, query.choice())
    return _render(desk, query, left)


def kept_desk(left: LeftDesk) -> DeskBody:
    """What somebody left; nothing where an older version of the app has kept what is none any more."""
    try:
        return DeskBody.read(left.desk)
    except ValidationError:
        return DeskBody()


def _render(desk: Desk, query: ShownQuery, left: LeftDesk, problem: str = "") -> str:
    """The alerts, the place of the first run, the start bar and the list."""
    principal = desk.principal
    manages = principal.role is Role.ADMINISTRATOR
    stopped = availability.stopped_forms(principal.portal, utcnow()) if manages else []
    page = desk_presenter.desk_page(desk, stopped)
    page["start_bar_open"] = kept_desk(left).start_bar_open
    view = list_view(desk.shown, query, principal.portal, operates=page["operates"])
    return render_template(
        "desk/callbacks.html",
        page=page,
        list=view,
        problem=problem,
        administers=manages,
        shows_first_run=manages and first_run.is_open(left.setup),
    )


def show_my_notifications(principal: Principal) -> str:
    """Whether the reader is told anything in the messenger."""
    is_muted = notices.is_muted(principal.portal.id, principal.user_id or 0)
    return render_template("desk/my_notifications.html", is_muted=is_muted)


SECTION = Section(
    "callbacks",
    Role.VIEWER,
    (
        View("", show_list),
        View("/notifications", show_my_notifications),
        View("/<uuid:callback_id>", show_callback),
    ),
)
