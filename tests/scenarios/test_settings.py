"""The settings: two administrators at once, what the journal says of them, and which page shows what."""

from contextlib import suppress
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select, update

from bx24app.database import reading, writing
from bx24app.models import JournalEntry, utcnow
from bx24app.services import retention
from bx24app.services.security import journal
from tests.fake_bitrix24 import FakePortal
from tests.scenarios.test_desk_views import fetches
from tests.support.actors import CUSTOMER, Actor, json_of


@pytest.fixture
def colleague(administrator: Actor, manager: Actor, portal: FakePortal) -> Actor:
    """A second administrator, with the settings open."""
    second = Actor(manager.client, portal, manager.application, portal.add_user("Olga", "Weber", admin=True))
    administrator.opens()
    second.opens()
    return second


def test_the_second_of_two_administrators_is_told_and_overwrites_nothing(
    administrator: Actor, colleague: Actor
) -> None:
    read = administrator.asks("GET", "/settings").headers["ETag"]
    assert colleague.asks("GET", "/settings").headers["ETag"] == read
    saved = administrator.asks("PATCH", "/settings", {"retries": 3}, If_Match=read)
    assert (saved.status_code, saved.headers["ETag"] == read) == (200, False)
    refused = colleague.asks("PATCH", "/settings", {"retries": 1, "retry_minutes": 5}, If_Match=read)
    assert (refused.status_code, json_of(refused)["code"]) == (409, "changed_meanwhile")
    kept = colleague.asks("GET", "/settings")
    assert (json_of(kept)["retries"], json_of(kept)["retry_minutes"]) == (3, 10)
    # Once it has seen the newer ones; "any", and back ends that name no version, are taken as ever.
    for known in ({"If_Match": kept.headers["ETag"]}, {"If_Match": "*"}, {}):
        assert colleague.asks("PATCH", "/settings", {"retry_minutes": 5}, **known).status_code == 200
    assert json_of(administrator.asks("GET", "/settings"))["retries"] == 3
    # What no version can be is none that was read.
    assert administrator.asks("PATCH", "/settings", {"retries": 0}, If_Match="x" * 500).status_code == 409


def test_the_journal_tells_who_changed_what_and_no_number_or_secret(
    app: Flask, administrator: Actor, colleague: Actor
) -> None:
    text = "Call +49 30 901820 back"
    administrator.asks("PATCH", "/settings", {"retries": 2, "default_text": text, "shares_reports": False})
    # What stays as it was is no change.
    administrator.asks("PATCH", "/settings", {"retries": 2})
    form = json_of(administrator.asks("POST", "/forms", {"name": "Shop", "default_country": "DE"}))
    colleague.asks("PATCH", f"/forms/{form['key']}", {"retries": 4})
    made = json_of(colleague.asks("POST", "/api-keys", {"form_key": form["key"], "name": "CRM"}))
    colleague.asks("DELETE", f"/api-keys/{made['id']}")
    hook = {"form_key": form["key"], "url": "https://93.184.216.34/hidden-path"}
    secret = json_of(colleague.asks("POST", "/webhooks", hook))["secret"]
    number = json_of(colleague.asks("POST", "/do-not-call", {"number": CUSTOMER}))
    colleague.asks("DELETE", f"/do-not-call/{number['id']}")
    told = administrator.asks("GET", "/audit")
    for hidden in ("901820", "hidden-path", secret, made["secret"]):
        assert hidden not in told.text
    found = [
        (entry["user_id"], entry["page"], entry["subject"], entry["changes"]) for entry in json_of(told)["entries"]
    ]
    anna, olga = administrator.user.id, colleague.user.id

    def change(field: str, old: str, new: str) -> list[dict[str, str]]:
        return [{"field": field, "old": old, "new": new}]

    text_masked = {"field": "default_text", "old": "", "new": "Call ...820 back"}
    assert found == [
        (olga, "do-not-call", "", change("numbers_removed", "0", "1")),
        (olga, "do-not-call", "", change("numbers_added", "0", "1")),
        (olga, "webhooks", "93.184.216.34", change("webhook", "", "created")),
        (olga, "keys", "CRM", change("key", "", "revoked")),
        (olga, "keys", "CRM", change("key", "", "created")),
        (olga, "forms", "Shop", change("retries", "2", "4")),
        (anna, "forms", "Shop", change("is_on", "", "created")),
        (anna, "people", "", change("shares_reports", "true", "false")),
        (anna, "calls", "", [text_masked, *change("retries", "0", "2")]),
    ]
    # By person and page, in pages, and for administrators of this portal alone.
    assert len(json_of(administrator.asks("GET", f"/audit?user_id={anna}"))["entries"]) == 3
    first = json_of(administrator.asks("GET", "/audit?page=calls&limit=1"))
    assert (len(first["entries"]), first["next_before"]) == (1, None)
    newest = json_of(administrator.asks("GET", "/audit?limit=2"))
    older = json_of(administrator.asks("GET", f"/audit?before={newest['next_before']}"))
    assert len(older["entries"]) == len(found) - 2
    assert administrator.asks("GET", "/audit?page=nothing").status_code == 400
    shown = fetches(administrator, "settings/journal?page=calls").text
    assert "Repeat unsuccessful staff calls: <s>0</s> → 2" in shown
    assert f"Last change: {administrator.user.full_name}" in fetches(administrator, "settings/calls").text
    # What a transaction took back was never done; entries are bounded, and old ones go.
    only_what_was_committed_is_kept_for_a_year(app)


def only_what_was_committed_is_kept_for_a_year(app: Flask) -> None:
    with app.app_context():
        with suppress(RuntimeError), writing() as session:
            journal.record(session, journal.Recorded(1, 1, journal.JournalPage.CALLS), {"a": 1}, {"a": 2})
            raise RuntimeError
        with reading() as session:
            entries = session.scalars(select(JournalEntry).order_by(JournalEntry.id)).all()
        assert all(entry.changes[0][0] != "a" for entry in entries)
        with writing() as session:
            session.execute(update(JournalEntry).values(made_at=utcnow() - timedelta(days=366)))
        assert retention.purge_journal() == len(entries)


def test_the_journal_is_bounded(app: Flask, manager: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MAX_JOURNAL_ENTRIES", 3)
    with app.app_context():
        for turn in range(5):
            with writing() as session:
                by = journal.Recorded(1, 1, journal.JournalPage.CALLS)
                journal.record(session, by, {"text": turn}, {"text": "x" * 9000})
        found, _ = journal.list_entries(1, journal.JournalFilter())
    assert [entry.changes[0][1] for entry in found] == ["4", "3", "2"]
    assert len(found[0].changes[0][2]) == journal.MAX_VALUE
