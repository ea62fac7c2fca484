"""The guarded write: it inserts a callback or its decoy only if every condition holds.

On PostgreSQL it is one statement, on SQLite one short transaction. Where a condition does not hold, nothing is written.
PostgreSQL may have taken tokens by then; the statement then divides by zero on purpose, so that the whole statement is
rolled back. That error puts no data into the server's log.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.exc import DataError, IntegrityError

from bx24app.database import is_postgresql
from bx24app.database.compiled import CompiledStatement, compiled_writing
from bx24app.database.errors import is_missing_reference
from bx24app.models import Callback, DecoyRequest
from bx24app.services.callbacks.conditions import CONDITIONS, Candidate
from bx24app.services.callbacks.guarded_statements import (
    BUCKET_COLUMNS,
    Shape,
    Values,
    step_statement,
    values_of,
    whole_statement,
)
from bx24app.services.runtime import rate_limit
from bx24app.services.webhooks import outbox

DIVISION_BY_ZERO = "22012"
_ANY_NUMBER = 2**31 - 1


class _NotAccepted(Exception):
    """A step of SQLite's transaction found that a condition does not hold."""


def write_callback(candidate: Candidate) -> bool:
    """Insert the callback with all that belongs to it; commits. Returns False when nothing was changed."""
    return _write(candidate, candidate.callback)


def write_decoy(candidate: Candidate) -> bool:
    """Insert the decoy if another callback holds the number; commits. Returns False when nothing was changed.

    The decoy takes the same tokens as a callback.
    """
    assert candidate.decoy is not None
    return _write(candidate, candidate.decoy)


def _write(candidate: Candidate, row: Callback | DecoyRequest) -> bool:
    budget = candidate.budget
    if budget is not None and (budget.overspent is not None or budget.calls == 0):
        return False
    shape, values = _described(candidate, row)
    try:
        with compiled_writing() as run:
            if is_postgresql():
                accepted = run(whole_statement(shape), values).fetchone()
                return bool(accepted and accepted[0])
            for step in _steps(shape, candidate, values):
                cursor = run(step.statement, step.values)
                if step.needed and not cursor.fetchall():
                    raise _NotAccepted
    except _NotAccepted:
        return False
    except IntegrityError as error:
        # A webhook of the form, or the form itself, was removed in this moment.
        if not is_missing_reference(error):
            raise
        return False
    except DataError as error:
        if getattr(error.orig, "sqlstate", None) != DIVISION_BY_ZERO:
            raise
        return False
    return True


def _described(candidate: Candidate, row: Callback | DecoyRequest) -> tuple[Shape, Values]:
    """Return the shape of the statement and the values of all its parameters."""
    is_callback = isinstance(row, Callback)
    own = values_of(row)
    website = values_of(candidate.website_request) if is_callback and candidate.website_request is not None else {}
    # Before a callback is accepted it has at most one decision: that it repeats an earlier callback.
    decision = values_of(candidate.callback.decisions[0]) if is_callback and candidate.callback.decisions else {}
    has_deliveries = is_callback and bool(candidate.form_key)
    delivery = outbox.delivery_values(candidate.callback, candidate.form_key) if has_deliveries else {}
    shape = Shape(
        table=type(row),
        columns=tuple(own),
        website_request=tuple(website),
        decision=tuple(decision),
        conditions=tuple(c.name for c in CONDITIONS if c.clause is not None and c.applies(candidate)),
        takes_tokens=bool(candidate.rate_limits),
        counts_call=candidate.budget is not None,
        has_deliveries=has_deliveries,
    )
    named = values_of(candidate.callback) | own | website | decision | delivery
    return shape, named | _budget_values(candidate) | _bucket_values(candidate) | {
        "number_digest": candidate.number_digest
    }


def _budget_values(candidate: Candidate) -> Values:
    budget = candidate.budget
    if budget is None:
        return {}
    return {
        "budget_form_id": budget.form_id,
        "budget_day": budget.day,
        "budget_calls": _ANY_NUMBER if budget.calls is None else budget.calls,
        "budget_seen": -1 if budget.seen is None else budget.seen,
    }


def _bucket_values(candidate: Candidate) -> Values:
    rows = _bucket_rows(candidate)
    if not rows or not is_postgresql():
        return {}
    return {f"bucket_{name}": [row[name] for row in rows] for name in BUCKET_COLUMNS} | {"bucket_count": len(rows)}


def _bucket_rows(candidate: Candidate) -> list[Values]:
    return rate_limit.bucket_rows(candidate.rate_limits, candidate.at.timestamp())


@dataclass(frozen=True)
class _Step:
    """One statement of SQLite's transaction; if a ``needed`` one returns no row, the candidate is not accepted."""

    statement: CompiledStatement
    values: Mapping[str, Any]
    needed: bool = True


def _steps(shape: Shape, candidate: Candidate, values: Values) -> Iterator[_Step]:
    for row in _bucket_rows(candidate):
        yield _Step(step_statement("token", shape), row)
    if shape.counts_call:
        yield _Step(step_statement("call", shape), values)
    yield _Step(step_statement("callback_or_decoy", shape), values)
    for name, is_there in (
        ("website_request", shape.website_request),
        ("decision", shape.decision),
        ("deliveries", shape.has_deliveries),
    ):
        if is_there:
            yield _Step(step_statement(name, shape), values, needed=False)
