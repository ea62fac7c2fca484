"""Reports and endless pages take long, and those of one portal must not take every thread of the web process."""

from contextlib import ExitStack

import pytest
from flask import Flask

from bx24app.database import reading
from bx24app.models import Form, Portal
from bx24app.services.reports import turns
from bx24app.services.runtime.slots import turn
from bx24app.web import guards
from tests.support.actors import Actor
from tests.support.waiting import add_form


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


LONG = ["/api/v1/forms", "/api/v1/webhooks", "/api/v1/api-keys"]
LONG += [f"/desk/view/websites{rest}" for rest in ("", "/rejected", "/developers")]
LONG += ["/desk/view/settings/log", "/desk/requests?method=none"]
# Of one form, that may have refused 30,000 requests.
LONG += ["/api/v1/forms/{key}/refusals", "/desk/view/websites/{key}"]


@pytest.mark.parametrize("path", LONG)
def test_few_pages_of_all_that_a_portal_has_are_written_at_once(
    app: Flask, manager: Actor, administrator: Actor, path: str
) -> None:
    """A portal may have 200 forms, 1,000 webhooks and 600 keys: 2 MB, at which nobody else of the process is served."""
    administrator.opens()
    bearer = {"Authorization": f"Bearer {administrator.ticket}"}
    add_form(app)
    with app.app_context(), reading() as session:
        portal_id, path = session.query(Portal).one().id, path.format(key=session.query(Form).one().key)
    with ExitStack() as held:
        for _ in range(guards.WRITTEN_OF_PORTAL):
            held.enter_context(turn(guards._written, portal_id))
        refused = administrator.client.get(path, headers=bearer)
        assert (refused.status_code, refused.headers.get("Retry-After")) == (429, "2")
        held.enter_context(turn(guards._written, portal_id + 1))
    assert administrator.client.get(path, headers=bearer).status_code == 200
