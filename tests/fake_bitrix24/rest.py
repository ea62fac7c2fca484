"""REST of a portal: who asks, whether they may, the leaky bucket, and batch (docs: settings/how-to-call-rest-api)."""

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from flask import Response, request

from tests.fake_bitrix24.clock import Clock
from tests.fake_bitrix24.faults import error_answer, suffer
from tests.fake_bitrix24.people import FakeUser
from tests.fake_bitrix24.registry import FakeApp
from tests.fake_bitrix24.server import parameters_of

if TYPE_CHECKING:
    from tests.fake_bitrix24.portal import FakePortal

Parameters = dict[str, Any]
REFERENCE = re.compile(r"\$result\[(\w+)\]((?:\[\w+\])*)")
NESTED = re.compile(r"\[([^\]]*)\]")
MAX_BATCH = 50
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "origin, content-type, accept",
    "X-Content-Type-Options": "nosniff",
}


class RestError(Exception):
    """A refusal in the platform's form."""

    def __init__(self, code: str, words: str = "", status: int = 400) -> None:
        super().__init__(code)
        self.code, self.words, self.status = code, words, status


@dataclass(frozen=True)
class Asker:
    """Who calls a method, in which application."""

    app: FakeApp
    user: FakeUser

    def need_right(self, right: str) -> None:
        """Refuse a user without the right."""
        if right not in self.user.rights:
            raise RestError("ACCESS_DENIED", "Access denied!", 403)

    def need_administrator(self) -> None:
        """Refuse everybody but administrators."""
        if not self.user.admin:
            raise RestError("ACCESS_DENIED", "Access denied! Administrator rights are required", 403)


@dataclass(frozen=True)
class Method:
    """A REST method: its scope ("" needs none) and what it does."""

    scope: str
    run: Callable[["FakePortal", Asker, Parameters], Any]


class Bucket:
    """The leaky bucket: 50 requests at once, then 2 a second (docs: limits.md)."""

    def __init__(self, clock: Clock, size: float = 50, rate: float = 2) -> None:
        self.size, self.rate, self.enabled = size, rate, True
        self._clock = clock
        self._level, self._at = 0.0, clock.now()
        self._lock = threading.Lock()

    def pour(self) -> bool:
        """Take one request; False when the bucket is full."""
        with self._lock:
            now = self._clock.now()
            self._level = max(0.0, self._level - (now - self._at) * self.rate)
            self._at = now
            if self.enabled and self._level >= self.size:
                return False
            self._level += 1
            return True


def unnest(pairs: list[tuple[str, str]]) -> Parameters:
    """``a[b][c]=1`` becomes ``{"a": {"b": {"c": "1"}}}``."""
    tree: Parameters = {}
    for key, value in pairs:
        head, _, _ = key.partition("[")
        path = [head, *NESTED.findall(key)]
        node = tree
        for part in path[:-1]:
            node = node.setdefault(part, {})
        node[path[-1]] = value
    return tree


