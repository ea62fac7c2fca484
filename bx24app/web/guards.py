"""The guard of the API and of the fragments, and reading what a request brings as typed values."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import wraps
from http import HTTPMethod
from itertools import islice
from typing import Concatenate, ParamSpec, TypeVar, cast

from flask import current_app, request
from pydantic import BaseModel, ValidationError

from bx24app.errors import InvalidRequest, ListRefused, NotPermitted, PortalDisconnected, ProofTooOld, RateLimited
from bx24app.inputs import TolerantModel, is_nothing
from bx24app.log import name_portal
from bx24app.services.callbacks import principal
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.roles import Role
from bx24app.services.runtime.removed_portals import unless_removed
from bx24app.services.runtime.slots import ASKED_AGAIN_SECONDS
from bx24app.services.security.fair_turns import FairTurns
from bx24app.services.websites import api_keys
from bx24app.web.bodies import UnreadableBody, read_json

P = ParamSpec("P")
R = TypeVar("R")
B = TypeVar("B", bound=BaseModel)
T = TypeVar("T", bound=TolerantModel)
# So much of a parameter's name is told back.
TOLD_OF_NAME = 64
# So many fields of a body are told to be wrong.
WRONG_TOLD = 20


# Lists, pages and reports take a processor for up to half a second, and anybody may ask for very many; more at once
# would only share the interpreter.
READ_AT_ONCE, READ_OF_PORTAL, READERS_WAITING = 3, 2, 9
READER_WAITS_SECONDS = 5.0
READING_STATE = "bx24app.reading"
_READS = frozenset({HTTPMethod.GET, HTTPMethod.HEAD})


@dataclass(frozen=True)
class Guard:
    """Whom a view lets in: whoever has the role, and with ``lets_keys_in`` API keys too.

    ``needs_proof``: the portal must have said a moment ago that they have it, because what the view does lasts.
    """

    role: Role
    lets_keys_in: bool = False
    needs_proof: bool = False


def guard_of(view: Callable[..., object]) -> Guard | None:
    """Whom a view lets in; None without a guard: anybody."""
    guard: Guard | None = view.__dict__.get("guard")
    return guard


class InvalidBody(InvalidRequest):
    """A JSON body that does not fit; ``errors`` are (field, message) pairs."""

    def __init__(self, errors: list[tuple[str, str]]) -> None:
        super().__init__()
        self.errors = errors


def principal_required(
    role: Role,
    *,
    lets_keys_in: bool = False,
    needs_proof: bool = False,
    bounds_itself: bool = False,
    only_reads: bool = False,
) -> Callable[[Callable[Concatenate[Principal, P], R]], Callable[P, R]]:
    """Pass who sends the ticket, or where keys are let in the API key, of ``Authorization: Bearer``.

    Raises ``TicketExpired``, ``NotPermitted`` for a smaller role, with ``needs_proof`` ``ProofTooOld``, for a key
    ``KeyRefused`` or ``RateLimited``. Whoever reads does so in their portal's turn (``reading_turn``), also by a
    POST that ``only_reads``, but where the view ``bounds_itself``, because it waits for the portal or has turns of its
    own. The view's own is ``PortalDisconnected`` when the portal is removed meanwhile.
    """

    def guarding(view: Callable[Concatenate[Principal, P], R]) -> Callable[P, R]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            secret = bearer()
            is_key = lets_keys_in and secret.startswith(api_keys.KEY_PREFIX)
            asking = api_keys.authenticate(secret) if is_key else principal.authenticate(secret)
            name_portal(asking.portal.member_id)
            if not is_key and asking.role < role:
                raise NotPermitted
            if needs_proof:
                require_fresh_proof(asking)
            takes_turn = (only_reads or request.method in _READS) and not bounds_itself
            with unless_removed(asking.portal.id), reading_turn(asking) if takes_turn else nullcontext():
                return view(asking, *args, **kwargs)
            raise PortalDisconnected

        guarded.__dict__["guard"] = Guard(role, lets_keys_in, needs_proof)
        return guarded

    return guarding


def require_fresh_proof(asking: Principal) -> None:
    """Refuse somebody of whom the portal has said too long ago what they may do; raises ``ProofTooOld``.

    The page's script then gets a new ticket, which leads through the portal, and asks again (static/api.js).
    """
    if asking.ticket is None or not asking.ticket.is_fresh_proof:
        raise ProofTooOld


def bearer() -> str:
    """What a request sends as ``Authorization: Bearer``; empty: nothing."""
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else ""


def read_body(model: type[T]) -> T:
    """Read the JSON body as ``model``; raises ``InvalidBody`` naming the first wrong fields."""
    try:
        return model.read(read_json())
    except ValidationError as error:
        first = islice(error.errors(include_url=False, include_context=False, include_input=False), WRONG_TOLD)
        raise InvalidBody([(".".join(map(str, e["loc"]))[:TOLD_OF_NAME], e["msg"]) for e in first]) from None
    except UnreadableBody as error:
        raise InvalidBody([("", error.why)]) from None
    except RecursionError:
        raise InvalidBody([("", "nested too deeply")]) from None


def read_query(model: type[B]) -> B:
    """Read the query string as ``model``; raises ``InvalidRequest`` naming the first wrong parameter.

    A parameter without a value is one that is left out. One that is there twice is refused, not half of it heard.
    """
    if twice := next((name for name, values in request.args.lists() if len(values) > 1), None):
        raise ListRefused(twice[:TOLD_OF_NAME], "filter_twice")
    return _read_texts(model, {name: value for name, value in request.args.to_dict().items() if not is_nothing(value)})


def read_headers(model: type[B]) -> B:
    """Read the headers that ``model`` names, likewise."""
    names = (field.alias or name for name, field in model.model_fields.items())
    return _read_texts(model, {name: request.headers[name] for name in names if name in request.headers})


def _read_texts(model: type[B], texts: dict[str, str]) -> B:
    try:
        return model.model_validate(texts)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])[:TOLD_OF_NAME]
        raise (
            ListRefused(field, "unknown_filter") if first["type"] == "extra_forbidden" else InvalidRequest(field)
        ) from None


@contextmanager
def reading_turn(principal: Principal) -> Iterator[None]:
    """Let somebody read inside, in turn; raises ``RateLimited`` where too many wait for theirs (``FairTurns``)."""
    is_update = bool(request.if_none_match)
    turn = _turns().hold(principal.portal.id, principal.user_id or 0, READER_WAITS_SECONDS, is_update=is_update)
    with turn as is_held:
        if not is_held:
            refused = RateLimited("list")
            refused.retry_after = ASKED_AGAIN_SECONDS
            raise refused
        yield


def _turns() -> FairTurns:
    known = current_app.extensions.get(READING_STATE)
    fresh = FairTurns(READ_AT_ONCE, READ_OF_PORTAL, READERS_WAITING) if known is None else known
    return cast("FairTurns", current_app.extensions.setdefault(READING_STATE, fresh))
