"""A stranger fills a line and then asks for numbers: nothing rings, and their links tell nothing of any number."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.attack.world import World, wait_for
from tests.support.actors import json_of
from tests.support.visitors import Visitor

# Looks at a link so many seconds after each other.
LOOKS = (0.2, 0.3, 0.5, 1.0)
PLENTY = {"address_hour": 100, "number_day": 20, "form_hour": 500, "form_day": 500}


class Stranger:
    """Somebody with a form of the victim's open, who comes from a network of their own and asks once."""

    def __init__(self, world: World, form_key: str, network: int) -> None:
        self._proof = world.proof({"form_key": form_key})
        self._visitor = Visitor(world.client(), form_key, world.deployment.url, f"198.18.{network}.7")

    def asks(self, number: str) -> dict[str, Any]:
        taken = self._visitor.asks(number, altcha=self._proof)
        assert taken.status_code == 202, taken.text
        return json_of(taken)

    def sees(self, asked: dict[str, Any]) -> str:
        return str(json_of(self._visitor.looks(asked["status_url"]))["state"])

    def withdraws(self, asked: dict[str, Any]) -> int:
        path = "/c/" + asked["status_url"].rpartition("/c/")[2]
        return self._visitor.client.post(f"{path}/cancel", headers={"Accept": "application/json"}).status_code

    def watches(self, number: str) -> list[str | int]:
        """Ask, look for two seconds, and withdraw."""
        seen: list[str | int] = [(asked := self.asks(number))["state"]]
        for pause in LOOKS:
            time.sleep(pause)
            seen.append(self.sees(asked))
        return [*seen, self.withdraws(asked)]


@pytest.mark.timeout(120)
def test_a_full_line_tells_nothing_of_a_number(world: World) -> None:
    victim, in_hand, listed = world.victim, world.number(), world.number()
    telephony = victim.portal.telephony
    body = {"name": "Busy", "line_id": next(iter(victim.portal.lines)), "default_country": "DE", "limits": PLENTY}
    form_key = json_of(victim.asks("POST", "/forms", body))["key"]
    assert victim.asks("POST", "/do-not-call", {"number": listed}).status_code == 201
    assert victim.asks("PATCH", "/settings", {"line_cap": "1"}).status_code == 200
    strangers = iter([Stranger(world, form_key, network) for network in range(12)])
    first = next(strangers)
    call_of_theirs = first.asks(in_hand)
    wait_for(lambda: first.sees(call_of_theirs) == "started")
    dialled = len(telephony.dials)
    numbers = [*(world.number() for _ in range(3)), *[listed] * 3, *[in_hand] * 3]
    with ThreadPoolExecutor(len(numbers)) as pool:
        shown = list(pool.map(lambda number: next(strangers).watches(number), numbers))
    waited = [*["queued"] * (len(LOOKS) + 1), 200]
    assert shown == [waited] * len(numbers)
    assert len(telephony.dials) == dialled
    # Once there is room all of them go on.
    last = {number: next(strangers) for number in (listed, in_hand)}
    asked = {number: stranger.asks(number) for number, stranger in last.items()}
    next(call for call in telephony.calls if call.number == in_hand).manager_refuses()
    wait_for(lambda: all(stranger.sees(asked[number]) != "queued" for number, stranger in last.items()))
