"""Cards of every kind, those of smart processes too, and activities of the timeline: their customer and the numbers.

Docs: crm/universal/crm-item-get.md, crm/timeline/activities/activity-base/crm-activity-list.md,
crm-activity-communication-fields.md.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from bx24app.bitrix24.client import BatchAnswer
from bx24app.bitrix24.crm import (
    ENTITY_TYPES,
    BatchCommands,
    CrmEntity,
    CrmPhone,
    commands_for,
    item_commands,
    phones_among,
    read_entity,
    read_item,
)
from bx24app.bitrix24.errors import AccessDenied, MethodRefused
from bx24app.errors import CrmUnreadable

# docs: crm/data-types.md
TYPE_IDS = {"LEAD": 1, "DEAL": 2, "CONTACT": 3, "COMPANY": 4, "QUOTE": 7, "SMART_INVOICE": 31}
# The kind of a number that is known from the call itself.
OF_THE_CALL = "CALL"
_DYNAMIC = re.compile(r"DYNAMIC_([1-9][0-9]{0,8})")
_ID = re.compile(r"[1-9][0-9]{0,8}")
# The owner of an activity may be of any kind, so it is read as an item.
_OWNER = ("$result[activity][0][OWNER_TYPE_ID]", "$result[activity][0][OWNER_ID]")


def type_of(kind: str) -> int:
    """The type under which a card is read as an item: of ``DYNAMIC_183`` it is 183; 0 for what is no card."""
    match = _DYNAMIC.fullmatch(kind)
    return int(match[1]) if match else TYPE_IDS.get(kind, 0)


def kind_of(type_id: object) -> str:
    """The kind of the cards of a type."""
    known = {str(number): kind for kind, number in TYPE_IDS.items()}
    kind = known.get(str(type_id), f"DYNAMIC_{type_id}")
    return kind if type_of(kind) else ""


def card_commands(kind: str, id: int) -> BatchCommands:
    """Make the parts of a batch that read a card of any kind with its contacts and companies."""
    if kind in ENTITY_TYPES:
        return commands_for(kind, id)
    return item_commands(type_of(kind), id)


def read_card(kind: str, id: int, answer: BatchAnswer, *, as_item: bool = False) -> CrmEntity:
    """Read a card from the answer to its commands; the owner of an activity was read ``as_item``.

    Raises ``CrmUnreadable`` where it is gone or its reader may not see it, else ``ExchangeError``.
    """
    try:
        own_method = kind in ENTITY_TYPES and not as_item
        return read_entity(kind, id, answer) if own_method else read_item(kind, id, answer)
    except (MethodRefused, AccessDenied) as error:
        # CRM methods answer with an empty code when a card is gone, and when its reader may not see it.
        raise CrmUnreadable("card_gone", error.words) from error


def opened_commands(kind: str, id: int, activity_id: int) -> BatchCommands:
    """Make the parts of a batch that read the card in which a page was opened, and the activity; ``id`` 0: its owner.

    The list is asked, because no other method tells with whom somebody has talked.
    """
    if not activity_id:
        return card_commands(kind, id) if id else {}
    select = {f"select[{n}]": name for n, name in enumerate(("ID", "OWNER_ID", "OWNER_TYPE_ID", "COMMUNICATIONS"))}
    commands: BatchCommands = {"activity": ("crm.activity.list", {"filter[ID]": activity_id, **select})}
    return commands | (card_commands(kind, id) if id else item_commands(*_OWNER))


def read_activity(activity_id: int, answer: BatchAnswer) -> tuple[Sequence[CrmPhone], str, int]:
    """Read the numbers of an activity's call, and the kind and id of its owner.

    Raises ``CrmUnreadable`` where it is gone or its reader may not see it, else ``ExchangeError``.
    """
    try:
        listed = answer.result("activity")
    except (MethodRefused, AccessDenied) as error:
        raise CrmUnreadable("activity_gone", error.words) from error
    found = [row for row in (listed if isinstance(listed, list) else [])[:1] if isinstance(row, dict)]
    if not found or str(found[0].get("ID")) != str(activity_id):
        raise CrmUnreadable("activity_gone")
    owner_id = _ID.fullmatch(str(found[0].get("OWNER_ID")))
    spoken = phones_among(found[0].get("COMMUNICATIONS"), ("TYPE", "VALUE", ""))
    return (
        [replace(phone, kind=OF_THE_CALL) for phone in spoken],
        kind_of(found[0].get("OWNER_TYPE_ID")),
        int(owner_id[0]) if owner_id else 0,
    )
