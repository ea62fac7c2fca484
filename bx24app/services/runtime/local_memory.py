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
    # By kind: keys with what is known of them, and the moment until which it is remembered.
    kept: dict[str, OrderedDict[str, tuple[object, float]]] = field(default_factory=dict)


def _memory() -> _Memory:
    known = current_app.extensions.get(MEMORY_STATE)
    return cast("_Memory", known or current_app.extensions.setdefault(MEMORY_STATE, _Memory()))


def remember(kind: str, key: str, seconds: float, value: object = True) -> None:
    """Remember a key of a kind, with what is known of it, for so many seconds from now."""
    state = _memory()
    with state.lock:
        of_kind = state.kept.setdefault(kind, OrderedDict())
        of_kind.pop(key, None)
        of_kind[key] = value, time.monotonic() + seconds
        if len(of_kind) > MAX_REMEMBERED:
            of_kind.popitem(last=False)


def recall(kind: str, key: str) -> object:
    """Return what is known of a key of a kind; None: it is not remembered."""
    of_kind = _memory().kept.get(kind)
    value, until = (of_kind.get(key) if of_kind is not None else None) or (None, 0.0)
    return value if until > time.monotonic() else None


def is_remembered(kind: str, key: str) -> bool:
    """Tell whether a key of a kind is remembered."""
    return recall(kind, key) is not None


def remembered(kind: str) -> list[str]:
    """The keys of a kind that are remembered."""
    state, now = _memory(), time.monotonic()
    with state.lock:
        return [key for key, (_, until) in state.kept.get(kind, {}).items() if until > now]


def is_any_remembered(kind: str, keys: Iterable[str]) -> bool:
    """Tell whether one of these keys of a kind is remembered."""
    return any(is_remembered(kind, key) for key in keys)
