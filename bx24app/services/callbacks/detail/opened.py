"""Everything that the view of one callback shows, read in one transaction; Bitrix24 is asked nothing."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from bx24app.database import reading
from bx24app.models import Callback, Form, WebsiteRequest
from bx24app.services.callbacks.detail.recording import has_conversation
from bx24app.services.callbacks.detail.timeline import Timeline, timeline_of
from bx24app.services.callbacks.listing.asked import scope_of
from bx24app.services.callbacks.listing.matching import boundaries
from bx24app.services.callbacks.listing.neighbours import Neighbours, read_neighbours
from bx24app.services.callbacks.listing.shown import ListChoice, read_wanted
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.queries import NamedCallback, name_callbacks, read_shown, with_history
from bx24app.services.callbacks.retry_policy import PlannedCall, planned_call
from bx24app.services.security import signing

OTHERS_SHOWN = 10


@dataclass(frozen=True)
class OpenedCallback:
    """One callback with its story and what belongs to it.

    ``request`` and ``form`` are those of a website, and the form also of an API key. ``others`` are callbacks to the
    same number that the reader may see, the newest first, and ``has_more_others`` that there are more.
    """

    named: NamedCallback
    timeline: Timeline
    planned: PlannedCall | None
    request: WebsiteRequest | None
    form: Form | None
    others: list[Callback]
    has_more_others: bool
    neighbours: Neighbours | None = None

    @property
    def callback(self) -> Callback:
        """The callback itself."""
        return self.named.callback

    @property
    def customer_link(self) -> str | None:
        """With which the customer sees, moves and cancels the request; None where nobody was given one."""
        return signing.status_url(self.callback.id) if self.request else None

    @property
    def has_conversation(self) -> bool:
        """Tell whether there can be something to hear."""
        return any(map(has_conversation, self.callback.attempts))

    @property
    def version(self) -> str:
        """Changes with whatever is shown of the callback itself."""
        callback, request = self.callback, self.request
        crm = (callback.crm_entity_type, callback.crm_entity_id, request.crm_state if request else None)
        kept = request.address if request else None
        return repr(
            (callback.version, len(callback.decisions), crm, kept is None, [one.version for one in self.others])
        )


def open_callback(principal: Principal, callback_id: UUID, around: ListChoice | None = None) -> OpenedCallback:
    """Read a callback for its view; raises ``NotFound`` for one that the reader may not see.

    With ``around`` also its neighbours in that list; raises ``ListRefused`` for a list that there cannot be.
    """
    with reading() as session:
        callback = read_shown(session, principal, callback_id)
        others = _others(session, principal, callback)
        return OpenedCallback(
            named=name_callbacks(session, principal.portal.id, [callback])[0],
            timeline=timeline_of(callback),
            planned=planned_call(session, principal.portal, callback),
            request=session.scalar(select(WebsiteRequest).where(WebsiteRequest.callback_id == callback.id)),
            form=session.get(Form, callback.form_id) if callback.form_id else None,
            others=others[:OTHERS_SHOWN],
            has_more_others=len(others) > OTHERS_SHOWN,
            neighbours=_neighbours(session, principal, around, callback) if around else None,
        )


def _neighbours(session: Session, principal: Principal, around: ListChoice, callback: Callback) -> Neighbours:
    wanted = read_wanted(session, principal, around)
    return read_neighbours(session, scope_of(principal), wanted, around.order, callback)


def _others(session: Session, principal: Principal, callback: Callback) -> list[Callback]:
    same = (Callback.to_number == callback.to_number, Callback.id != callback.id)
    found = with_history().where(*boundaries(scope_of(principal)), *same)
    return list(session.scalars(found.order_by(Callback.id.desc()).limit(OTHERS_SHOWN + 1)))
