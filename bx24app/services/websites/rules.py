"""The rules that guard website forms: one ordered table, each with a name, a judgement and what it looked at.

The first rule that does not hold decides. These need nothing but the request and its form; those that look into the
database, and take from limits and budgets, follow after them and are in ``quotas``.
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
)
from bx24app.models import PortalState, Source
from bx24app.services.calling import phone_numbers
from bx24app.services.websites import forms
from bx24app.services.websites.challenge import MINIMAL_FILL_TIME
from bx24app.services.websites.submission import Submission
from bx24app.settings import settings

MAX_VISITOR_NAME = 80
MAX_TOPIC = 120
PAST_TOLERANCE = timedelta(minutes=1)
FURTHEST_SLOT = timedelta(days=60)
SLOTS_OFFERED = 8


RuleFacts = dict[str, object]
Evaluate = Callable[[Submission], RuleFacts | None]


@dataclass(frozen=True)
class Rule:
    """``judge`` returns None when it holds, else what it looked at."""

    name: str
    judge: Evaluate
    refusal: type[RuleRefused]
    field: str | None = None
    # Whether it applies to a site's back end too, and whether a trial in the desk can tell.
    for_keys: bool = True
    in_trials: bool = True

    def applies(self, case: Submission) -> bool:
        """Tell whether the rule is asked at all."""
        return self.for_keys or case.source == Source.WEBSITE


def _portal_ready(case: Submission) -> RuleFacts | None:
    return None if case.portal.state == PortalState.INSTALLED else {"state": case.portal.state}


def _websites_on(case: Submission) -> RuleFacts | None:
    return {"switch": "portal"} if case.portal.settings.websites_off else None


def _form_on(case: Submission) -> RuleFacts | None:
    return None if case.form.is_on else {"switch": "form"}


def _origin(case: Submission) -> RuleFacts | None:
    allowed = [settings.public_origin, *case.form.allowed_origins]
    return None if case.origin in allowed else {"origin": (case.origin or "")[:255]}


def _fields(case: Submission) -> RuleFacts | None:
    # A site's back end knows what its own form asks.
    asked = case.form.fields if case.source == Source.WEBSITE else {}
    for name, value, longest in (("name", case.name, MAX_VISITOR_NAME), ("topic", case.topic, MAX_TOPIC)):
        if asked.get(name) == "required" and not value:
            return {"field": name, "why": "missing"}
        if len(value) > longest:
            return {"field": name, "why": "long", "length": len(value)}
    if asked and case.topic and case.form.topics and case.topic not in case.form.topics:
        return {"field": "topic", "why": "unknown"}
    return None


def _consent(case: Submission) -> RuleFacts | None:
    asked = case.form.consent_text is not None and not case.consents
    return {"field": "consent", "version": case.form.consent_version} if asked else None


def _honeypot(case: Submission) -> RuleFacts | None:
    return {"length": len(case.honeypot)} if case.honeypot else None


def _proof(case: Submission) -> RuleFacts | None:
    if case.forged:
        return {"given": "a proof that is forged, too old, or not solved"}
    return None if case.shown else {"given": "neither a proof nor a token that is valid"}


def _fill_time(case: Submission) -> RuleFacts | None:
    shown = [one.issued_at for one in (case.proof, case.token) if one]
    passed = case.now - min(shown, default=case.now)
    return {"seconds": round(passed.total_seconds(), 1)} if passed < MINIMAL_FILL_TIME else None


def _number_short(case: Submission) -> RuleFacts | None:
    return {"digits": len(phone_numbers.digits(case.number.text))} if case.typed.is_short else None


def _number_shape(case: Submission) -> RuleFacts | None:
    return {"number": case.masked, "length": len(case.number.text)} if case.typed.e164 is None else None


def _number_kind(case: Submission) -> RuleFacts | None:
    kind = "premium, shared-cost, personal, pager or satellite"
    return {"number": case.masked, "kind": kind} if case.typed.is_costly else None


def _country(case: Submission) -> RuleFacts | None:
    allowed = case.form.allowed_countries or ([case.country] if case.country else [])
    refused = allowed and case.typed.country not in allowed
    return {"country": case.typed.country, "allowed": ", ".join(allowed)} if refused else None


def _blocked_prefix(case: Submission) -> RuleFacts | None:
    blocking = next((prefix for prefix in case.form.blocked_prefixes if _begins(case, prefix)), None)
    return {"prefix": blocking} if blocking else None


def _allowed_prefix(case: Submission) -> RuleFacts | None:
    allowed = case.form.allowed_prefixes
    passes = not allowed or any(_begins(case, prefix) for prefix in allowed)
    return None if passes else {"number": case.masked, "allowed": ", ".join(allowed)[:255]}


def _begins(case: Submission, prefix: str) -> bool:
    return (case.typed.e164 or "").startswith(prefix)


def _time(case: Submission) -> RuleFacts | None:
    if case.unreadable_time:
        return {"scheduled_at": case.unreadable_time[:64], "why": "unreadable"}
    if case.scheduled_at is None or case.now - PAST_TOLERANCE <= case.scheduled_at <= case.now + FURTHEST_SLOT:
        return None
    why = "past" if case.scheduled_at < case.now else "far"
    return {"scheduled_at": case.scheduled_at.isoformat(), "why": why}


def _hours(case: Submission) -> RuleFacts | None:
    if case.hours.is_open(case.due_at):
        return None
    return {"at": case.due_at.isoformat(), "zone": case.hours.zone}


def _line(case: Submission) -> RuleFacts | None:
    known = forms.form_line(case.form, case.portal)
    return None if known else {"line": case.form.line_id or case.portal.settings.default_line_id or ""}


RULES: tuple[Rule, ...] = (
    Rule("portal_ready", _portal_ready, FormClosed),
    Rule("websites_on", _websites_on, FormClosed),
    Rule("form_on", _form_on, FormClosed),
    Rule("origin", _origin, OriginRefused, for_keys=False),
    Rule("fields", _fields, FieldRefused, in_trials=False),
    Rule("consent", _consent, FieldRefused, "consent", for_keys=False, in_trials=False),
    Rule("honeypot", _honeypot, NotHuman, for_keys=False, in_trials=False),
    Rule("proof", _proof, NotHuman, for_keys=False, in_trials=False),
    Rule("fill_time", _fill_time, NotHuman, for_keys=False, in_trials=False),
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

# By these a form takes nothing, whoever asks.
AVAILABILITY = tuple(rule for rule in RULES if rule.refusal is FormClosed)


def evaluated_rules(case: Submission) -> Iterator[tuple[Rule, RuleFacts | None]]:
    """Every rule that applies, in order, with its judgement."""
    return ((rule, rule.judge(case)) for rule in RULES if rule.applies(case))


def check_rules(case: Submission, *, has_line: bool = False) -> None:
    """Hold a request against ``RULES``; raises a ``RuleRefused`` of the first that decides against it.

    ``has_line``: it names a line of its own, and needs none of the form.
    """
    for rule, inputs in evaluated_rules(case):
        if inputs is not None and not (has_line and rule.name == "line"):
            raise rejection_for(case, rule, inputs)


def check_time_rules(case: Submission) -> None:
    """Hold another time for a request taken before against the rules about time; raises likewise."""
    for rule, inputs in evaluated_rules(case):
        if rule.name in ("time", "hours") and inputs is not None:
            raise rejection_for(case, rule, inputs)


def rejection_for(case: Submission, rule: Rule, inputs: RuleFacts) -> RuleRefused:
    """The refusal that a rule's judgement leads to."""
    refusal = rule.refusal(rule.name, str(inputs.get("field") or rule.field or "") or None, inputs)
    if isinstance(refusal, OutsideHours):
        refusal.slots = free_slots(case)
    return refusal


def free_slots(case: Submission, after: datetime | None = None, count: int = SLOTS_OFFERED) -> list[datetime]:
    """The next times to offer, none further than may be chosen."""
    begin = min(max(after or case.now, case.now), case.now + FURTHEST_SLOT)
    return [slot for slot in case.hours.slots(begin, count) if slot <= case.now + FURTHEST_SLOT]
