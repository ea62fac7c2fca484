"""Every attack of ``attacks.py`` on the deployed app, on both databases; the other portal works after each."""

import pytest

from tests.attack import attacks_on_rules  # noqa: F401  It adds its own to the list.
from tests.attack.attacks import ATTACKS, STRANGER, Attack
from tests.attack.world import World
from tests.support.leaks import found_in
from tests.support.remembered import MADE

# ``make test`` tries those that say the most in a second; ``make check`` all.
CASES = [
    pytest.param(one, marks=() if one.is_short else pytest.mark.long, id=f"{one.actor} {one.tries}") for one in ATTACKS
]
# Whoever has proven themselves has limits of their own, a few rows; a job deletes those that are full again.
OWN_LIMITS = {"rate": 3}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("attack", CASES)
def test_an_attack_comes_to_nothing(world: World, attack: Attack) -> None:
    before = world.settled_rows() if attack.stores_nothing else {}
    attack.run(world)
    if attack.stores_nothing:
        own = {} if attack.actor == STRANGER else OWN_LIMITS
        grown = {name: count for name, count in world.rows().items() if count > before[name] + own.get(name, 0)}
        assert grown == {}, attack.must_not
    world.neighbour_works()
    assert all(process.poll() is None for process in world.deployment.processes)


@pytest.mark.long
def test_what_the_processes_said_tells_nothing(world: World) -> None:
    """After all of that: no token, no number, no mistake of ours."""
    said = world.deployment.said()
    assert found_in(said, MADE) == []
    assert "+49309" not in said
    assert '"event": "failed"' not in said
    assert "Traceback" not in said, said[said.find("Traceback") :][:2000]
