"""The smart processes of a portal: kinds of cards that a company has made for itself.

Docs: crm/universal/user-defined-object-types/crm-type-list.md.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from bx24app.bitrix24.answers import Json, as_object
from bx24app.bitrix24.client import PortalClient

TYPES_PAGE, MAX_TYPES, MAX_TYPE_TITLE = 50, 200, 100
_MAX_TYPE_ID = 999_999_999


@dataclass(frozen=True)
class SmartProcess:
    """One of them; ``has_customers``: its cards may name a contact and a company."""

    type_id: int
    title: str = field(repr=False)
    has_customers: bool


def list_smart_processes(client: PortalClient) -> list[SmartProcess]:
    """List those of a portal, the first 200.

    Needs the rights of an administrator of the CRM; raises ``ExchangeError``.
    """
    found: list[SmartProcess] = []
    for start in range(0, MAX_TYPES, TYPES_PAGE):
        page = read_smart_processes(client.invoke("crm.type.list", {"start": start}))
        found += page
        if len(page) < TYPES_PAGE:
            break
    return found


def question_about(type_ids: Iterable[int]) -> dict[str, str | int]:
    """The parameters of ``crm.type.list`` that ask for these alone."""
    return {f"filter[@entityTypeId][{number}]": type_id for number, type_id in enumerate(type_ids)}


def read_smart_processes(said: Json) -> list[SmartProcess]:
    """Read one page; what has no type that could stand in a placement's code is left out."""
    rows = as_object(said).get("types")
    found = [row for row in (rows if isinstance(rows, list) else [])[:TYPES_PAGE] if isinstance(row, dict)]
    return [
        SmartProcess(
            type_id, str(row.get("title") or f"#{type_id}")[:MAX_TYPE_TITLE], row.get("isClientEnabled") == "Y"
        )
        for row in found
        if (type_id := _type_id(row.get("entityTypeId")))
    ]


def _type_id(value: Json) -> int:
    text = str(value)
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(_MAX_TYPE_ID))
    return int(text) if is_number and int(text) <= _MAX_TYPE_ID else 0
