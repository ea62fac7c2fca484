"""Which addresses may be reached."""

import ipaddress

import pytest

from bx24app.outgoing.address_policy import AddressPolicy
from bx24app.outgoing.networks import carried_addresses

PUBLIC = AddressPolicy()
INSECURE = AddressPolicy(allow_insecure=True)
# From all over both families.
SAMPLES = [str(ipaddress.IPv4Address(high << 16 | 1)) for high in range(0, 1 << 16, 3)]
SAMPLES += [str(ipaddress.IPv6Address(high << 112 | 1)) for high in range(0, 1 << 16, 3)]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
    ],
)
def test_private_and_local_addresses_are_not_permitted(address: str) -> None:
    assert not PUBLIC.permits(address)
    assert INSECURE.permits(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses_are_permitted(address: str) -> None:
    assert PUBLIC.permits(address)


def carriers(inside: str) -> list[str]:
    """Every address of IPv6 that leads to one of IPv4."""
    ip = ipaddress.IPv4Address(inside)
    high, low = divmod(int(ip), 0x10000)
    turned_high, turned_low = divmod(int(ip) ^ 0xFFFFFFFF, 0x10000)
    return [
        f"::ffff:{ip}",
        f"::{ip}",
        f"::ffff:0:{ip}",
        f"64:ff9b::{ip}",
        f"2002:{high:x}:{low:x}::1",
        f"2001:0:{high:x}:{low:x}:8000:63bf:{0x0808 ^ 0xFFFF:x}:{0x0808 ^ 0xFFFF:x}",
        f"2001:0:808:808:8000:63bf:{turned_high:x}:{turned_low:x}",
    ]


@pytest.mark.parametrize("inside", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "192.88.99.1", "0.0.0.2", "224.0.0.1"])
def test_what_carries_a_private_address_is_judged_by_it(inside: str) -> None:
    for address in carriers(inside):
        assert not PUBLIC.permits(address), address
        assert not AddressPolicy((ipaddress.ip_network("::/0"),)).permits(address), address
        assert AddressPolicy((ipaddress.ip_network(f"{inside}/32"),)).permits(address), address


def test_what_carries_a_public_address_leads_to_it() -> None:
    """A host without IPv4 is given such addresses by its name server."""
    assert all(PUBLIC.permits(address) for address in carriers("8.8.8.8"))


@pytest.mark.parametrize(
    "address",
    [
        "64:ff9b:1::808:808",
        "64:ff9b:1:a01:2:300::",
        "100::1",
        "100:0:0:1::1",
        "5f00::1",
        "fec0::1",
        "febf::1",
        "fdff::1",
        "4000::1",
        "1fff:ffff::1",
        "2001:1::1",
        "2001:2::1",
        "2001:20::1",
        "2001:1ff::1",
        "2001:db8::1",
        "2620:4f:8000::1",
        "3ffe::1",
        "3fff::1",
        "192.0.0.8",
        "192.0.0.9",
        "192.0.2.1",
        "192.31.196.1",
        "192.52.193.1",
        "192.88.99.1",
        "192.175.48.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "239.255.255.255",
        "240.0.0.1",
    ],
)
def test_networks_of_special_purpose_hold_no_portal(address: str) -> None:
    assert not PUBLIC.permits(address)


@pytest.mark.parametrize(
    "address", ["1.0.0.1", "100.128.0.1", "172.32.0.1", "192.0.1.1", "198.20.0.1", "223.255.255.255"]
)
@pytest.mark.parametrize("beside", ["2001:200::1", "2003::1", "2400::1", "2a00:1450::1", "3fff:1000::1"])
def test_what_lies_beside_them_does(address: str, beside: str) -> None:
    assert PUBLIC.permits(address)
    assert PUBLIC.permits(beside)


def test_no_version_of_the_interpreter_is_stricter() -> None:
    """The table forgets nothing that the interpreter knows."""
    for address in SAMPLES:
        ip = ipaddress.ip_address(address)
        if PUBLIC.permits(address) and not carried_addresses(ip):
            assert ip.is_global, address
            assert not ip.is_multicast, address


def test_the_operator_may_permit_networks_of_portals() -> None:
    policy = AddressPolicy((ipaddress.ip_network("10.20.0.0/16"),))
    assert policy.permits("10.20.3.4")
    assert not policy.permits("10.21.3.4")
