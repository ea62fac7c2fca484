"""Steps of time, of telephones, and of what is told of them."""

import random

from bx24app.models import utcnow
from bx24app.services.dialling import call_history, reconcile
from tests.faults.checks import Broken
from tests.faults.phones import Word, some
from tests.faults.stage import LINES, Stage
from tests.faults.zygote import claim_due, do_chores

PASSES = (0.3, 3, 20, 70, 95, 130, 400, 700, 1900, 3800, 4000, 15000)


class Calls(Stage):
    """What happens to calls, and what the app hears of it."""

    def _do_pass(self, rng: random.Random) -> None:
        self._pass(rng.choice(PASSES))

    def _pass(self, seconds: float) -> None:
        if seconds > 30:
            self._ring_late(True)
        self.world.pass_time(seconds)
        self.world.scene.phones.ring_out()

    def _do_clock_jumps(self, rng: random.Random) -> None:
        """Our clock is set, the portal's is not."""
        seconds = rng.choice([-7200, -600, -45, 200])
        self.world.pass_time(seconds)
        self.world.clock.advance(-seconds)

    def _do_phones(self, rng: random.Random) -> None:
        for story in self.world.scene.stories:
            if rng.random() < 0.8:
                story.go_on()
                self.world.pass_time(rng.uniform(1, 20))

    def _ring_late(self, now: bool) -> None:
        """What the portal executed although the connection was gone."""
        scene = self.world.scene
        while now and scene.late:
            late = scene.late.pop()
            arrival = late.arrival
            arrival.call = scene.phones.dial(
                arrival.line, arrival.to_number, late.text, "usenglishfemale", self.world.portal.manager
            )
            self.world.begin_story(arrival, self.plan.dials[-1 - len(scene.stories) % len(self.plan.dials)])

    def _do_deliver(self, rng: random.Random) -> None:
        for word, times in some(rng, self.world.scene.phones.words):
            self.world.scene.phones.words.remove(word)
            for _ in range(times):
                self._tell(word)

    def _tell(self, word: Word) -> None:
        status = self.world.tell(word)
        self.say(f"      {word.event} {status}")
        if status != 200 and not self._is_hurt:
            raise Broken("event_refused", f"{word.event} was answered {status}")

    def _do_history(self, rng: random.Random) -> None:
        self._show_rows(rng)
        if rng.random() < 0.2:
            self.world.portal.faults.add(
                rng.choice(["empty", "html_502", "truncated_json"]), "voximplant.statistic.get"
            )
        self._guarded(call_history.read_next_history)
        self.world.portal.faults = type(self.world.portal.faults)()

    def _show_rows(self, rng: random.Random) -> None:
        scene = self.world.scene
        if rng.random() < 0.1:
            scene.phones.fill(rng.choice([3, 60]), self._number(rng.randrange(3)))
        for row in list(scene.phones.rows):
            if rng.random() < 0.7:
                scene.phones.show(row, self.plan.dials[len(scene.phones.history) % len(self.plan.dials)].row)

    def _do_stranger(self, rng: random.Random) -> None:
        """A true call of somebody else with a number of ours: by a native form, by the line itself, by hand."""
        number, phones = self._number(rng.randrange(3)), self.world.scene.phones
        kind = rng.choice(["other_line", "other_line", "by_hand", "same_line"])
        line = LINES[0] if kind == "same_line" else LINES[1]
        if kind == "same_line":
            self.world.scene.ledger.ambiguous.add(number)
        data: dict[str, object] = {
            "CALL_ID": f"call.{rng.randrange(10**9)}",
            "CALL_TYPE": "2" if kind == "by_hand" else "4",
            "PHONE_NUMBER": number,
            "PORTAL_NUMBER": line,
            "CALL_FAILED_CODE": rng.choice(["200", "304"]),
            "CALL_DURATION": "12",
            "CALL_START_DATE": utcnow().isoformat(timespec="seconds"),
        }
        redial = {"REDIAL_ATTEMPT": "1"} if kind == "same_line" and rng.random() < 0.5 else {}
        phones.show_foreign(data | redial)
        if rng.random() < 0.5:
            self._tell(Word("ONVOXIMPLANTCALLEND", data))

    def _do_forge(self, rng: random.Random) -> None:
        """A former employee invents events of calls that go on, have ended, or never were; they change nothing."""
        self._guarded(reconcile.reconcile_pending)
        self._tell_states()
        before = self._seen
        for _ in range(rng.choice([1, 1, 3])):
            self._tell(self._forged(rng))
        self._guarded(reconcile.reconcile_pending)
        self.world.scene.ledger.check_unchanged(before)

    def _forged(self, rng: random.Random) -> Word:
        calls = self.world.scene.phones.calls
        invented = [f"callback.{rng.randrange(10**9)}", f"call.{rng.randrange(100)}"]
        going_on = [call.call_id for call in calls if call.state != "ended"]
        call_id = rng.choice([call.call_id for call in calls] * 2 + going_on * 8 + invented)
        number = next((call.number for call in calls if call.call_id == call_id), self._number(rng.randrange(3)))
        data: dict[str, object] = {
            "CALL_ID": call_id,
            "CALL_TYPE": rng.choice(["4", "4", "", "1", "2"]),
            "PHONE_NUMBER": rng.choice([number, number, ""]),
            "PORTAL_NUMBER": LINES[0],
            "ACCOUNT_SEARCH_ID": LINES[0],
            "CALL_FAILED_CODE": rng.choice(["200", "304", "402", "486", "603"]),
            "CALL_DURATION": "75",
            "CALL_START_DATE": utcnow().isoformat(timespec="seconds"),
        }
        return Word(rng.choice(["ONVOXIMPLANTCALLEND"] * 3 + ["ONVOXIMPLANTCALLINIT"]), data)

    def _do_hurt(self, rng: random.Random) -> None:
        """The database goes away just before somebody needs it."""
        self._is_hurt = True
        self.world.hurt(restart=rng.random() < 0.3)
        self._guarded(do_chores if rng.random() < 0.5 else lambda: claim_due(0))
        self.world.database.mend()
        self._is_hurt = False
