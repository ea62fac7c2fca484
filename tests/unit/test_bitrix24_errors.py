"""Every row of the error table: told apart by code, in any case, whatever the status."""

import pytest

from bx24app.bitrix24 import errors
from bx24app.bitrix24.errors import error_for
from bx24app.outgoing.errors import ExchangeError

# The errors of docs/bitrix24.md, with the codes of the token endpoint.
TABLE: dict[type[ExchangeError], str] = {
    errors.TokenExpired: "expired_token",
    errors.CredentialRefused: "NO_AUTH_FOUND invalid_token authorization_error invalid_grant",
    errors.AccessDenied: "ACCESS_DENIED INVALID_CREDENTIALS",
    errors.ClosedToUser: "user_access_error ALLOWED_ONLY_INTRANET_USER ACCESS_ERROR",
    errors.ConfirmationNeeded: "METHOD_CONFIRM_WAITING METHOD_CONFIRM_DENIED",
    errors.InsufficientScope: "insufficient_scope invalid_scope",
    errors.ApplicationRemoved: "APPLICATION_NOT_FOUND ERROR_OAUTH NOT_INSTALLED invalid_client wrong_client",
    errors.PaymentRequired: "PAYMENT_REQUIRED",
    errors.PortalClosed: "PORTAL_DELETED",
    errors.MethodUnknown: "ERROR_METHOD_NOT_FOUND",
    errors.RefusedForNow: "QUERY_LIMIT_EXCEEDED OPERATION_TIME_LIMIT CONNECTION_ERROR",
    errors.Overloaded: "OVERLOAD_LIMIT",
    errors.MethodRefused: "ERROR_CORE INVALID_REQUEST SOMETHING_NEW",
    errors.InternalServerError: "INTERNAL_SERVER_ERROR",
    errors.UnexpectedAnswer: "ERROR_UNEXPECTED_ANSWER",
}
ROWS = [(kind, code) for kind, codes in TABLE.items() for code in codes.split()]


@pytest.mark.parametrize("status", [200, 401, 403, 404])
@pytest.mark.parametrize(("kind", "code"), ROWS, ids=[code for _, code in ROWS])
def test_the_code_decides_in_either_case_and_with_any_status(kind: type[ExchangeError], code: str, status: int) -> None:
    assert type(error_for(code.lower(), "words", status)) is kind
    assert type(error_for(code.upper(), "words", status)) is kind


@pytest.mark.parametrize(("kind", "code"), [row for row in ROWS if row[0] is not errors.MethodRefused])
def test_a_listed_code_means_the_same_with_a_server_error(kind: type[ExchangeError], code: str) -> None:
    assert type(error_for(code, "", 503)) is kind


def test_an_unlisted_code_with_a_server_error_proves_nothing() -> None:
    assert type(error_for("SOMETHING_NEW", "", 502)) is errors.ServerFailed


def test_an_empty_code_is_the_methods_own_refusal() -> None:
    error = error_for("", "Not found", 404)
    assert type(error) is errors.MethodRefused
    assert error.words == "Not found"


def test_of_an_endless_code_the_beginning_is_compared() -> None:
    """To compare 8 MB takes 0.4 s, in which no other thread runs."""

    class Endless(str):
        def casefold(self) -> str:
            raise AssertionError("all of it is compared")

    error = error_for(Endless("access_denied" + "x" * 1000), Endless("w" * 1000), 403)
    assert isinstance(error, errors.MethodRefused)
    assert len(error.foreign_code) == errors.MAX_CODE
