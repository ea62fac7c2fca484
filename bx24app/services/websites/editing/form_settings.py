"""A form's settings as an administrator writes them: types, limits, and what is left out."""

from decimal import Decimal
from typing import Annotated, Any, Literal

from flask_babel import force_locale
from flask_babel import gettext as _
from pydantic import AfterValidator, BaseModel, Field

from bx24app.inputs import (
    SPELLED,
    WRITTEN_WHOLE,
    AlsoWritten,
    CurrencyCode,
    Flag,
    Identifier,
    Text,
    TolerantModel,
    bare,
)
from bx24app.models import UnknownPolicy
from bx24app.models.websites.form import DEFAULTS, FIELDS, LANGUAGES, LIMITS, MOST_OF_NUMBER
from bx24app.services.calling.business_hours import Hours
from bx24app.services.calling.field_types import Country, Language, LongReadable, Prefix, Readable, Topic, spelled_once
from bx24app.services.calling.spoken_text import one_line
from bx24app.services.portals.settings import PortalNumber
from bx24app.settings import settings
from bx24app.urls import normal_origin

SHORT_COLOUR = 3


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
    number_day: Annotated[int, Field(ge=1, le=MOST_OF_NUMBER), WRITTEN_WHOLE] = LIMITS["number_day"]
    form_hour: Count = LIMITS["form_hour"]
    form_day: Count = LIMITS["form_day"]


class OwnTexts(TolerantModel):
    """A form's texts in one language, each in one line of plain text; an empty one is ours."""

    heading: Annotated[Text, Field(max_length=80), AfterValidator(one_line)] = ""
    # In place of the wait that the app estimates, while somebody is there.
    sentence: Annotated[Text, Field(max_length=200), AfterValidator(one_line)] = ""
    button: Annotated[Text, Field(max_length=40), AfterValidator(one_line)] = ""
    thanks: Annotated[Text, Field(max_length=200), AfterValidator(one_line)] = ""


class FormTexts(TolerantModel):
    """The administrator's own texts by language."""

    en: OwnTexts = OwnTexts()
    ru: OwnTexts = OwnTexts()


class ConsentTexts(TolerantModel):
    """What visitors agree to before they send, by language; an empty one is our sentence."""

    en: LongReadable = ""
    ru: LongReadable = ""


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
    consent_texts: ConsentTexts | None = None
    # The same text in every language.
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
    texts: FormTexts = FormTexts()
    corner: Annotated[Literal["right", "left"], SPELLED] = DEFAULTS["corner"]
    shown: Annotated[Literal["always", "in_hours"], SPELLED] = DEFAULTS["shown"]
    creates_lead: Flag = DEFAULTS["creates_lead"]
    shows_in_crm: Flag = DEFAULTS["shows_in_crm"]
    # Who is told of its callbacks, by the portal's own number; None: whoever made the form.
    person_id: PortalNumber | None = None

    def changes(self) -> dict[str, Any]:
        """Return the columns for the fields that were given, with their stored values."""
        named = {name: getattr(self, name) for name in self.model_fields_set}
        changes = {
            name: value.model_dump(mode="json") if isinstance(value, BaseModel) else value
            for name, value in named.items()
        }
        if changes.keys() & {"consent_text", "consent_texts"}:
            for_all = changes.pop("consent_text", None)
            written = changes.get("consent_texts", for_all and dict.fromkeys(LANGUAGES, for_all))
            changes["consent_texts"] = (
                {name: text or our_consent(name) for name, text in written.items()} if written else None
            )
        return changes


def our_consent(language: str) -> str:
    """The sentence that a form asks agreement to unless its administrator has written another one."""
    with force_locale(language):
        return str(_("I agree to be called back at this number."))
