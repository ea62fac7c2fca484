"""The doctor: every way in which an installation or a portal can be ill is found, and told how to mend."""

import json
from collections.abc import Callable, Mapping
from datetime import timedelta

import pytest
from flask import Flask
from flask_babel import force_locale
from sqlalchemy import update

from bx24app.database import writing
from bx24app.messages import diagnostics as messages
from bx24app.models import Attempt, Credential, Portal, PortalState, utcnow
from bx24app.services import diagnostics
from bx24app.services.diagnostics import Finding, Level, findings
from tests.conftest import OtherApp, encryption_key
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal
from tests.fake_bitrix24.telephony import FakeLine
from tests.scenarios.test_tokens import process
from tests.support.actors import Actor
from tests.support.database import migrate
from tests.support.tables import rows_in_one_world
from tests.support.waiting import change_line, change_portal


def found(app: Flask, *, portal: bool = False) -> dict[str, Finding]:
    with app.app_context():
        listed = diagnostics.examine_portal(1) if portal else diagnostics.examine_installation()
    return {finding.check: finding for finding in listed}


def summary(app: Flask, *, portal: bool = False) -> dict[str, tuple[Level, str]]:
    return {name: (finding.level, finding.about) for name, finding in found(app, portal=portal).items()}


HEALTHY = dict.fromkeys(
    ["database", "waking", "keys", "portals", "address", "authorization", "clock"], (Level.OK, "ok")
)
FILES = {"files": (Level.OK, "ok")}
HEALTHY_PORTAL = dict.fromkeys(
    [
        "access",
        "scopes",
        "lines",
        "voices",
        "history",
        "bound",
        "rules",
        "timeline",
        "notifications",
        "to_dos",
        "country",
        "events",
        "clock",
    ],
    (Level.OK, "ok"),
)


@pytest.fixture
def healthy(app: Flask, manager: Actor, portal: FakePortal, application: FakeApp) -> Actor:
    """A portal with a country and a standby administrator, which has told us something already."""
    change_portal(app, default_country="DE")
    Actor(manager.client, portal, application, portal.add_user("Berta", "Deputy", admin=True)).opens()
    return manager


class TestInstallation:
    def test_a_healthy_one(self, app: Flask, environ: dict[str, str], manager: Actor) -> None:
        assert summary(app) == HEALTHY | (FILES if environ["BX24APP_DATABASE_URL"].startswith("sqlite") else {})

    def test_a_database_without_its_migrations(self, app: Flask, environ: dict[str, str]) -> None:
        migrate(environ, "downgrade", "head-1")
        try:
            assert summary(app)["database"] == (Level.PROBLEM, "migrations")
            assert set(summary(app)) <= {"database", "files"}
        finally:
            migrate(environ, "upgrade")

    def test_an_older_key_and_a_lost_one(self, other_app: OtherApp, environ: dict[str, str], manager: Actor) -> None:
        old, new = environ["BX24APP_ENCRYPTION_KEYS"], encryption_key()
        rotated = other_app(ENCRYPTION_KEYS=f"{new},{old}")
        assert summary(rotated)["keys"] == (Level.WARNING, "old")
        lost = other_app(ENCRYPTION_KEYS=new)
        assert summary(lost)["keys"] == (Level.PROBLEM, "lost")

    def test_our_address(self, other_app: OtherApp, portal: FakePortal) -> None:
        nobody = other_app(PUBLIC_URL="http://127.0.0.1:9")
        assert summary(nobody)["address"] == (Level.PROBLEM, "unreachable")
        another = other_app(PUBLIC_URL=portal.url)
        assert summary(another)["address"] == (Level.PROBLEM, "other")

    def test_a_certificate_that_nobody_trusts(self, other_app: OtherApp) -> None:
        with FakeBitrix24(tls=True) as secure:
            app = other_app(PUBLIC_URL=secure.auth_server.url)
            assert summary(app)["address"] == (Level.PROBLEM, "certificate")

    def test_the_authorization_server(self, other_app: OtherApp, application: FakeApp) -> None:
        wrong = other_app(CLIENT_SECRET="another")
        assert summary(wrong)["authorization"] == (Level.PROBLEM, "keys")
        nobody = other_app(AUTH_SERVER="http://127.0.0.1:9")
        assert summary(nobody)["authorization"] == (Level.PROBLEM, "unreachable")
        assert "clock" not in summary(nobody)

    @pytest.mark.parametrize(("seconds", "about"), [(-90, "behind"), (90, "ahead")])
    def test_a_clock_that_is_wrong(
        self, app: Flask, application: FakeApp, monkeypatch: pytest.MonkeyPatch, seconds: int, about: str
    ) -> None:
        monkeypatch.setattr(findings, "utcnow", lambda: utcnow() + timedelta(seconds=seconds))
        assert summary(app)["clock"] == (Level.PROBLEM, about)


