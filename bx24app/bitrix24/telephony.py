"""Lines, voices, the call history, and the one method that dials (docs: api-reference/telephony/voximplant)."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from bx24app.bitrix24.answers import Json, as_object
from bx24app.bitrix24.client import BatchAnswer, PortalClient
from bx24app.bitrix24.crm import BatchCommands, read_id
from bx24app.errors import Retry
from bx24app.outgoing.errors import UnreadableAnswer

CALLBACK = 4
SUCCESS = "200"
HISTORY_PAGE = 50
MAX_ENTRIES = 500
MAX_ENTRY_NAME = 255
# Far more than any currency has; a longer one would be kept digit by digit.
MAX_COST_DIGITS = 24
MAX_RECORD_URL = 2000
# Parameters that carry an access token: such an address is worth as much as the token.
_TOKENS = frozenset({"auth", "access_token", "auth_id", "sessid"})
# Calls that are looked for in one request.
MAX_CALLS = 10
# A speech engine may take these for markup (SSML) or the begin of an entity. "Smith & Sons" is spoken with a plus.
_MARKUP = str.maketrans({"<": " ", ">": " ", "&": "+"})


@dataclass(frozen=True)
class StartedCall:
    """The portal accepted the callback; ``call_id`` is None when it handed the callback over to another telephony app.

    ``operating_reset_at`` is when the platform resets its count of the method's operating time; None if it did not say.
    """

    call_id: str | None
    operating_reset_at: datetime | None = None


def _names(value: Json) -> dict[str, str]:
    """Read at most ``MAX_ENTRIES`` names by id; entries with an id too long to store with a callback are left out."""
    named = ((str(key), str(name)[:MAX_ENTRY_NAME]) for key, name in as_object(value).items())
    return dict(islice((pair for pair in named if len(pair[0]) <= MAX_ENTRY_NAME), MAX_ENTRIES))


def get_lines(client: PortalClient) -> dict[str, str]:
    """Read the portal's lines (id -> name). The user needs the right to modify numbers. Raises ``ExchangeError``."""
    return _names(client.invoke("voximplant.line.get"))


def get_voices(client: PortalClient) -> dict[str, str]:
    """Read the voices (id -> name). Raises ``ExchangeError``."""
    return _names(client.invoke("voximplant.tts.voices.get"))


def speakable(text: str) -> str:
    """Make of a text what is spoken: one line without markup and invisible characters, and not longer than it was.

    Whatever wrote it, a person, a website's visitor, a CRM, the text that is kept stays as it was written.
    """
    line = " ".join(text.translate(_MARKUP).split())
    return " ".join("".join(filter(str.isprintable, line)).split())


def callback_parameters(line_id: str, number: str, text: str, voice_id: str | None) -> dict[str, str]:
    """Make the parameters of ``voximplant.callback.start``; without a voice the portal chooses one by its language."""
    parameters = {"FROM_LINE": line_id, "TO_NUMBER": number, "TEXT_TO_PRONOUNCE": speakable(text)}
    return parameters | ({"VOICE": voice_id} if voice_id else {})


def start_callback(client: PortalClient, parameters: dict[str, str]) -> StartedCall:
    """Ring the line, then the number; not idempotent: a second call rings again. Raises ``ExchangeError``."""
    accepted = read_started_call(client.invoke("voximplant.callback.start", parameters))
    return replace(accepted, operating_reset_at=client.operating_reset_at)


def read_started_call(result: Json) -> StartedCall:
    """Read the result of ``voximplant.callback.start``; raises ``UnreadableAnswer`` unless the portal accepted."""
    if not isinstance(result, dict) or result.get("RESULT") is not True or "CALL_ID" not in result:
        raise UnreadableAnswer
    call_id = result["CALL_ID"]
    if call_id is not None and not (isinstance(call_id, str) and 0 < len(call_id) <= MAX_ENTRY_NAME):
        raise UnreadableAnswer
    return StartedCall(call_id)


def _blank_is_none(value: object) -> object:
    return None if value in ("", None, False) else value


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int | float | Decimal) else value or ""


def _moment(value: object) -> object:
    """Read a time; None for one without a zone, because each portal has a zone of its own."""
    try:
        moment = datetime.fromisoformat(str(value))
        moment.astimezone(UTC)
    except (ValueError, OverflowError):  # No moment, or one outside of all time.
        return None
    return moment if moment.tzinfo else None


WireText = Annotated[str, BeforeValidator(_as_text), Field(max_length=255)]


