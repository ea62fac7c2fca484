"""The row cache: each process keeps rows that rarely change for as long as their ``revision`` is the same.

The ``revision`` of a row changes with every UPDATE of the app. Reading it is much cheaper than reading a row with
dozens of columns, and it is read with every use of the cache. An UPDATE by hand does not change it, so the app
sees such a change up to ``CACHED_SECONDS`` later.
"""

import time
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, cast

from flask import current_app

_KEPT = "bx24app.row_cache"
MAX_CACHED = 1000
# A value is kept for at most this time.
CACHED_SECONDS = 10.0

Revisions = tuple[int, ...]


@dataclass(frozen=True)
class _Kept:
    revisions: Revisions
    until: float
    value: Any


def _kept() -> dict[Hashable, _Kept]:
    return cast("dict[Hashable, _Kept]", current_app.extensions.setdefault(_KEPT, {}))


def get_cached(key: Hashable, revisions: Revisions) -> Any | None:
    """Return the value kept under ``key``; None when there is none, it is too old, or its rows have other revisions."""
    kept = _kept().get(key)
    if kept is None or kept.revisions != revisions or time.monotonic() > kept.until:
        return None
    return kept.value


def get_unconfirmed(key: Hashable) -> Any | None:
    """Return the value kept under ``key``, or None; whoever uses it compares the revisions of its rows afterwards."""
    kept = _kept().get(key)
    return None if kept is None or time.monotonic() > kept.until else kept.value


def put_cached(key: Hashable, revisions: Revisions, value: Any) -> None:
    """Keep a value that was made from rows with these revisions; all threads share it, so nobody may change it."""
    kept = _kept()
    if len(kept) >= MAX_CACHED:
        kept.clear()
    kept[key] = _Kept(revisions, time.monotonic() + CACHED_SECONDS, value)
