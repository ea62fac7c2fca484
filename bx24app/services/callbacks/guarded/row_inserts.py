"""Inserts of the guarded write: rows whose columns are parameters, named by table and column."""

from functools import cache
from typing import Any, cast

from sqlalchemy import CTE, BindParameter, ColumnElement, Table, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

from bx24app.database import Base, is_postgresql

Values = dict[str, Any]

_PREFIXES = {"callback": "c", "ghost": "g", "website_request": "r", "decision": "d", "refusal": "n"}
# These columns share a parameter with an equal value, because psycopg parses a statement with more than 50
# parameters again each time.
_SHARED_PARAMETERS = {
    "r_callback_id": "c_id",
    "r_form_id": "c_form_id",
    "r_number_digest": "number_digest",
    "r_created_at": "c_created_at",
    "d_callback_id": "c_id",
    "n_portal_id": "c_portal_id",
    "n_form_id": "c_form_id",
    "n_made_at": "c_created_at",
    # A decoy is what the callback would have been.
    **{
        f"g_{name}": f"c_{name}"
        for name in (
            "id",
            "form_id",
            "idempotency_key",
            "request_digest",
            "line_id",
            "scheduled_at",
            "due_at",
            "expires_at",
            "created_at",
        )
    },
}


def values_of(row: Base) -> Values:
    """Return the columns that were set, and the defaults of others; the database fills the rest."""
    attributes, values = row.__dict__, {}
    for key, name, default in _columns(type(row)):
        if key in attributes:
            values[name] = attributes[key]
        elif default is not None:
            values[name] = default.arg(None) if default.is_callable else default.arg
    return values


@cache
def _columns(model: type[Base]) -> list[tuple[str, str, Any]]:
    """List the key of each column, its name as a parameter, and its default."""
    table = cast("Table", model.__table__)
    return [(column.key, _name(table, column.key), column.default) for column in table.columns]


def _name(table: Table, key: str) -> str:
    name = f"{_PREFIXES[table.name]}_{key}"
    return _SHARED_PARAMETERS.get(name, name)


def insert_of(model: type[Base]) -> Any:
    """Begin an insert for the kind of database in use."""
    return (postgresql if is_postgresql() else sqlite).insert(cast("Table", model.__table__))


def _parameters_of(model: type[Base], names: tuple[str, ...]) -> dict[str, BindParameter[Any]]:
    table = cast("Table", model.__table__)
    return {
        column.key: bindparam(_name(table, column.key), type_=column.type)
        for column in table.columns
        if _name(table, column.key) in names
    }


def inserting(
    model: type[Base],
    names: tuple[str, ...],
    after: CTE | None = None,
    holds: ColumnElement[bool] | None = None,
    more: dict[str, Any] | None = None,
) -> Any:
    """Insert a row of parameters: once for each row of ``after``, and only where ``holds``.

    ``more`` are the columns that are computed.
    """
    parameters = _parameters_of(model, names) | (more or {})
    row = select(*parameters.values())
    row = row if after is None else row.select_from(after)
    return insert_of(model).from_select(list(parameters), row if holds is None else row.where(holds))


def inserting_first(model: type[Base], names: tuple[str, ...], after: CTE | None, holds: ColumnElement[bool]) -> Any:
    """Insert the callback or its decoy; nothing is inserted where another request was faster."""
    return inserting(model, names, after, holds).on_conflict_do_nothing()
