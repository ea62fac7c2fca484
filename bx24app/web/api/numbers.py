"""``/api/v1/numbers/read``: what a typed number means, before it is dialled."""

from flask import Blueprint, Response
from pydantic import BaseModel

from bx24app.inputs import TolerantModel, TypedNumber
from bx24app.messages.numbers import display_number, number_notices, number_problem
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.roles import Role
from bx24app.services.calling import phone_numbers
from bx24app.services.calling.countries import single_zone
from bx24app.web.api.openapi import operation
from bx24app.web.api.schemas import json_response
from bx24app.web.guards import principal_required, read_body

blueprint = Blueprint("numbers", __name__, url_prefix="/api/v1/numbers")


class TypedNumberBody(TolerantModel):
    """What ``POST /numbers/read`` takes: a number as it was typed. It stands in the body, for addresses are logged."""

    number: TypedNumber


class ReadNumberSchema(BaseModel):
    """What a number means; ``problem`` says why it cannot be dialled, ``notices`` what to know before it is."""

    number: str | None
    display: str | None
    country: str | None
    # Where all clocks of that country agree.
    zone: str | None
    problem: str | None
    notices: list[str]


@blueprint.post("/read")
@operation({200: ReadNumberSchema}, body=TypedNumberBody)
@principal_required(Role.OPERATOR, only_reads=True)
def read(principal: Principal) -> Response:
    """Read a number as ``POST /callbacks`` would; nothing is stored or dialled."""
    country = principal.portal.settings.default_country
    number = phone_numbers.read_number(read_body(TypedNumberBody).number, country)
    usable = number.can_be_dialled
    return json_response(
        ReadNumberSchema(
            number=number.e164 if usable else None,
            display=display_number(number.e164) if usable and number.e164 else None,
            country=number.country if usable else None,
            zone=single_zone(number.country) if usable and number.country else None,
            problem=number_problem(number),
            notices=number_notices(number, country) if usable else [],
        )
    )
