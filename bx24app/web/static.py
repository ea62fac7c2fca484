"""Our scripts and styles, under an address that changes with their content, so that they may be kept for ever."""

import hashlib
from pathlib import Path

from flask import Flask, Response, send_from_directory

DIRECTORY = Path(__file__).parent.parent / "static"
YEAR_SECONDS = 365 * 24 * 3600


def _version() -> str:
    content = hashlib.sha256()
    for path in sorted(DIRECTORY.rglob("*.*")):
        content.update(path.name.encode() + path.read_bytes())
    return content.hexdigest()[:12]


def init_app(app: Flask) -> None:
    """Serve ``/static/<version>/<file>``; modules import their neighbours by relative paths."""
    version = _version()

    def send(version: str, filename: str) -> Response:  # noqa: ARG001  An older version's page gets today's file.
        response = send_from_directory(DIRECTORY, filename, max_age=YEAR_SECONDS)
        response.cache_control.public = True
        response.cache_control.immutable = True
        return response

    app.add_url_rule("/static/<version>/<path:filename>", endpoint="static", view_func=send)

    @app.url_defaults
    def add_version(endpoint: str, values: dict[str, object]) -> None:
        if endpoint == "static":
            values.setdefault("version", version)
