"""The failures of a request to Bitrix24, told apart by error code, never by HTTP status.

ExchangeError                the request got no proper answer (outgoing/errors.py)
 +-- NotSent, NoUsableAnswer with their subclasses
 |    +-- ServerFailed       the server failed and may have executed the request
 |         +-- InternalServerError, UnexpectedAnswer
 +-- Moved                   302: the portal has a new host; nothing was executed
 +-- Bitrix24Error           the server answered with an error code; nothing was executed
      +-- RefusedForNow      the same request may succeed later
      |    +-- Overloaded    the platform's staff have stopped the portal's requests
      |    +-- PortalClosed  the portal is closed for maintenance, or does not exist any more
      +-- TokenExpired       renew the token, then repeat once
      +-- CredentialRefused  this person's tokens are invalid for good
      |    +-- RemovedSomewhere  the app is not installed where a refresh token comes from, which may be anywhere
      +-- AccessDenied       the user lacks a right
      |    +-- ClosedToUser  the app is closed to this user
      |    +-- ConfirmationNeeded  an administrator has to confirm the method
      +-- InsufficientScope  the app lacks a scope
      +-- ApplicationRemoved the app is not installed there any more
      +-- PaymentRequired    the trial or the paid period is over
      |    +-- UnpaidSomewhere  where a refresh token comes from, which may be anywhere
      +-- MethodUnknown      the portal does not have the method
      +-- MethodRefused      the method refused (ERROR_CORE and every code that we do not list)

Sources: docs/bitrix24.md; the statuses and codes seen in the official SDK.
"""

from bx24app.errors import Executed, Retry
from bx24app.outgoing.errors import ExchangeError, NoUsableAnswer

# What is kept of a portal's words, of a code that it invents, and of a host.
MAX_WORDS, MAX_CODE, MAX_HOST = 500, 64, 255


class Moved(ExchangeError):
    """The portal answered with its new ``host``, which must be confirmed before it is used."""

    code = "moved"
    retry = Retry.AFTER_MOVE
    executed = Executed.NO

    def __init__(self, host: str) -> None:
        super().__init__("the portal has moved")
        self.host = host[:MAX_HOST]


class ServerFailed(NoUsableAnswer):
    """The server failed while it handled the request, which may have been executed."""

    code = "server_error"

    def __init__(self, error: str, _words: str = "", status: int = 0) -> None:
        # The description is about the inside of the server, so it is not shown to people.
        super().__init__(f"{error[:MAX_CODE] or '(empty code)'} ({status})")
        self.foreign_code = error[:MAX_CODE]
        self.status = status or None


class InternalServerError(ServerFailed):
    """The server reports an internal error."""

    code = "internal_server_error"


class UnexpectedAnswer(ServerFailed):
    """The server could not read the answer of another server behind it."""

    code = "error_unexpected_answer"


class Bitrix24Error(ExchangeError):
    """The server answered with an error code; ``words`` is its description, ``foreign_code`` the code as it came."""

    code = "portal_refused"
    executed = Executed.NO
    api_status = 409

    def __init__(self, error: str, words: str = "", status: int = 0) -> None:
        super().__init__(f"{error[:MAX_CODE] or '(empty code)'} ({status})")
        self.foreign_code = error[:MAX_CODE]
        self.words = words[:MAX_WORDS] or None
        self.status = status or None


class RefusedForNow(Bitrix24Error):
    """The request met a limit or an overload, or the portal could not reach the authorization server."""

    code = api_code = "bitrix24_busy"
    retry = Retry.LATER


class Overloaded(RefusedForNow):
    """The platform's staff have stopped the portal's requests."""

    code = api_code = "bitrix24_overloaded"


class PortalClosed(RefusedForNow):
    """The portal is closed for maintenance, or does not exist any more; its answer is the same for both.

    Whether it is gone, the authorization server tells (docs: _includes/system-errors.md).
    """

    code = api_code = "bitrix24_portal_closed"


class TokenExpired(Bitrix24Error):
    """The access token is older than one hour."""

    code = "expired_token"
    retry = Retry.AFTER_RENEWAL


