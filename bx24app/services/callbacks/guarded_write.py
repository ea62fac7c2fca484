"""The guarded write: it inserts a callback or its decoy only if every condition holds.

On PostgreSQL it is one statement, on SQLite one short transaction. Where a condition does not hold, nothing is written.
PostgreSQL may have taken tokens by then; the statement then divides by zero on purpose, so that the whole statement is
rolled back. That error puts no data into the server's log.
"""

from sqlalchemy.exc import DataError, IntegrityError

from bx24app.database import Base, is_postgresql
from bx24app.database.compiled import Run, compiled_writing
from bx24app.database.errors import is_missing_reference
from bx24app.models import Callback, DecoyRequest
from bx24app.services.callbacks.conditions import CONDITIONS, REVISION_PARAMETERS, Candidate
from bx24app.services.callbacks.entries import marks
from bx24app.services.callbacks.guarded_statements import (
    BUCKET_COLUMNS,
    Shape,
    Values,
    step_statement,
    values_of,
    whole_statement,
)
from bx24app.services.callbacks.listing import list_marks
from bx24app.services.runtime import rate_limit
from bx24app.services.webhooks import outbox

DIVISION_BY_ZERO = "22012"
_ANY_NUMBER = 2**31 - 1


class _NotAccepted(Exception):
    """A step of SQLite's transaction found that a condition does not hold."""


def write(candidate: Candidate) -> Callback | DecoyRequest | None:
    """Insert the callback with all that belongs to it, or its decoy where a hidden condition does not hold; commits.

    Both take the same tokens, in one statement or transaction of the same length. Returns what was inserted, None when
    nothing was changed.
    """
    budget = candidate.budget
    if budget is not None and (budget.overspent is not None or budget.calls == 0):
        return None
    shape, values = _described(candidate)
    try:
        with compiled_writing() as run:
            return (
                _run_whole(run, shape, values, candidate)
                if is_postgresql()
                else _run_steps(run, shape, values, candidate)
            )
    except _NotAccepted:
        return None
    except IntegrityError as error:
        # A webhook of the form, or the form itself, was removed in this moment.
        if not is_missing_reference(error):
            raise
        return None
    except DataError as error:
        if getattr(error.orig, "sqlstate", None) != DIVISION_BY_ZERO:
            raise
        return None


def _run_whole(run: Run, shape: Shape, values: Values, candidate: Candidate) -> Callback | DecoyRequest | None:
    callbacks, anything = run(whole_statement(shape), values).fetchall()[0]
    if not anything:
        return None
    return candidate.callback if callbacks else candidate.decoy


def _run_steps(run: Run, shape: Shape, values: Values, candidate: Candidate) -> Callback | DecoyRequest | None:
    """Take tokens and insert, one statement after the other; raises ``_NotAccepted``, and the caller rolls back."""
    for row in _bucket_rows(candidate):
        _run_needed(run, "token", shape, row)
    if shape.counts_call:
        _run_needed(run, "call", shape, values)
    if run(step_statement("callback", shape), values).fetchall():
        related = {
            "website_request": shape.website_request,
            "decision": shape.decision,
            "deliveries": shape.has_deliveries,
            "entry": shape.has_entry,
        }
        for name in (name for name, is_there in related.items() if is_there):
            run(step_statement(name, shape), values)
        for row in list_marks.word_rows(candidate.callback):
            run(step_statement("word", shape), row)
        run(step_statement("follow_ups", shape), values)
        return candidate.callback
    if not shape.decoy:
        raise _NotAccepted
    _run_needed(run, "decoy", shape, values)
    run(step_statement("rejection", shape), values)
    return candidate.decoy


def _run_needed(run: Run, name: str, shape: Shape, values: Values) -> None:
    if not run(step_statement(name, shape), values).fetchall():
        raise _NotAccepted


def _described(candidate: Candidate) -> tuple[Shape, Values]:
    """Return the shape of the statement and the values of all its parameters."""
    callback = values_of(candidate.callback)
    website = _values_of(candidate.website_request)
    # Before a callback is accepted it has at most one decision: that it repeats an earlier one, or what was left out.
    decision = values_of(candidate.callback.decisions[0]) if candidate.callback.decisions else {}
    decoy, rejection = _values_of(candidate.decoy), _values_of(candidate.rejection)
    has_deliveries = bool(candidate.form_key)
    delivery = outbox.delivery_values(candidate.callback, candidate.form_key) if has_deliveries else {}
    shape = Shape(
        callback=tuple(callback),
        website_request=tuple(website),
        decision=tuple(decision),
        decoy=tuple(decoy),
        rejection=tuple(rejection),
        conditions=tuple(c.name for c in CONDITIONS if c.clause is not None and c.applies(candidate)),
        takes_tokens=bool(candidate.rate_limits),
        counts_call=candidate.budget is not None,
        has_deliveries=has_deliveries,
        has_words=bool(candidate.callback.customer_name),
        has_entry=marks.has_card(candidate.callback),
    )
    words = list_marks.word_values(candidate.callback)
    entry = marks.entry_values(candidate.callback) if shape.has_entry else {}
    revisions = zip(REVISION_PARAMETERS, candidate.form_revisions or (), strict=candidate.form_revisions is not None)
    named = callback | words | entry | website | decision | decoy | rejection | delivery | dict(revisions)
    return shape, named | _budget_values(candidate) | _bucket_values(candidate) | {
        "number_digest": candidate.number_digest
    }


def _values_of(row: Base | None) -> Values:
    return values_of(row) if row is not None else {}


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
