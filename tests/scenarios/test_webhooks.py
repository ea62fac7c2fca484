"""Outgoing webhooks: every state change is told to the site, signed, in order, and never to a private address."""

import threading
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select, update
from sqlalchemy.orm import object_session

from bx24app.database import reading, writing
from bx24app.models import Callback, Form, IllegalTransition, State, Webhook, WebhookDelivery, utcnow
from bx24app.services.webhooks import delivery as delivery_service
from bx24app.services.webhooks import sender, subscriptions
from bx24app.worker.worker import Worker
from tests.conftest import Eventually, working
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor, json_of
from tests.support.sites import Site, a_site, canary, status
from tests.support.visitors import Visitor
from tests.support.webhook_steps import KEY, added, asked, change, form, hurry, listed, site, told_all

__all__ = ["form", "site"]  # Fixtures.


def test_a_whole_callback_is_told_state_by_state(
    app: Flask,
    administrator: Actor,
    form: int,
    site: Site,
    portal: FakePortal,
    worker: Worker,
    eventually: Eventually,
) -> None:
    webhook = added(administrator, site)
    id = asked(app, form)
    eventually(lambda: "started" in site.states(str(id)))
    assert site.states(str(id)) == ["queued", "dialling", "started"]
    portal.telephony.calls[0].manager_answers()
    eventually(lambda: "answered" in site.states(str(id)))
    first = site.told[0].json
    assert first["callback"] == {
        "id": str(id),
        "state": "queued",
        "previous_state": None,
        "reason": None,
        "form_key": KEY,
        "source": "website",
        "scheduled_at": None,
        "created_at": first["callback"]["created_at"],
        "ended_at": None,
        "retry_of": None,
        "to_number": "+4930901820",
    }
    assert [told.json["callback"]["previous_state"] for told in site.told[1:3]] == ["queued", "dialling"]
    assert len({told.json["event_id"] for told in site.told}) == len(site.told)
    assert site.told[0].headers["X-Callback-Desk-Event"] == first["event_id"]
    eventually(lambda: {one["state"] for one in listed(administrator, webhook)} == {"delivered"})
    assert "Anna" not in site.told[0].body.decode()


def test_a_visitors_request_is_told_from_its_first_state_on(
    app: Flask, environ: dict[str, str], administrator: Actor, manager: Actor, site: Site
) -> None:
    """Through the form itself, whose way into the database is its own."""
    administrator.opens()
    wanted = {"name": "Shop", "line_id": "reg150907", "default_country": "DE"}
    key = json_of(administrator.asks("POST", "/forms", wanted))["key"]
    assert administrator.asks("POST", "/webhooks", {"form_key": key, "url": site.url}).status_code == 201
    visitor = Visitor(app.test_client(), key, origin=environ["BX24APP_PUBLIC_URL"])
    reference = json_of(visitor.asks())["reference"]
    told_all(app)
    assert site.states(reference) == ["queued"]


def test_other_callbacks_are_told_to_nobody(app: Flask, administrator: Actor, form: int, site: Site) -> None:
    added(administrator, site)
    with app.app_context(), writing() as session:
        session.add(other := Form(portal_id=1, key="other", name="Other"))
        session.flush()
    asked(app, other.id)
    asked(app, None, "+4930901821")
    told_all(app)
    assert site.told == []


def test_a_change_that_is_not_committed_is_not_told(app: Flask, administrator: Actor, form: int, site: Site) -> None:
    added(administrator, site)
    id = asked(app, form)

    def both(callback: Callback) -> None:
        callback.cancel(utcnow())
        callback.queue(utcnow())

    with pytest.raises(IllegalTransition):
        change(app, id, both)

    def fails_after_the_flush(callback: Callback) -> None:
        callback.cancel(utcnow())
        object_session(callback).flush()  # type: ignore[union-attr]  # It has just come from one.
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        change(app, id, fails_after_the_flush)
    told_all(app)
    assert site.states() == ["queued"]


