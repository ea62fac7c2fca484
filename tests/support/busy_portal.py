"""A company some months after it has installed the app: callbacks of every kind, forms, lists, and figures to report.

All people are made up. Their numbers are those that the countries keep free for films and examples.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from flask import Flask
from sqlalchemy import select

from bx24app.database import writing
from bx24app.models import Attempt, Callback, Form, Outcome, Source, State, User, WebsiteRequest, WidgetSighting, utcnow
from bx24app.services.diagnostics.first_run import close_first_run
from bx24app.services.reports import counting
from tests.support.actors import Actor, json_of
from tests.support.report_days import ANNA, Asked, Call, write_week
from tests.support.visitors import Visitor
from tests.support.waiting import accept, change_portal

SITE = "https://shop.example.com"
WEEK = {day: [["09:00", "12:00"], ["13:00", "18:00"]] for day in ("mon", "tue", "wed", "thu", "fri")}
HOURS = {"zone": "Europe/Berlin", "week": WEEK, "holidays": "DE-BY"}
CONSENT = "I agree to be called back at this number."
ADMINISTRATOR, OPERATOR = 1, 2


@dataclass(frozen=True)
class Story:
    """One request: how many minutes ago it came, whose it is, and what became of it."""

    minutes: int
    name: str
    number: str
    becomes: Callable[[Callback, datetime], object]
    topic: str = ""
    by: int | None = None


def _dials(callback: Callback, at: datetime) -> Attempt:
    attempt = callback.fence(at + timedelta(seconds=1), at, "", None)
    callback.decide("fenced", attempt.started_at, attempt=attempt.number)
    return attempt


def rings(callback: Callback, at: datetime) -> Attempt:
    """The line rings, and nobody has picked up."""
    attempt = _dials(callback, at)
    call_id = f"callback.{int(at.timestamp())}"
    callback.start(attempt, call_id, at + timedelta(seconds=2))
    callback.decide("dialled_started", at + timedelta(seconds=2), attempt=attempt.number, call_id=call_id)
    return attempt


def is_picked_up(callback: Callback, at: datetime) -> Attempt:
    """Somebody of the line has picked up."""
    attempt = rings(callback, at)
    callback.answer(attempt, ANNA, at + timedelta(seconds=14))
    return attempt


def has_talked(callback: Callback, at: datetime) -> None:
    """They talked for some minutes."""
    attempt = is_picked_up(callback, at)
    attempt.end(Outcome.COMPLETED, at + timedelta(seconds=206), None, None)
    attempt.duration_seconds, attempt.cost, attempt.cost_currency = 192, Decimal("0.0812"), "EUR"
    callback.complete(at + timedelta(seconds=206))


def _ends(callback: Callback, at: datetime, code: str) -> None:
    rings(callback, at).end(Outcome.MISSED, at + timedelta(seconds=36), code, None)


def repeats(callback: Callback, at: datetime) -> None:
    """Nobody picked up, and the app calls again."""
    _ends(callback, at, "304")
    ended, again = at + timedelta(seconds=36), utcnow() + timedelta(hours=1)
    callback.postpone(ended, again, again + timedelta(hours=1), "retry_code_304")
    callback.decide("repeats", ended, code="304", left=2, due_at=again.isoformat())


def is_missed(callback: Callback, at: datetime) -> None:
    """Nobody picked up."""
    _ends(callback, at, "304")
    callback.miss(at + timedelta(seconds=36), "code_304")


def is_busy(callback: Callback, at: datetime) -> None:
    """The customer was busy."""
    _ends(callback, at, "486")
    callback.miss(at + timedelta(seconds=36), "code_486")


def is_refused(callback: Callback, at: datetime) -> None:
    """The line has no money."""
    callback.refuse(_dials(callback, at), at + timedelta(seconds=2), "line_refused", "Not enough money")


def is_unknown(callback: Callback, at: datetime) -> None:
    """Bitrix24 has not replied, and only a person can say what happened."""
    callback.mark_unknown(_dials(callback, at), at + timedelta(seconds=30), "dial_timeout")
    callback.decide("dialled_unknown", at + timedelta(seconds=30), attempt=1, reason="dial_timeout")
    callback.ask_person(at + timedelta(minutes=2))


def is_scheduled(callback: Callback, at: datetime) -> None:
    """It waits for tomorrow."""
    due = (utcnow() + timedelta(days=1)).replace(minute=30, second=0, microsecond=0)
    callback.reschedule(at, due, due + timedelta(hours=1))


def is_cancelled(callback: Callback, at: datetime) -> None:
    """The customer has withdrawn it."""
    callback.cancel(at + timedelta(minutes=1))


def is_too_late(callback: Callback, at: datetime) -> None:
    """The line was busy for too long."""
    callback.expire(at + timedelta(hours=1))


def waits(_callback: Callback, _at: datetime) -> None:
    """Another call of the line comes first."""


STORIES = (
    Story(1, "Clara Meyer", "+493023125001", rings, "Prices"),
    Story(2, "Sofia Brandt", "+491713920001", is_picked_up, "Delivery"),
    Story(3, "Emil Hartmann", "+493023125002", waits, "Prices"),
    Story(12, "Oliver Hughes", "+442079460018", is_unknown, by=OPERATOR),
    Story(21, "Jean Petit", "+33199000101", repeats, "Roof repair"),
    Story(34, "Ingrid Larsen", "+493023125003", is_scheduled, by=OPERATOR),
    Story(52, "Marta Keller", "+491713920002", has_talked, "Prices"),
    Story(67, "", "+12125550146", is_busy, by=ADMINISTRATOR),
    Story(75, "Noah Fischer", "+493023125004", has_talked, "Delivery"),
    Story(95, "Amira Haddad", "+442079460021", is_missed, "Roof repair"),
    Story(118, "Paul Schneider", "+493023125005", is_refused, "Prices"),
    Story(140, "Lina Vogel", "+491713920003", is_cancelled, "Delivery"),
    Story(171, "Théo Garnier", "+33199000102", has_talked, "Prices"),
    Story(190, "Hannah König", "+493023125006", is_too_late, "Delivery"),
)
# What nobody writes in a screenshot, and many in life.
ODD = (
    Story(200, "عائشة بنت محمد", "+442079460022", has_talked, "أسعار"),
    Story(210, "Jean-Baptiste <b>de la Rochefoucauld-Montmorency</b> " * 3, "+33199000103", is_missed, "A topic " * 12),
    Story(220, "Donaudampfschifffahrtselektrizitätenhauptbetriebswerk" * 3, "+493023125007", repeats, "Pneumono" * 12),
)
# How many of a hundred requests of a month ended so.
ENDS: tuple[tuple[int, State, list[Call]], ...] = (
    (60, State.COMPLETED, [Call("200", 95, "0.0812", talk=120)]),
    (14, State.MISSED, [Call("304"), Call("304", cost="0.002")]),
    (10, State.MISSED, [Call("486", 40, "0.02")]),
    (5, State.MISSED, [Call("603-S")]),
    (6, State.EXPIRED, []),
)


@dataclass(frozen=True)
class Company:
    """What there is to look at: the key of a form, the callback of each name, a lead, and a visitor's own page."""

    form_key: str
    callbacks: dict[str, UUID]
    lead: int
    status_url: str


