"""The signature of a webhook delivery, made with the webhook's own secrets (docs/webhooks.md)."""

import hashlib
import hmac


def signature(secrets: tuple[str, ...], timestamp: int, body: bytes) -> str:
    """Make the header that proves a body, with one ``v1`` for each valid secret (docs/webhooks.md)."""
    signed = f"{timestamp}.".encode() + body
    digests = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets]
    return ",".join([f"t={timestamp}", *(f"v1={digest}" for digest in digests)])
