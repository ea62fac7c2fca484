"""Who is told what: the administrators' choice for each event, and what is told even at night."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel

from bx24app.inputs import SPELLED, TolerantModel
from bx24app.models import Portal
from bx24app.services.portals.settings import Chosen


class NoticeEvent(StrEnum):
    """What somebody may be told of."""

    MISSED = "missed"
    PERSON = "person"
    BUDGET = "budget"
    LINE = "line"
    ACCESS = "access"


# Until somebody acts nothing is called at all: these do not wait for working hours.
URGENT = frozenset({NoticeEvent.LINE, NoticeEvent.ACCESS})
# Usually told to administrators; all else to the form's person, or to whoever asked for the callback.
FOR_ADMINISTRATORS = frozenset({NoticeEvent.LINE, NoticeEvent.ACCESS})


# Each of them is a row and a message for each callback that ends in vain.
MAX_TOLD_PEOPLE = 50


class ToldPeople(TolerantModel, BaseModel):
    """Who is told of one event; ``people`` count where ``to`` says so."""

    to: Annotated[Literal["usual", "administrators", "people", "nobody"], SPELLED] = "usual"
    people: Chosen = []

    @property
    def chosen(self) -> list[int]:
        """The chosen people who are told; an earlier version took more."""
        return self.people[:MAX_TOLD_PEOPLE]


class NotificationChoices(TolerantModel):
    """Who is told of each event."""

    missed: ToldPeople = ToldPeople()
    person: ToldPeople = ToldPeople()
    budget: ToldPeople = ToldPeople()
    line: ToldPeople = ToldPeople()
    access: ToldPeople = ToldPeople()

    @classmethod
    def of(cls, portal: Portal) -> "NotificationChoices":
        """What a portal's administrators have chosen; the usual people at first."""
        return cls.model_validate(portal.settings.notifications or {})

    def told(self, event: NoticeEvent) -> ToldPeople:
        """Who is told of an event."""
        chosen: ToldPeople = getattr(self, event)
        return chosen


def few_people(choices: NotificationChoices) -> NotificationChoices:
    """Refuse choices of more people than are told; raises ``ValueError``."""
    if any(len(choices.told(event).people) > MAX_TOLD_PEOPLE for event in NoticeEvent):
        raise ValueError(f"at most {MAX_TOLD_PEOPLE} people are told of one event")
    return choices
