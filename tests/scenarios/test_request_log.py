"""The REST log: every request to a portal, masked, kept for the operator's days."""

import re
from datetime import timedelta

from flask import Flask
from sqlalchemy import select, update

from bx24app.database import reading, writing
from bx24app.models import RestCall, utcnow
from bx24app.services.portals import api as portal_api
from bx24app.worker.worker import Worker
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor


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


def shown(actor: Actor, **query: str) -> str:
    response = actor.client.get(
        "/desk/requests", query_string=query, headers={"Authorization": f"Bearer {actor.ticket}"}
    )
    assert response.status_code == 200, response.text
    return response.text


def test_administrators_read_it_with_filters(
    app: Flask, administrator: Actor, manager: Actor, worker: Worker, portal: FakePortal
) -> None:
    words = "No money for +4930901820"
    portal.faults.add("error", "voximplant.callback.start", code="ERROR_CORE", words=words)
    manager.requests_callback("+49 30 901820", text="Callback for Clara.", wait=5)
    administrator.opens()
    worker.stop()
    whole = shown(administrator)
    assert "voximplant.callback.start" in whole
    assert "ERROR_CORE (400)" in whole
    assert "No money for ...820" in whole
    assert "Max Weber" in whole
    assert "Clara" not in whole
    assert "voximplant.line.get" not in shown(administrator, method="voximplant.callback.start")
    assert "voximplant.line.get" not in shown(administrator, outcome="refused")
    assert "ERROR_CORE" not in shown(administrator, outcome="answered")
    with app.app_context(), writing() as session:
        session.execute(update(RestCall).where(RestCall.error.is_(None)).values(made_at=utcnow() - timedelta(hours=2)))
    assert "voximplant.line.get" not in shown(administrator, hours="1")
    assert "voximplant.line.get" in shown(administrator, hours="24")
    assert "No request fits" in shown(administrator, method="nothing")
    for wrong in ({"before": "x"}, {"outcome": "x"}, {"hours": "9"}, {"before": "99999999999"}):
        response = administrator.client.get(
            "/desk/requests", query_string=wrong, headers={"Authorization": f"Bearer {administrator.ticket}"}
        )
        assert (response.status_code, response.json["errors"][0]["field"]) == (400, next(iter(wrong)))  # type: ignore[index]


def test_older_rows_are_one_click_away(app: Flask, administrator: Actor, manager: Actor) -> None:
    with app.app_context(), writing() as session:
        for number in range(120):
            session.add(RestCall(portal_id=1, method=f"m.{number:03}", parameters={}, status=200, duration_ms=1))
    administrator.opens()
    seen: list[str] = []
    before = "0"
    while before:
        page = shown(administrator, before=before)
        seen += re.findall(r"m\.\d{3}", page)
        match = re.search(r'data-more="(\d+)"', page)
        before = match[1] if match else ""
    assert seen == [f"m.{number:03}" for number in reversed(range(120))]


def test_old_rows_are_forgotten(app: Flask, manager: Actor) -> None:
    assert logged(app)
    with app.app_context():
        assert portal_api.purge_request_log() == 0
        with writing() as session:
            session.execute(update(RestCall).values(made_at=utcnow() - timedelta(days=7, minutes=1)))
        assert portal_api.purge_request_log() > 0
    assert logged(app) == []
