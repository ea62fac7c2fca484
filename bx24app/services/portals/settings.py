"""A portal's settings, as its administrators change them."""

from collections.abc import Container
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import phonenumbers
from pydantic import AfterValidator, BaseModel, Field

from bx24app.database import reading, writing
from bx24app.errors import ChangedMeanwhile, InvalidRequest, NotFound
from bx24app.inputs import SPELLED, WRITTEN_WHOLE, TolerantModel, Yes
from bx24app.models import Portal
from bx24app.services.calling import spoken_text
from bx24app.services.portals import lines
from bx24app.services.portals.places import smart_processes
from bx24app.services.security.journal import JournalPage, Recorded, record

MAX_CHOSEN = 500
# Where a setting stands that is not on the page of calls.
_PAGES = {
    "hours": JournalPage.HOURS,
    "roles": JournalPage.PEOPLE,
    "shares_callbacks": JournalPage.PEOPLE,
    "shares_reports": JournalPage.PEOPLE,
    "notifications": JournalPage.NOTIFICATIONS,
    "websites_off": JournalPage.FORMS,
    "smart_processes": JournalPage.SMART_PROCESSES,
}
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
    shows_in_crm: bool | None = None
    hours: dict[str, Any] | str | None = None
    websites_off: bool | None = None
    roles: dict[str, Any] | None = None
    shares_callbacks: bool | None = None
    shares_reports: bool | None = None
    notifications: dict[str, Any] | None = None
    smart_processes: list[int] | None = None

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


def version_of(portal: Portal) -> str:
    """Name the state that the settings have; another one after each change."""
    return str(portal.settings.revision)


def change_settings(
    portal_id: int, wanted: PortalDefaults, user_id: int | None, known: Container[str] | None = None
) -> Portal:
    """Change the portal's defaults, all or none; ``user_id`` is the administrator who does. Commits.

    ``known`` are the versions that the caller has seen; None: whatever they are now. Raises ``ChangedMeanwhile``,
    ``UnknownLine``, ``UnknownVoice``, ``TextInvalid``, ``InvalidRequest`` (country, smart processes).
    """
    changes = _checked(portal_id, wanted)
    with writing() as session:
        portal = session.get_one(Portal, portal_id, with_for_update=True)
        if known is not None and version_of(portal) not in known:
            raise ChangedMeanwhile
        old = {name: getattr(portal.settings, name) for name in changes}
        for name, value in changes.items():
            setattr(portal.settings, name, value)
        for page in dict.fromkeys(map(_page_of, changes)):
            there = [name for name in changes if _page_of(name) is page]
            by = Recorded(portal_id, user_id, page)
            record(session, by, {name: old[name] for name in there}, {name: changes[name] for name in there})
        if old.get("smart_processes") != changes.get("smart_processes"):
            # The worker binds and unbinds their tabs within seconds.
            portal.bound_manifest = portal.bound_at = None
        if wanted.grants_rights:
            portal.settings.rights_changed_by = user_id
    return portal


def _page_of(name: str) -> JournalPage:
    return _PAGES.get(name, JournalPage.CALLS)


def _checked(portal_id: int, wanted: PortalDefaults) -> dict[str, Any]:
    """The columns that change, with what is stored in them."""
    if wanted.default_line_id:
        lines.require_line(portal_id, wanted.default_line_id)
    if wanted.default_voice_id:
        lines.require_voice(portal_id, wanted.default_voice_id)
    if wanted.default_country and wanted.default_country not in phonenumbers.SUPPORTED_REGIONS:
        raise InvalidRequest("default_country")
    given = {name: None if value == "" else value for name, value in asdict(wanted).items() if value is not None}
    if wanted.default_text:
        given["default_text"] = spoken_text.check_text(wanted.default_text)
    if wanted.smart_processes is not None:
        given["smart_processes"] = smart_processes.check_chosen(get_portal(portal_id), wanted.smart_processes) or None
    # Everybody is the default; nothing is stored, and nothing looked through with each request.
    if wanted.roles is not None and "everybody" in wanted.roles["operators"]:
        given["roles"] = None
    return given
