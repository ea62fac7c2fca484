"""A website form: where its callbacks ring, and the rules that guard it."""

from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, Numeric, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from bx24app.database import Base
from bx24app.models.columns import NEVER_REUSED, At, Code, Key, Name, PortalKey, Revision, stored, utcnow


class UnknownPolicy(StrEnum):
    """What follows when nobody could say in time whether a dial was executed."""

    ASK = "ask"
    DIAL_AGAIN = "dial_again"


# A portal may allow this many requests for one number a day, for those that wait are gone through again and again while
# it is in a call; of all other limits 100,000.
MOST_OF_NUMBER = 1000
# What one visitor, one number and the whole form may ask for; a bucket that fills again over its hour or day.
LIMITS: dict[str, int] = {"address_hour": 5, "number_day": 3, "form_hour": 60, "form_day": 300}
FIELDS: dict[str, Any] = {"name": "optional", "topic": "off"}
LANGUAGES = ("en", "ru")
# What a form is until an administrator says otherwise, for its columns and for its settings alike.
DEFAULTS: dict[str, Any] = {
    "is_on": True,
    "fields": FIELDS,
    "languages": list(LANGUAGES),
    "limits": LIMITS,
    "colour": "#0075ff",
    "corner": "right",
    "shown": "always",
    "creates_lead": False,
    "shows_in_crm": True,
    "retries": 2,
    "retry_minutes": 10,
    "unknown_policy": UnknownPolicy.ASK,
    "expiry_minutes": 60,
}


class Form(Base):
    """A form that a company puts on its website; ``key`` is public and names it there."""

    __tablename__ = "form"
    __table_args__ = NEVER_REUSED

    id: Mapped[Key]
    portal_id: Mapped[PortalKey]
    key: Mapped[str] = mapped_column(String(32), unique=True)
    name: Mapped[Name]
    is_on: Mapped[bool] = mapped_column(server_default=stored(DEFAULTS["is_on"]))
    # None: the portal's default, as for a callback of staff.
    line_id: Mapped[Name | None]
    voice_id: Mapped[Name | None]
    text: Mapped[str | None] = mapped_column(Text)
    default_country: Mapped[str | None] = mapped_column(String(2))
    # Where callbacks may go (ISO 3166); none: to the default country and its territories.
    allowed_countries: Mapped[list[str]] = mapped_column(JSON, server_default=stored([]))
    # Beginnings of E.164 numbers; when any are allowed, all others are refused.
    blocked_prefixes: Mapped[list[str]] = mapped_column(JSON, server_default=stored([]))
    allowed_prefixes: Mapped[list[str]] = mapped_column(JSON, server_default=stored([]))
    # Sites that may frame the hosted form and post to it ("https://example.com"); none: our own page only.
    allowed_origins: Mapped[list[str]] = mapped_column(JSON, server_default=stored([]))
    # "off", "optional" or "required" for each of "name" and "topic"; topics to choose from, none: free words.
    fields: Mapped[dict[str, str]] = mapped_column(JSON, server_default=stored(DEFAULTS["fields"]))
    topics: Mapped[list[str]] = mapped_column(JSON, server_default=stored([]))
    # By language; None: no consent is asked. The version grows with every change of a text.
    consent_texts: Mapped[dict[str, str] | None] = mapped_column(JSON(none_as_null=True))
    consent_version: Mapped[int] = mapped_column(server_default=stored(0))
    languages: Mapped[list[str]] = mapped_column(JSON, server_default=stored(DEFAULTS["languages"]))
    limits: Mapped[dict[str, int]] = mapped_column(JSON, server_default=stored(DEFAULTS["limits"]))
    # Of one day in the zone of its hours; None: no budget. Money without a currency is in that of the last calls.
    budget_calls: Mapped[int | None]
    budget_money: Mapped[Decimal | None] = mapped_column(Numeric(12, 4))
    budget_currency: Mapped[Code | None]
    colour: Mapped[str] = mapped_column(String(7), server_default=stored(DEFAULTS["colour"]))
    # The administrator's own words by language, see ``FormTexts``; what is missing or empty is ours.
    texts: Mapped[dict[str, dict[str, str]]] = mapped_column(JSON, server_default=stored({}))
    # Where the website's button stands, "right" or "left", and when: "always", or "in_hours" only.
    corner: Mapped[str] = mapped_column(String(8), server_default=stored(DEFAULTS["corner"]))
    shown: Mapped[str] = mapped_column(String(8), server_default=stored(DEFAULTS["shown"]))
    # Make a lead of a number that the CRM does not know.
    creates_lead: Mapped[bool] = mapped_column(server_default=stored(DEFAULTS["creates_lead"]))
    # Show its callbacks in the timeline of the customer's card.
    shows_in_crm: Mapped[bool] = mapped_column(server_default=stored(DEFAULTS["shows_in_crm"]))
    # None: the portal's hours.
    hours: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    # Further dials after one that did not reach the customer, and the minutes between them.
    retries: Mapped[int] = mapped_column(server_default=stored(DEFAULTS["retries"]))
    retry_minutes: Mapped[int] = mapped_column(server_default=stored(DEFAULTS["retry_minutes"]))
    unknown_policy: Mapped[Code] = mapped_column(server_default=stored(DEFAULTS["unknown_policy"]))
    expiry_minutes: Mapped[int] = mapped_column(server_default=stored(DEFAULTS["expiry_minutes"]))
    # Who is told of its callbacks, and calls back where a card has nobody; None: whoever made it.
    person_id: Mapped[int | None]
    created_by: Mapped[int | None]
    created_at: Mapped[At] = mapped_column(default=utcnow)
    updated_at: Mapped[At] = mapped_column(default=utcnow, onupdate=utcnow)
    revision: Mapped[Revision]
    # A removed form takes no requests; its callbacks still name it.
    removed_at: Mapped[At | None]

    @property
    def person(self) -> int | None:
        """Who is told of its callbacks; None: nobody is known."""
        return self.person_id or self.created_by

    def consent_in(self, language: str) -> str | None:
        """What visitors of a language agree to, where it has no text that of another language; None: nothing."""
        if not self.consent_texts:
            return None
        return self.consent_texts.get(language) or next(iter(self.consent_texts.values()))

    def own_text(self, language: str, name: str) -> str:
        """The administrator's heading, sentence, button or thanks in a language; empty: our own words stand there."""
        return self.texts.get(language, {}).get(name, "")


class WidgetSighting(Base):
    """When a page of one of a form's websites last loaded the widget, and which website; one row per form."""

    __tablename__ = "widget_sighting"

    form_id: Mapped[int] = mapped_column(ForeignKey("form.id", ondelete="CASCADE"), primary_key=True)
    seen_at: Mapped[At]
    origin: Mapped[Name]
