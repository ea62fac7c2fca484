"""Attacks on runs of automation rules: each genuine one comes once, and a lost one is a customer nobody calls."""

import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from sqlalchemy import delete, func, select

from bx24app.database import reading, writing
from bx24app.models import RuleRun, RuleStage
from bx24app.services.native.automation.unproven_runs import WAITING_UNASKED
from tests.attack.attacks import FORMER, NEIGHBOUR, PROCESSES, address, attack, event
from tests.attack.world import World, wait_for
from tests.fake_bitrix24.events import http_build_query
from tests.support.actors import Actor

ATTACKED_SECONDS = 8.0
# So long the authorization server usually takes.
ANSWER_SECONDS = 0.2
BURST, LARGE_BURST = 12, 64
Fields = dict[str, str]


def _run_of(actor: Actor, **auth: str) -> Fields:
    """The post of a rule without a number that can be called; ``auth`` is what the sender knows of it."""
    portal, application = actor.portal, actor.application
    token, chosen = portal.automation.new_token(), {"number": "none"}
    fields = portal.automation.fields(application, "callback_start", "DEAL_1", token, actor.user, chosen)
    given = fields["auth"]
    assert isinstance(given, dict)
    return dict(http_build_query({**fields, "auth": given | auth, "ts": 1}))


def _made_up(fields: Fields) -> Fields:
    return {**fields, "event_token": f"w1.1|A1_1|{secrets.token_hex(16)}.{secrets.token_hex(32)}"}


def _posts(world: World, fields: Fields, at: str) -> int:
    return world.client().post("/robot", data=fields, environ_base={"REMOTE_ADDR": at}).status_code


def _wait_for_rules(actor: Actor) -> None:
    wait_for(lambda: bool(actor.portal.bindings_of(actor.application.client_id).rules))


def _unproven(world: World) -> int:
    with world.app.app_context(), reading() as session:
        query = select(func.count()).select_from(RuleRun).where(RuleRun.stage == RuleStage.UNPROVEN)
        return session.scalars(query).one()


@contextmanager
def _unhurried(world: World) -> Iterator[None]:
    """The authorization server takes its time inside; no run is left over."""
    slow = world.deployment.fake.auth_server.faults.add("hang_after", "app.info", times=10**6, seconds=ANSWER_SECONDS)
    try:
        yield
    finally:
        slow.times = 0
        with world.app.app_context(), writing() as session:
            session.execute(delete(RuleRun))


@contextmanager
def _meanwhile(attackers: list[Callable[[], object]]) -> Iterator[None]:
    """Let each of these try again and again while something is done, for some seconds at least."""
    ends, is_over = time.monotonic() + ATTACKED_SECONDS, threading.Event()

    def go_on(tries: Callable[[], object]) -> None:
        while not is_over.is_set():
            tries()

    threads = [threading.Thread(target=go_on, args=(tries,)) for tries in attackers]
    for thread in threads:
        thread.start()
    try:
        yield
        is_over.wait(max(0.0, ends - time.monotonic()))
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


@attack(FORMER, "posts runs of rules with one made-up token after the other, many at once", "a genuine run is lost")
def one_token_at_once(world: World) -> None:
    home, places, salt = address(), [address() for _ in range(4)], secrets.token_hex(30)
    _wait_for_rules(world.victim)
    # Each process remembers what was proven to it.
    wait_for(
        lambda: [_posts(world, _run_of(world.victim), home) for _ in range(3 * PROCESSES)] == [200] * 3 * PROCESSES
    )
    known, made_up = _run_of(world.employee), Counter[int]()

    def tries_from(place: str) -> Callable[[], object]:
        def tries() -> None:
            shared = f"{salt}{place}{int(time.monotonic() * 4):010}"
            made_up[_posts(world, _made_up({**known, "auth[access_token]": shared}), place)] += 1

        return tries

    def burst(count: int, at: str) -> list[int]:
        # With one token that nobody has asked about.
        fields = _run_of(world.victim)
        new = [{**fields, "event_token": world.victim.portal.automation.new_token()} for _ in range(count)]
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(lambda one: _posts(world, one, at), new))

    with _unhurried(world):
        # The first from an address of Bitrix24 that no process knows, and from one that they know.
        genuine = Counter(burst(LARGE_BURST, address()) + burst(LARGE_BURST, home))
        with _meanwhile([tries_from(place) for place in places for _ in range(4)]):
            for _ in range(int(ATTACKED_SECONDS)):
                genuine.update(burst(BURST, home))
        left, most = _unproven(world), len(places) * PROCESSES * WAITING_UNASKED.size + genuine.total()
        assert set(genuine) == {200}, (genuine, made_up)
        assert left <= most, (left, made_up)


@attack(
    NEIGHBOUR, "runs rules of three portals without end, each with a token of its own", "an event of others refused"
)
def rules_of_three_portals(world: World) -> None:
    fake, application = world.deployment.fake, world.deployment.application
    portals = [fake.add_portal(name) for name in ("epsilon", "zeta", "eta")]
    theirs = [Actor(world.client(), portal, application, portal.administrator) for portal in portals]
    for actor in theirs:
        assert actor.installs(keeps_hours=True).status_code == 200
        actor.portal.events.wait_until_idle()
        assert actor.opens().status_code == 200
        _wait_for_rules(actor)

    def tries_as(actor: Actor, place: str) -> Callable[[], object]:
        def tries() -> None:
            fresh = fake.registry.issue(application.client_id, actor.portal.member_id, actor.user.id)
            _posts(world, _made_up(_run_of(actor, access_token=fresh.access, refresh_token=fresh.refresh)), place)

        return tries

    def told() -> int:
        form = world.neighbour.launches().form
        genuine = {"application_token": form["APPLICATION_TOKEN"], "access_token": form["AUTH_ID"]}
        return event(world, world.neighbour, "ONAPPUPDATE", {}, at=home, **genuine).status_code

    home, places = address(), [address() for _ in theirs]
    wait_for(lambda: [told() for _ in range(2 * PROCESSES)] == [200] * 2 * PROCESSES, pause=8.0)
    with _unhurried(world):
        said = list[int]()
        with _meanwhile([tries_as(*one) for one in zip(theirs, places, strict=True) for _ in range(5)]):
            while len(said) < 2 * ATTACKED_SECONDS:
                said.append(told())
                time.sleep(0.5)
        assert set(said) == {200}, Counter(said)
    for actor in theirs:
        actor.portal.uninstall(application)
        actor.portal.events.wait_until_idle()
