"""What a portal shows to its people: activities on cards of the CRM, and notifications in the messenger."""

import itertools
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from markupsafe import Markup, escape

LINK = re.compile(r"\[url=([^\]\s]+)\](.*?)\[/url\]")


@dataclass
class FakeToDo:
    """A universal activity (docs: crm/timeline/activities/todo)."""

    id: int
    owner: tuple[int, int]
    title: str
    description: str
    responsible: int
    deadline: datetime
    completed: bool = False

    def row(self) -> dict[str, Any]:
        """As ``crm.activity.list`` tells it: everything is text."""
        return {
            "ID": str(self.id),
            "OWNER_TYPE_ID": str(self.owner[0]),
            "OWNER_ID": str(self.owner[1]),
            "TYPE_ID": "6",
            "PROVIDER_ID": "CRM_TODO",
            "SUBJECT": self.title,
            "DESCRIPTION": self.description,
            "RESPONSIBLE_ID": str(self.responsible),
            "DEADLINE": self.deadline.isoformat(timespec="seconds"),
            "COMPLETED": "Y" if self.completed else "N",
        }


@dataclass
class FakeNotification:
    """A notification; ``tag`` is unique inside of the application."""

    id: int
    user_id: int
    message: str
    message_out: str
    tag: str
    client_id: str

    @property
    def html(self) -> Markup:
        """As the messenger shows it: links are links, all else is text."""
        parts = LINK.split(self.message)
        shown = [escape(parts[0])]
        for path, label, rest in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
            shown += [Markup('<a href="{}">{}</a>').format(path, label), escape(rest)]
        return Markup("").join(shown)


@dataclass
class Reminders:
    """The to-dos and notifications of a portal."""

    to_dos: dict[int, FakeToDo] = field(default_factory=dict)
    notifications: list[FakeNotification] = field(default_factory=list)
    ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(75311))

    def on_card(self, type_id: int, id: int) -> list[FakeToDo]:
        """The to-dos of a card, the newest first."""
        return [one for one in reversed(self.to_dos.values()) if one.owner == (type_id, id)]

    def of(self, user_id: int) -> list[FakeNotification]:
        """What somebody finds in their messenger, the newest first."""
        return [one for one in reversed(self.notifications) if one.user_id == user_id]
