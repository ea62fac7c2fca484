"""Moments as the API writes them."""

from datetime import datetime


def iso(moment: datetime) -> str:
    """RFC 3339 in UTC, with a Z."""
    return moment.isoformat().replace("+00:00", "Z")
