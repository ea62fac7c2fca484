"""``/api/v1/do-not-call``: numbers that are never dialled; operators add one, all else is for administrators."""

from datetime import datetime
from typing import Annotated, Literal

from flask import Blueprint, Response, make_response, request
from pydantic import BaseModel, ConfigDict, Field

from bx24app.errors import InvalidNumber, InvalidRequest, LimitReached, RateLimited, TooManyListed
from bx24app.inputs import Text, TolerantModel, TypedNumber
from bx24app.messages.reasons import reason_sentence
from bx24app.models import DoNotCall
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.roles import Role
from bx24app.services.calling import do_not_call
from bx24app.services.calling.do_not_call import ImportedLine
from bx24app.services.runtime.slots import Slots, turn
from bx24app.web.addresses import MAX_ID
from bx24app.web.api.openapi import operation
from bx24app.web.api.schemas import json_response
from bx24app.web.charsets import decode_file
from bx24app.web.guards import principal_required, read_body, read_query

blueprint = Blueprint("do_not_call", __name__, url_prefix="/api/v1/do-not-call")

# Reading or writing a list only computes, and meanwhile the requests of everybody else go slower.
lists_at_once = Slots[int](each=1, in_all=2)
RETRY_SECONDS = 5


class NumberBody(TolerantModel):
    """What ``POST /do-not-call`` takes."""

    number: TypedNumber
    note: Annotated[Text, Field(max_length=255)] | None = None


class DoNotCallQuery(BaseModel):
    """What ``GET /do-not-call`` takes."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: Annotated[int, Field(ge=1, le=MAX_ID)] | None = None


class NumberSchema(BaseModel):
    """A listed number; ``number`` is null once it was erased."""

    id: int
    number: str | None
    note: str | None
    added_by: int | None
    added_at: datetime


class NumbersPage(BaseModel):
    """Numbers, newest first; ``next_cursor`` is null on the last page."""

    numbers: list[NumberSchema]
    next_cursor: int | None


class ImportedLineSchema(BaseModel):
    """What became of one line of a list; ``reason`` is a sentence when it was refused."""

    line: int
    text: str
    outcome: Literal["added", "known", "refused", "skipped"]
    reason: str | None


class ImportReport(BaseModel):
    """What became of a list: how many lines of each outcome, and every line."""

    added: int
    known: int
    refused: int
    skipped: int
    lines: list[ImportedLineSchema]


def _schema(row: DoNotCall) -> NumberSchema:
    return NumberSchema.model_validate(row, from_attributes=True)


@blueprint.get("")
@operation({200: NumbersPage}, query=DoNotCallQuery)
@principal_required(Role.ADMINISTRATOR)
def show_all(principal: Principal) -> Response:
    """The list, newest first."""
    query = read_query(DoNotCallQuery)
    found = do_not_call.list_numbers(principal.portal.id, query.cursor, query.limit + 1)
    page = found[: query.limit]
    next_cursor = page[-1].id if len(found) > query.limit else None
    return json_response(NumbersPage(numbers=[_schema(row) for row in page], next_cursor=next_cursor))


@blueprint.post("")
@operation(
    {201: NumberSchema, 200: NumberSchema}, body=NumberBody, refuses=(InvalidNumber, LimitReached, TooManyListed)
)
@principal_required(Role.OPERATOR)
def add(principal: Principal) -> Response:
    """List a number: 201, or 200 when it was listed before; then only administrators are told its note."""
    body = read_body(NumberBody)
    row, is_new = do_not_call.add_number(principal.portal.id, body.number, body.note, principal.user_id)
    shown = _schema(row)
    if not is_new and principal.role < Role.ADMINISTRATOR:
        shown.note = None
    return json_response(shown, 201 if is_new else 200)


@blueprint.delete("/<id:number_id>")
@operation({204: None})
@principal_required(Role.ADMINISTRATOR, needs_proof=True)
def remove(principal: Principal, number_id: int) -> tuple[str, int]:
    """Take a number off the list."""
    do_not_call.remove_number(principal.portal.id, number_id, principal.user_id)
    return "", 204


@blueprint.post("/import")
@operation({200: ImportReport}, body="text/plain", refuses=(LimitReached, RateLimited))
@principal_required(Role.ADMINISTRATOR, needs_proof=True)
def import_numbers(principal: Principal) -> Response:
    """Add a list (CSV or plain text, 5,000 lines at most; a longer one in parts) and report on every line."""
    with turn(lists_at_once, principal.portal.id, RETRY_SECONDS):
        return json_response(_imported(principal))


def _imported(principal: Principal) -> ImportReport:
    charset = request.mimetype_params.get("charset")
    try:
        text = decode_file(request.get_data(), charset, principal.portal.language)
    except ValueError:
        raise InvalidRequest("lines") from None
    lines = do_not_call.import_list(principal.portal.id, text, principal.user_id)
    outcomes = [line.outcome for line in lines]
    counts = {name: outcomes.count(name) for name in ("added", "known", "refused", "skipped")}
    shown = [
        {"line": line.number, "text": line.text, "outcome": line.outcome, "reason": _reason(line)} for line in lines
    ]
    return ImportReport.model_validate({**counts, "lines": shown})


def _reason(line: ImportedLine) -> str | None:
    return reason_sentence(f"number_{line.problem}") if line.problem else None


@blueprint.get("/export")
@operation({200: "text/csv"}, refuses=(RateLimited,))
@principal_required(Role.ADMINISTRATOR, needs_proof=True, bounds_itself=True)
def export_numbers(principal: Principal) -> Response:
    """The list as a CSV file that spreadsheets open safely."""
    with turn(lists_at_once, principal.portal.id, RETRY_SECONDS):
        # Excel reads a file as UTF-8 only when it begins with this mark.
        response = make_response("\ufeff" + do_not_call.export_list(principal.portal.id))
    response.headers["Content-Type"] = "text/csv; charset=utf-8"
    response.headers["Content-Disposition"] = 'attachment; filename="do-not-call.csv"'
    return response
