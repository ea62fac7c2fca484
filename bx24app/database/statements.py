"""Statements that SQLAlchemy has no short way for: inserts that meet what is there already, deleting by and by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from sqlalchemy import ColumnElement, CursorResult, Delete, Table, Update, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import InstrumentedAttribute, Session

from bx24app.database.base import Base
from bx24app.database.transactions import reading, writing

T = TypeVar("T")
# Rows that one transaction of a purge changes, and all of them together: nobody waits long for either.
PURGE_BATCH = 500
PURGED_PER_RUN = 10_000


def insert_new(session: Session, rows: Sequence[Base], told_by: InstrumentedAttribute[T]) -> set[T]:
    """Insert those rows of one table of which nothing unique is taken already.

    Returns the value of ``told_by`` of those that were inserted; all rows have the same columns set.
    """
    if not rows:
        return set()
    statement = insert_into(type(rows[0]), _dialect(session)).on_conflict_do_nothing().returning(told_by)
    return set(session.connection().execute(statement, [_set_values(row) for row in rows]).scalars())


def insert_into(model: type[Base], dialect: str) -> postgresql.Insert | sqlite.Insert:
    """Begin an insert that has ``on_conflict_do_update`` and ``on_conflict_do_nothing``."""
    table = _table_of(model)
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


def _dialect(session: Session) -> str:
    return session.connection().dialect.name


def _table_of(model: type[Base]) -> Table:
    return cast("Table", model.__table__)


def _set_values(row: Base) -> dict[str, Any]:
    held = row.__dict__
    return {column.key: held[column.key] for column in _table_of(type(row)).columns if column.key in held}


def purge(
    model: type[Base], condition: ColumnElement[bool], *, most: int = PURGED_PER_RUN, oldest_first: bool = False
) -> int:
    """Delete the rows that fulfil a condition, ``most`` at the most; returns how many. The next run goes on.

    Commits after each ``PURGE_BATCH``; nothing but the keys is read. Where no index helps with the condition,
    ``oldest_first`` looks at the ``most`` lowest keys only: right for rows that grow old in the order of their keys.
    """
    return _by_batches(delete(model).where(condition), _keys(model, condition, most, oldest_first=oldest_first))


def change_many(model: type[Base], condition: ColumnElement[bool], changes: Mapping[str, Any]) -> int:
    """Make changes to the rows that fulfil a condition, in batches like ``purge``; returns how many.

    A changed row must not fulfil the condition any more, or the next run finds it again.
    """
    return _by_batches(update(model).where(condition).values(changes), _keys(model, condition, PURGED_PER_RUN))


@dataclass(frozen=True)
class _Keys:
    column: ColumnElement[Any]
    values: Sequence[Any]


def _keys(model: type[Base], condition: ColumnElement[bool], most: int, *, oldest_first: bool = False) -> _Keys:
    """Find the keys without a lock: most of the time there is nothing to do."""
    [key] = _table_of(model).primary_key
    query = select(key).where(condition)
    if oldest_first:
        query = query.where(key.in_(select(key).order_by(key).limit(most)))
    with reading() as session:
        return _Keys(key, session.scalars(query.limit(most)).all())


def _by_batches(statement: Delete | Update, keys: _Keys) -> int:
    """Run a statement for some keys at a time; its condition is judged again, for the rows may have changed."""
    done = 0
    for begin in range(0, len(keys.values), PURGE_BATCH):
        batch = statement.where(keys.column.in_(keys.values[begin : begin + PURGE_BATCH]))
        with writing() as session:
            done += cast("CursorResult[Any]", session.connection().execute(batch)).rowcount
    return done
