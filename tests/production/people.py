"""The portal and its people, who reach the installed app over https and check its certificate."""

import http.client
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.attack.proxy import Proxy
from tests.fake_bitrix24 import FakeBitrix24
from tests.fake_bitrix24.telephony import FakeCall
from tests.production.machine import DOMAIN, Machine
from tests.support.actors import Actor, json_of

# A history that could not be read, as by a new release that does not know the test's authority yet, is read again after
# two minutes.
PATIENCE_SECONDS = 180.0
# Below the limits of deploy/nginx.conf for one address, and of the app for one person.
ASKING_PEOPLE, PAUSE_SECONDS = 6, 0.2
FIRST_NUMBER = 4_930_901_000


def wait_for(holds: Callable[[], bool], what: str, told: Callable[[], object] = str) -> None:
    """Wait until something holds; fails after a while, with what is ``told`` then."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"{what}: it never came true {told()}"
        time.sleep(0.1)


@dataclass
class Company:
    """A portal, its administrator with the app open, and the machine that the app is on."""

    machine: Machine
    administrator: Actor
    numbers: int = 0

    @property
    def telephony(self) -> Any:
        return self.administrator.portal.telephony

    def new_number(self) -> str:
        self.numbers += 1
        return f"+{FIRST_NUMBER + self.numbers}"

    def dials_of(self, number: str) -> int:
        return sum(dial["number"] == number for dial in self.telephony.dials)

    def state_of(self, callback_id: str) -> str:
        return str(self.administrator.sees(callback_id)["state"])

    def deliveries(self) -> list[tuple[str, int | None]]:
        """How the last events of the portal were answered."""
        return [(one.event, one.status) for one in self.administrator.portal.events.deliveries[-8:]]

    def calls(self, **body: Any) -> tuple[str, str]:
        """Ask for a callback; returns its id and number."""
        created = self.administrator.requests_callback(number := self.new_number(), **body)
        assert created.status_code == 201, created.text
        return str(json_of(created)["id"]), number

    def is_talking(self) -> tuple[str, str, FakeCall]:
        """A callback whose line rang, whose manager and customer picked up: its id, number and call."""
        callback_id, number = self.calls()
        wait_for(lambda: self.dials_of(number) == 1, "the portal dials")
        [call] = [call for call in self.telephony.calls if call.number == number]
        call.manager_answers()
        call.customer_answers()
        wait_for(
            lambda: self.state_of(callback_id) == "answered", "the app hears that somebody picked up", self.deliveries
        )
        return callback_id, number, call

    def talks(self) -> None:
        """A whole callback, to the end of the conversation; the app knows how it went."""
        callback_id, number, call = self.is_talking()
        call.hang_up()
        wait_for(lambda: self.state_of(callback_id) == "completed", "the outcome is seen")
        assert self.dials_of(number) == 1


def move_in(machine: Machine, fake: FakeBitrix24) -> Company:
    """A portal installs the app over https."""
    application = fake.registry.apps[machine.setting("CLIENT_ID")]
    portal = fake.add_portal("alpha")
    browser = Proxy(machine.https, DOMAIN, fake.client_tls)
    administrator = Actor(browser.test_client(), portal, application, portal.administrator)
    installed = administrator.installs(keeps_hours=True)
    assert installed.status_code == 200, installed.text
    portal.events.wait_until_idle()
    [told] = portal.events.deliveries
    assert (told.event, told.status, told.url.split(":")[0]) == ("ONAPPINSTALL", 200, "https")
    assert administrator.opens().status_code == 200
    assert administrator.asks("PATCH", "/settings", {"hours": ""}).status_code == 200
    return Company(machine, administrator)


@dataclass
class Load:
    """What people who ask all the time were answered; ``longest``: the longest of the waits, in seconds."""

    answers: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0


@contextmanager
def people_who_ask(machine: Machine, ticket: str, tls: ssl.SSLContext | None) -> Iterator[Load]:
    """Ask without a pause while the block runs: reads, and posts that no proxy may send twice."""
    load, over, lock = Load(), threading.Event(), threading.Lock()

    def ask() -> None:
        connection = http.client.HTTPSConnection(DOMAIN, machine.https, timeout=60, context=tls)
        headers = {"Authorization": f"Bearer {ticket}", "Content-Type": "application/json"}
        turns = 0
        while not over.wait(PAUSE_SECONDS):
            turns += 1
            began = time.monotonic()
            try:
                if turns % 2:
                    connection.request("POST", "/api/v1/numbers/read", b'{"number": "030 901820"}', headers)
                else:
                    connection.request("GET", "/api/v1/callbacks", headers=headers)
                answer = connection.getresponse()
                answer.read()
                said = str(answer.status)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                said = type(error).__name__
            with lock:
                load.answers[said] += 1
                load.longest = max(load.longest, time.monotonic() - began)
        connection.close()

    asking = [threading.Thread(target=ask) for _ in range(ASKING_PEOPLE)]
    for thread in asking:
        thread.start()
    try:
        yield load
    finally:
        over.set()
        for thread in asking:
            thread.join()
