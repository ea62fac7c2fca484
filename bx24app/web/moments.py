"""Moments as the API reads and writes them."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("before or after all time") from None


UtcMoment = Annotated[AwareDatetime, AfterValidator(_in_utc)]


def iso(moment: datetime) -> str:
    """RFC 3339 in UTC, with a Z."""
    return moment.isoformat().replace("+00:00", "Z")
