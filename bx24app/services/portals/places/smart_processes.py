"""The smart processes in whose cards a tab of ours appears: administrators choose them from what the portal lists.

The list is kept with the portal's setup, so that the page of the settings asks nobody.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict

from sqlalchemy.exc import IntegrityError

from bx24app.bitrix24.company.smart_processes import SmartProcess, list_smart_processes
from bx24app.bitrix24.errors import AccessDenied
from bx24app.database import is_postgresql, reading, writing
from bx24app.database.statements import insert_into
from bx24app.errors import CrmUnreadable, InvalidRequest
from bx24app.models import Portal, PortalSetup
from bx24app.services.portals import api as portal_api
from bx24app.services.portals import token_renewal

# Each is a placement more.
MAX_CHOSEN_TYPES = 30


def read_from_portal(portal_id: int, user_id: int) -> list[SmartProcess]:
    """Ask the portal for its smart processes under an administrator's own access, and keep the list; commits.

    Raises ``CrmUnreadable`` for one who does not administrate the CRM, else ``ExchangeError`` or ``Refusal``.
    """
    access = token_renewal.person_access(portal_id, user_id)
    try:
        found = portal_api.call(access, portal_api.RequestLabel("crm.type.list", {}), list_smart_processes)
    except AccessDenied as error:
        raise CrmUnreadable("types_denied", error.words) from error
    kept = {"smart_processes": [asdict(one) for one in found]}
    new = insert_into(PortalSetup, "postgresql" if is_postgresql() else "sqlite").values(portal_id=portal_id, **kept)
    # A portal that was removed meanwhile has nothing that could be kept.
    with suppress(IntegrityError), writing(single_statement=True) as session:
        session.execute(new.on_conflict_do_update(index_elements=["portal_id"], set_=kept))
    return found


def kept_list(portal_id: int) -> list[SmartProcess] | None:
    """The smart processes as the portal listed them last; None: it was never asked."""
    with reading() as session:
        setup = session.get(PortalSetup, portal_id)
    if setup is None or setup.smart_processes is None:
        return None
    return [
        SmartProcess(int(row["type_id"]), str(row["title"]), bool(row["has_customers"]))
        for row in setup.smart_processes
    ]


def chosen(portal: Portal) -> list[int]:
    """The types that administrators have chosen."""
    return portal.settings.smart_processes or []


def check_chosen(portal: Portal, wanted: Sequence[int]) -> list[int]:
    """Return the types in order.

    Raises ``InvalidRequest`` for new ones that the portal does not list with customers, and for too many.
    """
    possible = {one.type_id for one in kept_list(portal.id) or [] if one.has_customers} | set(chosen(portal))
    types = sorted(set(wanted))
    if len(types) > MAX_CHOSEN_TYPES or not possible.issuperset(types):
        raise InvalidRequest("smart_processes")
    return types
