"""A broker that is reached through a network: TLS, and a certificate that is checked."""

import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from flask import Flask

from bx24app.services.runtime.broker import QUEUE
from tests.conftest import Eventually
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor
from tests.support.fleet import StartFleet, start_fleet
from tests.support.processes import Spawn
from tests.support.redis_server import RedisServer
from tests.support.remembered import remember

__all__ = ["start_fleet"]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path, remember(f"canary-{secrets.token_urlsafe(20)}"), trustme.CA())
    yield server
    server.kill()


@pytest.fixture
def trusted() -> str:
    """The file of whom the machine trusts, in the directory of the broker."""
    return "ca-of-redis.pem"


@pytest.fixture
def environ(
    environ: dict[str, str], broker: RedisServer, trusted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    trustme.CA().cert_pem.write_to_path(tmp_path / "another.pem")
    # This process takes the requests.
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / trusted))
    return environ | {"BX24APP_BROKER_URL": broker.url, "SSL_CERT_FILE": str(tmp_path / trusted)}


@pytest.mark.long
def test_a_fleet_works_over_tls(
    app: Flask, manager: Actor, portal: FakePortal, start_fleet: StartFleet, eventually: Eventually
) -> None:
    start_fleet("worker")
    assert manager.requests_callback("+4930901871").status_code == 201
    eventually(lambda: len(portal.telephony.dials) == 1)


@pytest.mark.long
@pytest.mark.parametrize("trusted", ["another.pem"])
def test_a_broker_that_nobody_vouches_for_hears_nothing_and_nothing_is_lost(
    app: Flask,
    manager: Actor,
    portal: FakePortal,
    broker: RedisServer,
    start_fleet: StartFleet,
    spawn: Spawn,
    eventually: Eventually,
) -> None:
    start_fleet("worker")
    assert manager.requests_callback("+4930901872").status_code == 201
    time.sleep(3)
    assert broker.client.llen(QUEUE) == 0
    assert portal.telephony.dials == []
    spawn("worker")
    eventually(lambda: len(portal.telephony.dials) == 1)
