"""An answer that is asked for at most once in so many seconds, whoever wants it; each process keeps its own."""

import time
from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar, cast

from flask import current_app

T = TypeVar("T")
ANSWERS_STATE = "bx24app.kept_answers"
# Whoever wants an answer that another thread asks for waits no longer.
ANSWER_WAIT_SECONDS = 1.0


class _KeptAnswer:
    def __init__(self) -> None:
        self.lock = Lock()
        # What was answered, and the moment until which that counts.
        self.answer: tuple[Any, float] = (None, float("-inf"))


def keep_answer(name: str, seconds: float, ask: Callable[[], T]) -> T | None:
    """Return the answer of ``ask``, at most ``seconds`` old; None: another thread asks, and gets no answer in time.

    ``ask`` is called by one thread at a time and not again within ``seconds``, so it should return a failure and not
    raise it.
    """
    kept: _KeptAnswer = current_app.extensions.setdefault(ANSWERS_STATE, {}).setdefault(name, _KeptAnswer())
    if (known := _fresh(kept)) is not None:
        return cast("T", known[0])
    if not kept.lock.acquire(timeout=ANSWER_WAIT_SECONDS):
        return None
    try:
        if (known := _fresh(kept)) is None:
            answer = ask()
            kept.answer = known = (answer, time.monotonic() + seconds)
        return cast("T", known[0])
    finally:
        kept.lock.release()


def _fresh(kept: _KeptAnswer) -> tuple[Any, float] | None:
    answer = kept.answer
    return answer if time.monotonic() < answer[1] else None
