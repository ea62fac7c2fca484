"""What one schedule has under way in the world."""

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.fake_bitrix24 import FakePortal
from tests.fake_bitrix24.faults import Fault
from tests.faults.card_checks import CardLedger
from tests.faults.checks import Arrival, Ledger
from tests.faults.phones import Phones, Story
from tests.faults.rule_checks import RuleLedger
from tests.faults.schedule import DialPlan, Schedule

METHOD = "voximplant.callback.start"


@dataclass
class Late:
    """A dial whose connection is gone, and which the portal executes nevertheless."""

    arrival: Arrival
    text: str


@dataclass
class Scene:
    """What one schedule has under way in the world."""

    plan: Schedule
    ledger: Ledger
    phones: Phones
    rules: RuleLedger
    cards: CardLedger
    stories: list[Story] = field(default_factory=list)
    late: list[Late] = field(default_factory=list)
    hanging: list[Fault] = field(default_factory=list)
    arrived: int = 0
    # How the portal kills the worker that dials, "arrived" or "executed", that sends a "result", or when it has put
    # something on a card, "shown"; "": not at all.
    kills: str = ""
    # The answer to what is put on a card next is lost, and it stands there only later.
    is_next_card_late: bool = False
    late_cards: list[Callable[[], object]] = field(default_factory=list)
    # What happens while the worker waits for the answer that something was put on a card.
    on_shown: Callable[[], object] | None = None
    hurts: int = 0

    @property
    def next_dial(self) -> DialPlan:
        """What will happen to the next request to dial."""
        return self.plan.dials[min(self.arrived, len(self.plan.dials) - 1)]


def add_fault(portal: FakePortal, scene: Scene, plan: DialPlan) -> None:
    """Let the request that is being answered meet what is planned for it."""
    kind, _, details = plan.fault.partition(":")
    code, _, status = details.partition(":")
    if kind == "error":
        words = "Could not find line" if code == "ERROR_CORE" else ""
        portal.faults.add(kind, METHOD, code=code, words=words, status=int(status))
    elif kind == "moved":
        portal.faults.add(kind, METHOD, host=portal.domain)
    elif kind:
        fault = portal.faults.add(kind, METHOD, seconds=5.0)
        if kind.startswith("hang"):
            scene.hanging.append(fault)