class CredentialRefused(Bitrix24Error):
    """The token or its owner is not accepted any more."""

    code = "credential_refused"
    revokes_credential = True
    callback_reason = "not_permitted"


class RemovedSomewhere(CredentialRefused):
    """The app is not installed on the portal of a refresh token that an employee has shown, which may be of any."""

    code = "removed_somewhere"


class AccessDenied(Bitrix24Error):
    """The user lacks a right that the method needs."""

    code = api_code = "bitrix24_access_denied"


class ClosedToUser(AccessDenied):
    """An administrator has not given this user access to the app, or the user is not an employee."""

    code = api_code = "bitrix24_closed_to_user"


class ConfirmationNeeded(AccessDenied):
    """An administrator has to confirm that the app may use the method, or has declined."""

    code = api_code = "bitrix24_confirmation_needed"


class InsufficientScope(Bitrix24Error):
    """The application lacks a scope that the method needs."""

    code = api_code = "bitrix24_insufficient_scope"


class ApplicationRemoved(Bitrix24Error):
    """The application was uninstalled."""

    code = "application_removed"
    revokes_credential = True
    callback_reason = "portal_disconnected"


class PaymentRequired(Bitrix24Error):
    """The paid period or the trial of the application or the portal is over."""

    code = "payment_required"
    revokes_credential = True


class UnpaidSomewhere(PaymentRequired):
    """The portal of a refresh token that an employee has shown, which may be of any, has not paid."""

    code = "unpaid_somewhere"
    callback_reason = PaymentRequired.code


class MethodUnknown(Bitrix24Error):
    """The portal does not have the method."""

    code = "method_unknown"


class MethodRefused(Bitrix24Error):
    """The method refused; ``words`` is the portal's explanation."""


# The portal's REST, the authorization server and its token endpoint share this table.
_CODES: dict[str, type[Bitrix24Error] | type[ServerFailed]] = {
    "expired_token": TokenExpired,
    "no_auth_found": CredentialRefused,
    "invalid_token": CredentialRefused,
    "authorization_error": CredentialRefused,
    "invalid_grant": CredentialRefused,
    "user_access_error": ClosedToUser,
    "access_denied": AccessDenied,
    "invalid_credentials": AccessDenied,
    "allowed_only_intranet_user": ClosedToUser,
    "access_error": ClosedToUser,
    "method_confirm_waiting": ConfirmationNeeded,
    "method_confirm_denied": ConfirmationNeeded,
    "insufficient_scope": InsufficientScope,
    "invalid_scope": InsufficientScope,
    "application_not_found": ApplicationRemoved,
    "error_oauth": ApplicationRemoved,
    "not_installed": ApplicationRemoved,
    "invalid_client": ApplicationRemoved,
    "wrong_client": ApplicationRemoved,
    "payment_required": PaymentRequired,
    "portal_deleted": PortalClosed,
    "error_method_not_found": MethodUnknown,
    "query_limit_exceeded": RefusedForNow,
    "operation_time_limit": RefusedForNow,
    "overload_limit": Overloaded,
    "connection_error": RefusedForNow,
    "internal_server_error": InternalServerError,
    "error_unexpected_answer": UnexpectedAnswer,
}
FIRST_SERVER_ERROR = 500
# A portal whose plan has ended answers every method with ACCESS_DENIED and these words, which it never translates.
_PLAN_ENDED = "available only on commercial plans"


def error_for(error: str, words: str, status: int) -> Bitrix24Error | ServerFailed:
    """Make the typed error for the ``error`` code of an answer; upper and lower case are the same."""
    unlisted = ServerFailed if status >= FIRST_SERVER_ERROR else MethodRefused
    error, words = error[:MAX_CODE], words[:MAX_WORDS]  # An answer may have 8 MB of either.
    kind = _CODES.get(error.casefold(), unlisted)
    if kind is AccessDenied and _PLAN_ENDED in words.casefold():
        kind = PaymentRequired
    return kind(error, words, status)
