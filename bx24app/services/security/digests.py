"""Keyed digests of values that we must recognise but must not store: application tokens, numbers of strangers."""

import secrets

from flask import current_app
from sqlalchemy import select

from bx24app.crypto import keyed_digest, keyring, same_secret
from bx24app.database import insert_new, reading_beside, writing
from bx24app.models import DigestKey
from bx24app.models.digest_key import DIGEST_KEY_PLACE

KEY_CACHE = "bx24app.digest_key"


def _stored() -> str | None:
    # A transaction may be open, in a process that has not needed the key until now.
    with reading_beside(single_statement=True) as session:
        return session.scalar(select(DigestKey.sealed).where(DigestKey.id == 1))


def _make() -> str:
    """Store a random key; when another process has stored one meanwhile, return that one."""
    row = DigestKey(id=1, sealed=keyring.seal(secrets.token_hex(32), DIGEST_KEY_PLACE))
    with writing() as session:
        insert_new(session, [row], DigestKey.id)
        return session.scalars(select(DigestKey.sealed).where(DigestKey.id == 1)).one()


def _key() -> bytes:
    cached: bytes | None = current_app.extensions.get(KEY_CACHE)
    if cached is None:
        cached = bytes.fromhex(keyring.open_sealed(_stored() or _make(), DIGEST_KEY_PLACE))
        current_app.extensions[KEY_CACHE] = cached
    return cached


def digest(purpose: str, value: str) -> str:
    """Return the keyed digest of a value; call it outside of transactions, because the first call may write."""
    return keyed_digest(_key(), purpose, value)


def matches(purpose: str, value: str, expected: str | None) -> bool:
    """Tell in constant time whether a value has the expected digest; False when nothing is expected (None)."""
    return bool(value) and expected is not None and same_secret(digest(purpose, value), expected)
