"""Reports take long, and those of one portal must not take every thread of the web process."""

from contextlib import ExitStack

from flask import Flask

from bx24app.database import reading
from bx24app.models import Portal
from bx24app.services.reports import turns
from tests.support.actors import Actor


def test_two_reports_of_a_portal_are_read_at_once_and_the_third_is_refused(
    app: Flask, manager: Actor, administrator: Actor
) -> None:
    administrator.opens()
    assert administrator.asks("GET", "/reports/summary").status_code == 200
    with app.app_context(), reading() as session:
        portal_id = session.query(Portal).one().id
    with ExitStack() as held:
        for _ in range(turns.READ_OF_PORTAL):
            held.enter_context(turns.report_turn(portal_id))
        for path in ("/reports/summary", "/reports/by_day.csv"):
            refused = administrator.asks("GET", path)
            assert (refused.status_code, refused.headers.get("Retry-After")) == (429, "2"), path
        bearer = {"Authorization": f"Bearer {administrator.ticket}"}
        assert administrator.client.get("/desk/view/reports", headers=bearer).status_code == 429
        # Another portal has its turn meanwhile.
        held.enter_context(turns.report_turn(portal_id + 1))
    assert administrator.asks("GET", "/reports/summary").status_code == 200
