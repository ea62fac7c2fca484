"""The broker of a fleet: the one Celery app, with which rows are announced and the fleet's processes work.

A message is a bell and no more: it names a job and a row, and whoever hears it looks into the database for what is due.
So nothing is lost with a message, and one that was made up or comes twice dials nothing.
"""

import ssl
from typing import Any
from urllib.parse import urlsplit

from celery import Celery

QUEUE = "bx24app"
TASK = "bx24app.work"
# A broker that does not answer keeps the thread that announces waiting so long, and nobody else.
BROKER_CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 5.0
# Longer than any task. A message whose process was killed comes again after it; the sweep does not wait for that.
VISIBILITY_SECONDS = 3600


def make_celery(url: str) -> Celery:
    """Make the Celery app for a broker's address; connects to nothing."""
    scheme = urlsplit(url).scheme
    app = Celery("bx24app", set_as_current=False, broker=url)
    app.conf.update(
        task_default_queue=QUEUE,
        # Bytes of anybody who reaches the broker are read as JSON and never unpickled.
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_publish_retry=False,
        # A bell waits at the broker until a thread is free somewhere, not in a process whose threads are all at work.
        task_acks_late=True,
        worker_prefetch_multiplier=1,
        # Nobody who reaches the broker may stop processes or ask them what they do.
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_timeout=BROKER_CONNECT_SECONDS,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options=_transport_options(scheme),
        **_tls(scheme),
    )
    return app


def _transport_options(scheme: str) -> dict[str, Any]:
    if scheme.startswith("amqp"):
        return {"write_timeout": ANSWER_SECONDS}
    return {
        "visibility_timeout": VISIBILITY_SECONDS,
        "socket_connect_timeout": BROKER_CONNECT_SECONDS,
        "socket_timeout": ANSWER_SECONDS,
        "socket_keepalive": True,
    }


def _tls(scheme: str) -> dict[str, Any]:
    """The certificate of a broker is checked against those that the machine trusts (``SSL_CERT_FILE`` names others)."""
    if scheme == "rediss":
        return {"broker_use_ssl": {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True}}
    if scheme == "amqps":
        return {"broker_use_ssl": {"cert_reqs": ssl.CERT_REQUIRED}}
    return {}
