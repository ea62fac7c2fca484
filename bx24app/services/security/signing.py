"""What is signed with ``SECRET_KEY``: one place for the keys, and the customers' links.

An older key that the operator has kept in ``SECRET_KEY_FALLBACKS`` still verifies what it signed, but signs nothing
new. A salt keeps what is signed for one use from being accepted for another. Webhooks are signed with secrets of their
own (``webhooks/signature.py``).
"""

import hmac
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

from itsdangerous import BadSignature, SignatureExpired, Signer, URLSafeTimedSerializer
from itsdangerous.encoding import base64_decode, base64_encode

from bx24app.errors import NotFound
from bx24app.models import utcnow
from bx24app.models.lease import CLOCK_SLACK
from bx24app.settings import settings

LINK_SALT = "bx24app.link"


def _secrets() -> list[str]:
    """Return the current secret, then the older ones that are still accepted."""
    return [key.get_secret_value() for key in (settings.secret_key, *settings.secret_key_fallbacks)]


def serializer(salt: str) -> URLSafeTimedSerializer:
    """Make a serializer that signs and reads values for one use, with the time of signing."""
    return URLSafeTimedSerializer(_keys(), salt=salt)


def read_timed(salt: str, signed: str, lifetime: timedelta) -> tuple[Any, datetime]:
    """Read what ``serializer`` signed, with the time of that; raises ``BadSignature`` when it is altered or too old.

    The machine that signed it may be ahead by as much as ``CLOCK_SLACK``.
    """
    content, signed_at = serializer(salt).loads(signed, return_timestamp=True)
    if not -CLOCK_SLACK <= utcnow() - signed_at <= lifetime:
        raise SignatureExpired("too old, or of the future", date_signed=signed_at)
    return content, signed_at


def signer(salt: str) -> Signer:
    """Make a signer that signs and reads plain texts for one use."""
    return Signer(_keys(), salt=salt)


def _keys() -> list[str]:
    # itsdangerous signs with the last key of the list and accepts all of them.
    return _secrets()[::-1]


def derived_keys(purpose: str) -> list[bytes]:
    """Derive keys of 32 bytes for a use that itsdangerous does not sign: the current one, then the older ones."""
    return [_derived(secret, purpose) for secret in _secrets()]


@lru_cache(maxsize=64)
def _derived(secret: str, purpose: str) -> bytes:
    return hmac.digest(secret.encode(), purpose.encode(), "sha256")


def sign_link(id: UUID) -> str:
    """Make the last part of a customer's link, for the id of a callback or a decoy; both look alike."""
    return signer(LINK_SALT).sign(base64_encode(id.bytes)).decode()


def read_link(signed: str) -> UUID:
    """Read the id from the last part of a link; raises ``NotFound`` unless we signed it.

    Links do not expire, and the row with this id may be gone.
    """
    try:
        return UUID(bytes=base64_decode(signer(LINK_SALT).unsign(signed.encode())))
    except (BadSignature, ValueError):
        raise NotFound from None


def status_url(id: UUID) -> str:
    """Make the whole link of a customer, for the id of a callback or a decoy."""
    return f"{settings.public_origin}/c/{sign_link(id)}"
