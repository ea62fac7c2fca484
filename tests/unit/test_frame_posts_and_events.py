"""Frame posts and events: what a portal sends is read, everything else is malformed."""

import json

import pytest

from bx24app.bitrix24.events import read_call_event, read_event
from bx24app.bitrix24.frame_post import read_frame_post
from bx24app.errors import Malformed

MEMBER = "a223c6b3710f85df22e9377d6c4f7553"
# Samples of docs: api-reference/widgets/index.md; see docs/bitrix24.md.
QUERY = {
    "DOMAIN": "portal.bitrix24.com",
    "PROTOCOL": "1",
    "LANG": "en",
    "APP_SID": "dd8cec11e347088fe87c44870a9f1dba",
}
FORM = {
    "AUTH_ID": "ahodg4h37n89vo17gbkgq0x1l825nnb5",
    "AUTH_EXPIRES": "3600",
    "REFRESH_ID": "2lg086mxijlpvwh0h7r4nl19udm4try5",
    "member_id": MEMBER,
    "status": "F",
    "PLACEMENT": "CRM_LEAD_DETAIL_TAB",
    "PLACEMENT_OPTIONS": json.dumps({"ID": "8061", "URI": "/crm/lead/details/8061/"}),
}


def test_a_frame_post_is_read() -> None:
    post = read_frame_post(QUERY, FORM)
    assert (post.DOMAIN, post.member_id, post.PLACEMENT) == (
        "portal.bitrix24.com",
        MEMBER,
        "CRM_LEAD_DETAIL_TAB",
    )
    assert post.PLACEMENT_OPTIONS["ID"] == "8061"
    assert FORM["AUTH_ID"] not in repr(post)
    assert FORM["REFRESH_ID"] not in repr(post)


@pytest.mark.parametrize("options", [None, "", '""', "[]", "{}"])
def test_absent_options_come_in_many_forms(options: str | None) -> None:
    form = {key: value for key, value in FORM.items() if key != "PLACEMENT_OPTIONS"}
    if options is not None:
        form["PLACEMENT_OPTIONS"] = options
    assert read_frame_post(QUERY, form).PLACEMENT_OPTIONS == {}


def test_query_and_body_are_never_mixed() -> None:
    with pytest.raises(Malformed):
        read_frame_post(QUERY | FORM, {})
    with pytest.raises(Malformed):
        read_frame_post({}, QUERY | FORM)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("member_id", ""),
        ("member_id", "x" * 32),
        ("member_id", MEMBER + "0"),
        ("AUTH_ID", "a b"),
        ("AUTH_ID", "x" * 1000),
        ("AUTH_ID", "t\u86f3ken"),
        ("AUTH_EXPIRES", "soon"),
        ("AUTH_EXPIRES", "-1"),
        ("PLACEMENT", "crm<script>"),
        ("REFRESH_ID", "\ufffd"),
        ("REFRESH_ID", "a\x00b"),
    ],
)
def test_a_malformed_field_is_refused_without_its_value(name: str, value: str) -> None:
    with pytest.raises(Malformed) as caught:
        read_frame_post(QUERY, FORM | {name: value})
    assert not value or len(value) < 2 or value not in str(caught.value)


@pytest.mark.parametrize("domain", ["", "a b", "x/../y", "user@host", "x" * 300])
def test_a_malformed_domain_is_refused(domain: str) -> None:
    with pytest.raises(Malformed):
        read_frame_post(QUERY | {"DOMAIN": domain}, FORM)


# docs: api-reference/telephony/voximplant/events/on-voximplant-call-end.md
END = {
    "event": "ONVOXIMPLANTCALLEND",
    "event_handler_id": "1061",
    "data[CALL_ID]": "externalCall.7b0c7de811455ef32b18dc5917e4306a.1773239327",
    "data[CALL_TYPE]": "1",
    "data[PHONE_NUMBER]": "+499061234567",
    "data[PORTAL_NUMBER]": "REST_APP:",
    "data[PORTAL_USER_ID]": "1269",
    "data[CALL_DURATION]": "0",
    "data[CALL_START_DATE]": "2026-03-11T17:28:46+03:00",
    "data[COST]": "0",
    "data[COST_CURRENCY]": "",
    "data[CALL_FAILED_CODE]": "304",
    "data[CALL_FAILED_REASON]": "Call canceled",
    "data[CRM_ACTIVITY_ID]": "7953",
    "ts": "1773239624",
    "auth[domain]": "some-domain.bitrix24.com",
    "auth[member_id]": "a223c6b9410f85df78e9377d6c4f7213",
    "auth[application_token]": "51610fefc120afg4b628cc82d6298cce",
}


def test_an_event_of_the_documentation_is_read() -> None:
    event = read_event(END.items())
    call = read_call_event(event.fields)
    assert (event.name, event.ts) == ("ONVOXIMPLANTCALLEND", 1773239624)
    assert (call.CALL_TYPE, call.PHONE_NUMBER, call.CALL_FAILED_CODE) == (1, "+499061234567", "304")
    assert END["auth[application_token]"] not in repr(event)
    assert "+499061234567" not in repr(event)
    assert "+499061234567" not in repr(call)


@pytest.mark.parametrize(
    "change",
    [
        {"event": ""},
        {"event": "x y"},
        {"auth[member_id]": "short"},
        {"ts": "yesterday"},
    ],
)
def test_a_malformed_event_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(Malformed):
        read_event((END | change).items())


@pytest.mark.parametrize(
    "change", [{"CALL_ID": ""}, {"CALL_ID": "a" * 256}, {"CALL_TYPE": "four"}, {"CALL_FAILED_CODE": "2" * 33}]
)
def test_an_event_of_no_call_is_refused(change: dict[str, str]) -> None:
    fields = read_event(END.items()).fields
    with pytest.raises(Malformed):
        read_call_event(fields | change)


@pytest.mark.parametrize(
    ("name", "value", "nothing"),
    [
        ("PHONE_NUMBER", "4" * 65, ""),
        ("USER_ID", "me", None),
        ("USER_ID", "9223372036854775808", None),
        ("USER_ID", "-1", None),
    ],
)
def test_what_cannot_be_read_of_an_event_costs_nothing_else(name: str, value: str, nothing: str | None) -> None:
    whole = read_event(END.items()).fields
    read = read_call_event(whole | {name: value})
    assert read == read_call_event(whole).model_copy(update={name: nothing})
