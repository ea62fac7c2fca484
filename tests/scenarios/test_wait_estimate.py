"""How long a visitor waits: by the form's last requests, and by so many of them at the most."""

from datetime import datetime, timedelta

from flask import Flask
from sqlalchemy import select

from bx24app.database import reading, writing
from bx24app.models import Callback, Form, utcnow
from bx24app.services.websites import forms, wait_estimate
from bx24app.services.websites.wait_estimate import REQUESTS_FOUND, REQUESTS_LOOKED_AT, USUAL_MINUTES
from tests.support.visitors import Visitor
from tests.support.waiting import accept


def minutes(app: Flask) -> int:
    with app.app_context():
        with reading() as session:
            form = session.scalars(select(Form)).one()
        return wait_estimate.expected_minutes(forms.open_form_by_id(form.id), utcnow())


def dialled(app: Flask, number: int, asked: datetime, after: timedelta) -> None:
    id = accept(app, to_number=f"+4930902{number:04}", form_id=1, created_at=asked, due_at=asked)
    with app.app_context(), writing() as session:
        callback = session.get_one(Callback, id)
        callback.start(callback.fence(asked + after, asked + after, "", None), "call.1", asked + after)
        callback.complete(asked + after)


def expired(app: Flask, count: int) -> None:
    for number in range(count):
        id = accept(app, to_number=f"+4930903{number:04}", form_id=1)
        with app.app_context(), writing() as session:
            session.get_one(Callback, id).expire(utcnow())


def test_what_was_never_dialled_is_gone_through_to_an_end(app: Flask, visitor: Visitor) -> None:
    """Anybody may open the form, and one who has API keys may let any number of requests expire."""
    for number in range(REQUESTS_LOOKED_AT):
        dialled(app, number, utcnow() - timedelta(hours=1), timedelta(minutes=13))
    expired(app, 30)
    assert minutes(app) == 15
    expired(app, REQUESTS_FOUND - 30)
    assert minutes(app) == USUAL_MINUTES
