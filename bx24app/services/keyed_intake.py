"""Taking callback requests of a site's back end, under the key of one of the portal's forms."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from bx24app.errors import DuplicateOpenCallback, IdempotencyKeyReused, RuleRefused, UnknownLine, UnknownVoice
from bx24app.extensions import reading, writing
from bx24app.models import Callback, Source, utcnow
from bx24app.services import admission, callbacks, defence, forms, refusals, texts, waking
from bx24app.services.admission import Admitted
from bx24app.services.callback_lists import whole
from bx24app.services.callbacks import Accepted
from bx24app.services.cases import Case, read_number
from bx24app.services.forms import Open
from bx24app.services.intake import TRIES, Met, keep
from bx24app.services.limits import Bucket
from bx24app.services.texts import one_line
from bx24app.services.website_requests import Request, beside, callback_of, digest_of, page_of


@dataclass(frozen=True)
class Asked:
    """A request as a back end sends it; line, voice and text are those of the form unless given."""

    to_number: str
    line_id: str | None = None
    voice_id: str | None = None
    text: str | None = None
    scheduled_at: datetime | None = None
    name: str = ""
    topic: str = ""
    page: str = ""
    consents: bool = False
    language: str = "en"


def request_callback(form_id: int, asked: Asked, idempotency_key: str | None = None) -> Accepted:
    """Accept a request of a form's key; it is committed when this returns, and a worker is woken.

    Idempotent under one key. Raises a ``RuleRefused``, noted for the portal, ``UnknownLine``, ``UnknownVoice``,
    ``TextInvalid``, ``DuplicateOpenCallback`` (with an id only of the same form), ``IdempotencyKeyReused``.
    """
    request = _read(forms.open_by_id(form_id), asked, idempotency_key)
    earlier = _earlier(request)
    if earlier is not None:
        return earlier
    try:
        return _take(request)
    except RuleRefused as refusal:
        refusals.note(request.case, refusal)
        raise


def _read(opened: Open, asked: Asked, idempotency_key: str | None) -> Request:
    case = Case(
        form=opened.form,
        portal=opened.portal,
        now=utcnow(),
        number=read_number(asked.to_number, opened),
        source=Source.API,
        name=one_line(asked.name),
        topic=one_line(asked.topic),
        consents=asked.consents,
        scheduled_at=asked.scheduled_at,
        key=idempotency_key,
    )
    return Request(
        case=case,
        page=page_of(asked.page),
        language=asked.language,
        digest=digest_of(case, asked.line_id, asked.voice_id, asked.text, asked.page),
        line=_line(opened, asked.line_id),
        voice_id=_voice(opened, asked.voice_id),
        text=None if asked.text is None else texts.checked(asked.text),
    )


def _line(opened: Open, line_id: str | None) -> tuple[str, str] | None:
    """A line of the kept list; no portal is asked on this way."""
    known = opened.portal.lines or {}
    if line_id is None:
        return None
    if line_id not in known or line_id in (opened.portal.foreign_lines or []):
        raise UnknownLine("line_id")
    return line_id, str(known[line_id])


def _voice(opened: Open, voice_id: str | None) -> str | None:
    if voice_id and voice_id not in (opened.portal.voices or {}):
        raise UnknownVoice("voice_id")
    return voice_id or None


def _earlier(request: Request) -> Accepted | None:
    case = request.case
    if case.key is None:
        return None
    with reading() as session:
        query = whole().where(Callback.portal_id == case.portal.id, Callback.idempotency_key == case.key)
        callback = session.scalar(query)
    if callback is not None and callback.request_digest != request.digest:
        raise IdempotencyKeyReused
    return None if callback is None else Accepted(callback, replayed=True)


def _take(request: Request) -> Accepted:
    defence.judge(request.case, has_line=request.line is not None)
    buckets = admission.buckets_of(request.case)
    for _ in range(TRIES):
        try:
            with writing() as session:
                accepted = _store(session, request, buckets)
        except Met:
            continue
        accepted = accepted or _earlier(request)
        if accepted is not None:
            waking.wake()
            return accepted
    raise RuntimeError("requests for one number never stopped meeting")


def _store(session: Session, request: Request, buckets: list[Bucket]) -> Accepted | None:
    case = request.case
    admitted = admission.take(session, case, buckets)
    if admitted == Admitted.REPEATED:
        return None
    if admitted == Admitted.IN_HAND:
        held = select(Callback).where(Callback.portal_id == case.portal.id, Callback.to_number == case.typed.e164)
        callback = session.scalars(held.where(Callback.holds_number)).one()
        raise DuplicateOpenCallback(callback.id if callback.form_id == case.form.id else None)
    callback = callbacks.prepare(callback_of(request))
    keep(session, admitted, callback, beside(request, callback))
    return Accepted(callback)
