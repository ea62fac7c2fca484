"""Whatever a request says of the name under which it came: answered or refused, never a mistake of ours."""

import itertools

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import create_environ, run_wsgi_app

from tests.conftest import OtherApp

ODD = (
    "b" * 64,
    "b" * 64 + ".example.com:443",
    ".a",
    "a..b",
    ".",
    "..",
    "a b",
    "a\tb",
    "ä.example.com",
    "\xff\xfe",
    "a,b",
    "a@b",
    "a/b",
    "[::1",
    "::1",
    "[a]b",
    "a:b",
    "a:1:2",
    "a:" + "1" * 5000,
    ":80",
    "a" * 8000,
    "a." * 4000,
)
ORDINARY = (
    None,
    "",
    "localhost",
    "callback.example.com",
    "Callback.Example.com:8443",
    "example.com.",
    "10.0.0.5:8000",
    "[::1]:8000",
    "[2001:DB8::1]",
    "web_1:8000",
    "xn--bcher-kva.example",
    "b" * 63,
)
PATHS = ("/", "/nope", "/healthz", "/readyz", "/api/v1/me", "/api/nope", "/w/nope", "/c/nope", "/static/1/ui.js")


def test_a_host_that_is_no_name_is_refused_without_a_word_in_the_log(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    """As by the page of an error, which is made with addresses of its own, and failed twice."""
    for host, path, accept in itertools.product(ODD, PATHS, ("text/html", "application/json")):
        answer = client.get(path, headers={"Accept": accept}, environ_overrides={"HTTP_HOST": host})
        assert answer.status_code == 400, (host, path, accept)
        assert "a.a" not in answer.text
    for host in ODD:
        assert client.post("/", data={"a": "1"}, environ_overrides={"HTTP_HOST": host}).status_code == 400
        assert client.head("/nope", environ_overrides={"HTTP_HOST": host}).data == b""
    assert not caplog.records


def test_a_health_check_may_come_under_any_name_or_address_or_none(app: Flask) -> None:
    for host in ORDINARY:
        for path, status in (("/healthz", "200 OK"), ("/nope", "404 NOT FOUND")):
            environ = create_environ(path)
            environ.pop("HTTP_HOST")
            environ |= {} if host is None else {"HTTP_HOST": host}
            assert run_wsgi_app(app.wsgi_app, environ)[1] == status, host


def test_what_a_proxy_says_of_the_host_is_read_alike(other_app: OtherApp) -> None:
    behind = other_app(TRUSTED_PROXIES="1").test_client()
    for host in ODD:
        said = {"HTTP_X_FORWARDED_HOST": host}
        # Of several names the proxy's own is the last one.
        assert behind.get("/nope", environ_overrides=said).status_code == (404 if "," in host else 400), host
    said = {"HTTP_X_FORWARDED_HOST": "callback.example.com"}
    assert behind.get("/nope", environ_overrides=said).status_code == 404
