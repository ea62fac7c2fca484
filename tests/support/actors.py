"""People and machines who use the app in tests, with verbs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from bx24app.database import writing
from bx24app.models import Portal, PortalSettings
from tests.fake_bitrix24 import FakeApp, FakePortal, FakeUser, LaunchPost
from tests.support.remembered import remember

CUSTOMER = "+4930901820"


def post_frame(client: FlaskClient, path: str, post: LaunchPost, **form: str) -> TestResponse:
    """Send what the portal's frame posts."""
    return client.post(path, query_string=post.query, data={**post.form, **form})


def json_of(response: TestResponse) -> dict[str, Any]:
    """The JSON object of an answer."""
    body = response.json
    assert isinstance(body, dict), response.text
    return body


@dataclass
class Actor:
    """A user of a portal with the app open; ``ticket`` is that of the page opened last."""

    client: FlaskClient
    portal: FakePortal
    application: FakeApp
    user: FakeUser
    ticket: str = field(default="", repr=False)

    def launches(self, placement: str = "DEFAULT", **options: str) -> LaunchPost:
        return self.portal.launch(self.application, self.user, placement, options or None)

    def installs(self, *, keeps_hours: bool = False) -> TestResponse:
        """Install the app. A portal of tests is one from before new portals got hours, unless it ``keeps_hours``.

        Else a test would find other things at night than by day.
        """
        post = self.portal.install(self.application, by=self.user)
        response = post_frame(self.client, "/install", post)
        if response.status_code == 200:
            self._keep_ticket(response)
            self.portal.finish_installation(self.application)
            if not keeps_hours:
                self._calls_at_any_time()
        return response

    def _calls_at_any_time(self) -> None:
        with self.client.application.app_context(), writing() as session:
            found = select(PortalSettings).join(Portal).where(Portal.member_id == self.portal.member_id)
            session.scalars(found).one().hours = None

    def opens(self, placement: str = "DEFAULT", **options: str) -> TestResponse:
        path = "/" if placement in ("DEFAULT", "REST_APP_URI", "TELEPHONY_ANALYTICS_MENU") else "/placement"
        response = post_frame(self.client, path, self.launches(placement, **options))
        self._keep_ticket(response)
        return response

    def _keep_ticket(self, response: TestResponse) -> None:
        found = re.search(r'name="bx24app-ticket" content="([^"]+)"', response.text)
        self.ticket = remember(found[1]) if found else ""

    def asks(self, method: str, path: str, json: object = None, **headers: str) -> TestResponse:
        sent = {"Authorization": f"Bearer {self.ticket}"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        return self.client.open("/api/v1" + path, method=method, json=json, headers=sent)

    def requests_callback(
        self, number: str = CUSTOMER, *, key: str | None = None, wait: int = 0, **body: Any
    ) -> TestResponse:
        headers = {"Idempotency_Key": key or str(uuid4())} | ({"Prefer": f"wait={wait}"} if wait else {})
        line_id = next(iter(self.portal.lines))
        return self.asks("POST", "/callbacks", {"to_number": number, "line_id": line_id, **body}, **headers)

    def renews_ticket(self) -> TestResponse:
        """What the page's script does when its ticket is too old: the portal gives it a fresh token."""
        post, shown = self.launches(), {"Authorization": f"Bearer {self.ticket}"}
        response = self.client.post("/session", query_string=post.query, data=post.form, headers=shown)
        if response.status_code == 200:
            self.ticket = remember(json_of(response)["ticket"])
        return response

    def lets_call(
        self, people: Sequence[int] = (), departments: Sequence[int] = (), others: str = "view"
    ) -> TestResponse:
        """Choose, as an administrator, who may start callbacks, and whether the others look on or see nothing."""
        operators = {"people": list(people), "departments": list(departments)}
        return self.asks("PATCH", "/settings", {"roles": {"operators": operators, "others": others}})

    def sees(self, callback_id: str) -> dict[str, Any]:
        response = self.asks("GET", f"/callbacks/{callback_id}")
        assert response.status_code == 200, response.text
        return json_of(response)
