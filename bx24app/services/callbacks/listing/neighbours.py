"""The callbacks before and after one in a list, and its place there."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.orm import Session

from bx24app.models import Callback
from bx24app.services.callbacks.listing.cursors import Position, Total
from bx24app.services.callbacks.listing.filters import ListFilter, Order, Scope, order_of
from bx24app.services.callbacks.listing.finding import Most, find_ids
from bx24app.services.callbacks.listing.pages import COUNTED_TO, count_found

_REVERSED = {Order.NEWEST: Order.OLDEST, Order.OLDEST: Order.NEWEST}


@dataclass(frozen=True)
class Neighbours:
    """Whom ‹ and › lead to; ``place`` is the callback's own, from 1, and None where it is not among the first ones."""

    before: UUID | None = None
    after: UUID | None = None
    place: int | None = None
    total: Total | None = None


def read_neighbours(
    session: Session, scope: Scope, wanted: ListFilter, order: Order | None, callback: Callback
) -> Neighbours:
    """Look for the neighbours of a callback inside the caller's transaction.

    Raises ``ListRefused`` for an order that says nothing. A callback that is not in the list any more, because it is in
    another state now, keeps those that stand beside its time.
    """
    chosen = order_of(wanted, order)
    found = find_ids(session, scope, wanted, chosen, None, Most(COUNTED_TO + 1, COUNTED_TO + 1))
    ids = list(found.ids)
    if callback.id in ids:
        at = ids.index(callback.id)
        before, after = ids[at - 1] if at else None, ids[at + 1] if at + 1 < len(ids) else None
        return Neighbours(before, after, at + 1, count_found(found))
    here = Position(callback.id, callback.due_at)
    after = _first(session, scope, wanted, chosen, here)
    back = _REVERSED.get(chosen)
    return Neighbours(_first(session, scope, wanted, back, here) if back else None, after)


def _first(session: Session, scope: Scope, wanted: ListFilter, order: Order, here: Position) -> UUID | None:
    ids = find_ids(session, scope, wanted, order, here, Most(1, 1)).ids
    return ids[0] if ids else None
