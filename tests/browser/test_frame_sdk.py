"""The official JavaScript SDK, unpatched, works in the fake portal's frame: it is not only our bridge that does."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Response
from playwright.sync_api import Browser, Frame, Page, expect

from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal
from tests.fake_bitrix24.server import Server
from tests.support import browser, npm

# The first of them may wait for npm.
pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A third-party app</title>
<script src="/sdk.js"></script><script src="/page.js"></script></head>
<body style="margin: 0"><div style="height: 730px">A third-party app</div></body></html>"""
SCRIPT = "B24Js.initializeB24Frame().then((b24) => { window.b24 = b24; });"
READY = "() => window.b24 !== undefined"


@pytest.fixture(scope="session")
def sdk() -> str:
    return npm.fetch_sdk()


@pytest.fixture
def third_party(sdk: str) -> Iterator[Server]:
    """Somebody else's app: a page that only loads the SDK."""
    server = Server("third-party", "127.0.0.60")
    answers = {
        "/page": (PAGE, "text/html"),
        "/sdk.js": (sdk, "text/javascript"),
        "/page.js": (SCRIPT, "text/javascript"),
    }
    for path, (body, kind) in answers.items():
        server.app.add_url_rule(
            path, path, lambda body=body, kind=kind: Response(body, content_type=kind), methods=["GET", "POST"]
        )
    server.app.add_url_rule("/favicon.ico", "favicon", lambda: Response(status=204))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def registered(fake: FakeBitrix24, third_party: Server) -> FakeApp:
    url = f"{third_party.url}/page"
    return fake.register_app("app.third", "s", "third.app", url, url, ("telephony", "user_brief"))


@pytest.fixture
def opened(chromium: Browser, registered: FakeApp) -> Iterator[Page]:
    # An expired token is answered with 401, and renewed by the SDK.
    with browser.watched_page(chromium, browser.DESKTOP, (401,)) as page:
        yield page


def inside(page: Page, portal: FakePortal, registered: FakeApp, user: int = 1) -> Frame:
    """Open the app in the portal; returns its frame once the SDK is ready."""
    page.goto(f"{portal.url}/marketplace/app/{registered.client_id}/?user={user}")
    return ready(page)


def ready(page: Page) -> Frame:
    page.wait_for_selector("iframe.app-frame")
    frame = next(shown for shown in page.frames if shown.parent_frame)
    frame.wait_for_function(READY)
    return frame


@pytest.fixture
def frame(opened: Page, portal: FakePortal, registered: FakeApp) -> Frame:
    portal.install(registered)
    portal.finish_installation(registered)
    return inside(opened, portal, registered)


def told(frame: Frame, expression: str) -> Any:
    return frame.evaluate(f"async () => {{ const b24 = window.b24; return {expression}; }}")


def test_it_starts_and_finishes_an_installation(opened: Page, portal: FakePortal, registered: FakeApp) -> None:
    frame = inside(opened, portal, registered)
    assert told(frame, "[b24.isInit, b24.isInstallMode, b24.isFirstRun]") == [True, True, True]
    assert {"getInitData", "setInstall"} <= set(opened.evaluate("window.messages"))
    assert not portal.is_finished(registered.client_id)
    # Its promise never settles: the portal opens the page anew.
    with opened.expect_navigation(url="**/*install_finished=Y*"):
        frame.evaluate("() => { window.b24.installFinish(); }")
    assert portal.is_finished(registered.client_id)
    again = ready(opened)
    assert told(again, "[b24.isInstallMode, b24.isFirstRun]") == [False, False]
    assert told(again, "b24.installFinish().catch((error) => error.code)") == "JSSDK_FRAME_INSTALL_ALREADY_FINISHED"


def test_it_knows_who_opened_it_and_where(frame: Frame, portal: FakePortal) -> None:
    assert told(frame, "[b24.getLang(), b24.auth.isAdmin, b24.placement.isDefault]") == ["en", True, True]
    auth = told(frame, "b24.auth.getAuthData()")
    assert (auth["domain"], auth["member_id"]) == (portal.url, portal.member_id)


def test_it_gets_fresh_tokens(frame: Frame, fake: FakeBitrix24) -> None:
    before = told(frame, "b24.auth.getAuthData()")
    after = told(frame, "await b24.auth.refreshAuth()")
    assert after["access_token"] != before["access_token"]
    assert fake.registry.find(after["access_token"], "access") is not None


def test_it_resizes_its_frame(opened: Page, frame: Frame) -> None:
    element = opened.locator("iframe.app-frame")
    assert told(frame, "await b24.parent.fitWindow()")["height"] == 730
    assert element.evaluate("frame => frame.offsetHeight") == 730
    assert told(frame, "await b24.parent.resizeWindow(500, 410)") == {"width": 500, "height": 410}
    assert element.evaluate("frame => [frame.offsetWidth, frame.offsetHeight]") == [500, 410]


def test_it_lets_people_be_selected(opened: Page, frame: Frame, portal: FakePortal) -> None:
    frame.evaluate("() => { window.b24.dialog.selectUsers().then((chosen) => { window.chosen = chosen; }); }")
    dialog = opened.get_by_role("dialog", name="Select employees")
    for person in (portal.administrator, portal.manager):
        dialog.get_by_label(person.full_name).check()
    dialog.get_by_role("button", name="Select").click()
    frame.wait_for_function("() => window.chosen")
    chosen = frame.evaluate("() => window.chosen")
    assert [(one["id"], one["name"]) for one in chosen] == [("1", "Anna Schmidt"), ("2", "Max Weber")]
    frame.evaluate("() => { window.b24.dialog.selectUser().then((one) => { window.one = one; }); }")
    dialog.get_by_label("Max Weber").check()
    dialog.get_by_role("button", name="Select").click()
    frame.wait_for_function("() => window.one")
    assert frame.evaluate("() => window.one.name") == "Max Weber"


def test_nobody_answers_when_the_dialog_is_cancelled(opened: Page, frame: Frame) -> None:
    frame.evaluate("() => { window.b24.dialog.selectUsers().finally(() => { window.settled = true; }); }")
    dialog = opened.get_by_role("dialog", name="Select employees")
    dialog.get_by_label("Max Weber").check()
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_be_hidden()
    opened.wait_for_timeout(300)
    assert frame.evaluate("() => window.settled") is None


def call(method: str) -> str:
    return f"(await b24.actions.v2.call.make({{ method: '{method}', params: {{}} }})).getData().result"


def test_it_calls_rest_with_the_visitors_token(frame: Frame, portal: FakePortal) -> None:
    assert told(frame, call("profile"))["NAME"] == portal.administrator.name
    asked = portal.requests_for("profile")[-1]
    assert (asked.verb, asked.user_id) == ("POST", 1)


def test_it_renews_an_expired_token_through_the_portals_page(opened: Page, frame: Frame, portal: FakePortal) -> None:
    portal.cloud.registry.expire_access(portal.member_id)
    assert told(frame, call("profile"))["NAME"] == portal.administrator.name
    assert "refreshAuth" in opened.evaluate("window.messages")


def test_without_npm_it_is_said_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AssertionError, match="make venv"):
        npm.find_npm(tmp_path)
