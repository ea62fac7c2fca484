"""Health and figures for the operator's machines, and counting the requests of everybody."""

import hmac
import time

from flask import Blueprint, Flask, Response, abort, g, jsonify, request

from bx24app import metrics
from bx24app.services import diagnostics
from bx24app.settings import settings

blueprint = Blueprint("operations", __name__)


@blueprint.get("/healthz")
def healthz() -> Response:
    """The process answers."""
    return jsonify({"status": "ok"})


@blueprint.get("/readyz")
def readyz() -> tuple[Response, int]:
    """The database answers and its migrations are at the head: 200, else 503 with the reason."""
    finding = diagnostics.examine_readiness()
    if finding.level != diagnostics.Level.PROBLEM:
        return jsonify({"status": "ok"}), 200
    return jsonify({"status": finding.about, **finding.facts}), 503


@blueprint.get("/metrics")
def tell_metrics() -> Response:
    """What was counted and how the app stands, for whoever has the token; 404 where the operator has set none."""
    token = settings.metrics_token
    if token is None:
        abort(404)
    # Bytes, for a text with other letters cannot be compared in constant time.
    sent = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
    if not hmac.compare_digest(sent, f"Bearer {token.get_secret_value()}".encode()):
        return Response("401\n", 401, {"WWW-Authenticate": "Bearer"}, content_type="text/plain")
    return Response(metrics.expose(diagnostics.read_gauges()), content_type=metrics.CONTENT_TYPE)


def _begin() -> None:
    g.began = time.perf_counter()


def _count(response: Response) -> Response:
    route = request.url_rule.rule if request.url_rule else None
    metrics.count_http_request(request.method, route, response.status_code, time.perf_counter() - g.began)
    return response


def init_app(app: Flask) -> None:
    """Count every request; before anything that may answer one."""
    app.before_request(_begin)
    app.after_request(_count)
