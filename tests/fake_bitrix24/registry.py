"""The developer's area: which applications exist, and the tokens given out for them."""

import secrets
from dataclasses import dataclass, field
from typing import Literal

from tests.fake_bitrix24.clock import Clock
from tests.support.remembered import remember

ACCESS_SECONDS = 3600
REFRESH_SECONDS = 180 * 24 * 3600


@dataclass
class FakeApp:
    """An application as registered by its developer."""

    client_id: str
    client_secret: str = field(repr=False)
    code: str
    install_url: str
    app_url: str
    scopes: tuple[str, ...]
    event_urls: dict[str, str] = field(default_factory=dict)


@dataclass
class Token:
    """One pair of tokens: whose, and until when."""

    access: str
    refresh: str
    client_id: str
    member_id: str
    user_id: int
    expires_at: float
    refresh_until: float
    refresh_spent: bool = False
    access_revoked: bool = False


class Registry:
    """All applications and all tokens of the cloud."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.apps: dict[str, FakeApp] = {}
        self.tokens: list[Token] = []

    def issue(self, client_id: str, member_id: str, user_id: int) -> Token:
        """Give out a new pair."""
        now = self.clock.now()
        token = Token(
            access=remember(secrets.token_hex(35)),
            refresh=remember(secrets.token_hex(35)),
            client_id=client_id,
            member_id=member_id,
            user_id=user_id,
            expires_at=now + ACCESS_SECONDS,
            refresh_until=now + REFRESH_SECONDS,
        )
        self.tokens.append(token)
        return token

    def find(self, value: str, kind: Literal["access", "refresh"]) -> Token | None:
        """The pair with this access or refresh token."""
        return next((token for token in reversed(self.tokens) if getattr(token, kind) == value), None)

    def revoke(self, client_id: str, member_id: str) -> None:
        """Take away an application's tokens on a portal."""
        for token in self.tokens:
            if (token.client_id, token.member_id) == (client_id, member_id):
                token.access_revoked = token.refresh_spent = True

    def expire_access(self, member_id: str) -> None:
        """Let every access token of a portal be past its hour."""
        for token in self.tokens:
            if token.member_id == member_id:
                token.expires_at = self.clock.now() - 1
