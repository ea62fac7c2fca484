"""How the web process is served (docs/operating.md): ``gunicorn app:app`` in this folder reads it."""

import gc
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

# Every statement of SQLite and every read of a socket gives the interpreter away, and whoever waits for it gets it back
# after this long while others compute: with the usual 5 ms a request of ten statements took 50 ms under load.
sys.setswitchinterval(0.0005)

bind = "127.0.0.1:8000"
worker_class = "buffering_worker.BufferingWorker"
logger_class = "server_log.ServerLog"
# More than all bounds together of what makes threads wait (tests/unit/test_threads_of_web.py): all at once they must
# not stop a process either. Threads begin as they are needed.
threads = 64
# Two processes have two interpreters: what one computes keeps nobody of the other waiting.
workers = 2
# All processes take connections from one queue. With one queue for each (True) the connections of a process that ends
# are lost, and a proxy must not send their requests again.
reuse_port = False
# Memory that a process does not give back is bounded. A process that ends answers what it has taken first; the next one
# begins at another moment than its neighbour.
max_requests = 50_000
max_requests_jitter = 10_000
worker_connections = 1000
keepalive = 5
# The web ends each request within 30 s (``web.REQUEST_SECONDS``); TimeoutStopSec of the unit is longer.
graceful_timeout = 35
# Nobody steers it but signals, and it may write nowhere.
control_socket_disable = True
limit_request_line = 8190
# Of a proxy on this machine gunicorn would believe ``SCRIPT_NAME`` and ``PATH_INFO`` as headers, which not every proxy
# takes from visitors. What a proxy says is read by the app alone (``TRUSTED_PROXIES``).
forwarder_headers = ""


# What ends a process.
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
# Of ``pre_fork``: gunicorn has no hook for the master after a process is born.
os.register_at_fork(after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING))


def pre_fork(_server: object, _worker: object) -> None:
    """Hold back what ends a process that is being born: the handlers of the master there would lose it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)


def post_worker_init(_worker: object) -> None:
    """Look for garbage only among what requests make: to look through the whole app holds every one of them up."""
    gc.collect()
    gc.freeze()


def post_fork(_server: object, _worker: object) -> None:
    """Let every web process tell what all of them, and the worker, have counted (docs/operating.md, Metrics)."""
    # It has taken no connection: until gunicorn has set handlers of its own it just ends.
    for number in ENDING:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)

    from bx24app.metrics import share_counts  # noqa: PLC0415  The master, which serves nobody, does not need it.

    share_counts()
