"""What every error of ours means to a caller: whether to repeat, whether anything was done, what to answer."""

from enum import StrEnum
from typing import ClassVar


class Retry(StrEnum):
    """When the same request may succeed."""

    NEVER = "never"
    LATER = "later"
    AFTER_RENEWAL = "after_renewal"
    AFTER_MOVE = "after_move"


class Executed(StrEnum):
    """Whether what was asked for has been done."""

    NO = "no"
    UNKNOWN = "unknown"


class KnownError(Exception):
    """An error that says what it means: callers read its attributes, and list no classes."""

    # For states, logs and programs: stored and promised.
    code: ClassVar[str]
    # Which sentence explains it to people, where one code has several.
    reason: ClassVar[str] = ""
    retry: ClassVar[Retry] = Retry.NEVER
    executed: ClassVar[Executed] = Executed.NO
    # The access that was used is of no use any more: ``tokens.invalidate`` marks it, and perhaps its portal.
    revokes_credential: ClassVar[bool] = False
    # The HTTP status that came, or for our own refusals the one to answer with; None: there was none.
    status: int | None = None
    # What the other side said to people.
    words: str | None = None

    @property
    def explanation(self) -> str:
        """The code of the sentence that explains it to people."""
        return self.reason or self.code

    @property
    def callback_reason(self) -> str:
        """The promised reason of a callback that fails by it."""
        return self.explanation
