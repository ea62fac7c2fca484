"""Whoever serves requests is not held up while Python looks for garbage."""

import gc
import runpy

from tests.support import ROOT


def test_what_a_web_process_has_loaded_is_left_out_of_the_search() -> None:
    begins = runpy.run_path(str(ROOT / "gunicorn.conf.py"))["post_worker_init"]
    loaded = [[] for _ in range(1000)]  # type: ignore[var-annotated]
    before = gc.get_freeze_count()
    begins(None)
    assert gc.get_freeze_count() - before >= len(loaded)
