"""Token buckets: how often something may happen, held across processes and restarts by one statement.

What may happen once is a bucket of one token that never comes back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from sqlalchemy import Table, case, delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from bx24app.extensions import writing
from bx24app.models import Rate, utcnow

_TABLE = cast("Table", Rate.__table__)
HOUR = 3600.0
DAY = 24 * HOUR


@dataclass(frozen=True)
class Bucket:
    """Holds ``size`` tokens and fills again over ``seconds``; ``digest`` hides what it is for."""

    name: str
    digest: str
    size: float
    seconds: float
    # One of those that only browsers without JavaScript count against.
    is_plain: bool = False
    # It never fills again; it is forgotten after ``seconds``.
    is_single: bool = False


def take(session: Session, buckets: Sequence[Bucket], now: float) -> Bucket | None:
    """Take a token from each; returns the first bucket that has none, and then the caller must roll back.

    ``now`` is in seconds since the epoch.
    """
    connection = session.connection()
    taken = set(connection.execute(_taking(connection.dialect.name), rows_of(buckets, now)).scalars())
    return next((bucket for bucket in buckets if bucket.digest not in taken), None)


def rows_of(buckets: Sequence[Bucket], now: float) -> list[dict[str, Any]]:
    """The rows of new buckets that have given one token.

    Always in the same order, or two transactions would wait for each other.
    """
    return [
        {
            "digest": bucket.digest,
            "tokens": bucket.size - 1,
            "size": bucket.size,
            "refill": 0.0 if bucket.is_single else bucket.size / bucket.seconds,
            "at": now,
            "full_at": now + bucket.seconds,
        }
        for bucket in sorted(buckets, key=lambda bucket: bucket.digest)
    ]


@cache
def _taking(dialect: str) -> Any:
    return upserted((postgresql if dialect == "postgresql" else sqlite).insert(_TABLE))


def upserted(statement: Any) -> Any:
    """A new bucket begins full; an old one has filled since, and stays as it is when that is not enough.

    Returns the digests of those that gave a token.
    """
    old, new = _TABLE.c, statement.excluded
    # A clock that was set back fills nothing.
    at = case((new.at > old.at, new.at), else_=old.at)
    filled = old.tokens + (at - old.at) * new.refill
    held = case((filled < new.size, filled), else_=new.size)
    values = {"tokens": held - 1, "size": new.size, "refill": new.refill, "at": at, "full_at": new.full_at}
    return statement.on_conflict_do_update(index_elements=[old.digest], set_=values, where=held >= 1).returning(
        old.digest
    )


def left(session: Session, bucket: Bucket, now: float) -> float:
    """How many tokens a bucket has, taking none."""
    row = session.scalar(select(Rate).where(Rate.digest == bucket.digest))
    if row is None:
        return bucket.size
    return min(bucket.size, row.tokens + max(0.0, now - row.at) * bucket.size / bucket.seconds)


def forget_full() -> int:
    """Delete buckets that are full again, for no row says the same, and single ones; returns how many."""
    with writing() as session:
        query = delete(Rate).where(Rate.full_at < utcnow().timestamp()).returning(Rate.digest)
        return len(session.execute(query).all())
