"""What people, visitors and portals send: so many requests a second, in a mix, and how each was answered."""

import http.client
import itertools
import json
import random
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from bx24app.services.websites import challenge
from tests.fake_bitrix24 import FakeCall
from tests.fake_bitrix24.events import http_build_query
from tests.soak.stack import House, Stack
from tests.support.visitors import solved

CLIENTS = 12
TIMEOUT_SECONDS = 30
# A visitor needs a while to fill in the form.
FILLED_IN_SECONDS = 3.0
PROOFS_AHEAD = 60
PEOPLE_PAUSE, PICKED_UP_AFTER, TALK_SECONDS = 0.5, 1.5, 4.0
# One of so many calls is not taken by anybody.
REFUSED_EVERY = 7
FIRST_NUMBER = 4_930_10_000_000
TICKET = re.compile(rb'name="bx24app-ticket" content="([^"]+)"')
Answer = tuple[int, bytes]


@dataclass(frozen=True)
class Answered:
    """One request: of which kind, when it began, what came back (0: nothing), and the seconds that it took."""

    kind: str
    at: float
    status: int
    seconds: float


@dataclass
class Load:
    """Sends requests from several connections at once, at a steady pace, until told to stop."""

    stack: Stack
    rate: float
    seed: int
    answers: list[Answered] = field(default_factory=list)
    # Numbers of callbacks that were accepted, and of those whose answer never came.
    accepted: set[str] = field(default_factory=set)
    uncertain: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.began = time.monotonic()
        self._stop = threading.Event()
        self._turns = itertools.count()
        self._numbers = itertools.count(FIRST_NUMBER)
        self._pages: deque[str] = deque(maxlen=500)
        self._proofs: deque[tuple[float, str, str]] = deque()
        self._connection = threading.local()
        self._tickets = [house.administrator.ticket for house in self.stack.houses]
        self._kinds: dict[str, tuple[float, Callable[[House, random.Random], Answer]]] = {
            "list": (14, self._list),
            "event": (14, self._event),
            "status page": (13, self._status_page),
            "form": (4, self._form),
            "website post": (2.5, self._website_post),
            "staff call": (1.5, self._staff_call),
            "launch": (1, self._launch),
        }
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._solve, self._live)]
        self._threads += [threading.Thread(target=self._send, daemon=True) for _ in range(CLIENTS)]

    def start(self) -> None:
        """Begin to send."""
        self.began = time.monotonic()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Send nothing more, and wait for what is under way."""
        self._stop.set()
        for thread in self._threads:
            thread.join(TIMEOUT_SECONDS + 5)

    def _send(self) -> None:
        try:
            self._send_on()
        finally:
            if (connection := getattr(self._connection, "open", None)) is not None:
                self._close(connection)

    def _send_on(self) -> None:
        while not self._stop.is_set():
            number = next(self._turns)
            rng = random.Random(self.seed * 10**7 + number)
            if self._stop.wait(max(0.0, self.began + number / self.rate - time.monotonic())):
                return
            weights = [weight for weight, _ in self._kinds.values()]
            kind = rng.choices([*self._kinds], weights)[0]
            at = time.monotonic()
            status = 0
            with suppress(OSError, http.client.HTTPException):
                status, _ = self._kinds[kind][1](rng.choice(self.stack.houses), rng)
            self.answers.append(Answered(kind, at - self.began, status, time.monotonic() - at))

    def _ask(self, verb: str, path: str, body: str = "", **headers: str) -> Answer:
        """One request on this thread's connection, which is kept alive."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection = getattr(self._connection, "open", None)
        if connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.stack.port, timeout=TIMEOUT_SECONDS)
            connection.connect()
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connection.open = connection
        try:
            connection.request(verb, path, body.encode() or None, sent)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            self._close(connection)
            raise
        if answer.will_close:
            self._close(connection)
        return answer.status, content

    def _close(self, connection: http.client.HTTPConnection) -> None:
        connection.close()
        self._connection.open = None

    def _list(self, house: House, rng: random.Random) -> Answer:
        path = rng.choice(("/api/v1/callbacks", "/desk/callbacks", "/api/v1/callbacks?state=missed"))
        return self._ask("GET", path, Authorization=f"Bearer {self._ticket_of(house)}")

    def _event(self, house: House, rng: random.Random) -> Answer:
        """An event of a call that is not the app's."""
        data: dict[str, object] = {"CALL_ID": f"own.{rng.getrandbits(64)}", "CALL_TYPE": 1, "PHONE_NUMBER": "+4930"}
        auth = house.portal.event_auth(self.stack.application)
        fields = http_build_query({"event": "ONVOXIMPLANTCALLINIT", "data": data, "auth": auth, "ts": int(time.time())})
        return self._ask("POST", "/events", urlencode(fields), Content_Type="application/x-www-form-urlencoded")

    def _status_page(self, house: House, rng: random.Random) -> Answer:
        """The page of a request that was accepted; until there is one, the form."""
        if not self._pages:
            return self._form(house, rng)
        return self._ask("GET", rng.choice(self._pages), X_Forwarded_For=_address(rng))

    def _form(self, house: House, rng: random.Random) -> Answer:
        return self._ask("GET", f"/w/{house.form_key}", X_Forwarded_For=_address(rng))

    def _website_post(self, _: House, rng: random.Random) -> Answer:
        form_key, proof = self._proof()
        body = {"number": (number := self._number()), "name": "Clara Meyer", "altcha": proof, "idempotency_key": number}
        origin = self.stack.environ["BX24APP_PUBLIC_URL"]
        return self._accept(
            number,
            202,
            lambda: self._ask(
                "POST",
                f"/w/{form_key}/callbacks",
                json.dumps(body),
                Origin=origin,
                Content_Type="application/json",
                X_Forwarded_For=_address(rng),
            ),
        )

    def _staff_call(self, house: House, _: random.Random) -> Answer:
        body = {"to_number": (number := self._number()), "line_id": next(iter(house.portal.lines))}
        ticket = self._ticket_of(house)
        return self._accept(
            number,
            201,
            lambda: self._ask(
                "POST",
                "/api/v1/callbacks",
                json.dumps(body),
                Authorization=f"Bearer {ticket}",
                Content_Type="application/json",
                Idempotency_Key=number,
            ),
        )

    def _launch(self, house: House, _: random.Random) -> Answer:
        """Open the page anew, and use its ticket from now on."""
        post = house.administrator.launches()
        path = f"/?{urlencode(post.query)}"
        status, content = self._ask(
            "POST", path, urlencode(post.form), Content_Type="application/x-www-form-urlencoded"
        )
        if found := TICKET.search(content):
            self._tickets[self.stack.houses.index(house)] = found[1].decode()
        return status, content

    def _accept(self, number: str, status: int, ask: Callable[[], Answer]) -> Answer:
        """Ask for a callback, and note what its answer promises."""
        self.uncertain.add(number)
        answer = ask()
        if answer[0] == status:
            self.accepted.add(number)
        if answer[0] >= 400 or answer[0] == status:
            self.uncertain.discard(number)
        if answer[0] == 202:
            self._pages.append(urlsplit(json.loads(answer[1])["status_url"]).path)
        return answer

    def _ticket_of(self, house: House) -> str:
        return self._tickets[self.stack.houses.index(house)]

    def _number(self) -> str:
        return f"+{next(self._numbers)}"

    def _proof(self) -> tuple[str, str]:
        """A form and a proof for it that somebody has worked for while filling it in."""
        while True:
            with suppress(IndexError):
                made_at, form_key, proof = self._proofs.popleft()
                time.sleep(max(0.0, made_at + FILLED_IN_SECONDS - time.monotonic()))
                return form_key, proof
            time.sleep(0.05)

    def _solve(self) -> None:
        """Make genuine proofs ahead: the work is the visitors' browsers', and stays out of the measurement."""
        challenge.PROOF_COST, challenge.PROOF_COUNTER = 1, (1, 3)
        keys = itertools.cycle(house.form_key for house in self.stack.houses)
        with self.stack.app.app_context():
            while not self._stop.is_set():
                if len(self._proofs) < PROOFS_AHEAD:
                    made_at, form_key = time.monotonic(), next(keys)
                    self._proofs.append((made_at, form_key, solved(challenge.new_challenge(form_key))))
                else:
                    self._stop.wait(0.1)

    def _live(self) -> None:
        """Answer the phones of all portals, and hang up."""
        seen = dict.fromkeys((house.portal.name for house in self.stack.houses), 0)
        under_way: list[FakeCall] = []
        while not self._stop.wait(PEOPLE_PAUSE):
            for house in self.stack.houses:
                calls = house.portal.telephony.calls
                under_way += calls[seen[house.portal.name] :]
                seen[house.portal.name] = len(calls)
            for call in under_way:
                with suppress(ValueError):  # It has stopped ringing meanwhile.
                    _go_on(call, time.time() - call.since, is_taken=int(call.number) % REFUSED_EVERY != 0)
            under_way = [call for call in under_way if call.state != "ended"]


def _go_on(call: FakeCall, seconds: float, *, is_taken: bool) -> None:
    if call.state == "ringing_manager" and seconds > PICKED_UP_AFTER:
        call.manager_answers() if is_taken else call.manager_refuses()
    elif call.state == "ringing_customer" and seconds > PICKED_UP_AFTER:
        call.customer_answers()
    elif call.state == "talking" and seconds > TALK_SECONDS:
        call.hang_up()


def _address(rng: random.Random) -> str:
    return f"198.51.{rng.randrange(256)}.{rng.randrange(256)}"
