"""Who asks, and with which role (``roles.py``): an employee of a portal, or the API key of one of its forms."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sqlalchemy import Select, and_, bindparam, exists, not_, select

from bx24app.database import reading
from bx24app.database.compiled import CompiledStatement, compiled_reading
from bx24app.errors import RateLimited, TicketExpired
from bx24app.models import Credential, Portal, PortalSettings, PortalState, User, utcnow
from bx24app.models.columns import UTCDateTime
from bx24app.services.callbacks.roles import NO_RIGHTS, Role, own_of, rights_of, role_of
from bx24app.services.portals.tokens import IS_OWN
from bx24app.services.runtime import row_cache
from bx24app.services.runtime.local_limit import LocalLimit, take_local
from bx24app.services.security import tickets
from bx24app.services.security.tickets import Ticket

# Of one employee, by each process. A page that is looked at asks once a second, and so does each one beside it.
REQUESTS_A_MINUTE = 1200
RETRY_SECONDS = 5


@dataclass(frozen=True)
class Principal:
    """Who asks, with their portal.

    An employee has a ``user_id`` (the portal's number), a role and, on a page, the ``ticket`` of that page; ``row_id``
    is that of our row, None for somebody who never opened the app, and ``line_id`` and ``voice_id`` are what they chose
    last. An API key has a ``form_id`` and no role: it reaches the callbacks of that form.
    """

    portal: Portal
    role: Role = Role.NONE
    user_id: int | None = None
    row_id: int | None = None
    line_id: str | None = None
    voice_id: str | None = None
    ticket: Ticket | None = None
    form_id: int | None = None

    @property
    def own_of(self) -> int | None:
        """Whose callbacks alone they see, where administrators have chosen that; None: everybody's."""
        return own_of(self.portal, self.role, self.user_id)


def _employee_statement() -> Select[bool, int, int, bool, str, int, str | None, str | None]:
    theirs = and_(Credential.portal_id == Portal.id, Credential.user_id == bindparam("user_id"))
    # The portal has refused them, or moved their access to a system user, since it was asked who they are.
    refused = exists().where(theirs, not_(IS_OWN), Credential.used_at >= bindparam("proven_at", type_=UTCDateTime))
    user = and_(User.portal_id == Portal.id, User.user_id == bindparam("user_id"))
    chosen = (User.id, User.last_line_id, User.last_voice_id)
    found = select(refused, Portal.revision, PortalSettings.revision, User.is_administrator, User.departments, *chosen)
    return found.join_from(Portal, PortalSettings).outerjoin(User, user).where(Portal.id == bindparam("portal_id"))


_EMPLOYEE = CompiledStatement(_employee_statement)


def authenticate(signed_ticket: str) -> Principal:
    """The employee who has a page of the app open.

    Their role is read with each request. Raises ``TicketExpired`` when the ticket is missing, altered or older than an
    hour, when the portal does not have the app any more, when it was installed again since, and when the portal has
    refused this person since; ``RateLimited``.
    """
    ticket = tickets.read_ticket(signed_ticket)
    if not take_local(LocalLimit("employee", REQUESTS_A_MINUTE), (ticket.portal_id, ticket.user_id)):
        refusal = RateLimited("employee")
        refusal.retry_after = RETRY_SECONDS
        raise refusal
    employee = load_employee(ticket.portal_id, ticket.user_id, ticket)
    if not ticket.is_of(employee.portal):
        raise TicketExpired
    return replace(employee, ticket=ticket)


def load_employee(portal_id: int, user_id: int, ticket: Ticket | None = None) -> Principal:
    """An employee as they are known now; raises ``TicketExpired`` when the portal does not have the app any more.

    With a ``ticket``, also when the portal has refused them since. Where it did not say who asks, what it once said of
    this person does not count.
    """
    proven_at = datetime.fromtimestamp(ticket.proven_at, UTC) if ticket else utcnow()
    asked = _EMPLOYEE.bind({"portal_id": portal_id, "user_id": user_id, "proven_at": proven_at})
    with compiled_reading() as run:
        known = run(asked).fetchone()
    if known is None:
        raise TicketExpired
    is_refused, *revisions, is_administrator, departments = known[:5]
    if is_refused:
        raise TicketExpired
    portal = load_portal(portal_id, tuple(revisions))
    if portal is None or portal.state == PortalState.UNINSTALLED:
        raise TicketExpired
    said = rights_of(is_administrator=is_administrator, departments=departments)
    rights = NO_RIGHTS if ticket and not ticket.is_proven else said
    return Principal(portal, role_of(portal, user_id, rights), user_id, *known[5:])


def load_portal(portal_id: int, revisions: row_cache.Revisions) -> Portal | None:
    """A portal that had these revisions a moment ago, from memory where it is still the same; None once it is gone."""
    portal: Portal | None = row_cache.get_cached(("portal", portal_id), revisions)
    if portal is None:
        with reading() as session:
            portal = session.get(Portal, portal_id)
        if portal is not None:
            row_cache.put_cached(("portal", portal_id), portal.revisions, portal)
    return portal


def unconfirmed_portal(portal_id: int) -> Portal | None:
    """The portal as it is kept in memory, which may have changed since; None: it is not kept."""
    portal: Portal | None = row_cache.get_unconfirmed(("portal", portal_id))
    return portal
