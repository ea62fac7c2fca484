"""What the reports add up equals a recount of the callbacks, whatever happens to them and in whichever order."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from flask import Flask
from sqlalchemy import delete, func, select, text
from sqlalchemy.orm import Session, selectinload

from bx24app.database import db, reading, writing
from bx24app.models import Callback, Outcome, Portal, PortalSettings, ReportFigure, Source, State, User
from bx24app.services.callbacks.listing.company_day import company_zone
from bx24app.services.callbacks.listing.periods import PeriodName
from bx24app.services.dialling import reconcile
from bx24app.services.dialling.call_report import CallReport, ReportKind, row_of_report
from bx24app.services.reports import counting, figures, periods
from bx24app.services.reports.figures import ReportScope
from bx24app.services.reports.periods import Period
from bx24app.services.reports.quarters import read_slot, slot_of
from bx24app.services.reports.tally import CountedAttempt, CountedCallback, Kind, Tally, kinds_of, tally_of
from bx24app.services.runtime import portal_rows

# Clocks change on 29 March and 25 October in Berlin; Kathmandu is 45 minutes off, Lord Howe changes by half an hour.
ZONES = ("Europe/Berlin", "UTC", "Asia/Kathmandu", "Australia/Lord_Howe", "America/New_York")
SPRING, AUTUMN = date(2026, 3, 27), date(2026, 10, 23)
# A colon stands between the parts of a stored combination too.
LINES = ("reg1", "sip:2")
CODES = ("304", "486", "603", "402", "OTHER", None)


def id_at(moment: datetime, number: int) -> UUID:
    """An id of version 7 as it is given at a moment."""
    return UUID(int=int(moment.timestamp() * 1000) << 80 | 7 << 76 | 2 << 62 | number)


def a_portal(member_id: str = "m1") -> Portal:
    return Portal(
        member_id=member_id,
        domain="a.example.com",
        client_endpoint="https://a.example.com/rest/",
        app_code="x",
        app_id="1",
        installed_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


@dataclass
class History:
    """What happens to the callbacks of a portal, at random; each step is a transaction of the app."""

    portal_id: int
    chance: random.Random
    first: date
    number: int = 0
    alive: list[UUID] = field(default_factory=list)

    def moment(self) -> datetime:
        begin = datetime.combine(self.first, datetime.min.time(), UTC)
        # Few quarters of an hour, so that many callbacks share one.
        return begin + timedelta(minutes=15 * self.chance.choice(range(0, 480, 7)), seconds=self.chance.randrange(900))

    def request(self, session: Session) -> None:
        self.number += 1
        at = self.moment()
        callback = Callback(
            id=id_at(at, 10_000 * self.portal_id + self.number),
            portal_id=self.portal_id,
            to_number=f"+49{self.number:07}",
            line_id=self.chance.choice(LINES),
            line_name="Line",
            text="x",
            source=self.chance.choice([Source.STAFF, Source.API]),
            requested_by=self.chance.choice([None, 7, 8]),
            scheduled_at=self.chance.choice([None, at + timedelta(hours=5)]),
            due_at=at,
            expires_at=at,
            created_at=at,
        )
        callback.accept(at)
        session.add(callback)
        self.alive.append(callback.id)

    def change(self, session: Session) -> None:
        callback = self.any(session)
        if callback is None:
            return
        now = callback.created_at + timedelta(seconds=self.chance.randrange(1, 40_000))
        steps: dict[str, Callable[[], None]] = {
            State.QUEUED: self.chance.choice(
                [lambda: callback.expire(now), lambda: callback.cancel(now), lambda: self.fence(callback, now)]
            ),
            State.SCHEDULED: lambda: callback.queue(now),
            State.DIALLING: self.chance.choice(
                [
                    lambda: callback.start(callback.attempts[-1], f"call{self.number}", now),
                    lambda: callback.mark_unknown(callback.attempts[-1], now, "dial_read_timeout"),
                    lambda: callback.refuse(callback.attempts[-1], now, "portal_refused", None),
                    lambda: callback.put_back(callback.attempts[-1], now, now, "bitrix24_unavailable"),
                ]
            ),
            State.STARTED: self.chance.choice(
                [lambda: callback.answer(callback.attempts[-1], 7, now), lambda: self.end(callback, now)]
            ),
            State.ANSWERED: lambda: self.end(callback, now),
            State.UNKNOWN: self.chance.choice(
                [
                    lambda: self.end(callback, now),
                    lambda: callback.miss(now, "resolved_not_reached"),
                    lambda: callback.dial_again(now, now),
                ]
            ),
        }
        steps.get(callback.state, lambda: None)()

    def fence(self, callback: Callback, now: datetime) -> None:
        callback.fence(now, now, "digest", None)

    def end(self, callback: Callback, now: datetime) -> None:
        attempt = callback.attempts[-1]
        if self.chance.random() < 0.5:
            attempt.duration_seconds = self.chance.randrange(600)
            attempt.end(Outcome.COMPLETED, now, None, None)
            callback.complete(now)
            return
        attempt.end(Outcome.MISSED, now, self.chance.choice(CODES), None)
        if self.chance.random() < 0.3 and callback.state != State.UNKNOWN:
            callback.postpone(now, now, now, "retry_code_304")
        else:
            callback.miss(now, "code_304")

    def tell_cost_later(self, session: Session) -> None:
        """The history tells of an attempt long after its callback has gone on: the callback itself does not move."""
        callback = self.any(session)
        if callback is None or not callback.attempts:
            return
        callback.count_again()
        attempt = callback.attempts[0]
        attempt.cost, attempt.cost_currency = Decimal(self.chance.randrange(1, 9999)) / 10_000, "EUR"

    def any(self, session: Session) -> Callback | None:
        return session.get(Callback, self.chance.choice(self.alive)) if self.alive else None

    def step(self) -> None:
        kind = self.chance.choices(["request", "change", "cost", "count", "delete"], [4, 10, 2, 2, 1])[0]
        if kind == "count":
            counting.count_changed()
        elif kind == "delete" and self.alive:
            gone = self.alive.pop(self.chance.randrange(len(self.alive)))
            assert counting.delete_counted(Callback.id == gone, 10) == 1
        else:
            with writing() as session:
                {"request": self.request, "change": self.change, "cost": self.tell_cost_later}.get(
                    kind, lambda _: None
                )(session)


def counted(callback: Callback) -> CountedCallback:
    attempts = [
        CountedAttempt(
            one.outcome,
            one.failed_code,
            one.answered_by,
            one.answered_at,
            one.duration_seconds,
            one.cost,
            one.cost_currency,
        )
        for one in callback.attempts
    ]
    return CountedCallback(
        callback.state,
        callback.reason,
        callback.source,
        callback.form_id,
        callback.line_id,
        callback.requested_by,
        callback.created_at,
        callback.scheduled_at,
        attempts,
    )


def check_recount(portal: Portal, zone: str, first: date, days: int) -> None:
    """Compare each figure of a period with the callbacks themselves, looked through one by one."""
    period = Period(first, first + timedelta(days=days - 1), zone)
    with reading() as session:
        query = select(Callback).where(Callback.portal_id == portal.id).options(selectinload(Callback.attempts))
        all_of_them = [counted(one) for one in session.scalars(query)]
    local = [(one, one.created_at.astimezone(ZoneInfo(zone))) for one in all_of_them]
    inside = [(one, at) for one, at in local if period.first <= at.date() <= period.last]
    by_day = {day: Tally() for day in period.each_day()}
    by_part: dict[tuple[Kind, str], Tally] = {}
    by_hour: dict[tuple[int, int], list[int]] = {}
    for one, at in inside:
        tally = tally_of(one)
        by_day[at.date()].add(tally)
        for row in kinds_of(one):
            by_part.setdefault(row, Tally()).add(tally)
        if tally.called:
            hour = by_hour.setdefault((at.weekday(), at.hour), [0, 0])
            hour[0], hour[1] = hour[0] + tally.called, hour[1] + tally.picked_up
    whole = ReportScope(portal.id)
    without: dict[str, dict[str, int]] = {"waits": {}, "costs": {}}
    with reading() as session:
        assert figures.summarize(session, whole, period).tally == by_part.get((Kind.ALL, ""), Tally())
        assert {one.day: one.tally for one in figures.by_day(session, whole, period)} == {
            day: Tally(**{**vars(tally), **without}) for day, tally in by_day.items()
        }
        hours = figures.by_hour(session, whole, period)
        assert {(one.weekday, one.hour): [one.called, one.picked_up] for one in hours} == by_hour
        for kind in (Kind.SOURCE, Kind.LINE, Kind.PERSON):
            found = {one.key: one.tally for one in figures.by_part(session, portal, whole, kind, period)}
            expected = {key: tally for (of, key), tally in by_part.items() if of == kind}
            assert found == {key: Tally(**{**vars(tally), "waits": {}}) for key, tally in expected.items()}
            for key, tally in expected.items():
                assert figures.summarize(session, ReportScope(portal.id, {kind: key}), period).tally == tally
        check_combinations(session, portal, period, [(one, at) for one, at in inside])


def check_combinations(
    session: Session, portal: Portal, period: Period, inside: list[tuple[CountedCallback, datetime]]
) -> None:
    """Compare what is asked for by a source and a line at once, as a whole, by day and divided."""
    without: dict[str, dict[str, int]] = {"waits": {}, "costs": {}}
    for source in (Source.STAFF, Source.API, Source.ROBOT):
        for line in LINES:
            scope = ReportScope(portal.id, {Kind.LINE: line, Kind.SOURCE: source})
            whole, days = Tally(), {day: Tally() for day in period.each_day()}
            for one, at in inside:
                if (one.source, one.line_id) == (source, line):
                    whole.add(tally_of(one))
                    days[at.date()].add(tally_of(one))
            assert figures.summarize(session, scope, period).tally == whole
            found = {one.day: one.tally for one in figures.by_day(session, scope, period)}
            assert found == {day: Tally(**{**vars(tally), **without}) for day, tally in days.items()}
            of_line = ReportScope(portal.id, {Kind.LINE: line})
            by_source = {one.key: one.tally for one in figures.by_part(session, portal, of_line, Kind.SOURCE, period)}
            assert by_source.get(source, Tally()) == Tally(**{**vars(whole), "waits": {}})


@pytest.mark.parametrize("first", [SPRING, pytest.param(AUTUMN, marks=pytest.mark.long)])
def test_figures_equal_a_recount_after_any_history(app: Flask, first: date) -> None:
    with app.app_context():
        with writing() as session:
            portals = [a_portal("m1"), a_portal("m2")]
            session.add_all(portals)
        for portal in portals:
            history = History(portal.id, random.Random(f"{first} {portal.member_id}"), first)
            for _ in range(90):
                history.step()
        while counting.count_changed() > 0:
            pass
        with reading() as session:
            assert session.scalars(select(func.count()).select_from(Callback)).one() > 20
        for portal in portals:
            for zone in ZONES:
                for days in (1, 5):
                    check_recount(portal, zone, first, days)
                # Long enough for the longest spans.
                check_recount(portal, zone, first - timedelta(days=40), 80)
        # Nothing is left of a portal that is gone, nor of callbacks that are.
        assert counting.delete_counted(Callback.portal_id == portals[0].id, 10_000) > 0
        with writing() as session:
            session.get_one(Portal, portals[1].id).begin_removal(datetime.now(UTC), keeps_settings=True)
        assert portal_rows.delete_rows(portals[1].id, 60)
        with reading() as session:
            assert session.scalar(select(func.count()).select_from(ReportFigure)) == 0


def test_what_changes_while_it_is_counted_is_counted_again(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    read = read_slot
    at = datetime(2026, 11, 20, 9, 5, tzinfo=UTC)

    def read_and_miss_a_change(session: Session, portal_id: int, slot: int) -> object:
        found = read(session, portal_id, slot)
        # As if another transaction had raised the version after it was read.
        return [(id, version - 1, callback) for id, version, callback in found]

    with app.app_context():
        with writing() as session:
            portal = a_portal()
            session.add(portal)
            session.flush()
            History(portal.id, random.Random(1), at.date()).request(session)
        monkeypatch.setattr(counting, "read_slot", read_and_miss_a_change)
        assert counting.count_changed() == 1
        assert counting.count_changed() == 1
        monkeypatch.undo()
        assert counting.count_changed() == 1
        assert counting.count_changed() == 0
        with writing() as session:
            session.execute(delete(Portal))
        with reading() as session:
            assert session.scalar(select(func.count()).select_from(ReportFigure)) == 0


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("locked", [Portal, PortalSettings, Callback])
def test_counting_waits_for_nobody(app: Flask, locked: type[Portal | PortalSettings | Callback]) -> None:
    """Whoever waits while it holds something is one half of a deadlock; on SQLite one writes at a time anyway."""
    with app.app_context():
        with writing() as session:
            portal = a_portal()
            session.add(portal)
            session.flush()
            history = History(portal.id, random.Random(1), date(2026, 11, 20))
            history.request(session)
        with db.engine.connect() as other, other.begin():
            other.execute(text(f"SELECT 1 FROM {locked.__tablename__} FOR UPDATE"))
            counted = counting.count_changed()
            # A callback that is locked has been counted, and is counted once more.
            assert counted == (1 if locked is Callback else 0)
            gone = counting.delete_counted(Callback.id.in_(history.alive), 10)
            assert gone == 0
        assert counting.count_changed() == 1
        assert counting.count_changed() == 0
        assert counting.delete_counted(Callback.id.in_(history.alive), 10) == 1


def quarter_of(portal_id: int, first: date, count: int) -> list[UUID]:
    """Callbacks that were requested in one quarter of an hour, with a few more in another one."""
    history = History(portal_id, random.Random(1), first)
    at = datetime.combine(first, datetime.min.time(), UTC) + timedelta(hours=9)
    moments = iter([at + timedelta(seconds=number) for number in range(count)] + [at + timedelta(hours=3)] * 2)
    history.moment = lambda: next(moments)  # type: ignore[method-assign]
    with writing() as session:
        for _ in range(count + 2):
            history.request(session)
    return history.alive[:count]


def test_a_quarter_with_very_many_is_read_while_others_write(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """What changes meanwhile, or goes, is not lost: the quarter is counted when it has come to rest."""
    monkeypatch.setattr(counting, "MANY_CALLBACKS", 3)
    first = date(2026, 11, 20)
    with app.app_context():
        with writing() as session:
            session.add(portal := a_portal())
        ids = quarter_of(portal.id, first, 6)

        def change() -> None:
            with app.app_context(), writing() as session:
                session.get_one(Callback, ids[0]).cancel(datetime.now(UTC))

        def delete() -> None:
            with app.app_context():
                assert counting.delete_counted(Callback.id == ids[1], 10) == 1

        def read_meanwhile(session: Session, portal_id: int, slot: int) -> object:
            found = read_slot(session, portal_id, slot)
            if slot == slot_of(ids[0]) and meanwhile:
                with ThreadPoolExecutor(1) as other:
                    other.submit(meanwhile.pop()).result(timeout=5)
            return found

        meanwhile: list[Callable[[], None]] = [delete, change]
        monkeypatch.setattr(counting, "read_slot", read_meanwhile)
        resting = counting._resting.now
        monkeypatch.setattr(counting._resting, "now", set)
        # The other quarter of an hour; then neither of them; then what has come to rest.
        assert [counting.count_changed() for _ in range(4)] == [1, 0, 1, 0]
        assert meanwhile == []
        check_recount(portal, "UTC", first, 1)
        assert resting() == {portal.id}


def test_what_is_left_of_a_quarter_is_counted_by_the_job(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever deletes one reads none of the others, which may be tens of thousands."""
    first = date(2026, 11, 20)
    with app.app_context():
        with writing() as session:
            session.add(portal := a_portal())
        ids = quarter_of(portal.id, first, 6)
        while counting.count_changed():
            pass
        read: list[int] = []
        original = read_slot

        def noted(session: Session, portal_id: int, slot: int) -> object:
            read.append(len(found := original(session, portal_id, slot)))
            return found

        monkeypatch.setattr(counting, "read_slot", noted)
        for id in ids[:3]:
            assert counting.delete_counted(Callback.id == id, 10) == 1
        assert read == []
        # A process that ends here loses nothing: the callback that stays says that its quarter is not counted.
        assert counting.count_changed() == 1
        assert (read, counting.count_changed()) == ([3], 0)
        check_recount(portal, "UTC", first, 1)
        # Nobody is left to say it: the quarter is forgotten at once, in all spans.
        assert counting.delete_counted(Callback.id.in_(ids), 10) == 3
        assert (read, counting.count_changed()) == ([3, 0], 0)
        check_recount(portal, "UTC", first, 1)
        check_recount(portal, "UTC", first - timedelta(days=40), 80)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_nothing_is_deleted_that_nobody_could_count(app: Flask) -> None:
    with app.app_context():
        with writing() as session:
            session.add(portal := a_portal())
        ids = quarter_of(portal.id, date(2026, 11, 20), 3)
        with db.engine.connect() as other, other.begin():
            other.execute(select(Callback.id).where(Callback.id.in_(ids[1:])).with_for_update())
            assert counting.delete_counted(Callback.id == ids[0], 10) == 0
        with db.engine.connect() as other, other.begin():
            other.execute(select(Callback.id).where(Callback.id == ids[1]).with_for_update())
            assert counting.delete_counted(Callback.id == ids[0], 10) == 1
        while counting.count_changed():
            pass
        check_recount(portal, "UTC", date(2026, 11, 20), 1)


