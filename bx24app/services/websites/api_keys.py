"""API keys: a key belongs to one form, is shown once, is recognised by its digest, and can be revoked."""

import secrets
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select, update

from bx24app.database import reading, writing
from bx24app.errors import KeyRefused, LimitReached, NotFound, RateLimited
from bx24app.models import ApiKey, Form, Portal, PortalSettings, PortalState, utcnow
from bx24app.services.callbacks.principal import Principal, load_portal
from bx24app.services.runtime import rate_limit
from bx24app.services.runtime.local_limit import LocalLimit, take_local
from bx24app.services.runtime.rate_limit import RateLimit
from bx24app.services.security import digests
from bx24app.services.security.journal import JournalPage, Recorded, record
from bx24app.services.websites import forms

# Every key has this prefix, so that people and secret scanners recognise it.
KEY_PREFIX = "cbk_"
SECRET_BYTES = 32
SHOWN_CHARACTERS = 10
USE_NOTED_EVERY = timedelta(minutes=1)
REQUESTS_PER_MINUTE = 120
# Of all keys of a portal, by each process: hundreds of keys together keep other portals' writers waiting no longer.
REQUESTS_OF_PORTAL = LocalLimit("key_requests_of_portal", 1_200)
# Of one form: how many can be used at a time, and how many rows there may be.
MAX_KEYS, MAX_KEYS_EVER = 20, 500


@dataclass(frozen=True)
class NewApiKey:
    """A new key; ``secret`` is not stored, so it is known only now."""

    key: ApiKey
    secret: str

    def __repr__(self) -> str:
        return f"NewApiKey(prefix={self.key.prefix!r})"


def create_key(portal_id: int, form_key: str, name: str, user_id: int | None) -> NewApiKey:
    """Make a key for a form; commits. Raises ``NotFound``, ``LimitReached``."""
    secret = KEY_PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    key = ApiKey(
        portal_id=portal_id,
        prefix=secret[:SHOWN_CHARACTERS],
        digest=digests.digest("api_key", secret),
        name=name,
        created_by=user_id,
        created_at=utcnow(),
    )
    with writing() as session:
        form = forms.lock_form(session, portal_id, form_key)
        key.form_id = form.id
        # Rows of revoked keys stay: they say who made and who used them.
        usable = select(func.count()).where(ApiKey.form_id == form.id, ApiKey.revoked_at.is_(None))
        made = select(func.count()).where(ApiKey.form_id == form.id)
        if session.scalars(usable).one() >= MAX_KEYS or session.scalars(made).one() >= MAX_KEYS_EVER:
            raise LimitReached("form_key")
        session.add(key)
        record(session, Recorded(portal_id, user_id, JournalPage.KEYS, name), {"key": ""}, {"key": "created"})
    return NewApiKey(key, secret)


def list_keys(portal_id: int) -> list[tuple[ApiKey, Form]]:
    """List the keys of a portal with their forms, the newest first, also revoked ones."""
    query = select(ApiKey, Form).join(Form, Form.id == ApiKey.form_id).where(ApiKey.portal_id == portal_id)
    with reading() as session:
        return [(key, form) for key, form in session.execute(query.order_by(ApiKey.id.desc()))]


def revoke_key(portal_id: int, key_id: int, user_id: int | None) -> None:
    """Revoke a key at once for the user ``user_id``; idempotent. Commits. Raises ``NotFound``."""
    with writing() as session:
        query = select(ApiKey).where(ApiKey.portal_id == portal_id, ApiKey.id == key_id)
        key = session.scalar(query.with_for_update())
        if key is None:
            raise NotFound
        if key.revoked_at is None:
            record(session, Recorded(portal_id, user_id, JournalPage.KEYS, key.name), {"key": ""}, {"key": "revoked"})
        key.revoke(utcnow())


def authenticate(secret: str) -> Principal:
    """Return the principal of a key and record its use; commits.

    Raises ``RateLimited``, and ``KeyRefused`` when the key is unknown or revoked or its form or portal was removed.
    """
    query = select(ApiKey, Portal.revision, PortalSettings.revision).join(Form, Form.id == ApiKey.form_id)
    query = (
        query.join(Portal, Portal.id == ApiKey.portal_id)
        .join(PortalSettings)
        .where(ApiKey.digest == digests.digest("api_key", secret))
    )
    a_minute = [RateLimit("key_minute", digests.digest("rate", f"key {secret}"), REQUESTS_PER_MINUTE, 60.0)]
    now = utcnow()
    with reading() as session:
        is_usable = ApiKey.revoked_at.is_(None) & Form.removed_at.is_(None)
        is_usable &= Portal.state != PortalState.UNINSTALLED
        row = session.execute(query.where(is_usable)).one_or_none()
        if row is None:
            raise KeyRefused
        rate_limit.refuse_if_empty(rate_limit.first_empty(session, a_minute, now.timestamp()), 1)
    key, *revisions = row
    if not take_local(REQUESTS_OF_PORTAL, key.portal_id):
        refusal = RateLimited(REQUESTS_OF_PORTAL.name)
        refusal.retry_after = 1
        raise refusal
    with writing() as session:
        rate_limit.refuse_if_empty(rate_limit.take_tokens(session, a_minute, now.timestamp()), 1)
        if key.last_used_at is None or now - key.last_used_at > USE_NOTED_EVERY:
            session.execute(update(ApiKey).where(ApiKey.id == key.id).values(last_used_at=now))
    portal = load_portal(key.portal_id, tuple(revisions))
    if portal is None:
        raise KeyRefused
    return Principal(portal, form_id=key.form_id)
