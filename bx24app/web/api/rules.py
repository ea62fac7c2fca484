"""``/api/v1/rules/test`` and the refusals of a form: which rule decides, and why, for administrators."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from flask import Blueprint, Response
from pydantic import BaseModel, ConfigDict, Field

from bx24app.errors import InvalidRequest, NotFound
from bx24app.inputs import Text, TolerantModel, TypedNumber
from bx24app.messages.rules import rule_words
from bx24app.models import Rejection, utcnow
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.roles import Role
from bx24app.services.websites import forms, rejections, rule_tester
from bx24app.services.websites.rule_tester import RuleResult
from bx24app.web.addresses import FormKey
from bx24app.web.api.openapi import operation
from bx24app.web.api.schemas import json_response
from bx24app.web.guards import principal_required, read_body, read_query
from bx24app.web.moments import UtcMoment

blueprint = Blueprint("rules", __name__, url_prefix="/api/v1")

FURTHEST_TEST = timedelta(days=366)
MAX_REJECTIONS = 200


class RuleTestBody(TolerantModel):
    """What ``POST /rules/test`` takes; ``origin`` null is our own hosted form, ``at`` null is now."""

    form_key: FormKey
    number: TypedNumber
    origin: Annotated[Text, Field(max_length=255)] | None = None
    at: UtcMoment | None = None


class RejectionQuery(BaseModel):
    """What ``GET /forms/<form_key>/refusals`` takes."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=MAX_REJECTIONS)] = 50


class VerdictSchema(BaseModel):
    """What one rule says; ``is_tried`` is false for what only a real visitor can show."""

    rule: str
    verdict: Literal["passed", "decides", "not_reached"]
    is_tried: bool
    code: str | None
    reason: str
    inputs: dict[str, Any]


class TrialSchema(BaseModel):
    """Every rule in order; ``decides`` is the one that refuses, or null."""

    decides: str | None
    rules: list[VerdictSchema]


class RefusalSchema(BaseModel):
    """A request that was not taken; ``count`` is more than one in a flood."""

    made_at: datetime
    rule: str
    reason: str
    inputs: dict[str, Any]
    count: int


class RefusalsSchema(BaseModel):
    """What a form has not taken: how many by rule, and the latest."""

    counts: dict[str, int]
    refusals: list[RefusalSchema]


def _verdict(result: RuleResult) -> VerdictSchema:
    shown = {
        "rule": result.rule,
        "verdict": result.outcome,
        "is_tried": result.is_tested,
        "code": result.refusal.code if result.refusal else None,
        "reason": rule_words(result.rule, result.inputs, is_tried=result.is_tested),
        "inputs": result.inputs,
    }
    return VerdictSchema.model_validate(shown)


@blueprint.post("/rules/test")
@operation({200: TrialSchema}, body=RuleTestBody, refuses=(NotFound,))
@principal_required(Role.ADMINISTRATOR, only_reads=True)
def test_rules(principal: Principal) -> Response:
    """Say of every rule whether it passes, decides or is not reached; nothing is taken or kept."""
    body = read_body(RuleTestBody)
    now = utcnow()
    if body.at is not None and not now - FURTHEST_TEST < body.at < now + FURTHEST_TEST:
        raise InvalidRequest("at")
    results = rule_tester.test_rules(principal.portal.id, body.form_key, body.number, body.origin, body.at)
    deciding = next((result.rule for result in results if result.outcome == rule_tester.DECIDES), None)
    return json_response(TrialSchema(decides=deciding, rules=[_verdict(result) for result in results]))


def _refusal(row: Rejection) -> RefusalSchema:
    return RefusalSchema(
        made_at=row.made_at,
        rule=row.rule,
        reason=rule_words(row.rule, row.inputs, is_tried=True),
        inputs={name: value for name, value in row.inputs.items() if name != "number_digest"},
        count=row.count,
    )


@blueprint.get("/forms/<key:form_key>/refusals")
@operation({200: RefusalsSchema}, query=RejectionQuery)
@principal_required(Role.ADMINISTRATOR)
def show_rejections(principal: Principal, form_key: str) -> Response:
    """What a form has not taken in the last month: the latest, and how many by rule."""
    limit = read_query(RejectionQuery).limit
    form = forms.get_form(principal.portal.id, form_key)
    found = rejections.summarize_rejections(form.id, utcnow() - rejections.REJECTIONS_KEPT, limit)
    return json_response(RefusalsSchema(counts=found.counts, refusals=[_refusal(row) for row in found.latest]))
