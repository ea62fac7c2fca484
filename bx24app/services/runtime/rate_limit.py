"""Token buckets: how often something may happen, held across processes and restarts by one statement.

What may happen once is a bucket of one token that never comes back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from sqlalchemy import Table, case, select
from sqlalchemy.orm import Session

from bx24app.database import insert_into, purge
from bx24app.models import TokenBucket, utcnow

_TABLE = cast("Table", TokenBucket.__table__)
HOUR = 3600.0
DAY = 24 * HOUR


@dataclass(frozen=True)
class RateLimit:
    """Holds ``size`` tokens and fills again over ``seconds``; ``digest`` hides what it is for."""

    name: str
    digest: str
    size: float
    seconds: float
    # One of those that only browsers without JavaScript count against.
    is_plain: bool = False
    # It never fills again; it is forgotten after ``seconds``.
    is_single: bool = False


def take_tokens(session: Session, buckets: Sequence[RateLimit], now: float) -> RateLimit | None:
    """Take a token from each; returns the first bucket that has none, and then the caller must roll back.

    ``now`` is in seconds since the epoch.
    """
    connection = session.connection()
    taken = set(connection.execute(_taking(connection.dialect.name), bucket_rows(buckets, now)).scalars())
    return next((bucket for bucket in buckets if bucket.digest not in taken), None)


def bucket_rows(buckets: Sequence[RateLimit], now: float) -> list[dict[str, Any]]:
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
    return upsert_tokens(insert_into(TokenBucket, dialect))


def upsert_tokens(statement: Any) -> Any:
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


def tokens_left(session: Session, bucket: RateLimit, now: float) -> float:
    """How many tokens a bucket has, taking none."""
    row = session.scalar(select(TokenBucket).where(TokenBucket.digest == bucket.digest))
    if row is None:
        return bucket.size
    return min(bucket.size, row.tokens + max(0.0, now - row.at) * bucket.size / bucket.seconds)


def purge_full_buckets() -> int:
    """Delete buckets that are full again, for no row says the same, and single ones; returns how many."""
    return purge(TokenBucket, TokenBucket.full_at < utcnow().timestamp())
