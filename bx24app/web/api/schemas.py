"""What ``/api/v1`` answers with: one model for each shape (docs/api.md), made from model objects."""

from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

from flask import Response
from flask_babel import get_locale
from pydantic import BaseModel

from bx24app.messages.numbers import number_notices
from bx24app.models import Attempt, Callback, Outcome, Portal, Source, State, utcnow
from bx24app.services.callbacks.queries import NamedCallback
from bx24app.services.callbacks.request import AcceptedCallback
from bx24app.services.calling import public_holidays
from bx24app.services.calling.business_hours import Hours
from bx24app.services.native.follow_up.choices import NotificationChoices
from bx24app.services.portals.lines import Listing
from bx24app.services.portals.settings import Roles
from bx24app.web.presenters import callbacks as callback_presenter


class FieldError(BaseModel):
    """What is wrong with one field of a request."""

    field: str
    message: str


class Problem(BaseModel):
    """Why a request was refused (RFC 9457); ``detail`` is a sentence that a user can act on."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[FieldError]
    id: UUID | None = None
    slots: list[datetime] | None = None


class CrmCard(BaseModel):
    """The card of the CRM that a callback belongs to."""

    type: str
    id: int


class AttemptSchema(BaseModel):
    """One dial."""

    number: int
    started_at: datetime
    call_id: str | None
    outcome: Outcome
    failed_code: str | None
    duration_seconds: int | None
    cost: float | None
    cost_currency: str | None


class CallbackSchema(BaseModel):
    """A callback; ``detail`` is its reason as a sentence."""

    id: UUID
    state: State
    reason: str | None
    detail: str | None
    retry_of: UUID | None
    to_number: str
    customer_name: str | None
    line_id: str
    voice_id: str | None
    text: str
    source: Source
    scheduled_at: datetime | None
    created_at: datetime
    updated_at: datetime
    crm_entity: CrmCard | None
    attempts: list[AttemptSchema]


class AcceptedSchema(CallbackSchema):
    """A callback that was asked for; ``notices`` say what to know about its number: a foreign country, an extension."""

    notices: list[str]


class DecisionSchema(BaseModel):
    """One line of the why."""

    made_at: datetime
    rule: str
    inputs: dict[str, str]
    words: str


class ExplainedCallback(CallbackSchema):
    """A callback with its why; ``label`` says in a few words where it stands."""

    label: str
    decisions: list[DecisionSchema]


class Choice(BaseModel):
    """A line or a voice."""

    id: str
    name: str


class LineSchema(Choice):
    """One line."""


class ListingSchema(BaseModel):
    """``problem`` says why the list is older than asked for."""

    fetched_at: datetime | None
    problem: str | None


class LinesSchema(ListingSchema):
    """The portal's lines."""

    lines: list[Choice]


class VoicesSchema(ListingSchema):
    """The portal's voices."""

    voices: list[Choice]


class HolidaySchema(BaseModel):
    """The next public holiday after today."""

    day: date
    name: str


class CountryPartSchema(BaseModel):
    """A part of a country that has more holidays than the whole."""

    code: str
    name: str


class PublicHolidaysSchema(BaseModel):
    """What the region of ``hours.holidays`` means: its next holiday, and the parts of which one is to be chosen.

    ``parts`` is empty where a part is chosen, or is no matter; ``next`` is null without a region.
    """

    region: str
    next: HolidaySchema | None
    parts: list[CountryPartSchema]


class SettingsSchema(BaseModel):
    """The portal's defaults; empty where none is set."""

    default_line_id: str
    default_voice_id: str
    default_text: str
    default_country: str
    stands_in: bool
    retries: int
    retry_minutes: int
    line_cap: int | Literal[""]
    shows_in_crm: bool
    hours: Hours | Literal[""]
    public_holidays: PublicHolidaysSchema | None
    websites_off: bool
    shares_callbacks: bool
    roles: Roles
    # Operators see the figures of everybody in the reports, else only their own.
    shares_reports: bool
    # Who is told of each event in the messenger.
    notifications: NotificationChoices
    # The types (entityTypeId) of the smart processes whose cards have a tab of the app.
    smart_processes: list[int]
    # Who last changed ``roles`` or ``stands_in``.
    rights_changed_by: int | None
    rights_changed_by_name: str | None


