"""The operator's settings: complete, or one message that says what is missing."""

import base64
import secrets
import string
from pathlib import Path

import pytest

from bx24app.settings import SettingsError, read_settings


def _key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


@pytest.fixture
def complete() -> dict[str, str]:
    return {
        "BX24APP_CLIENT_ID": "app.1",
        "BX24APP_CLIENT_SECRET": "canary-client-secret",
        "BX24APP_PUBLIC_URL": "https://callback.example.com",
        "BX24APP_SECRET_KEY": secrets.token_urlsafe(40),
        "BX24APP_ENCRYPTION_KEYS": f"{_key()},{_key()}",
    }


def test_complete_settings_are_read_with_their_defaults(complete: dict[str, str]) -> None:
    settings = read_settings(complete)
    assert settings.auth_server == "https://oauth.bitrix.info"
    assert [len(key) for key in settings.encryption_keys] == [32, 32]
    assert settings.rest_log_days == 7
    assert not settings.allow_insecure_portals


def test_the_brokers_that_are_taken(complete: dict[str, str]) -> None:
    assert read_settings(complete).broker_url is None
    for scheme in ("redis", "rediss", "amqp", "amqps"):
        settings = read_settings(complete | {"BX24APP_BROKER_URL": f"{scheme}://user:canary@broker.example.com/0"})
        assert settings.broker_url
        assert "canary" not in repr(settings)


def test_words_of_a_list_may_be_written_in_either_case(complete: dict[str, str]) -> None:
    for level, form in (("debug", "JSON"), (" Warning ", "Console\r"), ("ERROR\r\n", "json")):
        settings = read_settings(complete | {"BX24APP_LOG_LEVEL": level, "BX24APP_LOG_FORMAT": form})
        assert (settings.log_level, settings.log_format) == (level.strip().upper(), form.strip().lower())
    with pytest.raises(SettingsError, match="LOG_LEVEL"):
        read_settings(complete | {"BX24APP_LOG_LEVEL": "loud"})


def test_one_message_names_every_missing_setting() -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({})
    for name in ("CLIENT_ID", "CLIENT_SECRET", "PUBLIC_URL", "SECRET_KEY", "ENCRYPTION_KEYS"):
        assert f"BX24APP_{name}" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SECRET_KEY", "short-canary", "SECRET_KEY.* needs 32 random bytes"),
        ("SECRET_KEY_FALLBACKS", "short-canary", "SECRET_KEY_FALLBACKS.* needs 32 random bytes"),
        ("METRICS_TOKEN", "short-canary", "METRICS_TOKEN.* needs 32 random bytes"),
        ("ENCRYPTION_KEYS", "short-canary", "32 bytes in URL-safe base64"),
        ("PUBLIC_URL", "http://callback.example.com", "must be an https address"),
        ("PUBLIC_URL", "https://callback.example.com/path", "must be an https address"),
        ("REST_LOG_DAYS", "2", "REST_LOG_DAYS"),
        ("TRUSTED_PROXIES", "many-canary", "TRUSTED_PROXIES"),
        ("BROKER_URL", "http://:canary@127.0.0.1/0", "BROKER_URL.* begin with one of redis://, rediss://, amqp://"),
        ("BROKER_URL", "redis://", "BROKER_URL.* must be the address of a broker"),
        ("BROKER_URL", "redis://127.0.0.1:canary", "BROKER_URL.* must be the address of a broker"),
        ("BROKER_URL", "redis://:can#ary-canary@127.0.0.1", "BROKER_URL.* must be the address of a broker"),
        ("PRIVATE_PORTALS", "10.0.0.0/8,canary", "PRIVATE_PORTALS"),
    ],
)
def test_a_wrong_setting_is_explained_without_its_value(
    complete: dict[str, str], name: str, value: str, said: str
) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        read_settings(complete | {f"BX24APP_{name}": value})
    assert "canary" not in str(caught.value)


def _base64(key: bytes) -> str:
    return base64.urlsafe_b64encode(key).decode()


GUESSED = {
    "letters": "a" * 40,
    "two": "ab" * 20,
    "a repetition": "correct-horse-7" * 4,
    "digits": "0123456789" * 4,
    "the alphabet": "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "hex digits": "0123456789abcdef0123456789abcdef0123456789abcdef",
    "template": "changeme-changeme-changeme-changeme!",
    "sentence": "please-change-me-to-something-random-and-secret",
    "password": "Password1Password2Password3Password4",
    "example": "your-secret-key-of-32-random-bytes-here",
}


@pytest.mark.parametrize("name", ["SECRET_KEY", "SECRET_KEY_FALLBACKS", "METRICS_TOKEN"])
@pytest.mark.parametrize("guessed", GUESSED.values(), ids=GUESSED)
def test_a_secret_that_nobody_drew_at_random_is_refused(complete: dict[str, str], name: str, guessed: str) -> None:
    with pytest.raises(SettingsError, match=f"BX24APP_{name}.* is not random") as caught:
        read_settings(complete | {f"BX24APP_{name}": guessed})
    assert guessed not in str(caught.value)


@pytest.mark.parametrize(
    "key", [b"\0" * 32, b"k" * 32, bytes(range(32)), b"changeme" * 4, b"secret-key-of-32-bytes-changeme!", b"ab" * 16]
)
def test_an_encryption_key_that_nobody_drew_at_random_is_refused(complete: dict[str, str], key: bytes) -> None:
    for value in (_base64(key), f"{_key()},{_base64(key)}"):
        with pytest.raises(SettingsError, match=r"BX24APP_ENCRYPTION_KEYS.* is not random") as caught:
            read_settings(complete | {"BX24APP_ENCRYPTION_KEYS": value})
        assert value not in str(caught.value)


def test_whatever_is_random_is_taken(complete: dict[str, str]) -> None:
    """As operators make them: base64, hex digits, letters; each of thousands."""
    letters = string.ascii_letters + string.digits
    for _ in range(2000):
        drawn = {
            "SECRET_KEY": "".join(secrets.choice(letters) for _ in range(32)),
            "SECRET_KEY_FALLBACKS": f"{secrets.token_hex(16)},{secrets.token_urlsafe(32)}",
            "METRICS_TOKEN": f"metrics-token-{secrets.token_hex(32)}",
            "ENCRYPTION_KEYS": _key(),
        }
        read_settings(complete | {f"BX24APP_{name}": value for name, value in drawn.items()})


def test_plain_http_is_allowed_only_for_demo_and_tests(complete: dict[str, str]) -> None:
    insecure = {"BX24APP_PUBLIC_URL": "http://127.0.0.1:8080", "BX24APP_ALLOW_INSECURE_PORTALS": "true"}
    assert read_settings(complete | insecure).public_origin == "http://127.0.0.1:8080"


def test_a_mounted_file_holds_a_secret(complete: dict[str, str], tmp_path: Path) -> None:
    mounted = tmp_path / "client_secret"
    mounted.write_text("from-a-file\n")
    del complete["BX24APP_CLIENT_SECRET"]
    settings = read_settings(complete | {"BX24APP_CLIENT_SECRET_FILE": str(mounted)})
    assert settings.client_secret.get_secret_value() == "from-a-file"


def test_secrets_have_no_repr(complete: dict[str, str]) -> None:
    shown = repr(read_settings(complete))
    assert "canary" not in shown
    assert complete["BX24APP_SECRET_KEY"] not in shown
    assert "encryption_keys" not in shown
