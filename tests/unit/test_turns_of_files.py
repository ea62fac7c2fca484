"""Files are made in turns, a batch each, and whoever waits longest has the next."""

import threading
import time

from bx24app.services.callbacks.listing.export import InOrder


def test_the_lock_goes_to_whoever_waits_longest() -> None:
    """With any other a file that is made batch after batch has it again each time: a small one took 3 s beside it."""
    lock, made, over = InOrder(), list[str](), threading.Event()

    def large() -> None:
        while not over.is_set():
            with lock:
                made.append("large")
                time.sleep(0.005)

    def small(name: str) -> None:
        for _ in range(3):
            with lock:
                made.append(name)

    makers = [threading.Thread(target=large)]
    makers[0].start()
    time.sleep(0.05)
    begun = len(made)
    makers += [threading.Thread(target=small, args=(name,)) for name in ("one", "two")]
    for maker in makers[1:]:
        maker.start()
    for maker in makers[1:]:
        maker.join(5)
    meanwhile = made[begun:].count("large")
    over.set()
    makers[0].join(5)
    # One of its batches for each of theirs.
    assert meanwhile <= 8
    assert (made.count("one"), made.count("two")) == (3, 3)