def json_response(shape: BaseModel, status: int = 200, **headers: str) -> Response:
    """A shape as JSON."""
    return Response(shape.model_dump_json(), status, {**headers, "Content-Type": "application/json"})


def _callback_fields(callback: Callback) -> dict[str, Any]:
    entity = {"type": callback.crm_entity_type, "id": callback.crm_entity_id} if callback.crm_entity_type else None
    names = CallbackSchema.model_fields.keys() - {"detail", "scheduled_at", "crm_entity", "attempts"}
    return {
        **{name: getattr(callback, name) for name in names},
        "detail": callback_presenter.detail_of(callback),
        "scheduled_at": callback_presenter.planned_for(callback),
        "crm_entity": entity,
        "attempts": [_attempt(attempt) for attempt in callback.attempts],
    }


def _attempt(attempt: Attempt) -> AttemptSchema:
    return AttemptSchema.model_validate(attempt, from_attributes=True)


def callback_schema(callback: Callback) -> CallbackSchema:
    """A callback with its attempts."""
    return CallbackSchema.model_validate(_callback_fields(callback))


def accepted_schema(accepted: AcceptedCallback) -> AcceptedSchema:
    """A callback with what to know about its number."""
    notices = number_notices(accepted.number, accepted.country)
    return AcceptedSchema.model_validate({**_callback_fields(accepted.callback), "notices": notices})


def explained_callback_schema(named: NamedCallback) -> ExplainedCallback:
    """A callback with its attempts and its why."""
    told = zip(named.callback.why, callback_presenter.decisions(named), strict=True)
    decisions = [{"made_at": d.made_at, "rule": d.rule, "inputs": d.inputs, "words": row.words} for d, row in told]
    label = callback_presenter.callback_row(named, operates=False).label
    return ExplainedCallback.model_validate(
        {**_callback_fields(named.callback), "label": label, "decisions": decisions}
    )


def _listed(listing: Listing) -> tuple[list[Choice], dict[str, Any]]:
    choices = [Choice(id=id, name=name) for id, name in listing.names.items()]
    return choices, {"fetched_at": listing.fetched_at, "problem": callback_presenter.words_of(listing.problem)}


def lines_schema(listing: Listing) -> LinesSchema:
    """The lines as they were listed."""
    lines, more = _listed(listing)
    return LinesSchema(lines=lines, **more)


def voices_schema(listing: Listing) -> VoicesSchema:
    """The voices as they were listed."""
    voices, more = _listed(listing)
    return VoicesSchema(voices=voices, **more)


def settings_schema(portal: Portal, usual_text: str, names: dict[int, str]) -> SettingsSchema:
    """The portal's settings as an administrator sees them; ``names`` are those of people, by their number."""
    changed_by = portal.settings.rights_changed_by
    rights = {
        "roles": Roles.of(portal),
        "shares_reports": portal.settings.shares_reports,
        "notifications": NotificationChoices.of(portal),
        "rights_changed_by": changed_by,
        "rights_changed_by_name": names.get(changed_by or 0),
    }
    holidays = {"public_holidays": public_holidays_schema(portal.settings.hours)}
    return SettingsSchema.model_validate({**callback_presenter.settings_of(portal, usual_text), **rights, **holidays})


def public_holidays_schema(stored: dict[str, Any] | None) -> PublicHolidaysSchema | None:
    """The holidays of stored hours, in the reader's language; None without hours of their own."""
    if not stored:
        return None
    hours = Hours.of_stored(stored)
    return region_schema(hours.holidays, hours.today(utcnow()))


def region_schema(region: str, today: date) -> PublicHolidaysSchema:
    """The holidays of a region, in the reader's language."""
    locale = get_locale()
    found = public_holidays.look_up(region, today, locale.language if locale else "en")
    return PublicHolidaysSchema.model_validate(found, from_attributes=True)
