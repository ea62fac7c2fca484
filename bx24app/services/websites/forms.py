"""Website forms: create, change, remove and read them, and make the snippet for a site."""

import secrets
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field
from sqlalchemy import Select, bindparam, func, select
from sqlalchemy.orm import Session

from bx24app.database import reading, writing
from bx24app.database.compiled import CompiledStatement, compiled_reading
from bx24app.errors import CountryUnknown, LimitReached, NotFound
from bx24app.inputs import SPELLED, WRITTEN_WHOLE, AlsoWritten, CurrencyCode, Flag, Identifier, TolerantModel, bare
from bx24app.models import Form, Portal, PortalSettings, UnknownPolicy, utcnow
from bx24app.models.websites.form import DEFAULTS, FIELDS, LIMITS
from bx24app.services.calling import spoken_text
from bx24app.services.calling.business_hours import Hours
from bx24app.services.calling.countries import with_territories
from bx24app.services.calling.field_types import Country, Language, LongReadable, Prefix, Readable, Topic, spelled_once
from bx24app.services.portals import lines
from bx24app.services.runtime import row_cache
from bx24app.settings import settings
from bx24app.urls import normal_origin

KEY_BYTES = 8
SHORT_COLOUR = 3
# Of one portal; removed ones keep their rows.
MAX_FORMS, MAX_FORMS_A_DAY = 200, 200
LATELY = timedelta(days=1)


def _origin(text: str) -> str:
    """Write an address as browsers send it in ``Origin``."""
    try:
        origin = normal_origin(text)
    except ValueError:
        origin = ""
    if not origin.startswith(("https://", "http://") if settings.allow_insecure_portals else "https://"):
        raise ValueError("an address such as https://example.com, without a path")
    return origin


def _colour(written: object) -> object:
    """Write a colour with six digits; people leave out the sign, or write three."""
    digits = bare(written).removeprefix("#") if isinstance(written, str) else ""
    digits = "".join(digit * 2 for digit in digits) if len(digits) == SHORT_COLOUR else digits
    return f"#{digits}" if digits else written


def _once(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _all_or_some(languages: list[str]) -> list[str]:
    return _once(languages) or list(DEFAULTS["languages"])


Origin = Annotated[str, Field(max_length=255), AfterValidator(_origin)]
FieldRequirement = Annotated[Literal["off", "optional", "required"], SPELLED]
Colour = Annotated[
    str,
    Field(pattern=r"^#[0-9a-fA-F]{6}$"),
    AlsoWritten(_colour, ({"type": "string", "pattern": r"^\s*#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})\s*$"},)),
]
Count = Annotated[int, Field(ge=1, le=100_000), WRITTEN_WHOLE]


class AskedFields(TolerantModel):
    """The fields of a form beside the number."""

    name: FieldRequirement = FIELDS["name"]
    topic: FieldRequirement = FIELDS["topic"]


class FormLimits(TolerantModel):
    """The most requests from one address in an hour, for one number in a day, and of the form in an hour and a day."""

    address_hour: Count = LIMITS["address_hour"]
    number_day: Count = LIMITS["number_day"]
    form_hour: Count = LIMITS["form_hour"]
    form_day: Count = LIMITS["form_day"]


# ruff takes the lists of a class for shared ones, unless it sees that this is a model.
class FormSettings(TolerantModel, BaseModel):
    """A form's settings as an administrator writes them; a field left out is not changed, or gets its default."""

    name: Readable = ""
    is_on: Flag = DEFAULTS["is_on"]
    line_id: Identifier | None = None
    voice_id: Identifier | None = None
    text: LongReadable | None = None
    default_country: Country | None = None
    allowed_countries: Annotated[list[Country], Field(max_length=250), AfterValidator(_once)] = []
    blocked_prefixes: Annotated[list[Prefix], Field(max_length=200), AfterValidator(_once)] = []
    allowed_prefixes: Annotated[list[Prefix], Field(max_length=200), AfterValidator(_once)] = []
    allowed_origins: Annotated[list[Origin], Field(max_length=50), AfterValidator(_once)] = []
    hours: Hours | None = None
    fields: AskedFields = AskedFields()
    topics: Annotated[list[Topic], Field(max_length=50), AfterValidator(spelled_once)] = []
    consent_text: LongReadable | None = None
    languages: Annotated[list[Language], Field(max_length=20), AfterValidator(_all_or_some)] = DEFAULTS["languages"]
    retries: Annotated[int, Field(ge=0, le=10), WRITTEN_WHOLE] = DEFAULTS["retries"]
    retry_minutes: Annotated[int, Field(ge=1, le=1440), WRITTEN_WHOLE] = DEFAULTS["retry_minutes"]
    unknown_policy: Annotated[UnknownPolicy, SPELLED] = DEFAULTS["unknown_policy"]
    expiry_minutes: Annotated[int, Field(ge=2, le=1440), WRITTEN_WHOLE] = DEFAULTS["expiry_minutes"]
    limits: FormLimits = FormLimits()
    budget_calls: Annotated[int, Field(ge=0, le=100_000), WRITTEN_WHOLE] | None = None
    budget_money: Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=4)] | None = None
    budget_currency: CurrencyCode | None = None
    colour: Colour = DEFAULTS["colour"]
    creates_lead: Flag = DEFAULTS["creates_lead"]

    def changes(self) -> dict[str, Any]:
        """Return the columns for the fields that were given, with their stored values."""
        named = {name: getattr(self, name) for name in self.model_fields_set}
        return {
            name: value.model_dump(mode="json") if isinstance(value, BaseModel) else value
            for name, value in named.items()
        }


