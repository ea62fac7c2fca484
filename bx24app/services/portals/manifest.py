"""What the app declares to a portal: scopes, placements and events, from ``manifest/app.json``."""

import hashlib
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

# The app's own page, which needs no binding (docs: api-reference/widgets/index.md).
OWN_PAGE = "DEFAULT"
PATH = Path(__file__).parent.parent.parent.parent / "manifest" / "app.json"


class Placement(BaseModel):
    """One place of the portal where a page of ours appears."""

    model_config = ConfigDict(frozen=True)

    code: str
    path: str
    title: dict[str, str]


class Manifest(BaseModel):
    """The declared app."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    scopes: tuple[str, ...]
    urls: dict[str, str]
    placements: tuple[Placement, ...]
    events: tuple[str, ...]

    def binds(self, placement: str) -> bool:
        """Tell whether a page of ours appears in the placement."""
        return placement == OWN_PAGE or any(one.code == placement for one in self.placements)

    def opens_desk(self, placement: str) -> bool:
        """Tell whether the whole desk opens there, and not a compact page."""
        bound = {one.code: one.path for one in self.placements} | {OWN_PAGE: self.urls["application"]}
        return bound.get(placement) == self.urls["application"]


@cache
def manifest() -> Manifest:
    """Read the manifest, once per process."""
    return Manifest.model_validate_json(PATH.read_bytes())


@cache
def manifest_digest() -> str:
    """Tells one manifest from another: 64 hex digits."""
    return hashlib.sha256(PATH.read_bytes()).hexdigest()
