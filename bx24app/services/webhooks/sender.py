"""Post a signed request to a site once: no private addresses, no redirects, ten seconds at most."""

import time
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import requests

from bx24app.log import mask_numbers
from bx24app.models import utcnow
from bx24app.outgoing.adapter import USER_AGENT, GuardedAdapter, exchanging, guard
from bx24app.outgoing.address_policy import AddressPolicy
from bx24app.outgoing.errors import ExchangeError
from bx24app.outgoing.retry_after import asked_wait
from bx24app.outgoing.stopwatch import awaiting_answer
from bx24app.services.webhooks.signature import signature
from bx24app.settings import settings

DELIVERY_TIMEOUT_SECONDS = 10.0
CONNECT_SECONDS = 5.0
MAX_READ, MAX_KEPT = 1024, 200
SUCCESS_STATUSES = range(200, 300)
REDIRECT_STATUSES = range(300, 400)


@dataclass(frozen=True)
class SignedRequest:
    """A request to a webhook: its address, its body, and the secrets that sign it."""

    url: str
    event_id: UUID
    body: bytes = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True)
class DeliveryResult:
    """The result of one try; ``error`` None means that the site accepted it, ``status`` None that it did not answer.

    ``wait`` is how long the site asks us to wait (``Retry-After``), within bounds; zero when it does not ask.
    """

    status: int | None
    error: str | None
    wait: timedelta = timedelta()


def webhook_policy() -> AddressPolicy:
    """Make the address policy for sites: public addresses only, without the networks that are permitted for portals."""
    return AddressPolicy(allow_insecure=settings.allow_insecure_portals)


def send_once(request: SignedRequest) -> DeliveryResult:
    """Post a request once on a new connection, in ten seconds at most, without following redirects."""
    adapter = GuardedAdapter(webhook_policy(), DELIVERY_TIMEOUT_SECONDS, pool_size=1)
    try:
        with awaiting_answer():
            return _post(request, adapter)
    except ExchangeError as error:
        return DeliveryResult(None, error.code.removeprefix("bitrix24_"))
    finally:
        adapter.close()


def _post(request: SignedRequest, adapter: GuardedAdapter) -> DeliveryResult:
    webhook_policy().check(request.url)
    with requests.Session() as session:
        guard(session, adapter)
        headers = {
            "User-Agent": USER_AGENT,
            "Content-Type": "application/json",
            "X-Callback-Desk-Event": str(request.event_id),
            "X-Callback-Desk-Signature": signature(request.secrets, int(time.time()), request.body),
        }
        timeout = (CONNECT_SECONDS, DELIVERY_TIMEOUT_SECONDS)
        with (
            exchanging(),
            session.post(request.url, data=request.body, headers=headers, timeout=timeout, stream=True) as response,
        ):
            return _read(response)


def _read(response: requests.Response) -> DeliveryResult:
    status = response.status_code
    if status in SUCCESS_STATUSES:
        return DeliveryResult(status, None)
    wait = asked_wait(response, utcnow()) or timedelta()
    if status in REDIRECT_STATUSES:
        return DeliveryResult(status, "redirect", wait)
    # A part of an explanation is useful too, so a body that is too short is no error.
    response.raw.enforce_content_length = False
    try:
        words = response.raw.read(MAX_READ).decode("utf-8", "replace")
    except Exception:
        # The body could not be read, but the status is enough.
        words = ""
    explanation = "".join(char for char in mask_numbers(" ".join(words.split())) if char.isprintable())
    return DeliveryResult(status, f"http_{status} {explanation}".strip()[:MAX_KEPT], wait)
