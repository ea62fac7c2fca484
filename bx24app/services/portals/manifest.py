"""What the app declares to a portal: scopes, placements, events and rules, from ``manifest/app.json``."""

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from bx24app.bitrix24.place import smart_process_of

# The app's own page, which needs no binding (docs: api-reference/widgets/index.md).
OWN_PAGE = "DEFAULT"
# The scope of the automation rules.
RULES_SCOPE = "bizproc"
# Which scope a placement or an event needs, by the beginning of its code, beside that of all placements.
_SCOPES_BY_CODE = {
    "CRM_": "crm",
    "ONCRM": "crm",
    "CALL_CARD": "telephony",
    "TELEPHONY_": "telephony",
    "ONVOX": "telephony",
}
PATH = Path(__file__).parent.parent.parent.parent / "manifest" / "app.json"


class Placement(BaseModel):
    """One place of the portal where a page of ours appears."""

    model_config = ConfigDict(frozen=True)

    code: str
    path: str
    title: dict[str, str]

    def of_type(self, type_id: int) -> "Placement":
        """The same placement in the cards of one smart process."""
        return self.model_copy(update={"code": self.code.format(type=type_id)})


class RuleText(BaseModel):
    """An automation rule of the app: its name and description, and whether the automation waits for its result."""

    model_config = ConfigDict(frozen=True)

    code: str
    waits: bool
    name: dict[str, str]
    description: dict[str, str]


class RuleField(BaseModel):
    """A property that is chosen in a rule, or a value that comes back; ``options`` of a list, by their values."""

    model_config = ConfigDict(frozen=True)

    id: str
    type: str
    name: dict[str, str]
    options: dict[str, dict[str, str]] = {}


class Manifest(BaseModel):
    """The declared app."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    scopes: tuple[str, ...]
    urls: dict[str, str]
    placements: tuple[Placement, ...]
    smart_process_tab: Placement
    events: tuple[str, ...]
    rules: tuple[RuleText, ...]
    properties: tuple[RuleField, ...]
    results: tuple[RuleField, ...]

    def placements_for(self, type_ids: Iterable[int]) -> list[Placement]:
        """The placements of a portal that has chosen these smart processes."""
        return [*self.placements, *(self.smart_process_tab.of_type(type_id) for type_id in type_ids)]

    def binds(self, placement: str) -> bool:
        """Tell whether a page of ours appears in the placement; smart processes are each portal's own choice."""
        return placement == OWN_PAGE or smart_process_of(placement) > 0 or placement in self._paths

    def opens_desk(self, placement: str) -> bool:
        """Tell whether the whole desk opens there, and not a compact page."""
        return (self._paths | {OWN_PAGE: self.urls["application"]}).get(placement) == self.urls["application"]

    @property
    def _paths(self) -> dict[str, str]:
        return {one.code: one.path for one in self.placements}


def needed_scope(code: str) -> str:
    """The scope that a placement or an event needs of its own; "" where it needs none."""
    return next((scope for start, scope in _SCOPES_BY_CODE.items() if code.startswith(start)), "")


@cache
def manifest() -> Manifest:
    """Read the manifest, once per process."""
    return Manifest.model_validate_json(PATH.read_bytes())


@cache
def manifest_digest() -> str:
    """Tells one manifest from another: 64 hex digits."""
    return hashlib.sha256(PATH.read_bytes()).hexdigest()
