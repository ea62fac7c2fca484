"""The list of callbacks as a CSV file: no cell is a formula, and its reader's spreadsheet divides it.

A file has 50,000 lines at most, so what many lines have in common is written once.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo

from babel.numbers import get_decimal_symbol
from flask_babel import get_locale
from flask_babel import gettext as _

from bx24app.messages.states import StateFacts, state_label
from bx24app.models import State
from bx24app.services.callbacks.listing.export import ExportedAttempt, ExportedBatch, ExportedCallback
from bx24app.web.csv_files import BYTE_ORDER_MARK, csv_line, csv_lines, safe_text
from bx24app.web.presenters.callbacks import detail_words, name_of

# Texts that come again and again.
_REMEMBERED = 2048


def callback_lines(batches: Iterable[ExportedBatch], zone: str) -> Iterator[str]:
    """Write callbacks as lines, with their times in the company's ``zone`` and in UTC, in the reader's language.

    Where its numbers have a decimal comma, semicolons are between the cells.
    """
    written = _Lines(ZoneInfo(zone), get_decimal_symbol(get_locale() or "en"))
    yield BYTE_ORDER_MARK + csv_line(_heading(zone))
    for batch in batches:
        yield csv_lines(written.cells(batch, callback) for callback in batch.callbacks)


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


class _Lines:
    """Writes callbacks for one file, in one language."""

    def __init__(self, zone: ZoneInfo, decimal: str) -> None:
        self._zone, self._decimal = zone, decimal
        remember = lru_cache(_REMEMBERED)
        self._text = remember(safe_text)
        self._stranger = remember(_stranger)
        self._label = remember(_label)
        self._detail = remember(_detail)

    def cells(self, batch: ExportedBatch, callback: ExportedCallback) -> list[str]:
        """One line."""
        attempts = batch.attempts.get(callback.id, [])
        last = attempts[-1] if attempts else None
        planned_for = callback.due_at if callback.state == State.SCHEDULED else callback.scheduled_at
        costs = self._costs(attempts)
        return [
            f"{callback.created_at.astimezone(self._zone):%Y-%m-%d %H:%M:%S}",
            _utc(callback.created_at),
            safe_text(callback.customer_name or ""),
            safe_text(callback.to_number),
            self._label(callback.state, callback.reason, callback.line_name),
            self._detail(callback.reason, callback.words, callback.asks_since is not None),
            callback.source,
            self._text(batch.forms.get(callback.form_id or 0, "")),
            self._person(batch.names, callback.requested_by),
            self._person(batch.names, last.answered_by if last else None),
            self._text(callback.line_name),
            _utc(planned_for),
            _utc(callback.ended_at),
            str(len(attempts)),
            "" if last is None or last.duration_seconds is None else str(last.duration_seconds),
            " + ".join(costs.values()),
            " + ".join(map(self._text, costs)),
            str(callback.id),
        ]

    def _person(self, names: dict[int, str], user_id: int | None) -> str:
        if user_id is None:
            return ""
        return self._text(names[user_id]) if user_id in names else self._stranger(user_id)

    def _costs(self, attempts: list[ExportedAttempt]) -> dict[str, str]:
        """What all attempts have cost, by currency; a cost that the portal has not told yet is left out."""
        sums: dict[str, Decimal] = {}
        for one in attempts:
            if one.cost:
                sums[one.cost_currency or ""] = sums.get(one.cost_currency or "", Decimal()) + one.cost
        return {name: f"{cost:.2f}".replace(".", self._decimal) for name, cost in sums.items()}


def _stranger(user_id: int) -> str:
    return safe_text(name_of({}, user_id) or "")


def _label(state: str, reason: str | None, line_name: str) -> str:
    return safe_text(state_label(StateFacts(state, reason, line_name)))


def _detail(reason: str | None, words: str | None, asks: bool) -> str:
    return safe_text(detail_words(reason, words, asks=asks) or "")


def _utc(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if moment else ""
