"""FlowKey: the canonical 5-tuple, and canonical addresses."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple

#: What the second flow of one line adds to its record number, the third twice: line numbers stay below it.
ENTRY = 1 << 40


def canonical_address(text: str) -> str:
    """
    Return *text* as canonical address text; an IPv4-mapped IPv6 address becomes IPv4, a zone index is dropped.

    Raises:
        ValueError: It is not an IP address.
    """
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address)


@lru_cache(maxsize=1 << 16)
def address_key(text: str) -> str:
    """Return 32 hex digits that order addresses of both families: IPv4 as its IPv4-mapped form."""
    address = ip_address(text)
    number = int(address) if address.version == 6 else (0xFFFF << 32) | int(address)
    return f"{number:032x}"


class FlowKey(NamedTuple):
    """One direction of a 5-tuple inside one encapsulation; ports are 0 for protocols without ports."""

    protocol: str
    ip: str
    port: int
    peer_ip: str
    peer_port: int
    via: str | None = None

    def reverse(self) -> FlowKey:
        """Return the other direction of the same conversation."""
        return FlowKey(self.protocol, self.peer_ip, self.peer_port, self.ip, self.port, self.via)
