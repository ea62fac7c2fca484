"""Health for the operator's machines."""

from flask import Blueprint, Response, jsonify

from bx24app.services import diagnostics

blueprint = Blueprint("operations", __name__)


@blueprint.get("/healthz")
def healthz() -> Response:
    """The process answers."""
    return jsonify({"status": "ok"})


@blueprint.get("/readyz")
def readyz() -> tuple[Response, int]:
    """The database answers and its migrations are at the head: 200, else 503 with the reason."""
    finding = diagnostics.examine_database()
    if finding.level == diagnostics.Level.OK:
        return jsonify({"status": "ok"}), 200
    return jsonify({"status": finding.about, **finding.facts}), 503
