"""Rings through PostgreSQL: NOTIFY, and a connection of its own for each process that listens.

PgBouncer in transaction mode takes LISTEN and hands nothing on (https://www.pgbouncer.org/features.html). So whoever
listens sends a proof to itself, over a connection of the pool as everybody does, and sees whether it comes.
"""

import time
from collections.abc import Callable
from typing import Any, cast
from uuid import uuid4

import psycopg
import structlog
from sqlalchemy import Engine, text

from bx24app.services.runtime.rings.message import ANYTHING, Listener, read_message

log = structlog.get_logger(__name__)

CHANNEL = "bx24app_rings"
NOTICED_WITHIN = 0.5
PROVEN_EVERY, PROOF_TAKES = 60.0, 5.0
# A server whose machine vanished is noticed; an address may name it so that nothing answers.
CONNECTING = {"connect_timeout": 5, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}


class NotHeard(ConnectionError):
    """What was sent through the database did not come back to the connection that listens."""


class Notices:
    """The channel of everybody who uses one PostgreSQL database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def place(self) -> str:
        """The channel."""
        return CHANNEL

    def send(self, message: str) -> None:
        """Notify everybody who listens; a transaction that writes nothing else; raises ``SQLAlchemyError``."""
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("SELECT pg_notify(:channel, :message)"), {"channel": CHANNEL, "message": message})

    def receive(self, hear: Listener, is_over: Callable[[], bool]) -> None:
        """Hear rings until that is over; raises ``NotHeard``, ``psycopg.Error``, ``SQLAlchemyError``."""
        with self._connect() as connection:
            connection.execute(f"LISTEN {CHANNEL}")
            hear(ANYTHING, None)
            proof = self._send_proof()
            next_proof_at = time.monotonic() + PROOF_TAKES
            while not is_over():
                for notice in connection.notifies(timeout=NOTICED_WITHIN):
                    if notice.payload == proof:
                        proof, next_proof_at = "", time.monotonic() + PROVEN_EVERY
                    for ring in read_message(notice.payload):
                        hear(*ring)
                if time.monotonic() > next_proof_at:
                    if proof:
                        raise NotHeard
                    proof, next_proof_at = self._send_proof(), time.monotonic() + PROOF_TAKES

    def examine(self) -> None:
        """Send a notice to ourselves; raises as ``receive`` does where it does not come."""
        with self._connect() as connection:
            connection.execute(f"LISTEN {CHANNEL}")
            proof = self._send_proof()
            until = time.monotonic() + PROOF_TAKES
            while (left := until - time.monotonic()) > 0:
                if any(notice.payload == proof for notice in connection.notifies(timeout=left, stop_after=1)):
                    return
        raise NotHeard

    def _connect(self) -> psycopg.Connection[Any]:
        [arguments, options] = self._engine.dialect.create_connect_args(self._engine.url)
        wanted = cast("dict[str, Any]", CONNECTING | dict(options))
        return psycopg.connect(*arguments, autocommit=True, **wanted)

    def _send_proof(self) -> str:
        proof = f"proof:{uuid4().hex}"
        self.send(proof)
        return proof
