"""
What an Envoy access log line means: who talked to whom over the wire, how it ended, what protected it.

A proxy stands between two legs and its line tells of both. The row is the leg on the wire: at an inbound sidecar the
one it accepted, at an outbound one the one it opened. Evidence of the other leg is left out: it never left the pod.
"""

from __future__ import annotations

import json
from enum import Enum, auto
from typing import Any

from vzflow.flow.terms import (
    Action,
    ClientCertificate,
    ConnectionState,
    Hop,
    InitiatorBasis,
    Reporter,
    Source,
    Ternary,
    Transport,
    TransportBasis,
)
from vzflow.readers.envoy.client_cert import own_peer
from vzflow.readers.envoy.line import NOWHERE, Address, Line, address_of
from vzflow.readers.values import is_loopback

#: Where proxies of an ambient mesh take tunnels (istio/ztunnel, istio/istio pilot/pkg/model HBoneInboundListenPort).
TUNNEL_PORT = 15008

#: Address that an Istio sidecar binds when it passes a request on to its own pod.
_SIDECAR = "127.0.0.6"

#: Response flags of a request that no one took: no route, upstream closed, upstream could not be connected.
_REFUSING_FLAGS = frozenset(("NR", "UC", "UF"))

#: How what never gave a byte ended.
_UNANSWERED = (ConnectionState.REFUSED, ConnectionState.ATTEMPTED)

#: How server names of Istio clients begin, in their DNS form and in their cluster form.
_ISTIO_SERVER_NAMES = ("outbound_", "outbound|")

Columns = dict[str, Any]


class Direction(Enum):
    """Which way the traffic passed the proxy that wrote the line."""

    INBOUND = auto()
    OUTBOUND = auto()
    WAYPOINT = auto()
    UNKNOWN = auto()


_REPORTERS = {
    Direction.INBOUND: Reporter.RESPONDER,
    Direction.OUTBOUND: Reporter.INITIATOR,
    Direction.WAYPOINT: Reporter.PROXY,
    Direction.UNKNOWN: None,
}


def flow_of(line: Line) -> Columns:
    """Return the recorded columns that one line gives; null or missing where it cannot say."""
    direction = direction_of(line)
    row: Columns = {
        "source": Source.ENVOY,
        "reporter": _REPORTERS[direction],
        "first_seen": line.begin,
        "last_seen": line.end,
        "protocol": "udp" if line.http == "http/3" and direction is not Direction.OUTBOUND else "tcp",
        "initiator_basis": InitiatorBasis.LOG,
        **_ends(line, direction),
        "bytes_sent": line.received,
        "bytes_received": line.sent,
        "connection_state": _connection_state(line),
        **_denial(line),
        "response_code": line.code or None,
        "response_flags": _shown_flags(line),
        "app_protocol": line.http,
    }
    if direction is Direction.OUTBOUND and row["connection_state"] in _UNANSWERED and line.sent is not None:
        row["bytes_received"] = 0  # what the proxy told the app was its own answer
    if line.raw:
        row["connections"] = 1
        # What a client sends before a chain is chosen, or into a handshake that fails, Envoy does not count.
        if "NR" not in line.flags and not _handshake_failed(line):
            row["payload_sent"], row["payload_received"] = line.received, line.sent
    row |= _protection(line, direction)
    row["hop"] = Hop.WIRE
    _unwrap_tunnel(row, line, direction)
    if is_loopback(row.get("initiator_ip")) or is_loopback(row.get("responder_ip")):
        row["hop"] = Hop.LOOPBACK
        row |= _unknown(TransportBasis.NOT_ON_WIRE)
    return row


def _shown_flags(line: Line) -> str | None:
    return line.text("response_flags") if line.logs("response_flags") else ",".join(sorted(line.flags)) or None


def _unwrap_tunnel(row: Columns, line: Line, direction: Direction) -> None:
    """
    Say of a line of a tunnel between proxies (HBONE: HTTP/2 CONNECT to port 15008) what travelled in it.

    Where the tunnel ends, the request names the inner target. It is taken over if it is the pod that the tunnel led
    to; a client may ask for anything else. Where the tunnel begins the inner port is not in the line.
    """
    if row["responder_port"] != TUNNEL_PORT:
        return
    inner = _inner_target(line) if line.text("method") == "CONNECT" else NOWHERE
    if direction is not Direction.OUTBOUND and inner.ip == row["responder_ip"] is not None and line.code == 200:
        row["responder_port"], row["via"] = inner.port, "hbone"
    else:
        row["hop"] = Hop.OUTER_TUNNEL