Makes = Callable[[FakePortal, FakeApp], object]
ILLS: dict[str, tuple[Makes, str, tuple[Level, str]]] = {
    "a scope that was not granted": (
        lambda p, a: setattr(a, "scopes", tuple(s for s in a.scopes if s != "call")),
        "scopes",
        (Level.PROBLEM, "call"),
    ),
    "no lines": (lambda p, a: p.lines.clear(), "lines", (Level.PROBLEM, "none")),
    "no right to read lines": (lambda p, a: p.administrator.rights.clear(), "lines", (Level.PROBLEM, "refused")),
    "no right to read the history": (
        lambda p, a: p.administrator.rights.discard("statistics.view"),
        "history",
        (Level.PROBLEM, "refused"),
    ),
    "no voices": (
        lambda p, a: p.missing_methods.add("voximplant.tts.voices.get"),
        "voices",
        (Level.PROBLEM, "refused"),
    ),
    "handlers removed": (
        lambda p, a: p.bindings_of(a.client_id).events.clear(),
        "bound",
        (Level.PROBLEM, "missing"),
    ),
    "placements that cannot be read": (
        lambda p, a: p.missing_methods.add("placement.get"),
        "bound",
        (Level.PROBLEM, "refused"),
    ),
    "an hour ahead of us": (lambda p, a: p.cloud.clock.advance(3000), "clock", (Level.PROBLEM, "behind")),
    "no clock": (lambda p, a: p.missing_methods.add("server.time"), "clock", (Level.WARNING, "unknown")),
    "silent": (lambda p, a: p.faults.add("html_502", "batch"), "portal", (Level.PROBLEM, "silent")),
    "not paid": (lambda p, a: setattr(p, "paid", False), "portal", (Level.PROBLEM, "silent")),
}


class TestPortal:
    def test_a_healthy_one(self, app: Flask, healthy: Actor, portal: FakePortal) -> None:
        asked = len(portal.requests)
        assert summary(app, portal=True) == HEALTHY_PORTAL
        assert len(portal.requests) == asked + 1

    @pytest.mark.parametrize("ill", ILLS)
    def test_an_ill_one(self, app: Flask, healthy: Actor, portal: FakePortal, application: FakeApp, ill: str) -> None:
        make, check, expected = ILLS[ill]
        make(portal, application)
        assert summary(app, portal=True)[check] == expected

    @pytest.mark.parametrize(
        ("values", "check", "expected"),
        [
            ({"default_line_id": "sip99"}, "lines", (Level.WARNING, "default")),
            ({"default_voice_id": "klingon"}, "voices", (Level.WARNING, "default")),
            ({"default_country": None}, "country", (Level.WARNING, "unknown")),
            ({"event_at": None}, "events", (Level.WARNING, "never")),
            ({"state": PortalState.UNPAID}, "portal", (Level.PROBLEM, "unpaid")),
            ({"state": PortalState.UNINSTALLED}, "portal", (Level.PROBLEM, "uninstalled")),
        ],
    )
    def test_what_we_know_ourselves(
        self, app: Flask, healthy: Actor, values: dict[str, object], check: str, expected: tuple[Level, str]
    ) -> None:
        change_portal(app, **values)
        assert summary(app, portal=True)[check] == expected

    def test_lines_of_other_telephony_apps_alone(self, app: Flask, healthy: Actor) -> None:
        for line_id in ("reg150907", "sip7"):
            change_line(app, line_id, is_foreign=True)
        assert summary(app, portal=True)["lines"] == (Level.WARNING, "foreign")

    def test_administrators(self, app: Flask, manager: Actor, portal: FakePortal) -> None:
        assert summary(app, portal=True)["access"] == (Level.WARNING, "alone")
        portal.administrator.dismissed = True
        manager.asks("GET", "/lines?refresh=1")
        assert summary(app, portal=True) == {"access": (Level.PROBLEM, "disconnected")}

    def test_calls_without_news(self, app: Flask, healthy: Actor, portal: FakePortal) -> None:
        healthy.requests_callback()
        process(app)
        portal.events.wait_until_idle()  # That the call has begun.
        with app.app_context(), writing() as session:
            session.execute(update(Attempt).values(started_at=utcnow() - timedelta(hours=1)))
            session.execute(update(Portal).values(event_at=utcnow() - timedelta(days=2)))
        assert summary(app, portal=True)["events"] == (Level.PROBLEM, "silent")

    def test_a_line_added_since_counts(self, app: Flask, healthy: Actor, portal: FakePortal) -> None:
        portal.lines["sip8"] = FakeLine("New")
        assert found(app, portal=True)["lines"].facts == {"count": "3"}


