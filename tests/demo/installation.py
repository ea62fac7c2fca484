"""The app of the demo: its settings, and its entry in the developer's area of the fake Bitrix24."""

import base64
import secrets
from pathlib import Path

from tests.fake_bitrix24 import FakeBitrix24


def environment(directory: str, fake: FakeBitrix24, url: str) -> dict[str, str]:
    """Settings with fresh secrets, in a folder that is gone afterwards."""
    return {
        "BX24APP_CLIENT_ID": f"app.{secrets.token_hex(7)}.12345678",
        "BX24APP_CLIENT_SECRET": secrets.token_urlsafe(30),
        "BX24APP_SECRET_KEY": secrets.token_urlsafe(40),
        "BX24APP_ENCRYPTION_KEYS": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "BX24APP_PUBLIC_URL": url,
        "BX24APP_AUTH_SERVER": fake.auth_server.url,
        "BX24APP_DATABASE_URL": f"sqlite:///{Path(directory) / 'demo.db'}",
        "BX24APP_ALLOW_INSECURE_PORTALS": "true",
        "BX24APP_LOG_FORMAT": "console",
        "BX24APP_LOG_LEVEL": "WARNING",
    }
