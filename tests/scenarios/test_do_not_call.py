"""The do-not-call list: adding, removing, whole lists in and out, and what is left of it after the app is removed."""

import csv
import io
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update

from bx24app.database import reading, writing
from bx24app.models import ApiKey, Callback, DecoyRequest, DoNotCall, Form, Rejection, WebsiteRequest
from bx24app.services.portals import uninstall
from bx24app.web.api.do_not_call import lists_at_once
from tests.fake_bitrix24 import FakeApp, FakePortal
from tests.support.actors import CUSTOMER, Actor, json_of
from tests.support.tables import rows_in_one_world
from tests.support.visitors import Visitor


def rows(app: Flask, model: type[Any]) -> list[Any]:
    with app.app_context(), reading() as session:
        return list(session.scalars(select(model)))


def take_in(desk: Actor, text: str | bytes) -> dict[str, object]:
    headers = {"Authorization": f"Bearer {desk.ticket}", "Content-Type": "text/csv"}
    response = desk.client.post("/api/v1/do-not-call/import", data=text, headers=headers)
    assert response.status_code == 200, response.text
    return json_of(response)


def test_a_number_is_listed_once_and_taken_off_again(app: Flask, desk: Actor, visitor: Visitor) -> None:
    desk.asks("PATCH", "/settings", {"default_country": "DE"})
    first = desk.asks("POST", "/do-not-call", {"number": "030 / 90 18 20", "note": "asked us to"})
    again = desk.asks("POST", "/do-not-call", {"number": "+4930901820"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert json_of(first)["id"] == json_of(again)["id"]
    [row] = json_of(desk.asks("GET", "/do-not-call"))["numbers"]
    assert (row["number"], row["note"], row["added_by"]) == (CUSTOMER, "asked us to", desk.user.id)
    assert (visitor.asks().status_code, rows(app, Callback)) == (202, [])
    assert desk.asks("DELETE", f"/do-not-call/{row['id']}").status_code == 204
    assert visitor.asks().status_code == 202
    assert len(rows(app, Callback)) == 1
    assert desk.asks("DELETE", f"/do-not-call/{row['id']}").status_code == 404


def test_an_operator_adds_numbers_and_neither_reads_nor_removes_them(desk: Actor, manager: Actor) -> None:
    desk.asks("POST", "/do-not-call", {"number": CUSTOMER, "note": "said so angrily"})
    known, new = (
        manager.asks("POST", "/do-not-call", {"number": n, "note": "mine"}) for n in (CUSTOMER, "+4930901821")
    )
    assert (known.status_code, json_of(known)["note"]) == (200, None)
    assert (new.status_code, json_of(new)["note"], json_of(new)["added_by"]) == (201, "mine", manager.user.id)
    assert json_of(desk.asks("POST", "/do-not-call", {"number": CUSTOMER}))["note"] == "said so angrily"
    number_id = json_of(new)["id"]
    for method, path in (("GET", ""), ("DELETE", f"/{number_id}"), ("POST", "/import"), ("GET", "/export")):
        assert manager.asks(method, f"/do-not-call{path}").status_code == 403, (method, path)
    assert len(json_of(desk.asks("GET", "/do-not-call"))["numbers"]) == 2


@rows_in_one_world("number", ["", "12", "abc", "+49 900", "9" * 30])
def test_what_is_no_number_is_not_listed(desk: Actor, number: str) -> None:
    response = desk.asks("POST", "/do-not-call", {"number": number})
    assert (response.status_code, json_of(response)["code"]) == (422, "invalid_number")


def test_a_list_is_taken_in_with_a_report_on_every_line(desk: Actor) -> None:
    text = (
        '\ufeffnumber;note\n+4930901820;Anna\n\'+4930901820\n030 901821\tBert\n\nnot a number\n+1 212 555 0146,"a, b"\n'
    )
    desk.asks("PATCH", "/settings", {"default_country": "DE"})
    report = take_in(desk, text)
    assert {name: report[name] for name in ("added", "known", "refused", "skipped")} == {
        "added": 3,
        "known": 1,
        "refused": 1,
        "skipped": 2,
    }
    lines = report["lines"]
    assert isinstance(lines, list)
    assert [line["outcome"] for line in lines] == ["skipped", "added", "known", "added", "skipped", "refused", "added"]
    assert take_in(desk, text)["added"] == 0
    notes = {row["number"]: row["note"] for row in json_of(desk.asks("GET", "/do-not-call"))["numbers"]}
    assert notes == {"+4930901820": "Anna", "+4930901821": "Bert", "+12125550146": "a, b"}


def test_five_thousand_numbers_are_taken_in_at_once_and_no_more(desk: Actor) -> None:
    numbers = [f"+49309{number:06}" for number in range(5000)]
    assert take_in(desk, "\n".join(numbers))["added"] == 5000
    headers = {"Authorization": f"Bearer {desk.ticket}"}
    path = "/api/v1/do-not-call/import"
    assert desk.client.post(path, data="\n".join([*numbers, "x"]), headers=headers).status_code == 400
    assert desk.client.post(path, data=b"PK\x03\x04\xff", headers=headers).status_code == 400
    assert desk.client.post(path, data=b"1" * 2_000_000, headers=headers).status_code == 413
    first = json_of(desk.asks("GET", "/do-not-call?limit=200"))
    second = json_of(desk.asks("GET", f"/do-not-call?limit=200&cursor={first['next_cursor']}"))
    listed = [row["number"] for row in first["numbers"] + second["numbers"]]
    assert listed == numbers[::-1][:400]


def test_a_list_goes_out_safe_for_spreadsheets_and_comes_in_again(desk: Actor) -> None:
    notes = ["=HYPERLINK(1)", "@SUM(1)", "-1", "plain", 'with "quotes", and\tmore']
    for place, note in enumerate(notes):
        desk.asks("POST", "/do-not-call", {"number": f"+493090182{place}", "note": note})
    response = desk.asks("GET", "/do-not-call/export")
    assert "attachment" in response.headers["Content-Disposition"]
    cells = [cell for row in csv.reader(io.StringIO(response.text)) for cell in row]
    assert [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))] == []
    assert take_in(desk, response.text)["known"] == 5
    for row in json_of(desk.asks("GET", "/do-not-call"))["numbers"]:
        desk.asks("DELETE", f"/do-not-call/{row['id']}")
    assert take_in(desk, response.text)["added"] == 5
    assert json_of(desk.asks("GET", "/do-not-call"))["numbers"][-1]["number"] == CUSTOMER


