"""Schemathesis on the JSON API: no server error, nothing undocumented, no garbage in the database."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from uuid import UUID

import pytest
import schemathesis
from flask import Flask
from hypothesis import given, seed
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, CheckContext, CheckFunction, GenerationMode, Response
from schemathesis.checks import negative_data_rejection, positive_data_acceptance
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation
from sqlalchemy import delete, select, update

from bx24app.database import writing
from bx24app.inputs import is_nothing, text_of
from bx24app.models import Callback, PortalSettings, SavedFilter, User, utcnow
from bx24app.services.callbacks import principal
from bx24app.services.calling import do_not_call
from bx24app.services.security import tickets
from bx24app.services.webhooks import subscriptions
from bx24app.services.websites import api_keys, api_submit, forms
from bx24app.services.websites.editing.form_settings import FormSettings
from bx24app.web.api.reports import ReportName
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor
from tests.support.fuzzing import MANY, SEED, counts, few_and_many, fuzz_settings, garbage
from tests.support.remembered import remember

STATES = ("scheduled", "queued", "started", "answered", "unknown", "missed", "failed", "cancelled")
ENDED = ("missed", "failed", "cancelled")
Operation = APIOperation[Any, Any, Any, Any]
# Half a minute on a machine of its own.
pytestmark = pytest.mark.timeout(300)

PUBLIC = "/api/v1/openapi.json"
OFFICE = {"zone": "Europe/Berlin", "week": {"mon": [["09:00", "18:00"]], "sun": [["00:00", "24:00"]]}}
# What an answer says of the number of rows; a form and a key that are taken away leave theirs.
CHANGES = {
    ("POST", "/api/v1/callbacks", 201): ("callback", 1),
    ("POST", "/api/v1/callbacks/{callback_id}/retry", 201): ("callback", 1),
    ("POST", "/api/v1/forms", 201): ("form", 1),
    ("POST", "/api/v1/api-keys", 201): ("api_key", 1),
    ("POST", "/api/v1/do-not-call", 201): ("do_not_call", 1),
    ("DELETE", "/api/v1/do-not-call/{number_id}", 204): ("do_not_call", -1),
    ("POST", "/api/v1/webhooks", 201): ("webhook", 1),
    ("DELETE", "/api/v1/webhooks/{webhook_id}", 204): ("webhook", -1),
}
COUNTED = {table for table, _ in CHANGES.values()}
UNTOUCHED = ("portal", "portal_user", "credential", "received_event", "attempt", "ghost")


def stand_in(callbacks: list[UUID]) -> None:
    """Let there be a callback in every state."""
    with writing() as session:
        for id, state in zip(callbacks, STATES, strict=True):
            values = {"state": state, "holds_number": state not in ENDED}
            session.execute(update(Callback).where(Callback.id == id).values(values))


@dataclass
class Truth:
    """What a random request may be given of the real world, so that it gets further than the first check."""

    app: Flask
    administrator: str = field(repr=False)
    manager: str = field(repr=False)
    lines: list[str]
    voices: list[str]
    key: str = field(default="", repr=False)
    ids: dict[str, list[Any]] = field(default_factory=dict)
    asked: int = 0
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)

    def renew(self) -> None:
        """Whatever was removed meanwhile: there is a form again, with a key, a webhook and a callback of its own."""
        made = len(self.ids["form_key"])
        with self.app.app_context():
            # A long run outlives a fresh proof.
            proven = replace(tickets.read_ticket(self.administrator), proven_at=int(utcnow().timestamp()))
            self.administrator = remember(tickets.issue_ticket(proven)[0])
            with writing() as session:
                session.execute(update(PortalSettings).values(hours=None, websites_off=False))
            wanted = {"name": "Shop", "line_id": self.lines[0], "default_country": "DE"}
            form = forms.create_form(1, FormSettings.model_validate(wanted), 1)
            key = api_keys.create_key(1, form.key, "Server", 1)
            hook = subscriptions.add_webhook(1, form.key, "https://site.example.com/hook", 1)
            number, _ = do_not_call.add_number(1, f"+493091{made:05}", None, 1)
            told = subscriptions.send_test(1, hook.listed.webhook.id)
            with writing() as session:
                session.execute(delete(SavedFilter))
                owner = session.scalars(select(User.id).where(User.user_id == 1)).one()
                kept = SavedFilter(portal_id=1, owner_id=owner, name=f"Filter {made}", wanted={})
                session.add(kept)
            callbacks = [
                api_submit.submit_with_key(form.id, api_submit.ApiPost(f"+49309{digit}{made:05}")).callback.id
                for digit in range(2, 2 + len(STATES))
            ]
            stand_in(callbacks)
        self.key = key.secret
        self.rows.update(("form", "api_key", "webhook", "do_not_call", *("callback" for _ in callbacks)))
        self.ids["callback_id"] = list(map(str, callbacks))
        # Those of before are gone: few requests would find the one that is there.
        self.ids["filter_id"] = []
        for name, id in (
            ("form_key", form.key),
            ("key_id", key.key.id),
            ("webhook_id", hook.listed.webhook.id),
            ("number_id", number.id),
            ("delivery_id", told.id),
            ("filter_id", kept.id),
        ):
            self.ids[name].append(id)

    def fields(self, names: set[str]) -> st.SearchStrategy[dict[str, Any]]:
        """Values that exist, for the fields that a body may have."""
        now = datetime.now(UTC)
        moments = st.integers(-5, 100_000).map(lambda ahead: (now + timedelta(minutes=ahead)).isoformat())
        numbers = st.integers(0, 9999).map(lambda number: f"+493090{number:04}")
        values: dict[str, st.SearchStrategy[Any]] = {
            "to_number": numbers,
            "number": numbers,
            "confirm": numbers,
            "line_id": st.sampled_from(self.lines),
            "voice_id": st.sampled_from(self.voices),
            "default_line_id": st.sampled_from(self.lines),
            "default_voice_id": st.sampled_from(self.voices),
            "default_country": st.sampled_from(["DE", "GB"]),
            "scheduled_at": moments,
            "at": moments,
            "form_key": st.sampled_from(self.ids["form_key"][-5:]),
            "name": st.sampled_from(["Shop", "Größe & <b>"]),
            "text": st.just("Callback request."),
            "url": st.just("https://site.example.com/hook"),
            "hours": st.just(OFFICE),
            "topics": st.lists(st.sampled_from(["Order", "Return"])),
            "allowed_countries": st.lists(st.sampled_from(["DE", "GB"])),
            "allowed_origins": st.lists(st.sampled_from(["https://shop.example", "https://müller.example"])),
            "consent_text": st.just("I agree."),
        }
        known = {name: values[name] for name in names & values.keys()}
        whole = st.fixed_dictionaries(known)
        return whole | whole | st.fixed_dictionaries({}, optional=known)

    def callers(self, operation: Operation) -> st.SearchStrategy[str]:
        """Who asks: mostly those who may."""
        schemes = [name for one in operation.definition.raw["security"] for name in one]
        if "key" in schemes:
            return st.sampled_from([self.administrator, self.manager, self.key])
        if "403" in operation.definition.raw["responses"]:
            return st.sampled_from([*[self.administrator] * 8, self.manager, self.key])
        return st.sampled_from([*[self.administrator] * 4, *[self.manager] * 4, self.key])

    def note(self, case: Case[Any], response: Response) -> None:
        """Keep what the answer promises of the database."""
        self.asked += 1
        self.statuses[case.operation.label, response.status_code] += 1
        table, by = CHANGES.get((case.method, case.operation.path, response.status_code), ("", 0))
        self.rows[table] += by
        if case.operation.path.endswith("/import") and response.status_code == HTTPStatus.OK:
            self.rows["do_not_call"] += response.json()["added"]
        if case.operation.path.endswith("/erase") and response.status_code == HTTPStatus.OK:
            self.rows["callback"] -= response.json()["counts"]["callbacks"]


@pytest.fixture
def truth(
    app: Flask, manager: Actor, administrator: Actor, portal: FakePortal, monkeypatch: pytest.MonkeyPatch
) -> Truth:
    monkeypatch.setattr(principal, "REQUESTS_A_MINUTE", 10**6)
    monkeypatch.setattr(do_not_call, "LISTED_A_DAY", 10**6)
    portal.rest.bucket.enabled = False
    administrator.opens()
    administrator.asks("GET", "/lines?refresh=1")
    truth = Truth(app, administrator.ticket, manager.ticket, list(portal.lines), list(portal.voices))
    names = ("callback_id", "form_key", "key_id", "webhook_id", "number_id", "delivery_id", "filter_id")
    truth.ids = {"line_id": list(portal.lines), "report": list(ReportName), **{name: [] for name in names}}
    return truth


def enriched(case: Case[Any], ids: dict[str, Any], body: dict[str, Any]) -> Case[Any]:
    case.path_parameters.update({name: ids[name] for name in case.path_parameters.keys() & ids.keys()})
    if isinstance(case.body, dict):
        case.body.update(body)
        if body.keys() >= {"number", "confirm"}:
            case.body["confirm"] = case.body["number"]
    return case


def body_fields(operation: Operation, models: dict[str, Any]) -> set[str]:
    content = operation.definition.raw.get("requestBody", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema")
    if schema is None:
        return set()
    model = models[schema["$ref"].rpartition("/")[2]]
    kinds = [models[one["$ref"].rpartition("/")[2]] for one in model.get("anyOf", [])] or [model]
    return set.intersection(*(set(kind["properties"]) for kind in kinds))


def wrong_data_rejection(context: CheckContext, response: Response, case: Case[Any]) -> bool | None:
    """What does not fit is refused.

    A text is measured without the characters that no text has (``inputs.text_of``), and one that nobody sees is none.
    """
    texts = list(texts_in([case.query, case.body]))
    is_measured_shorter = any(text_of(text) != text or (text and is_nothing(text)) for text in texts)
    return None if is_measured_shorter else negative_data_rejection(context, response, case)


def texts_in(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from texts_in(part)


def probe(operation: Operation, mode: GenerationMode, examples: int, truth: Truth) -> None:
    truth.renew()
    # Those made last are there.
    some = {name: st.sampled_from(values[-len(STATES) :]) for name, values in truth.ids.items()}
    models = operation.schema.raw_schema["components"]["schemas"]
    fields = truth.fields(body_fields(operation, models))

    def cases(caller: str) -> st.SearchStrategy[Case[Any]]:
        headers = {} if operation.path == PUBLIC else {"Authorization": f"Bearer {caller}"}
        plain = operation.as_strategy(generation_mode=mode, headers=headers)
        real = st.builds(enriched, plain, st.fixed_dictionaries(some), fields)
        return plain | real | real | real if mode is GenerationMode.POSITIVE else plain

    # What a schema cannot say (no such line, no such number) is refused with 400 and 422, and described.
    excluded: list[CheckFunction] = [positive_data_acceptance, negative_data_rejection]
    additional: list[CheckFunction] = [wrong_data_rejection]
    if "text/plain" in operation.definition.raw.get("requestBody", {}).get("content", {}):
        additional = []  # Any text is one.

    @seed(SEED)
    @fuzz_settings(examples)
    @given(truth.callers(operation).flatmap(lambda caller: st.tuples(st.just(caller), cases(caller))))
    def ask(asked: tuple[str, Case[Any]]) -> None:
        caller, case = asked
        headers = {} if operation.path == PUBLIC else {"Authorization": f"Bearer {caller}"}
        truth.note(
            case, case.call_and_validate(headers=headers, excluded_checks=excluded, additional_checks=additional)
        )

    # What has no body, and any text for its address, has no requests that do not fit.
    with suppress(Unsatisfiable) if mode is GenerationMode.NEGATIVE else nullcontext():
        ask()


@few_and_many
def test_random_requests_find_nothing_undocumented(app: Flask, truth: Truth, examples: int) -> None:
    print(f"FUZZ_SEED={SEED}")
    schema = schemathesis.openapi.from_wsgi(PUBLIC, app)
    operations = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    varied = [one for one in operations if one.body or one.query or one.path_parameters]
    # Some have few inputs that fit: the others get a quarter more.
    each = math.ceil(examples * 1.25 / len(varied) / len(GenerationMode))
    before = counts(app)
    for operation in varied:
        for mode in GenerationMode:
            probe(operation, mode, each, truth)
    for operation in operations:
        if operation not in varied:
            probe(operation, GenerationMode.POSITIVE, 3, truth)
    # Many let operations get as far as their success. By chance a few find nothing in the state that they need: these
    # are asked more, until few are left.
    rare = {"POST /api/v1/lines/{line_id}/resume"}
    if examples >= MANY:
        for operation in operations:
            if operation.label not in rare | succeeded(truth):
                probe(operation, GenerationMode.POSITIVE, 60, truth)
        missing = {operation.label for operation in operations} - succeeded(truth) - rare
        assert len(missing) <= 5, missing
    after = counts(app)
    assert truth.asked >= examples
    assert garbage(app) == []
    assert {table: after[table] - before[table] for table in COUNTED} == {table: truth.rows[table] for table in COUNTED}
    for table in UNTOUCHED:
        assert after[table] == before[table], table


def succeeded(truth: Truth) -> set[str]:
    return {label for label, status in truth.statuses if status < HTTPStatus.BAD_REQUEST}
