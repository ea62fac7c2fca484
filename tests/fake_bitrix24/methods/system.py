"""The application, the people and the clock of a portal."""

from typing import TYPE_CHECKING, Any

from tests.fake_bitrix24.clock import Clock
from tests.fake_bitrix24.people import FakeUser
from tests.fake_bitrix24.rest import Asker, Method, Parameters

if TYPE_CHECKING:
    from tests.fake_bitrix24.portal import FakePortal


def app_info(portal: "FakePortal", asker: Asker, _: Parameters) -> Any:
    """docs: api-reference/common/system/app-info.md; no client_id, no member_id."""
    return {
        "ID": portal.local_ids[asker.app.client_id],
        "CODE": asker.app.code,
        "VERSION": 1,
        "STATUS": portal.status,
        "INSTALLED": portal.is_finished(asker.app.client_id),
        "PAYMENT_EXPIRED": "N",
        "DAYS": None,
        "LANGUAGE_ID": portal.language,
        "LICENSE": "eu_pro",
        "LICENSE_TYPE": "pro",
        "LICENSE_FAMILY": "pro",
    }


def profile(portal: "FakePortal", asker: Asker, _: Parameters) -> Any:
    """docs: api-reference/common/users/profile.md"""
    user = asker.user
    return {
        "ID": str(user.id),
        "ADMIN": user.admin,
        "NAME": user.name,
        "LAST_NAME": user.last_name,
        "PERSONAL_GENDER": "",
        "TIME_ZONE": user.time_zone,
    }


def user_get(portal: "FakePortal", asker: Asker, parameters: Parameters) -> Any:
    """docs: api-reference/user/user-get.md, in the scope user_brief."""
    wanted = str(parameters.get("ID") or (parameters.get("FILTER") or {}).get("ID") or "")
    return [_brief(user) for user in portal.users.values() if not wanted or str(user.id) == wanted]


def user_current(_: "FakePortal", asker: Asker, __: Parameters) -> Any:
    """docs: api-reference/user/user-current.md, in the scope user_brief; the documents show no other fields there."""
    return _brief(asker.user)


def _brief(user: FakeUser) -> dict[str, Any]:
    """docs: api-reference/user/user-scope.md; somebody in no department (an extranet user) has ``false``."""
    return {
        "ID": str(user.id),
        "ACTIVE": not user.dismissed,
        "NAME": user.name,
        "LAST_NAME": user.last_name,
        "UF_DEPARTMENT": user.departments or False,
    }


def server_time(portal: "FakePortal", asker: Asker, _: Parameters) -> Any:
    """docs: api-reference/common/system/server-time.md"""
    clock: Clock = portal.cloud.clock
    return clock.moment().isoformat(timespec="seconds")


def calendar_settings(portal: "FakePortal", _: Asker, __: Parameters) -> Any:
    """docs: api-reference/calendar/calendar-settings-get.md; no time zone."""
    return dict(portal.calendar)


METHODS = {
    "calendar.settings.get": Method("calendar", calendar_settings),
    "app.info": Method("", app_info),
    "profile": Method("", profile),
    "scope": Method("", lambda portal, asker, _: list(asker.app.scopes)),
    "server.time": Method("", server_time),
    "user.get": Method("user_brief", user_get),
    "user.current": Method("user_brief", user_current),
}
