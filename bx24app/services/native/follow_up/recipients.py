"""Who is told of something: whom administrators have chosen, else the form's person, whoever asked, or they."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from bx24app.models import Callback, Form, NotifiedPerson, Portal, User
from bx24app.services.native.follow_up.choices import FOR_ADMINISTRATORS, NoticeEvent, NotificationChoices
from bx24app.services.portals.tokens import read_serving_administrators

# Of administrators who do not serve the portal, whoever opened the app last.
MAX_OTHERS = 5


def read_recipients(session: Session, portal: Portal, event: NoticeEvent, usual: int | None = None) -> list[int]:
    """The numbers of the people who are told, inside the caller's transaction; nobody who has muted the app.

    ``usual``: the form's person, or whoever asked for the callback.
    """
    told = NotificationChoices.of(portal).told(event)
    if told.to == "nobody":
        return []
    if told.to == "people":
        wanted = told.chosen
    elif told.to == "administrators" or event in FOR_ADMINISTRATORS:
        wanted = _administrators(session, portal.id)
    else:
        wanted = [usual] if usual is not None else []
    muted = select(NotifiedPerson.user_id).where(
        NotifiedPerson.portal_id == portal.id, NotifiedPerson.user_id.in_(wanted), NotifiedPerson.is_muted
    )
    silent = set(session.scalars(muted))
    return [user_id for user_id in dict.fromkeys(wanted) if user_id not in silent]


def _administrators(session: Session, portal_id: int) -> list[int]:
    """Those under whose access the portal is served or who stand by; where there are none, those whom we have seen."""
    serving = read_serving_administrators(session, portal_id)
    if serving:
        return serving
    known = select(User.user_id).where(User.portal_id == portal_id, User.is_administrator)
    return list(session.scalars(known.order_by(User.seen_at.desc()).limit(MAX_OTHERS)))


def usual_person(session: Session, callback: Callback) -> int | None:
    """The person of a callback's form, or whoever asked for it; None: nobody in particular."""
    form = session.get(Form, callback.form_id) if callback.form_id is not None else None
    return form.person if form is not None else callback.requested_by
