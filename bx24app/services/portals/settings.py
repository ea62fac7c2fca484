"""A portal's settings, as its administrators change them."""

from dataclasses import dataclass
from typing import Any

import phonenumbers

from bx24app.database import reading, writing
from bx24app.errors import InvalidRequest, NotFound
from bx24app.models import Portal
from bx24app.services.calling import spoken_text
from bx24app.services.portals import lines


@dataclass(frozen=True)
class PortalDefaults:
    """The portal's settings that an administrator may change; None leaves one as it is, "" clears it."""

    default_line_id: str | None = None
    default_voice_id: str | None = None
    default_text: str | None = None
    default_country: str | None = None
    stands_in: bool | None = None
    retries: int | None = None
    retry_minutes: int | None = None
    line_cap: int | str | None = None
    hours: dict[str, Any] | str | None = None
    websites_off: bool | None = None


def get_portal(portal_id: int) -> Portal:
    """A portal as it is now; raises ``NotFound`` once it is gone."""
    with reading() as session:
        portal = session.get(Portal, portal_id)
    if portal is None:
        raise NotFound
    return portal


def change_settings(portal_id: int, wanted: PortalDefaults) -> Portal:
    """Change the portal's defaults, all or none.

    Raises ``UnknownLine``, ``UnknownVoice``, ``TextInvalid``, ``InvalidRequest`` (country).
    """
    if wanted.default_line_id:
        lines.require_line(portal_id, wanted.default_line_id)
    if wanted.default_voice_id:
        lines.require_voice(portal_id, wanted.default_voice_id)
    spoken = spoken_text.check_text(wanted.default_text) if wanted.default_text else wanted.default_text
    if wanted.default_country and wanted.default_country not in phonenumbers.SUPPORTED_REGIONS:
        raise InvalidRequest("default_country")
    changes = {
        "default_line_id": wanted.default_line_id,
        "default_voice_id": wanted.default_voice_id,
        "default_text": spoken,
        "default_country": wanted.default_country,
        "line_cap": wanted.line_cap,
        "hours": wanted.hours,
    }
    plain = {"stands_in": wanted.stands_in, "retries": wanted.retries, "retry_minutes": wanted.retry_minutes}
    plain["websites_off"] = wanted.websites_off
    with writing() as session:
        portal = session.get_one(Portal, portal_id, with_for_update=True)
        for name, value in changes.items():
            if value is not None:
                setattr(portal.settings, name, value or None)
        for name, value in plain.items():
            if value is not None:
                setattr(portal.settings, name, value)
    return portal
