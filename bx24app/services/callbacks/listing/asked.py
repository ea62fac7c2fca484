"""What somebody asks a list for, in words of the API and the page, as the typed filter of their own portal."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from bx24app.database import reading
from bx24app.errors import ListRefused
from bx24app.models import CallbackOutcome, Form, Source, State
from bx24app.services.callbacks.listing.company_day import hours_of, read_company_zone, today_in
from bx24app.services.callbacks.listing.filters import ListFilter, Quick, Scope, read_search
from bx24app.services.callbacks.principal import Principal

# A year of days, and an hour that a change of the clock adds: the longest report.
LONGEST_HOURS = timedelta(days=366, hours=1)


@dataclass(frozen=True)
class AskedFilter:
    """The filters by their names in the API; ``q`` is digits of a number from either end, or words of a name."""

    state: tuple[State, ...] = ()
    source: Source | None = None
    form_key: str | None = None
    line_id: str | None = None
    requested_by: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    q: str | None = None
    quick: Quick = Quick.ALL
    several_attempts: bool = False
    outcome: tuple[CallbackOutcome, ...] = ()
    called: bool | None = None
    picked_up: bool | None = None
    wait_from: int | None = None
    wait_below: int | None = None
    person: int | None = None
    # Both or none, 1 is Monday, in the company's zone.
    weekday: int | None = None
    hour: int | None = None


def scope_of(principal: Principal) -> Scope:
    """Whose callbacks somebody may list."""
    return Scope(principal.portal.id, principal.form_id, principal.user_id, only_own=principal.own_of is not None)


def filter_of(principal: Principal, asked: AskedFilter) -> ListFilter:
    """Return the filter that is meant; raises ``ListRefused`` for a search that is too short, or of nobody's own."""
    with reading() as session:
        return read_filter(session, principal, asked)


def read_filter(session: Session, principal: Principal, asked: AskedFilter) -> ListFilter:
    """The same inside the caller's transaction."""
    if asked.quick is Quick.MINE and principal.user_id is None:
        raise ListRefused("quick", "nobody_is_asked_for")
    if asked.since and asked.until and asked.since > asked.until:
        raise ListRefused("to", "period_ends_before")
    searched: dict[str, Any] = read_search(asked.q, principal.portal.settings.default_country) if asked.q else {}
    return ListFilter(
        states=tuple(dict.fromkeys(asked.state)),
        source=asked.source,
        form_id=read_form_id(session, principal.portal.id, asked.form_key) if asked.form_key else None,
        line_id=asked.line_id,
        requested_by=asked.requested_by,
        since=asked.since,
        until=asked.until,
        quick=asked.quick,
        several_attempts=asked.several_attempts,
        outcomes=tuple(dict.fromkeys(asked.outcome)),
        called=asked.called,
        picked_up=asked.picked_up,
        wait_from=asked.wait_from,
        wait_below=asked.wait_below,
        person=asked.person,
        hours=_hours(session, principal, asked),
        today=today_in(read_company_zone(session, principal.portal)) if asked.quick is Quick.TODAY else None,
        **searched,
    )


def _hours(session: Session, principal: Principal, asked: AskedFilter) -> tuple[tuple[datetime, datetime], ...] | None:
    if asked.weekday is None and asked.hour is None:
        return None
    if asked.weekday is None or asked.hour is None:
        raise ListRefused("hour" if asked.hour is None else "weekday", "hour_needs_weekday")
    if asked.since is None or asked.until is None or asked.until - asked.since > LONGEST_HOURS:
        raise ListRefused("from", "hour_needs_period")
    zone = read_company_zone(session, principal.portal)
    return hours_of(zone, asked.since, asked.until, asked.weekday, asked.hour)


def form_id_of(portal_id: int, key: str) -> int:
    """The id of a form, also of a removed one, whose callbacks are still there; 0, which no form has: not of theirs."""
    with reading() as session:
        return read_form_id(session, portal_id, key)


def read_form_id(session: Session, portal_id: int, key: str) -> int:
    """The same inside the caller's transaction."""
    return session.scalar(select(Form.id).where(Form.portal_id == portal_id, Form.key == key)) or 0
