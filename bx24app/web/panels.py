"""The administrator's panels: fragments of the desk, fetched when they are opened."""

from flask import Blueprint, render_template

from bx24app.services import desks, forms, rest_log, webhooks
from bx24app.services.tickets import Ticket
from bx24app.web import panel_views
from bx24app.web.guards import administrator_required
from bx24app.web.views import settings_of

blueprint = Blueprint("panels", __name__, url_prefix="/desk/panels")


@blueprint.get("/forms")
@administrator_required
def show_forms(ticket: Ticket) -> str:
    """The website forms, and how to make one."""
    portal = desks.portal_of(ticket)
    found = forms.list_forms(portal.id)
    return render_template(
        "desk/panels/forms.html",
        forms=[panel_views.form_row(form, portal) for form in found],
        lines=panel_views.own_lines(portal),
        default_line_id=portal.default_line_id,
    )


@blueprint.get("/forms/<form_key>")
@administrator_required
def show_form(ticket: Ticket, form_key: str) -> str:
    """The settings of one form."""
    portal = desks.portal_of(ticket)
    form = forms.get(portal.id, form_key)
    return render_template("desk/panels/form.html", form=form, options=panel_views.form_options(form, portal))


@blueprint.get("/settings")
@administrator_required
def show_settings(ticket: Ticket) -> str:
    """The portal's defaults."""
    portal = desks.portal_of(ticket)
    return render_template(
        "desk/panels/settings.html", settings=settings_of(portal), **panel_views.setting_options(portal)
    )


@blueprint.get("/requests")
@administrator_required
def show_requests(ticket: Ticket) -> str:
    """The filters of the log of requests to Bitrix24."""
    return render_template("desk/panels/requests.html", methods=rest_log.methods(ticket.portal_id))


@blueprint.get("/webhooks")
@administrator_required
def show_webhooks(ticket: Ticket) -> str:
    """The webhooks of all forms."""
    found = forms.list_forms(ticket.portal_id)
    names = {form.key: form.name for form in found}
    rows = [panel_views.webhook_row(listed, names) for listed in webhooks.list_webhooks(ticket.portal_id)]
    return render_template("desk/panels/webhooks.html", forms=found, webhooks=rows)


@blueprint.get("/webhooks/<int(max=2147483647):webhook_id>")
@administrator_required
def show_deliveries(ticket: Ticket, webhook_id: int) -> str:
    """What was sent to one webhook, the newest first."""
    found = webhooks.list_deliveries(ticket.portal_id, webhook_id)
    return render_template("desk/panels/deliveries.html", deliveries=[panel_views.delivery_row(one) for one in found])
