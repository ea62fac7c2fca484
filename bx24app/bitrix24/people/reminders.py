"""What the portal shows to a person: to-dos on cards of the CRM, and notifications in the messenger.

Docs: crm/timeline/activities/todo/, crm/timeline/activities/activity-base/, chats/notifications/.
"""

from dataclasses import dataclass, field
from datetime import datetime

from bx24app.bitrix24.answers import Json, as_object
from bx24app.bitrix24.client import BatchAnswer, PortalClient
from bx24app.bitrix24.company.cards import type_of
from bx24app.bitrix24.crm import ENTITY_TYPES, NO_MARKUP, BatchCommands
from bx24app.outgoing.errors import UnreadableAnswer

TODO_PROVIDER = "CRM_TODO"
MAX_ID_LENGTH = 10
MAX_TODO_TITLE = 255


def plain(text: str, most: int) -> str:
    """Make text that is shown as it is: no BB codes, no HTML, one line of at most ``most`` characters."""
    bare = " ".join(text.translate(NO_MARKUP).split())
    return bare if len(bare) <= most else bare[: most - 1].rstrip() + "…"


@dataclass(frozen=True)
class CardOwner:
    """A card of the CRM on which something is put; ``type_id`` as the CRM counts types."""

    kind: str
    type_id: int
    id: int


def owner_of(kind: str, id: int) -> CardOwner | None:
    """The owner of a card; None: of no kind that we know."""
    type_id = type_of(kind)
    return CardOwner(kind, type_id, id) if type_id else None


@dataclass(frozen=True)
class LookedAtCard:
    """What a card says: who is responsible, None where that is nobody who works there, and our to-do on it."""

    responsible: int | None
    to_do: int | None


def look_at_card(client: PortalClient, owner: CardOwner, mark: str) -> LookedAtCard:
    """Ask who is responsible for a card, and whether a to-do with ``mark`` in its words stands on it.

    Raises ``ExchangeError``, and that of the card itself where it is gone or may not be read.
    """
    is_own = owner.kind in ENTITY_TYPES
    person = "$result[card][ASSIGNED_BY_ID]" if is_own else "$result[card][item][assignedById]"
    commands: BatchCommands = {
        "card": (f"crm.{owner.kind.lower()}.get", {"ID": owner.id})
        if is_own
        else ("crm.item.get", {"entityTypeId": owner.type_id, "id": owner.id}),
        "responsible": ("user.get", {"ID": person}),
        "to_dos": (
            "crm.activity.list",
            {
                "filter[OWNER_TYPE_ID]": owner.type_id,
                "filter[OWNER_ID]": owner.id,
                "filter[PROVIDER_ID]": TODO_PROVIDER,
                "select[0]": "ID",
                "select[1]": "DESCRIPTION",
                "order[ID]": "desc",
            },
        ),
    }
    answer = client.batch(commands)
    card = as_object(answer.result("card"))
    assigned = card.get("ASSIGNED_BY_ID") if is_own else as_object(card.get("item")).get("assignedById")
    return LookedAtCard(_at_work(answer, str(assigned)), _marked(answer, mark))


def _at_work(answer: BatchAnswer, user_id: str) -> int | None:
    """That user alone, and only as long as they work there: a question without an id is answered with everybody."""
    listed = answer.results.get("responsible")
    rows = listed[:50] if "responsible" not in answer.errors and isinstance(listed, list) else []
    is_there = any(
        isinstance(row, dict) and str(row.get("ID")) == user_id and row.get("ACTIVE") is not False for row in rows
    )
    return _id(user_id) if is_there else None


def _marked(answer: BatchAnswer, mark: str) -> int | None:
    rows = answer.result("to_dos")
    found = (row for row in (rows if isinstance(rows, list) else [])[:50] if isinstance(row, dict))
    return next((_id(row.get("ID")) for row in found if mark in str(row.get("DESCRIPTION") or "")), None)


def _id(value: Json) -> int | None:
    text = str(value)
    is_id = text.isascii() and text.isdigit() and len(text) <= MAX_ID_LENGTH
    return int(text) if is_id and 0 < int(text) < 2**31 else None


@dataclass(frozen=True)
class NewToDo:
    """A to-do for a person; ``deadline`` carries its zone."""

    owner: CardOwner
    title: str = field(repr=False)
    description: str = field(repr=False)
    responsible: int | None
    deadline: datetime


def add_to_do(client: PortalClient, wanted: NewToDo) -> int:
    """Put a to-do on a card and return its id; not idempotent: a second call makes a second one.

    Raises ``ExchangeError``.
    """
    fields: dict[str, Json] = {
        "ownerTypeId": wanted.owner.type_id,
        "ownerId": wanted.owner.id,
        "deadline": wanted.deadline.isoformat(timespec="seconds"),
        "title": wanted.title[:MAX_TODO_TITLE],
        "description": wanted.description,
        "pingOffsets": [0],
    }
    if wanted.responsible is not None:
        fields["responsibleId"] = wanted.responsible
    id = _id(as_object(client.invoke("crm.activity.todo.add", fields)).get("id"))
    if id is None:
        raise UnreadableAnswer
    return id


def complete_to_do(client: PortalClient, id: int) -> None:
    """Complete a to-do, which no method for to-dos does; idempotent. Raises ``ExchangeError``."""
    client.invoke("crm.activity.update", {"id": id, "fields": {"COMPLETED": "Y"}})


@dataclass(frozen=True)
class NoticeText:
    """What a notification says: in the messenger, with BB codes, and in mails."""

    message: str = field(repr=False)
    message_out: str = field(repr=False)


def send_notification(client: PortalClient, user_id: int, tag: str, text: NoticeText) -> bool:
    """Notify somebody in the name of nobody, in place of what had the same ``tag``; False where it was not taken.

    Idempotent by its tag. Raises ``ExchangeError``.
    """
    fields: dict[str, Json] = {
        "USER_ID": user_id,
        "MESSAGE": text.message,
        "MESSAGE_OUT": text.message_out,
        "TAG": tag,
    }
    return client.invoke("im.notify.system.add", fields) is not False


def withdraw_notification(client: PortalClient, tag: str) -> None:
    """Take back the notification with a tag, where there is one. Raises ``ExchangeError``."""
    client.invoke("im.notify.delete", {"TAG": tag})