def test_a_cost_that_is_told_late_of_an_earlier_attempt_is_counted(app: Flask) -> None:
    at = datetime(2026, 11, 20, 9, tzinfo=UTC)
    with app.app_context():
        with writing() as session:
            portal = a_portal()
            session.add(portal)
            session.flush()
            history = History(portal.id, random.Random(1), at.date())
            history.request(session)
            [callback] = [session.get_one(Callback, id) for id in history.alive]
            callback.state = State.QUEUED
            for call_id in ("call1", "call2"):
                attempt = callback.fence(at, at, "digest", None)
                callback.start(attempt, call_id, at)
                callback.postpone(at, at, at, "retry_code_304")
                callback.queue(at)
        assert counting.count_changed() == 1
        report = CallReport(ReportKind.HISTORY, "call1", cost=Decimal("0.25"), currency="EUR", failed_code="304")
        with writing() as session:
            session.add(row_of_report(portal.id, report, "digest"))
        assert reconcile.reconcile_pending(portal.id) == 1
        assert counting.count_changed() == 1
        day = slot_day(callback.id)
        with reading() as session:
            tally = figures.summarize(session, ReportScope(portal.id), Period(day, day, "UTC")).tally
        assert (tally.costs, tally.calls_without_cost) == ({"EUR": 2500}, 1)


