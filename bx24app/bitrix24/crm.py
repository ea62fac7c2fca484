"""The CRM: the telephone numbers of an entity, the entities of a number, and new cards for a customer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bx24app.bitrix24.answers import Json, as_object
from bx24app.bitrix24.client import BatchAnswer, PortalClient
from bx24app.bitrix24.errors import MethodUnknown
from bx24app.outgoing.errors import ExchangeError, UnreadableAnswer

ENTITY_TYPES = ("LEAD", "DEAL", "CONTACT", "COMPANY")
# The order in which we choose the owner of a number: a known person, then a company, then a lead.
PREFERRED_TYPES = ("CONTACT", "COMPANY", "LEAD")
# The types that we create: a lead, or a contact with a deal on a portal without leads.
CREATED_TYPES = ("LEAD", "CONTACT", "DEAL")
SIMPLE_MODE = 2
# docs: crm-duplicate-find-by-comm.md
MAX_SPELLINGS = 20
# We mark our cards (docs: ORIGINATOR_ID, ORIGIN_ID), so that we find them again when an answer was lost.
ORIGINATOR = "callback-desk"
MAX_CARD_NAME, MAX_TITLE = 50, 255
# Of one card, and of one number with its note: longer than what is read, for a number that was cut is another one.
MAX_PHONES, MAX_PHONE, MAX_KIND = 50, 256, 64
# The contacts of one card whose numbers are offered.
MAX_CONTACTS = 5
MAX_CARD_IDS, MAX_CARD_ID_DIGITS = 500, 10
# Portals read comments as BB code, older portals as HTML.
NO_MARKUP = str.maketrans("[]<>", "()()")
UTM_FIELDS = ("UTM_SOURCE", "UTM_MEDIUM", "UTM_CAMPAIGN", "UTM_CONTENT", "UTM_TERM")
BatchCommands = dict[str, tuple[str, Mapping[str, str | int]]]


@dataclass(frozen=True)
class CrmPhone:
    """A number as it stands in the CRM; ``kind`` is ``WORK``, ``MOBILE``, ``HOME`` or similar.

    ``owner`` names the card it stands on, where that is not the card that was asked for.
    """

    value: str = field(repr=False)
    kind: str
    owner: str = field(default="", repr=False)


@dataclass(frozen=True)
class CrmEntity:
    """A CRM entity with its name and its numbers."""

    type: str
    id: int
    title: str
    phones: tuple[CrmPhone, ...]
    # Of the person, or of the company; "" where the card names nobody.
    name: str = ""


def commands_for(entity_type: str, entity_id: int) -> BatchCommands:
    """Make the parts of a batch that read an entity with its contacts, its company, and that of its first contact.

    A deal has no numbers of its own, a lead of a known customer often has none (docs: IS_RETURN_CUSTOMER). References
    that lead nowhere fail as parts of their own. Docs: crm.<type>.get, crm.<type>.contact.items.get.
    """
    kind = entity_type.lower()
    commands: BatchCommands = {"entity": (f"crm.{kind}.get", {"ID": entity_id})}
    if entity_type != "CONTACT":
        # Older portals lack the list of contacts; the first one stands in the card.
        if entity_type != "COMPANY":
            commands["contact"] = ("crm.contact.get", {"ID": "$result[entity][CONTACT_ID]"})
            commands["contact_company"] = ("crm.company.get", {"ID": "$result[contact][COMPANY_ID]"})
        commands["contacts"] = (f"crm.{kind}.contact.items.get", {"id": entity_id})
        for number in range(MAX_CONTACTS):
            reference = f"$result[contacts][{number}][CONTACT_ID]"
            commands[f"contact_{number}"] = ("crm.contact.get", {"ID": reference})
    if entity_type != "COMPANY":
        commands["company"] = ("crm.company.get", {"ID": "$result[entity][COMPANY_ID]"})
    return commands


# The cards from which numbers are read, those that name a person before the company.
_OWNERS = ("contact", *(f"contact_{number}" for number in range(MAX_CONTACTS)), "company", "contact_company")


def _phones(fields: Json, owner: str = "") -> list[CrmPhone]:
    rows = fields.get("PHONE") if isinstance(fields, dict) else None
    return [
        CrmPhone(str(row["VALUE"])[:MAX_PHONE], str(row.get("VALUE_TYPE") or "")[:MAX_KIND], owner)
        for row in (rows if isinstance(rows, list) else [])[:MAX_PHONES]
        if isinstance(row, dict) and row.get("VALUE")
    ]


def _person(fields: Mapping[str, Json]) -> str:
    return " ".join(str(fields[key]) for key in ("NAME", "LAST_NAME") if fields.get(key))


def _title(fields: Mapping[str, Json]) -> str:
    return ", ".join(part for part in (_person(fields), str(fields.get("TITLE") or "")) if part)[:MAX_TITLE]


def read_entity(entity_type: str, entity_id: int, answer: BatchAnswer) -> CrmEntity:
    """Read the entity from the answer to its commands; raises the error of the entity's own part."""
    fields = answer.result("entity")
    fields = fields if isinstance(fields, dict) else {}
    phones = _each_once(_phones(fields) + _phones_of_owners(answer))
    name = _title(fields) if entity_type == "COMPANY" else _person(fields)[:MAX_TITLE]
    return CrmEntity(entity_type, entity_id, _title(fields), phones, name)


