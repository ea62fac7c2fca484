"""What the database cannot do now."""

from typing import ClassVar

from bx24app.errors.known import KnownError, Retry


class DatabaseBusy(KnownError):
    """Other writers kept the database for so long that this one gave up; nothing was written.

    No refusal: what asks a portal and handles refusals must not take it for one.
    """

    code = "database_busy"
    retry = Retry.LATER
    status: int = 503
    # Seconds after which it is worth trying again.
    retry_after: ClassVar[int] = 5
