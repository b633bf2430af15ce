"""Which addresses the broker may connect to for others (against server-side request forgery)."""

from __future__ import annotations

import errno
import ipaddress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

# Never, whatever the settings: there the clouds' metadata services hand out credentials, and some mean 'this host'.
_NEVER: tuple[IPv4Network | IPv6Network, ...] = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",
        "169.254.0.0/16",
        "100.100.100.200/32",
        "192.0.0.192/32",
        "240.0.0.0/4",
        "::/128",
        "fe80::/10",
        "fec0::/10",
        "fd00:ec2::254/128",
    )
)
# IPv6 that carries an IPv4 address: NAT64 (RFC 6052).
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class AddressForbidden(OSError):
    """An address the broker does not connect to. An OSError, because it is raised where a socket would be made."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(errno.EACCES, f"{address}: {reason}")
        self.reason = f"the address {address} is {reason}"


def check_address(text: str, *, private: bool) -> None:
    """Raises AddressForbidden when `text` (an IP address) may not be connected to.

    With `private`, loopback, private and shared (RFC 6598) addresses are allowed; multicast, link-local and the
    metadata services never are.
    """
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        raise AddressForbidden(text, "not an IP address") from None
    for carried in _carried(address):
        if carried.is_multicast:
            raise AddressForbidden(text, "a multicast address")
        if any(carried in network for network in _NEVER if network.version == carried.version):
            raise AddressForbidden(text, "link-local, reserved or a metadata service")
        if not private and not carried.is_global:
            raise AddressForbidden(text, "private or loopback, and delivery.private_networks is off")


def _carried(address: IPv4Address | IPv6Address) -> list[IPv4Address | IPv6Address]:
    """The address, or the IPv4 address in it by which it would be reached."""
    if isinstance(address, IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    inner: list[IPv4Address | IPv6Address] = [address]
    if address.sixtofour is not None:
        inner.append(address.sixtofour)
    if address.teredo is not None:
        inner += address.teredo
    if address in _NAT64:
        inner = [IPv4Address(int(address) & 0xFFFFFFFF)]
    return inner