class HistoryRow(BaseModel):
    """A row of the call history (docs: api-reference/telephony/voximplant/voximplant-statistic-get.md)."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    ID: Annotated[int, Field(gt=0, lt=2**62)]
    CALL_ID: Annotated[WireText, Field(min_length=1)]
    CALL_TYPE: Annotated[int, Field(ge=0, lt=2**31)] = CALLBACK
    PORTAL_NUMBER: WireText = ""
    PHONE_NUMBER: Annotated[str, BeforeValidator(_as_text), Field(max_length=64, repr=False)] = ""
    PORTAL_USER_ID: Annotated[int | None, BeforeValidator(_blank_is_none), Field(ge=0, lt=2**31)] = None
    CALL_DURATION: Annotated[int | None, BeforeValidator(_blank_is_none), Field(ge=0, le=10**7)] = None
    CALL_START_DATE: Annotated[datetime | None, BeforeValidator(_moment)] = None
    COST: Annotated[
        Decimal | None, BeforeValidator(_blank_is_none), Field(ge=0, le=10**7, max_digits=MAX_COST_DIGITS)
    ] = None
    COST_CURRENCY: Annotated[str, BeforeValidator(_as_text), Field(max_length=16)] = ""
    CALL_FAILED_CODE: Annotated[str, BeforeValidator(_as_text), Field(max_length=32)] = ""
    CALL_FAILED_REASON: WireText = ""
    REDIAL_ATTEMPT: Annotated[int | None, BeforeValidator(_blank_is_none)] = None
    # Only words in the CRM depend on it: one that cannot be read spoils no row.
    CRM_ACTIVITY_ID: Annotated[int | None, BeforeValidator(read_id)] = None


@dataclass(frozen=True)
class HistoryPage:
    """The callbacks in one page of the call history; ``last_id`` is the greatest id on it, also of unreadable rows.

    ``is_full`` means that another page may follow.
    """

    rows: tuple[HistoryRow, ...]
    last_id: int
    is_full: bool


def read_history(client: PortalClient, after: int | None) -> HistoryPage:
    """Read the rows of callbacks after an id, the oldest first; without an id read the newest ones.

    The user needs the right to see call statistics. Unreadable rows are left out. Raises ``ExchangeError``.
    """
    wanted: dict[str, Json] = {"CALL_TYPE": CALLBACK} | ({} if after is None else {">ID": after})
    order = "DESC" if after is None else "ASC"
    listed = client.invoke("voximplant.statistic.get", {"FILTER": wanted, "SORT": "ID", "ORDER": order})
    if not isinstance(listed, list):
        raise UnreadableAnswer
    rows = tuple(row for row in _history_rows(listed) if row.CALL_TYPE == CALLBACK)
    ids = [id for id in map(_id_of, listed) if id is not None]
    return HistoryPage(rows, max(ids, default=after or 0), len(listed) >= HISTORY_PAGE and after is not None)


def find_calls(client: PortalClient, call_ids: Iterable[str]) -> tuple[HistoryRow, ...]:
    """Look for calls of any type, at most ``MAX_CALLS``, in the call history; one that goes on is not in it yet.

    Needs the same right. The platform drops filters that it does not know, so other calls are left out here. A call
    about which the portal says nothing for now is left out too. Raises ``ExchangeError``.
    """
    wanted = list(islice(call_ids, MAX_CALLS))
    answer = client.batch(history_commands(wanted))
    limited = {name for name, error in answer.errors.items() if error.retry is Retry.LATER}
    listed = (answer.result(name) for name in history_commands(wanted) if name not in limited)
    rows = (row for part in listed if isinstance(part, list) for row in _history_rows(part))
    return tuple(row for row in rows if row.CALL_ID in wanted)


class _RecordedRow(BaseModel):
    """What a row of the call history says about the recording of its call; it may come later than the row."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    CALL_ID: Annotated[WireText, Field(min_length=1)]
    CALL_RECORD_URL: Annotated[str, BeforeValidator(_as_text), Field(max_length=MAX_RECORD_URL, repr=False)] = ""
    RECORD_FILE_ID: Annotated[int | None, BeforeValidator(_blank_is_none)] = None


@dataclass(frozen=True)
class Recording:
    """The recording of a call; ``url`` is empty where it is only kept in the portal's files."""

    is_there: bool
    url: str = field(default="", repr=False)


def history_commands(call_ids: Sequence[str]) -> BatchCommands:
    """Make the parts of a batch that look for calls, at most ``MAX_CALLS``, in the call history."""
    return {
        f"call{n}": ("voximplant.statistic.get", {"FILTER[CALL_ID]": id}) for n, id in enumerate(call_ids[:MAX_CALLS])
    }


def read_recordings(answer: BatchAnswer, call_ids: Sequence[str]) -> dict[str, Recording]:
    """Read from the answer to ``history_commands`` the recordings, by call id; calls not listed are left out.

    The user needs the right to see call statistics, and a portal lists only the calls that they may see. An address
    that would carry an access token is left out. Raises the error of a part.
    """
    wanted = call_ids[:MAX_CALLS]
    found: dict[str, Recording] = {}
    for name in history_commands(wanted):
        listed = answer.result(name)
        for fields in listed[:HISTORY_PAGE] if isinstance(listed, list) else []:
            row = _recorded_row(fields)
            if row is not None and row.CALL_ID in wanted:
                url = row.CALL_RECORD_URL if _is_link(row.CALL_RECORD_URL) else ""
                found[row.CALL_ID] = Recording(bool(row.CALL_RECORD_URL or row.RECORD_FILE_ID), url)
    return found


def _recorded_row(fields: Json) -> _RecordedRow | None:
    try:
        return _RecordedRow.model_validate(fields)
    except ValidationError:
        return None


def _is_link(url: str) -> bool:
    """Tell whether an address can be opened by whoever may, and gives away no token to who may not."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    named = {name.lower() for name, _ in parse_qsl(parts.query)}
    return parts.scheme in ("https", "http") and bool(parts.hostname) and not named & _TOKENS


def _history_rows(listed: list[Json]) -> Iterator[HistoryRow]:
    for fields in listed[: HISTORY_PAGE * 4]:
        try:
            row = HistoryRow.model_validate(fields)
        except ValidationError:
            continue
        yield row


def _id_of(fields: Json) -> int | None:
    text = str(fields.get("ID", "")) if isinstance(fields, dict) else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < len(str(2**62)) else None
