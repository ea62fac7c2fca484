"""What an error means to its caller: whether to repeat, whether anything was executed, what to answer."""

from enum import StrEnum
from typing import ClassVar


class Retry(StrEnum):
    """When the same request may succeed."""

    NEVER = "never"
    LATER = "later"
    AFTER_RENEWAL = "after_renewal"
    AFTER_MOVE = "after_move"


class Executed(StrEnum):
    """Whether the request was executed."""

    NO = "no"
    UNKNOWN = "unknown"


class KnownError(Exception):
    """An error whose attributes say what it means; callers read them and never list classes."""

    # The code is stored with callbacks, logged, and promised to programs.
    code: ClassVar[str]
    # Names the sentence that explains the error to people, where one code has several sentences.
    reason: ClassVar[str] = ""
    retry: ClassVar[Retry] = Retry.NEVER
    executed: ClassVar[Executed] = Executed.NO
    # The credential that was used is dead: ``tokens.invalidate`` marks it, and perhaps its portal.
    revokes_credential: ClassVar[bool] = False
    # The HTTP status that we received, or with which we answer our own refusals; None: there is none.
    status: int | None = None
    # The other side's explanation for people.
    words: str | None = None

    @property
    def explanation(self) -> str:
        """The code of the sentence that explains the error to people."""
        return self.reason or self.code

    @property
    def callback_reason(self) -> str:
        """The reason of a callback that fails because of this error; promised to programs."""
        return self.explanation
