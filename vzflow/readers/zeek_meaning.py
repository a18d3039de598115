"""
What rows of Zeek's conn.log and ssl.log mean.

Zeek sits on a tap and has parsed what passed: a `service` is a protocol whose analyser took the bytes for its own,
whatever the port. Only protocols that cannot change to TLS inside a connection are then known to have gone in clear.
That TLS was begun is no word on how its handshake ended: conn.log leaves that open, ssl.log's `established` says it.

Source: zeek/zeek scripts/base/protocols/conn/main.zeek and scripts/base/protocols/ssl/{main,files}.zeek.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from vzflow.flow.terms import (
    Action,
    ClientCertificate,
    ConnectionState,
    Hop,
    InitiatorBasis,
    Reporter,
    SkipReason,
    Source,
    Transport,
    TransportBasis,
)
from vzflow.readers.log_lines import invalid, missing
from vzflow.readers.values import address, count, is_loopback, moment, port, text

CONN, SSL = "conn", "ssl"

#: Fields that rows of one log always have, and rows of the other and of Zeek's further logs have not.
CONN_FIELDS = frozenset(("conn_state", "missed_bytes"))
SSL_FIELDS = frozenset(("established", "ssl_history"))

_PROTOCOLS = {"tcp": "tcp", "udp": "udp", "icmp": "icmp", "icmp6": "icmpv6"}
_BY_NUMBER = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp"}
_WITH_PORTS = ("tcp", "udp", "sctp")

#: States of TCP. Where only the responder's half was captured, or no beginning, the opening was not seen.
_TCP_STATES = {
    "S0": ConnectionState.ATTEMPTED, "RSTOS0": ConnectionState.ATTEMPTED, "SH": ConnectionState.ATTEMPTED,
    "REJ": ConnectionState.REFUSED,
    "S1": ConnectionState.ESTABLISHED, "S2": ConnectionState.ESTABLISHED, "S3": ConnectionState.ESTABLISHED,
    "SF": ConnectionState.ESTABLISHED,
    "RSTO": ConnectionState.RESET, "RSTR": ConnectionState.RESET,
    "RSTRH": ConnectionState.MIDSTREAM, "SHR": ConnectionState.MIDSTREAM, "OTH": ConnectionState.MIDSTREAM,
}  # fmt: skip

#: ICMP types of an echo request, RFC 792 and RFC 4443; Zeek puts the type in place of the originator's port.
_ECHO_REQUESTS = {"icmp": 8, "icmpv6": 128}

#: Services without a way to TLS inside a connection: where one is named, what it parsed went in clear. Others may have
#: changed to TLS unseen: Zeek's mysql, postgresql, smtp, ldap and the like do not follow every way to do so.
_CLEAR = frozenset(("http", "dns", "redis", "mqtt", "modbus", "ntp", "syslog", "dhcp"))
_TLS = frozenset(("ssl", "tls", "dtls"))
_QUIC = "quic"
_SSH = "ssh"
#: Services that are the outside of a tunnel, named once the inside was read.
_TUNNELS = frozenset(("vxlan", "geneve", "gtpv1", "teredo", "ayiya", "gre"))

#: Letters of `history` that stand for payload, or for packets that may hold some.
_PAYLOAD = re.compile(r"[DdGgTtIiQqXx]")

#: Ports at which a sidecar or ztunnel takes what its own pod sends and gets.
_SIDECAR_PORTS = (15001, 15006)
_SIDECAR_IP = "127.0.0.6"

#: The client's certificates: fingerprints, or identifiers of files in older versions. Empty is not the same as unset.
_CLIENT_CHAINS = ("client_cert_chain_fps", "client_cert_chain_fuids")

_VERSION = re.compile(r"(D?TLS|SSL)v(\d)(\d)?(-draft\S*)?")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,12})?")
#: A time beyond this many seconds (in the year 5138) is in milliseconds.
_MILLISECONDS = 1e11

Row = Mapping[str, Any]
Columns = dict[str, Any]


def conn_flow(row: Row) -> Columns | SkipReason:
    """Return the recorded columns of a row of conn.log."""
    services = _services(row)
    if _TUNNELS & services:
        return SkipReason.TUNNEL_OUTSIDE
    protocol = _protocol(row)
    history = text(row, "history") or ""
    begin = _time(row, "ts")
    columns = {
        **_tap(row, protocol, begin),
        "last_seen": _after(begin, row),
        "initiator_basis": _basis(row, protocol, history),
        "via": "tunnel" if row.get("tunnel_parents") else None,
        "packets_sent": count(row, "orig_pkts"),
        "bytes_sent": count(row, "orig_ip_bytes"),
        "packets_received": count(row, "resp_pkts"),
        "bytes_received": count(row, "resp_ip_bytes"),
        **_payload(row, protocol),
        "connection_state": _state(row, protocol),
        "app_protocol": _app_protocol(services),
    }
    transport, basis = _conn_transport(services, columns, history)
    if columns["hop"] is not Hop.WIRE and transport is Transport.PLAINTEXT:
        transport, basis = Transport.UNKNOWN, TransportBasis.NOT_ON_WIRE
    return columns | {"transport_seen": transport, "transport_seen_basis": basis}


def ssl_flow(row: Row) -> Columns:
    """Return the recorded columns of a row of ssl.log; it tells of the beginning of the connection only."""
    name = text(row, "version")
    version, datagrams = _version(name)
    established = _flag(row, "established") or False
    # A handshake in QUIC is logged alike, and never as established: TLS 1.3 that came to nothing may have been either.
    protocol = "udp" if datagrams else None if version == "TLSv1.3" and not established else "tcp"
    begin = _time(row, "ts")
    return {
        **_tap(row, protocol, begin),
        "last_seen": begin,
        "initiator_basis": InitiatorBasis.LOG,
        "connection_state": ConnectionState.ESTABLISHED if established else None,
        "tls_version": version,
        "tls_sni": text(row, "server_name"),
        "tls_resumed": _flag(row, "resumed"),
        "app_protocol": text(row, "next_protocol"),
        **_handshake(row, version, established),
    }


FLOWS = {CONN: conn_flow, SSL: ssl_flow}


def _tap(row: Row, protocol: str | None, begin: datetime) -> Columns:
    ends = {
        "initiator_ip": address(row, "id.orig_h"),
        "initiator_port": port(row, "id.orig_p"),
        "responder_ip": address(row, "id.resp_h"),
        "responder_port": port(row, "id.resp_p"),
    }
    if protocol is not None and protocol not in _WITH_PORTS:
        ends |= {"initiator_port": None, "responder_port": None}
    return {
        "source": Source.ZEEK,
        "reporter": Reporter.TAP,
        "first_seen": begin,
        "protocol": protocol,
        "hop": _hop(ends),
        "connections": 1,
        "action": Action.UNKNOWN,
        **ends,
    }


def _hop(ends: Columns) -> Hop:
    """Return where it was seen, as far as addresses and ports show: Zeek does not name the interface."""
    addresses = (ends["initiator_ip"], ends["responder_ip"])
    if _SIDECAR_IP in addresses or ends["responder_port"] in _SIDECAR_PORTS:
        return Hop.POD_INTERNAL
    if addresses[0] == addresses[1] or any(map(is_loopback, addresses)):
        return Hop.LOOPBACK
    return Hop.WIRE


def _protocol(row: Row) -> str | None:
    """Return the protocol; `icmp` is of both families, and others have only a number, in newer versions."""
    name = text(row, "proto")
    if name is None:
        raise missing("proto")
    if name == "icmp" and ":" in (address(row, "id.resp_h") or ""):
        return "icmpv6"
    if name in _PROTOCOLS:
        return _PROTOCOLS[name]
    number = count(row, "ip_proto")
    if number is None:
        return None
    if number > 255:
        raise invalid("ip_proto", number)
    return _BY_NUMBER.get(number, str(number))


def _basis(row: Row, protocol: str | None, history: str) -> InitiatorBasis:
    """
    Return how it is known who opened: by the SYN or its answer, or an echo request.

    Letters are upper case for who is named first. `^` stands for a direction that Zeek turned, by a port it knows.
    """
    if protocol == "tcp" and ("S" in history or "h" in history):
        return InitiatorBasis.SYN
    if protocol in _ECHO_REQUESTS and count(row, "id.orig_p") == _ECHO_REQUESTS[protocol]:
        return InitiatorBasis.REQUEST
    return InitiatorBasis.KNOWN_PORT if "^" in history else InitiatorBasis.FIRST_SEEN


def _state(row: Row, protocol: str | None) -> ConnectionState | None:
    state = text(row, "conn_state")
    if state is None or protocol != "tcp":
        return None
    if state not in _TCP_STATES:
        raise invalid("conn_state", state)
    return _TCP_STATES[state]


def _payload(row: Row, protocol: str | None) -> Columns:
    if protocol not in ("tcp", "udp"):
        return {}
    return {"payload_sent": count(row, "orig_bytes"), "payload_received": count(row, "resp_bytes")}


def _services(row: Row) -> frozenset[str]:
    """Return the confirmed protocols; `-` marks one that was given up, and Spicy's have a prefix in some versions."""
    names = (text(row, "service") or "").lower().split(",")
    return frozenset(name.removeprefix("spicy_") for name in names if name and not name.startswith("-"))


