"""What can go wrong with a request to Bitrix24, told apart by code, never by HTTP status.

Bitrix24Error
 +-- NotSent                  proven: no request reached the server; may be repeated
 |    +-- AddressForbidden    the address is not one that we may talk to
 +-- NoUsableAnswer           the request may have been executed: silence, a reset, a page that is not JSON
 +-- Moved                    302: the portal has a new host, nothing was executed
 +-- Refused                  an error code; not executed unless a subclass says otherwise
      +-- RefusedForNow       the same request may succeed later
      |    +-- Overloaded     the platform has stopped the portal by hand
      +-- TokenExpired        renew, then repeat once
      +-- CredentialRefused   this person's tokens are dead
      +-- AccessDenied        the user lacks a right
      |    +-- ClosedToUser   the app is closed to this user
      |    +-- ConfirmationNeeded  an administrator has to confirm the method
      +-- InsufficientScope   the app lacks a scope
      +-- ApplicationRemoved  the app is not installed there any more
      |    +-- PortalGone     nor is the portal there
      +-- PaymentRequired     the trial or the paid period is over
      +-- MethodUnknown       not on this portal
      +-- MethodRefused       the method's own words (ERROR_CORE and every code we do not list)

Sources: docs/bitrix24.md; the statuses and codes seen in the official SDK.
"""


class Bitrix24Error(Exception):
    """Anything that kept a request from being answered as asked; ``code`` is for states and logs."""

    code = "bitrix24_unavailable"


class NotSent(Bitrix24Error):
    """The connection was never established."""

    code = "bitrix24_unreachable"


class AddressForbidden(NotSent):
    """The host resolves to no address that we may talk to."""

    code = "bitrix24_address_forbidden"


class NoUsableAnswer(Bitrix24Error):
    """Sent, but what came back says nothing: the outcome is unknown. ``code`` says what was seen."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Moved(Bitrix24Error):
    """The portal answered with its new host, which is not to be believed unconfirmed."""

    code = "moved"

    def __init__(self, host: str) -> None:
        super().__init__("the portal has moved")
        self.host = host


class Refused(Bitrix24Error):
    """The server answered with an error code; ``words`` is its description, ``code`` ours."""

    code = "portal_refused"

    def __init__(self, error: str, words: str = "", status: int = 0) -> None:
        super().__init__(f"{error or '(empty code)'} ({status})")
        self.error = error
        self.words = words
        self.status = status


class RefusedForNow(Refused):
    """Nothing was executed: a limit, an overload, the authorization server out of reach."""

    code = "bitrix24_busy"


class Overloaded(RefusedForNow):
    """The platform has stopped the portal's requests by hand."""

    code = "bitrix24_overloaded"


class TokenExpired(Refused):
    """The access token is past its hour."""

    code = "expired_token"


class CredentialRefused(Refused):
    """The token or its owner is not accepted any more."""

    code = "credential_refused"


class AccessDenied(Refused):
    """The user lacks the right."""

    code = "bitrix24_access_denied"


class ClosedToUser(AccessDenied):
    """An administrator has not opened the app to this user, or they are no employee."""

    code = "bitrix24_closed_to_user"


class ConfirmationNeeded(AccessDenied):
    """An administrator has to confirm that the app may use the method, or has declined."""

    code = "bitrix24_confirmation_needed"


class InsufficientScope(Refused):
    """The application lacks a scope."""

    code = "bitrix24_insufficient_scope"


class ApplicationRemoved(Refused):
    """The application was uninstalled."""

    code = "application_removed"


class PortalGone(ApplicationRemoved):
    """The portal was deleted or closed."""

    code = "portal_gone"


class PaymentRequired(Refused):
    """The application's or the portal's paid period is over."""

    code = "payment_required"


class MethodUnknown(Refused):
    """The portal does not know the method."""

    code = "method_unknown"


class MethodRefused(Refused):
    """The method's own refusal, in the portal's words."""


# One table for the portal's REST, the authorization server and its token endpoint.
_CODES: dict[str, type[Refused]] = {
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
    "portal_deleted": PortalGone,
    "error_method_not_found": MethodUnknown,
    "query_limit_exceeded": RefusedForNow,
    "operation_time_limit": RefusedForNow,
    "overload_limit": Overloaded,
    "connection_error": RefusedForNow,
}
# The platform itself does not know whether it executed the request.
_EXECUTED_OR_NOT = frozenset({"internal_server_error", "error_unexpected_answer"})
SERVER_ERROR = 500


def error_for(error: str, words: str, status: int) -> Bitrix24Error:
    """Make the typed error for an answer's ``error`` code, in whichever case it came."""
    code = error.casefold()
    if code in _EXECUTED_OR_NOT:
        return NoUsableAnswer(code)
    known = _CODES.get(code)
    if known is None and status >= SERVER_ERROR:
        return NoUsableAnswer("server_error")
    return (known or MethodRefused)(error, words, status)
