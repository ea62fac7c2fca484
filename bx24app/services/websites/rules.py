"""The rules of website forms: one ordered table; each rule has a name and says what it looked at.

The first rule that does not pass decides. The rules of this module need only the submission and its form. The quotas,
which read the database and take from limits and budgets, follow after them and are in ``quotas.py``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from bx24app.errors import (
    FieldRefused,
    FormClosed,
    NotHuman,
    OriginRefused,
    OutsideHours,
    PublicNumberInvalid,
    PublicNumberRefused,
    RuleRefused,
    TrapFilled,
)
from bx24app.log import mask_all_but_days, mask_numbers
from bx24app.models import PortalState, Source
from bx24app.models.lease import CLOCK_SLACK
from bx24app.services.calling import phone_numbers
from bx24app.services.calling.phone_numbers import NumberProblem
from bx24app.services.websites import forms
from bx24app.services.websites.challenge import MINIMAL_FILL_TIME
from bx24app.services.websites.submission import MASKED_LENGTH, Submission
from bx24app.settings import settings
from bx24app.urls import normal_origin

# The hidden field; no browser and no password manager has anything to fill in under this name.
HONEYPOT = "leave_empty"
PAST_TOLERANCE = timedelta(minutes=1)
FURTHEST_SLOT = timedelta(days=60)
SLOTS_OFFERED = 8


RuleFacts = dict[str, object]
Evaluate = Callable[[Submission], RuleFacts | None]


@dataclass(frozen=True)
class Rule:
    """A rule of the table; ``evaluate`` returns None when a submission passes, else what the rule looked at."""

    name: str
    evaluate: Evaluate
    refusal: type[RuleRefused]
    field: str | None = None
    # Whether the rule applies to submissions with an API key too, and whether the rule tester can evaluate it.
    for_keys: bool = True
    in_tests: bool = True

    def applies(self, submission: Submission) -> bool:
        """Tell whether the rule applies to a submission."""
        return self.for_keys or submission.source == Source.WEBSITE


def _portal_ready(submission: Submission) -> RuleFacts | None:
    return None if submission.portal.state == PortalState.INSTALLED else {"state": submission.portal.state}


def _websites_on(submission: Submission) -> RuleFacts | None:
    return {"switch": "portal"} if submission.portal.settings.websites_off else None


def _form_on(submission: Submission) -> RuleFacts | None:
    return None if submission.form.is_on else {"switch": "form"}


def _country_known(submission: Submission) -> RuleFacts | None:
    return None if forms.callable_countries(submission.form, submission.portal) else {"country": "not named"}


def _origin(submission: Submission) -> RuleFacts | None:
    allowed = [settings.public_origin, *submission.form.allowed_origins]
    if submission.origin in allowed:
        return None
    sent = submission.origin or ""
    try:
        normal_origin(sent)
    except ValueError:
        sent = mask_numbers(sent)
    return {"origin": sent[:255]}


def _fields(submission: Submission) -> RuleFacts | None:
    # A site's back end has a form of its own, so our fields are required only from our own form.
    fields = submission.form.fields if submission.source == Source.WEBSITE else {}
    for name, value in (("name", submission.name), ("topic", submission.topic)):
        # A topic that is not on the list, as of a page that is older than the list, was given all the same.
        if fields.get(name) == "required" and not value and name not in submission.decoration.left_out:
            return {"field": name, "why": "missing"}
    return None


def _consent(submission: Submission) -> RuleFacts | None:
    missing = submission.form.consent_texts is not None and not submission.consents
    return {"field": "consent", "version": submission.form.consent_version} if missing else None


def _honeypot(submission: Submission) -> RuleFacts | None:
    # A browser that has done the work of a proof may have filled it in for a person, as password managers do.
    filled = submission.honeypot and submission.proof is None
    return {"field": HONEYPOT, "length": len(submission.honeypot)} if filled else None


def _proof(submission: Submission) -> RuleFacts | None:
    if submission.forged:
        return {"given": "a proof that is forged, too old, or not solved"}
    return None if submission.proof_or_token else {"given": "neither a proof nor a token that is valid"}


def _fill_time(submission: Submission) -> RuleFacts | None:
    issued = [proof.issued_at for proof in (submission.proof, submission.token) if proof]
    passed = submission.now - min(issued, default=submission.now)
    # Made on a machine whose clock is ahead: how long it took cannot be told.
    is_unknown = -CLOCK_SLACK <= passed < timedelta(0)
    return {"seconds": round(passed.total_seconds(), 1)} if passed < MINIMAL_FILL_TIME and not is_unknown else None


def _number_short(submission: Submission) -> RuleFacts | None:
    if submission.parsed.problem != NumberProblem.SHORT:
        return None
    return {"digits": len(phone_numbers.digits(submission.number.text)), "why": NumberProblem.SHORT}


def _number_shape(submission: Submission) -> RuleFacts | None:
    if submission.parsed.e164 is not None:
        return None
    why = submission.parsed.problem or NumberProblem.EMPTY
    return {"number": submission.masked, "length": len(submission.number.text), "why": why}


def _number_kind(submission: Submission) -> RuleFacts | None:
    kind = "premium, shared-cost, personal, pager or satellite"
    return {"number": submission.masked, "kind": kind} if submission.parsed.problem == NumberProblem.COSTLY else None


def _country(submission: Submission) -> RuleFacts | None:
    allowed = forms.callable_countries(submission.form, submission.portal)
    if submission.parsed.country in allowed:
        return None
    return {"country": submission.parsed.country, "allowed": ", ".join(allowed)}


def _blocked_prefix(submission: Submission) -> RuleFacts | None:
    blocking = next((prefix for prefix in submission.form.blocked_prefixes if _begins(submission, prefix)), None)
    return {"prefix": blocking} if blocking else None


def _allowed_prefix(submission: Submission) -> RuleFacts | None:
    allowed = submission.form.allowed_prefixes
    passes = not allowed or any(_begins(submission, prefix) for prefix in allowed)
    return None if passes else {"number": submission.masked, "allowed": ", ".join(allowed)[:255]}


def _begins(submission: Submission, prefix: str) -> bool:
    return (submission.parsed.e164 or "").startswith(prefix)


def _time(submission: Submission) -> RuleFacts | None:
    if submission.unreadable_time:
        return {"scheduled_at": mask_all_but_days(submission.unreadable_time)[:MASKED_LENGTH], "why": "unreadable"}
    if (
        submission.scheduled_at is None
        or submission.now - PAST_TOLERANCE <= submission.scheduled_at <= submission.now + FURTHEST_SLOT
    ):
        return None
    why = "past" if submission.scheduled_at < submission.now else "far"
    return {"scheduled_at": submission.scheduled_at.isoformat(), "why": why}


def _hours(submission: Submission) -> RuleFacts | None:
    if submission.hours.is_open(submission.due_at):
        return None
    return {"at": submission.due_at.isoformat(), "zone": submission.hours.zone}


def _line(submission: Submission) -> RuleFacts | None:
    known = forms.form_line(submission.form, submission.portal)
    return None if known else {"line": submission.form.line_id or submission.portal.settings.default_line_id or ""}


RULES: tuple[Rule, ...] = (
    Rule("portal_ready", _portal_ready, FormClosed),
    Rule("websites_on", _websites_on, FormClosed),
    Rule("form_on", _form_on, FormClosed),
    Rule("country_known", _country_known, FormClosed),
    Rule("origin", _origin, OriginRefused, for_keys=False),
    Rule("fields", _fields, FieldRefused, in_tests=False),
    Rule("consent", _consent, FieldRefused, "consent", for_keys=False, in_tests=False),
    Rule("honeypot", _honeypot, TrapFilled, for_keys=False, in_tests=False),
    Rule("proof", _proof, NotHuman, for_keys=False, in_tests=False),
    Rule("fill_time", _fill_time, NotHuman, for_keys=False, in_tests=False),
    Rule("number_short", _number_short, PublicNumberInvalid, "number"),
    Rule("number_shape", _number_shape, PublicNumberInvalid, "number"),
    Rule("number_kind", _number_kind, PublicNumberRefused, "number"),
    Rule("country", _country, PublicNumberRefused, "number"),
    Rule("blocked_prefix", _blocked_prefix, PublicNumberRefused, "number"),
    Rule("allowed_prefix", _allowed_prefix, PublicNumberRefused, "number"),
    Rule("time", _time, FieldRefused, "scheduled_at"),
    Rule("hours", _hours, OutsideHours, "scheduled_at"),
    Rule("line", _line, FormClosed),
)

# While one of these rules does not pass, a form accepts nothing from anybody.
AVAILABILITY = tuple(rule for rule in RULES if rule.refusal is FormClosed)


def evaluated_rules(submission: Submission) -> Iterator[tuple[Rule, RuleFacts | None]]:
    """Evaluate every rule that applies, in order; with each rule comes what its ``evaluate`` returns."""
    return ((rule, rule.evaluate(submission)) for rule in RULES if rule.applies(submission))


def check_rules(submission: Submission, *, has_line: bool = False) -> None:
    """Check a submission against ``RULES``; raises the ``RuleRefused`` of the first rule that it does not pass.

    Pass ``has_line`` when the submission names a line of its own and so needs none of the form.
    """
    for rule, inputs in evaluated_rules(submission):
        if inputs is not None and not (has_line and rule.name == "line"):
            raise rejection_for(submission, rule, inputs)


def check_time_rules(submission: Submission) -> None:
    """Check the new time of an accepted request against the rules about time; raises as ``check_rules`` does."""
    for rule, inputs in evaluated_rules(submission):
        if rule.name in ("time", "hours") and inputs is not None:
            raise rejection_for(submission, rule, inputs)


def rejection_for(submission: Submission, rule: Rule, inputs: RuleFacts) -> RuleRefused:
    """Make the rejection of a submission that a rule does not let pass; ``inputs`` is what the rule looked at."""
    refusal = rule.refusal(rule.name, str(inputs.get("field") or rule.field or "") or None, inputs)
    if isinstance(refusal, OutsideHours):
        refusal.slots = free_slots(submission)
    return refusal


def free_slots(submission: Submission, after: datetime | None = None, count: int = SLOTS_OFFERED) -> list[datetime]:
    """List the next times to offer, none later than a visitor may choose."""
    begin = min(max(after or submission.now, submission.now), submission.now + FURTHEST_SLOT)
    return [slot for slot in submission.hours.slots(begin, count) if slot <= submission.now + FURTHEST_SLOT]
