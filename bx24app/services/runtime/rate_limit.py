"""Token buckets: they limit how often something may happen.

They are rows that one statement changes, so they hold across processes and restarts. What may happen only once is a
bucket of one token that never fills again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from sqlalchemy import Float, Integer, Table, func, literal_column, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from bx24app.database import insert_into, purge
from bx24app.errors import RateLimited
from bx24app.models import TokenBucket, utcnow

_TABLE = cast("Table", TokenBucket.__table__)
HOUR = 3600.0
DAY = 24 * HOUR


@dataclass(frozen=True)
class RateLimit:
    """A bucket of ``size`` tokens that fills again in ``seconds``; ``digest`` is its key and hides what it counts."""

    name: str
    digest: str
    size: float
    seconds: float
    # Only requests of browsers without JavaScript count against this bucket.
    for_no_script: bool = False
    # The bucket never fills again; its row is deleted after ``seconds``.
    is_single_use: bool = False
    # A visitor must not learn that it is empty.
    is_hidden: bool = False


def take_tokens(session: Session, buckets: Sequence[RateLimit], now: float) -> RateLimit | None:
    """Take a token from each bucket; returns the first that has none, None: all gave one.

    When a bucket is returned the caller must roll back. ``now`` is in seconds since the epoch.
    """
    connection = session.connection()
    taken = set(connection.execute(_taking(connection.dialect.name), bucket_rows(buckets, now)).scalars())
    return next((bucket for bucket in buckets if bucket.digest not in taken), None)


def bucket_rows(buckets: Sequence[RateLimit], now: float) -> list[dict[str, Any]]:
    """Make the rows of new buckets that have given one token.

    The rows are sorted, because two transactions that lock them in different orders would wait for each other.
    """
    return [
        {
            "digest": bucket.digest,
            "tokens": bucket.size - 1,
            "size": bucket.size,
            "refill": _refill(bucket),
            "at": now,
            "full_at": now + bucket.seconds,
        }
        for bucket in sorted(buckets, key=lambda bucket: bucket.digest)
    ]


@cache
def _taking(dialect: str) -> Any:
    return upsert_tokens(insert_into(TokenBucket, dialect)).returning(_TABLE.c.digest)


def upsert_tokens(statement: Any) -> Any:
    """Complete an insert of ``bucket_rows``: an existing bucket fills for the time that has passed and gives a token.

    A bucket without a whole token is not changed.
    """
    old, new = _TABLE.c, statement.excluded
    least, greatest = (func.least, func.greatest) if isinstance(statement, postgresql.Insert) else (func.min, func.max)
    # When the clock was set back, no time has passed and the bucket is not filled. A row from further ahead than that
    # takes was written by a clock that was wrong, by days perhaps: it has filled since, and begins anew.
    passed = greatest(new.at - old.at, old.at - new.full_at, literal_column("0", Float))
    # What was taken counts whatever the size is now: forms of a portal may have limits of their own for one number.
    tokens = old.tokens - old.size + new.size + passed * new.refill
    one = literal_column("1", Integer)
    # Without "refill", which nobody reads of a row: the driver remembers no statement of more than 4,096 characters.
    values = {
        "tokens": least(tokens, new.size) - one,
        "size": new.size,
        "at": greatest(new.at, least(old.at, new.full_at)),
        "full_at": new.full_at,
    }
    return statement.on_conflict_do_update(index_elements=[old.digest], set_=values, where=tokens >= one)


def give_back(session: Session, buckets: Sequence[RateLimit], now: float) -> None:
    """Put a token back into each bucket, as far as it has room.

    The rows are locked in the order in which others take from them, one after the other: a hidden one of requests
    without a proof of work comes first (``callbacks/conditions.py``).
    """
    for bucket in sorted(buckets, key=lambda bucket: (not bucket.for_no_script, bucket.digest)):
        row = session.get(TokenBucket, bucket.digest, with_for_update=True)
        if row is not None:
            row.tokens = min(row.size, row.tokens + _passed(row, now, bucket) * _refill(bucket) + 1)
            row.at = max(now, min(row.at, now + bucket.seconds))


def tokens_left(session: Session, bucket: RateLimit, now: float) -> float:
    """Count the tokens of a bucket without taking any."""
    row = session.scalar(select(TokenBucket).where(TokenBucket.digest == bucket.digest))
    if row is None:
        return bucket.size
    refilled = _passed(row, now, bucket) * _refill(bucket)
    return min(bucket.size, row.tokens + bucket.size - row.size + refilled)


def _passed(row: TokenBucket, now: float, bucket: RateLimit) -> float:
    """Count the seconds for which a bucket has filled since a row was written, as ``upsert_tokens`` does."""
    return max(now - row.at, row.at - (now + bucket.seconds), 0.0)


def _refill(bucket: RateLimit) -> float:
    return 0.0 if bucket.is_single_use else bucket.size / bucket.seconds


def first_empty(session: Session, buckets: Sequence[RateLimit], now: float) -> RateLimit | None:
    """The first bucket without a token, None: each has one.

    Whoever asks on and on is refused by reading, and waits in line for no writer.
    """
    return next((bucket for bucket in buckets if tokens_left(session, bucket, now) < 1), None)


def refuse_if_empty(bucket: RateLimit | None, retry_after: int | None = None) -> None:
    """Raise ``RateLimited`` for the bucket that gave no token, if there is one; ``retry_after`` in seconds."""
    if bucket is not None:
        refusal = RateLimited(bucket.name)
        refusal.retry_after = retry_after
        raise refusal


def purge_full_buckets() -> int:
    """Delete full buckets, because a missing row counts as full, and old single-use ones; returns how many."""
    return purge(TokenBucket, TokenBucket.full_at < utcnow().timestamp())
