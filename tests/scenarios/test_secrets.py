"""Canary: whatever was secret in a whole life of the app stands nowhere in clear."""

import logging
import secrets
from collections.abc import Callable

import pytest
from flask import Flask

from bx24app.bitrix24.authorization import AuthorizationServer
from bx24app.outgoing.errors import ExchangeError
from bx24app.worker.worker import Worker
from tests.conftest import Eventually
from tests.fake_bitrix24 import FakeBitrix24, FakePortal
from tests.support import leaks
from tests.support.actors import Actor, post_frame
from tests.support.processes import run_python


def secrets_of(fake: FakeBitrix24, environ: dict[str, str]) -> list[str]:
    """Every access, refresh and application token given out, and the operator's own secrets."""
    tokens = [value for token in fake.registry.tokens for value in (token.access, token.refresh)]
    applications = [
        portal.bindings_of(client_id).application_token
        for portal in fake.portals.values()
        for client_id in fake.registry.apps
        if portal.has_app(client_id)
    ]
    names = ("CLIENT_SECRET", "SECRET_KEY", "ENCRYPTION_KEYS")
    return tokens + applications + [environ[f"BX24APP_{name}"] for name in names]


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG)
    return caplog


def test_no_secret_is_in_the_database_the_logs_or_a_page(
    app: Flask,
    environ: dict[str, str],
    everything_logged: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    administrator: Actor,
    manager: Actor,
    fake: FakeBitrix24,
    portal: FakePortal,
    worker: Worker,
    eventually: Eventually,
) -> None:
    logging.getLogger().setLevel(logging.DEBUG)
    lead = portal.crm.add_lead("Lead", "Clara", ["+49 30 901820"])
    pages = [administrator.opens().text, manager.opens("CRM_LEAD_DETAIL_TAB", ID=str(lead)).text]
    fake.registry.expire_access(portal.member_id)  # Everybody renews.
    pages.append(manager.asks("GET", "/lines?refresh=1").text)
    id = manager.requests_callback(wait=5).json["id"]  # type: ignore[index]
    eventually(lambda: manager.sees(id)["state"] == "started")
    portal.telephony.calls[0].manager_answers()
    portal.events.wait_until_idle()
    portal.faults.add("truncated_json", "batch")
    fake.auth_server.faults.add("html_502", "app.info", times=2)
    pages.append(post_frame(manager.client, "/", manager.launches()).text)
    portal.faults.add("drop_before", "voximplant.callback.start")
    manager.requests_callback("+4930901821")
    pages += [manager.asks("GET", "/callbacks").text, administrator.asks("GET", "/settings").text]
    worker.stop()
    found = {
        "database": str(leaks.database_content(environ["BX24APP_DATABASE_URL"])),
        "logs": everything_logged.text + "".join(capfd.readouterr()),
        "pages": "\n".join(pages),
    }
    assert "dialled" in found["logs"]
    known = secrets_of(fake, environ)
    assert len(known) > 12
    leaked = {place: [secret for secret in known if secret in content] for place, content in found.items()}
    assert leaked == {"database": [], "logs": [], "pages": []}
    assert "4930901820" not in found["logs"]


def test_no_secret_is_in_a_traceback(fake: FakeBitrix24, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address of the documented way holds the secrets: no exception may carry it."""
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    client_secret, token = secrets.token_hex(16), secrets.token_hex(16)
    for path in ("oauth/token", "app.info"):
        # The body is said not to be read, and then the connection of the documented way breaks.
        fake.auth_server.faults.add("error", path, code="NO_AUTH_FOUND", status=401)
        fake.auth_server.faults.add("drop_before", path)
    server = AuthorizationServer(fake.auth_server.url, "app.1", client_secret)
    nobody = AuthorizationServer("http://127.0.0.1:1", "app.1", client_secret)
    asks: list[Callable[[], object]] = [
        lambda: server.renew(token),
        lambda: server.app_info(token),
        # A connection that is refused: urllib3 writes the whole address into its error.
        lambda: nobody._get("/rest/app.info", auth=token, client_secret=client_secret),
    ]
    for ask in asks:
        with pytest.raises(ExchangeError) as caught:
            ask()
        error: BaseException | None = caught.value
        shown = str(caught.getrepr(style="native"))
        while error is not None:
            shown += repr(error)
            error = error.__cause__
        assert token not in shown
        assert client_secret not in shown


def test_a_wrong_start_tells_no_secret(environ: dict[str, str]) -> None:
    done = run_python("-c", "import app", environ=environ | {"BX24APP_PUBLIC_URL": "ftp://nowhere"})
    assert done.returncode != 0
    assert "BX24APP_PUBLIC_URL must be an https address" in done.stderr
    for name in ("CLIENT_SECRET", "SECRET_KEY", "ENCRYPTION_KEYS"):
        assert environ[f"BX24APP_{name}"] not in done.stderr
