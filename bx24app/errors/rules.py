"""What a rule of a website form decided against."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from bx24app.errors.known import Retry
from bx24app.errors.refusals import Refusal


class RuleRefused(Refusal):
    """A rule of a form rejects a submission; its ``inputs`` are shown to the portal, not to the visitor."""

    status = 400

    def __init__(self, rule: str, field: str | None = None, inputs: Mapping[str, object] | None = None) -> None:
        super().__init__(field)
        self.rule = rule
        self.inputs = dict(inputs or {})


class FormClosed(RuleRefused):
    """The form takes no submissions now from anybody."""

    code = "not_permitted"
    reason = "form_closed"
    status = 403


class OriginRefused(RuleRefused):
    """The submission comes from a page that is not on the form's list of origins."""

    code = "not_permitted"
    reason = "origin_refused"
    status = 403


class NotHuman(RuleRefused):
    """Nothing proves that a person has filled in the form."""

    reason = "not_human"


class FieldRefused(RuleRefused):
    """A field is missing, or its value is not allowed."""

    reason = "field_refused"


class TrapFilled(FieldRefused):
    """A field that people do not see was filled in: by a program, or for a person by their browser."""

    reason = "trap_filled"


class PublicNumberInvalid(RuleRefused):
    """The text of the visitor is not a telephone number; ``why`` among its inputs names the problem."""

    code = "invalid_number"
    status = 422

    @property
    def explanation(self) -> str:
        """The code of the sentence that explains the problem to people."""
        return f"number_{self.inputs['why']}"


class PublicNumberRefused(RuleRefused):
    """The telephone number is not one that this form calls."""

    code = "number_not_allowed"
    reason = "number_refused"
    status = 422


class OnDoNotCallList(RuleRefused):
    """The number is on the do-not-call list; visitors do not learn this and get the answer of a decoy."""

    code = "do_not_call"
    status = 422


class NumberListed(OnDoNotCallList):
    """The number of a request of staff is on the do-not-call list, since ``listed_at``; ``by`` is who added it."""

    def __init__(self, by: str | None, listed_at: datetime) -> None:
        super().__init__("do_not_call", "to_number")
        self.by = by
        self.listed_at = listed_at


class OutsideHours(RuleRefused):
    """The time is outside the business hours; ``slots`` are offered instead."""

    code = "outside_hours"
    reason = "public_hours"
    status = 409
    slots: Sequence[datetime] | None = ()


class RateLimited(RuleRefused):
    """There were too many requests; a new one may be accepted after ``retry_after`` seconds."""

    code = "rate_limited"
    reason = "public_limit"
    status = 429
    retry = Retry.LATER


class TooManyFiles(RateLimited):
    """As many files are being written as there may be at once; there is room again after ``retry_after`` seconds."""

    reason = "too_many_files"


class TooManyListed(RateLimited):
    """Somebody has added many numbers to the do-not-call list; there is room for one after ``retry_after`` seconds."""

    reason = "too_many_listed"


class TooManyErasures(RateLimited):
    """Another number of the portal is being erased, or a person has erased many a moment ago; nothing was erased."""

    reason = "too_many_erasures"


class BudgetExhausted(RuleRefused):
    """The budget of the form for today is used up."""

    code = "budget_exhausted"
    reason = "public_budget"
    status = 429
    retry = Retry.LATER


class LaterBudgetExhausted(BudgetExhausted):
    """The budget of the form for the later day that was chosen is used up; another day may be chosen at once."""

    reason = "public_later_budget"
