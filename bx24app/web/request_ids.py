"""One id for each request: in every log line about it and in its answer, so that people can name it."""

import re
from uuid import uuid4

from flask import Flask, Response, g, request

from bx24app.log import begin_lines, end_lines

HEADER = "X-Request-ID"
_SANE = re.compile(r"[A-Za-z0-9-]{8,64}")


def _begin() -> None:
    g.request_id = _read_id(request.headers.get(HEADER, ""))
    begin_lines(request_id=g.request_id)


def _read_id(told: str) -> str:
    """The id that a proxy has given; digits alone could be somebody's telephone number, which no log may hold."""
    is_sane = _SANE.fullmatch(told) and any(char.isalpha() for char in told)
    return told if is_sane else uuid4().hex


def _name(response: Response) -> Response:
    response.headers[HEADER] = g.request_id
    return response


def _end(_: BaseException | None) -> None:
    end_lines()


def init_app(app: Flask) -> None:
    """Name every request; before anything that may log about it."""
    app.before_request(_begin)
    app.after_request(_name)
    app.teardown_request(_end)
