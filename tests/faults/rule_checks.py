"""What is promised of runs of automation rules, checked when a result arrives, after every step, and in the end."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine, Row, select

from bx24app.models import RuleRun
from tests.fake_bitrix24.automation import RuleStep
from tests.faults.checks import ENDS, Broken, Snapshot, look

NOT_CALLED = "not_called"


@dataclass
class PostedRun:
    """One run as the portal has posted it; ``is_taken``: a post of it was answered with 200."""

    step: RuleStep
    number: str
    digest: str
    is_taken: bool = False


def look_at_runs(observer: Engine) -> Sequence[Row[Any]]:
    """Every run that is stored, as another process sees it."""
    with observer.connect().execution_options(bx24app_writes=False) as connection:
        return connection.execute(select(RuleRun.__table__).order_by(RuleRun.id)).all()


def is_settled(run: Row[Any]) -> bool:
    """Nothing more is to be done about it."""
    return run.stage == "ended" and run.due_at is None


@dataclass
class RuleLedger:
    """The runs of one schedule, apart from what the app says of them."""

    observer: Engine
    posted: list[PostedRun] = field(default_factory=list)

    def hear(self, token: str, state: str) -> None:
        """Check a result that arrives: it is that of a callback which is over. Raises ``Broken``."""
        of_token = [one for one in self.posted if one.step.token == token]
        if not of_token:
            raise Broken("result_untrue", "a result came for a run that was never posted")
        if not of_token[0].step.is_waiting:
            return  # The answer to the first one was lost.
        seen, digest = look(self.observer), of_token[0].digest
        run = next((run for run in look_at_runs(self.observer) if run.token_digest == digest), None)
        own = [row for row in seen.callbacks.values() if (row.idempotency_key or "").endswith(digest)]
        if state == NOT_CALLED:
            if own:
                raise Broken("result_untrue", f"the run of {own[0].id} is told that nobody is called")
            return
        callback = seen.callbacks.get(run.callback_id) if run is not None else None
        if callback is None or not (state in ENDS or (state == "unknown" and callback.asks_since is not None)):
            raise Broken("result_early", f"{state} was sent while the callback is {callback and callback.state}")
        if callback.state != state:
            raise Broken("result_untrue", f"{state} was sent of a callback that is {callback.state}")

    def check(self, seen: Snapshot) -> None:
        """Check what must hold at any moment: a run makes one callback at the most. Raises ``Broken``."""
        made = Counter(row.to_number for row in seen.callbacks.values() if row.source == "robot")
        asked = Counter(one.number for one in self.posted)
        if twice := {number: count for number, count in made.items() if count > asked[number]}:
            raise Broken("rule_twice", f"callbacks {twice} of runs {dict(asked)}")

    def check_end(self) -> None:
        """Check that every run which was taken has come to its end, and that whoever waits was told."""
        runs = {run.token_digest: run for run in look_at_runs(self.observer)}
        for one in self.posted:
            run = runs.get(one.digest)
            if run is None and one.is_taken:
                raise Broken("run_lost", f"{one.step.document} was answered with 200, and is not stored")
            if run is not None and not is_settled(run):
                raise Broken("run_hangs", f"{run.id} is {run.stage}, due {run.due_at}, of {run.callback_id}")
            if run is not None and one.step.is_waiting:
                raise Broken("result_unsent", f"{run.id} has ended ({run.reason}), and the automation waits")