def _inner_target(line: Line) -> Address:
    text = line.text("authority")
    try:
        return address_of(text) if text is not None else NOWHERE
    except ValueError:
        return NOWHERE


def direction_of(line: Line) -> Direction:
    """Return the direction that the cluster tells, else what only an inbound proxy prints, else unknown."""
    if line.cluster == "inbound-vip|":
        return Direction.WAYPOINT
    if line.cluster in ("inbound|", "InboundPassthroughCluster"):
        return Direction.INBOUND
    if line.cluster in ("outbound|", "outbound_.", "PassthroughCluster", "BlackHoleCluster"):
        return Direction.OUTBOUND
    if line.upstream_local.ip == _SIDECAR or line.text("downstream_tls_version") is not None or _no_chain(line):
        return Direction.INBOUND
    if line.text("method") == "CONNECT" and line.downstream_local.port == TUNNEL_PORT:
        return Direction.INBOUND
    if line.own_ip is not None and line.downstream_local.ip == line.own_ip:
        return Direction.INBOUND
    if line.own_ip is not None and line.upstream_local.ip == line.own_ip:
        return Direction.OUTBOUND
    return Direction.UNKNOWN


def _no_chain(line: Line) -> bool:
    """Whether a listener turned the connection away: no filter chain fits it, as for clear text on a STRICT port."""
    return line.http is None and "NR" in line.flags and line.text("response_code_details") == "filter_chain_not_found"


def _ends(line: Line, direction: Direction) -> Columns:
    if direction is Direction.INBOUND:
        return _from_to(line.peer, line.downstream_local)
    if direction is Direction.WAYPOINT:
        answers = line.upstream_host if line.upstream_host != NOWHERE else line.downstream_local
        return _from_to(line.peer, answers) | _dialled(line.downstream_local)
    if direction is Direction.OUTBOUND and line.upstream_local != NOWHERE:
        ends = _from_to(line.upstream_local, line.upstream_host)
        return ends if _is_gateway(line) else ends | _dialled(line.downstream_local)
    # A format without the downstream addresses tells of the leg to the upstream only.
    if not line.logs_downstream:
        return _from_to(line.upstream_local, line.upstream_host)
    # Nothing was opened upstream, or it is not known which leg is on the wire. At a sidecar the app of its pod asked
    # for this address, at a gateway a client reached it: both are told by these ends. At a sidecar the port of who
    # asked never was on the wire.
    ends = _from_to(Address(line.peer.ip, None), line.downstream_local)
    return ends | _dialled(line.downstream_local) if direction is Direction.OUTBOUND else ends


def _is_gateway(line: Line) -> bool:
    """
    Whether the proxy that opened this connection is not in the pod of who asked for it.

    Then the address that was dialled is the proxy's own, and not what the proxy dialled.
    """
    own = line.upstream_local.ip
    return line.downstream_local.ip == own or line.peer.ip not in (None, own)


def _from_to(initiator: Address, responder: Address) -> Columns:
    return {
        "initiator_ip": initiator.ip,
        "initiator_port": initiator.port,
        "responder_ip": responder.ip,
        "responder_port": responder.port,
    }


def _dialled(address: Address) -> Columns:
    return {"dialled_ip": address.ip, "dialled_port": address.port}


def _connection_state(line: Line) -> ConnectionState | None:
    if _no_chain(line) or _handshake_failed(line):
        return ConnectionState.REFUSED
    if line.answered:
        return ConnectionState.ESTABLISHED
    if line.raw and "UR" in line.flags and not line.sent:
        return ConnectionState.REFUSED
    if line.flags & _REFUSING_FLAGS:
        return ConnectionState.ATTEMPTED if "timeout" in _failure(line) else ConnectionState.REFUSED
    if line.upstream_local != NOWHERE and (line.http is not None or line.received):
        return ConnectionState.ESTABLISHED
    return ConnectionState.ATTEMPTED if "UH" in line.flags else None