def create_form(portal_id: int, wanted: FormSettings, user_id: int | None) -> Form:
    """Create a form; every field but its name has a safe default, and ``user_id`` is who creates it. Commits.

    Raises ``UnknownLine``, ``UnknownVoice``, ``TextInvalid``, ``UnknownVariable``, ``LimitReached``, and
    ``CountryUnknown`` when neither the form nor its portal says which countries may be called.
    """
    if not (wanted.default_country or wanted.allowed_countries or _country_of(portal_id)):
        raise CountryUnknown("default_country")
    changes = _checked(portal_id, wanted)
    form = Form(portal_id=portal_id, key=secrets.token_hex(KEY_BYTES), created_by=user_id, **changes)
    form.consent_version = 1 if form.consent_text else 0
    with writing() as session:
        present = select(func.count()).where(Form.portal_id == portal_id, Form.removed_at.is_(None))
        made_lately = select(func.count()).where(Form.portal_id == portal_id, Form.created_at > utcnow() - LATELY)
        if session.scalars(present).one() >= MAX_FORMS or session.scalars(made_lately).one() >= MAX_FORMS_A_DAY:
            raise LimitReached
        session.add(form)
    return form


def change_form(portal_id: int, key: str, wanted: FormSettings) -> Form:
    """Change a form, all given fields or none; commits.

    A form that is left without a country takes nothing. Raises ``NotFound``, and as ``create_form`` does for the rest.
    """
    changes = _checked(portal_id, wanted)
    with writing() as session:
        form = _locked(session, portal_id, key)
        if changes.get("consent_text", form.consent_text) != form.consent_text:
            form.consent_version += 1
        for name, value in changes.items():
            setattr(form, name, value)
        form.updated_at = utcnow()
    return form


def _country_of(portal_id: int) -> str | None:
    with reading() as session:
        return session.scalar(select(PortalSettings.default_country).where(PortalSettings.portal_id == portal_id))


def _checked(portal_id: int, wanted: FormSettings) -> dict[str, Any]:
    if wanted.line_id:
        lines.require_line(portal_id, wanted.line_id)
    if wanted.voice_id:
        lines.require_voice(portal_id, wanted.voice_id)
    changes = wanted.changes()
    if wanted.text:
        changes["text"] = spoken_text.check_template(wanted.text)
    return changes


def remove_form(portal_id: int, key: str) -> None:
    """Remove a form; its callbacks stay and are dialled. Commits. Raises ``NotFound``."""
    with writing() as session:
        form = _locked(session, portal_id, key)
        form.removed_at, form.is_on = utcnow(), False


