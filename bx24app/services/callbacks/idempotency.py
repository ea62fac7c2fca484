"""The spaces of idempotency keys: keys of different forms, people and doors never meet.

The space stands in front of the key in the column, and the text that was sent comes last, so that no text that somebody
sends leads into another space. Decoys outlive the erasure of their number, so what is stored of a request is keyed:
whoever has the rows could try all numbers otherwise.
"""

import hashlib
import json

from bx24app.services.security import digests


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
    """Make the stored key of a visitor's request; the number is in it, so that a guessed key alone finds no request.

    Call it outside of transactions.
    """
    return f"w.{_keyed(_visitor_digest(form_key, key, number))}" if key else None


def unkeyed_visitor_key(form_key: str, key: str | None, number: str | None) -> str | None:
    """Make the key under which earlier versions stored the same request."""
    return f"w.{_visitor_digest(form_key, key, number)}" if key else None


def request_digest(asked: object) -> str:
    """Return a digest that tells whether two requests under one key are the same; call it outside of transactions.

    ``asked``: what makes them the same, of lists, dictionaries and what has a text.
    """
    return _keyed(_plain(json.dumps(asked, default=str, sort_keys=True)))


def is_same_request(stored: str | None, digest: str | None) -> bool:
    """Tell whether a row was stored for the request with this digest; earlier versions stored digests without a key."""
    return stored == digest or (stored is not None and _keyed(stored) == digest)


def _visitor_digest(form_key: str, key: str | None, number: str | None) -> str:
    return _plain(f"{form_key} {key} {number}")


def _plain(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _keyed(plain: str) -> str:
    return digests.digest("request", plain)
