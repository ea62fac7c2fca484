"""The attacks: who tries what, and what must not come of it. Each leaves the world as usable as it found it."""

import itertools
import runpy
import secrets
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from werkzeug.test import TestResponse

from bx24app.services.callbacks.roles import Role
from bx24app.services.security import proof_limits
from tests.attack.world import World, wait_for
from tests.fake_bitrix24.events import http_build_query
from tests.support import ROOT
from tests.support.actors import Actor, post_frame
from tests.support.routes import body_for, filled, guarded_routes, methods_of, routes_with_ids

STRANGER, EMPLOYEE, FORMER, DRIPPING, NEIGHBOUR = "stranger", "employee", "former", "dripping tenant", "another tenant"
GUNICORN = runpy.run_path(str(ROOT / "gunicorn.conf.py"))
# Limits in memory are each process's own.
PROCESSES: int = GUNICORN["workers"]
MORE_THAN_THREADS: int = PROCESSES * GUNICORN["threads"] + 8
WAITING = 40
QUICK_SECONDS = 5.0
# So many genuine tokens one person has.
TOKENS = 4
MOST_AT_ONCE = 16
_addresses = itertools.count()


@dataclass(frozen=True)
class Attack:
    """``run`` tries, and asserts what must not happen.

    ``stores_nothing``: no table may have more rows afterwards. ``is_short``: for ``make test`` too.
    """

    actor: str
    tries: str
    must_not: str
    run: Callable[[World], None]
    stores_nothing: bool = False
    is_short: bool = False


ATTACKS: list[Attack] = []


def attack(
    actor: str, tries: str, must_not: str, *, stores_nothing: bool = False, is_short: bool = False
) -> Callable[[Callable[[World], None]], Callable[[World], None]]:
    """Name an attack and what must not happen."""

    def register(run: Callable[[World], None]) -> Callable[[World], None]:
        ATTACKS.append(Attack(actor, tries, must_not, run, stores_nothing, is_short))
        return run

    return register


def address() -> str:
    """An address from which nobody has come."""
    number = next(_addresses)
    return f"203.0.{113 + number // 250}.{number % 250 + 1}"


def launch(world: World, actor: Actor, path: str = "/", *, at: str = "", **form: str) -> TestResponse:
    """Post what a portal's frame posts, changed, from an address."""
    post = actor.launches()
    sent = {"REMOTE_ADDR": at or address()}
    return world.client().post(path, query_string=post.query, data={**post.form, **form}, environ_base=sent)


def event(world: World, actor: Actor, name: str, data: dict[str, object], *, at: str = "", **auth: str) -> TestResponse:
    """Post an event of an actor's portal; ``auth`` is what the sender knows beside its ``member_id``."""
    known: dict[str, object] = {"member_id": actor.portal.member_id, "domain": actor.portal.domain, **auth}
    fields: dict[str, object] = {"event": name, "data": data, "ts": str(int(time.time())), "auth": known}
    sent = {"REMOTE_ADDR": at or address()}
    return world.client().post("/events", data=dict(http_build_query(fields)), environ_base=sent)


def at_once(count: int, ask: Callable[[int], int]) -> list[int]:
    """Let so many ask at the same time; returns the statuses."""
    with ThreadPoolExecutor(min(count, MOST_AT_ONCE)) as pool:
        return list(pool.map(ask, range(count)))


# Strangers


@attack(
    STRANGER,
    "opens every page with made-up tokens from many addresses",
    "a row, a delay",
    stores_nothing=True,
    is_short=True,
)
def flood_of_launches(world: World) -> None:
    asked = len(world.victim.portal.requests_for("batch"))
    for path in ("/", "/session", "/install"):
        refused = [launch(world, world.victim, path, AUTH_ID=secrets.token_hex(35)).status_code for _ in range(30)]
        assert set(refused) <= {403, 429}
    assert len(world.victim.portal.requests_for("batch")) - asked <= PROCESSES * (proof_limits.QUESTIONS_TO_PORTAL + 1)


