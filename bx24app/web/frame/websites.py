"""The section Websites: forms and their editor, rejected requests, and what developers need."""

from datetime import date
from typing import Annotated, Any

from flask import render_template
from pydantic import BaseModel, Field

from bx24app.i18n import LANGUAGES
from bx24app.models import utcnow
from bx24app.services.callbacks import people
from bx24app.services.callbacks.listing import company_day
from bx24app.services.callbacks.listing.periods import FIRST_YEAR, LAST_YEAR, PeriodName
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.roles import Role
from bx24app.services.calling import spoken_text
from bx24app.services.calling.business_hours import hours_in_force
from bx24app.services.reports.periods import Period, named_period
from bx24app.services.webhooks import subscriptions
from bx24app.services.webhooks.subscriptions import ListedWebhook
from bx24app.services.websites import availability, forms, rejections
from bx24app.services.websites.editing.form_settings import our_consent
from bx24app.services.websites.editing.proposal import propose_form
from bx24app.services.websites.editing.sightings import last_sightings
from bx24app.services.websites.editing.today import figures_between
from bx24app.web.addresses import FormKey
from bx24app.web.api.api_keys import key_schemas
from bx24app.web.frame.views import Section, View
from bx24app.web.guards import read_query
from bx24app.web.presenters import forms as form_presenter
from bx24app.web.presenters import panels as panel_presenter
from bx24app.web.presenters import webhooks as webhook_presenter
from bx24app.web.presenters.forms import ListedDay, form_row
from bx24app.web.presenters.webhooks import WebhookRow

TEMPLATE = "desk/websites.html"
# The latest rejections of one form.
LATEST = 20
# Of the editor of a form, in the order of their strip.
TABS = ("look", "questions", "hours", "calling", "protection", "crm", "site", "developers")


def show_forms(principal: Principal) -> str:
    """The website forms with what they did today, and how to make one."""
    portal, now = principal.portal, utcnow()
    found = availability.list_forms(portal, now)
    today = named_period(PeriodName.TODAY, company_day.company_zone(portal), now)
    listed_forms = [listed.form for listed in found]
    did = figures_between(portal.id, listed_forms, today.begins_at, today.ends_at)
    names = people.names_of(portal.id, [form.created_by for form in listed_forms])
    seen, day = last_sightings([form.id for form in listed_forms]), ListedDay(now, today)
    return render_template(
        TEMPLATE,
        current="forms",
        forms=[
            form_row(listed, hours_in_force(portal, listed.form), day, one, names, seen.get(listed.form.id))
            for listed, one in zip(found, did, strict=True)
        ],
        lines=panel_presenter.own_lines(portal),
        default_line_id=portal.settings.default_line_id,
        websites_off=portal.settings.websites_off,
        country_choices=form_presenter.country_choices(portal),
        proposal=propose_form(portal, company_day.known_zone(portal)),
    )


def show_form(principal: Principal, form_key: str) -> str:
    """The settings of one form in tabs, with all that belongs to it; raises ``NotFound``.

    Every tab is in the page, so that nobody loses what they have not saved; the address says which one is shown.
    """
    portal = principal.portal
    form = forms.get_form(portal.id, form_key)
    our_consents = {language: our_consent(language) for language in LANGUAGES}
    return render_template(
        "desk/form.html",
        scope="form",
        form=form,
        listed=availability.describe_form(form, portal, utcnow()),
        seen=last_sightings([form.id]).get(form.id),
        version=forms.form_version(form),
        tabs=form_presenter.form_tabs(),
        counted_changes=panel_presenter.counted_changes(),
        ours=form_presenter.placeholder_words(),
        our_consents=our_consents,
        consents=form_presenter.consents(form, our_consents),
        options=form_presenter.form_options(form, portal, spoken_text.default_text(portal.language)),
        persons=form_presenter.person_choices(form, people.everybody_known(portal.id)),
        tried=[form],
        forms=[form],
        keys=[key for key in _valid_keys(portal.id) if key["form_key"] == form.key],
        webhooks=_webhook_rows(portal.id, subscriptions.list_webhooks(portal.id, form.key), {form.key: form.name}),
    )


def _valid_keys(portal_id: int) -> list[dict[str, Any]]:
    return [shape.model_dump(mode="json") for shape in key_schemas(portal_id) if shape.revoked_at is None]


def _webhook_rows(portal_id: int, listed: list[ListedWebhook], form_names: dict[str, str]) -> list[WebhookRow]:
    makers = [id for one in listed for id in (one.webhook.created_by, one.webhook.changed_by)]
    names = people.names_of(portal_id, makers)
    return [webhook_presenter.webhook_row(one, form_names, names) for one in listed]


class RejectedQuery(BaseModel):
    """Which rejected requests: of one form, and of one day by the company's clock; all of the last month else."""

    form: FormKey | None = None
    day: Annotated[date, Field(ge=date(FIRST_YEAR, 1, 1), le=date(LAST_YEAR, 12, 31))] | None = None


def show_rejected(principal: Principal) -> str:
    """What the forms have not taken in the last month, by rule, the latest ones, and a try of the rules."""
    portal, query = principal.portal, read_query(RejectedQuery)
    found = forms.list_forms(portal.id)
    since, until = utcnow() - rejections.REJECTIONS_KEPT, None
    if query.day:
        today = Period(query.day, query.day, company_day.company_zone(portal))
        since, until = today.begins_at, today.ends_at
    rows = [
        panel_presenter.rejected_form(form.name, rejections.summarize_rejections(form.id, since, LATEST, until))
        for form in found
        if query.form in (None, form.key)
    ]
    shown_day = panel_presenter.day_words(query.day) if query.day else ""
    return render_template(
        TEMPLATE, current="rejected", scope="tester", forms=rows, tried=found, query=query, day_words=shown_day
    )


def show_developers(principal: Principal) -> str:
    """The API keys that are valid and the webhooks, of all forms."""
    portal = principal.portal
    found = forms.list_forms(portal.id)
    form_names = {form.key: form.name for form in found}
    return render_template(
        TEMPLATE,
        current="developers",
        forms=found,
        keys=_valid_keys(portal.id),
        webhooks=_webhook_rows(portal.id, subscriptions.list_webhooks(portal.id), form_names),
    )


SECTION = Section(
    "websites",
    Role.ADMINISTRATOR,
    (
        View("", show_forms),
        View("/rejected", show_rejected),
        View("/developers", show_developers),
        View("/<key:form_key>", show_form),
        *(View(f"/<key:form_key>/{tab}", show_form) for tab in TABS),
    ),
)
