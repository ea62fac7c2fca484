"""Column types that several tables share."""

import json
import secrets
from datetime import UTC, datetime
from typing import Annotated, Any

from sqlalchemy import BigInteger, ColumnElement, DateTime, Dialect, ForeignKey, String, TextClause, false, text, true
from sqlalchemy.orm import mapped_column
from sqlalchemy.types import TypeDecorator


class UTCDateTime(TypeDecorator[datetime]):
    """An aware UTC time; a naive one is a mistake and raises ``ValueError``."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("times are aware")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Stored = str | bool | int | float | list[str] | dict[str, Any]
ServerDefault = str | TextClause | ColumnElement[bool]


def utcnow() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(UTC)


def new_revision() -> int:
    """A number that no row has had before."""
    return secrets.randbits(62)


def stored(value: Stored) -> ServerDefault:
    """The default of a column, which the database alone puts where a new row does not say."""
    if isinstance(value, bool):
        return true() if value else false()
    if isinstance(value, str):
        return value
    return text(json.dumps(value)) if isinstance(value, int | float) else json.dumps(value)


# SQLite gives the highest id again once its row is gone. Tickets, keys and jobs name rows of these tables by id.
NEVER_REUSED = {"sqlite_autoincrement": True}

Key = Annotated[int, mapped_column(primary_key=True)]
PortalKey = Annotated[int, mapped_column(ForeignKey("portal.id", ondelete="CASCADE"), index=True)]
At = Annotated[datetime, mapped_column(UTCDateTime)]
Code = Annotated[str, mapped_column(String(64))]
Name = Annotated[str, mapped_column(String(255))]
# An idempotency key, with its space in front (services/callbacks/idempotency.py).
RequestKey = Annotated[str, mapped_column(String(300))]
Digest = Annotated[str, mapped_column(String(64))]
# Another one with every UPDATE, and never one that was before, whatever clocks and ids do.
Revision = Annotated[int, mapped_column(BigInteger, default=new_revision, onupdate=new_revision)]