@attack(STRANGER, "opens pages of portals that do not exist", "a question for each", stores_nothing=True)
def flood_of_unknown_portals(world: World) -> None:
    server = world.deployment.fake.auth_server.server
    asked, tried = len(server.requests), proof_limits.UNKNOWN_PORTALS * PROCESSES * 2

    def one(_: int) -> int:
        made_up = {"AUTH_ID": secrets.token_hex(35), "member_id": secrets.token_hex(16)}
        return launch(world, world.victim, **made_up).status_code

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(one, range(tried))) == {403, 429}
    assert len(server.requests) - asked <= PROCESSES * (proof_limits.UNKNOWN_PORTALS + 10)


@attack(STRANGER, "sends every event with a made-up application token", "an effect", stores_nothing=True, is_short=True)
def forged_events(world: World) -> None:
    names = ("ONAPPINSTALL", "ONAPPUPDATE", "ONAPPUNINSTALL", "ONVOXIMPLANTCALLINIT", "ONVOXIMPLANTCALLEND", "ONX")
    for name in names:
        told = event(world, world.victim, name, {"CALL_ID": "x", "CLEAN": "1"}, application_token="0" * 32)
        assert told.status_code == 403, name
    for _ in range(10):
        assert event(world, world.victim, "ONAPPPAYMENT", {}).status_code == 200
    assert world.victim.asks("GET", "/callbacks").status_code == 200


@attack(STRANGER, "asks every route of principals without or with a forged ticket", "an answer", stores_nothing=True)
def no_ticket(world: World) -> None:
    client, things = world.client(), world.victims_things
    for method, rule, _ in guarded_routes(world.app):
        for header in ({}, {"Authorization": f"Bearer {world.victim.ticket[:-3]}AAA"}, {"Cookie": world.victim.ticket}):
            answer = client.open(filled(rule, things), method=method, json={}, headers=header)
            assert answer.status_code == 401, (method, rule.rule)


GARBAGE: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "application/json"),
    "no JSON": (b"{", "application/json"),
    "deep": (b"[" * 50_000, "application/json"),
    "NUL": (b'{"number": "\\u0000"}', "application/json"),
    "a list": (b"[1]", "application/json"),
    "bytes": (bytes(range(256)), "application/x-www-form-urlencoded"),
    "many fields": (b"&".join(b"a%d=1" % number for number in range(3000)), "application/x-www-form-urlencoded"),
    "no parts": (b"--x\r\n", "multipart/form-data; boundary=x"),
    "charset": (b"a=1", "application/x-www-form-urlencoded; charset=nonsense"),
    "big": (b"a" * 255_000, "text/plain"),
    "brackets": (b"auth[member_id][][a]=1&event[]=2", "application/x-www-form-urlencoded"),
}


@attack(STRANGER, "posts garbage to every route", "a mistake of ours (5xx)")
def garbage(world: World) -> None:
    things = {**world.victims_things, "signed": "x", "version": "1", "filename": "x"}
    for rule in world.app.url_map.iter_rules():
        path = filled(rule, things)
        for method in methods_of(rule):
            for name, (body, kind) in GARBAGE.items():
                answer = world.client().open(
                    path, method=method, data=body, content_type=kind, environ_base={"REMOTE_ADDR": address()}
                )
                assert answer.status_code < 500, (method, path, name, answer.text)
                if method == "GET":
                    break


@attack(STRANGER, "guesses customers' links and forms", "a page of somebody's request", stores_nothing=True)
def guesses(world: World) -> None:
    client, callback_id = world.client(), world.victims_things["callback_id"]
    for link in (
        callback_id,
        f"{callback_id}.{'A' * 27}",
        "a.b.c",
        "%00",
        "..%2f..%2fetc%2fpasswd",
        "%C3%A9",
        "a" * 4000,
    ):
        assert client.get(f"/c/{link}").status_code == 404, link
        assert client.post(f"/c/{link}/cancel").status_code == 404, link
        assert client.post(f"/c/{link}/reschedule", json={}).status_code == 404, link
        assert client.get(f"/w/{link}").status_code == 404, link
        assert client.post(f"/w/{link}/callbacks", json={}).status_code == 404, link