def slot_day(callback_id: UUID) -> date:
    return periods.moment_of(slot_of(callback_id)).date()


def test_days_of_a_company(app: Flask) -> None:
    with app.app_context():
        with writing() as session:
            portal = a_portal()
            session.add(portal)
            session.flush()
            portal_id = portal.id
        assert company_zone(portal) == "UTC"
        with writing() as session:
            for number, zone in enumerate(("nowhere/at all", "Europe/Riga")):
                session.add(
                    User(portal_id=portal_id, user_id=number, name="A", is_administrator=number, time_zone=zone)
                )
        assert company_zone(portal) == "Europe/Riga"
        portal.settings.hours = {"zone": "Asia/Omsk", "week": {}}
        assert company_zone(portal) == "Asia/Omsk"


def test_a_period_that_runs_is_compared_with_as_much_of_the_one_before() -> None:
    now = datetime(2026, 11, 27, 10, 7, tzinfo=UTC)
    for name, first, last, before, quarters in (
        ("today", (11, 27), (11, 27), (11, 26), 45),
        ("yesterday", (11, 26), (11, 26), (11, 25), 96),
        ("7_days", (11, 21), (11, 27), (11, 14), 6 * 96 + 45),
        # The clock goes back in the period before.
        ("30_days", (10, 29), (11, 27), (9, 29), 29 * 96 + 4 + 45),
        ("this_month", (11, 1), (11, 27), (10, 5), 26 * 96 + 4 + 45),
        ("last_month", (10, 1), (10, 31), (8, 31), 31 * 96),
    ):
        period = periods.named_period(PeriodName(name), "Europe/Berlin", now)
        assert (period.first, period.last) == (date(2026, *first), date(2026, *last)), name
        earlier = period.before(now)
        assert earlier.first == date(2026, *before), name
        assert earlier.whole().end - earlier.whole().begin == quarters, name


def test_days_have_as_many_quarters_of_an_hour_as_their_clock() -> None:
    for zone, day, quarters in (
        ("Europe/Berlin", date(2026, 3, 29), 92),
        ("Europe/Berlin", date(2026, 10, 25), 100),
        ("Australia/Lord_Howe", date(2026, 4, 5), 98),
        ("Asia/Beirut", date(2026, 3, 29), 92),
        ("Pacific/Apia", date(2026, 11, 27), 96),
        ("Asia/Kathmandu", date(2026, 11, 27), 96),
    ):
        period = Period(day, day, zone)
        spans = list(period.spans())
        assert sum(span.end - span.begin for span in spans) == quarters, zone
        assert len(spans) == (1 if quarters == 96 or zone == "Asia/Beirut" else 2), zone
