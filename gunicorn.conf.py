"""How the web process is served (docs/operating.md): ``gunicorn app:app`` in this folder reads it."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

bind = "127.0.0.1:8000"
worker_class = "buffering_worker.BufferingWorker"
threads = 16
# Without it kept-alive connections sometimes all sit on one of several processes.
reuse_port = True
worker_connections = 1000
keepalive = 5
limit_request_line = 8190