@attack(STRANGER, "sends a website's form without proof, from elsewhere, with a proof spent", "a call to anybody")
def unproven_requests(world: World) -> None:
    things = world.victims_things
    visitor, dialled = world.visitor(things, address()), len(world.victim.portal.telephony.dials)
    callbacks = world.rows()["callback"]
    assert visitor.asks(world.number(), altcha="").status_code == 400
    assert visitor.asks(world.number(), altcha=world.proof(things, 0)).status_code == 400
    assert visitor.asks(world.number(), altcha=world.proof(world.neighbours_things)).status_code == 400
    visitor.origin = "https://elsewhere.example.com"
    assert visitor.asks(world.number(), altcha=world.proof(things)).status_code == 403
    assert (world.rows()["callback"], len(world.victim.portal.telephony.dials)) == (callbacks, dialled)
    visitor.origin, spent = world.deployment.url, world.proof(things)
    assert visitor.asks(world.number(), altcha=spent).status_code == 202
    assert visitor.asks(world.number(), altcha=spent).status_code == 400
    assert world.rows()["callback"] == callbacks + 1


@attack(STRANGER, "sends many forms from one address that forges where it comes from", "more than the limit")
def one_address(world: World) -> None:
    things, visitor = world.victims_things, world.visitor(world.victims_things, address())
    taken = []
    for number in range(30):
        visitor.headers = {"X-Forwarded-For": f"198.18.0.{number}", "Forwarded": f"for=198.18.1.{number}"}
        taken.append(visitor.asks(world.number(), altcha=world.proof(things)).status_code)
    assert taken.count(429) >= 10
    assert set(taken) == {202, 429}


# As many accents on one letter as a body has room for, in two orders (Unicode puts them in one).
MARKED = "a" + "\u0301" * 14_000 + "\u0323" * 14_000


@attack(STRANGER, "sends a name with thousands of accents on one letter, without any proof", "everybody waits")
def accents_of_strangers(world: World) -> None:
    began = time.monotonic()
    for field in ("name", "topic", "page", "utm_source", "altcha", "number"):
        body = {"number": "+4930901820", field: MARKED if field != "page" else f"https://{MARKED}"}
        visitor = world.visitor(world.victims_things, address())
        assert 400 <= visitor.posts({"idempotency_key": secrets.token_hex(8), **body}).status_code < 500, field
    assert time.monotonic() - began < QUICK_SECONDS
    answers_others(world)


@attack(EMPLOYEE, "sends such texts to every route that reads a body", "everybody waits")
def accents_of_employees(world: World) -> None:
    began = time.monotonic()
    # One field fills a body: of a larger one only the beginning would be read.
    sent = {
        ("POST", "/desk/start/text"): {"text": "Call from {name}", "customer_name": MARKED},
        ("POST", "/api/v1/callbacks"): {"to_number": "+4930901820", "text": MARKED},
        ("POST", "/api/v1/numbers/read"): {"number": MARKED},
        ("POST", "/api/v1/me/filters"): {"name": MARKED, "filters": {}},
    }
    headers = {"Authorization": f"Bearer {world.employee.ticket}"}
    for (method, path), body in sent.items():
        assert world.client().open(path, method=method, json=body, headers=headers).status_code < 500, path
    assert world.client().get("/api/v1/callbacks", query_string={"q": MARKED[:500]}, headers=headers).status_code < 500
    assert time.monotonic() - began < QUICK_SECONDS
    answers_others(world)


MOMENTS = ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z")


