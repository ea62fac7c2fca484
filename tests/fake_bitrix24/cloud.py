"""The whole cloud: one authorization server and any number of portals."""

import ssl
from types import TracebackType

import trustme

from tests.fake_bitrix24.authorization import AuthorizationServer
from tests.fake_bitrix24.clock import Clock
from tests.fake_bitrix24.portal import FakePortal
from tests.fake_bitrix24.registry import FakeApp, Registry
from tests.fake_bitrix24.server import Server

AUTH_NAMES = ("oauth.bitrix.info", "oauth.bitrix24.tech", "127.0.0.1", "localhost")


class FakeBitrix24:
    """A Bitrix24 cloud on loopback; with ``tls`` its certificates come from ``ca``."""

    def __init__(self, *, tls: bool = False, auth_host: str = "127.0.0.1") -> None:
        self.ca = trustme.CA() if tls else None
        self.client_tls = ssl.create_default_context() if tls else None
        if self.ca and self.client_tls:
            self.ca.configure_trust(self.client_tls)
        self.clock = Clock()
        self.registry = Registry(self.clock)
        self.portals: dict[str, FakePortal] = {}
        server = Server("authorization", auth_host, tls=self._tls(*AUTH_NAMES))
        self.auth_server = AuthorizationServer(self.registry, self.portals, server)
        self._running = False

    def _tls(self, *names: str) -> ssl.SSLContext | None:
        if self.ca is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(*names).configure_cert(context)
        return context

    def register_app(
        self,
        client_id: str,
        client_secret: str,
        code: str,
        install_url: str,
        app_url: str,
        scopes: tuple[str, ...],
        event_urls: dict[str, str] | None = None,
    ) -> FakeApp:
        """Register an application in the developer's area."""
        app = FakeApp(client_id, client_secret, code, install_url, app_url, scopes, event_urls or {})
        self.registry.apps[client_id] = app
        return app

    def add_portal(self, name: str, host: str = "", port: int = 0) -> FakePortal:
        """Open a portal, by default on the next loopback address; portals of different hosts are different sites."""
        address = host or f"127.0.0.{2 + len(self.portals)}"
        portal = FakePortal(self, name, address, port, self._tls(address, f"{name}.bitrix24.com"))
        self.portals[portal.member_id] = portal
        if self._running:
            portal.start()
        return portal

    def start(self) -> "FakeBitrix24":
        """Answer on all addresses."""
        self._running = True
        self.auth_server.server.start()
        for portal in self.portals.values():
            portal.start()
        return self

    def stop(self) -> None:
        """Stop everything; what the event queues hold is delivered first. Does nothing the second time."""
        if not self._running:
            return
        self.auth_server.faults.release()
        for portal in self.portals.values():
            portal.stop()
        self.auth_server.server.stop()
        self._running = False

    def __enter__(self) -> "FakeBitrix24":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
