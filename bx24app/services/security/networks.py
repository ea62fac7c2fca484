"""Networks of addresses: what limits take for one visitor, and what may hold many."""

from ipaddress import IPv6Address, IPv6Network, ip_address, ip_network

# A household has at least a /64 of IPv6 addresses, so limits count the whole network.
IPV6_NETWORK = 64
# What somebody gets beside that, the widest first: a tunnel or an office has a /48, a household often a /56. A /24 is
# what is rented or announced of IPv4.
WIDER_IPV6 = (48, 56)
WIDER_IPV4 = (24,)
UNKNOWN_NETWORK = "unknown"


def network_of(address: str) -> str:
    """Return an IPv4 address, or the /64 network of an IPv6 address; all texts that are no address are one network."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return UNKNOWN_NETWORK if address else ""
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return f"{IPv6Address(int(parsed) >> IPV6_NETWORK << IPV6_NETWORK)}/{IPV6_NETWORK}"


def wider_networks(network: str) -> list[str]:
    """Return the networks around one of ``network_of``, the widest first; around what is no address only itself."""
    try:
        narrow = ip_network(network)
    except ValueError:
        return [network]
    prefixes = WIDER_IPV6 if isinstance(narrow, IPv6Network) else WIDER_IPV4
    return [str(narrow.supernet(new_prefix=prefix)) for prefix in prefixes]