def test_a_failing_site_is_asked_again_in_order_and_under_the_same_id(
    app: Flask, administrator: Actor, form: int, site: Site
) -> None:
    webhook = added(administrator, site)
    site.answers += [status(500, "Database error for +49 30 901820\x07 " + "x" * 5000), status(404)]
    id = asked(app, form)
    change(app, id, lambda callback: callback.cancel(utcnow()))
    told_all(app)
    assert site.states() == ["queued"]
    [second, first] = listed(administrator, webhook)
    assert (first["state"], first["attempts"], first["last_status"]) == ("waiting", 1, 500)
    assert first["last_error"].startswith("http_500 Database error for ...820 xxx")
    assert len(first["last_error"]) <= 200
    assert (second["state"], second["attempts"]) == ("pending", 0)
    failing = json_of(administrator.asks("GET", f"/webhooks/{webhook['id']}"))
    assert (failing["pending"], failing["last_ok_at"]) == (2, None)
    assert failing["failing_since"] is not None
    hurry(app)
    told_all(app)  # 404
    hurry(app)
    told_all(app)
    assert site.states() == ["queued", "queued", "queued", "cancelled"]
    assert len({told.json["event_id"] for told in site.told[:3]}) == 1
    well = json_of(administrator.asks("GET", f"/webhooks/{webhook['id']}"))
    assert (well["pending"], well["failing_since"], well["is_on"]) == (0, None, True)
    assert well["last_ok_at"] is not None


def test_pauses_grow_and_a_day_is_the_end(app: Flask, administrator: Actor, form: int, site: Site) -> None:
    webhook = added(administrator, site)
    asked(app, form)
    pauses = []
    for _ in range(12):
        site.answers.append(status(503))
        told_all(app)
        with app.app_context(), reading() as session:
            delivery = session.scalars(select(WebhookDelivery)).one()
        if delivery.done_at is not None:
            break
        pauses.append((delivery.due_at - utcnow()).total_seconds())
        hurry(app)
        # Time passes as it would.
        with app.app_context(), writing() as session:
            passed = timedelta(seconds=pauses[-1])
            session.execute(update(WebhookDelivery).values(expires_at=delivery.expires_at - passed * 4))
    for pause, step in zip(pauses, delivery_service.DELIVERY_BACKOFF_SECONDS, strict=False):
        assert step * 0.79 < pause < step * 1.21
    assert len(pauses) >= 6
    [shown] = listed(administrator, webhook)
    assert (shown["state"], shown["last_error"], shown["next_attempt_at"]) == ("given_up", "http_503", None)


def test_what_nobody_sent_for_a_day_is_given_up(app: Flask, administrator: Actor, form: int, site: Site) -> None:
    webhook = added(administrator, site)
    asked(app, form)
    assert administrator.asks("PATCH", f"/webhooks/{webhook['id']}", {"is_on": False}).status_code == 200
    told_all(app)
    with app.app_context():
        assert delivery_service.purge_deliveries() == 0
        with writing() as session:
            session.execute(update(WebhookDelivery).values(expires_at=utcnow() - timedelta(seconds=1)))
        assert delivery_service.purge_deliveries() == 1
    [shown] = listed(administrator, webhook)
    assert (shown["state"], shown["last_error"], site.told) == ("given_up", "not_sent", [])
    with app.app_context():
        with writing() as session:
            session.execute(update(WebhookDelivery).values(done_at=utcnow() - timedelta(days=15)))
        assert delivery_service.purge_deliveries() == 1
    assert listed(administrator, webhook) == []


def test_redirects_are_not_followed(app: Flask, administrator: Actor, form: int, site: Site) -> None:
    webhook = added(administrator, site)
    with canary() as bird:
        site.answers.append(status(307, Location=bird.url))
        asked(app, form)
        told_all(app)
    [shown] = listed(administrator, webhook)
    assert (shown["state"], shown["last_status"], shown["last_error"]) == ("waiting", 307, "redirect")


def test_gone_switches_it_off(app: Flask, administrator: Actor, form: int, site: Site) -> None:
    webhook = added(administrator, site)
    site.answers.append(status(410))
    asked(app, form)
    asked(app, form, "+4930901821")
    told_all(app)
    shown = json_of(administrator.asks("GET", f"/webhooks/{webhook['id']}"))
    assert (shown["is_on"], shown["off_reason"], len(site.told)) == (False, "gone", 1)
    asked(app, form, "+4930901822")
    assert len(listed(administrator, webhook)) == 2
    # A test of something that is switched off would only wait.
    assert administrator.asks("POST", f"/webhooks/{webhook['id']}/test").status_code == 400
    back = json_of(administrator.asks("PATCH", f"/webhooks/{webhook['id']}", {"is_on": True}))
    assert (back["is_on"], back["off_reason"]) == (True, None)
    told_all(app)
    assert len(site.told) == 2


