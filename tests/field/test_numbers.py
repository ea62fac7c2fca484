"""The table of typed numbers at every door: cards, desk, API, keys, websites, automation rules, do-not-call list."""

import csv
import io
import re
from collections.abc import Iterable
from itertools import groupby
from typing import Any
from urllib.parse import quote_plus

import phonenumbers
import pytest
from babel import Locale
from flask import Flask
from sqlalchemy import delete, select
from werkzeug.datastructures import MultiDict
from werkzeug.test import TestResponse

from bx24app.bitrix24.crm import MAX_PHONES
from bx24app.bitrix24.frame_post import read_frame_post
from bx24app.database import reading, writing
from bx24app.messages.reasons import reason_sentence
from bx24app.models import Callback, DoNotCall, RuleRun, TokenBucket
from bx24app.services.callbacks.desk import read_customer
from bx24app.services.calling.countries import with_territories
from bx24app.services.calling.list_file import SEPARATORS
from bx24app.services.calling.numbering_plans import OBSOLETE
from bx24app.services.calling.phone_numbers import NumberProblem, read_number
from bx24app.services.portals.launch import verify_launch
from tests.fake_bitrix24 import FakePortal
from tests.field.numbers import TABLE, TABLES, Typed
from tests.support.actors import Actor, json_of
from tests.support.rule_steps import LINE, WAITS, Runs, runs_of, worked
from tests.support.waiting import change_portal
from tests.support.websites import BackEnd, MakeVisitor

WIDE = {"address_hour": 10_000, "number_day": 1_000, "form_hour": 10_000, "form_day": 10_000}
PROBLEMS = frozenset(NumberProblem)


EACH_TABLE = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)


def by_country(rows: Iterable[Typed] = TABLE) -> list[tuple[str | None, list[Typed]]]:
    """The table, all rows of a country together."""
    sorted_rows = sorted(rows, key=lambda row: row.country or "")
    return [(country, list(group)) for country, group in groupby(sorted_rows, key=lambda row: row.country)]


def batched(rows: list[Typed], size: int) -> list[list[Typed]]:
    return [rows[begin : begin + size] for begin in range(0, len(rows), size)]


def forget(app: Flask) -> str | None:
    """The number of the callback that was accepted last, which is removed, so that it holds its number no longer."""
    with app.app_context(), writing() as session:
        number = session.scalar(select(Callback.to_number).order_by(Callback.created_at.desc()).limit(1))
        session.execute(delete(Callback))
        return number


def refusal(response: TestResponse) -> tuple[int, str, str]:
    problem = json_of(response)
    return response.status_code, problem["code"], problem["detail"]


def refused_as(row: Typed) -> tuple[int, str, str]:
    """How staff are told of a row that is no number to dial."""
    if row.right == NumberProblem.COSTLY:
        return 422, "number_not_allowed", reason_sentence("number_not_allowed")
    return 422, "invalid_number", reason_sentence(f"number_{row.right}")


def notices_of(row: Typed) -> list[str]:
    """What staff are told of a number that is dialled."""
    notices = [f"This is a number of {Locale('en').territories[row.abroad]}."] if row.abroad else []
    told = f"The extension {row.extension} is not called: only the main number is."
    return [*notices, told] if row.extension else notices


def test_the_table_is_large_and_says_what_is_right() -> None:
    assert len(TABLE) >= 200
    assert len({(row.typed, row.country) for row in TABLE}) == len(TABLE)
    assert len({row.country for row in TABLE}) >= 25
    assert {row.right for row in TABLE if row.right in PROBLEMS} == PROBLEMS - {NumberProblem.LONG}
    for row in TABLE:
        if row.right not in PROBLEMS:
            number = phonenumbers.parse(row.right)
            assert phonenumbers.is_valid_number(number), row
            region = phonenumbers.region_code_for_number(number)
            assert row.abroad == ("" if row.country and region in with_territories(row.country) else region), row


def test_the_reader() -> None:
    wrong = []
    for row in TABLE:
        read = read_number(row.typed, row.country)
        got = read.problem or read.e164
        if got != row.right or (read.can_be_dialled and read.extension != row.extension):
            wrong.append((row, read))
    assert wrong == []


def test_a_number_that_is_written_in_full_is_itself_in_every_country() -> None:
    homes = [None, *sorted({row.country for row in TABLE if row.country})]
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        number = phonenumbers.example_number(region)
        assert number is not None
        e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
        shown = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
        for home in homes:
            assert {read_number(text, home).e164 for text in (e164, shown)} == {e164}, home


def test_a_text_that_was_cut_is_no_number() -> None:
    assert read_number("030 901820" + " privat" * 40, "DE").problem == NumberProblem.LONG
    assert all(form.source for form in OBSOLETE)


