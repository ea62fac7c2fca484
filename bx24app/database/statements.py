"""Statements for which SQLAlchemy has no short form: inserts that skip rows, rows of lists, changes in batches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from sqlalchemy import (
    ARRAY,
    JSON,
    ColumnElement,
    CursorResult,
    Delete,
    Table,
    Update,
    bindparam,
    delete,
    func,
    literal_column,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import InstrumentedAttribute, Session
from sqlalchemy.types import TypeEngine

from bx24app.database.base import Base
from bx24app.database.engine import is_postgresql
from bx24app.database.transactions import reading, writing

T = TypeVar("T")
# The most rows that one transaction and one whole run of a purge change, so that nobody waits long for either.
PURGE_BATCH = 500
PURGED_PER_RUN = 10_000


def insert_new(session: Session, rows: Sequence[Base], returning: InstrumentedAttribute[T]) -> set[T]:
    """Insert the rows of one table that violate no unique constraint, and skip the others.

    All rows must have the same columns set. Returns the values of the column ``returning`` of the inserted rows.
    """
    if not rows:
        return set()
    statement = insert_into(type(rows[0]), _dialect(session)).on_conflict_do_nothing().returning(returning)
    return set(session.connection().execute(statement, [_set_values(row) for row in rows]).scalars())


def insert_into(model: type[Base], dialect: str) -> postgresql.Insert | sqlite.Insert:
    """Make an insert that has ``on_conflict_do_update`` and ``on_conflict_do_nothing``."""
    table = _table_of(model)
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


def given_rows(**kinds: type[TypeEngine[Any]]) -> list[ColumnElement[Any]]:
    """Make rows of parameters, one for each column, which are lists of one length; returns the columns in this order.

    ``kinds`` are the parameters' names and the types of what their lists hold.
    """
    if is_postgresql():
        arrays = [bindparam(name, type_=ARRAY(kind())) for name, kind in kinds.items()]
        names = [f"v{number}" for number in range(len(arrays))]
        # A short name, for it stands before each value: the driver keeps no statement in mind that is long.
        return list(func.unnest(*arrays).table_valued(*names).render_derived(name="v").c)
    lists = {name: bindparam(name, type_=JSON()) for name in kinds}
    place = func.json_each(next(iter(lists.values()))).table_valued("key").c.key
    path = literal_column("'$['").concat(place).concat(literal_column("']'"))
    return [func.json_extract(values, path, type_=kinds[name]()) for name, values in lists.items()]


def _dialect(session: Session) -> str:
    return session.connection().dialect.name


def _table_of(model: type[Base]) -> Table:
    return cast("Table", model.__table__)


def _set_values(row: Base) -> dict[str, Any]:
    attributes = row.__dict__
    return {column.key: attributes[column.key] for column in _table_of(type(row)).columns if column.key in attributes}


def purge(
    model: type[Base], condition: ColumnElement[bool], *, limit: int = PURGED_PER_RUN, oldest_first: bool = False
) -> int:
    """Delete at most ``limit`` rows that fulfil a condition; returns how many. The next run deletes the rest.

    Commits after each ``PURGE_BATCH`` rows, and reads only keys. Use ``oldest_first`` where no index helps with the
    condition and rows grow old in the order of their keys: it looks only at the ``limit`` lowest keys.
    """
    return _in_batches(delete(model).where(condition), _keys(model, condition, limit, oldest_first=oldest_first))


def change_many(model: type[Base], condition: ColumnElement[bool], changes: Mapping[str, Any]) -> int:
    """Change the rows that fulfil a condition, in batches like ``purge``; returns how many.

    A changed row must not fulfil the condition any more, or the next run changes it again.
    """
    return _in_batches(update(model).where(condition).values(changes), _keys(model, condition, PURGED_PER_RUN))


@dataclass(frozen=True)
class _Keys:
    columns: Sequence[ColumnElement[Any]]
    values: Sequence[Sequence[Any]]

    def in_batch(self, begin: int) -> ColumnElement[bool]:
        """The condition for the keys from one on."""
        batch = self.values[begin : begin + PURGE_BATCH]
        if len(self.columns) > 1:
            return tuple_(*self.columns).in_([tuple(key) for key in batch])
        return self.columns[0].in_([value for (value,) in batch])


def _keys(model: type[Base], condition: ColumnElement[bool], limit: int, *, oldest_first: bool = False) -> _Keys:
    """Find the keys of the rows, without a write lock because most of the time there is nothing to do."""
    keys = tuple(_table_of(model).primary_key)
    query = select(*keys).where(condition)
    if oldest_first:
        [key] = keys
        query = query.where(key.in_(select(key).order_by(key).limit(limit)))
    with reading(single_statement=True) as session:
        return _Keys(keys, session.execute(query.limit(limit)).all())


def _in_batches(statement: Delete | Update, keys: _Keys) -> int:
    """Run a statement for a batch of keys at a time; it checks its condition again, because rows may have changed."""
    changed = 0
    for begin in range(0, len(keys.values), PURGE_BATCH):
        batch = statement.where(keys.in_batch(begin))
        with writing() as session:
            changed += cast("CursorResult[Any]", session.connection().execute(batch)).rowcount
    return changed
