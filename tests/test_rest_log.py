"""The REST log: every request to a portal, masked, kept for the operator's days."""

from datetime import timedelta

from flask import Flask
from sqlalchemy import select, update

from bx24app.extensions import reading, writing
from bx24app.models import RestCall, utcnow
from bx24app.services import rest
from bx24app.worker import Worker
from tests.actors import Actor
from tests.fake_bitrix24 import FakePortal


def logged(app: Flask) -> list[RestCall]:
    with app.app_context(), reading() as session:
        return list(session.scalars(select(RestCall).order_by(RestCall.id)))


def test_requests_are_logged_with_masked_parameters(
    app: Flask, manager: Actor, worker: Worker, portal: FakePortal
) -> None:
    portal.faults.add("error", "voximplant.callback.start", code="ERROR_CORE", words="Could not find line 7")
    manager.requests_callback("+49 30 901820", text="Callback for Clara.", wait=5)
    worker.stop()
    rows = {row.method: row for row in logged(app)}
    assert {"batch", "voximplant.line.get", "voximplant.callback.start"} <= rows.keys()
    dial = rows["voximplant.callback.start"]
    assert (dial.user_id, dial.status, dial.error) == (portal.manager.id, 400, "ERROR_CORE")
    assert dial.parameters == {
        "FROM_LINE": "reg150907",
        "TO_NUMBER": "...820",
        "TEXT_TO_PRONOUNCE": "(19 characters)",
    }
    assert rows["voximplant.line.get"].status == 200
    assert "Clara" not in str([row.parameters for row in rows.values()])


def test_old_rows_are_forgotten(app: Flask, manager: Actor) -> None:
    assert logged(app)
    with app.app_context():
        assert rest.forget_old_calls() == 0
        with writing() as session:
            session.execute(update(RestCall).values(made_at=utcnow() - timedelta(days=7, minutes=1)))
        assert rest.forget_old_calls() > 0
    assert logged(app) == []
