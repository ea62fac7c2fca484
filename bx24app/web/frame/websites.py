"""The section Websites: forms and their editor, rejected requests, and what developers need."""

from flask import render_template

from bx24app.models import utcnow
from bx24app.services.callbacks import people
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.roles import Role
from bx24app.services.calling import spoken_text
from bx24app.services.webhooks import subscriptions
from bx24app.services.websites import availability, forms, rejections
from bx24app.web.api.api_keys import key_schemas
from bx24app.web.frame.views import Section, View
from bx24app.web.presenters import panels as panel_presenter
from bx24app.web.presenters import webhooks as webhook_presenter

TEMPLATE = "desk/websites.html"
# The latest rejections of one form.
LATEST = 20


def show_forms(principal: Principal) -> str:
    """The website forms, and how to make one."""
    portal = principal.portal
    found = availability.list_forms(portal, utcnow())
    names = people.names_of(portal.id, [listed.form.created_by for listed in found])
    return render_template(
        TEMPLATE,
        current="forms",
        forms=[panel_presenter.form_row(listed, names) for listed in found],
        lines=panel_presenter.own_lines(portal),
        default_line_id=portal.settings.default_line_id,
        websites_off=portal.settings.websites_off,
        country_choices=panel_presenter.country_choices(portal),
    )


def show_form(principal: Principal, form_key: str) -> str:
    """The settings of one form, and a try of its rules; raises ``NotFound``."""
    portal = principal.portal
    form = forms.get_form(portal.id, form_key)
    options = panel_presenter.form_options(form, portal, spoken_text.default_text(portal.language))
    return render_template("desk/form.html", scope="form", form=form, options=options, tried=[form])


def show_rejected(principal: Principal) -> str:
    """What the forms have not taken in the last month, by rule, the latest ones, and a try of the rules."""
    found = forms.list_forms(principal.portal.id)
    since = utcnow() - rejections.REJECTIONS_KEPT
    rows = [
        panel_presenter.rejected_form(form.name, rejections.summarize_rejections(form.id, since, LATEST))
        for form in found
    ]
    return render_template(TEMPLATE, current="rejected", scope="tester", forms=rows, tried=found)


def show_developers(principal: Principal) -> str:
    """The API keys that are valid and the webhooks, of all forms."""
    portal = principal.portal
    found, listed = forms.list_forms(portal.id), subscriptions.list_webhooks(portal.id)
    form_names = {form.key: form.name for form in found}
    makers = [id for one in listed for id in (one.webhook.created_by, one.webhook.changed_by)]
    names = people.names_of(portal.id, makers)
    return render_template(
        TEMPLATE,
        current="developers",
        forms=found,
        keys=[shape.model_dump(mode="json") for shape in key_schemas(portal.id) if shape.revoked_at is None],
        webhooks=[webhook_presenter.webhook_row(one, form_names, names) for one in listed],
    )


SECTION = Section(
    "websites",
    Role.ADMINISTRATOR,
    (
        View("", show_forms),
        View("/rejected", show_rejected),
        View("/developers", show_developers),
        View("/<key:form_key>", show_form),
    ),
)
