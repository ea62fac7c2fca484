"""Random frame posts, sessions and events, most of them nearly genuine: no server error, nothing of them is kept."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlencode

import pytest
from flask import Flask
from hypothesis import given, seed
from hypothesis import strategies as st
from sqlalchemy import select, update

from bx24app.database import reading, writing
from bx24app.models import Attempt, Callback, Credential, Portal, ReceivedEvent, User
from bx24app.services.dialling import dial, queue
from bx24app.services.runtime import local_limit, local_memory
from tests.fake_bitrix24 import FakePortal, LaunchPost
from tests.support.actors import Actor, json_of
from tests.support.fuzzing import MANY, SEED, counts, few_and_many, fuzz_settings, garbage

# Some ten seconds on a machine of its own.
pytestmark = pytest.mark.timeout(300)

FORM = "application/x-www-form-urlencoded"
T = TypeVar("T")
# None: the field is left out.
Changes = dict[str, str | None]
Pairs = list[tuple[str, str]]

WEIRD = [
    "",
    "\0",
    "a\0b",
    "\x1b[31m",
    "\ud800",
    "\ufffd",
    "x" * 5000,
    "'; DROP TABLE portal; --",
    "<script>",
    "{{7*7}}",
]
JSON = ["[]", "{}", '""', '{"ID":"1"}', '{"ID":1e999}', '{"ID":-1}', '{"PHONE_NUMBER":"\\u0000"}', "[" * 3000]
NUMBERS = ["4", "200", "-1", "1e999", "NaN", "Infinity", "null", "2147483648", "9223372036854775808", "9" * 400]
TIMES = ["2026-02-30T25:61:61", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"]
PLACES = [
    "DEFAULT",
    "CALL_CARD",
    "CRM_LEAD_DETAIL_TAB",
    "CRM_DEAL_DETAIL_TAB",
    "CRM_LEAD_DETAIL_ACTIVITY",
    "CRM_DEAL_ACTIVITY_TIMELINE_MENU",
    "CRM_ACTIVITY_LIST_MENU",
    "CRM_DYNAMIC_1042_DETAIL_TAB",
    "CRM_LEAD_LIST_MENU",
    "http://127.0.0.1/",
]
NASTY = st.sampled_from([*WEIRD, *JSON, *NUMBERS, *TIMES, *PLACES])
WORDS = NASTY | st.text(max_size=40) | st.integers().map(str) | st.from_regex(r"[0-9a-f]{32}", fullmatch=True)


def mostly(usual: st.SearchStrategy[T], rare: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    """Three of four from the first, so that most posts get past the first check."""
    return st.sampled_from([usual, usual, usual, rare]).flatmap(lambda chosen: chosen)


def changes(names: Mapping[str, str]) -> st.SearchStrategy[Changes]:
    """Some fields with other values, or left out."""
    values: st.SearchStrategy[str | None] = mostly(WORDS, st.none())
    some = st.dictionaries(st.sampled_from(sorted(names)), values, min_size=1, max_size=4)
    return mostly(st.dictionaries(st.sampled_from(sorted(names)), values, max_size=1), some)


NO_PAIRS: Pairs = []
MORE: st.SearchStrategy[Pairs] = mostly(st.just(NO_PAIRS), st.lists(st.tuples(WORDS, WORDS), max_size=2))
TYPES = st.sampled_from([FORM, "multipart/form-data; boundary=x", "application/json", "text/plain", ""])
RAW: st.SearchStrategy[tuple[bytes, str] | None] = mostly(st.none(), st.tuples(st.binary(max_size=300), TYPES))


def body_of(fields: Mapping[str, str], changed: Changes, more: Pairs) -> bytes:
    merged = {**fields, **changed}
    pairs = [(name, value) for name, value in merged.items() if value is not None] + more
    return urlencode(pairs, errors="surrogatepass").encode()


Send = Callable[[str, bytes, str, bytes], int]


@pytest.fixture
def send(app: Flask) -> Send:
    """Post bytes to a path; returns the status, which is never a server error."""
    client = app.test_client()

    def post(path: str, body: bytes, content_type: str = FORM, query: bytes = b"") -> int:
        environ = {"QUERY_STRING": query.decode("latin-1")}
        response = client.post(path, data=body, content_type=content_type, environ_overrides=environ)
        # 409: it names another address of the portal than the one that may frame our pages.
        assert response.status_code in (200, 400, 403, 409, 413), (path, response.status_code, response.text[:300])
        assert "Traceback" not in response.text
        return response.status_code

    return post


def facts(app: Flask) -> dict[str, Any]:
    """What no post of a visitor may change."""
    with app.app_context(), reading() as session:
        [portal] = session.scalars(select(Portal)).all()
        return {
            "portal": (portal.member_id, portal.domain, portal.client_endpoint, portal.app_id, portal.state),
            "people": sorted(session.execute(select(User.user_id, User.name, User.is_administrator)).all()),
            "credentials": sorted(session.scalars(select(Credential.user_id)).all()),
        }


def posted(app: Flask, paths: tuple[str, ...], launch: LaunchPost, send: Send, examples: int) -> dict[int, int]:
    """Random posts, each the first of its sender; returns how many were answered with which status.

    What is refused to somebody who sends many is the subject of test_unproven.
    """
    statuses: dict[int, int] = {}

    @seed(SEED)
    @fuzz_settings(examples)
    @given(st.sampled_from(paths), changes(launch.form), changes(launch.query), MORE, RAW)
    def post(path: str, form: Changes, query: Changes, more: Pairs, raw: tuple[bytes, str] | None) -> None:
        body, content_type = raw or (body_of(launch.form, form, more), FORM)
        for state in (local_memory.MEMORY_STATE, local_limit.LIMITS_STATE):
            app.extensions.pop(state, None)
        status = send(path, body, content_type, body_of(launch.query, query, more))
        statuses[status] = statuses.get(status, 0) + 1

    post()
    return statuses


@few_and_many
@pytest.mark.parametrize("paths", [("/", "/install", "/placement"), ("/session",)], ids=["frames", "sessions"])
def test_posts_of_a_frame(
    app: Flask, manager: Actor, portal: FakePortal, paths: tuple[str, ...], send: Send, examples: int
) -> None:
    print(f"FUZZ_SEED={SEED}")
    portal.rest.bucket.enabled = False
    lead = portal.crm.add_lead("Lead", "Clara", ["+49 30 901820"])
    launch = manager.launches("CRM_LEAD_DETAIL_TAB", ID=str(lead))
    before, rows = facts(app), counts(app)
    statuses = posted(app, paths, launch, send, examples)
    assert sum(statuses.values()) >= examples
    # Many reach every kind of answer; some kinds are too rare for a few.
    assert examples < MANY or min(statuses[200], statuses[400], statuses[403]) > 0, statuses
    assert facts(app) == before
    assert garbage(app) == []
    after = counts(app)
    after.pop("rest_call"), rows.pop("rest_call")
    assert after == rows


def ring_again(app: Flask) -> None:
    """Every call is under way, so that any event may move it."""
    with app.app_context(), writing() as session:
        session.execute(update(Attempt).values(outcome="started", answered_by=None, ended_at=None))
        session.execute(update(Callback).values(state="started", ended_at=None))


@few_and_many
def test_events(app: Flask, manager: Actor, portal: FakePortal, send: Send, examples: int) -> None:
    print(f"FUZZ_SEED={SEED}")
    calls = [json_of(manager.requests_callback(f"+4930901{number:03}"))["id"] for number in range(3)]
    with app.app_context():
        while claim := next(iter(queue.lease_due()), None):
            dial.dial(claim)
    portal.events.wait_until_idle()
    call_ids = [call.call_id for call in portal.telephony.calls]
    assert len(call_ids) == len(calls)
    portal.telephony.calls[0].manager_refuses()
    portal.events.wait_until_idle()
    events = {**dict(portal.events.deliveries[-1].pairs), "data[USER_ID]": "", "data[ACCOUNT_SEARCH_ID]": ""}
    assert events["event"] == "ONVOXIMPLANTCALLEND"
    names = st.sampled_from(["ONVOXIMPLANTCALLINIT", "ONVOXIMPLANTCALLSTART", "ONVOXIMPLANTCALLEND"])
    kinds = st.sampled_from(["ONAPPINSTALL", "ONAPPUPDATE", "ONAPPPAYMENT", "ONCRMLEADADD"]) | WORDS
    said = changes({name: value for name, value in events.items() if name.startswith("data[")})
    before, rows = facts(app), counts(app)
    statuses: dict[int, int] = {}

    @seed(SEED)
    @fuzz_settings(examples)
    @given(
        mostly(names, kinds),
        mostly(st.sampled_from(call_ids), WORDS),
        mostly(st.just(events["auth[application_token]"]), st.from_regex(r"[0-9a-f]{32}", fullmatch=True)),
        mostly(said, changes(events)),
        MORE,
        RAW,
    )
    def post(kind: str, call: str, token: str, changed: Changes, more: Pairs, raw: tuple[bytes, str] | None) -> None:
        changed = {"event": kind, "data[CALL_ID]": call, "auth[application_token]": token, **changed}
        body, content_type = raw or (body_of(events, changed, more), FORM)
        ring_again(app)
        for state in (local_memory.MEMORY_STATE, local_limit.LIMITS_STATE):
            app.extensions.pop(state, None)
        status = send("/events", body, content_type, b"")
        statuses[status] = statuses.get(status, 0) + 1

    post()
    assert sum(statuses.values()) >= examples
    # Many reach every kind of answer; some kinds are too rare for a few.
    assert examples < MANY or min(statuses[200], statuses[400], statuses[403]) > 0, statuses
    assert facts(app) == before
    assert garbage(app) == []
    after = counts(app)
    assert rows["received_event"] < after["received_event"] <= rows["received_event"] + statuses.get(200, 0)
    for table in ("portal", "portal_user", "credential", "callback", "attempt"):
        assert after[table] == rows[table]
    with app.app_context(), reading() as session:
        assert set(session.scalars(select(ReceivedEvent.portal_id))) == {1}