def fill(app: Flask, administrator: Actor, *, is_odd: bool = True) -> Company:
    """Fill the portal of an administrator who has installed the app; answers what was made.

    Where it is odd, there are names of any length, a form that is stopped, and a first run that nobody has finished.
    """
    # Its hours come last, so that visitors are let in whenever this runs.
    change_portal(app, hours=None, default_country="DE")
    administrator.opens()
    form = _make_forms(administrator, budget=0 if is_odd else 50)
    for number in ("+493023125090", "+442079460090"):
        administrator.asks("POST", "/do-not-call", {"number": number, "note": "asked by letter"})
    administrator.asks("POST", "/api-keys", {"form_key": form["key"], "name": "Online shop"})
    administrator.asks("POST", "/webhooks", {"form_key": form["key"], "url": "https://93.184.216.34/callbacks"})
    visitor = Visitor(administrator.client, form["key"], origin=SITE)
    for number in ("12", "+12125550105", "+9"):
        visitor.asks(number, consent=True)
    asked = json_of(visitor.asks("+493023125020", consent=True, name="Felix Brandt", topic="Prices"))
    lead = administrator.portal.crm.add_lead("Question about the price list", "Clara Meyer", ["+49 30 23125001"])
    with app.app_context():
        with writing() as session:
            made = session.scalars(select(Form).where(Form.key == form["key"])).one()
            session.add(User(portal_id=made.portal_id, user_id=ANNA, name="Lena Wagner"))
            session.add(WidgetSighting(form_id=made.id, origin=SITE, seen_at=utcnow() - timedelta(minutes=2)))
        write_week(made.portal_id, made, list(_a_month()))
        change_portal(app, hours=HOURS)
        if not is_odd:
            change_portal(app, default_line_id="reg150907")
            close_first_run(made.portal_id)
    stories = (*STORIES, *ODD) if is_odd else STORIES
    # Lists are in the order in which callbacks were stored.
    found = {story.name: _tell(app, made, story) for story in sorted(stories, key=lambda one: -one.minutes)}
    with app.app_context():
        while counting.count_changed():
            pass
    return Company(form["key"], found, lead, asked["status_url"])


