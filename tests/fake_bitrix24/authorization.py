"""The authorization server: tokens for codes and refresh tokens, and whom a token belongs to (docs: settings/oauth)."""

from collections.abc import Mapping
from typing import Any, Protocol

from flask import Response, jsonify, request

from tests.fake_bitrix24.faults import Faults, error_answer, suffer
from tests.fake_bitrix24.registry import ACCESS_SECONDS, FakeApp, Registry, Token
from tests.fake_bitrix24.server import Server, parameters_of


class Place(Protocol):
    """What the authorization server knows of a portal."""

    member_id: str
    status: str
    paid: bool
    successors: dict[int, int]

    @property
    def domain(self) -> str: ...

    @property
    def client_endpoint(self) -> str: ...

    def has_app(self, client_id: str) -> bool:
        """Tell whether the application is installed."""
        ...


class AuthorizationServer:
    """``/oauth/token/`` by GET and by POST, and ``/rest/app.info``."""

    def __init__(self, registry: Registry, portals: Mapping[str, Place], server: Server) -> None:
        self.registry = registry
        self.faults = Faults()
        self.server = server
        self._portals = portals
        # What it says of a portal's address, where a test wants it to differ from the truth.
        self.endpoints: dict[str, str] = {}
        app = server.app
        app.add_url_rule("/oauth/token/", "token", self._token, methods=["GET", "POST"])
        app.add_url_rule("/rest/app.info", "info", self._info, methods=["GET", "POST"])
        app.add_url_rule("/rest/app.info/", "info_slash", self._info, methods=["GET", "POST"])

    @property
    def url(self) -> str:
        """Its address."""
        return self.server.url

    @property
    def renewals(self) -> int:
        """How many times a refresh token was exchanged or tried."""
        return sum(r.parameters.get("grant_type") == "refresh_token" for r in self.server.requests)

    def _token(self) -> Response:
        recorded = self.server.record("oauth/token")
        fault = self.faults.take("oauth/token")
        if fault is not None:
            return suffer(fault, lambda: self._exchange(recorded.parameters))
        return self._exchange(recorded.parameters)

    def _exchange(self, asked: Mapping[str, object]) -> Response:
        app = self.registry.apps.get(str(asked.get("client_id")))
        if app is None or app.client_secret != asked.get("client_secret"):
            # The SDK lists this one among the errors that come with status 200.
            return error_answer("wrong_client", "Wrong client", 200)
        if asked.get("grant_type") != "refresh_token":
            return error_answer("invalid_request", "Wrong grant type", 400)
        token = self.registry.find(str(asked.get("refresh_token")), "refresh")
        if token is not None and not self._portals[token.member_id].has_app(app.client_id):
            return error_answer("NOT_INSTALLED", "Application not installed", 403)
        if token is None or token.client_id != app.client_id or token.refresh_spent:
            return error_answer("invalid_grant", "Invalid refresh token", 400)
        if token.refresh_until < self.registry.clock.now():
            return error_answer("invalid_grant", "Refresh token is too old", 400)
        place = self._portals[token.member_id]
        if not place.paid:
            return error_answer("PAYMENT_REQUIRED", "Payment required", 402)
        token.refresh_spent = True
        user_id = place.successors.get(token.user_id, token.user_id)
        return jsonify(self._answer(app, place, self.registry.issue(app.client_id, place.member_id, user_id)))

    def _answer(self, app: FakeApp, place: Place, token: Token) -> dict[str, Any]:
        # No token_type; the scope is comma-separated; "domain" is this server's.
        return {
            "access_token": token.access,
            "expires": int(token.expires_at),
            "expires_in": ACCESS_SECONDS,
            "scope": ",".join(app.scopes),
            "domain": self.server.url.partition("://")[2],
            "server_endpoint": f"{self.server.url}/rest/",
            "status": place.status,
            "client_endpoint": self._endpoint(place),
            "member_id": place.member_id,
            "user_id": token.user_id,
            "refresh_token": token.refresh,
        }

    def _endpoint(self, place: Place) -> str:
        return self.endpoints.get(place.member_id, place.client_endpoint)

    def _info(self) -> Response:
        self.server.record("app.info")
        fault = self.faults.take("app.info")
        return suffer(fault, self._describe) if fault is not None else self._describe()

    def _describe(self) -> Response:
        value = str(parameters_of(request).get("auth") or "")
        if not value:
            return error_answer("NO_AUTH_FOUND", "Wrong authorization data", 401)
        token = self.registry.find(value, "access")
        if token is None or token.access_revoked:
            return error_answer("invalid_token", "Unable to get application by token", 401)
        if token.expires_at <= self.registry.clock.now():
            return error_answer("expired_token", "The access token provided has expired.", 401)
        app, place = self.registry.apps[token.client_id], self._portals[token.member_id]
        scope = ",".join(app.scopes)
        install = {
            "installed": place.has_app(app.client_id),
            "version": 1,
            "status": place.status,
            "scope": scope,
            "domain": place.domain,
            "uri": place.client_endpoint.removesuffix("/rest/"),
            "client_endpoint": self._endpoint(place),
            "member_id": place.member_id,
            "member_type": "bitrix24",
        }
        result = {
            "client_id": app.client_id,
            "scope": scope,
            "expires": self.registry.clock.moment().isoformat(timespec="seconds"),
            "install": install,
            "user_id": token.user_id,
        }
        return jsonify({"result": result, "time": {}})
