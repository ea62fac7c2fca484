"""The panel that filters the list of callbacks, and the filters that people have named."""

from collections.abc import Sequence
from dataclasses import dataclass

from bx24app.messages.reports import source_label
from bx24app.models import SavedFilter, Source, State
from bx24app.services.callbacks.listing.shown import NamedForm
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.roles import Role
from bx24app.web.api.listing.list_query import ShownQuery, kept_values
from bx24app.web.api.me import KeptFilter
from bx24app.web.presenters.listing.list_chips import period_choices, state_word

Options = list[tuple[str, str]]


@dataclass(frozen=True)
class NamedFilter:
    """A filter under a name: its address, and whether its reader may remove it."""

    id: int
    name: str
    query: str
    is_shared: bool
    may_remove: bool


@dataclass(frozen=True)
class FilterPanel:
    """What can be chosen; the first choice of each list is everything."""

    states: Options
    periods: Options
    sources: Options
    forms: Options
    lines: Options
    people: Options
    saved: list[NamedFilter]
    may_share: bool


def filter_panel(
    principal: Principal,
    forms: Sequence[NamedForm],
    people: Sequence[tuple[int, str]],
    saved: Sequence[SavedFilter],
) -> FilterPanel:
    """What the panel offers to whoever asks."""
    manages = principal.role is Role.ADMINISTRATOR
    return FilterPanel(
        states=[(state.value, state_word(state)) for state in State],
        periods=period_choices(),
        sources=[(source.value, source_label(source)) for source in Source],
        forms=[(form.key, form.name) for form in forms],
        lines=[(id, principal.portal.line_name(id)) for id in principal.portal.lines],
        people=[(str(id), name) for id, name in people],
        saved=[_named(one, principal, manages=manages) for one in saved],
        may_share=manages,
    )


def _named(kept: SavedFilter, principal: Principal, *, manages: bool) -> NamedFilter:
    query = ShownQuery.model_validate(kept_values(KeptFilter.read(kept.wanted)))
    is_own = kept.owner_id == principal.row_id
    return NamedFilter(kept.id, kept.name, query.address(), kept.is_shared, is_own or (manages and kept.is_shared))
