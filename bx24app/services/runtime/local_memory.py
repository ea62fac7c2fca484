"""What a process remembers for a while, because asking again would cost more; a restart forgets it."""

import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from threading import Lock
from typing import cast

from flask import current_app

MEMORY_STATE = "bx24app.local_memory"
# Of each kind; the one that was remembered longest ago is forgotten first.
MAX_REMEMBERED = 10_000


@dataclass
class _Memory:
    lock: Lock = field(default_factory=Lock)
    # By kind: keys with the moment until which they are remembered.
    kept: dict[str, OrderedDict[str, float]] = field(default_factory=dict)


def _memory() -> _Memory:
    known = current_app.extensions.get(MEMORY_STATE)
    return cast("_Memory", known or current_app.extensions.setdefault(MEMORY_STATE, _Memory()))


def remember(kind: str, key: str, seconds: float) -> None:
    """Remember a key of a kind for so many seconds from now."""
    state = _memory()
    with state.lock:
        of_kind = state.kept.setdefault(kind, OrderedDict())
        of_kind.pop(key, None)
        of_kind[key] = time.monotonic() + seconds
        if len(of_kind) > MAX_REMEMBERED:
            of_kind.popitem(last=False)


def is_remembered(kind: str, key: str) -> bool:
    """Tell whether a key of a kind is remembered."""
    return is_any_remembered(kind, (key,))


def is_any_remembered(kind: str, keys: Iterable[str]) -> bool:
    """Tell whether one of these keys of a kind is remembered."""
    of_kind, now = _memory().kept.get(kind), time.monotonic()
    return of_kind is not None and any(of_kind.get(key, 0.0) > now for key in keys)
