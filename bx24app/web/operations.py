"""Health for the operator's machines."""

from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Blueprint, Response, jsonify
from sqlalchemy.exc import SQLAlchemyError

from bx24app.extensions import reading
from bx24app.migrations import alembic_config

blueprint = Blueprint("operations", __name__)


@blueprint.get("/healthz")
def healthz() -> Response:
    """The process answers."""
    return jsonify({"status": "ok"})


@blueprint.get("/readyz")
def readyz() -> tuple[Response, int]:
    """The database answers and its migrations are at the head: 200, else 503 with the reason."""
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    try:
        with reading() as session:
            present = MigrationContext.configure(session.connection()).get_current_revision()
    except SQLAlchemyError as error:
        return jsonify({"status": "database", "detail": type(error).__name__}), 503
    if present != head:
        return jsonify({"status": "migrations", "present": present, "head": head}), 503
    return jsonify({"status": "ok"}), 200
