"""``/api/v1/do-not-call``: numbers that are never dialled, for administrators."""

from typing import Annotated, Any

from flask import Blueprint, Response, jsonify, make_response, request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bx24app.errors import InvalidRequest
from bx24app.models import DoNotCall
from bx24app.services import do_not_call
from bx24app.services.tickets import Ticket
from bx24app.web.guards import administrator_required, read_body
from bx24app.web.moments import iso

blueprint = Blueprint("do_not_call", __name__, url_prefix="/api/v1/do-not-call")

MAX_LIST_BYTES = 1024 * 1024


class NumberBody(BaseModel):
    """What ``POST /do-not-call`` takes."""

    model_config = ConfigDict(extra="forbid", strict=True)

    number: Annotated[str, Field(max_length=255)]
    note: Annotated[str, Field(max_length=255)] | None = None


class Query(BaseModel):
    """What ``GET /do-not-call`` takes."""

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: Annotated[int, Field(ge=1, lt=2**31)] | None = None


def number_json(row: DoNotCall) -> dict[str, Any]:
    """A listed number for the API; ``number`` is null once it was erased."""
    return {
        "id": row.id,
        "number": row.number,
        "note": row.note,
        "added_by": row.added_by,
        "added_at": iso(row.added_at),
    }


@blueprint.get("")
@administrator_required
def show_all(ticket: Ticket) -> Response:
    """The list, newest first."""
    try:
        query = Query.model_validate(request.args.to_dict())
    except ValidationError as error:
        raise InvalidRequest(str(error.errors()[0]["loc"][0])) from None
    found = do_not_call.list_numbers(ticket.portal_id, query.cursor, query.limit + 1)
    page = found[: query.limit]
    next_cursor = page[-1].id if len(found) > query.limit else None
    return jsonify({"numbers": [number_json(row) for row in page], "next_cursor": next_cursor})


@blueprint.post("")
@administrator_required
def add(ticket: Ticket) -> Response:
    """List a number: 201, or 200 when it was listed before."""
    body = read_body(NumberBody)
    row, is_new = do_not_call.add(ticket.portal_id, body.number, body.note, ticket.user_id)
    return make_response(jsonify(number_json(row)), 201 if is_new else 200)


@blueprint.delete("/<int:number_id>")
@administrator_required
def remove(ticket: Ticket, number_id: int) -> tuple[str, int]:
    """Take a number off the list."""
    do_not_call.remove(ticket.portal_id, number_id)
    return "", 204


@blueprint.post("/import")
@administrator_required
def take_in(ticket: Ticket) -> Response:
    """Add a list (CSV or plain text, 5,000 lines at most) and report on every line."""
    request.max_content_length = MAX_LIST_BYTES
    try:
        text = request.get_data().decode()
    except UnicodeDecodeError:
        raise InvalidRequest("lines") from None
    lines = do_not_call.take_in(ticket.portal_id, text, ticket.user_id)
    outcomes = [line.outcome for line in lines]
    counts = {name: outcomes.count(name) for name in ("added", "known", "refused", "skipped")}
    shown = [{"line": line.number, "text": line.text, "outcome": line.outcome} for line in lines]
    return jsonify({**counts, "lines": shown})


@blueprint.get("/export")
@administrator_required
def give_out(ticket: Ticket) -> Response:
    """The list as a CSV file that spreadsheets open safely."""
    response = make_response(do_not_call.give_out(ticket.portal_id))
    response.headers["Content-Type"] = "text/csv; charset=utf-8"
    response.headers["Content-Disposition"] = 'attachment; filename="do-not-call.csv"'
    return response
