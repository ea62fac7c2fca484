"""Seal secrets for storage, and compare secrets in constant time."""

import base64
import hashlib
import hmac
import os
from typing import cast

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from flask import Flask, current_app
from werkzeug.local import LocalProxy

from bx24app.errors import Bitrix24Unavailable
from bx24app.settings import Settings

log = structlog.get_logger(__name__)

NONCE_BYTES = 12
KEY_ID_LENGTH = 8


class SealError(Exception):
    """A sealed value cannot be opened."""


class SealBroken(SealError):
    """It was altered or moved to another place: no process opens it, now or later."""


class UnknownKey(Bitrix24Unavailable, SealError):
    """Its key is not configured in this process: while keys are changed others have it, or this one once restarted.

    For whoever wants to use the value it is as if the portal could not be asked now: nothing is given up because of it.
    """


def _key_id(key: bytes) -> str:
    return hashlib.sha256(b"bx24app encryption key " + key).hexdigest()[:KEY_ID_LENGTH]


class Keyring:
    """The encryption keys: the first key seals, every key opens.

    A sealed value is ``<key id>.<base64 of nonce and AES-256-GCM ciphertext>``. ``place`` names where the value
    is stored (table, column, ``member_id``) and is authenticated with it, so that a value copied into another
    portal's row cannot be opened.
    """

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        self._ciphers = {_key_id(key): AESGCM(key) for key in keys}
        self._sealing_id = _key_id(keys[0])

    @property
    def sealing_id(self) -> str:
        """The id of the key that seals; it stands before each sealed value."""
        return self._sealing_id

    def knows(self, key_id: str) -> bool:
        """Tell whether the key with this id is configured, so that its values can be opened."""
        return key_id in self._ciphers

    def seal(self, secret: str, place: str) -> str:
        """Encrypt ``secret`` for ``place`` under the first key."""
        nonce = os.urandom(NONCE_BYTES)
        ciphertext = self._ciphers[self._sealing_id].encrypt(nonce, secret.encode(), place.encode())
        return f"{self._sealing_id}.{base64.urlsafe_b64encode(nonce + ciphertext).decode()}"

    def open_sealed(self, sealed: str, place: str) -> str:
        """Decrypt a value sealed for the same ``place``; raises ``UnknownKey``, ``SealBroken``."""
        key_id, _, encoded = sealed.partition(".")
        if not encoded:
            raise SealBroken("nothing is sealed here")
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            log.warning("key_unknown", key=key_id[:KEY_ID_LENGTH])
            raise UnknownKey
        try:
            blob = base64.urlsafe_b64decode(encoded)
            return cipher.decrypt(blob[:NONCE_BYTES], blob[NONCE_BYTES:], place.encode()).decode()
        except (InvalidTag, ValueError):
            raise SealBroken("a sealed value does not open in this place") from None


def keyed_digest(key: bytes, purpose: str, value: str) -> str:
    """Return the HMAC-SHA256 of a value, other for each ``purpose``, as 64 hex digits."""
    return hmac.digest(key, f"{purpose}\0{value}".encode(), "sha256").hex()


def same_secret(left: str, right: str) -> bool:
    """Compare two secrets or digests in constant time."""
    return hmac.compare_digest(left.encode(), right.encode())


def init_app(app: Flask, settings: Settings) -> None:
    """Make the keyring from the operator's keys."""
    app.extensions["bx24app.keyring"] = Keyring(settings.encryption_keys)


keyring = cast("Keyring", LocalProxy(lambda: current_app.extensions["bx24app.keyring"]))
