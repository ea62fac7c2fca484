"""Keeping a website's request with as little as can be, since almost every request that got this far may be kept.

The tokens are taken, and the callback is inserted on condition. Where that does not hold nothing is done at all, and
``intake`` goes the long way, which also finds out what stood in the way. PostgreSQL does it in one statement, and
refuses that as a whole because what came beside the callback would point to nothing: a refusal that shows in the
server's log nothing of what the visitor wrote, as one of the callback's own would.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from sqlalchemy import (
    ARRAY,
    BindParameter,
    Column,
    ColumnElement,
    Double,
    Insert,
    String,
    Table,
    and_,
    bindparam,
    func,
    insert,
    not_,
    select,
    true,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from bx24app.database import Base, is_postgresql
from bx24app.database.compiled import CompiledStatement, Parameters, compiled_writing
from bx24app.models import Callback, TokenBucket, WebsiteRequest
from bx24app.services.runtime import rate_limit
from bx24app.services.runtime.rate_limit import RateLimit
from bx24app.services.websites import quotas
from bx24app.services.websites.submission import Submission

_BUCKET = {"digest": String, "tokens": Double, "size": Double, "refill": Double, "at": Double, "full_at": Double}
_CALLBACK = cast("Table", Callback.__table__)


class _Refused(Exception):
    """A bucket has no token left, or the callback was not inserted."""


def keep(wanted: Submission, buckets: list[RateLimit], callback: Callback, besides: WebsiteRequest) -> bool:
    """Keep a prepared callback, committed when this returns True; False: nothing was done."""
    if wanted.form.budget_calls is not None or wanted.form.budget_money is not None:
        return False
    rows = rate_limit.bucket_rows(buckets, wanted.now.timestamp())
    kept = _values(callback), _values(besides)
    values = quotas.condition_parameters(wanted) | kept[0] | kept[1]
    try:
        (_keep_at_once if is_postgresql() else _keep)(rows, _keeping(*map(tuple, kept)), values)
    except (IntegrityError, _Refused):
        return False
    return True


def _values(row: Base) -> dict[str, Any]:
    """What was set, and the defaults of what was not; the rest is left to the database."""
    held, values = row.__dict__, {}
    for key, name, default in _columns(type(row)):
        if key in held:
            values[name] = held[key]
        elif default is not None:
            values[name] = default.arg(None) if default.is_callable else default.arg
    return values


@cache
def _columns(model: type[Base]) -> list[tuple[str, str, Any]]:
    """Each column's key, its name as a parameter, and its default."""
    return [(column.key, _name(column), column.default) for column in cast("Table", model.__table__).columns]


# Columns whose values what is around is asked with anyway: a parameter less for each.
_SAME = {
    "callback_portal_id": "around_portal_id",
    "callback_form_id": "around_form_id",
    "callback_to_number": "around_number",
    "callback_idempotency_key": "around_key",
    "website_request_form_id": "around_form_id",
    "website_request_number_digest": "around_digest",
    "website_request_callback_id": "callback_id",
}


def _name(column: Column[Any]) -> str:
    name = f"{column.table.name}_{column.key}"
    return _SAME.get(name, name)


@dataclass(frozen=True)
class _Keeping:
    """The statements for rows of which the same columns are set, as those of all requests are."""

    at_once: CompiledStatement
    callback: CompiledStatement
    besides: CompiledStatement


@cache
def _keeping(callback: tuple[str, ...], besides: tuple[str, ...]) -> _Keeping:
    return _Keeping(
        at_once=CompiledStatement(lambda: _all(callback, besides)),
        callback=CompiledStatement(lambda: _inserting_callback(sqlite.insert(_CALLBACK), callback, true())),
        besides=CompiledStatement(lambda: _inserting_besides(besides)),
    )


def _keep_at_once(rows: list[dict[str, Any]], keeping: _Keeping, values: Parameters) -> None:
    arrays = {f"bucket_{name}": [row[name] for row in rows] for name in _BUCKET}
    with compiled_writing() as run:
        run(keeping.at_once, {**values, **arrays, "bucket_count": len(rows)})


def _keep(rows: list[dict[str, Any]], keeping: _Keeping, values: Parameters) -> None:
    with compiled_writing() as run:
        for row in rows:
            if not run(_TOKEN, row).fetchall():
                raise _Refused
        if not run(keeping.callback, values).rowcount:
            raise _Refused
        run(keeping.besides, values)


def _given(model: type[Base], names: tuple[str, ...]) -> dict[str, BindParameter[Any]]:
    columns = [column for column in cast("Table", model.__table__).columns if _name(column) in names]
    return {column.key: bindparam(_name(column), type_=column.type) for column in columns}


def _inserting_besides(names: tuple[str, ...]) -> Insert:
    return insert(WebsiteRequest).values(_given(WebsiteRequest, names))


def _inserting_callback(statement: Any, names: tuple[str, ...], condition: ColumnElement[bool]) -> Insert:
    """Nothing is inserted when the request may not be kept, or its key, or the number at this very moment, is taken."""
    around = quotas.condition_clauses()
    holds = and_(condition, *map(not_, (around.listed, around.in_hand, around.ghosted, around.is_told)))
    given = _given(Callback, names)
    kept: Insert = statement.from_select(list(given), select(*given.values()).where(holds)).on_conflict_do_nothing()
    return kept


def _all(callback: tuple[str, ...], besides: tuple[str, ...]) -> Insert:
    # The driver reads a statement again each time that has more than 50 parameters or 4,096 characters.
    arrays = [bindparam(f"bucket_{name}", type_=ARRAY(kind())) for name, kind in _BUCKET.items()]
    given = func.unnest(*arrays).table_valued(*_BUCKET).render_derived(name="given")
    buckets = postgresql.insert(cast("Table", TokenBucket.__table__)).from_select(list(_BUCKET), select(*given.c))
    taken = rate_limit.upsert_tokens(buckets).cte("taken")
    are_all = select(func.count()).select_from(taken).scalar_subquery() == bindparam("bucket_count")
    kept = _inserting_callback(postgresql.insert(_CALLBACK), callback, are_all)
    return _inserting_besides(besides).add_cte(taken, kept.cte("kept"))


def _token() -> Insert:
    values = {name: bindparam(name, type_=kind()) for name, kind in _BUCKET.items()}
    return cast("Insert", rate_limit.upsert_tokens(sqlite.insert(cast("Table", TokenBucket.__table__)).values(values)))


_TOKEN = CompiledStatement(_token)
