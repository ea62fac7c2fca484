"""Trying a form's rules: what would happen to a number, from an origin, at a time; nothing is taken or kept."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from bx24app.database import reading
from bx24app.errors import RuleRefused
from bx24app.models import utcnow
from bx24app.services.websites import forms, quotas, rules
from bx24app.services.websites.rules import RuleFacts
from bx24app.services.websites.submission import Submission, read_number
from bx24app.settings import settings

PASSED, DECIDES, NOT_REACHED = "passed", "decides", "not_reached"


@dataclass(frozen=True)
class RuleVerdict:
    """One rule of a trial: ``refusal`` when it decides; ``is_tried`` False for what only a real visitor can show."""

    rule: str
    verdict: str
    is_tried: bool
    inputs: RuleFacts
    refusal: RuleRefused | None = None


def test_rules(
    portal_id: int, form_key: str, number: str, origin: str | None, at: datetime | None
) -> list[RuleVerdict]:
    """Every rule in order, up to the one that decides and beyond; raises ``NotFound``.

    ``origin`` None: our own hosted form. ``at`` None: now.
    """
    opened = forms.open_form_by_id(forms.get_form(portal_id, form_key).id)
    case = Submission(
        form=opened.form,
        portal=opened.portal,
        now=at or utcnow(),
        number=read_number(number, opened),
        origin=origin or settings.public_origin,
    )
    verdicts: list[RuleVerdict] = []
    for verdict in _verdicts(case):
        reached = not any(earlier.verdict == DECIDES for earlier in verdicts)
        verdicts.append(verdict if reached else replace(verdict, verdict=NOT_REACHED, inputs={}, refusal=None))
    return verdicts


def _verdicts(case: Submission) -> Iterator[RuleVerdict]:
    for rule in rules.RULES:
        inputs = rule.judge(case) if rule.in_trials else None
        refusal = None if inputs is None else rules.rejection_for(case, rule, inputs)
        yield RuleVerdict(rule.name, DECIDES if refusal else PASSED, rule.in_trials, inputs or {}, refusal)
    with reading() as session:
        for result in quotas.evaluate_quotas(session, case):
            decides = result.facts is not None
            yield RuleVerdict(
                result.rule,
                DECIDES if decides else PASSED,
                result.in_trials,
                result.facts or {},
                result.refusal if decides else None,
            )
