"""The CRM of a portal: leads, deals, contacts and companies with their numbers."""

from collections.abc import Sequence
from typing import Any

Entity = dict[str, Any]
TYPES = ("LEAD", "DEAL", "CONTACT", "COMPANY")
# Kept with a card, but told by a method of its own.
CONTACTS = "_contacts"


def _phones(phones: list[str] | list[tuple[str, str]]) -> list[dict[str, str]]:
    """Multifields as the CRM writes them (docs: crm-multifield)."""
    pairs = [(phone, "WORK") if isinstance(phone, str) else phone for phone in phones]
    return [
        {"ID": str(900 + number), "VALUE_TYPE": kind, "VALUE": value, "TYPE_ID": "PHONE"}
        for number, (value, kind) in enumerate(pairs)
    ]


def _links(contacts: Sequence[int]) -> Entity:
    """The contacts of a card: the first one in the card itself, all of them in a list of their own."""
    return {"CONTACT_ID": str(contacts[0]) if contacts else None, CONTACTS: list(contacts)}


class CRM:
    """Entities by type and id; ids are counted from 1 in each type."""

    def __init__(self) -> None:
        # Without leads: docs: crm.settings.mode.get.
        self.simple_mode = False
        self.entities: dict[str, dict[int, Entity]] = {kind: {} for kind in TYPES}

    def _add(self, kind: str, fields: Entity, phones: Any = ()) -> int:
        number = len(self.entities[kind]) + 1
        entity = {"ID": str(number), **fields}
        if kind != "DEAL":
            # A card without numbers has no PHONE at all.
            entity |= {"HAS_PHONE": "Y", "PHONE": _phones(list(phones))} if phones else {"HAS_PHONE": "N"}
        self.entities[kind][number] = entity
        return number

    def add_lead(
        self, title: str, name: str = "", phones: Any = (), contacts: tuple[int, ...] = (), company_id: int = 0
    ) -> int:
        """Add a lead; phones are numbers or (number, kind). One of a known customer points to them."""
        own = {"TITLE": title, "NAME": name, "LAST_NAME": None, "COMPANY_ID": str(company_id) if company_id else None}
        return self._add("LEAD", own | _links(contacts), phones)

    def add_contact(self, name: str, last_name: str = "", phones: Any = (), company_id: int = 0) -> int:
        """Add a contact, perhaps of a company."""
        own = {"NAME": name, "LAST_NAME": last_name, "COMPANY_ID": str(company_id) if company_id else None}
        number = self._add("CONTACT", own, phones)
        company = self.entities["COMPANY"].get(company_id)
        if company is not None:
            company.setdefault(CONTACTS, []).append(number)
        return number

    def add_company(self, title: str, phones: Any = ()) -> int:
        """Add a company."""
        return self._add("COMPANY", {"TITLE": title}, phones)

    def add_deal(self, title: str, contact_id: int = 0, company_id: int = 0, more: tuple[int, ...] = ()) -> int:
        """Add a deal of a contact, with ``more`` contacts, or of a company."""
        contacts = (contact_id, *more) if contact_id else more
        fields = {"TITLE": title, "COMPANY_ID": str(company_id or 0), **_links(contacts)}
        fields["CONTACT_ID"] = fields["CONTACT_ID"] or "0"
        return self._add("DEAL", fields)

    def add_by_rest(self, kind: str, fields: Entity) -> int:
        """Add what ``crm.<kind>.add`` was given; ids are numbers, multifields lists of values."""
        phones = [(str(row.get("VALUE")), str(row.get("VALUE_TYPE") or "WORK")) for row in fields.get("PHONE") or []]
        contacts = fields.get("CONTACT_IDS") or []
        links = {"COMPANY_ID": "0", **_links(contacts)} if kind == "DEAL" else {}
        plain = {name: value for name, value in fields.items() if name not in ("PHONE", "CONTACT_IDS")}
        return self._add(kind, {**plain, **links}, phones)

    def find(self, kind: str, number: object) -> Entity | None:
        """An entity, or None."""
        text = str(number)
        return self.entities[kind].get(int(text)) if text.isdigit() else None
