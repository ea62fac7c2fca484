"""The authorization server: it renews tokens and says to whom a token belongs.

The client secret goes to this configured address and nowhere else.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Annotated

import requests
from pydantic import AfterValidator, BaseModel, Field, ValidationError
from requests_oauthlib import OAuth2Session

from bx24app.bitrix24.answers import Json, as_object, read_answer
from bx24app.bitrix24.client import EXCHANGE_SECONDS, READ_TIMEOUT
from bx24app.bitrix24.compliance import bitrix24_compliance_fix
from bx24app.bitrix24.errors import MAX_CODE, MAX_HOST, ApplicationRemoved, Bitrix24Error, Moved
from bx24app.bitrix24.frame_post import UserId
from bx24app.outgoing.adapter import USER_AGENT, GuardedAdapter, exchanging, guard
from bx24app.outgoing.address_policy import AddressPolicy
from bx24app.outgoing.deadline import ending_within
from bx24app.outgoing.errors import UnreadableAnswer
from bx24app.outgoing.slots import exchange_slot
from bx24app.urls import normal_url

# Far more than any server gives: what is beyond is no usable answer.
MAX_TOKEN, MAX_LIFETIME = 2048, 366 * 86400
# The server answers with these codes when it did not read the posted body.
BODY_NOT_READ = frozenset({"invalid_request", "no_auth_found"})


def _endpoint(text: str) -> str:
    """Write a portal's address as it is compared and told to browsers; the address policy refuses what is none."""
    try:
        return normal_url(text)
    except ValueError:
        return text


Endpoint = Annotated[str, Field(min_length=1, max_length=MAX_HOST), AfterValidator(_endpoint)]


class _TokenAnswer(BaseModel):
    access_token: str = Field(min_length=1, max_length=MAX_TOKEN)
    refresh_token: str = Field(min_length=1, max_length=MAX_TOKEN)
    expires_in: int = Field(gt=0, le=MAX_LIFETIME)
    member_id: str = Field(min_length=1, max_length=MAX_CODE)
    client_endpoint: Endpoint
    user_id: UserId = 0


