"""A portal's settings, as its administrators change them."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import phonenumbers
from pydantic import AfterValidator, BaseModel, Field

from bx24app.database import reading, writing
from bx24app.errors import InvalidRequest, NotFound
from bx24app.inputs import SPELLED, WRITTEN_WHOLE, TolerantModel, Yes
from bx24app.models import Portal
from bx24app.services.calling import spoken_text
from bx24app.services.portals import lines

MAX_CHOSEN = 500
PortalNumber = Annotated[int, Field(gt=0, lt=2**31), WRITTEN_WHOLE]
Chosen = Annotated[list[PortalNumber], Field(max_length=MAX_CHOSEN), AfterValidator(lambda ids: sorted(set(ids)))]


class Everybody(TolerantModel):
    """Every employee who may open the app."""

    everybody: Yes


class ChosenOperators(TolerantModel, BaseModel):
    """People and departments, by the portal's own numbers."""

    people: Chosen = []
    departments: Chosen = []


class Roles(TolerantModel):
    """Who of a portal starts callbacks beside its administrators, and whether the others see them or nothing."""

    operators: Everybody | ChosenOperators
    others: Annotated[Literal["view", "none"], SPELLED] = "view"

    @classmethod
    def of(cls, portal: Portal) -> "Roles":
        """What its administrators have chosen; at first everybody starts callbacks."""
        return cls.model_validate(portal.settings.roles or {"operators": {"everybody": True}})


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
    roles: dict[str, Any] | None = None
    shares_callbacks: bool | None = None
    shares_reports: bool | None = None

    @property
    def grants_rights(self) -> bool:
        """Tell whether it says what others may do, or what is done in their name."""
        return self.roles is not None or self.stands_in is not None


def get_portal(portal_id: int) -> Portal:
    """A portal as it is now; raises ``NotFound`` once it is gone."""
    with reading() as session:
        portal = session.get(Portal, portal_id)
    if portal is None:
        raise NotFound
    return portal


def change_settings(portal_id: int, wanted: PortalDefaults, user_id: int | None) -> Portal:
    """Change the portal's defaults, all or none; ``user_id`` is the administrator who does. Commits.

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
    shared = {"shares_callbacks": wanted.shares_callbacks, "shares_reports": wanted.shares_reports}
    plain |= {"websites_off": wanted.websites_off, **shared}
    with writing() as session:
        portal = session.get_one(Portal, portal_id, with_for_update=True)
        for name, value in changes.items():
            if value is not None:
                setattr(portal.settings, name, value or None)
        for name, value in plain.items():
            if value is not None:
                setattr(portal.settings, name, value)
        if wanted.roles is not None:
            # Everybody is the default; nothing is stored, and nothing looked through with each request.
            portal.settings.roles = None if "everybody" in wanted.roles["operators"] else wanted.roles
        if wanted.grants_rights:
            portal.settings.rights_changed_by = user_id
    return portal