def _failure(line: Line) -> str:
    names = ("response_code_details", "connection_termination_details", "upstream_transport_failure_reason")
    return " ".join(line.text(name) or "" for name in names)


def _denial(line: Line) -> Columns:
    """Return what an authorization policy did: Envoy's RBAC filters name the policy that matched, for a denial only."""
    for name in ("response_code_details", "connection_termination_details"):
        text = line.text(name)
        if text is not None and text.startswith("rbac_access_denied"):
            return {"action": Action.DENIED, "policies": json.dumps([text])}
    return {"action": Action.UNKNOWN}


def _protection(line: Line, direction: Direction) -> Columns:
    if direction is Direction.INBOUND and not line.internal:
        return {"tls_sni": line.text("requested_server_name"), **_inbound(line)}
    if direction is Direction.INBOUND and not any(name.startswith("downstream_") for name in line.internal):
        # A tunnel ends here and its inside goes on to another listener: what is said of TLS is the tunnel's.
        return _inbound(line) if _is_tls(line) or line.certificate else _unknown()
    if direction is Direction.OUTBOUND and not line.internal:
        return _outbound(line)
    # A waypoint's request came through a tunnel that the line does not show: its `-` says nothing of the wire.
    return _unknown()


def _inbound(line: Line) -> Columns:
    """Return what the proxy of the responder says of the connection it accepted."""
    if _handshake_failed(line):
        return _unknown(TransportBasis.TLS_FAILED)
    if _no_chain(line):
        return _unknown()
    if _is_tls(line) or line.certificate:
        return _inbound_tls(line)
    if line.logs("downstream_tls_version"):
        return _inbound_without_tls(line)
    return _inbound_by_headers(line)


def _is_tls(line: Line) -> bool:
    return line.text("downstream_tls_version") is not None or line.text("downstream_tls_cipher") is not None


def _inbound_tls(line: Line) -> Columns:
    """Version and peer are printed for handshakes that failed, too; they count once one is shown to have worked."""
    if not _payload_passed(line):
        return _unknown(TransportBasis.TLS_HANDSHAKE)
    version: Columns = {"tls_version": line.text("downstream_tls_version")}
    if line.certificate:
        own = _principal(line.text("downstream_local_uri_san"))
        return version | {"client_certificate": ClientCertificate.SEEN, "responder_principal": own} | _client(line)
    if line.certificate is False:
        return _peer_empty() | version
    if _is_istio_client(line):
        return _seen(Transport.TLS, TransportBasis.OUTBOUND_SNI) | version
    return _seen(Transport.TLS, TransportBasis.TLS_VERSION) | version


def _client(line: Line) -> Columns:
    """Return what a client's certificate proves: its names, where the line has them."""
    peer = line.text("downstream_peer_uri_san")
    if peer is None:
        return _seen(Transport.MTLS, TransportBasis.PEER_CERTIFICATE)
    if not peer.startswith("spiffe://"):
        return _seen(Transport.TLS, TransportBasis.FOREIGN_TRUST_DOMAIN)
    return _seen(Transport.MTLS, TransportBasis.PEER_URI, Ternary.YES) | {"initiator_principal": _principal(peer)}


def _principal(uri: str | None) -> str | None:
    """Return a SPIFFE URI; null where there are several names, as which of them is meant cannot be told."""
    return uri if uri is not None and uri.startswith("spiffe://") and "," not in uri else None


def _is_istio_client(line: Line) -> bool:
    return (line.text("requested_server_name") or "").startswith(_ISTIO_SERVER_NAMES)


def _inbound_without_tls(line: Line) -> Columns:
    """Return what `-` for the TLS version says: plaintext of a request, of raw bytes only that the mesh did nothing."""
    if line.http is None:
        return _raw_connection(line) | {"mesh_mtls": Ternary.NO}
    # Code 0 is a listener's line, or a request that came to nothing; a server name would contradict the `-`. Where the
    # bytes were no HTTP they may have been a ClientHello.
    if line.code > 0 and "DPE" not in line.flags and line.text("requested_server_name") is None:
        return _seen(Transport.PLAINTEXT, TransportBasis.NO_TLS_HTTP, Ternary.NO)
    return _unknown()