def _make_forms(administrator: Actor, budget: int) -> dict[str, Any]:
    wanted = {
        "name": "Shop form",
        "line_id": "reg150907",
        "default_country": "DE",
        "allowed_origins": [SITE],
        "allowed_countries": ["AT", "DE", "FR", "GB"],
        "consent_text": CONSENT,
        "fields": {"name": "optional", "topic": "optional"},
        "topics": ["Prices", "Delivery", "Roof repair"],
        "retries": 2,
    }
    first = json_of(administrator.asks("POST", "/forms", wanted))
    other = {"line_id": "sip7", "default_country": "DE", "consent_text": CONSENT}
    administrator.asks("POST", "/forms", {**other, "name": "Landing page, spring", "budget_calls": budget})
    administrator.asks("POST", "/forms", {**other, "name": "Support", "is_on": False, "hours": HOURS})
    return first


def _a_month() -> Iterable[Asked]:
    """Some two hundred requests of the four weeks before yesterday, few of them on Saturdays and Sundays."""
    kinds = [(state, calls) for weight, state, calls in ENDS for _ in range(weight)]
    now = utcnow()
    for number in range(300):
        day = now - timedelta(days=2 + number * 17 % 28)
        if day.weekday() > 4 and number % 5:
            continue
        at = day.replace(hour=8 + number * number % 10, minute=number * 7 % 60, second=number % 60, microsecond=0)
        state, calls = kinds[number * 37 % len(kinds)]
        yield Asked(at.strftime("%Y-%m-%d %H:%M:%S"), state, calls)


def _tell(app: Flask, form: Form, story: Story) -> UUID:
    at = utcnow() - timedelta(minutes=story.minutes)
    of_form = story.by is None
    id = accept(
        app,
        to_number=story.number,
        customer_name=story.name[:200] or None,
        form_id=form.id if of_form else None,
        source=Source.WEBSITE if of_form else Source.STAFF,
        requested_by=story.by,
        created_at=at,
        due_at=at,
    )
    with app.app_context(), writing() as session:
        callback = session.get_one(Callback, id)
        story.becomes(callback, at)
        if of_form:
            session.add(_request(form, id, story, at))
    return id


def _request(form: Form, id: UUID, story: Story, at: datetime) -> WebsiteRequest:
    return WebsiteRequest(
        callback_id=id,
        form_id=form.id,
        number_digest="x",
        name=story.name[:200],
        topic=story.topic[:200],
        page=f"{SITE}/roofs?campaign=spring",
        utm={"source": "newsletter", "medium": "mail", "campaign": "spring"},
        consent_text=CONSENT,
        consent_version=1,
        consent_at=at,
        address="203.0.113.7",
    )
