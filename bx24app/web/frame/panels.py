"""The administrator's panels: fragments of the desk, fetched when they are opened."""

from flask import Blueprint, render_template, request

from bx24app.models import utcnow
from bx24app.services.callbacks import people
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.roles import Role
from bx24app.services.calling import do_not_call, phone_numbers, spoken_text
from bx24app.services.portals import request_log
from bx24app.services.webhooks import subscriptions
from bx24app.services.websites import availability, forms, rejections
from bx24app.web.api.api_keys import key_schemas
from bx24app.web.guards import principal_required
from bx24app.web.presenters import panels as panel_presenter
from bx24app.web.presenters import webhooks as webhook_presenter
from bx24app.web.presenters.callbacks import settings_of

blueprint = Blueprint("panels", __name__, url_prefix="/desk/panels")

# Rows of the do-not-call list, and the latest refusals of one form.
LISTED = 50
LATEST = 20


@blueprint.get("/forms")
@principal_required(Role.ADMINISTRATOR)
def show_forms(principal: Principal) -> str:
    """The website forms, and how to make one."""
    portal = principal.portal
    found = availability.list_forms(portal, utcnow())
    names = people.names_of(portal.id, [listed.form.created_by for listed in found])
    return render_template(
        "desk/panels/forms.html",
        forms=[panel_presenter.form_row(listed, names) for listed in found],
        lines=panel_presenter.own_lines(portal),
        default_line_id=portal.settings.default_line_id,
        websites_off=portal.settings.websites_off,
        country_choices=panel_presenter.country_choices(portal),
    )


@blueprint.get("/forms/<key:form_key>")
@principal_required(Role.ADMINISTRATOR)
def show_form(principal: Principal, form_key: str) -> str:
    """The settings of one form."""
    portal = principal.portal
    form = forms.get_form(portal.id, form_key)
    options = panel_presenter.form_options(form, portal, spoken_text.default_text(portal.language))
    return render_template("desk/panels/form.html", scope="form", form=form, options=options)


@blueprint.get("/settings")
@principal_required(Role.ADMINISTRATOR)
def show_settings(principal: Principal) -> str:
    """The portal's defaults."""
    portal = principal.portal
    return render_template(
        "desk/panels/settings.html",
        scope="settings",
        settings=settings_of(portal, spoken_text.default_text(portal.language)),
        **panel_presenter.setting_options(portal),
    )


@blueprint.get("/requests")
@principal_required(Role.ADMINISTRATOR)
def show_requests(principal: Principal) -> str:
    """The filters of the log of requests to Bitrix24."""
    return render_template("desk/panels/requests.html", methods=request_log.methods(principal.portal.id))


@blueprint.get("/webhooks")
@principal_required(Role.ADMINISTRATOR)
def show_webhooks(principal: Principal) -> str:
    """The webhooks of all forms."""
    found, listed = forms.list_forms(principal.portal.id), subscriptions.list_webhooks(principal.portal.id)
    form_names = {form.key: form.name for form in found}
    makers = [id for one in listed for id in (one.webhook.created_by, one.webhook.changed_by)]
    names = people.names_of(principal.portal.id, makers)
    rows = [webhook_presenter.webhook_row(one, form_names, names) for one in listed]
    return render_template("desk/panels/webhooks.html", forms=found, webhooks=rows)


@blueprint.get("/webhooks/<id:webhook_id>")
@principal_required(Role.ADMINISTRATOR)
def show_deliveries(principal: Principal, webhook_id: int) -> str:
    """What was sent to one webhook, the newest first."""
    found = subscriptions.list_deliveries(principal.portal.id, webhook_id)
    return render_template(
        "desk/panels/deliveries.html", deliveries=[webhook_presenter.delivery_row(one) for one in found]
    )


@blueprint.get("/keys")
@principal_required(Role.ADMINISTRATOR)
def show_keys(principal: Principal) -> str:
    """The API keys that are valid, and how to make one."""
    rows = [shape.model_dump(mode="json") for shape in key_schemas(principal.portal.id) if shape.revoked_at is None]
    return render_template("desk/panels/keys.html", forms=forms.list_forms(principal.portal.id), keys=rows)


@blueprint.get("/do_not_call")
@principal_required(Role.ADMINISTRATOR)
def show_do_not_call(principal: Principal) -> str:
    """The numbers listed last, or those with the given digits."""
    wanted = request.args.get("q", "")[:32]
    found = do_not_call.list_numbers(principal.portal.id, None, LISTED + 1, phone_numbers.digits(wanted))
    names = people.names_of(principal.portal.id, [row.added_by for row in found])
    rows = [panel_presenter.number_row(row, names) for row in found[:LISTED]]
    return render_template("desk/panels/do_not_call.html", numbers=rows, q=wanted, more=len(found) > LISTED)


@blueprint.get("/tester")
@principal_required(Role.ADMINISTRATOR)
def show_tester(principal: Principal) -> str:
    """What the rule tester asks."""
    found = forms.list_forms(principal.portal.id)
    origins = sorted({origin for form in found for origin in form.allowed_origins})
    return render_template("desk/panels/tester.html", scope="tester", forms=found, origins=origins)


@blueprint.get("/refusals")
@principal_required(Role.ADMINISTRATOR)
def show_refusals(principal: Principal) -> str:
    """What the forms have not taken in the last month, by rule, and the latest ones."""
    found = forms.list_forms(principal.portal.id)
    since = utcnow() - rejections.REJECTIONS_KEPT
    rows = [
        panel_presenter.rejected_form(form.name, rejections.summarize_rejections(form.id, since, LATEST))
        for form in found
    ]
    return render_template("desk/panels/refusals.html", forms=rows)
