"""What a violated constraint means: a row that is there or gone meanwhile, and never a fault of ours."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import event, select
from sqlalchemy.exc import IntegrityError

from bx24app.bitrix24.events import Event
from bx24app.database import reading, writing
from bx24app.models import Callback, Form, Portal, ReceivedEvent, Source, State, WebsiteRequest, utcnow
from bx24app.services.callbacks import change
from bx24app.services.callbacks.accept import prepare_for_insert
from bx24app.services.callbacks.conditions import Candidate
from bx24app.services.callbacks.guarded_write import write
from bx24app.services.dialling import queue
from bx24app.services.dialling.call_events import receive_call_event
from tests.support.actors import CUSTOMER, Actor, json_of
from tests.support.visitors import Visitor


@pytest.fixture
def candidate(app: Flask, visitor: Visitor) -> Candidate:
    """A candidate that would be accepted."""
    now = utcnow()
    with app.app_context(), reading() as session:
        form = session.scalars(select(Form)).one()
    callback = Callback(
        portal_id=form.portal_id,
        form_id=form.id,
        to_number=CUSTOMER,
        line_id="reg150907",
        line_name="Sales line",
        text="Callback request.",
        source=Source.WEBSITE,
        due_at=now,
        expires_at=now + timedelta(hours=1),
        created_at=now,
        updated_at=now,
        attempts=[],
        decisions=[],
    )
    prepare_for_insert(callback)
    request = WebsiteRequest(callback_id=callback.id, form_id=form.id, number_digest="d", created_at=now)
    return Candidate(callback=callback, at=now, website_request=request, form_key=form.key)


def callbacks() -> list[Callback]:
    with reading() as session:
        return list(session.scalars(select(Callback)))


@pytest.mark.parametrize("column", ["line_id", "text", "expires_at"])
def test_a_fault_of_a_row_is_no_condition_that_does_not_hold(app: Flask, candidate: Candidate, column: str) -> None:
    setattr(candidate.callback, column, None)
    with app.app_context():
        with pytest.raises(IntegrityError):
            write(candidate)
        assert callbacks() == []


def test_a_row_that_is_gone_meanwhile_is_a_condition_that_does_not_hold(app: Flask, candidate: Candidate) -> None:
    request = candidate.website_request
    assert request is not None
    request.form_id += 1
    with app.app_context():
        assert write(candidate) is None
        assert callbacks() == []
        request.form_id -= 1
        assert write(candidate) is candidate.callback


@contextmanager
def faulty(model: type[Any], moment: str, column: str) -> Iterator[None]:
    """Let every row of a kind lack what it must have when it is written."""

    def spoil(_mapper: object, _connection: object, row: object) -> None:
        setattr(row, column, None)

    event.listen(model, moment, spoil)
    try:
        yield
    finally:
        event.remove(model, moment, spoil)


def the_callback() -> Callback:
    with reading() as session:
        return session.scalars(select(Callback)).one()


def make_unknown(id: UUID) -> None:
    with writing() as session:
        session.get_one(Callback, id).state = State.UNKNOWN


def make_planned_and_due(id: UUID) -> None:
    with writing() as session:
        session.get_one(Callback, id).state = State.SCHEDULED


@pytest.mark.parametrize(
    ("prepare", "act"),
    [
        (make_unknown, lambda it: change.resolve(it.portal_id, it.id, 1, "dial_again")),
        (make_planned_and_due, lambda it: queue._lease_for(queue._PortalTurn(it.portal_id, False, it.due_at, None), 1)),
    ],
    ids=["resolve", "lease"],
)
def test_a_fault_of_a_row_is_no_other_callback_with_the_number(
    app: Flask, manager: Actor, prepare: Callable[[UUID], None], act: Callable[[Callback], object]
) -> None:
    id = UUID(json_of(manager.requests_callback())["id"])
    with app.app_context():
        prepare(id)
        with faulty(Callback, "before_update", "text"), pytest.raises(IntegrityError):
            act(the_callback())
        act(the_callback())
        assert the_callback().state == State.QUEUED


def end_of_a_call(portal: Portal) -> Event:
    """The end of a call that may be the one of a callback of ours."""
    call = {"CALL_ID": "x", "CALL_TYPE": "4", "PHONE_NUMBER": CUSTOMER}
    return Event("ONVOXIMPLANTCALLEND", portal.member_id, application_token="", access_token="", ts=0, fields=call)


def test_a_fault_of_a_row_is_no_repeated_event(app: Flask, manager: Actor) -> None:
    manager.requests_callback()
    with app.app_context():
        with reading() as session:
            portal = session.scalars(select(Portal)).one()
        told = end_of_a_call(portal)
        with faulty(ReceivedEvent, "before_insert", "call_id"), pytest.raises(IntegrityError):
            receive_call_event(portal, told)
        for _ in range(2):
            receive_call_event(portal, told)
        with reading() as session:
            assert len(session.scalars(select(ReceivedEvent)).all()) == 1
