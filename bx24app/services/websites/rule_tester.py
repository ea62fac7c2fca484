"""The rule tester: what a form's rules decide about a number, an origin and a time; nothing is taken or stored."""

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
from bx24app.urls import origin_of

PASSED, DECIDES, NOT_REACHED = "passed", "decides", "not_reached"


@dataclass(frozen=True)
class RuleResult:
    """One rule of a test; ``refusal`` is set when the rule decides.

    ``is_tested`` is False for a rule that looks at something only a real visitor has, and that therefore passes.
    """

    rule: str
    outcome: str
    is_tested: bool
    inputs: RuleFacts
    refusal: RuleRefused | None = None


def test_rules(portal_id: int, form_key: str, number: str, origin: str | None, at: datetime | None) -> list[RuleResult]:
    """Evaluate every rule in order, also those after the one that decides; raises ``NotFound``.

    ``origin`` None means our hosted form, ``at`` None means now.
    """
    opened = forms.open_form_by_id(forms.get_form(portal_id, form_key).id)
    submission = Submission(
        form=opened.form,
        portal=opened.portal,
        now=at or utcnow(),
        number=read_number(number, opened),
        origin=_origin(origin) if origin else settings.public_origin,
    )
    results: list[RuleResult] = []
    for result in _results(submission):
        reached = not any(earlier.outcome == DECIDES for earlier in results)
        results.append(result if reached else replace(result, outcome=NOT_REACHED, inputs={}, refusal=None))
    return results


def _origin(text: str) -> str:
    """Read a site as people give it: often they copy the address of a page."""
    try:
        return origin_of(text)
    except ValueError:
        return text


def _results(submission: Submission) -> Iterator[RuleResult]:
    for rule in rules.RULES:
        inputs = rule.evaluate(submission) if rule.in_tests else None
        refusal = None if inputs is None else rules.rejection_for(submission, rule, inputs)
        yield RuleResult(rule.name, DECIDES if refusal else PASSED, rule.in_tests, inputs or {}, refusal)
    with reading() as session:
        for quota in quotas.evaluate_quotas(session, submission):
            decides = quota.facts is not None
            yield RuleResult(
                quota.rule,
                DECIDES if decides else PASSED,
                quota.in_tests,
                quota.facts or {},
                quota.refusal if decides else None,
            )
