"""A number is found with all that is kept about it, and erased so that the whole database does not know it any more."""

import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
from flask import Flask
from sqlalchemy import MetaData, select, text

from bx24app.database import db, reading, writing
from bx24app.database.wal import empty_wal
from bx24app.models import Callback, Form, Portal, State, Webhook, utcnow
from bx24app.services import privacy
from bx24app.services.callbacks import change
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.request import AcceptedCallback, accept_callback
from tests.fake_bitrix24 import FakeBitrix24, FakePortal
from tests.support.actors import CUSTOMER, Actor, json_of
from tests.support.operating import Operate, operate, programs
from tests.support.waiting import accept, change_portal, follow_calls, work
from tests.support.websites import MakeVisitor

__all__ = ["operate", "programs"]

DIGITS = "4930901820"
OTHER = "+4930901821"


def mentions(app: Flask) -> list[str]:
    """The tables that hold the digits of the number, forwards or from the back, in whatever column."""
    metadata, found = MetaData(), []
    with app.app_context(), db.engine.connect() as connection:
        metadata.reflect(connection)
        for table in metadata.sorted_tables:
            for row in connection.execute(select(table)):
                written = repr(tuple(row))
                if DIGITS in written or DIGITS[::-1] in written:
                    found.append(table.name)
    return found


@pytest.fixture
def known(app: Flask, administrator: Actor, visitor_of: MakeVisitor, portal: FakePortal) -> Actor:
    """A customer was called, asked on a website, twice too often, and is listed; another customer is there too.

    Beside that deliveries about the customer wait.
    """
    visitor = visitor_of(limits={"number_day": 1})
    assert [visitor.asks(CUSTOMER, name="Clara").status_code for _ in range(2)] == [202, 202]
    with app.app_context(), writing() as session:
        form = session.query(Form).one()
        session.add(Webhook(portal_id=form.portal_id, form_id=form.id, url="https://example.com", secret_sealed=""))
    work(app)
    portal.telephony.calls[0].hang_up()
    follow_calls(app, portal)
    for number in (CUSTOMER, OTHER):
        administrator.requests_callback(number, customer_name="Clara")
    work(app)
    for call in portal.telephony.calls:
        call.hang_up()
    follow_calls(app, portal)
    administrator.asks("POST", "/do-not-call", {"number": CUSTOMER, "note": "asked by Clara"})
    return administrator


def test_no_filter_and_no_desk_keeps_a_number(app: Flask, administrator: Actor, manager: Actor) -> None:
    administrator.opens()
    wanted = {"quick": "all", "q": DIGITS}
    assert administrator.asks("POST", "/me/filters", {"name": "Clara", "filters": wanted}).status_code == 400
    assert administrator.asks("PUT", "/me/desk", {"view": "callbacks", "filters": wanted}).status_code == 400
    assert mentions(app) == []


@pytest.mark.parametrize("is_free", [False, True])
def test_an_unknown_outcome_is_kept_as_long_as_it_holds_the_number(
    app: Flask, manager: Actor, administrator: Actor, portal: FakePortal, is_free: bool
) -> None:
    administrator.opens()
    portal.faults.add("drop_before", "voximplant.callback.start")
    administrator.requests_callback()
    work(app)
    with app.app_context(), writing() as session:
        lost = session.query(Callback).one()
        assert (lost.state, lost.holds_number) == (State.UNKNOWN, True)
        if is_free:
            lost.free_number(utcnow())
    erased = administrator.asks("POST", "/erase", {"number": CUSTOMER, "confirm": CUSTOMER})
    assert (erased.status_code, mentions(app)) == ((200, []) if is_free else (409, ["callback", "attempt"]))


def test_a_number_is_found_with_all_that_is_kept_and_erased_whole(app: Flask, known: Actor) -> None:
    found = json_of(known.asks("POST", "/export", {"number": CUSTOMER}))
    counts = {"callbacks": 2, "attempts": 2, "website_requests": 1, "rejections": 1, "do_not_call": 1}
    assert found["number"] == CUSTOMER
    assert found["counts"] | counts == found["counts"]
    assert found["counts"]["deliveries"] > 0
    assert found["counts"]["call_reports"] > 0
    assert found["rows"]["callbacks"][0]["customer_name"] == "Clara"
    assert not any("digest" in name for rows in found["rows"].values() for row in rows for name in row)
    assert set(mentions(app)) >= {"callback", "attempt", "do_not_call"}
    # A slip of the hand erases nothing.
    wrong = known.asks("POST", "/erase", {"number": CUSTOMER, "confirm": OTHER})
    assert (wrong.status_code, json_of(wrong)["errors"][0]["field"]) == (400, "confirm")
    assert known.asks("POST", "/erase", {"number": "hello", "confirm": "hello"}).status_code == 422
    erased = known.asks("POST", "/erase", {"number": CUSTOMER, "confirm": "+49 30 901820"})
    assert (erased.status_code, json_of(erased)["counts"]) == (200, found["counts"])
    assert mentions(app) == []
    # Also where only its digest stands; it stays one that is never called, and the other customer is there as before.
    left = json_of(known.asks("POST", "/export", {"number": CUSTOMER}))["counts"]
    assert {name for name, count in left.items() if count} == {"do_not_call"}
    assert known.asks("POST", "/do-not-call", {"number": CUSTOMER}).status_code == 200
    assert json_of(known.asks("POST", "/export", {"number": OTHER}))["counts"]["callbacks"] == 1
    entry = json_of(known.asks("GET", "/audit?page=privacy"))["entries"][0]
    assert entry["changes"] == [{"field": "rows_erased", "old": "0", "new": str(sum(found["counts"].values()))}]


