"""Following up callbacks: who is told that one has ended in vain, which to-dos are made, and which are done."""

from datetime import datetime, timedelta

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from bx24app.database import insert_new, reading, writing
from bx24app.models import RETRIABLE, Callback, CallbackNews, Portal, Source, State, ToDo, utcnow
from bx24app.services.native.follow_up.choices import NoticeEvent
from bx24app.services.native.follow_up.notices import Notice, callback_tag, tell, withdraw
from bx24app.services.native.follow_up.recipients import read_recipients, usual_person
from bx24app.services.runtime.apart import apart

# In one run, and in one transaction: while it is open others wait for these rows, on SQLite for all of them.
FOLLOWED_AT_ONCE, FOLLOWED_TOGETHER = 200, 10
# So many requests of a customer who was reached are done with it, the newest ones.
DONE_WITH_IT = 50
# So many requests of a number, the newest, tell whether its customer was reached meanwhile.
LOOKED_FOR_REACHED = 200
# Nobody of the company in particular asked for these, so nobody waits for their end.
_OF_THE_TEAM = frozenset({Source.WEBSITE, Source.API, Source.ROBOT})
# The customer is not to be called, or was called on another way.
_NOBODY_CALLS = frozenset({"do_not_call", "already_served"})
HANDED_OVER = "handed_over"
# A line that redials by itself rings the customer again: nobody has to call meanwhile.
REDIALS_TAKE = timedelta(hours=1)


def oldest_news(_: datetime) -> Select[int]:
    """Select the oldest news of callbacks that nobody has followed up."""
    return select(CallbackNews.id).order_by(CallbackNews.id).limit(FOLLOWED_AT_ONCE)


def follow_up_ended() -> int:
    """Do what follows the news of callbacks, oldest first; returns how many there were. The database alone. Commits."""
    with reading() as session:
        ids = session.scalars(oldest_news(utcnow())).all()
    for begin in range(0, len(ids), FOLLOWED_TOGETHER):
        few = ids[begin : begin + FOLLOWED_TOGETHER]
        with writing() as session:
            locked = select(CallbackNews).where(CallbackNews.id.in_(few)).order_by(CallbackNews.id)
            for news in session.scalars(locked.with_for_update(skip_locked=True)).all():
                with apart("follow_up", news.id), session.begin_nested():
                    _follow_up(session, news)
                session.delete(news)
    return len(ids)


def _follow_up(session: Session, news: CallbackNews) -> None:
    callback, portal = session.get(Callback, news.callback_id), session.get(Portal, news.portal_id)
    if callback is None or portal is None:
        return
    if callback.state == State.COMPLETED:
        # The app that got the request tells nobody what came of it.
        if callback.reason != HANDED_OVER:
            _settle(session, callback)
    elif _needs_somebody(callback) and not _was_reached(session, callback):
        if callback.source in _OF_THE_TEAM:
            _want_to_do(session, portal, callback)
        event = NoticeEvent.MISSED if callback.state in RETRIABLE else NoticeEvent.PERSON
        people = read_recipients(session, portal, event, usual_person(session, callback))
        tell(session, portal, people, Notice(event, callback_tag(callback.id), callback.id))


def _needs_somebody(callback: Callback) -> bool:
    """Nothing follows by itself: it has ended in vain, or only a person can tell how."""
    has_failed = callback.state in RETRIABLE and callback.reason not in _NOBODY_CALLS
    return has_failed or (callback.state == State.UNKNOWN and callback.asks_since is not None)


def _was_reached(session: Session, callback: Callback) -> bool:
    """Another call has reached the customer before anybody came to follow this one up."""
    of_number = (Callback.portal_id == callback.portal_id, Callback.to_number == callback.to_number)
    newest = select(Callback.id).where(*of_number).order_by(Callback.id.desc()).limit(LOOKED_FOR_REACHED).subquery()
    reached = select(Callback.id).where(
        Callback.id.in_(select(newest.c.id)),
        Callback.id != callback.id,
        Callback.state == State.COMPLETED,
        Callback.reason.is_distinct_from(HANDED_OVER),
        Callback.ended_at >= callback.updated_at,
    )
    return session.scalar(reached.limit(1)) is not None


def _want_to_do(session: Session, portal: Portal, callback: Callback) -> None:
    now = utcnow()
    is_redialled = callback.state == State.MISSED and portal.redials(callback.line_id)
    due_at = now + REDIALS_TAKE if is_redialled else now
    row = ToDo(portal_id=portal.id, callback_id=callback.id, asks=0, tries=0, made_at=now, due_at=due_at)
    insert_new(session, [row], ToDo.id)


def _settle(session: Session, callback: Callback) -> None:
    """The customer was reached: whatever was wanted of somebody for this number is done."""
    now = utcnow()
    theirs = (
        select(Callback.id)
        .where(Callback.portal_id == callback.portal_id, Callback.to_number == callback.to_number)
        .order_by(Callback.id.desc())
        .limit(DONE_WITH_IT)
    )
    wanted = select(ToDo).where(
        ToDo.portal_id == callback.portal_id, ToDo.callback_id.in_(theirs), ToDo.ended_at.is_(None)
    )
    for to_do in session.scalars(wanted.with_for_update()):
        to_do.settle(now)
    withdraw(session, callback.portal_id, theirs)
