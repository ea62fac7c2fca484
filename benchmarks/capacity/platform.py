"""Bitrix24 in this process: the fake's answers without sockets, after the time that the platform takes for them."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit

import requests
from flask import Flask
from requests.adapters import HTTPAdapter
from urllib3 import HTTPResponse

from benchmarks.capacity.simulation import Simulation
from bx24app.models.portals.credential import EXPIRY_MARGIN
from tests.fake_bitrix24 import FakeBitrix24, FakeCall, FakePortal
from tests.fake_bitrix24.events import http_build_query

START = "voximplant.callback.start"
# What the platform takes: to start a callback, for any other question, to renew a token, until an event arrives.
DIAL_SECONDS, ANSWER_SECONDS, RENEWAL_SECONDS, EVENT_SECONDS = 1.5, 0.15, 0.3, 0.5
# How people use their phones.
PICKED_UP_AFTER, CUSTOMER_AFTER, TALK_SECONDS = 6.0, 10.0, 60.0
PEER = {"REMOTE_ADDR": "127.0.0.1", "REMOTE_PORT": "1"}


@dataclass(frozen=True)
class Renewal:
    """A refresh token that was sent: whose, and whether it was right to send it."""

    member_id: str
    at: datetime
    was_spent: bool
    was_needless: bool


@dataclass(frozen=True)
class Dial:
    """A callback that a portal was asked to start."""

    member_id: str
    number: str
    at: datetime


class Platform:
    """Answers instead of the network, and keeps what matters of the questions."""

    def __init__(self, fake: FakeBitrix24, simulation: Simulation) -> None:
        self.fake = fake
        self.renewals: list[Renewal] = []
        self.dials: list[Dial] = []
        # Questions under a token that was over already.
        self.expired = 0
        self._simulation = simulation
        self._portals: dict[str, FakePortal] = {}
        self._auth = urlsplit(fake.auth_server.url).netloc

    @contextmanager
    def answering(self, app: Flask) -> Iterator[None]:
        """Answer everything that the app asks, and bring events to it."""
        self._app = app
        send = partial(_send, self)
        with patch.object(HTTPAdapter, "send", lambda adapter, request, **_: send(adapter, request)):
            yield

    def add_portal(self, name: str) -> FakePortal:
        """Open a portal whose events come in the simulation's time, and whose phones people answer."""
        portal = self.fake.add_portal(name, host="127.0.0.2")
        self._portals[urlsplit(portal.url).netloc] = portal
        portal.events.put = self._bring  # type: ignore[method-assign,assignment]
        return portal

    def respond(self, request: requests.PreparedRequest) -> tuple[int, dict[str, str], bytes]:
        """Answer one request as the fake would over HTTP."""
        url = urlsplit(request.url or "")
        is_auth = url.netloc == self._auth
        portal = None if is_auth else self._portals[url.netloc]
        method = url.path.removeprefix("/rest/").strip("/")
        if method == "oauth/token":
            self._note_renewal(str(request.body))
        elif portal is not None:
            self._note_expiry(str(request.headers.get("Authorization", "")).removeprefix("Bearer "))
        server = self.fake.auth_server.server if portal is None else portal.server
        headers = {k: v for k, v in request.headers.items() if k.lower() in {"authorization", "content-type"}}
        answer = server.app.test_client().open(
            url.path,
            method=request.method or "GET",
            base_url=f"{url.scheme}://{url.netloc}",
            query_string=url.query,
            data=request.body,
            headers=headers,
            environ_overrides=PEER,
        )
        if portal is not None and method == START and answer.status_code == requests.codes.ok:
            call = portal.telephony.calls[-1]
            self.dials.append(Dial(portal.member_id, call.number, self._simulation.now()))
            self._simulation.later(DIAL_SECONDS + PICKED_UP_AFTER, partial(self._answered, call))
        return answer.status_code, dict(answer.headers.items()), answer.get_data()

    def pause(self, url: str) -> None:
        """Wait as long as the platform takes."""
        if START in url:
            self._simulation.sleep(DIAL_SECONDS)
        else:
            self._simulation.sleep(RENEWAL_SECONDS if "/oauth/token" in url else ANSWER_SECONDS)

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Keep the platform's own work out of the measurement."""
        with self._simulation.outside():
            yield

    def _note_renewal(self, body: str) -> None:
        sent = parse_qs(body).get("refresh_token", [""])[0]
        token, now = self.fake.registry.find(sent, "refresh"), self._simulation.now()
        if token is None:
            return
        needless = now.timestamp() < token.expires_at - EXPIRY_MARGIN.total_seconds() - 1
        self.renewals.append(Renewal(token.member_id, now, token.refresh_spent, needless))

    def _note_expiry(self, bearer: str) -> None:
        token = self.fake.registry.find(bearer, "access")
        self.expired += token is not None and token.expires_at <= self.fake.clock.now()

    def _answered(self, call: FakeCall) -> None:
        if call.state == "ringing_manager":
            call.manager_answers()
            self._simulation.later(CUSTOMER_AFTER, partial(self._connected, call))

    def _connected(self, call: FakeCall) -> None:
        call.customer_answers()
        self._simulation.later(TALK_SECONDS, call.hang_up)

    def _bring(self, url: str, event: str, fields: dict[str, object]) -> None:
        """Queue an event for the app's own web process; it has one right after another, as the platform's queue."""
        self._simulation.later(EVENT_SECONDS, partial(self._post, url, event, fields))

    def _post(self, url: str, event: str, fields: dict[str, object]) -> None:
        named = {"event": event, **fields, "ts": int(self.fake.clock.now())}
        answer = self._app.test_client().post(urlsplit(url).path, data=dict(http_build_query(named)))
        assert answer.status_code == requests.codes.ok, answer.text


def _send(platform: Platform, adapter: HTTPAdapter, request: requests.PreparedRequest) -> Any:
    with platform.standing_still():
        status, headers, body = platform.respond(request)
    platform.pause(request.url or "")
    answer = HTTPResponse(io.BytesIO(body), headers, status, preload_content=False)
    return adapter.build_response(request, answer)
