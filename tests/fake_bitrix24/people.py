"""Users of a portal and what they may do."""

from dataclasses import dataclass, field

# Rights of telephony (docs: api-reference/telephony/voximplant): managers may call, administrators everything.
MANAGE_LINES = "lines.modify"
CALL_ANY = "call.any"
SEE_STATISTICS = "statistics.view"
# Rights of the CRM (docs: crm); the fake knows one for all types of cards.
CRM_READ = "crm.read"
CRM_ADD = "crm.add"
MANAGER_RIGHTS = frozenset({CALL_ANY, CRM_READ, CRM_ADD})
ALL_RIGHTS = frozenset({CALL_ANY, CRM_READ, CRM_ADD, MANAGE_LINES, SEE_STATISTICS})


@dataclass
class FakeUser:
    """A person with an account on one portal."""

    id: int
    name: str
    last_name: str
    admin: bool = False
    rights: set[str] = field(default_factory=lambda: set(MANAGER_RIGHTS))
    language: str = "en"
    time_zone: str = "Europe/Berlin"
    dismissed: bool = False
    departments: list[int] = field(default_factory=lambda: [1])

    @property
    def full_name(self) -> str:
        """Name and surname."""
        return f"{self.name} {self.last_name}"
