"""What one webhook has kept while its site is down, and its pings, cost the webhooks of others nothing."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import event, insert, text

from bx24app.database import db, is_postgresql, reading, writing
from bx24app.models import Webhook, WebhookDelivery, utcnow
from bx24app.services.webhooks import delivery, subscriptions
from tests.support.actors import Actor, json_of
from tests.support.sites import Site, status
from tests.support.webhook_steps import added, asked, change, form, listed, site, told_all

__all__ = ["form", "site"]  # Fixtures.

KEPT = 2000
HOUR = timedelta(hours=1)
# Instructions of SQLite's machine, and pages that PostgreSQL touches; the worker looks twice a second.
SQLITE_STEPS, POSTGRESQL_PAGES = 5_000, 100


def keep(webhook_id: int, callback_id: UUID, now: datetime) -> None:
    """Give a webhook many things that it should have been told."""
    row = {
        "webhook_id": webhook_id,
        "callback_id": callback_id,
        "payload": {"callback": {}},
        "due_at": now - timedelta(hours=1),
    }
    rows = [row | {"made_at": now, "expires_at": now + timedelta(hours=9)} for _ in range(KEPT)]
    with writing() as session:
        session.execute(insert(WebhookDelivery), rows)


def steps_of_a_lease() -> float:
    """How much the database does to find the next delivery."""
    steps = [0.0]

    def count(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        raw = connection.connection.cursor()
        if is_postgresql() and statement.startswith("SELECT"):
            # As in large tables, which are not read through.
            raw.execute("SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off")
            raw.execute("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + statement.partition("FOR NO KEY")[0], parameters)
            plan = raw.fetchone()[0][0]["Plan"]
            raw.execute("RESET ALL")
            steps[0] += plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        elif not is_postgresql():
            connection.connection.dbapi_connection.set_progress_handler(tick, 100)
        raw.close()

    def tick() -> int:
        steps[0] += 100
        return 0

    event.listen(db.engine, "before_cursor_execute", count)
    try:
        delivery.lease_delivery()
    finally:
        event.remove(db.engine, "before_cursor_execute", count)
    return steps[0]


def test_a_site_that_is_down_costs_others_nothing(app: Flask, administrator: Actor, form: int, site: Site) -> None:
    added(administrator, site)
    callback_id = asked(app, form)
    now = utcnow()
    with app.app_context():
        with writing() as session:
            healthy = session.query(Webhook).one()
            down = Webhook(portal_id=healthy.portal_id, form_id=form, url=site.url, secret_sealed="", failures=0)
            session.add(down)
            down.note_failure(now, now + timedelta(minutes=5))
            session.flush()
            down_id, healthy_id = down.id, healthy.id
        keep(down_id, callback_id, now)
        if is_postgresql():
            with db.engine.connect() as connection:
                connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("ANALYZE"))
        assert steps_of_a_lease() < (POSTGRESQL_PAGES if is_postgresql() else SQLITE_STEPS)
        with reading() as session:
            leased = {one.id: one.leased_until for one in session.query(Webhook)}
        assert leased[healthy_id]
        assert not leased[down_id]


def due_now(app: Flask) -> int:
    with app.app_context(), reading() as session:
        pending = session.query(WebhookDelivery).filter(WebhookDelivery.done_at.is_(None))
        return pending.filter(WebhookDelivery.due_at <= utcnow()).count()


def test_what_waits_for_another_delivery_is_not_due(app: Flask, administrator: Actor, form: int, site: Site) -> None:
    """A site that lets the first one wait for hours, again and again, else has each look go through all the others."""
    webhook = added(administrator, site)
    site.answers.append(status(500, **{"Retry-After": "7200"}))
    id = asked(app, form)
    change(app, id, lambda callback: callback.reschedule(utcnow(), utcnow() + HOUR, utcnow() + 2 * HOUR))
    told_all(app)
    assert site.states() == ["queued"]
    # What was there before the failure, and what came after it.
    change(app, id, lambda callback: callback.cancel(utcnow()))
    assert (len(listed(administrator, webhook)), due_now(app)) == (3, 0)
    # Somebody wants the first one told again: all that waited for it comes at once.
    first = listed(administrator, webhook)[-1]
    assert administrator.asks("POST", f"/webhooks/deliveries/{first['id']}/redeliver").status_code == 202
    told_all(app)
    assert site.states() == ["queued", "queued", "scheduled", "cancelled"]
    # It fails anew, and so does not let others be told again before it.
    site.answers.append(status(500, **{"Retry-After": "7200"}))
    for one in listed(administrator, webhook)[::-1]:
        assert administrator.asks("POST", f"/webhooks/deliveries/{one['id']}/redeliver").status_code == 202
        told_all(app)
    assert due_now(app) == 0


def test_pings_are_few_however_often_somebody_asks_for_one(
    app: Flask, administrator: Actor, form: int, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "PINGS_KEPT", 3)
    webhook = added(administrator, site)

    def ping() -> int:
        sent = administrator.asks("POST", f"/webhooks/{webhook['id']}/test")
        assert sent.status_code == 202
        return int(json_of(sent)["id"])

    assert len({ping() for _ in range(5)}) == 1
    site.answers.append(status(500))
    told_all(app)
    # It waits for another attempt: whoever asks again wants it now.
    before = listed(administrator, webhook)[0]
    assert ping() == before["id"]
    told_all(app)
    assert [told.json["type"] for told in site.told] == ["ping"] * 2
    asked(app, form)
    told_all(app)
    later = []
    for _ in range(5):
        later.append(ping())
        told_all(app)
    shown = [(one["type"], one["id"], one["state"]) for one in listed(administrator, webhook)]
    assert [id for kind, id, _ in shown if kind == "ping"] == later[:-4:-1]
    assert shown[-1][0] == "callback.state_changed"
    assert {state for _, _, state in shown} == {"delivered"}
