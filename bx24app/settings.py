"""The operator's settings: they are read once from the environment, checked together, and never changed."""

import base64
import binascii
import ipaddress
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, cast
from urllib.parse import urlsplit

from flask import Flask, current_app
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from werkzeug.local import LocalProxy

from bx24app.urls import normal_origin

VARIABLE_PREFIX = "BX24APP_"
MINIMAL_SECRET_BYTES = 32
ENCRYPTION_KEY_BYTES = 32
# Less than 32 random hex digits ever show; a random key shows twice as much.
MINIMAL_ENTROPY_BITS = 80
BROKER_SCHEMES = ("redis", "rediss", "amqp", "amqps")
NOT_RANDOM = "is not random: make a new one as docs/operating.md says"
# Words of examples and templates; they count for nothing.
_PLACEHOLDERS = re.compile(
    "change.?(?:me|this|it)|replace.?(?:me|this)|place.?holder|example|pass.?word|secret|your|please|something|random|"
    "default|insecure|development|testing|string|value|token|bx24app|bitrix24|callback|desk|key",
    re.IGNORECASE,
)


class SettingsError(Exception):
    """Settings are missing or wrong; the message names all of them at once."""


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _entropy(symbols: list[int]) -> float:
    """The bits that a sequence shows at the most, if its symbols were drawn as often as they appear in it."""
    count = len(symbols)
    return -sum(n * math.log2(n / count) for n in Counter(symbols).values())


def _check_random(text: str) -> None:
    """Refuse what nobody has drawn at random: a word of a template, a repetition, a run of neighbours."""
    own = _PLACEHOLDERS.sub("", text)
    period = (own + own).find(own, 1) if own else 0
    symbols = [ord(char) for char in own[: max(period, 0)]]
    steps = [after - before for before, after in pairwise(symbols)]
    if min(_entropy(symbols), _entropy(steps)) < MINIMAL_ENTROPY_BITS:
        raise ValueError(NOT_RANDOM)


