"""``GET /api/v1/callbacks``: the list by any filters, its counters, and the same as a file."""

from contextlib import ExitStack
from datetime import datetime
from typing import Annotated

from flask import Blueprint, Response, stream_with_context
from pydantic import BaseModel, ConfigDict, Field

from bx24app.errors import ListRefused, RateLimited
from bx24app.inputs import SPELLED, Flag, Identifier, Text, several_of
from bx24app.models import Source, State
from bx24app.services.callbacks.listing.asked import AskedFilter, filter_of, scope_of
from bx24app.services.callbacks.listing.company_day import company_zone, today_of
from bx24app.services.callbacks.listing.export import exported
from bx24app.services.callbacks.listing.filters import Order, Quick
from bx24app.services.callbacks.listing.pages import ListRequest, count_quick, list_page
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.roles import Role
from bx24app.services.runtime.slots import Slots
from bx24app.web.api.openapi import operation
from bx24app.web.api.schemas import CallbackSchema, callback_schema, json_response
from bx24app.web.guards import principal_required, read_query
from bx24app.web.moments import UtcMoment
from bx24app.web.presenters.callback_file import callback_lines

blueprint = Blueprint("callback_list", __name__, url_prefix="/api/v1")

MAX_LIMIT = 200
MAX_SEARCH = 64
# Writing a file takes long, and each one holds a thread.
_files = Slots[int](each=1, in_all=2)
FILE_RETRY_SECONDS = 10
_ONE_STATE = "|".join(State)


class CallbackFilterQuery(BaseModel):
    """The filters of callbacks; all that are given must hold."""

    # A misspelt filter must not look like one that everything passes.
    model_config = ConfigDict(extra="forbid")

    state: (
        Annotated[
            str, Field(pattern=rf"^({_ONE_STATE})(,({_ONE_STATE})){{0,10}}$", max_length=200), several_of(tuple(State))
        ]
        | None
    ) = None
    source: Annotated[Source, SPELLED] | None = None
    form_key: Annotated[Identifier, Field(max_length=64)] | None = None
    line_id: Identifier | None = None
    requested_by: Annotated[int, Field(gt=0, lt=2**31)] | None = None
    since: Annotated[UtcMoment | None, Field(alias="from")] = None
    until: Annotated[UtcMoment | None, Field(alias="to")] = None
    q: Annotated[Text, Field(max_length=MAX_SEARCH)] | None = None
    attention: Flag = False
    quick: Annotated[Quick, SPELLED] | None = None
    several_attempts: Flag = False
    order: Annotated[Order, SPELLED] | None = None

    def asked(self) -> AskedFilter:
        """The filter for the use case; raises ``ListRefused``."""
        if self.attention and self.quick not in (None, Quick.ATTENTION):
            raise ListRefused("attention", "two_quick_filters")
        return AskedFilter(
            state=tuple(map(State, self.state.split(","))) if self.state else (),
            source=self.source,
            form_key=self.form_key,
            line_id=self.line_id,
            requested_by=self.requested_by,
            since=self.since,
            until=self.until,
            q=self.q,
            quick=Quick.ATTENTION if self.attention else self.quick or Quick.ALL,
            several_attempts=self.several_attempts,
        )


class CallbackListQuery(CallbackFilterQuery):
    """What ``GET /callbacks`` takes."""

    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = 50
    cursor: Annotated[Text, Field(max_length=300)] | None = None


class CallbackPage(BaseModel):
    """A page of the list.

    ``total`` is exact up to 1,000 where ``total_is_exact``, else there are, or may be, more. ``first`` is the place of
    the first row. ``next_cursor`` is null on the last page. ``searched_to``: the page is not full, because callbacks
    were looked through only up to this time; the cursor goes on.
    """

    callbacks: list[CallbackSchema]
    next_cursor: str | None
    total: int
    total_is_exact: bool
    first: int
    searched_to: datetime | None


class CallbackCounters(BaseModel):
    """How many callbacks each quick filter has for whoever asks; 100 are 100 or more, to be shown as "99+"."""

    attention: int
    today: int
    in_progress: int
    scheduled: int
    not_called_back: int
    mine: int
    all: int


@blueprint.get("/callbacks")
@operation({200: CallbackPage}, query=CallbackListQuery)
@principal_required(Role.VIEWER, lets_keys_in=True)
def show_all(principal: Principal) -> Response:
    """List callbacks by any filters, the newest first where no other order is wanted."""
    query = read_query(CallbackListQuery)
    request = ListRequest(filter_of(principal, query.asked()), query.order, query.cursor, query.limit)
    page = list_page(scope_of(principal), request)
    shown = CallbackPage(
        callbacks=[callback_schema(named.callback) for named in page.callbacks],
        next_cursor=page.next_cursor,
        total=page.total.count,
        total_is_exact=page.total.is_exact,
        first=page.first,
        searched_to=page.searched_to,
    )
    return json_response(shown)


@blueprint.get("/callbacks/counters")
@operation({200: CallbackCounters})
@principal_required(Role.VIEWER)
def show_counters(principal: Principal) -> Response:
    """How many callbacks each quick filter has."""
    return json_response(CallbackCounters.model_validate(count_quick(scope_of(principal), today_of(principal.portal))))


@blueprint.get("/callbacks.csv")
@operation({200: "text/csv"}, query=CallbackFilterQuery, refuses=(RateLimited,))
@principal_required(Role.VIEWER, lets_keys_in=True)
def show_file(principal: Principal) -> Response:
    """The same callbacks, 50,000 at most, as a CSV file that spreadsheets open safely."""
    query = read_query(CallbackFilterQuery)
    request = ListRequest(filter_of(principal, query.asked()), query.order)
    with ExitStack() as stack:
        if not stack.enter_context(_files.hold(principal.portal.id)):
            refusal = RateLimited("list")
            refusal.retry_after = FILE_RETRY_SECONDS
            raise refusal
        lines = callback_lines(exported(scope_of(principal), request), company_zone(principal.portal))
        response = Response(stream_with_context(lines), content_type="text/csv; charset=utf-8")
        response.call_on_close(stack.pop_all().close)
    response.headers["Content-Disposition"] = 'attachment; filename="callbacks.csv"'
    return response