@rows_in_one_world("query", ["limit=0", "limit=x", "cursor=-1", "cursor=x", f"cursor={2**40}"])
def test_a_query_that_is_none_is_refused(desk: Actor, query: str) -> None:
    assert desk.asks("GET", f"/do-not-call?{query}").status_code == 400


@pytest.mark.parametrize("keeps_settings", [True, False])
def test_a_removed_app_leaves_at_most_digests_and_settings(
    app: Flask, desk: Actor, visitor: Visitor, portal: FakePortal, application: FakeApp, keeps_settings: bool
) -> None:
    desk.asks("POST", "/do-not-call", {"number": "+4930901829", "note": "Bert"})
    desk.asks("POST", "/api-keys", {"form_key": visitor.form_key, "name": "x"})
    visitor.asks(name="Anna")
    visitor.asks(name="Eve")
    visitor.asks("12345")
    gone = (ApiKey, Rejection, DecoyRequest, WebsiteRequest, Callback)
    assert all(rows(app, model) for model in gone)
    portal.uninstall(application, clean=not keeps_settings)
    portal.events.wait_until_idle()
    with app.app_context():
        assert uninstall.confirm_removals() == 1
    assert [rows(app, model) for model in gone] == [[]] * len(gone)
    listed = [(row.number, row.note, len(row.number_digest)) for row in rows(app, DoNotCall)]
    assert listed == ([(None, None, 64)] if keeps_settings else [])
    assert [row.key for row in rows(app, Form)] == ([visitor.form_key] if keeps_settings else [])
    assert visitor.posts({"number": CUSTOMER}).status_code == (403 if keeps_settings else 404)


def test_an_erased_number_is_still_not_called_and_not_given_out(app: Flask, desk: Actor, visitor: Visitor) -> None:
    desk.asks("POST", "/do-not-call", {"number": CUSTOMER, "note": "Bert"})
    with app.app_context(), writing() as session:
        session.execute(update(DoNotCall).values(number=None, note=None))
    assert (visitor.asks().status_code, rows(app, Callback)) == (202, [])
    assert json_of(desk.asks("GET", "/do-not-call"))["numbers"][0]["number"] is None
    assert len(desk.asks("GET", "/do-not-call/export").text.splitlines()) == 1


@pytest.mark.parametrize(("verb", "path"), [("POST", "/do-not-call/import"), ("GET", "/do-not-call/export")])
def test_one_list_of_a_portal_is_read_or_written_at_once_and_two_of_a_process(
    desk: Actor, verb: str, path: str
) -> None:
    """What only computes takes the interpreter from everybody."""

    def answers() -> tuple[int, str | None]:
        headers = {"Authorization": f"Bearer {desk.ticket}", "Content-Type": "text/plain"}
        response = desk.client.open(f"/api/v1{path}", method=verb, data="+4930901820", headers=headers)
        return response.status_code, response.headers.get("Retry-After")

    with lists_at_once.hold(1) as is_held:
        assert is_held
        assert answers() == (429, "5")
    with lists_at_once.hold(8), lists_at_once.hold(9):
        assert answers() == (429, "5")
    with lists_at_once.hold(8):
        assert answers() == (200, None)
