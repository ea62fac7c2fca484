"""The CRM of a portal: leads, deals, contacts and companies with their numbers."""

from typing import Any

Entity = dict[str, Any]
TYPES = ("LEAD", "DEAL", "CONTACT", "COMPANY")


def _phones(phones: list[str] | list[tuple[str, str]]) -> list[dict[str, str]]:
    """Multifields as the CRM writes them (docs: crm-multifield)."""
    pairs = [(phone, "WORK") if isinstance(phone, str) else phone for phone in phones]
    return [
        {"ID": str(900 + number), "VALUE_TYPE": kind, "VALUE": value, "TYPE_ID": "PHONE"}
        for number, (value, kind) in enumerate(pairs)
    ]


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

    def add_lead(self, title: str, name: str = "", phones: Any = ()) -> int:
        """Add a lead; phones are numbers or (number, kind)."""
        return self._add("LEAD", {"TITLE": title, "NAME": name, "LAST_NAME": None}, phones)

    def add_contact(self, name: str, last_name: str = "", phones: Any = ()) -> int:
        """Add a contact."""
        return self._add("CONTACT", {"NAME": name, "LAST_NAME": last_name}, phones)

    def add_company(self, title: str, phones: Any = ()) -> int:
        """Add a company."""
        return self._add("COMPANY", {"TITLE": title}, phones)

    def add_deal(self, title: str, contact_id: int = 0, company_id: int = 0) -> int:
        """Add a deal of a contact or a company."""
        fields = {"TITLE": title, "CONTACT_ID": str(contact_id or 0), "COMPANY_ID": str(company_id or 0)}
        return self._add("DEAL", fields)

    def add_by_rest(self, kind: str, fields: Entity) -> int:
        """Add what ``crm.<kind>.add`` was given; ids are numbers, multifields lists of values."""
        phones = [(str(row.get("VALUE")), str(row.get("VALUE_TYPE") or "WORK")) for row in fields.get("PHONE") or []]
        contacts = fields.get("CONTACT_IDS") or []
        links = {"CONTACT_ID": str(contacts[0] if contacts else 0), "COMPANY_ID": "0"} if kind == "DEAL" else {}
        plain = {name: value for name, value in fields.items() if name not in ("PHONE", "CONTACT_IDS")}
        return self._add(kind, {**plain, **links}, phones)

    def find(self, kind: str, number: object) -> Entity | None:
        """An entity, or None."""
        text = str(number)
        return self.entities[kind].get(int(text)) if text.isdigit() else None
