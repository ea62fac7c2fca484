"""A website form: where its callbacks ring, and the rules that guard it."""

from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from bx24app.extensions import Base
from bx24app.models.columns import At, Code, Key, Name, PortalKey, utcnow


class UnknownPolicy(StrEnum):
    """What follows when nobody could say in time whether a dial was executed."""

    ASK = "ask"
    DIAL_AGAIN = "dial_again"


class Form(Base):
    """A form that a company puts on its website; ``key`` is public and names it there."""

    __tablename__ = "form"

    id: Mapped[Key]
    portal_id: Mapped[PortalKey]
    key: Mapped[str] = mapped_column(String(32), unique=True)
    name: Mapped[Name]
    is_on: Mapped[bool] = mapped_column(default=True)
    # None: the portal's default, as for a callback of staff.
    line_id: Mapped[Name | None]
    voice_id: Mapped[Name | None]
    text: Mapped[str | None] = mapped_column(Text)
    default_country: Mapped[str | None] = mapped_column(String(2))
    # None: the portal's hours.
    hours: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    # Further dials after one that did not reach the customer, and the minutes between them.
    retries: Mapped[int] = mapped_column(default=2)
    retry_minutes: Mapped[int] = mapped_column(default=10)
    unknown_policy: Mapped[Code] = mapped_column(default=UnknownPolicy.ASK)
    expiry_minutes: Mapped[int] = mapped_column(default=60)
    created_at: Mapped[At] = mapped_column(default=utcnow)
    updated_at: Mapped[At] = mapped_column(default=utcnow, onupdate=utcnow)
    # A removed form takes no requests; its callbacks still name it.
    removed_at: Mapped[At | None]