def _phones_of_owners(answer: BatchAnswer) -> list[CrmPhone]:
    cards = (answer.results.get(name) for name in _OWNERS if name not in answer.errors)
    return [phone for card in cards if isinstance(card, dict) for phone in _phones(card, _title(card))]


def _each_once(phones: Sequence[CrmPhone]) -> tuple[CrmPhone, ...]:
    unique: dict[str, CrmPhone] = {}
    for phone in phones:
        unique.setdefault(phone.value, phone)
    return tuple(unique.values())[:MAX_PHONES]


def item_commands(type_id: int | str, id: int | str) -> BatchCommands:
    """Make the parts of a batch that read an item with its contacts and companies. Docs: crm.item.get."""
    item = "$result[entity][item]"
    commands: BatchCommands = {
        "entity": ("crm.item.get", {"entityTypeId": type_id, "id": id}),
        "contact": ("crm.contact.get", {"ID": f"{item}[contactId]"}),
        "contact_company": ("crm.company.get", {"ID": "$result[contact][COMPANY_ID]"}),
        "company": ("crm.company.get", {"ID": f"{item}[companyId]"}),
    }
    for number in range(MAX_CONTACTS):
        commands[f"contact_{number}"] = ("crm.contact.get", {"ID": f"{item}[contactIds][{number}]"})
    return commands


def read_item(kind: str, id: int, answer: BatchAnswer) -> CrmEntity:
    """Read an item from the answer to its commands; one of a smart process has no numbers. Raises its own error."""
    item = as_object(as_object(answer.result("entity")).get("item"))
    name = " ".join(str(item[key]) for key in ("name", "lastName") if item.get(key))[:MAX_TITLE]
    own = phones_among(item.get("fm"), ("typeId", "value", "valueType"))
    title = str(item.get("title") or "")[:MAX_TITLE] or name
    return CrmEntity(kind, id, title, _each_once([*own, *_phones_of_owners(answer)]), name)


def phones_among(rows: Json, names: tuple[str, str, str]) -> list[CrmPhone]:
    """The numbers among the ways to reach somebody, by the names of the fields of type, value and kind."""
    of_type, value, kind = names
    return [
        CrmPhone(str(row[value])[:MAX_PHONE], str(row.get(kind) or "")[:MAX_KIND])
        for row in (rows if isinstance(rows, list) else [])[:MAX_PHONES]
        if isinstance(row, dict) and row.get(of_type) == "PHONE" and row.get(value)
    ]


@dataclass(frozen=True)
class NamedCard:
    """What a card is called, and who is responsible for it; "" where the portal does not tell."""

    title: str = field(repr=False)
    person: str = field(default="", repr=False)


def naming_commands(entity_type: str, entity_id: int) -> BatchCommands:
    """Make the parts of a batch that read the name of a card and who is responsible for it.

    Docs: crm.<type>.get, user.get.
    """
    return {
        "card": (f"crm.{entity_type.lower()}.get", {"ID": entity_id}),
        "responsible": ("user.get", {"ID": "$result[card][ASSIGNED_BY_ID]"}),
    }


def read_named_card(answer: BatchAnswer) -> NamedCard | None:
    """Read the answer to ``naming_commands``; None for a card that is not there, or that its reader may not see."""
    fields = answer.results.get("card")
    if "card" in answer.errors or not isinstance(fields, dict):
        return None
    title = (str(fields.get("TITLE") or "") or _person(fields))[:MAX_TITLE]
    return NamedCard(title, _responsible(answer, str(fields.get("ASSIGNED_BY_ID")))) if title else None


def _responsible(answer: BatchAnswer, user_id: str) -> str:
    """The name of that user alone: a question without an id is answered with everybody."""
    listed = answer.results.get("responsible")
    people = listed[:1] if "responsible" not in answer.errors and isinstance(listed, list) else []
    named = (_person(one) for one in people if isinstance(one, dict) and str(one.get("ID")) == user_id)
    return next(named, "")[:MAX_TITLE]


