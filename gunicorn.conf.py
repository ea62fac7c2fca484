"""How the web process is served (docs/operating.md): ``gunicorn app:app`` in this folder reads it."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

# Every statement of SQLite and every read of a socket gives the interpreter away, and whoever waits for it gets it back
# after this long while others compute: with the usual 5 ms a request of ten statements took 50 ms under load.
sys.setswitchinterval(0.0005)

bind = "127.0.0.1:8000"
worker_class = "buffering_worker.BufferingWorker"
threads = 16
# Two processes have two interpreters: what one computes keeps nobody of the other waiting.
workers = 2
# Without it kept-alive connections sometimes all sit on one of several processes.
reuse_port = True
worker_connections = 1000
keepalive = 5
limit_request_line = 8190
# Of a proxy on this machine gunicorn would believe ``SCRIPT_NAME`` and ``PATH_INFO`` as headers, which not every proxy
# takes from visitors. What a proxy says is read by the app alone (``TRUSTED_PROXIES``).
forwarder_headers = ""


def post_fork(_server: object, _worker: object) -> None:
    """Let every web process tell what all of them, and the worker, have counted (docs/operating.md, Metrics)."""
    from bx24app.metrics import share_counts  # noqa: PLC0415  The master, which serves nobody, does not need it.

    share_counts()
