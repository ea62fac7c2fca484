"""``/api/v1/settings``: the portal's defaults, for administrators."""

from typing import Annotated

from flask import Blueprint, Response, request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from bx24app.errors import ChangedMeanwhile, InvalidRequest, NotFound, ProofTooOld
from bx24app.inputs import WRITTEN_WHOLE, CountryCode, Flag, Identifier, Text, TolerantModel
from bx24app.models import Portal, utcnow
from bx24app.services.callbacks import people
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.roles import Role
from bx24app.services.calling import spoken_text
from bx24app.services.calling.business_hours import Hours, Region
from bx24app.services.native.follow_up.choices import NotificationChoices, few_people
from bx24app.services.portals import settings as portal_settings
from bx24app.services.portals.places.smart_processes import MAX_CHOSEN_TYPES
from bx24app.services.portals.settings import PortalDefaults, Roles
from bx24app.services.runtime.local_limit import LocalLimit, take_local
from bx24app.services.runtime.rate_limit import HOUR
from bx24app.web.api.callbacks import PORTAL_REFUSALS
from bx24app.web.api.openapi import operation
from bx24app.web.api.schemas import (
    PublicHolidaysSchema,
    SettingsSchema,
    json_response,
    region_schema,
    settings_schema,
)
from bx24app.web.guards import principal_required, read_body, read_query, require_fresh_proof

blueprint = Blueprint("settings", __name__, url_prefix="/api/v1/settings")

ChosenTypes = Annotated[list[Annotated[int, Field(gt=0, lt=10**9), WRITTEN_WHOLE]], Field(max_length=MAX_CHOSEN_TYPES)]
# Without these a portal has the usual ones.
CLEARED = ("default_line_id", "default_voice_id", "default_text", "default_country", "line_cap", "hours")


class DefaultsBody(TolerantModel):
    """What ``PATCH /settings`` takes; a field left out stays as it is, an empty one or null is cleared."""

    default_line_id: Identifier | None = None
    default_voice_id: Identifier | None = None
    default_text: Annotated[Text, Field(max_length=4000)] | None = None
    default_country: CountryCode | None = None
    stands_in: Flag | None = None
    retries: Annotated[int, Field(ge=0, le=5), WRITTEN_WHOLE] | None = None
    retry_minutes: Annotated[int, Field(ge=1, le=1440), WRITTEN_WHOLE] | None = None
    line_cap: Annotated[int, Field(ge=1, le=500), WRITTEN_WHOLE] | None = None
    shows_in_crm: Flag | None = None
    hours: Hours | None = None
    websites_off: Flag | None = None
    roles: Roles | None = None
    shares_callbacks: Flag | None = None
    shares_reports: Flag | None = None
    notifications: Annotated[NotificationChoices, AfterValidator(few_people)] | None = None
    smart_processes: ChosenTypes | None = None

    @property
    def only_stops_forms(self) -> bool:
        """Whether it does nothing but stop all forms, which has to work while Bitrix24 is silent."""
        return self.model_fields_set == {"websites_off"} and self.websites_off is True

    def wanted(self) -> PortalDefaults:
        """The changes for the use case."""
        given = self.model_dump(mode="json", include=self.model_fields_set)
        if "smart_processes" in given:
            given["smart_processes"] = given["smart_processes"] or []
        return PortalDefaults(**given | {name: "" for name in CLEARED if name in given and given[name] is None})


def _answer(portal: Portal) -> Response:
    names = people.names_of(portal.id, [portal.settings.rights_changed_by])
    response = json_response(settings_schema(portal, spoken_text.default_text(portal.language), names))
    response.set_etag(portal_settings.version_of(portal))
    return response


@blueprint.get("")
@operation({200: SettingsSchema}, refuses=(NotFound,))
@principal_required(Role.ADMINISTRATOR)
def show_settings(principal: Principal) -> Response:
    """The portal's defaults."""
    return _answer(principal.portal)


class HolidaysQuery(BaseModel):
    """What ``GET /settings/holidays`` takes."""

    model_config = ConfigDict(extra="forbid")

    # Without a region there are no public holidays.
    region: Region = ""


@blueprint.get("/holidays")
@operation({200: PublicHolidaysSchema}, query=HolidaysQuery)
@principal_required(Role.ADMINISTRATOR)
def show_holidays(_: Principal) -> Response:
    """What a region means before it is chosen: its next public holiday, and the parts that have more of them."""
    return json_response(region_schema(read_query(HolidaysQuery).region, utcnow().date()))


# Of one person, without a fresh proof: to stop all forms has to work while Bitrix24 is silent.
STOPS_UNPROVEN = LocalLimit("stops_unproven", 1, HOUR)


@blueprint.patch("")
@operation(
    {200: SettingsSchema}, body=DefaultsBody, refuses=(InvalidRequest, NotFound, ChangedMeanwhile, *PORTAL_REFUSALS)
)
@principal_required(Role.ADMINISTRATOR)
def change_settings(principal: Principal) -> Response:
    """Change the portal's defaults, all or none; with ``If-Match`` only what has the version that was read."""
    body = read_body(DefaultsBody)
    try:
        require_fresh_proof(principal)
    except ProofTooOld:
        # Whoever is an administrator no longer keeps an old proof for an hour, and would stop them again and again.
        if not (body.only_stops_forms and take_local(STOPS_UNPROVEN, (principal.portal.id, principal.user_id))):
            raise
    known = request.if_match or None
    return _answer(portal_settings.change_settings(principal.portal.id, body.wanted(), principal.user_id, known))
