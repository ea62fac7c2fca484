"""A portal: its people, CRM, lines and applications, on an address of its own."""

import json
import secrets
import ssl
import threading
from typing import TYPE_CHECKING, Any

from flask import Response, request

from tests.fake_bitrix24.automation import Automation
from tests.fake_bitrix24.crm import CRM
from tests.fake_bitrix24.events import Delivery, EventQueue
from tests.fake_bitrix24.faults import Faults
from tests.fake_bitrix24.installation import Bindings, LaunchPost
from tests.fake_bitrix24.methods import METHODS
from tests.fake_bitrix24.page import PortalPage
from tests.fake_bitrix24.people import ALL_RIGHTS, MANAGER_RIGHTS, FakeUser
from tests.fake_bitrix24.registry import FakeApp, Token
from tests.fake_bitrix24.reminders import Reminders
from tests.fake_bitrix24.rest import Rest
from tests.fake_bitrix24.server import RecordedRequest, Server
from tests.fake_bitrix24.telephony import VOICES, FakeLine, Telephony
from tests.fake_bitrix24.timeline import Timeline
from tests.support.remembered import remember

if TYPE_CHECKING:
    from tests.fake_bitrix24.cloud import FakeBitrix24

TICK_SECONDS = 0.2


class FakePortal:
    """One portal of the cloud; ``status`` and ``paid`` concern its subscription to the application."""

    def __init__(
        self, cloud: "FakeBitrix24", name: str, host: str, port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self.cloud: FakeBitrix24 = cloud
        self.name = name
        self.member_id = secrets.token_hex(16)
        self.server = Server(f"portal-{name}", host, port, tls)
        self.status, self.paid, self.language = "F", True, "en"
        self.users: dict[int, FakeUser] = {}
        self.successors: dict[int, int] = {}
        self.administrator = self.add_user("Anna", "Schmidt", admin=True)
        self.manager = self.add_user("Max", "Weber")
        self.crm = CRM()
        self.automation = Automation(self)
        self.reminders = Reminders()
        self.calendar: dict[str, Any] = {
            "work_time_start": "9",
            "work_time_end": "19",
            "year_holidays": "1.01,25.12",
            "year_workdays": "31.12",
            "week_holidays": ["SA", "SU"],
            "week_start": "MO",
        }
        self.lines = {"reg150907": FakeLine("Sales line"), "sip7": FakeLine("Office PBX 1", "sip")}
        self.voices = dict(VOICES)
        self.events = EventQueue(cloud.clock, cloud.client_tls)
        self.timeline = Timeline(self)
        self.telephony = Telephony(cloud.clock, self._announce, self.timeline.write_call)
        self.handed_over: list[dict[str, str]] = []
        self.missing_methods: set[str] = set()
        self.redirects = 0
        self.sends_application_token = True
        self.local_ids: dict[str, int] = {}
        self.faults = Faults()
        self.rest = Rest(self, METHODS)
        self.guide: tuple[str, ...] = ()
        PortalPage(self)
        self.server.app.before_request(self._redirect_from_an_old_address)
        self._bindings: dict[str, Bindings] = {}
        self._stopped = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True, name=f"phones-{name}")
        self.server.app.add_url_rule(
            "/rest/<path:method>", "rest", self.rest.answer_method, methods=["GET", "POST", "OPTIONS"]
        )

    # Addresses

    def rename(self) -> None:
        """Take another address; the old one sends everybody to it (docs: change-domen.md)."""
        self.server.move()

    def _redirect_from_an_old_address(self) -> Response | None:
        if request.environ["SERVER_PORT"] == str(self.server.port):
            return None
        self.redirects += 1
        return Response("", 302, headers={"Location": self.url + request.full_path})

    @property
    def domain(self) -> str:
        """Host and port, as ``DOMAIN`` has them."""
        return f"{self.server.host}:{self.server.port}"

    @property
    def url(self) -> str:
        """The portal's own address."""
        return self.server.url

    @property
    def client_endpoint(self) -> str:
        """Where REST is."""
        return f"{self.url}/rest/"

    @property
    def requests(self) -> list[RecordedRequest]:
        """Every REST request so far."""
        return self.server.requests

    def requests_for(self, method: str) -> list[RecordedRequest]:
        """The REST requests for one method."""
        return [recorded for recorded in self.server.requests if recorded.path == method]

    # People

    def add_user(self, name: str, last_name: str, *, admin: bool = False, language: str = "en") -> FakeUser:
        """Hire somebody."""
        rights = set(ALL_RIGHTS if admin else MANAGER_RIGHTS)
        user = FakeUser(len(self.users) + 1, name, last_name, admin, rights, language)
        self.users[user.id] = user
        return user

    def move_to_system_user(self, user: FakeUser) -> FakeUser:
        """Dismiss somebody whose applications go on under a system user (docs: settings/system-user.md)."""
        user.dismissed = True
        successor = self.add_user("", "", admin=user.admin)
        self.successors[user.id] = successor.id
        return successor

    # Applications

    def has_app(self, client_id: str) -> bool:
        """Tell whether the application is installed, finished or not."""
        return client_id in self._bindings

    def is_finished(self, client_id: str) -> bool:
        """Tell whether ``installFinish`` has happened."""
        return self.has_app(client_id) and self._bindings[client_id].finished

    def bindings_of(self, client_id: str) -> Bindings:
        """What the application has on this portal."""
        return self._bindings[client_id]

    def install(self, app: FakeApp, by: FakeUser | None = None) -> LaunchPost:
        """Press Install: the installer URL opens in a frame."""
        if not self.has_app(app.client_id):
            self._bindings[app.client_id] = Bindings(application_token=remember(secrets.token_hex(16)))
            self.local_ids.setdefault(app.client_id, len(self.local_ids) + 1)
        return self._post(app.install_url, app, by or self.administrator, "DEFAULT", None)

    def finish_installation(self, app: FakeApp) -> None:
        """What ``installFinish`` does: placements appear, events begin."""
        bindings = self._bindings[app.client_id]
        if bindings.finished:
            return
        bindings.finished = True
        data: dict[str, object] = {
            "VERSION": "1",
            "ACTIVE": "Y",
            "INSTALLED": "Y",
            "LANGUAGE_ID": self.language,
        }
        if "ONAPPINSTALL" in app.event_urls:
            token = self.cloud.registry.issue(app.client_id, self.member_id, self.administrator.id)
            self.events.put(app.event_urls["ONAPPINSTALL"], "ONAPPINSTALL", self._event(app, data, token))

    def update(self, app: FakeApp, *, tokens: bool = True) -> Delivery:
        """Bring a new version: event handlers and automation rules are gone, the application token is another one."""
        bindings = self._bindings[app.client_id]
        bindings.events.clear()
        bindings.rules.clear()
        bindings.application_token = remember(secrets.token_hex(16))
        data: dict[str, object] = {"VERSION": "2", "PREVIOUS_VERSION": "1", "LANGUAGE_ID": self.language}
        token = self.cloud.registry.issue(app.client_id, self.member_id, self.administrator.id) if tokens else None
        return self.events.put(app.event_urls["ONAPPUPDATE"], "ONAPPUPDATE", self._event(app, data, token))

    def tell_payment(self, app: FakeApp) -> Delivery:
        """The subscription has changed; the event proves nothing (docs: common/events/on-app-payment.md)."""
        fields = self._event(app, {"CODE": app.code, "VERSION": "1", "STATUS": self.status}, None)
        fields["auth"] = {"member_id": self.member_id, "domain": self.domain}
        return self.events.put(app.event_urls["ONAPPPAYMENT"], "ONAPPPAYMENT", fields)

    def uninstall(self, app: FakeApp, *, clean: bool = True) -> Delivery | None:
        """Remove the application: its tokens are void at once, the event comes later and without tokens."""
        fields = self._event(app, {"LANGUAGE_ID": self.language, "CLEAN": 1 if clean else 0}, None)
        handlers = [row["handler"] for row in self._handlers(app, "ONAPPUNINSTALL")]
        handlers = handlers or [url for name, url in app.event_urls.items() if name == "ONAPPUNINSTALL"]
        finished = self._bindings.pop(app.client_id).finished
        self.cloud.registry.revoke(app.client_id, self.member_id)
        if not finished or not handlers:
            return None
        return self.events.put(handlers[0], "ONAPPUNINSTALL", fields)

    def launch(
        self, app: FakeApp, user: FakeUser, placement: str = "DEFAULT", options: dict[str, str] | None = None
    ) -> LaunchPost:
        """Open a page of the application."""
        bindings = self._bindings[app.client_id]
        if placement == "DEFAULT":
            return self._post(app.app_url, app, user, placement, options)
        handler = next((row["handler"] for row in bindings.placements if row["placement"] == placement), None)
        if handler is None or not bindings.finished:
            raise LookupError(f"{placement} is not shown to anybody")
        return self._post(handler, app, user, placement, options)

    def _post(
        self, handler: str, app: FakeApp, user: FakeUser, placement: str, options: dict[str, str] | None
    ) -> LaunchPost:
        token = self.cloud.registry.issue(app.client_id, self.member_id, user.id)
        query = {
            "DOMAIN": self.domain,
            "PROTOCOL": "1" if self.server.scheme == "https" else "0",
            "LANG": user.language,
            "APP_SID": secrets.token_hex(16),
        }
        form = {
            "AUTH_ID": token.access,
            "AUTH_EXPIRES": "3600",
            "REFRESH_ID": token.refresh,
            "SERVER_ENDPOINT": f"{self.cloud.auth_server.url}/rest/",
            "member_id": self.member_id,
            "status": self.status,
            "PLACEMENT": placement,
        }
        if self.sends_application_token:
            form["APPLICATION_TOKEN"] = self._bindings[app.client_id].application_token
            form["APPLICATION_SCOPE"] = ",".join(app.scopes)
        if options is not None:
            form["PLACEMENT_OPTIONS"] = json.dumps(options)
        return LaunchPost(handler, query, form)

    # Events

    def _handlers(self, app: FakeApp, event: str) -> list[dict[str, Any]]:
        bindings = self._bindings.get(app.client_id)
        return [row for row in bindings.events if row["event"] == event] if bindings else []

    def _event(self, app: FakeApp, data: dict[str, object], token: Token | None) -> dict[str, object]:
        tokens = {"access_token": token.access, "refresh_token": token.refresh, "expires_in": 3600} if token else {}
        return {"data": data, "auth": self.event_auth(app) | tokens}

    def event_auth(self, app: FakeApp) -> dict[str, object]:
        """What stands under ``auth`` in everything that the portal's queue posts, without tokens."""
        return {
            "domain": self.domain,
            "scope": " ".join(app.scopes),
            "server_endpoint": f"{self.cloud.auth_server.url}/rest/",
            "status": self.status,
            "client_endpoint": self.client_endpoint,
            "member_id": self.member_id,
            "application_token": self._bindings[app.client_id].application_token,
        }

    def all_bindings(self) -> list[Bindings]:
        """What every application has on this portal."""
        return list(self._bindings.values())

    def _announce(self, event: str, data: dict[str, object]) -> None:
        """Tell every application that has bound the event; before ``installFinish`` none is told."""
        for client_id, bindings in list(self._bindings.items()):
            app = self.cloud.registry.apps[client_id]
            if bindings.finished:
                for number, row in enumerate(self._handlers(app, event)):
                    fields = {"event_handler_id": 1000 + number, **self._event(app, data, None)}
                    self.events.put(row["handler"], event, fields)

    def tell_app(self, client_id: str, event: str, data: dict[str, object], by: FakeUser) -> Delivery:
        """Tell one application of something that a user did, with an access token of theirs."""
        app = self.cloud.registry.apps[client_id]
        token = self.cloud.registry.issue(client_id, self.member_id, by.id)
        fields = self._event(app, data, None)
        fields["auth"] |= {"access_token": token.access, "expires_in": 3600, "user_id": by.id}  # type: ignore[operator]
        [row] = self._handlers(app, event)
        return self.events.put(row["handler"], event, fields)

    def send_event(self, app: FakeApp, event: str, data: dict[str, object], **auth: str) -> Delivery:
        """Send any event to the application's handler, with ``auth`` fields of the test's choice."""
        fields = self._event(app, data, None)
        fields["auth"] = {**fields["auth"], **auth}  # type: ignore[dict-item]
        return self.events.put(app.event_urls["ONAPPINSTALL"], event, fields)

    # Life

    def _tick(self) -> None:
        while not self._stopped.wait(TICK_SECONDS):
            self.telephony.tick()

    def start(self) -> None:
        """Open the portal."""
        self.server.start()
        self.events.start()
        self._ticker.start()

    def stop(self) -> None:
        """Close it; everything that hangs is let go."""
        self._stopped.set()
        self.faults.release()
        self.events.stop()
        self.server.stop()