@attack(EMPLOYEE, "asks for lists and reports at the ends of time", "a mistake of ours (5xx)", stores_nothing=True)
def ends_of_time(world: World) -> None:
    headers = {"Authorization": f"Bearer {world.employee.ticket}"}
    paths = ("/api/v1/callbacks", "/api/v1/callbacks.csv", "/desk/callbacks", "/desk/view/callbacks")
    reports = ("/api/v1/reports/summary", "/api/v1/reports/by_hour.csv", "/desk/view/reports")
    for moment in MOMENTS:
        for end in ({"from": moment}, {"to": moment}, {"from": moment, "to": moment}):
            asked = [(path, more) for path in paths for more in ({}, {"weekday": "1", "hour": "0"})]
            asked += [(path, {"zone": zone}) for path in reports for zone in ("America/New_York", "Asia/Tokyo")]
            for path, more in asked:
                query = {**end, **more}
                answer = world.client().get(path, query_string=query, headers=headers)
                assert answer.status_code < 500, (path, query)


TYPE = b"Content-Type: application/x-www-form-urlencoded\r\n"
HEAD, CHUNKED = b"POST /events HTTP/1.1\r\nHost: x\r\n", TYPE + b"Transfer-Encoding: chunked\r\n"
RAW = {
    "two lengths": HEAD + b"Content-Length: 3\r\nContent-Length: 30\r\n\r\na=b",
    "length and chunks": HEAD + b"Content-Length: 3\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
    "odd coding": HEAD + b"Transfer-Encoding: x, chunked\r\n\r\n0\r\n\r\n",
    "negative length": HEAD + b"Content-Length: -5\r\n\r\n",
    "negative chunk": HEAD + CHUNKED + b"\r\n-5\r\nabc\r\n",
    "chunk of another base": HEAD + CHUNKED + b"\r\n0x3\r\na=b\r\n0\r\n\r\n",
    "chunk without end": HEAD + CHUNKED + b"\r\n3\r\na=bXX0\r\n\r\n",
    "line in an extension": HEAD + CHUNKED + b'\r\n3;a="\n"\r\na=b\r\n0\r\n\r\n',
    "length behind the chunks": HEAD + CHUNKED + b"\r\n3\r\na=b\r\n0\r\nContent-Length: 5\r\n\r\n",
    "request behind the chunks": HEAD + CHUNKED + b"\r\n0\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "bare feeds": b"GET /healthz HTTP/1.1\nHost: x\n\n\r\n\r\n",
    "folded": b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
    "NUL in a header": b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: \x00\r\n\r\n",
    "proxy": b"GET http://169.254.169.254/ HTTP/1.1\r\nHost: x\r\n\r\n",
    "connect": b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: x\r\n\r\n",
    "mounted elsewhere": b"GET /healthz HTTP/1.1\r\nHost: x\r\nSCRIPT_NAME: /elsewhere\r\n\r\n",
    "upgrade": b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
}


STATUSES = {b"200", b"400", b"404", b"405", b"413", b"501"}


@attack(STRANGER, "speaks HTTP wrongly", "a thread held, a mistake of ours (5xx)", stores_nothing=True)
def wrong_http(world: World) -> None:
    for name, sent in RAW.items():
        with socket.create_connection(("127.0.0.1", world.deployment.port), 20) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(1000)
        # Closed without a word, or refused; 501 is for a coding that a server does not know (RFC 9112, 6.1).
        assert not answer or answer.split(b" ")[1] in STATUSES, (name, answer)


