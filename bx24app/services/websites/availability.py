"""Whether a form is available: its switches, its portal, its line, and its budgets for today."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from bx24app.database import reading
from bx24app.models import Form, Portal, utcnow
from bx24app.services.websites import forms, quotas, rules
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
        return [
            StoppedForm(form.name, rule)
            for form in forms.read_forms(session, portal.id)
            if form.is_on
            for rule in (*_without_country(form, portal), *_exhausted(session, form, portal, now))
        ]


def list_forms(portal: Portal, now: datetime) -> list[ListedForm]:
    """List the forms of a portal, the oldest first; one transaction."""
    with reading() as session:
        return [_listed(session, form, portal, now) for form in forms.read_forms(session, portal.id)]


def describe_form(form: Form, portal: Portal, now: datetime) -> ListedForm:
    """Describe one form of a portal; one transaction."""
    with reading() as session:
        return _listed(session, form, portal, now)


def _listed(session: Session, form: Form, portal: Portal, now: datetime) -> ListedForm:
    line = forms.form_line(form, portal)
    return ListedForm(
        form=form,
        line_name=line[1] if line else "",
        problems=form_problems(form, portal),
        exhausted=_exhausted(session, form, portal, now),
        countries=forms.callable_countries(form, portal),
        url=forms.form_url(form),
        snippet=forms.form_snippet(form),
    )


def _without_country(form: Form, portal: Portal) -> list[str]:
    return [] if forms.callable_countries(form, portal) else ["country_known"]


def _exhausted(session: Session, form: Form, portal: Portal, now: datetime) -> list[str]:
    """List the budget rules by which a form accepts nothing more today."""
    if form.budget_calls is None and form.budget_money is None:
        return []
    submission = Submission(form=form, portal=portal, now=now)
    return [obstacle.condition for obstacle in quotas.exhausted_budgets(session, submission)]
