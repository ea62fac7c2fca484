"""``/api/v1/privacy``: what is kept about a telephone number, and erasing it, for administrators."""

from typing import Annotated, Any

from flask import Blueprint, Response
from pydantic import BaseModel, Field

from bx24app.errors import InvalidNumber, NumberInHand, TooManyErasures
from bx24app.inputs import Text, TolerantModel
from bx24app.services import privacy
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.roles import Role
from bx24app.web.api.openapi import operation
from bx24app.web.api.schemas import json_response
from bx24app.web.guards import principal_required, read_body

blueprint = Blueprint("privacy", __name__, url_prefix="/api/v1")

WrittenNumber = Annotated[Text, Field(max_length=256)]


class FindBody(TolerantModel):
    """What ``POST /export`` takes: in the body, for a number has no place in an address."""

    number: WrittenNumber


class EraseBody(FindBody):
    """What ``POST /erase`` takes; ``confirm`` is the number once more."""

    confirm: WrittenNumber


class ErasedSchema(BaseModel):
    """How many rows of each kind it were."""

    counts: dict[str, int]


class KnownNumberSchema(ErasedSchema):
    """All that is kept about a number, 1,000 rows of each kind at most; ``counts`` are of all of them."""

    number: str
    rows: dict[str, list[dict[str, Any]]]


@blueprint.post("/export")
@operation({200: KnownNumberSchema}, body=FindBody, refuses=(InvalidNumber,))
@principal_required(Role.ADMINISTRATOR, needs_proof=True)
def find(principal: Principal) -> Response:
    """All that is kept about a number, as a file to hand out."""
    number = read_body(FindBody).number
    with privacy.search_turn(principal.portal.id):
        found = privacy.find_number(principal.portal, number)
    told = KnownNumberSchema(number=found.number, counts=found.counts, rows=found.rows)
    response = json_response(told)
    response.headers["Content-Disposition"] = "attachment; filename=number.json"
    return response


@blueprint.post("/erase")
@operation({200: ErasedSchema}, body=EraseBody, refuses=(InvalidNumber, NumberInHand, TooManyErasures))
@principal_required(Role.ADMINISTRATOR, needs_proof=True)
def erase(principal: Principal) -> Response:
    """Erase all of it but the digest of the do-not-call list; not while a phone may ring (409)."""
    body = read_body(EraseBody)
    with privacy.erasure_turn(principal.portal.id, principal.user_id):
        counts = privacy.erase_number(principal.portal, body.number, body.confirm, principal.user_id)
    return json_response(ErasedSchema(counts=counts))