@attack(STRANGER, "sends heads and bodies slowly", "a thread held", stores_nothing=True)
def slow_senders(world: World) -> None:
    halves = (b"GET / HTTP/1.1\r\nA: ", b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\na")
    with ExitStack() as stack:
        for number in range(50):
            connection = socket.create_connection(("127.0.0.1", world.deployment.port), 20)
            stack.enter_context(connection).sendall(halves[number % 2])
        answers_others(world)


# Employees without rights, and former ones


@attack(EMPLOYEE, "uses every route of administrators with their own ticket", "a right", stores_nothing=True)
def employees_rights(world: World) -> None:
    headers = {"Authorization": f"Bearer {world.employee.ticket}"}
    for method, rule, guard in guarded_routes(world.app):
        if guard.role is Role.ADMINISTRATOR:
            path = filled(rule, world.victims_things)
            answer = world.client().open(path, method=method, json=body_for(method, path), headers=headers)
            assert answer.status_code == 403, (method, path)


@attack(EMPLOYEE, "installs, and plants an application token of their own", "genuine events refused")
def planted_token(world: World) -> None:
    post = world.employee.launches()
    assert launch(world, world.employee, "/install").status_code == 403
    assert launch(world, world.employee, APPLICATION_TOKEN="0" * 32).status_code == 200
    told = event(world, world.victim, "ONAPPUPDATE", {}, application_token="0" * 32, access_token=post.form["AUTH_ID"])
    assert told.status_code == 403
    delivery = world.victim.portal.send_event(
        world.victim.application, "ONVOXIMPLANTCALLINIT", {"CALL_ID": "x", "CALL_TYPE": "1"}
    )
    wait_for(lambda: delivery.status is not None)
    assert delivery.status == 200


@attack(
    EMPLOYEE, "makes up runs of an automation rule with the token of their own page", "a call under the app's access"
)
def forged_rule(world: World) -> None:
    portal, application = world.victim.portal, world.victim.application
    wait_for(lambda: bool(portal.bindings_of(application.client_id).rules))
    chosen, dialled = {"number": (number := world.number()), "line": next(iter(portal.lines))}, portal.telephony.dials
    token = f"w1.1|A1_1|{secrets.token_hex(16)}.{secrets.token_hex(32)}"
    fields = portal.automation.fields(application, "callback_start", "DEAL_1", token, world.employee.user, chosen)
    sent = {"REMOTE_ADDR": address()}
    told = world.client().post("/robot", data=dict(http_build_query(fields)), environ_base=sent)
    assert told.status_code == 200
    wait_for(lambda: world.rows()["rule_run"] == 0)
    assert all(dial["number"] != number for dial in dialled)


@attack(EMPLOYEE, "removes the app with the application token of their own page", "anything deleted")
def forged_removal(world: World) -> None:
    post = world.employee.launches()
    before = world.rows()["callback"]
    told = event(
        world, world.victim, "ONAPPUNINSTALL", {"CLEAN": "1"}, application_token=post.form["APPLICATION_TOKEN"]
    )
    assert told.status_code == 200
    wait_for(lambda: world.victim.asks("GET", "/callbacks").status_code == 200)
    assert world.rows()["callback"] == before


@attack(EMPLOYEE, "waits for answers on many connections", "a thread for others")
def waiting(world: World) -> None:
    world.victim.portal.faults.add("hang_before", "voximplant.callback.start", seconds=15)
    # More than may wait, and as many as are dialled soon: each is a call.
    numbers = [world.number() for _ in range(WAITING)]
    threads = [
        threading.Thread(target=world.employee.requests_callback, args=(number,), kwargs={"wait": 3})
        for number in numbers
    ]
    for thread in threads:
        thread.start()
    answers_others(world)
    world.victim.portal.faults.release()
    for thread in threads:
        thread.join()


@attack(FORMER, "uses an administrator's ticket after the right is gone", "a right")
def demoted(world: World) -> None:
    portal = world.victim.portal
    user = portal.add_user("Ida", "Alt", admin=True)
    actor = Actor(world.client(), portal, world.victim.application, user)
    assert actor.opens().status_code == 200
    kept = actor.ticket
    user.admin = False
    user.rights = set(portal.manager.rights)
    assert actor.opens().status_code == 200
    headers = {"Authorization": f"Bearer {kept}"}
    for method, rule, guard in guarded_routes(world.app):
        if guard.role is Role.ADMINISTRATOR:
            path = filled(rule, world.victims_things)
            answer = world.client().open(path, method=method, json=body_for(method, path), headers=headers)
            assert answer.status_code == 403, (method, path)
    user.dismissed = True
    assert launch(world, actor).status_code == 403


@attack(
    FORMER,
    "uses what a removed portal's browser once showed",
    "anything of the portal that came after it",
    is_short=True,
)
def removed_portal(world: World) -> None:
    headers = {"Authorization": f"Bearer {world.gone.ticket}"}
    for method, rule, _ in guarded_routes(world.app):
        path = filled(rule, world.neighbours_things)
        answer = world.client().open(path, method=method, json=body_for(method, path), headers=headers)
        assert answer.status_code == 401, (method, path)
    for path in ("/", "/session", "/install"):
        answer = post_frame(world.client(), path, world.kept)
        assert answer.status_code == 403, path
    told = event(
        world, world.gone, "ONAPPUNINSTALL", {"CLEAN": "1"}, application_token=world.kept.form["APPLICATION_TOKEN"]
    )
    assert told.status_code == 403


# Other tenants


@attack(NEIGHBOUR, "uses ids of the other portal on every route and in bodies", "anything found", stores_nothing=True)
def foreign_ids(world: World) -> None:
    theirs = world.victims_things
    headers = {"Authorization": f"Bearer {world.neighbour.ticket}"}
    for method, rule in routes_with_ids(world.app):
        path = filled(rule, theirs)
        answer = world.client().open(path, method=method, json=body_for(method, path), headers=headers)
        assert answer.status_code == 404, (method, path)
    for path in ("/api-keys", "/rules/test", "/webhooks"):
        body: dict[str, Any] = {"form_key": theirs["form_key"], "name": "Server", "number": "+4930901820"}
        sent = {name: body[name] for name in ("form_key", "number" if "rules" in path else "name")}
        if path == "/webhooks":
            sent = {"form_key": theirs["form_key"], "url": "https://site.example.com/hook"}
        assert world.neighbour.asks("POST", path, sent).status_code == 404, path


@attack(NEIGHBOUR, "sends events and pages with tokens of their own portal", "an effect on the other portal")
def foreign_tokens(world: World) -> None:
    own = world.neighbour.launches()
    for name in ("ONAPPUPDATE", "ONAPPINSTALL", "ONAPPUNINSTALL", "ONVOXIMPLANTCALLEND"):
        told = event(
            world,
            world.victim,
            name,
            {"CALL_ID": "x", "CALL_TYPE": "4", "CALL_FAILED_CODE": "304", "CLEAN": "1"},
            application_token=own.form["APPLICATION_TOKEN"],
            access_token=own.form["AUTH_ID"],
        )
        assert told.status_code == 403, name
    for path in ("/", "/session", "/install"):
        assert launch(world, world.victim, path, AUTH_ID=own.form["AUTH_ID"]).status_code == 403, path
    assert world.victim.asks("GET", "/callbacks").status_code == 200


def _launches_again(world: World) -> Callable[[int], int]:
    return lambda _: launch(world, world.employee).status_code


def _lists_lines(world: World) -> Callable[[int], int]:
    return lambda _: world.employee.asks("GET", "/lines?refresh=1").status_code


def _checks(world: World) -> Callable[[int], int]:
    headers = {"Authorization": f"Bearer {world.victim.ticket}"}
    return lambda _: world.client().get("/desk/check", headers=headers).status_code


def _announces(world: World) -> Callable[[int], int]:
    def one(_: int) -> int:
        token = world.victim.launches().form["AUTH_ID"]
        return event(world, world.victim, "ONAPPUPDATE", {}, application_token="1" * 32, access_token=token).status_code

    return one


WAYS: dict[str, Callable[[World], Callable[[int], int]]] = {
    "opens pages": _launches_again,
    "lists lines anew": _lists_lines,
    "checks the setup": _checks,
    "sends updates": _announces,
}


def _drips(ways: Callable[[World], Callable[[int], int]]) -> Callable[[World], None]:
    def run(world: World) -> None:
        fault = world.victim.portal.faults.add("drip_body", times=10**6, seconds=60)
        try:
            with ThreadPoolExecutor(MORE_THAN_THREADS) as pool:
                asked = [pool.submit(ways(world), number) for number in range(MORE_THAN_THREADS)]
                wait_for(fault.received.is_set)
                answers_others(world)
                world.neighbour_works()
                world.victim.portal.faults.release()
                assert {one.result() for one in asked} <= {200, 429, 503}
        finally:
            fault.times = 0
            world.victim.portal.faults.release()

    return run


for _name, _way in WAYS.items():
    attack(DRIPPING, f"{_name} on many connections while their portal drips", "a thread for others")(_drips(_way))


@attack(NEIGHBOUR, "lets made-up tokens come from an address that all portals share", "events of others refused")
def shared_address(world: World) -> None:
    shared = address()

    def told(actor: Actor, name: str, **auth: str) -> int:
        return event(world, actor, name, {}, at=shared, **auth).status_code

    def genuine() -> dict[str, str]:
        form = world.neighbour.launches().form
        return {"application_token": form["APPLICATION_TOKEN"], "access_token": form["AUTH_ID"]}

    def is_proven(_: int) -> bool:
        return told(world.neighbour, "ONAPPUPDATE", **genuine()) == 200

    # Each process remembers what was proven to it; a portal that still drips may have taken all turns for a while.
    # So many questions a second a portal may ask for long, and two at once never too many.
    wait_for(lambda: all(all(at_once(PROCESSES, is_proven)) for _ in range(4)), pause=8.0)
    made_up: list[int] = []
    while 429 not in made_up and len(made_up) < PROCESSES * proof_limits.FAILURES_PER_ADDRESS * 10:
        # While many are asked about at once others are turned away before anything is refused of their address.
        made_up += at_once(
            PROCESSES * proof_limits.FAILURES_PER_ADDRESS,
            lambda _: told(
                world.victim, "ONX", application_token=secrets.token_hex(16), access_token=secrets.token_hex(35)
            ),
        )
    assert 429 in made_up, Counter(made_up)
    assert 200 in [told(world.neighbour, "ONAPPUPDATE", **genuine()) for _ in range(4 * PROCESSES)]


@attack(NEIGHBOUR, "sends genuine events without end", "the authorization server's time, which all portals need")
def genuine_events(world: World) -> None:
    server = world.deployment.fake.auth_server.server
    forms = [world.victim.launches().form for _ in range(TOKENS)]
    places, most = [address() for _ in range(TOKENS)], int(proof_limits.QUESTIONS_OF_TOKEN.size)

    def told(number: int) -> int:
        form = forms[number % TOKENS]
        genuine = {"application_token": form["APPLICATION_TOKEN"], "access_token": form["AUTH_ID"]}
        return event(world, world.victim, "ONAPPUPDATE", {}, at=places[number % TOKENS], **genuine).status_code

    # Somebody else may have flooded this portal a moment ago.
    wait_for(lambda: all(told(number) == 200 for number in range(TOKENS)), pause=8.0)
    asked = len(server.requests)
    sent = at_once(PROCESSES * TOKENS * most * 3, told)
    assert {200, 429} <= set(sent) <= {200, 429, 503}, Counter(sent)
    # A few come back meanwhile.
    assert len(server.requests) - asked <= PROCESSES * TOKENS * most * 1.5
    answers_others(world)


def answers_others(world: World) -> None:
    """Pages and lists are answered at once, whoever else keeps us busy."""
    began = time.monotonic()
    assert world.neighbour.asks("GET", "/callbacks").status_code == 200
    assert world.client().get(f"/w/{world.neighbours_things['form_key']}").status_code == 200
    assert world.neighbour.opens().status_code == 200
    assert time.monotonic() - began < QUICK_SECONDS
