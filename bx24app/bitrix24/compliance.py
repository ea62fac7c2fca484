"""Where Bitrix24 deviates from the OAuth 2 standard: one named fix for each deviation (docs: settings/oauth/)."""

import json
from collections.abc import Mapping

from requests import Response
from requests_oauthlib import OAuth2Session

from bx24app.bitrix24.answers import read_answer
from bx24app.outgoing.errors import UnreadableAnswer

Headers = dict[str, str]


def _put_token_into_json(session: OAuth2Session) -> None:
    """Send the token as the parameter ``auth``, where REST expects it (docs: settings/how-to-call-rest-api)."""

    def hook(url: str, headers: Headers | None, data: Mapping[str, object] | None) -> tuple[str, Headers, str]:
        body = json.dumps({**(data or {}), "auth": session.access_token})
        return url, {**(headers or {}), "Content-Type": "application/json"}, body

    session.register_compliance_hook("protected_request", hook)


def _complete_token_answer(response: Response) -> Response:
    """Complete a token answer: it lacks ``token_type``, separates scopes by commas, may be an error with status 200.

    Raises our own errors, typed by code, because oauthlib knows only the error classes of the standard.
    """
    answer = read_answer(response)
    if not answer.get("access_token") or not str(answer.get("expires_in")).isdecimal():
        raise UnreadableAnswer  # The library would raise an untyped error for it.
    answer["token_type"] = "Bearer"  # noqa: S105  The kind of a token, not a token.
    answer["scope"] = str(answer.get("scope") or "").replace(",", " ")
    response._content = json.dumps(answer).encode()
    return response


def bitrix24_compliance_fix(session: OAuth2Session) -> OAuth2Session:
    """Teach a session to speak Bitrix24's dialect; returns the same session."""
    _put_token_into_json(session)
    session.register_compliance_hook("access_token_response", _complete_token_answer)
    session.register_compliance_hook("refresh_token_response", _complete_token_answer)
    return session
