"""Whatever a portal says has a size: it is cut where it is read, and nothing of it fails a column."""

import itertools
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from bx24app.bitrix24 import crm, telephony
from bx24app.bitrix24.authorization import AppInfo, _TokenAnswer
from bx24app.bitrix24.client import BatchAnswer
from bx24app.bitrix24.errors import Moved, error_for
from bx24app.bitrix24.identity import Profile
from bx24app.database import reading
from bx24app.models import Callback, Decision, Portal, RestCall, State, User
from bx24app.outgoing.errors import UnreadableAnswer
from bx24app.services.calling.phone_numbers import MAX_NUMBER_LENGTH
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor
from tests.support.waiting import accept, seen, work

HUGE = 2_000_000
# Of the answer to a dial a megabyte is read.
LARGE = 400_000
OK_ANSWER = {"RESULT": True, "CALL_ID": "callback.1"}


def rows(app: Flask, model: Any) -> list[Any]:
    with app.app_context(), reading() as session:
        return list(session.scalars(select(model)))


def longest_text(row: Any) -> int:
    values = [getattr(row, column.key) for column in row.__table__.columns]
    return max(len(str(value)) for value in values)


def test_a_portals_words_are_cut_before_they_are_kept(app: Flask, manager: Actor, portal: FakePortal) -> None:
    portal.faults.add("error", "voximplant.callback.start", code="ERROR_CORE" + "E" * LARGE, words="w" * LARGE)
    id = accept(app)
    work(app)
    callback = seen(app, id)
    assert callback.state == State.FAILED
    assert callback.words == "w" * 500
    kept = [*rows(app, Callback), *rows(app, Decision), *rows(app, RestCall)]
    assert max(map(longest_text, kept)) < 1000
    assert len(manager.asks("GET", f"/callbacks/{id}").text) < 5000


def test_a_code_of_any_length_is_kept_as_a_code(app: Flask, manager: Actor, portal: FakePortal) -> None:
    portal.faults.add("error", "voximplant.callback.start", code="E" * LARGE)
    id = accept(app)
    work(app)
    assert seen(app, id).words == "E" * 64


def test_a_card_offers_fifty_numbers(manager: Actor, portal: FakePortal) -> None:
    numbers = [f"+4930{901820 + number}" for number in range(20_000)]
    lead = portal.crm.add_lead("t" * HUGE, "n" * HUGE, phones=numbers)
    page = manager.opens("CRM_LEAD_DETAIL_TAB", ID=str(lead))
    assert page.status_code == 200
    assert page.text.count('option value="+4930') == 50
    assert len(manager.ticket) < 2000
    assert len(page.text) < 60_000


def test_the_numbers_of_a_deal_with_contact_and_company_are_fifty_too(manager: Actor, portal: FakePortal) -> None:
    numbers = [f"+4930{901820 + number}" for number in range(120)]
    contact = portal.crm.add_contact("Anna", phones=numbers[:60])
    deal = portal.crm.add_deal("Sofa", contact, portal.crm.add_company("Shop", phones=numbers[60:]))
    page = manager.opens("CRM_DEAL_DETAIL_TAB", ID=str(deal))
    assert page.text.count('value="+4930') == 50


