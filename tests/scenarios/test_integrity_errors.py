"""What a violated constraint means to the guarded write: a row that is gone meanwhile, and never a fault of ours."""

from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from bx24app.database import reading
from bx24app.models import Callback, Form, Source, WebsiteRequest, utcnow
from bx24app.services.callbacks.accept import prepare_for_insert
from bx24app.services.callbacks.conditions import Candidate
from bx24app.services.callbacks.guarded_write import write
from tests.support.actors import CUSTOMER
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
