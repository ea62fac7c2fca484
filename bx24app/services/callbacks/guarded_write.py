"""The guarded write: it inserts a callback or its decoy only if every condition holds.

On PostgreSQL it is one statement, on SQLite a few in one transaction. Where a condition does not hold, nothing is
written. PostgreSQL may have taken tokens by then; the statement then divides by zero on purpose, so that the whole
statement is rolled back. That error puts no data into the server's log.
"""

from collections.abc import Callable, Sequence

from sqlalchemy.exc import DataError, IntegrityError

from bx24app.database import Base, is_postgresql
from bx24app.database.compiled import Run
from bx24app.database.errors import is_missing_reference
from bx24app.database.group_commit import write_together
from bx24app.models import Callback, DecoyRequest
from bx24app.services.callbacks.conditions import CONDITIONS, REVISION_PARAMETERS, Candidate
from bx24app.services.callbacks.entries import marks
from bx24app.services.callbacks.guarded.row_inserts import Values, values_of
from bx24app.services.callbacks.guarded_statements import BUCKET_COLUMNS, Shape, step_statement, whole_statement
from bx24app.services.callbacks.listing import list_marks
from bx24app.services.runtime import rate_limit
from bx24app.services.runtime.rate_limit import RateLimit
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
    if budget is not None and 0 in (budget.calls, budget.money_calls):
        return None
    shape, values = _described(candidate)
    work = _whole(shape, values, candidate) if is_postgresql() else _steps(shape, values, candidate)
    try:
        return write_together(work)
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


# Writes with statements that are bound already; returns as ``write``.
Work = Callable[[Run], Callback | DecoyRequest | None]


def _whole(shape: Shape, values: Values, candidate: Candidate) -> Work:
    whole = whole_statement(shape).bind(values)

    def work(run: Run) -> Callback | DecoyRequest | None:
        callbacks, anything = run(whole).fetchall()[0]
        if not anything:
            return None
        return candidate.callback if callbacks else candidate.decoy

    return work


def _steps(shape: Shape, values: Values, candidate: Candidate) -> Work:
    """Take tokens and insert, one statement after the other; it raises ``_NotAccepted``, and nothing is written.

    Meanwhile all other writers wait, and each statement and each row that it answers gives the interpreter away for a
    moment: so they are few, and tell only how many rows they have written.
    """
    of_buckets = {
        "tokens": _bucket_values(candidate, candidate.open_limits),
        "first_tokens": _bucket_values(candidate, candidate.first_limits),
        "number_tokens": _bucket_values(candidate, _later_limits(candidate, candidate.hidden_limits)),
    }
    first = len(candidate.first_limits)
    steps = {name: step_statement(name, shape).bind(of_buckets.get(name, values)) for name in shape.steps}

    def work(run: Run) -> Callback | DecoyRequest | None:
        if shape.takes_tokens and run(steps["tokens"]).rowcount < len(candidate.open_limits):
            raise _NotAccepted
        # What the first ones refuse takes nothing from the others.
        hidden = [("first_tokens", first), ("number_tokens", len(candidate.hidden_limits) - first)]
        is_limited = not all(run(steps[name]).rowcount == count for name, count in hidden if count)
        if shape.counts_call and not run(steps["call"]).rowcount:
            raise _NotAccepted
        if not is_limited and run(steps["callback"]).rowcount:
            for name in shape.related:
                run(steps[name])
            return candidate.callback
        decoy, rejection = ("limited_decoy", "limited_rejection") if is_limited else ("decoy", "rejection")
        if not shape.decoy or not run(steps[decoy]).rowcount:
            raise _NotAccepted
        run(steps[rejection])
        return candidate.decoy

    return work


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
        hides_tokens=bool(candidate.hidden_limits),
        has_first_tokens=bool(candidate.first_limits),
        counts_call=candidate.budget is not None,
        has_deliveries=has_deliveries,
        has_words=bool(candidate.callback.customer_name),
        has_entry=marks.has_card(candidate.callback),
    )
    words = list_marks.word_values(candidate.callback)
    entry = marks.entry_values(candidate.callback) if shape.has_entry else {}
    revisions = zip(REVISION_PARAMETERS, candidate.form_revisions or (), strict=candidate.form_revisions is not None)
    named = callback | words | entry | website | decision | decoy | rejection | delivery | dict(revisions)
    buckets = _bucket_values(candidate, _later_limits(candidate, candidate.rate_limits))
    first = _bucket_values(candidate, candidate.first_limits, "first")
    return shape, named | _budget_values(candidate) | buckets | first | {
        "number_digest": candidate.number_digest,
        "hidden_buckets": [limit.digest for limit in _later_limits(candidate, candidate.hidden_limits)],
    }


def _later_limits(candidate: Candidate, limits: Sequence[RateLimit]) -> list[RateLimit]:
    """Return the limits besides those from which a token is taken before."""
    return [limit for limit in limits if limit not in candidate.first_limits]


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
        "money_calls": _ANY_NUMBER if budget.money_calls is None else budget.money_calls,
    }


def _bucket_values(candidate: Candidate, limits: Sequence[RateLimit], named: str = "bucket") -> Values:
    rows = rate_limit.bucket_rows(limits, candidate.at.timestamp())
    return {f"{named}_{name}": [row[name] for row in rows] for name in BUCKET_COLUMNS} | {f"{named}_count": len(rows)}
