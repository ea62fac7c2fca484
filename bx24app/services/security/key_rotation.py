"""Rotate the encryption keys: values sealed under an older key are sealed again under the first."""

from contextlib import suppress
from typing import TypeVar

import structlog
from sqlalchemy import not_, or_, select

from bx24app.crypto import SealError, keyring
from bx24app.database import reading, writing
from bx24app.database.wal import empty_wal
from bx24app.errors import DatabaseBusy
from bx24app.models import Credential, DigestKey, Portal, RuleRun, Webhook
from bx24app.models.digest_key import DIGEST_KEY_PLACE

log = structlog.get_logger(__name__)

Sealed = TypeVar("Sealed", Webhook, RuleRun)


def rotate_keys() -> int:
    """Seal every value under the first key; returns how many were sealed again. Idempotent.

    Each row has a transaction of its own, so that nobody waits long. A value whose key is not configured any more is
    left unchanged; ``flask doctor`` names it.
    """
    current = f"{keyring.sealing_id}.%"
    old = select(Credential.id).where(
        or_(
            not_(Credential.access_token_sealed.like(current)),
            not_(Credential.refresh_token_sealed.like(current)),
        )
    )
    with reading() as session:
        ids = session.scalars(old).all()
        former = Webhook.former_secret_sealed
        old_secret = or_(not_(Webhook.secret_sealed.like(current)), former.is_not(None) & not_(former.like(current)))
        webhooks = session.scalars(select(Webhook.id).where(old_secret)).all()
        sealed = RuleRun.token_sealed
        runs = session.scalars(select(RuleRun.id).where(sealed.is_not(None), not_(sealed.like(current)))).all()
    of_their_own = sum(_rotate(Webhook, id) for id in webhooks) + sum(_rotate(RuleRun, id) for id in runs)
    rotated = sum(map(_rotate_credential, ids)) + of_their_own + _rotate_digest_key()
    with suppress(DatabaseBusy):  # A job does it soon.
        empty_wal()
    return rotated


def _rotate_credential(credential_id: int) -> int:
    with writing() as session:
        # Every transaction locks the portal before its credentials, so that two of them never wait for each other.
        portal_id = session.scalar(select(Credential.portal_id).where(Credential.id == credential_id))
        portal = session.get(Portal, portal_id, with_for_update=True) if portal_id else None
        credential = session.get(Credential, credential_id, with_for_update=True)
        if portal is None or credential is None:
            return 0
        try:
            credential.reseal(keyring, portal.member_id)
        except SealError:
            log.warning("not_resealed", credential=credential_id)
            return 0
    return 2


def _rotate(model: type[Sealed], id: int) -> int:
    """Seal the secret of a row anew that has one of its own."""
    with writing() as session:
        row = session.get(model, id, with_for_update=True)
        if row is None:
            return 0
        try:
            row.reseal(keyring, session.get_one(Portal, row.portal_id).member_id)
        except SealError:
            log.warning("not_resealed", table=model.__tablename__, row=id)
            return 0
    return 1


def _rotate_digest_key() -> int:
    with writing() as session:
        row = session.get(DigestKey, 1, with_for_update=True)
        if row is None or row.sealed.startswith(f"{keyring.sealing_id}."):
            return 0
        try:
            row.sealed = keyring.seal(keyring.open_sealed(row.sealed, DIGEST_KEY_PLACE), DIGEST_KEY_PLACE)
        except SealError:
            log.warning("not_resealed", table=DigestKey.__tablename__, row=1)
            return 0
    return 1
