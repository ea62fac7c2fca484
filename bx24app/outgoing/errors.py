"""The failures of a request to an address that others chose, and what each proves about the request.

ExchangeError
 +-- NotSent                 the request never reached the other side; it may be repeated
 |    +-- AddressForbidden   we may not connect to the address
 +-- NoUsableAnswer          the request may have been executed
      +-- ReadTimeout        no answer came in time
      +-- ConnectionReset    the connection broke before or during the answer
      +-- UnreadableAnswer   an answer came, but it cannot be read

The codes are stored with callbacks and promised to programs (docs/api.md), so they keep the names that they had
when portals were the only addresses.
"""

from datetime import timedelta
from typing import ClassVar

from bx24app.errors import Executed, KnownError, Retry


class ExchangeError(KnownError):
    """A request got no proper answer; ``status`` and ``words`` come from the other side."""

    code = "bitrix24_unavailable"
    executed = Executed.UNKNOWN
    # Our own API answers with these when the request was made for one of its callers.
    api_status: ClassVar[int] = 503
    api_code: ClassVar[str] = "bitrix24_unavailable"

    def __init__(self, message: str = "") -> None:
        super().__init__(message or self.code)
        # The error code of the other side, unchanged.
        self.foreign_code = ""
        # How long the other side asks us to wait (``retry_after``); None when it does not ask.
        self.asked_wait: timedelta | None = None


class NotSent(ExchangeError):
    """The connection was never established."""

    code = api_code = "bitrix24_unreachable"
    retry = Retry.LATER
    executed = Executed.NO


class AddressForbidden(NotSent):
    """The host resolves to no address that we may connect to."""

    code = api_code = "bitrix24_address_forbidden"


class NoUsableAnswer(ExchangeError):
    """The request was sent, but its outcome is unknown: repeat it only when doing it twice does no harm."""

    retry = Retry.LATER


class ReadTimeout(NoUsableAnswer):
    """The other side stopped sending before or during its answer."""

    code = "timeout"


class ConnectionReset(NoUsableAnswer):
    """The connection broke after the request was sent."""

    code = "reset"


class UnreadableAnswer(NoUsableAnswer):
    """The answer does not have the documented form, or is too long."""

    code = "unreadable"
