"""What a rule of a website form decided against."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from bx24app.errors.known import Retry
from bx24app.errors.refusals import Refusal


class RuleRefused(Refusal):
    """A rule of a form decided against a request; what it looked at is for the portal, not for the visitor."""

    status = 400

    def __init__(self, rule: str, field: str | None = None, inputs: Mapping[str, object] | None = None) -> None:
        super().__init__(field)
        self.rule = rule
        self.inputs = dict(inputs or {})


class FormClosed(RuleRefused):
    """The form takes no requests now, whoever asks."""

    code = "not_permitted"
    reason = "form_closed"
    status = 403


class OriginRefused(RuleRefused):
    """The request comes from a page that may not send it."""

    code = "not_permitted"
    reason = "origin_refused"
    status = 403


class NotHuman(RuleRefused):
    """Nothing shows that a person has filled in the form."""

    reason = "not_human"


class FieldRefused(RuleRefused):
    """A field is missing or cannot be what it is."""

    reason = "field_refused"


class PublicNumberInvalid(RuleRefused):
    """A visitor's text is not a telephone number."""

    code = "invalid_number"
    reason = "public_number"
    status = 422


class PublicNumberRefused(RuleRefused):
    """A telephone number, but not one that this form calls."""

    code = "number_not_allowed"
    reason = "number_refused"
    status = 422


class OnDoNotCallList(RuleRefused):
    """The number must not be called. For the site's own back end: a visitor is told ``PublicNumberRefused``."""

    code = "do_not_call"
    status = 422


class OutsideHours(RuleRefused):
    """Nobody is there at that time; ``slots`` are offered instead."""

    code = "outside_hours"
    reason = "public_hours"
    status = 409
    slots: Sequence[datetime] | None = ()


class RateLimited(RuleRefused):
    """Too many requests; ``retry_after`` seconds later there may be room again."""

    code = "rate_limited"
    reason = "public_limit"
    status = 429
    retry = Retry.LATER


class BudgetExhausted(RuleRefused):
    """The form's calls of today are used up."""

    code = "budget_exhausted"
    reason = "public_budget"
    status = 429
    retry = Retry.LATER
