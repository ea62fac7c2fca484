"""What keeps a request to an address that others chose from being answered, and what is proven about it then.

ExchangeError
 +-- NotSent                 proven: no request reached the other side; may be repeated
 |    +-- AddressForbidden   the address is not one that we may talk to
 +-- NoUsableAnswer          the request may have been executed
      +-- ReadTimeout        silence
      +-- ConnectionReset    the connection broke, before or within the answer
      +-- UnreadableAnswer   an answer, but not one that can be understood

The codes are stored with callbacks and promised to programs (docs/api.md), so they keep the names that they had
when portals were the only addresses.
"""

from typing import ClassVar

from bx24app.errors import Executed, KnownError, Retry


class ExchangeError(KnownError):
    """Whatever kept a request from being answered as asked; ``status`` and ``words`` are the other side's."""

    code = "bitrix24_unavailable"
    executed = Executed.UNKNOWN
    # What a caller of our own API is told, where the request was made on their behalf.
    api_status: ClassVar[int] = 503
    api_code: ClassVar[str] = "bitrix24_unavailable"

    def __init__(self, message: str = "") -> None:
        super().__init__(message or self.code)
        # The other side's own code, as it came.
        self.foreign_code = ""


class NotSent(ExchangeError):
    """The connection was never established."""

    code = api_code = "bitrix24_unreachable"
    retry = Retry.LATER
    executed = Executed.NO


class AddressForbidden(NotSent):
    """The host resolves to no address that we may talk to."""

    code = api_code = "bitrix24_address_forbidden"


class NoUsableAnswer(ExchangeError):
    """Sent, but what came back says nothing: only what does no harm when it is done twice may be repeated."""

    retry = Retry.LATER


class ReadTimeout(NoUsableAnswer):
    """The other side fell silent, before or within its answer."""

    code = "timeout"


class ConnectionReset(NoUsableAnswer):
    """The connection broke after the request was sent."""

    code = "reset"


class UnreadableAnswer(NoUsableAnswer):
    """The answer is not of the promised form, or too long."""

    code = "unreadable"
