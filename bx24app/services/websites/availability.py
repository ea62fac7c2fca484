"""Whether a form takes requests: its switches, its portal, its line, and the budgets of today."""

from dataclasses import dataclass
from datetime import datetime

from bx24app.database import reading
from bx24app.models import Form, Portal, utcnow
from bx24app.services.websites import forms, quotas, rules
from bx24app.services.websites.submission import Submission


def form_problems(form: Form, portal: Portal) -> list[str]:
    """The rules by which a form takes no requests at all, but for budgets; none when it does."""
    submission = Submission(form=form, portal=portal, now=utcnow())
    return [rule.name for rule in rules.AVAILABILITY if rule.judge(submission) is not None]


def exhausted_budgets(form: Form, portal: Portal, now: datetime | None = None) -> list[str]:
    """The budget rules by which a form takes no more requests today."""
    if form.budget_calls is None and form.budget_money is None:
        return []
    submission = Submission(form=form, portal=portal, now=now or utcnow())
    with reading() as session:
        return [obstacle.condition for obstacle in quotas.exhausted_budgets(session, submission)]


@dataclass(frozen=True)
class ExhaustedBudget:
    """A form whose budget of the day is used up; ``rule`` names the budget."""

    form_name: str
    rule: str


def forms_out_of_budget(portal: Portal, now: datetime) -> list[ExhaustedBudget]:
    """The forms that are switched on and take nothing more today."""
    return [
        ExhaustedBudget(form.name, rule)
        for form in forms.list_forms(portal.id)
        if form.is_on
        for rule in exhausted_budgets(form, portal, now)
    ]
