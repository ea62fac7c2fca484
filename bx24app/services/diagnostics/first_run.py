"""The first minute of a portal's administrators: four steps until calls come in, kept for all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from bx24app.database import reading, writing
from bx24app.errors import NotFound
from bx24app.models import Form, Portal, PortalSetup, WidgetSighting, utcnow
from bx24app.services.websites import forms


class Step(StrEnum):
    """What is to be done, in this order."""

    LINE = "line"
    HOURS = "hours"
    TEST = "test"
    WEBSITE = "website"


class StepState(StrEnum):
    """How far a step is; ``WAITING``: there is a form, and no website has shown it yet."""

    OPEN = "open"
    WAITING = "waiting"
    DONE = "done"
    SKIPPED = "skipped"


SETTLED = (StepState.DONE, StepState.SKIPPED)


@dataclass(frozen=True)
class FirstRun:
    """Each step with its state; ``snippet`` is of the newest form, ``seen`` is where a website showed one last."""

    steps: dict[Step, StepState]
    snippet: str
    seen: WidgetSighting | None

    @property
    def done(self) -> int:
        """How many steps are done."""
        return sum(state == StepState.DONE for state in self.steps.values())

    @property
    def current(self) -> Step | None:
        """The first step that is neither done nor skipped; None: nothing is left to do."""
        return next((step for step, state in self.steps.items() if state not in SETTLED), None)


def is_open(setup: PortalSetup | None) -> bool:
    """Tell whether the first run is still shown; what is kept of it is none before somebody has said something."""
    return setup is None or setup.closed_at is None


def load_first_run(portal: Portal) -> FirstRun | None:
    """How far the first run of a portal has got; None once it is over. One transaction."""
    with reading() as session:
        setup = session.get(PortalSetup, portal.id)
        return _read(session, portal, setup.steps if setup else {}) if is_open(setup) else None


def _read(session: Session, portal: Portal, said: dict[str, str]) -> FirstRun:
    made = forms.read_forms(session, portal.id)
    seen = _last_seen(session, made)
    found = {
        Step.LINE: _has_line(portal),
        # Hours that were guessed have to be looked at by a person.
        Step.HOURS: False,
        Step.TEST: False,
        Step.WEBSITE: seen is not None,
    }
    steps = {step: StepState.DONE if found[step] else StepState(said.get(step, StepState.OPEN)) for step in Step}
    if made and steps[Step.WEBSITE] not in SETTLED:
        steps[Step.WEBSITE] = StepState.WAITING
    return FirstRun(steps, forms.form_snippet(made[-1]) if made else "", seen)


def _has_line(portal: Portal) -> bool:
    """Nothing is to be chosen where one line can ring, or the default one is there."""
    return len(portal.usable_lines) == 1 or portal.usable_line(portal.settings.default_line_id) is not None


def _last_seen(session: Session, made: Sequence[Form]) -> WidgetSighting | None:
    of_them = WidgetSighting.form_id.in_([form.id for form in made])
    return session.scalar(select(WidgetSighting).where(of_them).order_by(WidgetSighting.seen_at.desc()).limit(1))


def mark_step(portal_id: int, step: Step, state: StepState) -> None:
    """Keep that somebody has done a step, or skips it; commits. Raises ``NotFound`` once the portal is gone."""
    with writing() as session:
        setup = _locked(session, portal_id)
        setup.steps = {**setup.steps, step.value: state.value}


def close_first_run(portal_id: int) -> None:
    """Show the first run to nobody any more; commits. Raises ``NotFound`` once the portal is gone."""
    with writing() as session:
        setup = _locked(session, portal_id)
        setup.closed_at = setup.closed_at or utcnow()


def _locked(session: Session, portal_id: int) -> PortalSetup:
    """The portal's row, made where there is none; the portal is locked, so that two do not make it at once."""
    if session.get(Portal, portal_id, with_for_update=True) is None:
        raise NotFound
    setup = session.get(PortalSetup, portal_id)
    if setup is None:
        setup = PortalSetup(portal_id=portal_id, steps={}, findings=[])
        session.add(setup)
    return setup
