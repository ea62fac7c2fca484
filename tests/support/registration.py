"""The app's entry in the developer's area of the fake Bitrix24: one for tests, attacks, faults and the demo."""

from tests.fake_bitrix24 import FakeApp, FakeBitrix24

SCOPES = ("placement", "telephony", "call", "crm", "user_brief", "bizproc", "im")
LIFE_CYCLE = ("ONAPPINSTALL", "ONAPPUPDATE", "ONAPPUNINSTALL", "ONAPPPAYMENT")


def register(fake: FakeBitrix24, environ: dict[str, str], client_id: str = "") -> FakeApp:
    """Enter the app with these settings; ``client_id`` "": that of the settings."""
    url = environ["BX24APP_PUBLIC_URL"]
    return fake.register_app(
        client_id=client_id or environ["BX24APP_CLIENT_ID"],
        client_secret=environ["BX24APP_CLIENT_SECRET"],
        code="callback_desk.app",
        install_url=f"{url}/install",
        app_url=f"{url}/",
        scopes=SCOPES,
        event_urls=dict.fromkeys(LIFE_CYCLE, f"{url}/events"),
    )