def _app_protocol(services: frozenset[str]) -> str | None:
    names = sorted(services - _TLS) or sorted(services)
    return ",".join(names) or None


def _conn_transport(services: frozenset[str], columns: Columns, history: str) -> tuple[Transport, TransportBasis]:
    if _QUIC in services:
        return Transport.TLS, TransportBasis.QUIC
    if services & _TLS:
        return Transport.UNKNOWN, TransportBasis.TLS_HANDSHAKE
    if services and services <= _CLEAR:
        return Transport.PLAINTEXT, TransportBasis.CLEAR_PROTOCOL
    if services == {_SSH}:
        return Transport.UNKNOWN, TransportBasis.OTHER_ENCRYPTION
    if columns["protocol"] == "tcp" and history and not _PAYLOAD.search(history):
        if not (columns["payload_sent"] or columns["payload_received"]):
            return Transport.NONE, TransportBasis.NO_PAYLOAD
        return Transport.UNKNOWN, TransportBasis.CUT
    if columns["connection_state"] is ConnectionState.MIDSTREAM:
        return Transport.UNKNOWN, TransportBasis.MIDSTREAM
    if columns["protocol"] == "udp":
        return Transport.UNKNOWN, TransportBasis.DATAGRAM
    return Transport.UNKNOWN, TransportBasis.UNRECOGNISED


