"""What hardly ever changes, kept by each process for as long as the database says that it is still the same.

The ``revision`` of a row changes with every UPDATE. Reading it costs a part of reading a row with dozens of columns,
and nothing is answered from memory without it.
"""

from collections.abc import Hashable
from typing import Any, cast

from flask import current_app

_KEPT = "bx24app.remembered"
MOST = 1000

Revisions = tuple[int, ...]


def _kept() -> dict[Hashable, tuple[Revisions, Any]]:
    return cast("dict[Hashable, tuple[Revisions, Any]]", current_app.extensions.setdefault(_KEPT, {}))


def recall(key: Hashable, revisions: Revisions) -> Any | None:
    """What was kept under ``key``, or None when its rows have other revisions by now."""
    kept = _kept().get(key)
    return kept[1] if kept is not None and kept[0] == revisions else None


def keep(key: Hashable, revisions: Revisions, value: Any) -> None:
    """Keep a value that was made of rows with these revisions; all threads share it, so nobody may change it."""
    kept = _kept()
    if len(kept) >= MOST:
        kept.clear()
    kept[key] = (revisions, value)