class Rest:
    """Answers ``/rest/<method>`` of one portal."""

    def __init__(self, portal: "FakePortal", methods: dict[str, Method]) -> None:
        self._portal = portal
        self._methods = methods
        self.bucket = Bucket(portal.cloud.clock)
        self.overflows = 0

    def answer_method(self, method: str) -> Response:
        """Answer one HTTP request."""
        if request.method == "OPTIONS":
            return Response("", 200, headers=CORS)
        method = method.strip("/").removesuffix(".json").lower()  # The SDK writes `crm.contact.Get`.
        parameters = parameters_of(request)
        if request.mimetype not in ("application/json", "application/x-www-form-urlencoded"):
            parameters |= dict(parse_qsl(request.get_data(as_text=True)))
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        token = bearer if scheme == "Bearer" else str(parameters.pop("auth", "") or "")
        recorded = self._portal.server.record(method)
        parameters.pop("auth", None)
        fault = self._portal.faults.take(method)

        def execute() -> Response:
            try:
                asker = self._authenticate(token)
                recorded.user_id = asker.user.id
                return self._respond(method, asker, unnest_form(parameters))
            except RestError as error:
                return error_answer(error.code, error.words, error.status)

        response = suffer(fault, execute) if fault is not None else execute()
        response.headers.extend(CORS)
        return response

    def _respond(self, method: str, asker: Asker, parameters: Parameters) -> Response:
        if not self.bucket.pour():
            self.overflows += 1
            raise RestError("QUERY_LIMIT_EXCEEDED", "Too many requests", 503)
        began = self._portal.cloud.clock.now()
        result = self._batch(asker, parameters) if method == "batch" else self.call(method, asker, parameters)
        body = {"result": result, "time": self._time(began)}
        return Response(json.dumps(body, ensure_ascii=False), 200, content_type="application/json; charset=utf-8")

    def _time(self, began: float) -> dict[str, Any]:
        clock = self._portal.cloud.clock
        now, moment = clock.now(), clock.moment().isoformat(timespec="seconds")
        return {
            "start": began,
            "finish": now,
            "duration": now - began,
            "processing": now - began,
            "date_start": moment,
            "date_finish": moment,
            "operating_reset_at": int(now) + 600,
            "operating": 0,
        }

    def _authenticate(self, value: str) -> Asker:
        portal = self._portal
        if not value:
            raise RestError("NO_AUTH_FOUND", "Wrong authorization data", 401)
        token = portal.cloud.registry.find(value, "access")
        if token is None or token.member_id != portal.member_id:
            raise RestError("invalid_token", "Unable to get application by token", 401)
        if not portal.has_app(token.client_id):
            raise RestError("APPLICATION_NOT_FOUND", "Application not found", 404)
        if token.access_revoked:
            raise RestError("invalid_token", "Unable to get application by token", 401)
        if token.expires_at <= portal.cloud.clock.now():
            raise RestError("expired_token", "The access token provided has expired.", 401)
        if not portal.paid:
            raise RestError("PAYMENT_REQUIRED", "Payment required", 401)
        user = portal.users[token.user_id]
        if user.dismissed:
            raise RestError("authorization_error", "Unable to authorize user", 401)
        return Asker(portal.cloud.registry.apps[token.client_id], user)

    def call(self, name: str, asker: Asker, parameters: Parameters) -> Any:
        """Run one method; raises ``RestError``."""
        method = self._methods.get(name)
        if method is None or name in self._portal.missing_methods:
            raise RestError("ERROR_METHOD_NOT_FOUND", "Method not found!", 404)
        if method.scope and method.scope not in asker.app.scopes:
            raise RestError(
                "insufficient_scope",
                "The request requires higher privileges than provided by the access token",
                403,
            )
        return method.run(self._portal, asker, parameters)

    def _batch(self, asker: Asker, parameters: Parameters) -> Parameters:
        commands = parameters.get("cmd") or {}
        if not isinstance(commands, dict) or len(commands) > MAX_BATCH:
            raise RestError("ERROR_BATCH_LENGTH_EXCEEDED", "Max batch length exceeded", 400)
        results: Parameters = {}
        errors: Parameters = {}
        for key, command in commands.items():
            name, _, query = str(command).partition("?")
            try:
                if name == "batch":
                    raise RestError("ERROR_BATCH_METHOD_NOT_ALLOWED", "Method is not allowed for batch usage")
                if fault := self._portal.faults.take_part(name):
                    raise RestError(fault.code, fault.words)
                results[key] = self.call(name, asker, unnest(_resolve(parse_qsl(query), results)))
            except RestError as error:
                errors[key] = {"error": error.code, "error_description": error.words}
                if str(parameters.get("halt", "0")) in ("1", "True", "true"):
                    break
        empty: list[Any] = []
        times = {key: self._time(self._portal.cloud.clock.now()) for key in results}
        # PHP writes an empty object as [].
        return {
            "result": results or empty,
            "result_error": errors or empty,
            "result_total": empty,
            "result_next": empty,
            "result_time": times or empty,
        }


def unnest_form(parameters: Parameters) -> Parameters:
    """Form fields come flat with brackets; JSON is nested already."""
    flat = [(key, value) for key, value in parameters.items() if isinstance(value, str)]
    nested = {key: value for key, value in parameters.items() if not isinstance(value, str)}
    return unnest(flat) | nested


def _resolve(pairs: list[tuple[str, str]], results: Parameters) -> list[tuple[str, str]]:
    """Put earlier results in place of ``$result[command][KEY]`` and ``$result[command][0][KEY]``."""

    def value(match: re.Match[str]) -> str:
        found: object = results.get(match[1])
        for key in re.findall(r"\w+", match[2]):
            if isinstance(found, list):
                found = found[int(key)] if key.isdigit() and int(key) < len(found) else None
            else:
                found = found.get(key) if isinstance(found, dict) else None
        return "" if found is None else str(found)

    return [(key, REFERENCE.sub(value, text)) for key, text in pairs]