@EACH_TABLE
def test_staff_who_type_it(app: Flask, manager: Actor, table: tuple[Typed, ...]) -> None:
    wrong = []
    for country, rows in by_country(table):
        change_portal(app, default_country=country)
        for row in rows:
            answer = manager.requests_callback(row.typed)
            shown = manager.asks("POST", "/numbers/read", {"number": row.typed})
            read = json_of(shown)
            if row.right in PROBLEMS:
                expected: tuple[Any, ...] = refused_as(row)
                got: tuple[Any, ...] = refusal(answer)
                well = read["problem"] == expected[2] and read["number"] is None
            else:
                expected = (201, row.right, notices_of(row))
                got = (answer.status_code, json_of(answer).get("to_number"), json_of(answer).get("notices"))
                well = (read["number"], read["notices"], read["problem"]) == (row.right, notices_of(row), None)
            forget(app)
            if got != expected or not well:
                wrong.append((row, got, read))
    assert wrong == []


def test_cards_that_keep_it(app: Flask, manager: Actor, portal: FakePortal) -> None:
    for country, all_rows in by_country():
        change_portal(app, default_country=country)
        # A portal's answers hold no null: the client leaves it out.
        for rows in batched([row for row in all_rows if row.typed.strip() and "\0" not in row.typed], MAX_PHONES):
            lead = portal.crm.add_lead("Field", "Anna", [row.typed for row in rows])
            post = manager.launches("CRM_LEAD_DETAIL_TAB", ID=str(lead))
            with app.app_context():
                customer = read_customer(
                    verify_launch(read_frame_post(MultiDict(post.query), MultiDict(post.form)), "")
                )
            assert customer is not None
            assert customer.problem is None
            offered = {number.e164 for number in customer.numbers}
            unusable = {number.text: number.number.problem for number in customer.unusable}
            assert offered == {row.right for row in rows} - PROBLEMS
            assert unusable == {row.typed: row.right for row in rows if row.right in PROBLEMS}
            extensions = {(row.typed, row.right): row.extension for row in rows}
            for number in customer.numbers:
                assert extensions[number.text, number.e164] == number.number.extension


def test_the_page_of_a_card_says_what_is_left_out(app: Flask, manager: Actor, portal: FakePortal) -> None:
    change_portal(app, default_country="RU")
    kept = ["+78129990000#4048", "+53 5 2345678", "8 495 123-45-67, 8 916 123-45-67", "8 954 123-45-67"]
    page = manager.opens("CRM_LEAD_DETAIL_TAB", ID=str(portal.crm.add_lead("Field", "Anna", kept))).text
    assert "The extension 4048 is not called" in page
    assert "This is a number of Cuba." in page
    assert "There is more than one number." in page
    assert "“8 954 123-45-67”: Premium" in page
    one = manager.opens("CRM_LEAD_DETAIL_TAB", ID=str(portal.crm.add_lead("Field", "Anna", kept[:1]))).text
    assert 'value="+7 812 999-00-00"' in one
    assert "The extension 4048 is not called" in one


@EACH_TABLE
def test_visitors_of_a_website(app: Flask, visitor_of: MakeVisitor, table: tuple[Typed, ...]) -> None:
    wrong = []
    for country, rows in by_country(table):
        if country is None:
            continue  # Such a form takes nothing: test_form_countries.py.
        visitor = visitor_of(default_country=country, limits=WIDE)
        for row in rows:
            answer = visitor.asks(row.typed)
            if problem := public_problem(row, answer, app, 202):
                wrong.append(problem)
    assert wrong == []


@EACH_TABLE
def test_servers_of_a_website(app: Flask, desk: Actor, visitor_of: MakeVisitor, table: tuple[Typed, ...]) -> None:
    wrong = []
    for country, rows in by_country(table):
        if country is None:
            continue
        key = visitor_of(default_country=country, limits=WIDE).form_key
        back_end = BackEnd(desk.client, json_of(desk.asks("POST", "/api-keys", {"form_key": key, "name": "Shop"})))
        for row in rows:
            answer = back_end.requests_callback(row.typed)
            with app.app_context(), writing() as session:
                # A key has 120 requests a minute.
                session.execute(delete(TokenBucket))
            if problem := public_problem(row, answer, app, 201):
                wrong.append(problem)
    assert wrong == []


@pytest.mark.long
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@EACH_TABLE
def test_rules_of_automation(app: Flask, registered: FakePortal, runs: Runs, table: tuple[Typed, ...]) -> None:
    registered.rest.bucket.enabled = False
    document = f"LEAD_{registered.crm.add_lead('Field', 'Anna', [])}"
    wrong = []
    for country, rows in by_country(table):
        change_portal(app, default_country=country)
        # Texts of a portal hold no null.
        for row in (row for row in rows if "\0" not in row.typed):
            runs(WAITS, document, line=LINE, number=row.typed)
            worked(app)
            reasons = [run.reason for run in runs_of(app)]
            with app.app_context(), writing() as session:
                # A person has 500 runs a day.
                session.execute(delete(RuleRun))
                session.execute(delete(TokenBucket))
            if (dialled := forget(app)) != called_by_rule(row) or (dialled is None) != any(reasons):
                wrong.append((row, dialled, reasons))
    assert wrong == []


