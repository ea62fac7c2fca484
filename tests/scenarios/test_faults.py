"""The promise about dialling under seeded random schedules of faults (docs/testing.md)."""

from collections.abc import Iterable, Iterator

import pytest

from tests.faults.checks import Broken
from tests.faults.play import play
from tests.faults.schedule import make
from tests.faults.world import World, built

SEEDS = 25
BATCH = 10
# `make test` plays the first schedules and one mutant, `make check` all of them.
FIRST = range(1, 6)
# Those whose callbacks have cards in the CRM.
WITH_CARDS = [seed for seed in range(1, 121) if make(seed).has_cards]
# Each worker of a fleet is born as a process of Celery, which takes its time.
FIRST_OF_FLEET = range(1, 4)
BATCHES = [range(first, first + BATCH) for first in range(FIRST.stop, SEEDS + 1, BATCH)]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with built(request.param) as made:
        yield made


def first_broken(world: World, seeds: Iterable[int]) -> tuple[int, Broken] | None:
    """The first of these schedules under which the promise is broken, and how."""
    for seed in seeds:
        try:
            play(world, seed)
        except Broken as broken:
            return seed, broken
    return None


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("mutant", "kinds", "seeds", "broke"),
    [
        ("no_fence", {"no_fence"}, 10, 1),
        pytest.param("rule_repeated", {"rule_twice"}, 60, 12, marks=pytest.mark.long),
        pytest.param("rule_lease_without_end", {"run_hangs"}, 60, 6, marks=pytest.mark.long),
        pytest.param("result_sent_once", {"result_unsent"}, 60, 14, marks=pytest.mark.long),
        pytest.param("result_unawaited", {"result_early"}, 30, 3, marks=pytest.mark.long),
        pytest.param("lease_unheeded", {"lost_lease"}, 150, 30, marks=pytest.mark.long),
        pytest.param("lease_without_end", {"never_ends"}, 60, 9, marks=pytest.mark.long),
        pytest.param("no_settling", {"never_ends"}, 30, 1, marks=pytest.mark.long),
        pytest.param("forgetful_unknown", {"fate_unknown"}, 30, 1, marks=pytest.mark.long),
        pytest.param("believed_events", {"believed"}, 60, 4, marks=pytest.mark.long),
    ],
)
def test_taking_a_safeguard_out_breaks_the_promise(mutant: str, kinds: set[str], seeds: int, broke: int) -> None:
    """The schedule under which it ``broke`` is tried first: it does again, unless schedules or the app have changed."""
    with built("sqlite", mutant) as world:
        found = first_broken(world, [broke, *range(1, seeds + 1)])
    assert found is not None, "nothing was found wrong"
    assert found[1].kind in kinds


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("mutant", "kinds", "broke"),
    [
        ("entry_not_looked_for", {"entry_twice", "after_erasure"}, 10),
        ("erased_unnoticed", {"after_erasure"}, 31),
    ],
)
def test_taking_a_safeguard_of_cards_out_breaks_the_promise(mutant: str, kinds: set[str], broke: int) -> None:
    with built("sqlite", mutant) as world:
        found = first_broken(world, [broke, *WITH_CARDS])
    assert found is not None, "nothing was found wrong"
    assert found[1].kind in kinds


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seeds", [FIRST, *(pytest.param(batch, marks=pytest.mark.long) for batch in BATCHES)], ids=str)
def test_the_promise_holds_under_every_schedule(world: World, seeds: range) -> None:
    found = first_broken(world, seeds)
    assert found is None, f"seed {found[0]}: {found[1]}; again: {world.replay(found[0])}"


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_the_promise_holds_where_a_fleet_does_the_work(database: str) -> None:
    with built(database, with_broker=True) as world:
        found = first_broken(world, FIRST_OF_FLEET)
        assert found is None, f"seed {found[0]}: {found[1]}; again: {world.replay(found[0])}"


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_fleet_without_the_fence_breaks_the_promise() -> None:
    with built("sqlite", "no_fence", with_broker=True) as world:
        found = first_broken(world, range(1, 11))
    assert found is not None, "nothing was found wrong"
    assert found[1].kind == "no_fence"
