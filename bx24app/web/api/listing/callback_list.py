"""``GET /api/v1/callbacks``: the list by any filters, its counters, and the same as a file."""

from contextlib import ExitStack
from datetime import datetime
from typing import Annotated
from uuid import UUID

from flask import Blueprint, Response, stream_with_context
from pydantic import BaseModel, ConfigDict, Field

from bx24app.errors import ListRefused, RateLimited
from bx24app.inputs import SPELLED, Flag, Identifier, Text, several_of
from bx24app.models import CallbackOutcome, Source, State
from bx24app.services.callbacks.listing.asked import AskedFilter, filter_of, scope_of
from bx24app.services.callbacks.listing.company_day import company_zone, today_of
from bx24app.services.callbacks.listing.counters import count_quick
from bx24app.services.callbacks.listing.export import exported, file_slot, in_turns
from bx24app.services.callbacks.listing.filters import Order, Quick
from bx24app.services.callbacks.listing.pages import ListRequest, list_page
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.roles import Role
from bx24app.web.api.openapi import operation
from bx24app.web.api.schemas import CallbackSchema, callback_schema, json_response
from bx24app.web.guards import principal_required, read_query
from bx24app.web.moments import UtcMoment
from bx24app.web.presenters.listing.callback_file import callback_lines

blueprint = Blueprint("callback_list", __name__, url_prefix="/api/v1")

MAX_LIMIT = 200
MAX_SEARCH = 64
# As many as a page has at most.
MAX_IDS = 100
_ONE_ID = "[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}"
_ONE_STATE = "|".join(State)
_ONE_OUTCOME = "|".join(CallbackOutcome)
# These fields are asked for in the same words.
_SAME_WORDS = ("called", "picked_up", "wait_from", "wait_below", "person", "weekday", "hour")


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
    # What the reports have counted it as, a few seconds ago.
    outcome: (
        Annotated[
            str,
            Field(pattern=rf"^({_ONE_OUTCOME})(,({_ONE_OUTCOME})){{0,7}}$", max_length=200),
            several_of(tuple(CallbackOutcome)),
        ]
        | None
    ) = None
    called: Flag | None = None
    picked_up: Flag | None = None
    wait_from: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    wait_below: Annotated[int, Field(gt=0, lt=2**31)] | None = None
    person: Annotated[int, Field(gt=0, lt=2**31)] | None = None
    weekday: Annotated[int, Field(ge=1, le=7)] | None = None
    hour: Annotated[int, Field(ge=0, le=23)] | None = None
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
            outcome=tuple(map(CallbackOutcome, self.outcome.split(","))) if self.outcome else (),
            **{name: getattr(self, name) for name in _SAME_WORDS},
        )


class CallbackListQuery(CallbackFilterQuery):
    """What ``GET /callbacks`` takes."""

    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = 50
    cursor: Annotated[Text, Field(max_length=300)] | None = None


class CallbackFileQuery(CallbackFilterQuery):
    """What ``GET /callbacks.csv`` takes: the filters, or ``ids`` of callbacks, 100 at most, in the file's order."""

    ids: (
        Annotated[str, Field(pattern=rf"^{_ONE_ID}(,{_ONE_ID}){{0,{MAX_IDS - 1}}}$", max_length=37 * MAX_IDS)] | None
    ) = None

    @property
    def chosen(self) -> tuple[UUID, ...]:
        """The callbacks that are named, each once; raises ``ListRefused`` where filters are set, too."""
        if self.ids is None:
            return ()
        if len(self.model_fields_set) > 1:
            raise ListRefused("ids", "ids_and_filters")
        return tuple(dict.fromkeys(map(UUID, self.ids.split(","))))


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
@operation({200: "text/csv"}, query=CallbackFileQuery, refuses=(RateLimited,))
@principal_required(Role.VIEWER, lets_keys_in=True)
def show_file(principal: Principal) -> Response:
    """The same callbacks, 50,000 at most, or chosen ones, as a CSV file that spreadsheets open safely."""
    query = read_query(CallbackFileQuery)
    request, ids = ListRequest(filter_of(principal, query.asked()), query.order), query.chosen
    with ExitStack() as stack:
        stack.enter_context(file_slot(principal.portal.id))
        batches = exported(scope_of(principal), request, ids)
        lines = in_turns(callback_lines(batches, company_zone(principal.portal)))
        response = Response(stream_with_context(lines), content_type="text/csv; charset=utf-8")
        response.call_on_close(stack.pop_all().close)
    response.headers["Content-Disposition"] = 'attachment; filename="callbacks.csv"'
    return response
