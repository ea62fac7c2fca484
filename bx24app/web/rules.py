"""``/api/v1/rules/test`` and the refusals of a form: which rule decides, and why, for administrators."""

from datetime import timedelta
from typing import Annotated, Any

from flask import Blueprint, Response, jsonify, request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from bx24app.errors import InvalidRequest
from bx24app.models import Refusal, utcnow
from bx24app.services import forms, refusals, trials
from bx24app.services.tickets import Ticket
from bx24app.services.trials import Verdict
from bx24app.web.guards import administrator_required, read_body
from bx24app.web.moments import iso
from bx24app.web.rule_texts import rule_words

blueprint = Blueprint("rules", __name__, url_prefix="/api/v1")

FURTHEST = timedelta(days=366)
MAX_REFUSALS = 200


class TrialBody(BaseModel):
    """What ``POST /rules/test`` takes; ``origin`` null is our own hosted form, ``at`` null is now."""

    model_config = ConfigDict(extra="forbid", strict=True)

    form_key: Annotated[str, Field(max_length=64)]
    number: Annotated[str, Field(max_length=255)]
    origin: Annotated[str, Field(max_length=255)] | None = None
    at: AwareDatetime | None = None


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "rule": verdict.rule,
        "verdict": verdict.verdict,
        "is_tried": verdict.is_tried,
        "code": verdict.refusal.code if verdict.refusal else None,
        "reason": rule_words(verdict.rule, verdict.inputs, is_tried=verdict.is_tried),
        "inputs": verdict.inputs,
    }


@blueprint.post("/rules/test")
@administrator_required
def try_rules(ticket: Ticket) -> Response:
    """Say of every rule whether it passes, decides or is not reached; nothing is taken or kept."""
    body = read_body(TrialBody)
    now = utcnow()
    if body.at is not None and not now - FURTHEST < body.at < now + FURTHEST:
        raise InvalidRequest("at")
    verdicts = trials.run(ticket.portal_id, body.form_key, body.number, body.origin, body.at)
    deciding = next((verdict.rule for verdict in verdicts if verdict.verdict == trials.DECIDES), None)
    return jsonify({"decides": deciding, "rules": [_verdict(verdict) for verdict in verdicts]})


def _refusal(row: Refusal) -> dict[str, Any]:
    return {
        "made_at": iso(row.made_at),
        "rule": row.rule,
        "reason": rule_words(row.rule, row.inputs, is_tried=True),
        "inputs": {name: value for name, value in row.inputs.items() if name != "number_digest"},
        "count": row.count,
    }


@blueprint.get("/forms/<form_key>/refusals")
@administrator_required
def show_refusals(ticket: Ticket, form_key: str) -> Response:
    """What a form has not taken in the last month: the latest, and how many by rule."""
    form = forms.get(ticket.portal_id, form_key)
    limit = request.args.get("limit", 50, type=int)
    found = refusals.of_form(form.id, utcnow() - refusals.KEPT, max(1, min(limit, MAX_REFUSALS)))
    return jsonify({"counts": found.counts, "refusals": [_refusal(row) for row in found.latest]})
