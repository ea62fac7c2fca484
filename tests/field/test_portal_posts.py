"""What portals post that we do not know, or that is broken. A new case is a new line in one of the tables."""

import json

import pytest
from flask.testing import FlaskClient

from bx24app.bitrix24.events import read_call_event, read_event
from bx24app.bitrix24.frame_post import read_frame_post
from bx24app.errors import Malformed
from tests.fake_bitrix24 import FakeApp, FakePortal
from tests.scenarios.test_call_events import END, fields
from tests.support.actors import Actor, post_frame
from tests.unit.test_frame_posts_and_events import END as DOCUMENTED
from tests.unit.test_frame_posts_and_events import FORM, QUERY

# Fields that an event may bring beside those that we know: a key and its value.
UNKNOWN: dict[str, list[tuple[str, str]]] = {
    "a list of phones": [("data[FIELDS][PHONE][0][VALUE]", "+49 30 901820"), ("data[FIELDS][PHONE][0][TYPE]", "WORK")],
    "a list of scopes": [("auth[scope][]", "crm"), ("auth[scope][]", "telephony")],
    "an empty name": [("data[]", "1"), ("auth[]", "1")],
    "names with dashes and dots": [("data[UF-CRM.1]", "1"), ("utm-source", "x")],
    "names of other letters": [("data[Имя]", "Анна"), ("поле", "1")],
    "brackets that do not fit": [("data[", "1"), ("data[CALL_ID", "1"), ("[x]", "1"), ("]", ""), ("data]a[", "1")],
    "deep ones": [("data" + "[a]" * 50, "1")],
    "a long name": [("data[" + "A" * 5000 + "]", "1"), ("x" * 5000, "1")],
    "a name of nothing": [("", "1")],
    "many": [(f"data[F{number}]", "1") for number in range(900)],
    "many others": [(f"k{number}", "") for number in range(900)],
    "values that cannot be read": [("data[FAILED_WORDS]", "a\x00b\ufffd"), ("data[NOTE]", "\x1b[31m")],
    "a long value": [("data[CALL_SCRIPT]", "x" * 50_000)],
    "data without a name": [("data", "1"), ("auth", "1")],
}


@pytest.mark.parametrize("name", UNKNOWN)
@pytest.mark.parametrize("is_first", [True, False])
def test_what_we_do_not_know_of_an_event_is_skipped(name: str, is_first: bool) -> None:
    more, known = UNKNOWN[name], list(DOCUMENTED.items())
    read, usual = read_event(more + known if is_first else known + more), read_event(known)
    assert (read.name, read.ts, read.member_id) == (usual.name, usual.ts, usual.member_id)
    assert read.application_token == usual.application_token
    assert read_call_event(read.fields) == read_call_event(usual.fields)


@pytest.mark.parametrize("name", ["ONCRMLEADADD", "onCrmLeadAdd", "ONCRMDYNAMICITEMADD_128", "ON2FAUSERADD"])
def test_an_event_of_any_kind_has_a_name(name: str) -> None:
    assert read_event((DOCUMENTED | {"event": name}).items()).name == name.upper()


NEEDED = {
    "no name": {"event": ""},
    "an odd name": {"event": "x y"},
    "a portal that is none": {"auth[member_id]": "short"},
    "a portal that cannot be read": {"auth[member_id]": "a223c6b9410f85df78e9377d6c4f721\x00"},
    "a moment that is none": {"ts": "yesterday"},
}


@pytest.mark.parametrize("name", NEEDED)
def test_what_is_needed_of_an_event_is_not(name: str) -> None:
    with pytest.raises(Malformed):
        read_event((DOCUMENTED | NEEDED[name]).items())


def test_an_event_with_all_of_it_is_taken(
    client: FlaskClient, manager: Actor, portal: FakePortal, application: FakeApp
) -> None:
    data = {"CALL_ID": "callback.1", "CALL_TYPE": "4", "CALL_FAILED_CODE": "200"}
    known = fields(portal, application, END, data)
    for name, more in UNKNOWN.items():
        answer = client.post("/events", data={**dict(more), **known})
        assert answer.status_code == 200, name
    wrong = known | {"auth[application_token]": "\x00"}
    assert client.post("/events", data=wrong).status_code == 403


# Options of a placement that are no object; with them the page opens without an entity.
NO_OPTIONS = {
    "null": "null",
    "a number": "8061",
    "a list": "[1]",
    "an empty list": "[]",
    "a list of objects": '[{"ID": "1"}]',
    "a word": '"8061"',
    "an empty word": '""',
    "truth": "true",
    "nothing": "",
    "cut off": '{"ID": "80',
    "broken": "{",
    "PHP": 'a:1:{s:2:"ID";i:8061;}',
    "a form": "ID=8061",
    "HTML": "&quot;ID&quot;",
    "undefined": "undefined",
    "not JSON": "{'ID': 8061}",
    "not a number": "NaN",
    "nested without end": "[" * 50_000,
    "too many": json.dumps({f"K{number}": 1 for number in range(100)}),
    "not decoded": '{"ID": "\ufffd"}',
    "control characters": "\x00",
    "an id that is none": '{"ID": null}',
    "an id in a list": '{"ID": ["8061"]}',
    "an escaped control character": '{"ID": "80\\u0000"}',
}


@pytest.mark.parametrize("name", NO_OPTIONS)
def test_options_that_are_none_are_left_out(name: str) -> None:
    post = read_frame_post(QUERY, FORM | {"PLACEMENT_OPTIONS": NO_OPTIONS[name]})
    assert post.PLACEMENT_OPTIONS == {}


def test_a_page_opens_without_an_entity(manager: Actor) -> None:
    for name, options in NO_OPTIONS.items():
        for path, placement in (("/placement", "CRM_LEAD_DETAIL_TAB"), ("/placement", "CALL_CARD"), ("/", "DEFAULT")):
            response = post_frame(manager.client, path, manager.launches(placement), PLACEMENT_OPTIONS=options)
            assert response.status_code == 200, (name, path)
            assert "bx24app-ticket" in response.text
