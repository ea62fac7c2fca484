"""What the page's list is asked for: filters as the API has them, periods by their names, and how the page shows it."""

from datetime import date
from typing import Annotated
from urllib.parse import urlencode

from pydantic import Field

from bx24app.inputs import SPELLED, Text
from bx24app.services.callbacks.listing.filters import Quick
from bx24app.services.callbacks.listing.periods import ChosenDays, ListPeriod
from bx24app.services.callbacks.listing.shown import ListChoice
from bx24app.web.api.listing.callback_list import CallbackFilterQuery
from bx24app.web.api.me import DeskBody, KeptFilter
from bx24app.web.moments import UtcMoment, iso

# What says how the list is shown, and not what is in it.
_SHOWING = frozenset({"limit", "cursor", "columns", "seen_at", "whole"})
SIZES = (25, 50, 100)


class ShownQuery(CallbackFilterQuery):
    """The address of the list of a page."""

    period: Annotated[ListPeriod, SPELLED] | None = None
    first: date | None = None
    last: date | None = None
    limit: Annotated[int, Field(ge=25, le=100, multiple_of=25)] | None = None
    cursor: Annotated[Text, Field(max_length=300)] | None = None
    columns: Annotated[str, Field(pattern=r"^[a-z_]{1,32}(,[a-z_]{1,32}){0,19}$")] | None = None
    seen_at: UtcMoment | None = None
    whole: Annotated[bool, SPELLED] = False

    @property
    def is_filtered(self) -> bool:
        """Tell whether it says what is in the list."""
        return bool(self.model_fields_set - _SHOWING)

    def with_kept(self, desk: DeskBody) -> "ShownQuery":
        """The query with what its person chose before, where it says nothing itself."""
        shown = {"limit": desk.page_size, "columns": ",".join(desk.columns) or None}
        filters = {} if self.is_filtered else kept_values(desk.filters)
        own = {self._alias(name): getattr(self, name) for name in self.model_fields_set}
        return ShownQuery.model_validate({**shown, **filters, **own})

    @classmethod
    def _alias(cls, name: str) -> str:
        return cls.model_fields[name].alias or name

    def choice(self) -> ListChoice:
        """What to list, for the use case; without any filter what concerns today."""
        asked = self.asked()
        if self.quick is None and not self.attention and not self.is_filtered:
            asked = ListChoice().asked
        days = ChosenDays(self.period or ListPeriod.ALL, self.first, self.last) if self.period else ChosenDays()
        return ListChoice(asked, days, self.order, self.cursor, self.limit or SIZES[0], self.seen_at, self.whole)

    @property
    def filters(self) -> dict[str, str]:
        """What is set of the filters, as an address has it."""
        found = {"quick": Quick.ATTENTION if self.attention else self.quick or self._first_quick}
        names = self.model_fields_set - _SHOWING - {"quick", "attention"}
        found |= {self._alias(name): getattr(self, name) for name in sorted(names)}
        return {name: _written(value) for name, value in found.items() if value not in (None, False, "")}

    @property
    def _first_quick(self) -> Quick:
        return Quick.ALL if self.is_filtered else Quick.TODAY

    def address(self, **changed: object) -> str:
        """The filters with some of them changed, None for one that goes; other pages are not in it."""
        wanted = {**self.filters, **changed}
        return urlencode({name: _written(value) for name, value in wanted.items() if value is not None})


def _written(value: object) -> str:
    if hasattr(value, "tzinfo") and getattr(value, "tzinfo", None):
        return iso(value)  # type: ignore[arg-type]  # Only moments have a zone.
    return "1" if value is True else str(value)


def kept_values(kept: KeptFilter) -> dict[str, object]:
    """What a kept filter means as a query; days of one's own are not kept, so that period is none."""
    values = {name: value for name, value in kept.model_dump(mode="json").items() if value}
    if states := values.pop("state", None):
        values["state"] = ",".join(states)
    if values.get("period") == ListPeriod.BETWEEN:
        del values["period"]
    return values
