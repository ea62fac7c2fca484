"""Which telephone numbers belong to the CRM entity that a page was opened for."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bx24app.bitrix24.answers import Json
from bx24app.bitrix24.client import BatchAnswer

ENTITY_TYPES = ("LEAD", "DEAL", "CONTACT", "COMPANY")
Commands = dict[str, tuple[str, Mapping[str, str | int]]]


@dataclass(frozen=True)
class Phone:
    """A number as the CRM holds it; ``kind`` is ``WORK``, ``MOBILE``, ``HOME`` and the like."""

    value: str = field(repr=False)
    kind: str


@dataclass(frozen=True)
class Entity:
    """A CRM entity with the name to show and the numbers to offer."""

    type: str
    id: int
    title: str
    phones: tuple[Phone, ...]


def commands_for(entity_type: str, entity_id: int) -> Commands:
    """The parts of a batch that read an entity; a deal has no number of its own, but a contact and a company."""
    commands: Commands = {"entity": (f"crm.{entity_type.lower()}.get", {"ID": entity_id})}
    if entity_type == "DEAL":
        commands["contact"] = ("crm.contact.get", {"ID": "$result[entity][CONTACT_ID]"})
        commands["company"] = ("crm.company.get", {"ID": "$result[entity][COMPANY_ID]"})
    return commands


def _phones(fields: Json) -> list[Phone]:
    rows = fields.get("PHONE") if isinstance(fields, dict) else None
    return [
        Phone(str(row["VALUE"]), str(row.get("VALUE_TYPE") or ""))
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, dict) and row.get("VALUE")
    ]


def _title(fields: Mapping[str, Json]) -> str:
    person = " ".join(str(fields[key]) for key in ("NAME", "LAST_NAME") if fields.get(key))
    return ", ".join(part for part in (person, str(fields.get("TITLE") or "")) if part)


def read_entity(entity_type: str, entity_id: int, answer: BatchAnswer) -> Entity:
    """Read the entity from the batch that held its commands; raises the error of its own part."""
    fields = answer.result("entity")
    fields = fields if isinstance(fields, dict) else {}
    phones = _phones(fields)
    for name in ("contact", "company"):
        if name not in answer.errors:
            phones += _phones(answer.results.get(name))
    unique = {phone.value: phone for phone in phones}
    return Entity(entity_type, entity_id, _title(fields), tuple(unique.values()))
