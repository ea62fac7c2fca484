"""What a visitor's browser has to work: about half a second on a usual machine."""

import hashlib
import time

from bx24app.services.websites.challenge import PROOF_COST, PROOF_COUNTER

ITERATIONS = PROOF_COST * sum(PROOF_COUNTER) // 2


def test_the_work_is_about_half_a_second() -> None:
    """By the time of a processor, not of the clock: others may be busy beside us."""
    began = time.process_time()
    for _ in range(20):
        hashlib.pbkdf2_hmac("sha256", b"a" * 20, b"b" * 16, PROOF_COST)
    seconds = (time.process_time() - began) / 20 * sum(PROOF_COUNTER) / 2
    assert 0.2 < seconds < 8, f"{seconds:.2f} s for {ITERATIONS} iterations"


def test_nobody_is_lucky_and_nobody_waits_long() -> None:
    low, high = PROOF_COUNTER
    assert ITERATIONS >= 5_000_000
    assert low * 2 >= high * 0.8


def test_making_a_challenge_costs_us_one_derivation() -> None:
    assert PROOF_COST * 500 <= ITERATIONS
