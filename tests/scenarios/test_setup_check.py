"""The setup check in the desk: kept for every process, made anew by a press, each finding with what cures it."""

import re
from datetime import timedelta

import pytest
import time_machine
from flask import Flask
from sqlalchemy import func, select, update
from werkzeug.test import TestResponse

from bx24app.database import reading, writing
from bx24app.messages import diagnostics as messages
from bx24app.models import Portal, PortalSetup, utcnow
from bx24app.services import diagnostics
from bx24app.services.diagnostics import Finding, Level, PortalCheck, kept
from bx24app.services.portals import lines, uninstall
from bx24app.services.portals.settings import get_portal
from bx24app.web.presenters.setup.check import shown_check
from tests.conftest import OtherApp
from tests.fake_bitrix24 import FakeApp, FakePortal
from tests.support.actors import Actor
from tests.support.tables import rows_in_one_world
from tests.support.waiting import remove

COUNT = re.compile(r'data-section="settings".*?data-counter[^>]*>(\d*)<', re.DOTALL)


def checks(actor: Actor, method: str = "GET", path: str = "/desk/check") -> TestResponse:
    return actor.client.open(path, method=method, headers={"Authorization": f"Bearer {actor.ticket}"}, json={})


def count_on_the_tab(actor: Actor) -> str:
    found = COUNT.search(actor.opens().text)
    assert found is not None
    return found[1]


def test_what_one_process_found_every_process_shows_for_ten_minutes_and_asks_nobody(
    app: Flask, other_app: OtherApp, administrator: Actor, manager: Actor, portal: FakePortal, application: FakeApp
) -> None:
    assert count_on_the_tab(administrator) == ""
    portal.lines.clear()
    told = checks(administrator)
    assert "This Bitrix24 has no telephone line." in told.text
    another = Actor(other_app().test_client(), portal, application, portal.administrator)
    counted = count_on_the_tab(another)
    assert int(counted) == told.text.count("orange") + told.text.count("Needs fixing") > 0
    asked = len(portal.requests)
    # A restart forgets nothing, and the page shows what was found without asking for it again.
    shown = another.client.get("/desk/view/settings/check", headers={"Authorization": f"Bearer {another.ticket}"})
    assert "This Bitrix24 has no telephone line." in shown.text
    assert len(portal.requests) == asked
    with time_machine.travel(utcnow() + timedelta(minutes=9, seconds=50), tick=False):
        assert count_on_the_tab(another) == counted
    with time_machine.travel(utcnow() + timedelta(minutes=10, seconds=1), tick=False):
        assert count_on_the_tab(another) == ""


def test_what_is_kept_is_bounded_and_goes_with_the_portal(
    app: Flask, administrator: Actor, manager: Actor, portal: FakePortal, application: FakeApp,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    many = [Finding("lines", Level.OK, "ok", {"count": "1"})] * 200
    long = Finding("voices", Level.PROBLEM, "refused", {"words": "x" * 9000, "reason": "y"})
    monkeypatch.setattr(kept, "examine_portal", lambda _: [*many, long])
    with app.app_context():
        for _ in range(2):
            found = diagnostics.check_portal(1).findings
        read = diagnostics.load_check(1)
        assert read is not None
        assert (len(found), found[0].check, len(found[0].facts["words"])) == (kept.MAX_FINDINGS_KEPT, "voices", 500)
        assert read.findings == found
        with reading() as session:
            assert session.scalar(select(func.count()).select_from(PortalSetup)) == 1
        remove(app, portal, application)
        with reading() as session:
            assert session.scalar(select(func.count()).select_from(PortalSetup)) == 0
        # One that ends after the portal has gone keeps nothing, and fails nobody.
        assert diagnostics.check_portal(1).findings == found
        assert diagnostics.load_check(1) is None


def test_a_portal_that_keeps_its_settings_keeps_no_findings(
    app: Flask, administrator: Actor, manager: Actor, portal: FakePortal, application: FakeApp
) -> None:
    administrator.opens()
    checks(administrator)
    portal.uninstall(application, clean=False)
    portal.events.wait_until_idle()
    with app.app_context():
        uninstall.confirm_removals()
        assert diagnostics.load_check(1) is None
        with reading() as session:
            assert session.scalars(select(PortalSetup.findings)).one() == []


def test_what_another_version_has_found_is_left_out(app: Flask, administrator: Actor, manager: Actor) -> None:
    administrator.opens()
    checks(administrator)
    odd = {"check": "weather", "about": "rain", "level": "problem", "facts": {}}
    with app.app_context(), writing() as session:
        session.execute(update(PortalSetup).values(findings=[odd]))
    shown = administrator.client.get(
        "/desk/view/settings/check", headers={"Authorization": f"Bearer {administrator.ticket}"}
    )
    assert shown.status_code == 200


NOT_IN_THE_DESK = {("portal", "uninstalled")}
WRONG = [key for key in messages.PORTAL_SENTENCES if key[1] != "ok" and key not in NOT_IN_THE_DESK]


class Facts(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return f"<{key}>"


@rows_in_one_world("key", WRONG)
def test_everything_wrong_has_a_button_that_does_something(app: Flask, manager: Actor, key: tuple[str, str]) -> None:
    facts = Facts(day="2026-12-25", count="2", reason="bitrix24_unavailable")
    with app.test_request_context():
        check = PortalCheck([Finding(key[0], Level.PROBLEM, key[1], facts)], utcnow())
        [(_, cure)] = shown_check(check, get_portal(1)).findings
    assert cure is not None
    assert cure.title
    assert cure.path or cure.action in {"again", "lines", "voice", "bind", "copy"}
    assert bool(cure.copied) == bool(cure.label) == (cure.action == "copy")


def test_what_is_missing_is_bound_again_and_the_finding_goes(
    app: Flask, administrator: Actor, manager: Actor, portal: FakePortal, application: FakeApp
) -> None:
    administrator.opens()
    portal.bindings_of(application.client_id).events.clear()
    assert "Bind again" in checks(administrator).text
    bound = checks(administrator, "POST", "/desk/check/bind")
    assert (bound.status_code, bound.get_json()) == (200, {"problems": []})
    assert portal.bindings_of(application.client_id).events
    assert "Bind again" not in checks(administrator).text


def test_what_bitrix24_would_not_bind_is_told(
    administrator: Actor, manager: Actor, portal: FakePortal, application: FakeApp
) -> None:
    administrator.opens()
    portal.missing_methods.add("event.bind")
    portal.bindings_of(application.client_id).events.clear()
    [problem] = checks(administrator, "POST", "/desk/check/bind").get_json()["problems"]
    assert "Bitrix24 says" in problem


def test_a_colleague_is_asked_with_a_link_into_the_portal(
    administrator: Actor, manager: Actor, portal: FakePortal, application: FakeApp
) -> None:
    administrator.opens()
    link = f"{portal.url}/marketplace/view/{application.code}/?params%5Bview%5D=check"
    assert f'value="{link}"' in checks(administrator).text


def test_lines_are_read_again_before_the_check_that_follows(
    app: Flask, administrator: Actor, manager: Actor, portal: FakePortal
) -> None:
    kept_lines = dict(portal.lines)
    portal.lines.clear()
    administrator.opens()
    assert "Refresh lines" in checks(administrator).text
    portal.lines.update(kept_lines)
    administrator.asks("GET", "/lines?refresh=1")
    assert "Refresh lines" not in checks(administrator).text
    with app.app_context(), reading() as session:
        assert lines.kept_lines(session.scalars(select(Portal)).one()).names
