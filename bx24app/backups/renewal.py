"""Which portals have given the app newer tokens since the backup: found by asking for new ones."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import select

from bx24app.database import reading
from bx24app.errors import Refusal, Retry
from bx24app.models import Credential, CredentialState, Portal, PortalState
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.portals import token_renewal


@dataclass(frozen=True)
class PortalRenewal:
    """A portal whose tokens were tried: of how many people they were renewed, refused, or not answered."""

    domain: str
    member_id: str
    renewed: int
    refused: int
    unanswered: int
    # Nobody's token serves the portal any more: until an administrator opens the app nothing works there.
    is_disconnected: bool


def renew_every_portal() -> Iterator[PortalRenewal]:
    """Renew the tokens of every portal, one after the other, and tell what came of it; commits.

    A refresh token is used once: whoever renewed it since the backup has the new one, and the restored one is refused.
    """
    with reading() as session:
        portals = session.scalars(select(Portal).where(Portal.state == PortalState.INSTALLED).order_by(Portal.id)).all()
    for portal in portals:
        yield _renew(portal)


def _renew(portal: Portal) -> PortalRenewal:
    alive = select(Credential.id, Credential.generation).where(
        Credential.portal_id == portal.id, Credential.state == CredentialState.ALIVE
    )
    with reading() as session:
        credentials = session.execute(alive.order_by(Credential.id)).all()
    outcomes = [_outcome(id, generation) for id, generation in credentials]
    with reading() as session:
        state = session.scalar(select(Portal.state).where(Portal.id == portal.id))
    return PortalRenewal(
        domain=portal.domain,
        member_id=portal.member_id,
        renewed=outcomes.count("renewed"),
        refused=outcomes.count("refused"),
        unanswered=outcomes.count("unanswered"),
        is_disconnected=state == PortalState.DISCONNECTED,
    )


def _outcome(credential_id: int, generation: int) -> str:
    try:
        token_renewal.renew(credential_id, generation)
    except ExchangeError as error:
        return "refused" if error.revokes_credential else "unanswered"
    except Refusal as error:
        return "unanswered" if error.retry is Retry.LATER else "refused"
    return "renewed"
