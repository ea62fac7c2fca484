"""Schemathesis on the JSON API: no server error, nothing undocumented, no garbage in the database."""

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from uuid import UUID

import pytest
import schemathesis
from flask import Flask
from hypothesis import given, seed
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import positive_data_acceptance
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation
from sqlalchemy import update

from bx24app.extensions import writing
from bx24app.models import Callback
from tests.actors import Actor, json_of
from tests.fake_bitrix24 import FakePortal
from tests.fuzzing import EXAMPLES, SEED, counts, fuzz_settings, garbage

STATES = ("scheduled", "queued", "started", "answered", "unknown", "missed", "failed", "cancelled")
Operation = APIOperation[Any, Any, Any, Any]
# Some ten seconds on a machine of its own.
pytestmark = pytest.mark.timeout(300)

PUBLIC = "/api/v1/openapi.json"


@dataclass
class Truth:
    """What a random request may be given of the real world, so that it gets further than the first check."""

    ticket: str = field(repr=False)
    ids: list[str]
    lines: list[str]
    voices: list[str]
    asked: int = 0
    accepted: int = 0

    def fields(self, names: set[str]) -> st.SearchStrategy[dict[str, Any]]:
        """Values that exist, for the fields that a body may have."""
        now = datetime.now(UTC)
        minutes = st.integers(-5, 500_000)
        values: dict[str, st.SearchStrategy[str]] = {
            "to_number": st.integers(0, 9999).map(lambda number: f"+493090{number:04}"),
            "line_id": st.sampled_from(self.lines),
            "voice_id": st.sampled_from([*self.voices, ""]),
            "default_line_id": st.sampled_from(self.lines),
            "default_voice_id": st.sampled_from(self.voices),
            "default_country": st.sampled_from(["DE", "GB", ""]),
            "scheduled_at": minutes.map(lambda ahead: (now + timedelta(minutes=ahead)).isoformat()),
        }
        return st.fixed_dictionaries({name: values[name] for name in names & values.keys()})


@pytest.fixture
def truth(app: Flask, manager: Actor, administrator: Actor, portal: FakePortal) -> Truth:
    portal.rest.bucket.enabled = False
    administrator.opens()
    ids = [json_of(administrator.requests_callback(f"+493090200{n}"))["id"] for n in range(len(STATES))]
    with app.app_context(), writing() as session:
        for id, state in zip(ids, STATES, strict=True):
            session.execute(update(Callback).where(Callback.id == UUID(id)).values(state=state))
    return Truth(administrator.ticket, ids, list(portal.lines), list(portal.voices))


def enriched(case: Case[Any], id: str, body: dict[str, Any]) -> Case[Any]:
    if "callback_id" in case.path_parameters:
        case.path_parameters["callback_id"] = id
    if isinstance(case.body, dict):
        case.body.update(body)
    return case


def body_fields(operation: Operation) -> set[str]:
    names: set[str] = set()
    for body in operation.body:
        names |= body.resolved_schema["properties"].keys()
    return names


def probe(operation: Operation, mode: GenerationMode, examples: int, truth: Truth) -> None:
    headers = {} if operation.path == PUBLIC else {"Authorization": f"Bearer {truth.ticket}"}
    plain = operation.as_strategy(generation_mode=mode, headers=headers)
    real = st.builds(enriched, plain, st.sampled_from(truth.ids), truth.fields(body_fields(operation)))

    @seed(SEED)
    @fuzz_settings(examples)
    @given(plain | real if mode is GenerationMode.POSITIVE else plain)
    def ask(case: Case[Any]) -> None:
        truth.asked += 1
        # What a schema cannot say (no such line, no such number) is refused with 400 and 422, and described.
        response = case.call_and_validate(headers=headers, excluded_checks=[positive_data_acceptance])
        truth.accepted += response.status_code == HTTPStatus.CREATED

    ask()


def test_two_thousand_requests_find_nothing_undocumented(app: Flask, truth: Truth) -> None:
    print(f"FUZZ_SEED={SEED}")
    schema = schemathesis.openapi.from_wsgi(PUBLIC, app)
    operations = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    varied = [one for one in operations if one.body or one.query or one.path_parameters]
    # Some have few inputs that fit: the others get a quarter more.
    each = math.ceil(EXAMPLES * 1.25 / len(varied) / len(GenerationMode))
    before = counts(app)
    for operation in varied:
        for mode in GenerationMode:
            probe(operation, mode, each, truth)
    for operation in operations:
        if operation not in varied:
            probe(operation, GenerationMode.POSITIVE, 1, truth)
    after = counts(app)
    assert truth.asked >= EXAMPLES
    assert garbage(app) == []
    assert after["callback"] == before["callback"] + truth.accepted
    assert truth.accepted > EXAMPLES / 100
    for table in ("portal", "portal_user", "credential", "received_event", "attempt"):
        assert after[table] == before[table]
