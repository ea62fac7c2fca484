"""Whose access token it is, as the authorization server says."""

from bx24app.bitrix24.authorization import AppInfo
from bx24app.bitrix24.connections import authorization_server
from bx24app.bitrix24.errors import Bitrix24Error
from bx24app.errors import PortalUnreachable, Retry, Unverified
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.runtime.local_limit import LocalLimit, give_back, take_local
from bx24app.services.security import proof_limits
from bx24app.settings import settings

# The server answers a few questions of a process at once, for all portals: whoever has genuine tokens, which each
# employee has, could take all of its time. What is refused has limits of its own (``proof_limits``).
PROVEN_OF_PORTAL = LocalLimit("proven_of_portal", 120)


def prove_token(access_token: str, member_id: str) -> AppInfo:
    """Let the authorization server say whose token it is: of our application, on this portal.

    Raises ``Unverified`` for any other token, ``TooManyAttempts`` where it was asked about too often,
    ``PortalUnreachable`` when the server does not say, and when it has said so for this portal so often that others
    have their turn.
    """
    proof_limits.take_question(member_id, access_token)
    return read_owner(access_token, member_id, PROVEN_OF_PORTAL)


def read_owner(access_token: str, member_id: str, share: LocalLimit) -> AppInfo:
    """The same for a token of which it was counted that it is asked about; ``share``: what the portal has of it."""
    if not take_local(share, member_id):
        raise PortalUnreachable("authorization server: asked for this portal too often")
    try:
        return _owner(access_token, member_id)
    except Unverified:
        # Strangers, who know the portal's name, use up nothing of it.
        give_back(share, member_id)
        raise


def _owner(access_token: str, member_id: str) -> AppInfo:
    try:
        info = authorization_server.app_info(access_token)
    except ExchangeError as error:
        raise unproven("authorization server", error) from None
    if info.client_id != settings.client_id:
        raise Unverified("token of another application")
    if info.install.member_id != member_id:
        raise Unverified("token of another portal")
    return info


def unproven(who: str, error: ExchangeError) -> Unverified:
    """Make the error for a token about which somebody was asked: who is busy or silent has refused nothing."""
    if isinstance(error, Bitrix24Error) and error.retry is not Retry.LATER:
        return Unverified(f"{who} refuses the token: {error}")
    return PortalUnreachable(f"{who}: {error.code}")


def prove_page(access_token: str, member_id: str, address: str) -> AppInfo:
    """Prove the token of a page before its portal is asked; raises ``TooManyPages`` where its person opens too many.

    ``address``: of whoever sends it, as ``network_of`` counts it.
    """
    proof_limits.take_name(member_id, access_token)
    info = prove_token(access_token, member_id)
    proof_limits.note_person(member_id, access_token, info.user_id, address)
    return info


def prove_unknown(access_token: str, member_id: str, address: str) -> AppInfo:
    """Prove a token of a portal that we do not know: strangers make up any number. Raises ``TooManyAttempts`` too.

    ``address``: of whoever sends it, as ``network_of`` counts it.
    """
    proof_limits.take_unknown(address)
    info = prove_token(access_token, member_id)
    proof_limits.give_back_unknown(address)
    return info