def test_a_name_is_cut_where_it_is_read(app: Flask, manager: Actor, portal: FakePortal) -> None:
    # Two methods tell the name, and one answer has an end.
    manager.user.name, manager.user.last_name = "N" * (HUGE // 4), "L" * (HUGE // 4)
    portal.users[manager.user.id].time_zone = "Z" * (HUGE // 4)
    assert manager.opens().status_code == 200
    kept = [user for user in rows(app, User) if user.user_id == manager.user.id]
    assert [len(user.name) for user in kept] == [255]
    assert len(kept[0].time_zone or "") <= 64


def test_an_installation_with_values_that_fit_no_column_is_no_answer(app: Flask, administrator: Actor) -> None:
    administrator.application.code = "c" * 256
    assert administrator.installs().status_code in (403, 503)
    assert rows(app, Portal) == []


def test_lists_and_their_names_have_an_end() -> None:
    listed = telephony._names({f"line{number}": "n" * HUGE if number == 1 else "n" for number in range(2000)})
    assert len(listed) == 500
    assert len(listed["line1"]) == 255
    assert telephony._names({"i" * 256: "too long to be named by a callback"}) == {}


@pytest.mark.parametrize("call_id", ["c" * 256, "c" * HUGE])
def test_a_call_id_that_no_column_keeps_says_nothing(call_id: str) -> None:
    with pytest.raises(UnreadableAnswer):
        telephony.read_started_call(OK_ANSWER | {"CALL_ID": call_id})
    assert telephony.read_started_call(OK_ANSWER | {"CALL_ID": "c" * 255}).call_id == "c" * 255


@pytest.mark.parametrize("made", ["9" * 25, str(2**31), "²", "１", "-1", None, 1.5, [], "9" * 5000])
def test_a_card_id_that_no_column_keeps_is_none(made: object) -> None:
    assert crm._ids([made, 8061]) == [8061]


def test_one_list_of_cards_is_read_so_far() -> None:
    assert len(crm._ids(list(range(1, 100_000)))) == 500


def test_a_title_is_cut() -> None:
    answer = BatchAnswer({"entity": {"TITLE": "t" * HUGE, "NAME": "n", "PHONE": [{"VALUE": "9" * HUGE}]}}, {})
    entity = crm.read_entity("LEAD", 1, answer)
    assert (len(entity.title), [len(phone.value) for phone in entity.phones]) == (255, [crm.MAX_PHONE])
    # A number that was cut could be another one: whatever has lost its end is longer than what is read.
    assert crm.MAX_PHONE > MAX_NUMBER_LENGTH


def test_errors_are_cut_whatever_their_class() -> None:
    codes = ("INTERNAL_SERVER_ERROR", "QUERY_LIMIT_EXCEEDED", "expired_token", "E" * HUGE, "")
    for code, status in itertools.product(codes, (200, 503)):
        error: Any = error_for(code, "w" * HUGE, status)
        assert len(str(error)) < 100
        assert len(error.foreign_code) <= 64
        assert len(getattr(error, "words", None) or "") <= 500
    assert len(Moved("h" * HUGE).host) == 255


TOKENS = {
    "access_token": "a",
    "refresh_token": "r",
    "expires_in": 3600,
    "member_id": "m",
    "client_endpoint": "https://a/",
}
INSTALL = {"member_id": "m", "client_endpoint": "https://a/", "domain": "a"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"access_token": "a" * HUGE},
        {"refresh_token": "a" * HUGE},
        {"expires_in": 10**25},
        {"member_id": "m" * 65},
        {"client_endpoint": "https://" + "a" * 255},
        {"user_id": 10**25},
        {"user_id": 2**31},
    ],
)
def test_a_token_answer_that_fits_no_column_is_none(wrong: dict[str, object]) -> None:
    _TokenAnswer.model_validate(TOKENS)
    with pytest.raises(ValueError, match="_TokenAnswer"):
        _TokenAnswer.model_validate(TOKENS | wrong)


@pytest.mark.parametrize("wrong", [{"domain": "d" * 256}, {"client_endpoint": "e" * 256}, {"status": "FF"}])
def test_an_installation_told_by_the_server_has_a_size(wrong: dict[str, str]) -> None:
    AppInfo.model_validate({"client_id": "c", "user_id": 1, "install": INSTALL})
    with pytest.raises(ValueError, match="AppInfo"):
        AppInfo.model_validate({"client_id": "c", "user_id": 1, "install": INSTALL | wrong})
    with pytest.raises(ValueError, match="AppInfo"):
        AppInfo.model_validate({"client_id": "c", "user_id": 2**31, "install": INSTALL})


def test_a_full_name_is_cut() -> None:
    assert len(Profile(ID=1, NAME="n" * HUGE).full_name) == 255
