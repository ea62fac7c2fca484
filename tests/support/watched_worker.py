"""A worker process for tests of waking: ``... [--sent FILE] [--look SECONDS]``.

``--sent`` has its driver write down each statement that it sends to the database. ``--look`` says how often the worker
looks by itself; one that never does is woken by rings or not at all.
"""

import argparse
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from app import app
from bx24app.worker import worker


def _write_down(sent: Path) -> None:
    written = sent.open("w", buffering=1)  # It stays open as long as the process lives.

    @event.listens_for(Engine, "connect")
    def trace(connection: Any, _: object) -> None:
        if hasattr(connection, "set_trace_callback"):
            connection.set_trace_callback(lambda statement: print("sent", " ".join(statement.split()), file=written))
        else:
            connection.pgconn.trace(written.fileno())


parser = argparse.ArgumentParser()
parser.add_argument("--sent", type=Path)
parser.add_argument("--look", type=float)
options = parser.parse_args()
if options.sent:
    _write_down(options.sent)
if options.look:
    vars(worker)["LOOK_SECONDS"] = options.look
worker.Worker(app).run_until_told()
