"""Decide which addresses we may connect to."""

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from bx24app.outgoing.errors import AddressForbidden
from bx24app.outgoing.networks import IPAddress, carried_addresses, is_public
from bx24app.urls import origin_of

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class AddressPolicy:
    """Permits public addresses over https, and the private networks that the operator adds."""

    private_networks: tuple[IPNetwork, ...] = ()
    allow_insecure: bool = False

    def permits(self, address: str) -> bool:
        """Tell whether we may connect to a resolved IP address."""
        ip = ipaddress.ip_address(address.partition("%")[0])
        if self.allow_insecure:
            return True
        # A network that translates addresses connects to the IPv4 address that is carried inside.
        return all(map(self._permits, carried_addresses(ip) or (ip,)))

    def _permits(self, ip: IPAddress) -> bool:
        return is_public(ip) or any(ip in network for network in self.private_networks)

    def check(self, url: str) -> None:
        """Check a URL as it is written; names are resolved and checked when connecting. Raises ``AddressForbidden``."""
        schemes = {"https", "http"} if self.allow_insecure else {"https"}
        try:
            # What no browser takes for a host or a port would fail later, in headers and in pages.
            parts = urlsplit(origin_of(url))
        except ValueError:
            raise AddressForbidden("not an address of a portal") from None
        if parts.scheme not in schemes or not self._permits_literal(parts.hostname or ""):
            raise AddressForbidden("not an address of a portal")

    def _permits_literal(self, host: str) -> bool:
        """Check a host that is an IP address; a name is permitted here, because it is checked when connecting."""
        try:
            ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return True
        return self.permits(host)
