"""What hardly ever changes, kept by each process for as long as the database says that it is still the same.

The ``revision`` of a row changes with every UPDATE. Reading it costs a part of reading a row with dozens of columns,
and nothing is answered from memory without it. Only an UPDATE by hand leaves it as it is: that is seen a little later.
"""

import time
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, cast

from flask import current_app

_KEPT = "bx24app.row_cache"
MAX_CACHED = 1000
# Longest for which something is kept.
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
    """What was kept under ``key``, or None when its rows have other revisions by now."""
    kept = _kept().get(key)
    if kept is None or kept.revisions != revisions or time.monotonic() > kept.until:
        return None
    return kept.value


def put_cached(key: Hashable, revisions: Revisions, value: Any) -> None:
    """Keep a value that was made of rows with these revisions; all threads share it, so nobody may change it."""
    kept = _kept()
    if len(kept) >= MAX_CACHED:
        kept.clear()
    kept[key] = _Kept(revisions, time.monotonic() + CACHED_SECONDS, value)
