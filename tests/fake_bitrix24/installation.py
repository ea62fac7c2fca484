"""What a portal keeps of an application that is installed there, and how it opens its pages."""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode


@dataclass(frozen=True)
class LaunchPost:
    """What a portal posts into a frame to open a page of an application (docs: api-reference/widgets/index.md)."""

    handler: str
    query: dict[str, str]
    form: dict[str, str] = field(repr=False)

    @property
    def url(self) -> str:
        """The handler with the query that the portal adds."""
        return self.handler + ("&" if "?" in self.handler else "?") + urlencode(self.query)

    @property
    def body(self) -> str:
        """The form, urlencoded."""
        return urlencode(self.form)


@dataclass
class Bindings:
    """An application on this portal: installed, finished, and what it has bound."""

    application_token: str = field(repr=False)
    finished: bool = False
    placements: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    # Automation rules by code, with the fields they were registered with.
    rules: dict[str, dict[str, Any]] = field(default_factory=dict)
