"""Whether a form is available: its switches, its portal, its line, and its budgets for today."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from bx24app.database import reading
from bx24app.models import Form, Portal, utcnow
from bx24app.services.callbacks.conditions import BUDGET_CALLS, BUDGET_MONEY
from bx24app.services.websites import forms, quotas, rules
from bx24app.services.websites.budgets import PortalCosts
from bx24app.services.websites.submission import Submission


def form_problems(form: Form, portal: Portal) -> list[str]:
    """List the rules by which a form accepts nothing at all, apart from budgets; empty when it is available."""
    submission = Submission(form=form, portal=portal, now=utcnow())
    return [rule.name for rule in rules.AVAILABILITY if rule.evaluate(submission) is not None]


@dataclass(frozen=True)
class StoppedForm:
    """A form that takes nothing although it is on: its country is not known, or the budget ``rule`` is used up."""

    form_name: str
    rule: str


@dataclass(frozen=True)
class ListedForm:
    """A form as administrators see it; ``problems`` and ``exhausted`` are the rules by which it accepts nothing now.

    ``countries`` are those that its callbacks may go to.
    """

    form: Form
    line_name: str
    problems: list[str]
    exhausted: list[str]
    countries: tuple[str, ...]
    url: str
    snippet: str


def stopped_forms(portal: Portal, now: datetime) -> list[StoppedForm]:
    """List the forms that are switched on and take nothing all the same, the oldest first; one transaction."""
    with reading() as session:
        found = [form for form in forms.read_forms(session, portal.id) if form.is_on]
        exhausted = _exhausted(session, found, portal, now)
    return [
        StoppedForm(form.name, rule)
        for form in found
        for rule in (*_without_country(form, portal), *exhausted[form.id])
    ]


def list_forms(portal: Portal, now: datetime) -> list[ListedForm]:
    """List the forms of a portal, the oldest first; one transaction."""
    with reading() as session:
        found = forms.read_forms(session, portal.id)
        exhausted = _exhausted(session, found, portal, now)
    return [_listed(form, portal, exhausted[form.id]) for form in found]


def describe_form(form: Form, portal: Portal, now: datetime) -> ListedForm:
    """Describe one form of a portal; one transaction."""
    with reading() as session:
        exhausted = _exhausted(session, [form], portal, now)
    return _listed(form, portal, exhausted[form.id])


def _listed(form: Form, portal: Portal, exhausted: list[str]) -> ListedForm:
    line = forms.form_line(form, portal)
    return ListedForm(
        form=form,
        line_name=line[1] if line else "",
        problems=form_problems(form, portal),
        exhausted=exhausted,
        countries=forms.callable_countries(form, portal),
        url=forms.form_url(form),
        snippet=forms.form_snippet(form),
    )


def _without_country(form: Form, portal: Portal) -> list[str]:
    return [] if forms.callable_countries(form, portal) else ["country_known"]


def _exhausted(session: Session, found: list[Form], portal: Portal, now: datetime) -> dict[int, list[str]]:
    """List for each form, by its id, the budget rules by which it accepts nothing more today.

    All calls are read by one statement; of money what a portal's calls have cost is, and what waits form by form.
    """
    costs = PortalCosts(session, portal.id)
    submissions = [Submission(form=form, portal=portal, now=now) for form in found]
    by_calls = quotas.exhausted_by_calls(session, submissions)
    return {
        one.form.id: [
            *([BUDGET_CALLS] if one.form.id in by_calls else []),
            *([BUDGET_MONEY] if quotas.is_money_spent(session, one, costs) else []),
        ]
        for one in submissions
    }
