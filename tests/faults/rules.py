"""Steps of automation rules: documents ask for callbacks, and wait for what comes of them."""

import random
from functools import partial
from urllib.parse import urlencode

from bx24app.models import utcnow
from bx24app.services.security import digests
from tests.fake_bitrix24.automation import RuleStep
from tests.fake_bitrix24.events import Delivery, http_build_query
from tests.faults.checks import Broken
from tests.faults.rule_checks import PostedRun
from tests.faults.stage import LINES
from tests.faults.workers import Workers
from tests.faults.zygote import do_rules

ONCE, WAITS = "callback_start", "callback_start_wait"
MOST_RUNS = 4
POST_STEPS, RULE_STEPS = 40, 90
SEND, CARD = "bizproc.event.send", "batch"
# What may happen to what a rule asks the portal; "" is the usual.
RULE_FAULTS = {
    "": 60,
    "drop_before": 6,
    "drop_after": 10,
    "html_502": 4,
    "html_502_after": 6,
    "truncated_json": 3,
    "error:QUERY_LIMIT_EXCEEDED:503": 5,
    "error:INTERNAL_SERVER_ERROR:500": 4,
    "error:INSTANCE_LOCKED:400": 3,
    "error:expired_token:401": 3,
}


class Rules(Workers):
    """Whatever happens between the post of a run and its result."""

    def _do_rule(self, rng: random.Random) -> None:
        """A document enters a stage, or several of one customer do."""
        for _ in range(rng.choice([1, 1, 1, 2])):
            posted = self._new_run(rng)
            if rng.random() < 0.15:
                self.world.doubt_next_proof()
            if rng.random() < 0.1:
                self._is_hurt = True
                self.world.hurt()
            self._post(posted)
            if rng.random() < 0.2:
                self._post(posted)
            self.world.database.mend()
            self._is_hurt = False

    def _new_run(self, rng: random.Random) -> PostedRun:
        world, number = self.world, self._number(rng.randrange(3))
        properties: dict[str, object] = {"line": LINES[0]}
        if rng.random() < 0.5:
            properties["number"] = number
        if rng.random() < 0.2:
            properties["delay"] = rng.choice(["1", "45"])
        crm = world.portal.crm
        document = f"DEAL_{crm.add_deal('Roof', crm.add_contact('Anna', phones=[number]))}"
        code, token = rng.choice([WAITS, WAITS, WAITS, ONCE]), world.portal.automation.new_token()
        fields = world.portal.automation.fields(
            world.application, code, document, token, world.portal.administrator, properties
        )
        pairs = http_build_query({**fields, "ts": int(utcnow().timestamp())})
        step = RuleStep(token, code, document, code == WAITS, Delivery("", "", pairs))
        world.portal.automation.steps.append(step)
        with world.app.app_context():
            posted = PostedRun(step, number, digests.digest("rule_run", token))
        world.scene.rules.posted.append(posted)
        return posted

    def _post(self, posted: PostedRun) -> None:
        status = self.world.post_rule(urlencode(posted.step.delivery.pairs))
        self.say(f"      {posted.step.code} {posted.step.document} {posted.number}: {status}")
        # A post that comes again after more than an hour proves nothing any more.
        if status != 200 and not self._is_hurt and not (status == 403 and posted.is_taken):
            raise Broken("rule_refused", f"a run was answered {status}")
        posted.is_taken |= status == 200

    def _do_rule_killed(self, rng: random.Random) -> None:
        """The web process is killed while it takes the post of a run."""
        posted = self._new_run(rng)
        body = urlencode(posted.step.delivery.pairs)
        posted.is_taken = self.world.run_worker("post", rng.randrange(1, POST_STEPS), body=body)
        self.say("      answered" if posted.is_taken else "      killed")

    def _do_rule_again(self, rng: random.Random) -> None:
        """The post of a run comes once more, whatever became of it."""
        taken = [one for one in self.world.scene.rules.posted if one.is_taken]
        if taken:
            self._post(rng.choice(taken))

    def _do_rule_work(self, rng: random.Random) -> None:
        self._add_rule_fault(rng)
        self._guarded(partial(do_rules, rng.choice([1, 3, 5])))

    def _do_rule_work_killed(self, rng: random.Random) -> None:
        """A worker is killed between two steps of its work on runs, or by the portal that has taken a result."""
        self._add_rule_fault(rng)
        how = rng.choices(["step", "result"], [80, 20])[0]
        self.world.scene.kills = "" if how == "step" else how
        kill_at = rng.randrange(1, RULE_STEPS) if how == "step" else None
        ended = self.world.run_worker("rules", kill_at, rng.choice([1, 3]))
        self.say("      came to its end" if ended else f"      killed: {how} {kill_at or ''}")

    def _do_rule_race(self, rng: random.Random) -> None:
        """Two workers work on runs at the same moment."""
        work = partial(self._guarded, partial(do_rules, 2))
        self._at_once(work, work)

    def _do_document_gone(self, rng: random.Random) -> None:
        """Somebody deletes a document whose rule has run."""
        document = rng.choice(self.world.scene.rules.posted).step.document
        self.world.portal.crm.entities["DEAL"][int(document.removeprefix("DEAL_"))] = None  # type: ignore[assignment]

    def _add_rule_fault(self, rng: random.Random) -> None:
        kind, _, details = rng.choices(list(RULE_FAULTS), list(RULE_FAULTS.values()))[0].partition(":")
        code, _, status = details.partition(":")
        if kind:
            self.world.portal.faults.add(kind, rng.choice([SEND, SEND, CARD]), code=code, status=int(status or 0))