def _inbound_by_headers(line: Line) -> Columns:
    """Return what a format without the TLS version lets conclude: from the server name, or from XFCC."""
    if line.http is None:
        return _raw_connection(line) | ({"mesh_mtls": Ternary.NO} if line.certificate is False else {})
    if not _payload_passed(line):
        return _unknown()
    server_name = line.text("requested_server_name")
    if line.certificate is False:
        return _peer_empty() if server_name is not None else _unknown() | {"mesh_mtls": Ternary.NO}
    peer = own_peer(line.text("x_forwarded_client_cert") or "")
    if peer is not None and peer.startswith("spiffe://") and line.cluster == "inbound|":
        # Envoy drops the header of clients without a certificate, unless it is told to pass on everything.
        return _seen(Transport.TLS, TransportBasis.FORWARDED_CLIENT_CERT) | {"initiator_principal": _principal(peer)}
    if _is_istio_client(line):
        return _seen(Transport.TLS, TransportBasis.OUTBOUND_SNI)
    return _unknown()


def _raw_connection(line: Line) -> Columns:
    """A server name means a ClientHello, ended here or passed on to the app; bytes both ways, that it was answered."""
    if line.text("requested_server_name") is not None and line.received and line.sent:
        return _seen(Transport.TLS, TransportBasis.SERVER_NAME)
    return _unknown()


def _outbound(line: Line) -> Columns:
    """
    Return what the proxy of the initiator says of the connection it opened.

    The server name in the line is what the app sent to its own sidecar, so it is not evidence here.
    """
    version = line.text("upstream_tls_version")
    if not line.answered and "TLS_error" in _failure(line).replace(" ", "_"):
        return _unknown(TransportBasis.TLS_FAILED)
    if version is not None:
        # With TLS 1.3 a client takes a handshake for done that the server then turns down.
        if not line.answered:
            return _unknown(TransportBasis.TLS_HANDSHAKE)
        peer = _principal(line.text("upstream_peer_uri_san"))
        own = _principal(line.text("upstream_local_uri_san"))
        seen = _seen(Transport.TLS, TransportBasis.TLS_VERSION) | {"tls_version": version, "responder_principal": peer}
        if peer is None or own is None or peer.split("/")[2] != own.split("/")[2]:
            return seen
        # A certificate that is set up is no proof that the server asked for it.
        return seen | {"transport_seen_basis": TransportBasis.BOTH_URIS, "initiator_principal": own}
    if not line.logs("upstream_tls_version") or line.upstream_local == NOWHERE:
        return _unknown()
    if line.http is not None and line.answered and line.cluster == "outbound|":
        return _seen(Transport.PLAINTEXT, TransportBasis.NO_TLS_UPSTREAM, Ternary.NO)
    # The proxy did no TLS; bytes that it passed on may have been the app's own.
    return (_raw_connection(line) if line.http is None else _unknown()) | {"mesh_mtls": Ternary.NO}


def _handshake_failed(line: Line) -> bool:
    """
    Whether the proxy says that the handshake with whoever connected failed.

    `TLS_error|` without a colon is a note of the listener's TLS inspector on bytes that are no TLS, and no failure.
    """
    reason = line.text("downstream_transport_failure_reason")
    return reason is not None and not reason.startswith("TLS_error|")


def _payload_passed(line: Line) -> bool:
    """
    Whether the connection worked as far as payload, so that what is printed of its handshake holds.

    A status is only printed for a request that was parsed, after the handshake (a listener's own line has 0). A raw
    connection needs bytes both ways. Where the format says that no handshake failed, bytes of one way are enough, or
    the method of a request that was left before it had a status.
    """
    if line.http is not None and line.code > 0:
        return True
    received, sent = bool(line.received), bool(line.sent)
    if line.logs("downstream_transport_failure_reason"):
        return received or sent or line.text("method") is not None
    return received and sent


def _seen(transport: Transport, basis: TransportBasis, mesh_mtls: Ternary = Ternary.UNKNOWN) -> Columns:
    return {"transport_seen": transport, "transport_seen_basis": basis, "mesh_mtls": mesh_mtls}


def _unknown(basis: TransportBasis = TransportBasis.FORMAT_SILENT) -> Columns:
    return _seen(Transport.UNKNOWN, basis)


def _peer_empty() -> Columns:
    return _seen(Transport.TLS, TransportBasis.PEER_EMPTY, Ternary.NO) | {"client_certificate": ClientCertificate.EMPTY}