class Facts(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return f"<{key}>"


@rows_in_one_world("key", messages.SENTENCES)
def test_everything_found_has_words_and_what_administrators_read_has_them_in_both_languages(
    app: Flask, key: tuple[str, str]
) -> None:
    facts: Mapping[str, str] = Facts(day="2026-12-25", count="2")
    level = Level.OK if key[1] == "ok" else Level.PROBLEM
    told = {}
    with app.test_request_context():
        for language in ("en", "ru"):
            with force_locale(language):
                [told[language]] = messages.describe([Finding(key[0], level, key[1], facts)])
    english, russian = told["en"], told["ru"]
    assert english.sentence
    assert bool(english.mend) == bool(russian.mend)
    if key in messages.PORTAL_SENTENCES:
        assert english.sentence != russian.sentence
        assert not english.mend or english.mend != russian.mend


def test_the_command_says_it_and_its_status_tells_programs(
    app: Flask, healthy: Actor, portal: FakePortal, caplog: pytest.LogCaptureFixture
) -> None:
    run = app.test_cli_runner().invoke
    well = run(args=["doctor"])
    assert (well.exit_code, "Answers; its migrations are up to date" in well.output) == (0, True)
    portal.lines.clear()
    ill = run(args=["doctor", portal.member_id])
    assert ill.exit_code == 1
    assert "This Bitrix24 has no telephone line." in ill.output
    assert "-> Rent a number or connect a PBX" in ill.output
    document = json.loads(run(args=["doctor", portal.member_id, "--json"]).output)
    assert document["ok"] is False
    [lines] = [one for one in document["findings"] if one["check"] == "lines"]
    assert lines["level"] == "problem"
    assert lines["mend"]
    unknown = run(args=["doctor", "0" * 32])
    assert (unknown.exit_code, "has ever installed the app" in unknown.output) == (1, True)


def test_the_words_of_a_portal_do_not_steer_the_terminal(
    app: Flask, healthy: Actor, portal: FakePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are printed where an operator works, with all rights."""
    words = "no\x1b]0;title\x07 \x9b2K \u202egnp.exe \x1b[31m"
    denied = Finding("bound", Level.WARNING, "denied", {"what": "CALL_CARD", "words": words})
    monkeypatch.setattr(diagnostics, "examine_portal", lambda _: [denied])
    told = app.test_cli_runner().invoke(args=["doctor", portal.member_id], color=True)
    assert "title" in told.output
    assert all(line.isprintable() for line in told.output.splitlines()), ascii(told.output)


def test_a_key_that_is_missing_is_said(app: Flask, healthy: Actor, portal: FakePortal) -> None:
    with app.app_context(), writing() as session:
        session.execute(update(Credential).values(access_token_sealed="00000000." + "x" * 60))
    told = app.test_cli_runner().invoke(args=["doctor", portal.member_id])
    assert (told.exit_code, "is not in BX24APP_ENCRYPTION_KEYS" in told.output) == (1, True), told.output


def test_only_administrators_see_it(administrator: Actor, manager: Actor) -> None:
    administrator.opens()
    for path in ("/desk/check", "/desk/requests"):
        headers = {"Authorization": f"Bearer {manager.ticket}"}
        assert manager.client.get(path, headers=headers).status_code == 403
        assert manager.client.get(path).status_code == 401
        headers = {"Authorization": f"Bearer {administrator.ticket}"}
        assert administrator.client.get(path, headers=headers).status_code == 200