def test_nothing_is_erased_while_a_phone_may_ring(app: Flask, manager: Actor, administrator: Actor) -> None:
    administrator.opens()
    callback = json_of(administrator.requests_callback())
    work(app)
    erased = administrator.asks("POST", "/erase", {"number": CUSTOMER, "confirm": CUSTOMER})
    assert (erased.status_code, json_of(erased)["id"]) == (409, callback["id"])
    assert "callback" in mentions(app)


def test_one_number_of_a_portal_is_erased_at_once_and_few_a_minute(
    app: Flask, administrator: Actor, manager: Actor
) -> None:
    administrator.opens()
    body = {"number": CUSTOMER, "confirm": CUSTOMER}
    with app.app_context(), reading() as session:
        portal_id = session.query(Portal).one().id
    with app.app_context(), privacy.erasure_turn(portal_id, None):
        refused = administrator.asks("POST", "/erase", body)
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "2")
        assert "Another number is being erased" in json_of(refused)["detail"]
        # Looking for one takes as long: what a flood of refusals has left is looked through.
        sought = administrator.asks("POST", "/export", {"number": CUSTOMER})
        assert (sought.status_code, sought.headers["Retry-After"]) == (429, "2")
    answers = [administrator.asks("POST", "/erase", body) for _ in range(int(privacy.ERASURES.size) + 1)]
    assert [answer.status_code for answer in answers] == [200] * int(privacy.ERASURES.size) + [429]
    assert answers[-1].headers["Retry-After"] == "6"
    manager.opens()
    # The operator is kept from nothing.
    assert app.test_cli_runner().invoke(args=["erase", CUSTOMER, "--yes"]).exit_code == 0


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_an_erasure_waits_for_the_worker_that_counts(app: Flask, administrator: Actor, manager: Actor) -> None:
    administrator.opens()
    administrator.requests_callback()
    with app.app_context():
        engine = db.engine

    def count_for(seconds: float, has_begun: Event) -> None:
        with engine.connect() as worker, worker.begin():
            worker.execute(text("SELECT 1 FROM portal_settings FOR UPDATE"))
            has_begun.set()
            time.sleep(seconds)

    with ThreadPoolExecutor(1) as threads:
        threads.submit(count_for, 2.0, has_begun := Event())
        has_begun.wait()
        erased = administrator.asks("POST", "/erase", {"number": CUSTOMER, "confirm": CUSTOMER})
    assert (erased.status_code, mentions(app)) == (200, [])


def test_another_portal_knows_and_loses_nothing(app: Flask, known: Actor, fake: FakeBitrix24) -> None:
    other = fake.add_portal("beta")
    stranger = Actor(known.client, other, known.application, other.administrator)
    stranger.installs()
    assert sum(json_of(stranger.asks("POST", "/export", {"number": CUSTOMER}))["counts"].values()) == 0
    stranger.asks("POST", "/erase", {"number": CUSTOMER, "confirm": CUSTOMER})
    assert "callback" in mentions(app)


