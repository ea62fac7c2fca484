"""``/api/v1/forms``: the website forms of a portal, for administrators."""

from datetime import datetime
from decimal import Decimal
from types import GenericAlias, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from flask import Blueprint, Response, request
from pydantic import BaseModel, create_model
from werkzeug.http import quote_etag

from bx24app.errors import ChangedMeanwhile, InvalidRequest, NotFound
from bx24app.models import Form, Portal, WidgetSighting, utcnow
from bx24app.services.callbacks import people
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.roles import Role
from bx24app.services.portals import settings as portal_settings
from bx24app.services.websites import availability, forms
from bx24app.services.websites.availability import ListedForm
from bx24app.services.websites.editing.contrast import readable_on
from bx24app.services.websites.editing.form_settings import FormSettings
from bx24app.services.websites.editing.sightings import last_sightings
from bx24app.web.api.callbacks import PORTAL_REFUSALS
from bx24app.web.api.openapi import operation
from bx24app.web.api.schemas import PublicHolidaysSchema, json_response, public_holidays_schema
from bx24app.web.guards import InvalidBody, principal_required, read_body

blueprint = Blueprint("forms", __name__, url_prefix="/api/v1/forms")


def _answered(checked: Any) -> Any:
    """The type of a setting as it is answered: of what is checked when it is written nothing is left."""
    kind, parts = get_origin(checked), get_args(checked)
    if kind is Annotated:
        return _answered(parts[0])
    if kind is Literal:
        return str
    if kind is list:
        return GenericAlias(list, (_answered(parts[0]),))
    if kind in (Union, UnionType):
        return Union[tuple(_answered(part) for part in parts)]  # noqa: UP007  They are known only here.
    return str if checked is Decimal else checked


_settings: dict[str, Any] = {
    name: (_answered(field.annotation), ...) for name, field in FormSettings.model_fields.items()
}
_Settings = create_model("_Settings", **_settings)


class FormSchema(_Settings):
    """A form; ``problems`` names the rules that keep it from taking requests.

    ``callable_countries`` are those that its callbacks may go to, as its other settings have it.
    """

    key: str
    consent_version: int
    created_by: int | None
    created_by_name: str | None
    created_at: datetime
    updated_at: datetime
    url: str
    snippet: str
    public_holidays: PublicHolidaysSchema | None
    problems: list[str]
    # When and where a website of the form last loaded the button.
    seen_at: datetime | None
    seen_on: str | None
    callable_countries: list[str]
    # Of the text on the form's colour, which is white or dark; 4.5 is enough for any size.
    text_colour: str
    colour_contrast: float


class FormsSchema(BaseModel):
    """The forms of a portal, oldest first."""

    forms: list[FormSchema]


def form_schema(listed: ListedForm, names: dict[int, str], seen: WidgetSighting | None) -> FormSchema:
    """A form as an administrator sees it; ``names`` are those of people, by their number."""
    form = listed.form
    on_colour = readable_on(form.colour)
    made = {
        "budget_money": None if form.budget_money is None else f"{form.budget_money.normalize():f}",
        "consent_text": form.consent_in(form.languages[0]),
        "url": listed.url,
        "snippet": listed.snippet,
        "created_by_name": names.get(form.created_by or 0),
        "public_holidays": public_holidays_schema(form.hours),
        "seen_at": seen.seen_at if seen else None,
        "seen_on": seen.origin if seen else None,
        "problems": [*listed.problems, *listed.exhausted],
        "callable_countries": list(listed.countries),
        "text_colour": on_colour.colour,
        "colour_contrast": round(on_colour.contrast, 1),
    }
    stored = {name: getattr(form, name) for name in FormSchema.model_fields.keys() - made.keys()}
    return FormSchema.model_validate({**stored, **made})


def _answer(form: Form, portal: Portal, status: int = 200, **headers: str) -> Response:
    names = people.names_of(portal.id, [form.created_by])
    seen = last_sightings([form.id]).get(form.id)
    shown = form_schema(availability.describe_form(form, portal, utcnow()), names, seen)
    return json_response(shown, status, ETag=quote_etag(forms.form_version(form)), **headers)


@blueprint.get("")
@operation({200: FormsSchema}, refuses=(NotFound,))
@principal_required(Role.ADMINISTRATOR)
def show_all(principal: Principal) -> Response:
    """All forms of the portal, oldest first."""
    found = availability.list_forms(principal.portal, utcnow())
    names = people.names_of(principal.portal.id, [listed.form.created_by for listed in found])
    seen = last_sightings([listed.form.id for listed in found])
    return json_response(FormsSchema(forms=[form_schema(one, names, seen.get(one.form.id)) for one in found]))


@blueprint.post("")
@operation({201: FormSchema}, body=FormSettings, refuses=(InvalidRequest, NotFound, *PORTAL_REFUSALS))
@principal_required(Role.ADMINISTRATOR, needs_proof=True)
def create(principal: Principal) -> Response:
    """Make a form; everything but the name has a default."""
    wanted = read_body(FormSettings)
    if not wanted.name:
        raise InvalidBody([("name", "a name is needed")])
    form = forms.create_form(principal.portal.id, wanted, principal.user_id)
    # Checking its line may have asked the portal for its lines, and stored them.
    portal = portal_settings.get_portal(form.portal_id)
    return _answer(form, portal, 201, Location=f"/api/v1/forms/{form.key}")


@blueprint.get("/<key:form_key>")
@operation({200: FormSchema})
@principal_required(Role.ADMINISTRATOR)
def show(principal: Principal, form_key: str) -> Response:
    """One form with its settings, its address and its snippet."""
    return _answer(forms.get_form(principal.portal.id, form_key), principal.portal)


@blueprint.patch("/<key:form_key>")
@operation({200: FormSchema}, body=FormSettings, refuses=(InvalidRequest, ChangedMeanwhile, *PORTAL_REFUSALS))
@principal_required(Role.ADMINISTRATOR, needs_proof=True)
def change(principal: Principal, form_key: str) -> Response:
    """Change a form, all fields or none; a field left out stays as it is.

    With `If-Match`, the `ETag` of what was read, nothing is changed where a colleague has changed the form since.
    """
    known = request.if_match or None
    form = forms.change_form(principal.portal.id, form_key, read_body(FormSettings), principal.user_id, known)
    return _answer(form, portal_settings.get_portal(form.portal_id))


@blueprint.delete("/<key:form_key>")
@operation({204: None})
@principal_required(Role.ADMINISTRATOR, needs_proof=True)
def remove(principal: Principal, form_key: str) -> tuple[str, int]:
    """Take a form away; what it has taken is dialled all the same."""
    forms.remove_form(principal.portal.id, form_key, principal.user_id)
    return "", 204