def _check_secret(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if len(text.encode()) < MINIMAL_SECRET_BYTES:
        raise ValueError("needs 32 random bytes or more")
    _check_random(text)
    return value


def _check_dsn(value: SecretStr) -> SecretStr:
    parts = urlsplit(value.get_secret_value())
    is_whole = parts.scheme in ("http", "https") and parts.hostname and parts.username
    if not is_whole or not parts.path.rpartition("/")[2].isdecimal():
        raise ValueError("needs an address as Sentry shows it: https://key@host/project")
    return value


def _decode_key(value: object) -> bytes:
    try:
        key = base64.urlsafe_b64decode(str(value).encode())
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != ENCRYPTION_KEY_BYTES:
        raise ValueError("each key must be 32 bytes in URL-safe base64") from None
    _check_random(key.decode("latin-1"))
    return key


def _decode_keys(value: object) -> object:
    return [_decode_key(part) for part in cast("list[object]", _split(value))]


def _read_networks(value: object) -> object:
    return [_read_network(str(part)) for part in cast("list[object]", _split(value))]


def _read_network(text: str) -> "PrivateNetwork":
    """Read ``member_id=10.0.0.0/8``; a network alone is one where every portal may live."""
    member_id, _, network = text.rpartition("=")
    try:
        return PrivateNetwork(member_id.strip(), ipaddress.ip_network(network.strip()))
    except ValueError:
        raise ValueError("each must be a network (CIDR), with the portal's member_id and = in front") from None


def _check_broker(value: SecretStr) -> SecretStr:
    schemes = ", ".join(f"{scheme}://" for scheme in BROKER_SCHEMES)
    try:
        address = urlsplit(value.get_secret_value())
        is_address = address.scheme in BROKER_SCHEMES and bool(address.hostname) and address.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        raise ValueError(f"must be the address of a broker and begin with one of {schemes}")
    return value


@dataclass(frozen=True)
class PrivateNetwork:
    """A network where a portal may live besides public addresses; ``member_id`` empty: any portal."""

    member_id: str
    network: ipaddress.IPv4Network | ipaddress.IPv6Network


Networks = Annotated[tuple[PrivateNetwork, ...], BeforeValidator(_read_networks), Field(default=())]
RandomSecret = Annotated[SecretStr, AfterValidator(_check_secret)]
SecretKeys = Annotated[tuple[RandomSecret, ...], BeforeValidator(_split), Field(default=())]
SealingKeys = Annotated[tuple[bytes, ...], BeforeValidator(_decode_keys), Field(min_length=1, repr=False)]


class Settings(BaseModel):
    """The ``BX24APP_*`` variables, typed and frozen; secrets do not appear in its repr."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    client_id: str = Field(min_length=1)
    client_secret: SecretStr = Field(min_length=1)
    public_url: str
    secret_key: RandomSecret
    secret_key_fallbacks: SecretKeys
    encryption_keys: SealingKeys
    database_url: str = ""
    auth_server: str = "https://oauth.bitrix.info"
    allow_insecure_portals: bool = False
    private_portals: Networks
    trusted_proxies: int = Field(default=0, ge=0)
    broker_url: Annotated[SecretStr, AfterValidator(_check_broker)] | None = None
    rest_log_days: int = Field(default=7, ge=3)
    retention_days: int = Field(default=365, ge=1)
    metrics_token: RandomSecret | None = None
    sentry_dsn: Annotated[SecretStr, AfterValidator(_check_dsn)] | None = None
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(lambda word: word.upper())] = (
        "INFO"
    )
    log_format: Annotated[Literal["json", "console"], BeforeValidator(lambda word: word.lower())] = "json"

    @model_validator(mode="after")
    def _check_together(self) -> "Settings":
        for name in ("public_url", "auth_server"):
            schemes = ("https://", "http://") if self.allow_insecure_portals else ("https://",)
            try:
                is_address = normal_origin(getattr(self, name)).startswith(schemes)
            except ValueError:
                is_address = False
            if not is_address:
                raise ValueError(f"{VARIABLE_PREFIX}{name.upper()} must be an https address without a path")
        return self

    @cached_property
    def public_origin(self) -> str:
        """Return scheme and host of our address as browsers write them, such as ``https://callback.example.com``."""
        return normal_origin(self.public_url)

    @cached_property
    def auth_origin(self) -> str:
        """Return the authorization server's address, likewise."""
        return normal_origin(self.auth_server)

    @property
    def respelled(self) -> dict[str, tuple[str, str]]:
        """Name the addresses that are written in another way than they are read: as written, as read."""
        read = {"PUBLIC_URL": self.public_origin, "AUTH_SERVER": self.auth_origin}
        written = {f"{VARIABLE_PREFIX}{name}": (getattr(self, name.lower()), value) for name, value in read.items()}
        return {name: (text, value) for name, (text, value) in written.items() if text.rstrip("/") != value}


def _collect(environ: Mapping[str, str]) -> dict[str, str]:
    """Collect the ``BX24APP_*`` variables; ``X_FILE`` names a file that contains the value of ``X``."""
    values: dict[str, str] = {}
    for variable, value in environ.items():
        if not variable.startswith(VARIABLE_PREFIX) or not value:
            continue
        name = variable.removeprefix(VARIABLE_PREFIX)
        if name.endswith("_FILE"):
            values[name.removesuffix("_FILE").lower()] = _read_mounted(variable, value)
        else:
            values[name.lower()] = value.strip()
    return values


def _read_mounted(variable: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"{variable} cannot be read: {error.strerror}") from None


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings from the environment.

    Raises ``SettingsError`` with one message that names all missing and all wrong variables, without their values.
    """
    # An unknown variable is not an error, because operators may have ``BX24APP_*`` variables of their own.
    values = {name: value for name, value in _collect(environ).items() if name in Settings.model_fields}
    try:
        return Settings.model_validate(cast("dict[str, Any]", values))
    except ValidationError as error:
        missing = [f"{VARIABLE_PREFIX}{str(e['loc'][0]).upper()}" for e in error.errors() if e["type"] == "missing"]
        wrong = [
            ": ".join([*(f"{VARIABLE_PREFIX}{str(part).upper()}" for part in e["loc"][:1]), e["msg"]])
            for e in error.errors(include_input=False)
            if e["type"] != "missing"
        ]
        parts = [f"missing: {', '.join(missing)}"] if missing else []
        raise SettingsError("; ".join(["Settings: " + "; ".join(parts + wrong)])) from None


def init_app(app: Flask, environ: Mapping[str, str]) -> Settings:
    """Read the settings and keep them where ``settings`` finds them; raises ``SettingsError``."""
    value = read_settings(environ)
    app.extensions["bx24app.settings"] = value
    return value


settings = cast("Settings", LocalProxy(lambda: current_app.extensions["bx24app.settings"]))
