"""The spaces of idempotency keys: keys of different forms, people and doors never meet.

The space stands in front of the key in the column, and the text that was sent comes last, so that no text that somebody
sends leads into another space.
"""

import hashlib


def staff_key(user_id: int | None, key: str | None) -> str | None:
    """Make the stored key of an employee's request from the ``key`` that was sent; None: it is not repeatable."""
    return f"s.{user_id}.{key}" if key else None


def back_end_key(form_id: int, key: str | None) -> str | None:
    """Make the stored key of a request with an API key; all API keys of a form share one space."""
    return f"a.{form_id}.{key}" if key else None


def rule_key(token_digest: str) -> str:
    """Make the stored key of the callback of a rule's run, of which there is one for each token."""
    return f"r.{token_digest}"


def visitor_key(form_key: str, key: str | None, number: str | None) -> str | None:
    """Make the stored key of a visitor's request; the number is in it, so that a guessed key alone finds no request."""
    return f"w.{hashlib.sha256(f'{form_key} {key} {number}'.encode()).hexdigest()}" if key else None