@pytest.mark.parametrize("how", ["hangs", "drips"])
def test_a_site_that_hangs_delays_nobody(
    app: Flask,
    administrator: Actor,
    form: int,
    site: Site,
    portal: FakePortal,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    """Neither another site, nor a dial, nor the worker's end; and never more than one request at a time."""
    monkeypatch.setattr(sender, "DELIVERY_TIMEOUT_SECONDS", 1.0)
    webhook = added(administrator, site)
    site.answers += [getattr(site, how)] * 40
    with a_site() as healthy, working(app) as worker:
        added(administrator, healthy)
        ids = [asked(app, form, f"+49309018{number:02}") for number in range(10, 16)]
        eventually(lambda: all("started" in healthy.states(str(id)) for id in ids))
        assert len(portal.telephony.calls) == 6
        eventually(lambda: any(one["last_error"] == "timeout" for one in listed(administrator, webhook)))
        worker.stop()
    assert site.most_at_once == 1
    assert len(site.told) <= 2
    hanging = json_of(administrator.asks("GET", f"/webhooks/{webhook['id']}"))
    assert hanging["failing_since"] is not None
    assert hanging["pending"] >= 18


def test_one_bad_delivery_does_not_keep_back_other_callbacks(
    app: Flask, administrator: Actor, form: int, site: Site
) -> None:
    added(administrator, site)
    bad = asked(app, form)
    site.answers.append(status(400))
    told_all(app)
    good = asked(app, form, "+4930901821")
    with app.app_context(), writing() as session:
        session.execute(update(Webhook).values(waits_until=None))
    told_all(app)
    assert site.states(str(good)) == ["queued"]
    assert site.states(str(bad)) == ["queued"]


def test_two_workers_tell_everything_once_and_in_order(
    app: Flask, administrator: Actor, form: int, site: Site, eventually: Eventually
) -> None:
    added(administrator, site)
    with a_site() as second:
        added(administrator, second)
        ids = [asked(app, form, f"+49309018{number:02}") for number in range(10, 30)]
        for id in ids:
            change(app, id, lambda callback: callback.cancel(utcnow()))
        with working(app), working(app):
            eventually(lambda: len(site.told) >= 40 and len(second.told) >= 40)
        for one in (site, second):
            assert all(one.states(str(id)) == ["queued", "cancelled"] for id in ids)
            assert one.most_at_once == 1


def test_a_worker_that_dies_while_telling_is_followed_by_another(
    app: Flask, administrator: Actor, form: int, site: Site
) -> None:
    added(administrator, site)
    asked(app, form)
    with app.app_context():
        lost = delivery_service.lease_delivery()
        assert lost is not None
        assert delivery_service.lease_delivery() is None
        with writing() as session:
            session.execute(update(Webhook).values(leased_until=utcnow() - timedelta(seconds=1)))
        told_all(app)
        # It was not dead, only slow: the site hears the same id again, and the record stands.
        delivery_service.deliver(lost)
        with reading() as session:
            assert session.scalars(select(WebhookDelivery.attempts)).one() == 1
    assert len(site.told) == 2
    assert len({told.json["event_id"] for told in site.told}) == 1


def test_a_webhook_that_is_removed_at_that_moment_does_not_hurt_the_change(
    app: Flask, administrator: Actor, form: int, site: Site
) -> None:
    for _ in range(10):
        webhook = added(administrator, site)
        id = asked(app, form)
        barrier = threading.Barrier(2)

        def remove(webhook_id: int = webhook["id"], barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            with app.app_context():
                subscriptions.remove_webhook(1, webhook_id, 1)

        remover = threading.Thread(target=remove)
        remover.start()
        barrier.wait()
        change(app, id, lambda callback: callback.cancel(utcnow()))
        remover.join()
        with app.app_context(), reading() as session:
            assert session.get_one(Callback, id).state == State.CANCELLED
            assert session.scalars(select(WebhookDelivery.id)).all() == []
