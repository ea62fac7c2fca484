"""Turns of those who read: whoever has taken least has the next one, and whoever has most that waits gives way."""

import threading
import time
from collections.abc import Callable

import pytest

from bx24app.services.runtime import slow_portals
from bx24app.services.security.fair_turns import FairTurns

HONEST = 99
Asked = Callable[..., threading.Thread]


class Readers:
    """Threads that ask for a turn each, and what came of it, in order."""

    def __init__(self, turns: FairTurns) -> None:
        self.turns, self.begun, self.refused = turns, list[int](), list[int]()
        self.people = list[int]()
        self.goes_on = threading.Event()
        self._threads: list[threading.Thread] = []

    def ask(self, portal_id: int, person: int = 1, patience: float = 10.0, *, is_update: bool = False) -> None:
        """Ask in a thread of its own, which holds its turn until all may go on."""

        def hold() -> None:
            with self.turns.hold(portal_id, person, patience, is_update=is_update) as is_held:
                (self.begun if is_held else self.refused).append(portal_id)
                (self.people if is_held else []).append(person)
                if is_held:
                    self.goes_on.wait(10)

        self._threads.append(thread := threading.Thread(target=hold))
        thread.start()
        time.sleep(0.02)

    def end(self) -> None:
        self.goes_on.set()
        for thread in self._threads:
            thread.join(10)


def compute(seconds: float) -> None:
    begun = time.thread_time()
    while time.thread_time() < begun + seconds:
        pass


def takes(turns: FairTurns, portal_id: int, seconds: float) -> None:
    turns._taken.add(portal_id, seconds)


def test_without_anybody_else_a_portal_has_all() -> None:
    readers = Readers(FairTurns(3, 2, 9))
    for person in range(11):
        readers.ask(HONEST, person)
    assert (len(readers.begun), readers.refused) == (2, [])
    readers.end()
    assert readers.begun == [HONEST] * 11


def test_whoever_has_taken_least_has_the_next_turn() -> None:
    readers = Readers(FairTurns(1, 1, 9))
    for portal_id, seconds in ((1, 3.0), (2, 2.0), (HONEST, 0.5)):
        takes(readers.turns, portal_id, seconds)
    readers.ask(3)
    for portal_id in (1, 2, HONEST):
        readers.ask(portal_id)
    readers.end()
    assert readers.begun == [3, HONEST, 2, 1]


def test_a_portal_that_took_little_comes_in_where_others_fill_the_room() -> None:
    """Twenty portals with a request each filled all room, and a neighbour was refused."""
    readers = Readers(FairTurns(1, 1, 5))
    for portal_id in range(1, 9):
        takes(readers.turns, portal_id, 1.0)
        readers.ask(portal_id)
    assert len(readers.refused) == 2
    readers.ask(HONEST)
    assert HONEST not in readers.refused
    readers.end()
    assert readers.begun[1] == HONEST


def test_whoever_has_taken_much_is_not_refused_until_all_others_have() -> None:
    """A company that had read for three seconds was refused all for as long as twenty others needed for as much."""
    readers = Readers(FairTurns(1, 1, 5))
    for portal_id in range(1, 7):
        readers.ask(portal_id)
    takes(readers.turns, HONEST, 3.0)
    for portal_id in range(2, 7):
        takes(readers.turns, portal_id, 0.3 if portal_id == 2 else 1.0)
    readers.ask(HONEST)
    assert HONEST not in readers.refused
    readers.end()
    assert readers.begun[1:3] == [2, HONEST]


def test_whoever_has_most_that_waits_gives_way() -> None:
    readers = Readers(FairTurns(1, 1, 4))
    for _ in range(6):
        readers.ask(1)
    for _ in range(2):
        readers.ask(HONEST)
    assert readers.refused == [1, 1, 1]
    # Now both have as many.
    readers.end()
    assert sorted(readers.begun) == [1, 1, 1, HONEST, HONEST]


def test_whoever_would_have_taken_most_gives_way() -> None:
    """Ten desks ask for little each: two of theirs that wait are less than one of those that took much."""
    readers = Readers(FairTurns(1, 1, 4))
    readers.ask(1)
    for portal_id in (1, 2, 3):
        takes(readers.turns, portal_id, 0.15)
        readers.ask(portal_id)
    for _ in range(2):
        readers.ask(HONEST)
    assert readers.refused == [3]
    takes(readers.turns, HONEST, 0.1)
    readers.ask(HONEST)
    assert readers.refused == [3, HONEST]
    readers.end()


def test_what_people_ask_for_goes_before_what_open_pages_ask() -> None:
    """A company whose desks follow many calls is refused some of that, and each press is heard."""
    readers = Readers(FairTurns(1, 1, 4))
    for person in range(10, 16):
        readers.ask(HONEST, person, is_update=True)
    assert len(readers.refused) == 1
    for person in (1, 2, 3):
        readers.ask(HONEST, person)
    assert len(readers.refused) == 4
    readers.ask(HONEST, 16, is_update=True)
    assert len(readers.refused) == 5
    readers.end()
    assert readers.people == [10, 1, 2, 3, 11]


def test_one_person_keeps_no_colleague_out() -> None:
    readers = Readers(FairTurns(1, 1, 4))
    for _ in range(8):
        readers.ask(HONEST, person=1)
    assert len(readers.refused) == 3
    readers.ask(HONEST, person=2)
    # A place was made for them.
    assert len(readers.refused) == 4
    readers.ask(HONEST, person=2)
    readers.end()
    assert len(readers.begun) == 5


def test_what_was_taken_while_others_waited_is_what_was_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A company that works alone has taken nothing from anybody, and is not the first to give way later."""
    turns = FairTurns(1, 1, 4)
    readers = Readers(turns)
    with turns.hold(1, 1, 0.0):
        compute(0.1)
    assert turns._taken.seconds() == {}
    with turns.hold(2, 1, 0.0):
        readers.ask(3)
        compute(0.1)
        # As whoever waits for the interpreter while others compute.
        time.sleep(0.2)
    readers.end()
    assert 0.09 < turns._taken.seconds()[2] < 0.2
    monkeypatch.setattr(slow_portals, "LAST_SECONDS", 0.01)
    time.sleep(0.2)
    assert turns._taken.seconds() == {}


@pytest.mark.parametrize(("computed", "least"), [(0.003, 0.1), (0.0, 0.06)])
def test_many_reads_that_take_next_to_nothing_take_much_together(computed: float, least: float) -> None:
    """Of twenty portals that asked for settings without end nothing was counted, and they came before whoever reads."""
    turns = FairTurns(1, 1, 9)
    readers = Readers(turns)
    readers.goes_on.set()
    for _ in range(40):
        with turns.hold(1, 1, 1.0):
            readers.ask(2)
            compute(computed)
    readers.end()
    assert turns._taken.seconds()[1] > least
