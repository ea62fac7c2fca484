"""Slots: one key takes so many, and a few slow keys leave room for others."""

import threading
import time
from contextlib import ExitStack

import pytest

from bx24app.outgoing.errors import NotSent
from bx24app.outgoing.slots import Slots, exchange_slot, sharing


def taken(slots: Slots[str], stack: ExitStack, key: str) -> int:
    """Take what a key may have; returns how many."""
    count = 0
    while stack.enter_context(slots.hold(key)):
        count += 1
    return count


def test_one_key_takes_no_more_than_its_part() -> None:
    with ExitStack() as stack:
        assert taken(slots := Slots[str](4, 12), stack, "a") == 4
        assert slots.held() == {"a"}
    assert slots.held() == set()


def test_a_few_slow_ones_leave_room_for_others() -> None:
    """Of twelve: three slow keys would take all, if each got four."""
    slots = Slots[str](4, 12)
    with ExitStack() as stack:
        assert [taken(slots, stack, key) for key in "abcdefg"] == [4, 3, 2, 1, 1, 1, 0]


def test_one_slot_of_each_key_is_there_for_as_many_keys_as_there_are_slots() -> None:
    slots = Slots[int](1, 8)
    with ExitStack() as stack:
        assert all(stack.enter_context(slots.hold(key)) for key in range(8))
        assert not stack.enter_context(slots.hold(8))


def test_an_exchange_holds_a_slot_where_slots_are_shared() -> None:
    slots = Slots[str](1, 2)
    with sharing(slots), exchange_slot("https://a"):
        assert slots.held() == {"https://a"}
        with pytest.raises(NotSent), exchange_slot("https://a"):
            raise AssertionError("two at once")
        with exchange_slot("https://b"):
            pass
    with exchange_slot("https://a"), exchange_slot("https://a"):
        assert slots.held() == set()


@pytest.mark.parametrize(("patience", "is_held"), [(5.0, True), (0.0, False)])
def test_who_is_patient_gets_the_slot_that_is_given_back(patience: float, is_held: bool) -> None:
    slots, begun = Slots[str](1, 2), threading.Event()

    def hold() -> None:
        with slots.hold("a"):
            begun.set()
            time.sleep(0.1)

    holder = threading.Thread(target=hold)
    holder.start()
    begun.wait()
    with slots.hold("a", patience) as found:
        assert found is is_held
    holder.join()
    assert slots.held() == set()


def test_patience_ends() -> None:
    slots = Slots[str](1, 2)
    with slots.hold("a"), slots.hold("a", patience=0.05) as is_held:
        assert not is_held
