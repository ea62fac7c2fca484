"""Trying a form's rules: what would happen to a number, from an origin, at a time; nothing is taken or kept."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from bx24app.errors import RuleRefused
from bx24app.extensions import reading
from bx24app.models import utcnow
from bx24app.services import admission, defence, forms
from bx24app.services.cases import Case, read_number
from bx24app.services.defence import Inputs
from bx24app.settings import settings

PASSED, DECIDES, NOT_REACHED = "passed", "decides", "not_reached"


@dataclass(frozen=True)
class Verdict:
    """One rule of a trial: ``refusal`` when it decides; ``is_tried`` False for what only a real visitor can show."""

    rule: str
    verdict: str
    is_tried: bool
    inputs: Inputs
    refusal: RuleRefused | None = None


def run(portal_id: int, form_key: str, number: str, origin: str | None, at: datetime | None) -> list[Verdict]:
    """Every rule in order, up to the one that decides and beyond; raises ``NotFound``.

    ``origin`` None: our own hosted form. ``at`` None: now.
    """
    opened = forms.open_by_id(forms.get(portal_id, form_key).id)
    case = Case(
        form=opened.form,
        portal=opened.portal,
        now=at or utcnow(),
        number=read_number(number, opened),
        origin=origin or settings.public_origin,
    )
    verdicts: list[Verdict] = []
    for verdict in _verdicts(case):
        reached = not any(earlier.verdict == DECIDES for earlier in verdicts)
        verdicts.append(verdict if reached else replace(verdict, verdict=NOT_REACHED, inputs={}, refusal=None))
    return verdicts


def _verdicts(case: Case) -> Iterator[Verdict]:
    for rule in defence.RULES:
        inputs = rule.judge(case) if rule.in_trials else None
        refusal = None if inputs is None else defence.refusal_of(case, rule, inputs)
        yield Verdict(rule.name, DECIDES if refusal else PASSED, rule.in_trials, inputs or {}, refusal)
    buckets = admission.buckets_of(case)
    with reading() as session:
        for look in admission.looks(session, case, [bucket for bucket in buckets if not bucket.is_plain]):
            decides = look.inputs is not None
            yield Verdict(
                look.rule,
                DECIDES if decides else PASSED,
                look.in_trials,
                look.inputs or {},
                look.refusal if decides else None,
            )
