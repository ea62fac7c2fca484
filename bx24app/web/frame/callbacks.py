"""The section Callbacks: the alerts, the start bar and the list, and one callback."""

from uuid import UUID

from flask import render_template

from bx24app.models import utcnow
from bx24app.services.callbacks import queries
from bx24app.services.callbacks.desk import Desk, load_desk
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.roles import Role
from bx24app.services.websites import availability
from bx24app.web.frame.views import Section, View
from bx24app.web.presenters import callbacks as callback_presenter
from bx24app.web.presenters import desk as desk_presenter


def show_list(principal: Principal) -> str:
    """The list of a desk that is open already."""
    return render_desk(load_desk(principal))


def render_desk(desk: Desk) -> str:
    """The alerts, the start bar and the list."""
    principal = desk.principal
    manages = principal.role is Role.ADMINISTRATOR
    stopped = availability.stopped_forms(principal.portal, utcnow()) if manages else []
    page = desk_presenter.desk_page(desk, stopped)
    return render_template("desk/callbacks.html", page=page)


def show_callback(principal: Principal, callback_id: UUID) -> str:
    """One callback with its attempts and why; raises ``NotFound``."""
    named = queries.get_named_callback(principal, callback_id)
    return render_template(
        "desk/callback.html",
        operates=principal.role >= Role.OPERATOR,
        callback=callback_presenter.callback_row(named, operates=principal.role >= Role.OPERATOR),
        attempts=named.callback.attempts,
        decisions=callback_presenter.decisions(named),
    )


SECTION = Section("callbacks", Role.VIEWER, (View("", show_list), View("/<uuid:callback_id>", show_callback)))
