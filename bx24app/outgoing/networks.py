"""Networks that are not the public Internet, and addresses that carry another one inside.

We keep a table of our own, because Python changes with its version which addresses it calls global, and it knows only
one form of address that carries another one.
Sources: the IANA IPv4 and IPv6 Special-Purpose Address Registries, the IANA Internet Protocol Version 6 Address Space
registry, and the RFC beside each line (read in November 2026). An entry that the registries call globally reachable
but that is a service of the network itself (anycast relays, AS112) is refused too, because no site has such an
address.
"""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

IPAddress = IPv4Address | IPv6Address

# Sites have addresses only in this network; all others are reserved or local (RFC 4291, IANA IPv6 Address Space).
GLOBAL_UNICAST = IPv6Network("2000::/3")

SPECIAL_IPV4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # This network: RFC 791.
        "10.0.0.0/8",  # Private use: RFC 1918.
        "100.64.0.0/10",  # Shared address space of carriers: RFC 6598.
        "127.0.0.0/8",  # Loopback: RFC 1122.
        "169.254.0.0/16",  # Link local, and the metadata of clouds: RFC 3927.
        "172.16.0.0/12",  # Private use: RFC 1918.
        "192.0.0.0/24",  # IETF protocol assignments: RFC 6890.
        "192.0.2.0/24",  # Documentation: RFC 5737.
        "192.31.196.0/24",  # AS112: RFC 7535.
        "192.52.193.0/24",  # Multicast tunnels (AMT): RFC 7450.
        "192.88.99.0/24",  # Relays of 6to4, deprecated: RFC 7526.
        "192.168.0.0/16",  # Private use: RFC 1918.
        "192.175.48.0/24",  # AS112: RFC 7534.
        "198.18.0.0/15",  # Benchmarks: RFC 2544.
        "198.51.100.0/24",  # Documentation: RFC 5737.
        "203.0.113.0/24",  # Documentation: RFC 5737.
        "224.0.0.0/4",  # Multicast: RFC 5771.
        "240.0.0.0/4",  # Reserved, and the broadcast address: RFC 1112, RFC 8190.
    )
)
# These networks lie inside GLOBAL_UNICAST, but have no sites.
SPECIAL_IPV6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # IETF protocol assignments, benchmarks, ORCHID, drone tags: RFC 2928, 5180, 7343, 9374.
        "2001:db8::/32",  # Documentation: RFC 3849.
        "2620:4f:8000::/48",  # AS112: RFC 7534.
        "3ffe::/16",  # The former 6bone: RFC 3701.
        "3fff::/20",  # Documentation: RFC 9637.
    )
)

# An address in these networks ends with the IPv4 address that it leads to.
_ENDING_WITH_IPV4 = tuple(
    IPv6Network(network)
    for network in (
        "::ffff:0:0/96",  # IPv4-mapped: RFC 4291.
        "::/96",  # IPv4-compatible, deprecated: RFC 4291.
        "::ffff:0:0:0/96",  # IPv4-translated: RFC 2765.
        # NAT64: RFC 6052. 64:ff9b:1::/48 (RFC 8215) is refused: the place of the IPv4 address in it is unknown.
        "64:ff9b::/96",
    )
)
_6TO4 = IPv6Network("2002::/16")  # RFC 3056.
_TEREDO = IPv6Network("2001::/32")  # RFC 4380.
# :: and ::1 lie in the IPv4-compatible network, but they carry no IPv4 address.
_LOOPBACK = 1


def carried_addresses(address: IPAddress) -> tuple[IPv4Address, ...]:
    """Return the IPv4 addresses to which an IPv6 address leads; empty when it carries none."""
    return tuple(_carried(address)) if isinstance(address, IPv6Address) else ()


def _carried(address: IPv6Address) -> Iterator[IPv4Address]:
    value = int(address)
    if value > _LOOPBACK and any(address in network for network in _ENDING_WITH_IPV4):
        yield _ipv4(value)
    elif address in _6TO4:
        yield _ipv4(value >> 80)
    elif address in _TEREDO:
        yield _ipv4(value >> 64)  # The Teredo server.
        yield _ipv4(~value)  # The client, with every bit inverted.


def _ipv4(value: int) -> IPv4Address:
    return IPv4Address(value & 0xFFFFFFFF)


def is_public(address: IPAddress) -> bool:
    """Tell whether an address that carries no other one belongs to the public Internet."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in SPECIAL_IPV4)
    return address in GLOBAL_UNICAST and not any(address in network for network in SPECIAL_IPV6)
