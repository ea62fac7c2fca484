"""The list of callbacks as a CSV file, line by line: no cell is a formula, and its reader's spreadsheet divides it."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from babel.numbers import get_decimal_symbol
from flask_babel import get_locale
from flask_babel import gettext as _

from bx24app.messages.states import StateFacts, state_label
from bx24app.models import Callback
from bx24app.services.callbacks.listing.export import ExportedCallback
from bx24app.web.csv_files import BYTE_ORDER_MARK, csv_line
from bx24app.web.moments import iso
from bx24app.web.presenters.callbacks import callback_row, planned_for


def callback_lines(rows: Iterable[ExportedCallback], zone: str) -> Iterator[str]:
    """Write each callback as a line, with its times in the company's ``zone`` and in UTC, in the reader's language.

    Where its numbers have a decimal comma, semicolons are between the cells.
    """
    decimal = get_decimal_symbol(get_locale() or "en")
    yield BYTE_ORDER_MARK + csv_line(_heading(zone))
    for row in rows:
        yield csv_line(_cells(row, ZoneInfo(zone), decimal))


def _heading(zone: str) -> list[str]:
    return [
        _("Asked for (%(zone)s)", zone=zone),
        _("Asked for (UTC)"),
        _("Customer"),
        _("Phone number"),
        _("State"),
        _("Reason"),
        _("Source"),
        _("Website form"),
        _("Asked by"),
        _("Answered by"),
        _("Line"),
        _("Planned for (UTC)"),
        _("Ended (UTC)"),
        _("Attempts"),
        _("Talk, seconds"),
        _("Cost"),
        _("Currency"),
        "id",
    ]


def _cells(exported: ExportedCallback, zone: ZoneInfo, decimal: str) -> list[str]:
    callback = exported.named.callback
    row = callback_row(exported.named, operates=False)
    costs = _costs(callback, decimal)
    return [
        f"{callback.created_at.astimezone(zone):%Y-%m-%d %H:%M:%S}",
        _utc(callback.created_at),
        callback.customer_name or "",
        callback.to_number,
        state_label(StateFacts(callback.state, callback.reason, callback.line_name)),
        row.detail or "",
        callback.source,
        exported.form_name or "",
        row.requested_by or "",
        row.answered_by or "",
        callback.line_name,
        _utc(planned_for(callback)),
        _utc(callback.ended_at),
        str(len(callback.attempts)),
        "" if row.duration_seconds is None else str(row.duration_seconds),
        " + ".join(costs.values()),
        " + ".join(costs),
        str(callback.id),
    ]


def _utc(moment: datetime | None) -> str:
    return iso(moment.astimezone(UTC).replace(microsecond=0)) if moment else ""


def _costs(callback: Callback, decimal: str) -> dict[str, str]:
    """What all attempts have cost, by currency; a cost that the portal has not told yet is left out."""
    currencies = dict.fromkeys(one.cost_currency or "" for one in callback.attempts if one.cost)
    sums = {
        name: sum(one.cost or 0 for one in callback.attempts if (one.cost_currency or "") == name)
        for name in currencies
    }
    return {name: f"{cost:.2f}".replace(".", decimal) for name, cost in sums.items()}
