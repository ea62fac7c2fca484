"""What keeps a portal's forms from taking requests today: the kill switch, and budgets that are used up."""

from dataclasses import dataclass
from datetime import datetime

from bx24app.database import reading
from bx24app.models import Form, Portal
from bx24app.services.websites import forms, quotas
from bx24app.services.websites.submission import Submission

BUDGETS = ("budget_calls", "budget_money")


@dataclass(frozen=True)
class ExhaustedBudget:
    """A form whose budget of the day is used up; ``rule`` names the budget."""

    form_name: str
    rule: str


def forms_out_of_budget(portal: Portal, now: datetime) -> list[ExhaustedBudget]:
    """The forms that take nothing more today, by name."""
    limited = [form for form in forms.list_forms(portal.id) if form.is_on and _has_budget(form)]
    return [stop for form in limited for stop in _stops(form, portal, now)]


def _has_budget(form: Form) -> bool:
    return form.budget_calls is not None or form.budget_money is not None


def _stops(form: Form, portal: Portal, now: datetime) -> list[ExhaustedBudget]:
    case = Submission(form=form, portal=portal, now=now)
    with reading() as session:
        looks = list(quotas.evaluate_quotas(session, case, []))
    return [ExhaustedBudget(form.name, look.rule) for look in looks if look.rule in BUDGETS and look.inputs is not None]
