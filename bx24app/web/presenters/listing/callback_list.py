"""What the list of callbacks shows: quick filters, chips, rows with their columns, and where its pages lead."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from flask_babel import get_locale, ngettext, pgettext
from flask_babel import gettext as _

from bx24app.i18n import N_
from bx24app.models import Portal, utcnow
from bx24app.services.callbacks.listing.counters import MOST_COUNTED
from bx24app.services.callbacks.listing.filters import Order, Quick
from bx24app.services.callbacks.listing.pages import COUNTED_TO
from bx24app.services.callbacks.listing.periods import ListPeriod
from bx24app.services.callbacks.listing.shown import ListChoice, ShownList
from bx24app.web.api.listing.list_query import SIZES, ShownQuery
from bx24app.web.moments import iso
from bx24app.web.presenters.listing.list_chips import Chip, chips_of
from bx24app.web.presenters.listing.list_rows import ListRow, list_row

_QUICK = {
    Quick.ATTENTION: N_("Needs a person"),
    Quick.TODAY: N_("Today"),
    Quick.IN_PROGRESS: N_("In progress"),
    Quick.NOT_CALLED_BACK: N_("Not called back"),
    Quick.MINE: N_("Mine"),
    Quick.ALL: N_("All"),
}
_LIST_COLUMNS = {
    "customer": N_("Customer"),
    "state": N_("State"),
    "requested": N_("Requested"),
    "from": N_("From"),
    "person": N_("Person"),
    "talk": N_("Talk"),
    "line": N_("Line"),
    "attempts": N_("Attempts"),
    "cost": N_("Cost"),
    "wait": N_("Time to callback"),
    "card": N_("CRM card"),
    "page": N_("Page"),
}
# Line and attempts stand only where there is room for them.
FIRST_COLUMNS = ("customer", "state", "requested", "from", "person", "talk", "line", "attempts")
FIXED_COLUMNS = ("customer", "state")
# So many of a customer's callbacks a card shows at first.
LATEST_OF_CARD = 5


@dataclass(frozen=True)
class QuickFilter:
    """A filter of one press: its count as it is shown, and its address."""

    name: str
    label: str
    count: str
    query: str
    is_current: bool


@dataclass(frozen=True)
class ListView:
    """The list of a page. ``etag`` changes with anything that it shows; ``empty`` says why there is no row.

    ``turned`` is the list by the time of the requests, the other way round if it is so already; ``due`` by the calls.
    """

    rows: list[ListRow]
    quick: list[QuickFilter]
    chips: list[Chip]
    columns: list[tuple[str, str, bool]]
    query: str
    showing: str
    etag: str
    searched: str
    operates: bool
    range_words: str
    next_cursor: str | None
    is_first_page: bool
    limit: int
    order: str
    turned: str
    due: str | None
    newer: str
    searched_to: datetime | None
    empty: str
    attention: str
    widened: str
    file_query: str
    # The way to what a card lists beside the latest; "" where there is nothing more.
    whole: str = ""

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many rows a page may have."""
        return SIZES


def count_words(count: int) -> str:
    """A counter; more than 99 are not counted."""
    return f"{MOST_COUNTED - 1}+" if count >= MOST_COUNTED else str(count)