def _handshake(row: Row, version: str | None, established: bool) -> Columns:
    """
    Return what a handshake proves.

    Up to TLS 1.2 certificates are visible. The log holds no URI of theirs, so whose the client's is stays open, and
    with it whether it is of the mesh.
    """
    history = text(row, "ssl_history") or ""
    if not established:
        failed = text(row, "last_alert") is not None
        return _seen(Transport.UNKNOWN, TransportBasis.TLS_FAILED if failed else TransportBasis.TLS_HANDSHAKE)
    if _flag(row, "resumed"):
        return _seen(Transport.TLS, TransportBasis.TLS_RESUMED, ClientCertificate.NOT_VISIBLE)
    if version == "TLSv1.3":
        return _seen(Transport.TLS, TransportBasis.TLS_HANDSHAKE, ClientCertificate.NOT_VISIBLE)
    if "^" in history:
        # The client of the handshake is who is named as responder.
        return _seen(Transport.TLS, TransportBasis.TLS_HANDSHAKE)
    # Letters are lower case for the server: R asks for a certificate, X is one, Y proves its key, D is data.
    chains = [row[name] for name in _CLIENT_CHAINS if row.get(name) is not None]
    if any(chains):
        if "Y" in history and "D" in history.upper():
            return _seen(Transport.MTLS, TransportBasis.CLIENT_CERTIFICATE, ClientCertificate.SEEN)
        return _seen(Transport.TLS, TransportBasis.TLS_HANDSHAKE, ClientCertificate.SEEN)
    if "s" in history and "r" not in history:
        return _seen(Transport.TLS, TransportBasis.TLS_HANDSHAKE, ClientCertificate.NOT_ASKED)
    if chains and "r" in history and "X" in history:
        return _seen(Transport.TLS, TransportBasis.CERTIFICATE_WITHHELD, ClientCertificate.EMPTY)
    return _seen(Transport.TLS, TransportBasis.TLS_HANDSHAKE)


def _seen(transport: Transport, basis: TransportBasis, certificate: ClientCertificate | None = None) -> Columns:
    return {"transport_seen": transport, "transport_seen_basis": basis, "client_certificate": certificate}


def _version(name: str | None) -> tuple[str | None, bool]:
    """Return the version in vzflow's spelling, and whether it is that of datagrams."""
    match = _VERSION.fullmatch(name or "")
    if match is None:
        return name, (name or "").startswith("DTLS")
    kind, major, minor = match[1], match[2], match[3] or "0"
    return f"{kind}v{major}" if kind == "SSL" else f"{kind}v{major}.{minor}", kind == "DTLS"


def _flag(row: Row, name: str) -> bool | None:
    value = row.get(name)
    if value is None or isinstance(value, bool):
        return value
    if value not in ("T", "F"):
        raise invalid(name, value)
    return bool(value == "T")


def _time(row: Row, name: str) -> datetime:
    """Return a time: seconds since 1970, milliseconds since then, or RFC 3339, as Zeek is told to write it."""
    value = row.get(name)
    if isinstance(value, str) and "T" in value:
        written = moment(row, name)
        assert written is not None  # it is not empty
        return written
    seconds = _seconds(row, name)
    if seconds is None:
        raise missing(name)
    try:
        return _EPOCH + timedelta(microseconds=round(seconds * (1e3 if seconds > _MILLISECONDS else 1e6)))
    except OverflowError as error:
        raise invalid(name, value) from error


def _after(begin: datetime, row: Row) -> datetime:
    """Return the end; a connection of one packet has no duration."""
    seconds = _seconds(row, "duration") or 0.0
    if seconds < 0:
        raise invalid("duration", row["duration"])
    try:
        return begin + timedelta(microseconds=round(seconds * 1e6))
    except OverflowError as error:
        raise invalid("duration", row["duration"]) from error


def _seconds(row: Row, name: str) -> float | None:
    value = row.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value):
            raise invalid(name, value)
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise invalid(name, value)
    return float(value)
