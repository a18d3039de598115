"""One field of a Calico record -> one value, or the complaint that it holds none; and the words Calico uses."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from vzflow.flow.key import canonical_address
from vzflow.flow.terms import Hop, Source, Transport, TransportBasis
from vzflow.readers.log_lines import LARGEST, invalid

#: A record by the names of its fields, whatever shape it was read from.
Record = Mapping[str, Any]

#: Ways a text field says that it has nothing to say.
_NOTHING = ("-", "", "*")

#: Protocol names (felix) and numbers (IANA) with a canonical name; any other protocol is its number.
_PROTOCOLS = {
    "tcp": "tcp", "udp": "udp", "sctp": "sctp", "icmp": "icmp", "icmp6": "icmpv6", "icmpv6": "icmpv6",
    "ipip": "4", "esp": "50", "ah": "51", "udplite": "136",
    "6": "tcp", "17": "udp", "132": "sctp", "1": "icmp", "58": "icmpv6",
}  # fmt: skip

#: What every row of Calico's says alike: it was seen between network namespaces, and nothing of TLS.
SAID_BY_ALL = {
    "source": Source.CALICO,
    "hop": Hop.WIRE,
    "transport_seen": Transport.UNKNOWN,
    "transport_seen_basis": TransportBasis.NOT_RECORDED,
}

WITHOUT_PORTS = ("icmp", "icmpv6")

#: 9999-12-31T23:59:59Z in epoch seconds. A larger number is not in seconds.
LAST_SECOND = 253_402_300_799


def text_of(record: Record, name: str) -> str | None:
    """Return the text of a field; null where it is missing or holds a mark for nothing."""
    value = record.get(name)
    if value is None or value in _NOTHING:
        return None
    if not isinstance(value, str):
        raise invalid(name, value)
    return value


def count_of(record: Record, name: str) -> int | None:
    """Return a number that is not negative and fits a column."""
    value = record.get(name)
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise invalid(name, value)
    return value


def port_of(record: Record, name: str) -> int | None:
    """Return a port number; 0 stands for none."""
    port = count_of(record, name)
    if port is not None and port > 65535:
        raise invalid(name, port)
    return port or None


def address_of(record: Record, name: str) -> str | None:
    """Return a canonical address."""
    text = text_of(record, name)
    if text is None:
        return None
    try:
        return canonical_address(text)
    except ValueError as error:
        raise invalid(name, text) from error


def seconds_of(record: Record, name: str) -> datetime | None:
    """Return the UTC time of epoch seconds; 0 stands for none."""
    seconds = count_of(record, name)
    if not seconds:
        return None
    if seconds > LAST_SECOND:
        raise invalid(name, seconds)
    return datetime.fromtimestamp(seconds, UTC)


def protocol_of(record: Record, name: str) -> str | None:
    """Return the canonical protocol of a name or number, in either case."""
    value = record.get(name)
    text = str(value) if type(value) is int else text_of(record, name)
    if text is None:
        return None
    known = _PROTOCOLS.get(text.lower())
    if known is not None:
        return known
    if text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= 255:
        return _PROTOCOLS.get(str(int(text)), str(int(text)))
    raise invalid(name, value)


def number_in(fields: Mapping[str, str], name: str) -> int | None:
    """Return the decimal number that a text field holds, as `count_of` would; null where it is missing or `-`."""
    text = fields.get(name)
    if text is None or text in _NOTHING:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise invalid(name, text)
    return int(text)