def list_view(shown: ShownList, query: ShownQuery, portal: Portal, *, operates: bool) -> ListView:
    """What the list shows; ``operates``: with what its reader may do."""
    choice = query.choice()
    listed = shown.callbacks if shown.counts or choice.is_whole else shown.callbacks[:LATEST_OF_CARD]
    rows = [list_row(named, shown, operates=operates) for named in listed]
    turned = Order.OLDEST if shown.order is Order.NEWEST else Order.NEWEST
    seen_at = query.seen_at if query.seen_at and shown.newer else utcnow()
    chosen = tuple((query.columns or "").split(",")) if query.columns else FIRST_COLUMNS
    wide = query.address(period=ListPeriod.ALL) if query.q and choice.days.name is not ListPeriod.ALL else ""
    return ListView(
        rows=rows,
        quick=[_quick(quick, shown, choice, query) for quick in Quick] if shown.counts else [],
        chips=list(chips_of(query, choice, shown, portal)),
        columns=[
            (name, str(_(label)), name in chosen or name in FIXED_COLUMNS) for name, label in _LIST_COLUMNS.items()
        ],
        query=query.address(),
        showing=_showing(query, choice, seen_at),
        etag=version_of_view(query, operates=operates) + shown.mark,
        searched=query.q or "",
        operates=operates,
        range_words=_range(shown),
        next_cursor=shown.page.next_cursor,
        is_first_page=shown.page.first == 1,
        limit=choice.limit,
        order=shown.order,
        turned=query.address(order=turned),
        due=query.address(order=Order.DUE) if shown.is_planned else None,
        newer=_newer(shown),
        searched_to=shown.page.searched_to,
        empty=_empty(shown, choice, query) if not rows else "",
        attention=count_words(shown.counts.get(Quick.ATTENTION, 0)),
        widened=wide,
        file_query=_file_query(shown, query, choice),
        whole=_whole(shown) if len(listed) < len(shown.callbacks) else "",
    )


def _whole(shown: ShownList) -> str:
    """What is behind the latest callbacks of a card."""
    count = len(shown.callbacks)
    if shown.page.total.is_exact:
        return str(_("Show all %(count)s", count=count))
    return str(_("Show the latest %(count)s", count=count))


def _showing(query: ShownQuery, choice: ListChoice, seen_at: datetime) -> str:
    """What the page sends beside the filters to get the same again."""
    parts = [f"limit={choice.limit}", f"seen_at={iso(seen_at)}"]
    parts += [f"columns={query.columns}"] if query.columns else []
    parts += ["whole=1"] if query.whole else []
    parts += [f"cursor={query.cursor}"] if query.cursor else []
    return "&".join(parts)


def version_of_view(query: ShownQuery, *, operates: bool) -> str:
    """How a list is shown, whatever it has; with the list's ``mark`` behind it, it is the ``ETag``."""
    seen = (str(get_locale()), operates, query.columns, query.whole)
    return hashlib.sha256(repr(seen).encode()).hexdigest()[:8]


def _file_query(shown: ShownList, query: ShownQuery, choice: ListChoice) -> str:
    """The same filters in the words of the API, whose periods are moments."""
    since, until = choice.effective_days.moments(shown.zone)
    moments = {"from": since or query.since, "to": until or query.until}
    return query.address(period=None, first=None, last=None, **moments)


def _range(shown: ShownList) -> str:
    total, count = shown.page.total, len(shown.callbacks)
    of = str(total.count) if total.is_exact else f"{min(max(total.count, count), COUNTED_TO):,}+"
    if not count:
        return ""
    last = shown.page.first + count - 1
    return str(_("%(first)s–%(last)s of %(total)s", first=shown.page.first, last=last, total=of))


def _newer(shown: ShownList) -> str:
    return str(ngettext("%(num)s new callback:", "%(num)s new callbacks:", shown.newer)) if shown.newer else ""


def _quick(quick: Quick, shown: ShownList, choice: ListChoice, query: ShownQuery) -> QuickFilter:
    count = "" if quick is Quick.ALL else count_words(shown.counts[quick])
    address = query.address(quick=quick, order=None)
    # In other languages the filter is plural, and the state is not.
    label = _(_QUICK[quick]) if quick in _QUICK else pgettext("quick filter", "Scheduled")
    return QuickFilter(quick, str(label), count, address, choice.asked.quick is quick)


def optional_columns() -> list[tuple[str, str]]:
    """The columns to choose among."""
    return [(name, str(_(label))) for name, label in _LIST_COLUMNS.items() if name not in FIXED_COLUMNS]


def _empty(shown: ShownList, choice: ListChoice, query: ShownQuery) -> str:
    """Why there is nothing: there never was anything, nobody has to decide anything, a quiet day, or the filters."""
    if not shown.counts.get(Quick.ALL):
        return "first"
    if shown.page.first != 1 or set(query.filters) - {"quick"}:
        return "filtered"
    return {Quick.ATTENTION: "clear", Quick.TODAY: "today"}.get(choice.asked.quick, "filtered")
