"""Our scripts and styles, under an address that changes with their content, so that they may be kept for ever."""

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

from flask import Flask, Response, request, send_from_directory
from rcssmin import cssmin
from rjsmin import jsmin

DIRECTORY = Path(__file__).parent.parent / "static"
YEAR_SECONDS = 365 * 24 * 3600


def _version() -> str:
    content = hashlib.sha256()
    for path in sorted(DIRECTORY.rglob("*.*")):
        content.update(path.name.encode() + path.read_bytes())
    return content.hexdigest()[:12]


# What makes a file smaller, and how it is sent, by the end of its name.
_MINIFIED: dict[str, tuple[Callable[[str], str], str]] = {
    ".js": (jsmin, "text/javascript"),
    ".css": (cssmin, "text/css"),
}


@cache
def _minified() -> dict[str, tuple[str, str]]:
    """Scripts and styles by their names, without what people alone read, each with its type."""
    return {
        path.relative_to(DIRECTORY).as_posix(): (minify(path.read_text(encoding="utf-8")), mimetype)
        for ending, (minify, mimetype) in _MINIFIED.items()
        for path in DIRECTORY.rglob(f"*{ending}")
    }


def _text(text: str, mimetype: str) -> Response:
    response = Response(text, mimetype=mimetype)
    response.add_etag()
    response.make_conditional(request)
    return response


def init_app(app: Flask) -> None:
    """Serve ``/static/<version>/<file>``; modules import their neighbours by relative paths."""
    ours = _version()

    def send(version: str, filename: str) -> Response:
        minified = _minified().get(filename)
        response = _text(*minified) if minified is not None else send_from_directory(DIRECTORY, filename)
        if version != ours:
            # The page of another version, before or after this one, gets our file, but not for a year.
            response.cache_control.no_cache = True
            return response
        response.cache_control.no_cache = None
        response.cache_control.max_age = YEAR_SECONDS
        response.cache_control.public = True
        response.cache_control.immutable = True
        return response

    app.add_url_rule("/static/<version>/<path:filename>", endpoint="static", view_func=send)

    @app.url_defaults
    def add_version(endpoint: str, values: dict[str, object]) -> None:
        if endpoint == "static":
            values.setdefault("version", ours)
