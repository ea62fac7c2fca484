"""Customer links: a signed id that opens one request's page, and says nothing by itself."""

from uuid import UUID

from itsdangerous import BadSignature, Signer
from itsdangerous.encoding import base64_decode, base64_encode

from bx24app.errors import NotFound
from bx24app.settings import settings

LINK_SALT = "bx24app.link"


def _signer() -> Signer:
    # itsdangerous signs with the last key and accepts them all.
    keys = [key.get_secret_value() for key in (*reversed(settings.secret_key_fallbacks), settings.secret_key)]
    return Signer(keys, salt=LINK_SALT)


def sign_link(id: UUID) -> str:
    """The end of a customer's link, for a callback or a ghost: both look alike."""
    return _signer().sign(base64_encode(id.bytes)).decode()


def read_link(signed: str) -> UUID:
    """The id behind a link; it does not expire, but its row must exist. Raises ``NotFound`` for any other text."""
    try:
        return UUID(bytes=base64_decode(_signer().unsign(signed.encode())))
    except (BadSignature, ValueError):
        raise NotFound from None


def status_url(id: UUID) -> str:
    """The whole link."""
    return f"{settings.public_origin}/c/{sign_link(id)}"