def test_the_operator_s_commands_tell_and_erase_in_every_portal(
    app: Flask, known: Actor, fake: FakeBitrix24, portal: FakePortal
) -> None:
    neighbour = Actor(known.client, other := fake.add_portal("beta"), known.application, other.administrator)
    neighbour.installs()
    neighbour.opens()
    assert neighbour.requests_callback(CUSTOMER).status_code == 201
    run = app.test_cli_runner().invoke
    done = run(args=["export", "-"], input=f"{CUSTOMER}\n")
    assert done.exit_code == 0, (done.output, done.exception)
    told = json.loads(done.output)["portals"]
    assert [one["member_id"] for one in told] == [portal.member_id, other.member_id]
    assert told[0]["counts"]["callbacks"] == len(told[0]["rows"]["callbacks"]) == 2
    assert not any(
        "digest" in column for one in told for rows in one["rows"].values() for row in rows for column in row
    )
    # National numbers are read as those of a portal; without one nobody knows the country.
    change_portal(app, default_country="DE")
    assert len(json.loads(run(args=["export", "030 901820", "--portal", portal.member_id]).output)["portals"]) == 1
    for wrong in (["030 901820"], ["no number"], [""], [CUSTOMER, "--portal", "0" * 32]):
        for command in (["export"], ["erase", "--yes"]):
            done = run(args=[*command, *wrong])
            assert (done.exit_code, done.output.startswith("Error: ")) == (1, True), wrong
    # Nobody is sure: nothing is done. A phone may ring: the others are done.
    assert run(args=["erase", CUSTOMER], input="n\n").exit_code == 1
    with app.app_context(), writing() as session:
        ringing = session.query(Callback).filter(Callback.state == State.QUEUED).one()
        ringing.state, ringing.holds_number = State.DIALLING, True
    left = run(args=["erase", CUSTOMER, "--yes"])
    assert (left.exit_code, "a phone may be ringing" in left.output) == (1, True)
    with app.app_context(), writing() as session:
        session.query(Callback).filter(Callback.state == State.DIALLING).one().state = State.FAILED
    done = run(args=["erase", CUSTOMER, "--yes"])
    assert (done.exit_code, "Erased." in done.output) == (0, True), done.output
    assert mentions(app) == []
    # On a do-not-call list its digest stays.
    kept = json.loads(run(args=["export", CUSTOMER]).output)["portals"]
    assert [{name: count for name, count in one["counts"].items() if count} for one in kept] == [{"do_not_call": 1}]
    nothing = run(args=["erase", CUSTOMER, "--portal", other.member_id])
    assert nothing.output == "Nothing is kept about this number.\n"


def stored_bytes(backup: Path) -> bytes:
    """All that a backup holds, also what is not reachable any more."""
    content = backup.read_bytes()
    if content.startswith(b"PGDMP"):
        script = subprocess.run(["pg_restore", "--file=-", backup], capture_output=True, check=True)
        return script.stdout
    return content


def test_a_backup_made_after_it_and_no_log_hold_an_erased_number(
    app: Flask, known: Actor, operate: Operate, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    known.asks("POST", "/export", {"number": CUSTOMER})
    operate("backup", before := tmp_path / "before")
    assert DIGITS.encode() in stored_bytes(before)
    # Enough rows of others that pages are split, joined and used again.
    for number in range(40):
        accept(app, to_number=f"+49309019{number:02}", customer_name=f"Customer {number}")
    operate("erase", CUSTOMER, "--yes")
    operate("backup", after := tmp_path / "after")
    left = stored_bytes(after)
    assert OTHER.lstrip("+").encode() in left
    for written in (DIGITS, DIGITS[::-1], "asked by Clara"):
        assert written.encode() not in left
    told = [repr(record.msg) for phase in ("setup", "call") for record in caplog.get_records(phase)]
    assert any("'event': 'dialled'" in line for line in told)
    assert [line for line in told if DIGITS in line or DIGITS[::-1] in line] == []


def test_what_is_tried_again_while_it_is_erased_does_not_come_back(
    app: Flask, manager: Actor, administrator: Actor, portal: FakePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    administrator.opens()
    id = json_of(administrator.requests_callback(CUSTOMER, customer_name="Clara"))["id"]
    work(app)
    portal.telephony.calls[0].manager_refuses()
    follow_calls(app, portal)
    accepting = accept_callback

    def erased_first(principal: Principal, callback: Callback) -> AcceptedCallback:
        privacy.erase_number(principal.portal, CUSTOMER, CUSTOMER, principal.user_id)
        return accepting(principal, callback)

    monkeypatch.setattr(change, "accept_callback", erased_first)
    assert administrator.asks("POST", f"/callbacks/{id}/retry").status_code == 404
    assert mentions(app) == []


def test_what_was_erased_is_not_left_in_the_log_of_the_file(
    app: Flask, manager: Actor, administrator: Actor, database_url: str, portal: FakePortal
) -> None:
    if not database_url.startswith("sqlite"):
        return  # That log is the operator's.
    files = [Path(f"{database_url.removeprefix('sqlite:///')}{suffix}") for suffix in ("", "-wal")]
    administrator.opens()
    administrator.requests_callback(CUSTOMER, customer_name="Clara")
    assert any(DIGITS.encode() in file.read_bytes() for file in files)
    work(app)
    portal.telephony.calls[0].manager_refuses()
    follow_calls(app, portal)
    erased = administrator.asks("POST", "/erase", {"number": CUSTOMER, "confirm": CUSTOMER})
    assert erased.status_code == 200, erased.text
    for file in files:
        assert DIGITS.encode() not in file.read_bytes(), file.name


def test_who_reads_an_older_state_keeps_the_log_and_nobody_waiting(
    app: Flask, manager: Actor, database_url: str
) -> None:
    if not database_url.startswith("sqlite"):
        return
    with app.app_context():
        with reading() as session:
            session.scalar(select(Callback.id))
            with ThreadPoolExecutor(1) as other:
                other.submit(accept, app, to_number=OTHER).result()
                assert other.submit(emptied, app).result() is False
        assert emptied(app) is True


def emptied(app: Flask) -> bool:
    with app.app_context():
        return empty_wal()
