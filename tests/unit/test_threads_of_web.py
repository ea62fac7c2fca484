"""Whatever makes threads of the web wait is bounded, and all of it at once leaves some threads."""

import runpy

from bx24app import web
from bx24app.services import privacy
from bx24app.services.callbacks.listing import export
from bx24app.services.calling import do_not_call
from bx24app.web import guards
from bx24app.web.api import callbacks
from bx24app.web.api import do_not_call as lists
from bx24app.web.frame import guards as frame_guards
from tests.support import ROOT

LEFT = 8
# Those of launches wait for others too, but also for the removal of what was here before.
BOUNDS = {
    "exchanges": web.EXCHANGES_AT_ONCE,
    "launches": frame_guards.LAUNCHES_AT_ONCE,
    "waits for an outcome": callbacks.WAITS_AT_ONCE,
    "readers, and who waits to read": guards.READ_AT_ONCE + guards.READERS_WAITING,
    "files": export.FILES_AT_ONCE,
    "numbers that are listed": do_not_call._adding._in_all,
    "lists of numbers": lists.lists_at_once._in_all,
    "searches for a person": privacy._searching._in_all,
}


def test_all_that_waits_leaves_threads_for_whoever_waits_for_nothing() -> None:
    """Six portals that drip, and read on 60 connections, took all of 16: the page of health was answered after 3 s."""
    threads = runpy.run_path(str(ROOT / "gunicorn.conf.py"))["threads"]
    assert sum(BOUNDS.values()) + LEFT <= threads