def _locked(session: Session, portal_id: int, key: str) -> Form:
    query = select(Form).where(Form.portal_id == portal_id, Form.key == key, Form.removed_at.is_(None))
    form = session.scalar(query.with_for_update())
    if form is None:
        raise NotFound
    return form


def get_form(portal_id: int, key: str) -> Form:
    """Return a form of a portal; raises ``NotFound``, also when it was removed."""
    query = select(Form).where(Form.portal_id == portal_id, Form.key == key, Form.removed_at.is_(None))
    with reading() as session:
        form = session.scalar(query)
    if form is None:
        raise NotFound
    return form


def list_forms(portal_id: int) -> list[Form]:
    """List the forms of a portal, the oldest first."""
    with reading() as session:
        return read_forms(session, portal_id)


def read_forms(session: Session, portal_id: int) -> list[Form]:
    """List the forms of a portal, the oldest first, inside the caller's transaction."""
    query = select(Form).where(Form.portal_id == portal_id, Form.removed_at.is_(None)).order_by(Form.id)
    return list(session.scalars(query))


@dataclass(frozen=True)
class OpenForm:
    """A form with its portal, as a public address names it."""

    form: Form
    portal: Portal


def open_form(key: str) -> OpenForm:
    """Return the form with a public key, whatever its state; raises ``NotFound`` when it was removed.

    Both rows come from the row cache where they have not changed.
    """
    return _open(_BY_KEY, key)


def open_form_by_id(form_id: int) -> OpenForm:
    """Return a form by its id, for API keys and the rule tester; otherwise as ``open_form``."""
    return _open(_BY_ID, form_id)


_OPENED = select(Form, Portal).join(Portal, Portal.id == Form.portal_id).where(Form.removed_at.is_(None))
_BY_KEY = _OPENED.where(Form.key == bindparam("named"))
_BY_ID = _OPENED.where(Form.id == bindparam("named"))


def _revisions(query: Select[Form, Portal]) -> CompiledStatement:
    revisions = query.join(PortalSettings, PortalSettings.portal_id == Portal.id)
    return CompiledStatement(
        lambda: revisions.with_only_columns(Form.key, Form.revision, Portal.revision, PortalSettings.revision)
    )


_REVISIONS = {query: _revisions(query) for query in (_BY_KEY, _BY_ID)}


def _open(query: Select[Form, Portal], named: str | int) -> OpenForm:
    with compiled_reading() as run:
        known = run(_REVISIONS[query], {"named": named}).fetchone()
    if known is None:
        raise NotFound
    key, *revisions = known
    opened: OpenForm | None = row_cache.get_cached(("form", key), tuple(revisions))
    if opened is not None:
        return opened
    with reading() as session:
        row = session.execute(query, {"named": named}).one_or_none()
    if row is None:
        raise NotFound
    opened = OpenForm(row[0], row[1])
    row_cache.put_cached(("form", key), (opened.form.revision, *opened.portal.revisions), opened)
    return opened


def form_line(form: Form, portal: Portal) -> tuple[str, str] | None:
    """Return id and name of the line that a form's callbacks ring, from the stored list; None: no usable line."""
    line = portal.usable_line(form.line_id or portal.settings.default_line_id)
    return None if line is None else (line.line_id, line.name)


def form_country(form: Form, portal: Portal) -> str | None:
    """Return the country as whose national numbers a form's numbers are read; None: nobody has named it."""
    return form.default_country or portal.settings.default_country


def callable_countries(form: Form, portal: Portal) -> tuple[str, ...]:
    """Return the countries that a form's callbacks may go to; empty: none, because nobody has named a country."""
    country = form_country(form, portal)
    return tuple(form.allowed_countries) or (with_territories(country) if country else ())


def form_url(form: Form) -> str:
    """Return the address of the hosted form."""
    return f"{settings.public_origin}/w/{form.key}"


def form_snippet(form: Form) -> str:
    """Return the HTML that a site pastes into its pages to show the button and the form."""
    return f'<script src="{form_url(form)}/widget.js" async></script>'
