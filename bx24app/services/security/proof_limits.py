"""What somebody who has proven nothing may make us ask: little, and nothing of it is stored.

Kept in memory by each process, for a row would be a write on behalf of a stranger. What was proven is given back: only
what was refused, or could not be answered, counts.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from bx24app.errors import (
    AdministratorNeeded,
    Malformed,
    NotInstalled,
    OpenedElsewhere,
    PortalUnreachable,
    Retry,
    TooManyLaunches,
    Unverified,
    VisitorRefused,
)
from bx24app.services.runtime.local_limit import LocalLimit, give_back, take_local
from bx24app.services.runtime.local_memory import is_remembered, recall, remember
from bx24app.services.security import digests
from bx24app.services.security.networks import wider_networks

FAILURES_PER_ADDRESS = 30
FAILURES_PER_PORTAL = 60
# Questions about portals that we do not know, over all of them: who makes up their names makes up many.
UNKNOWN_PORTALS = 60
UNKNOWN_OF_ALL = LocalLimit("unknown_portals", UNKNOWN_PORTALS)
# One network, which has any number of addresses, leaves the others most of them.
UNKNOWN_OF_NETWORK = LocalLimit("unknown_of_network", 10)
# Questions to a portal's own address, which count against the pace of its dials; more are asked of the
# authorization server first.
QUESTIONS_TO_PORTAL = 10
# The portal of a refused token may have moved, and somebody else live at its old address: looked at this often.
MOVES_LOOKED_AT = 1
REFUSED_SECONDS = 60.0
# As long as an access token lives.
TOKEN_SECONDS = 3600.0
ADDRESS_SECONDS = 24 * 3600.0
REFUSED_OF_ADDRESS = LocalLimit("refused_of_address", FAILURES_PER_ADDRESS)
REFUSED_OF_PORTAL = LocalLimit("refused_of_portal", FAILURES_PER_PORTAL)
# At one place where somebody of a portal has proven themselves, and at all such places of a portal together.
REFUSED_OF_PLACE = LocalLimit("refused_of_place", FAILURES_PER_ADDRESS)
REFUSED_AT_PLACES = LocalLimit("refused_at_places", 120)
# The same for posts that show more than strangers know, kept for when strangers have used up the others.
REFUSED_OF_KNOWN = LocalLimit("refused_of_known", FAILURES_PER_ADDRESS)
REFUSED_OF_ALL_KNOWN = LocalLimit("refused_of_all_known", 60)
# A person is at few places in an hour. Whoever has many networks would prove each, and send made-up tokens from all.
PLACES_OF_TOKEN = LocalLimit("places_of_token", 3, TOKEN_SECONDS)
# A portal of somebody's own vouches for any number of tokens: these push the proofs of others out of the memory.
PROOFS_OF_PORTAL = LocalLimit("proofs_of_portal", 1_000, TOKEN_SECONDS)
# A token is asked about again where nothing is remembered of it, as for each installation, by each process.
QUESTIONS_OF_TOKEN = LocalLimit("questions_of_token", 10)
# Each page is a question at the pace of the portal's dials. A person has as many tokens as they open pages in Bitrix24.
LAUNCHES_OF_PERSON = LocalLimit("launches_of_person", 30)
CROWDED_SECONDS = 10.0
# Then the authorization server is asked whose new tokens of a portal are, before the portal is: so often, which leaves
# others half of what it says of the portal.
NAMED_OF_PORTAL = LocalLimit("named_of_portal", 60)


class TooManyAttempts(Unverified):
    """So much was refused of this address or portal that nothing is asked for a while."""

    code = "rate_limited"
    reason = "too_many_attempts"
    status = 429
    retry = Retry.LATER
    retry_after = 60


class TooManyPages(TooManyAttempts):
    """A person opens too many; nothing was refused of what their colleagues send."""


# Said of people whose token was proven, or who come from where one of them is.
_PROVEN = (NotInstalled, AdministratorNeeded, OpenedElsewhere, VisitorRefused, TooManyPages)


def _digest(member_id: str, token: str) -> str:
    return digests.digest("posted_token", f"{member_id}\0{token}")


Buckets = list[tuple[LocalLimit, str]]
KnownAs = Callable[[], str | None]


def nobody() -> str | None:
    """The post shows nothing that strangers do not know."""
    return None


def insider() -> str | None:
    """It shows the portal's application token, which each of its people knows."""
    return "insider"