@dataclass(frozen=True)
class CrmMatches:
    """The cards for a number: the newest of each type (``found``), and those that we made for this request (``made``).

    ``denied`` is the error for which one type could not be searched; None when all were searched.
    """

    found: dict[str, int]
    made: dict[str, int]
    is_simple: bool
    denied: ExchangeError | None

    @property
    def customer(self) -> tuple[str, int] | None:
        """The card in which the callback is shown; None when no card has the number."""
        return next(((kind, self.found[kind]) for kind in PREFERRED_TYPES if kind in self.found), None)


def look_up(client: PortalClient, spellings: Sequence[str], origin: str) -> CrmMatches:
    """Search the CRM for a number, in ``spellings``, and for the cards that we made for the request ``origin``.

    The CRM compares spellings, of which it takes ``MAX_SPELLINGS``. Each type is searched separately, because 20 hits
    of one type would hide the next type. Raises ``ExchangeError`` when the batch failed. Docs:
    crm/duplicates/crm-duplicate-find-by-comm.md, crm.settings.mode.get, the list methods.
    """
    values = {"type": "PHONE"} | {f"values[{i}]": text for i, text in enumerate(spellings[:MAX_SPELLINGS])}
    commands: BatchCommands = {
        kind: ("crm.duplicate.findbycomm", {"entity_type": kind, **values}) for kind in PREFERRED_TYPES
    }
    ours = {"filter[=ORIGINATOR_ID]": ORIGINATOR, "filter[=ORIGIN_ID]": origin, "select[0]": "ID"}
    commands |= {f"our_{kind}": (f"crm.{kind.lower()}.list", ours) for kind in CREATED_TYPES}
    commands["mode"] = ("crm.settings.mode.get", {})
    answer = client.batch(commands)
    denied = next((error for error in answer.errors.values() if not isinstance(error, MethodUnknown)), None)
    return CrmMatches(
        found=_newest({kind: _found(answer, kind) for kind in PREFERRED_TYPES}),
        made=_newest({kind: _ours(answer, kind) for kind in CREATED_TYPES}),
        is_simple=str(answer.results.get("mode")) == str(SIMPLE_MODE),
        denied=denied,
    )


def _newest(ids: Mapping[str, list[int]]) -> dict[str, int]:
    return {kind: max(found) for kind, found in ids.items() if found}


def _found(answer: BatchAnswer, kind: str) -> list[int]:
    if kind in answer.errors:
        return []
    return _ids(as_object(answer.result(kind)).get(kind))


def _ours(answer: BatchAnswer, kind: str) -> list[int]:
    rows = answer.results.get(f"our_{kind}")
    return _ids([row.get("ID") for row in rows if isinstance(row, dict)] if isinstance(rows, list) else None)


def _ids(values: Json) -> list[int]:
    listed = (values if isinstance(values, list) else [])[:MAX_CARD_IDS]
    return [id for id in map(read_id, listed) if id is not None]


def read_id(value: Json) -> int | None:
    """An id that a row of ours can hold; a portal may say anything."""
    text = str(value)
    is_id = text.isascii() and text.isdigit() and len(text) <= MAX_CARD_ID_DIGITS
    return int(text) if is_id and int(text) < 2**31 else None


@dataclass(frozen=True)
class NewCard:
    """The content of a new card; ``origin`` names the request for which it is made."""

    origin: str
    number: str = field(repr=False)
    name: str = field(repr=False)
    form: str
    topic: str = ""
    page: str = ""
    utm: Mapping[str, str] = field(default_factory=dict)


def add_card(client: PortalClient, kind: str, card: NewCard, contact_id: int | None = None) -> int:
    """Make a lead, a contact or a deal and return its id; not idempotent: a second call makes a second card.

    Docs: crm.lead.add, crm.contact.add, crm.deal.add. Raises ``ExchangeError``.
    """
    fields: dict[str, Json] = {
        "SOURCE_ID": "WEB",
        "SOURCE_DESCRIPTION": card.page,
        "COMMENTS": card.topic.translate(NO_MARKUP),
        "ORIGINATOR_ID": ORIGINATOR,
        "ORIGIN_ID": card.origin,
        **{name: card.utm[name.lower()] for name in UTM_FIELDS if card.utm.get(name.lower())},
    }
    if kind != "CONTACT":
        fields["TITLE"] = f"{card.form}: {card.name or card.number}"[:MAX_TITLE]
    if kind != "DEAL":
        # The CRM accepts no contact without a name.
        fields["NAME"] = (card.name or ("" if kind == "LEAD" else card.number))[:MAX_CARD_NAME]
        fields["PHONE"] = [{"VALUE": card.number, "VALUE_TYPE": "WORK"}]
    elif contact_id is not None:
        fields["CONTACT_IDS"] = [contact_id]
    made = client.invoke(f"crm.{kind.lower()}.add", {"fields": fields})
    id = read_id(made)
    if id is None:
        raise UnreadableAnswer
    return id