def called_by_rule(row: Typed) -> str | None:
    """A field may have several numbers: a rule, which can ask nobody, takes the first that can be called."""
    if row.right == NumberProblem.SEVERAL:
        parts = (read_number(part, row.country) for part in re.split("[,;\n]", row.typed))
        return next((part.e164 for part in parts if part.can_be_dialled), None)
    return None if row.right in PROBLEMS or not row.typed.strip() else row.right


def public_problem(row: Typed, answer: TestResponse, app: Flask, accepted: int) -> object:
    """What is wrong with the answer to the public; None: nothing."""
    dialled = forget(app)
    if row.right in PROBLEMS and row.right != NumberProblem.COSTLY:
        good = refusal(answer) == (422, "invalid_number", reason_sentence(f"number_{row.right}")) and dialled is None
    elif row.abroad or row.right == NumberProblem.COSTLY:
        good = refusal(answer)[:2] == (422, "number_not_allowed") and dialled is None
    else:
        good = (answer.status_code, dialled, json_of(answer).get("notices", [])) == (
            accepted,
            row.right,
            notices_of(row),
        )
    return None if good else (row, dialled, answer.text)


@pytest.mark.parametrize(
    ("raw", "countries", "dialled"),
    [
        ("+79161234567", ["DE", "RU"], "+79161234567"),
        ("+79161234567", [], None),
        ("+4930901820", [], "+4930901820"),
        ("+49+30+901820", [], "+4930901820"),
        (quote_plus("+4930901820"), [], "+4930901820"),
        ("+33142685300", ["DE", "FR"], "+33142685300"),
        ("030+901820", [], "+4930901820"),
    ],
)
def test_a_form_that_was_sent_with_its_plus_unescaped(
    app: Flask, visitor_of: MakeVisitor, raw: str, countries: list[str], dialled: str | None
) -> None:
    visitor = visitor_of(allowed_countries=countries)
    answer = visitor.client.post(
        f"/w/{visitor.form_key}/callbacks",
        data=f"number={raw}&altcha={quote_plus(visitor.works())}",
        headers={"Origin": visitor.origin, "Accept": "application/json"},
        content_type="application/x-www-form-urlencoded",
    )
    assert answer.status_code == (202 if dialled else 422), answer.text
    assert forget(app) == dialled


@EACH_TABLE
def test_the_do_not_call_list(app: Flask, desk: Actor, table: tuple[Typed, ...]) -> None:
    wrong = []
    for country, rows in by_country(table):
        change_portal(app, default_country=country)
        for row in rows:
            answer = desk.asks("POST", "/do-not-call", {"number": row.typed})
            expected = listed_as(row)
            if expected is None:
                good = refusal(answer) == refused_as(row)
            else:
                good = answer.status_code in (200, 201) and json_of(answer)["number"] == expected
            if not good:
                wrong.append((row, answer.text))
    assert wrong == []


def listed_as(row: Typed) -> str | None:
    """The number that is listed; one that is never dialled may be listed all the same."""
    if row.right == NumberProblem.COSTLY:
        return read_number(row.typed, row.country).e164
    return None if row.right in PROBLEMS else row.right


def test_whole_lists(app: Flask, desk: Actor) -> None:
    for country, all_rows in by_country():
        # A list has one number a line, and spaces around a cell say nothing.
        rows = [row for row in all_rows if row.typed == row.typed.strip(" ") != "" and len(row.typed.splitlines()) == 1]
        # What stands after a separator of cells is a note, also where a spreadsheet kept the line as one cell.
        # A null is left out of a file: some programs write two bytes for each letter.
        rows = [row for row in rows if not {*SEPARATORS, "\0"} & set(row.typed)]
        change_portal(app, default_country=country)
        with app.app_context(), writing() as session:
            session.execute(delete(DoNotCall))
        out = io.StringIO()
        csv.writer(out, delimiter=";", quoting=csv.QUOTE_ALL).writerows([row.typed, "note"] for row in rows)
        headers = {"Authorization": f"Bearer {desk.ticket}", "Content-Type": "text/csv"}
        report = json_of(
            desk.client.post("/api/v1/do-not-call/import", data="number;note\n" + out.getvalue(), headers=headers)
        )
        lines = report["lines"][1:]
        wrong = []
        for row, line in zip(rows, lines, strict=True):
            told = None if listed_as(row) else refused_as(row)[2]
            if (line["outcome"] in ("added", "known"), line["reason"]) != (told is None, told):
                wrong.append((row, line))
        assert not wrong, wrong
        with app.app_context(), reading() as session:
            assert set(session.scalars(select(DoNotCall.number))) == {listed_as(row) for row in rows} - {None}