def user(user_id: int) -> str | None:
    """It shows a ticket of ours."""
    return f"user {user_id}"


def _take(buckets: Buckets) -> bool:
    """Take one of each, or none."""
    for number, (limit, key) in enumerate(buckets):
        if not take_local(limit, key):
            _give_back(buckets[:number])
            return False
    return True


def _give_back(buckets: Iterable[tuple[LocalLimit, str]]) -> None:
    for limit, key in buckets:
        give_back(limit, key)


def _taken(address: str, member_id: str, place: str, known_as: KnownAs) -> Buckets:
    """Take from the buckets of a place, then from those of whoever is known; raises ``TooManyAttempts``."""
    is_proven = is_remembered("proven_place", place)
    buckets = [(REFUSED_OF_ADDRESS, address), (REFUSED_OF_PORTAL, member_id)]
    if is_proven:
        buckets = [(REFUSED_OF_PLACE, place), (REFUSED_AT_PLACES, member_id)]
    if _take(buckets):
        return buckets
    if name := known_as():
        buckets = [(REFUSED_OF_KNOWN, f"{place} {name}"), (REFUSED_OF_ALL_KNOWN, f"{member_id} {name} {is_proven}")]
        if _take(buckets):
            return buckets
    raise TooManyAttempts("too much was refused")


def check_token(member_id: str, token: str) -> None:
    """Raise ``Unverified`` where no question is needed: there is no token, or it was refused a moment ago."""
    if not token:
        raise Unverified("no access token")
    if is_remembered("refused", _digest(member_id, token)):
        raise Unverified("token refused a moment ago")


@contextmanager
def proving(address: str, member_id: str, token: str, known_as: KnownAs = nobody) -> Iterator[None]:
    """Let a post be proven inside, if not too much was refused of its address and its portal; keep the verdict a while.

    What was refused of a portal, or of an address, keeps nobody of a portal out from whose address somebody has proven
    a token of it: events of all portals come from Bitrix24's addresses, and a whole building may have one. Nor does
    what strangers send keep out who is ``known_as`` more than they are, which is asked where nothing else is left.
    Raises ``TooManyAttempts``, and ``Unverified`` for a token that was refused a moment ago.
    """
    check_token(member_id, token)
    digest, place = _digest(member_id, token), _digest(member_id, address)
    # One that was proven has no limit: once it is refused it is not asked about for a while.
    buckets = [] if is_remembered("proven", digest) else _taken(address, member_id, place, known_as)
    try:
        yield
    except (Malformed, TooManyLaunches, *_PROVEN):
        _give_back(buckets)
        raise
    except PortalUnreachable:
        # Nobody has refused anything. Where somebody was proven before, a silence keeps no genuine post out.
        if is_remembered("proven_place", place):
            _give_back(buckets)
        raise
    except Unverified as error:
        if error.retry == Retry.NEVER:
            remember("refused", digest, REFUSED_SECONDS)
        raise
    except Exception:
        # What a view refuses once its sender is proven, and mistakes of ours, say nothing against the token.
        _give_back(buckets)
        raise
    _give_back(buckets)
    _remember_proof(member_id, digest, place)


def _remember_proof(member_id: str, digest: str, place: str) -> None:
    if is_remembered("proven", digest) or take_local(PROOFS_OF_PORTAL, member_id):
        remember("proven", digest, TOKEN_SECONDS)
    is_known = is_remembered("proven_place", place)
    if is_known or (take_local(PLACES_OF_TOKEN, digest) and take_local(PROOFS_OF_PORTAL, member_id)):
        remember("proven_place", place, ADDRESS_SECONDS)


def _was_proven(member_id: str, token: str) -> bool:
    return is_remembered("proven", _digest(member_id, token))


