"""The counters of the quick filters, and of what is new: each up to ``MOST_COUNTED``, because so many are "99+"."""

from datetime import datetime
from functools import cache
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ColumnElement, Integer, Select, bindparam, func, select
from sqlalchemy.orm import Session

from bx24app.database import reading
from bx24app.models import Callback, first_id
from bx24app.services.callbacks.listing.cursors import Position
from bx24app.services.callbacks.listing.drivers import Span, drivers_of
from bx24app.services.callbacks.listing.filters import Day, ListFilter, Order, Quick, Scope
from bx24app.services.callbacks.listing.finding import EFFORT, Most, any_of, find_ids, looked_through
from bx24app.services.callbacks.listing.matching import parts_of

MOST_COUNTED = 100


class _GivenDay(Day):
    """A day that is told when the statement runs."""

    @property
    def first(self) -> UUID:
        return cast("UUID", bindparam("first", type_=Callback.id.type))


def count_quick(scope: Scope, today: Day) -> dict[Quick, int]:
    """Count each quick filter for whoever asks, in one statement."""
    with reading() as session:
        return read_quick_counts(session, scope, today)


def read_quick_counts(session: Session, scope: Scope, today: Day) -> dict[Quick, int]:
    """The same inside the caller's transaction."""
    values: dict[str, Any] = {"portal": scope.portal_id, "form": scope.form_id, "asker": scope.asker}
    values |= {"begins": today.begins, "ends": today.ends, "first": today.first}
    statement, names = _counting(scope.form_id is not None, scope.only_own)
    found = session.execute(statement, {name: values[name] for name in names}).one()
    return dict(zip(Quick, found, strict=True))


@cache
def _counting(is_of_form: bool, only_own: bool) -> tuple[Select[*tuple[Any, ...]], tuple[str, ...]]:
    """The statement, and what has to be told to it. Making it takes longer than to run it, and each open desk asks."""
    whole: dict[str, Any] = {name: bindparam(name, type_=Integer()) for name in ("portal", "form", "asker")}
    scope = Scope(whole["portal"], whole["form"] if is_of_form else None, whole["asker"], only_own=only_own)
    begins, ends = (cast("datetime", bindparam(name, type_=Callback.due_at.type)) for name in ("begins", "ends"))
    today = _GivenDay(begins, ends)
    counts = [_capped_count(scope, ListFilter(quick=quick, today=today)).label(quick) for quick in Quick]
    told = ("portal", "asker", "begins", "ends", "first", *(("form",) if is_of_form else ()))
    return select(*counts), told


def _capped_count(scope: Scope, wanted: ListFilter) -> ColumnElement[int]:
    """Any of them are counted, so that none have to be put in order."""
    parts = parts_of(scope, wanted)
    # The special ones stand behind.
    driver = drivers_of(scope, wanted, Span(), newest_first=True)[-1]
    left = [condition for name, condition in parts.items() if name not in driver.covers]
    some = looked_through(driver, left, lambda driver: any_of(driver, EFFORT)) if left else any_of(driver, MOST_COUNTED)
    found = some.limit(MOST_COUNTED).subquery()
    return select(func.count()).select_from(found).scalar_subquery()


def count_since(session: Session, scope: Scope, wanted: ListFilter, since: datetime) -> int:
    """Count the callbacks of a list that were asked for from a moment on."""
    at, most = Position(first_id(since)), Most(MOST_COUNTED, MOST_COUNTED)
    return find_ids(session, scope, wanted, Order.OLDEST, at, most).count