@dataclass(frozen=True)
class Tokens:
    """A pair of tokens, with the portal and the user to whom they belong."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_at: datetime
    member_id: str
    client_endpoint: str
    user_id: int


class Install(BaseModel):
    """Where an application is installed, as the authorization server knows it."""

    member_id: str = Field(min_length=1, max_length=MAX_CODE)
    client_endpoint: Endpoint
    domain: str = Field(min_length=1, max_length=MAX_HOST)
    installed: bool = True
    status: str = Field("F", max_length=1)


class AppInfo(BaseModel):
    """What the authorization server says about a token (SDK: B24AppInfoResult)."""

    client_id: str
    scope: str = ""
    install: Install
    user_id: UserId


@dataclass(frozen=True)
class KeyProbe:
    """What a renewal that cannot succeed showed; ``refuses_keys``: the server does not accept our id and secret."""

    refuses_keys: bool
    answered_at: datetime | None


class AuthorizationServer:
    """Bitrix24's OAuth server under its configured address."""

    def __init__(self, address: str, client_id: str, client_secret: str) -> None:
        self._address = address.rstrip("/")
        self._client_id = client_id
        self._client_secret = client_secret
        # The operator chose the address: it may be any.
        self._adapter = GuardedAdapter(AddressPolicy(allow_insecure=True), EXCHANGE_SECONDS)

    def _session(self) -> OAuth2Session:
        session = bitrix24_compliance_fix(OAuth2Session(self._client_id))
        # A redirect would send the client secret elsewhere.
        guard(session, self._adapter)
        session.headers["User-Agent"] = USER_AGENT
        return session

    @contextmanager
    def _exchange(self) -> Iterator[None]:
        """Hold a slot inside. A redirect of this server is no answer: it says nothing of where a portal is."""
        with exchange_slot(self._address):
            try:
                yield
            except Moved:
                raise UnreadableAnswer from None

    def renew(self, refresh_token: str) -> Tokens:
        """Exchange a refresh token for a new pair; the old one is invalid afterwards.

        Raises ``CredentialRefused`` (expired, used or revoked), ``ApplicationRemoved``, ``PaymentRequired`` or
        another ``ExchangeError``.
        """
        # Both ways together: whoever renews holds a lease meanwhile (``token_renewal.RENEWAL_LEASE``).
        with ending_within(EXCHANGE_SECONDS), self._exchange():
            answer = self._renew_either_way(refresh_token)
        try:
            read = _TokenAnswer.model_validate(answer)
        except ValidationError:
            raise UnreadableAnswer from None
        expires_at = datetime.now(UTC) + timedelta(seconds=read.expires_in)
        return Tokens(expires_at=expires_at, **read.model_dump(exclude={"expires_in"}))

    def _renew_either_way(self, refresh_token: str) -> Mapping[str, Json]:
        try:
            return self._renew_by_post(refresh_token)
        except Bitrix24Error as error:
            if error.foreign_code.casefold() not in BODY_NOT_READ:
                raise
            return self._get(
                "/oauth/token/",
                grant_type="refresh_token",
                refresh_token=refresh_token,
                client_id=self._client_id,
                client_secret=self._client_secret,
            )

    def _renew_by_post(self, refresh_token: str) -> Mapping[str, Json]:
        """Renew with the client secret in the body, as deployed clients do."""
        with exchanging():
            token: Mapping[str, Json] = self._session().refresh_token(
                f"{self._address}/oauth/token/",
                refresh_token=refresh_token,
                client_id=self._client_id,
                client_secret=self._client_secret,
                timeout=READ_TIMEOUT,
            )
        return token

    def app_info(self, access_token: str) -> AppInfo:
        """Ask to which application, portal and user a token belongs; raises ``ExchangeError``."""
        with self._exchange():
            answer = self._app_info_either_way(access_token)
        try:
            return AppInfo.model_validate(as_object(answer.get("result")))
        except ValidationError:
            raise UnreadableAnswer from None

    def _app_info_either_way(self, access_token: str) -> Mapping[str, Json]:
        try:
            return self._post("/rest/app.info", auth=access_token)
        except Bitrix24Error as error:
            if error.foreign_code.casefold() not in BODY_NOT_READ:
                raise
            return self._get("/rest/app.info", auth=access_token)

    def probe(self) -> KeyProbe:
        """Test our client id and secret with a refresh token that does not exist.

        Raises ``ExchangeError`` when the server gave no answer that tells.
        """
        fields = {"grant_type": "refresh_token", "refresh_token": "none", "client_id": self._client_id}
        response = self._send("POST", "/oauth/token/", fields | {"client_secret": self._client_secret})
        answered_at = _date(response)
        try:
            read_answer(response)
        except Bitrix24Error as error:
            return KeyProbe(isinstance(error, ApplicationRemoved), answered_at)
        raise UnreadableAnswer

    def _post(self, path: str, **fields: str) -> Mapping[str, Json]:
        return self._ask("POST", path, fields)

    def _get(self, path: str, **fields: str) -> Mapping[str, Json]:
        """Ask in the documented way, which puts secrets into the URL; for servers that do not read a posted body."""
        return self._ask("GET", path, fields)

    def _ask(self, verb: str, path: str, fields: dict[str, str]) -> Mapping[str, Json]:
        return read_answer(self._send(verb, path, fields))

    def _send(self, verb: str, path: str, fields: dict[str, str]) -> requests.Response:
        with exchanging():
            return self._session().request(
                verb,
                self._address + path,
                withhold_token=True,
                timeout=READ_TIMEOUT,
                stream=True,
                params=fields if verb == "GET" else None,
                data=fields if verb == "POST" else None,
            )


def _date(response: requests.Response) -> datetime | None:
    try:
        return parsedate_to_datetime(response.headers.get("Date", ""))
    except ValueError:
        return None