def take_question(member_id: str, token: str) -> None:
    """Take one of the questions about a token, of its owner too; raises ``TooManyAttempts``."""
    if not take_local(QUESTIONS_OF_TOKEN, _digest(member_id, token)):
        raise TooManyAttempts("asked about this token too often")


def take_launch(member_id: str, token: str, address: str, known_as: KnownAs = nobody) -> None:
    """Take one of the pages that a person may open, for each waits for its portal; raises ``TooManyPages``.

    Whose a new token is, nobody tells yet: until then it counts for itself. Where somebody has just opened too many
    with such, one from around there is refused. But a page that is open shows whose it is, and counts for them.
    """
    digest = _digest(member_id, token)
    person = recall("person", digest)
    if is_crowded(member_id, token):
        name = known_as()
        if name not in (nobody(), insider()):
            person = (member_id, name)
            remember("person", digest, TOKEN_SECONDS, person)
        elif is_remembered("crowded_place", _around(member_id, address)):
            raise TooManyPages("too many pages opened from this address")
    if not take_local(LAUNCHES_OF_PERSON, person or digest):
        raise TooManyPages("too many pages opened by this person")


def is_crowded(member_id: str, token: str) -> bool:
    """Tell whether somebody has just opened too many pages of a portal, and nobody knows yet whose this token is."""
    return recall("person", _digest(member_id, token)) is None and is_remembered("crowded_portal", member_id)


def take_name(member_id: str, token: str) -> None:
    """Take one of the questions whose a new token is, while a portal is crowded; raises ``TooManyPages``."""
    if is_crowded(member_id, token) and not take_local(NAMED_OF_PORTAL, member_id):
        raise TooManyPages("too many pages opened of this portal")


def note_person(member_id: str, token: str, user_id: int, address: str) -> None:
    """The portal or the authorization server has said whose token it is; raises as ``take_launch`` does."""
    digest, person = _digest(member_id, token), (member_id, user(user_id))
    is_counted = recall("person", digest) is not None
    remember("person", digest, TOKEN_SECONDS, person)
    if not is_counted and not take_local(LAUNCHES_OF_PERSON, person):
        remember("crowded_place", _around(member_id, address), CROWDED_SECONDS)
        remember("crowded_portal", member_id, CROWDED_SECONDS)
        raise TooManyPages("too many pages opened by this person")


def _around(member_id: str, address: str) -> str:
    return _digest(member_id, wider_networks(address)[0])


def proven_place(member_id: str, address: str) -> str | None:
    """Return a digest of an address if somebody of the portal has proven a token there within a day, else None."""
    place = _digest(member_id, address)
    return place if is_remembered("proven_place", place) else None


def may_wait(limit: LocalLimit, member_id: str, address: str) -> bool:
    """Take one of the rows that what comes from a place, and cannot be proven now, may leave."""
    return take_local(limit, _digest(member_id, address))


def may_ask_portal(member_id: str, token: str) -> bool:
    """Take one of the questions that unproven tokens may put to a portal; ``note_proof`` gives it back."""
    return _was_proven(member_id, token) or take_local(LocalLimit("asked_portal", QUESTIONS_TO_PORTAL), member_id)


def note_proof(member_id: str, token: str) -> None:
    """The token that was asked about is a good one; of one that was proven before no question was taken."""
    if not _was_proven(member_id, token):
        give_back(LocalLimit("asked_portal", QUESTIONS_TO_PORTAL), member_id)


def take_unknown(address: str) -> None:
    """Take one of the questions about portals that we do not know; raises ``TooManyAttempts``."""
    if not _take(_of_unknown(address)):
        raise TooManyAttempts("too many unknown portals")


def give_back_unknown(address: str) -> None:
    """Bitrix24 vouches for the portal that was asked about."""
    _give_back(_of_unknown(address))


def _of_unknown(address: str) -> Buckets:
    return [(UNKNOWN_OF_NETWORK, wider_networks(address)[0]), (UNKNOWN_OF_ALL, "")]


def may_look_for_move(member_id: str) -> bool:
    """Tell whether it is time to see if a portal has moved whose address refuses a token."""
    return take_local(LocalLimit("looked_for_move", MOVES_LOOKED_AT), member_id)
