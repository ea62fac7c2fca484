"""Access and refresh tokens of a person on a portal, sealed, with the lease that guards their renewal."""

from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from bx24app.crypto import Keyring
from bx24app.database import Base
from bx24app.models.columns import NEVER_REUSED, At, Code, Key, PortalKey, stored, utcnow
from bx24app.models.lease import Leased

# A token may expire on its way to the portal, so it is renewed a little earlier.
EXPIRY_MARGIN = timedelta(seconds=30)


class CredentialState(StrEnum):
    """Whether the tokens can still be used."""

    ALIVE = "alive"
    DEAD = "dead"


class Credential(Leased, Base):
    """The tokens of one person on one portal, each kept once: renewing one copy would void every other.

    Whoever renews them holds the lease.
    """

    __tablename__ = "credential"
    __table_args__ = (UniqueConstraint("portal_id", "user_id"), NEVER_REUSED)

    id: Mapped[Key]
    portal_id: Mapped[PortalKey]
    user_id: Mapped[int]
    # Whom the platform named with the last tokens: the app of a dismissed person is moved to a system user.
    acting_as: Mapped[int]
    # Since when these tokens also serve the portal (line list, history, website callbacks): those of an
    # administrator. The first alive is used, the others stand by.
    service_since: Mapped[At | None]
    access_token_sealed: Mapped[str] = mapped_column(Text)
    refresh_token_sealed: Mapped[str] = mapped_column(Text)
    # What is said of the refresh token is said of this portal: the authorization server has given it, or an
    # administrator has shown it, who may remove the app, too. What others post beside their own access token can be of
    # any portal.
    is_refresh_trusted: Mapped[bool] = mapped_column(server_default=stored(False))
    expires_at: Mapped[At]
    state: Mapped[Code] = mapped_column(server_default=stored(CredentialState.ALIVE))
    dead_reason: Mapped[Code | None]
    # Counts the token pairs that were stored, so that a caller with an older pair sees that another has renewed it.
    generation: Mapped[int] = mapped_column(server_default=stored(0))
    # When these tokens were stored; of dead ones, when they were refused.
    used_at: Mapped[At] = mapped_column(default=utcnow)

    @staticmethod
    def _place(column: str, member_id: str) -> str:
        return f"credential.{column}.{member_id}"

    def keep_tokens(
        self,
        keyring: Keyring,
        member_id: str,
        access_token: str,
        refresh_token: str,
        expires_at: datetime,
        *,
        is_trusted: bool = False,
    ) -> None:
        """Seal a new pair of tokens; the credential is alive again. ``is_trusted``: see ``is_refresh_trusted``."""
        self.access_token_sealed = keyring.seal(access_token, self._place("access_token", member_id))
        self.refresh_token_sealed = keyring.seal(refresh_token, self._place("refresh_token", member_id))
        self.expires_at, self.is_refresh_trusted = expires_at, is_trusted
        self.state, self.dead_reason = CredentialState.ALIVE, None
        self.release()
        self.void_leases()
        self.generation = (self.generation or 0) + 1
        self.used_at = utcnow()

    def access_token(self, keyring: Keyring, member_id: str) -> str:
        """Open the access token; raises ``SealError``."""
        return keyring.open_sealed(self.access_token_sealed, self._place("access_token", member_id))

    def refresh_token(self, keyring: Keyring, member_id: str) -> str:
        """Open the refresh token; raises ``SealError``."""
        return keyring.open_sealed(self.refresh_token_sealed, self._place("refresh_token", member_id))

    def reseal(self, keyring: Keyring, member_id: str) -> None:
        """Seal the same tokens under the first key; their generation stays."""
        access, refresh = self.access_token(keyring, member_id), self.refresh_token(keyring, member_id)
        self.access_token_sealed = keyring.seal(access, self._place("access_token", member_id))
        self.refresh_token_sealed = keyring.seal(refresh, self._place("refresh_token", member_id))

    def is_expired(self, at: datetime) -> bool:
        """Tell whether the access token is past its known expiry, or nearly so."""
        return self.expires_at - EXPIRY_MARGIN <= at

    def die(self, reason: str) -> None:
        """Mark tokens that are refused for good: they expired or were revoked, or their owner was dismissed."""
        self.state, self.dead_reason = CredentialState.DEAD, reason
        self.service_since, self.used_at = None, utcnow()
        self.release()
