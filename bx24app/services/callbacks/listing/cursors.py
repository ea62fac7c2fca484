"""Cursors: a place in one list, signed for that list, so that it leads nowhere in another one."""

import json
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from hashlib import sha256
from uuid import UUID

from itsdangerous import BadSignature
from itsdangerous.encoding import base64_decode, base64_encode

from bx24app.errors import ListRefused
from bx24app.services.callbacks.listing.filters import ListFilter, Order, Scope
from bx24app.services.security import signing

CURSOR_SALT = "bx24app.list"
# What moves with the time of day does not make another list.
_TIME_OF_DAY = frozenset({"today"})


@dataclass(frozen=True)
class Total:
    """How many callbacks a list has; where it is not exact there are, or may be, more."""

    count: int = 0
    is_exact: bool = False


@dataclass(frozen=True)
class Position:
    """The last callback that was passed, with the list's total and how many of it the pages so far have shown."""

    id: UUID
    due_at: datetime | None = None
    total: Total = Total()
    seen: int = 0


def _salt(scope: Scope, wanted: ListFilter, order: Order) -> str:
    asked = {field.name: getattr(wanted, field.name) for field in fields(wanted) if field.name not in _TIME_OF_DAY}
    named = json.dumps([vars(scope), asked, order], default=repr, sort_keys=True)
    return f"{CURSOR_SALT}.{sha256(named.encode()).hexdigest()}"


def sign_cursor(position: Position, scope: Scope, wanted: ListFilter, order: Order) -> str:
    """Make the cursor of a place in a list."""
    due = position.due_at.timestamp() if position.due_at else None
    told = [position.id.hex, due, position.total.count, int(position.total.is_exact), position.seen]
    signer = signing.signer(_salt(scope, wanted, order))
    return signer.sign(base64_encode(json.dumps(told, separators=(",", ":")))).decode()


def read_cursor(cursor: str, scope: Scope, wanted: ListFilter, order: Order) -> Position:
    """Read the place that a cursor names; raises ``ListRefused`` for one of another list, filter or order."""
    try:
        told = json.loads(base64_decode(signing.signer(_salt(scope, wanted, order)).unsign(cursor.encode())))
    except (BadSignature, ValueError):
        raise ListRefused("cursor", "cursor_of_other_list") from None
    id, due, count, is_exact, seen = told
    due_at = datetime.fromtimestamp(due, UTC) if due is not None else None
    return Position(UUID(hex=id), due_at, Total(count, bool(is_exact)), seen)
