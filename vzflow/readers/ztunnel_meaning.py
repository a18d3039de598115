"""
What a ztunnel access line means: who talked to whom, by which way, how it ended, what protected it.

Both ends of a connection log it. `dst.addr` is what ztunnel connected to, or was asked for; `dst.hbone_addr` is the
target inside the tunnel (HTTP CONNECT over mutual TLS, port 15008), which not all builds print. The row is the flow
inside: `via` is `hbone`, and where both are one host the port is the pod's own. Where they differ the tunnel ended at a
waypoint or gateway. That is then the responder, the target is what was dialled, and no port is recorded: what became of
the payload beyond, other lines tell.

Source: istio/ztunnel src/proxy/{metrics,inbound,inbound_passthrough,outbound}.rs; istio/istio
pilot/pkg/serviceregistry/kube/controller/ambient (names of policies made from PeerAuthentications).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from vzflow.flow.terms import (
    Action,
    ConnectionState,
    Hop,
    InitiatorBasis,
    NamedKind,
    Reporter,
    Source,
    Ternary,
    Transport,
    TransportBasis,
)
from vzflow.readers.log_lines import invalid, missing
from vzflow.readers.values import End, count, end, is_loopback, moment, text

#: Keys that are read.
FIELDS = frozenset((
    "time", "level", "message", "src.addr", "src.workload", "src.namespace", "src.identity", "dst.addr",
    "dst.hbone_addr", "dst.service", "dst.workload", "dst.namespace", "dst.identity", "direction", "bytes_sent",
    "bytes_recv", "duration", "error",
))  # fmt: skip

#: Port at which ztunnel, waypoints and gateways take tunnels.
_HBONE_PORT = 15008

_DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)(ns|us|µs|ms|s)")
_UNITS = {"ns": 0.001, "us": 1, "µs": 1, "ms": 1_000, "s": 1_000_000}

_POLICY_REJECTION = "connection closed due to policy rejection"
_DENIED_BY = re.compile(r"explicitly denied by: (\S+)")
#: Policies that istiod makes from PeerAuthentications: what they turn away is clear text on a STRICT port.
_STRICT_POLICY = re.compile(r"[^/]*/(?:istio_converted_static_strict|converted_peer_authentication_.*)")

_TURNED_AWAY = re.compile(r"Connection refused|http status: \d")
_NO_ANSWER = re.compile(r"timed out|deadline has elapsed")
_TLS_ERROR = re.compile(r"\btls (?:handshake )?(?:error|failed)", re.IGNORECASE)

_SERVICE = re.compile(r"([a-z0-9-]+)\.([a-z0-9-]+)\.svc\b.*")

Columns = dict[str, Any]
Fields = Mapping[str, str]


class _Line:
    """One line with its values checked and typed."""

    def __init__(self, fields: Fields) -> None:
        self.direction = text(fields, "direction")
        if self.direction is None:
            raise missing("direction")
        if self.direction not in ("inbound", "outbound"):
            raise invalid("direction", self.direction)
        self.inbound = self.direction == "inbound"
        source, self.outer, self.inner = (end(fields, name) for name in ("src.addr", "dst.addr", "dst.hbone_addr"))
        if source is None:
            raise missing("src.addr")
        if self.outer is None and self.inner is None:
            raise missing("dst.addr")
        self.source = source
        self.error = text(fields, "error") or ""
        self.early = fields["message"] == "connection failed"
        self.failed = self.early or bool(self.error) or fields.get("level") == "error"
        mine, other = count(fields, "bytes_sent"), count(fields, "bytes_recv")
        #: Bytes by who sent them: each side logs what it sent first.
        self.sent, self.received = (other, mine) if self.inbound else (mine, other)
        self.moved = bool(mine or other)
        #: Known to have carried nothing.
        self.silent = mine == other == 0
        self.identities = text(fields, "src.identity"), text(fields, "dst.identity")
        self.tunnelled = self.inner is not None or (self.outer is not None and self.outer.port == _HBONE_PORT)


def flow_of(fields: Fields) -> Columns:
    """Return the recorded columns of a connection that ended or failed; null or missing where the line cannot say."""
    line = _Line(fields)
    row = {
        "source": Source.ZTUNNEL,
        "reporter": Reporter.RESPONDER if line.inbound else Reporter.INITIATOR,
        **_times(fields),
        "protocol": "tcp",
        "initiator_basis": InitiatorBasis.LOG,
        "hop": Hop.WIRE,
        **_ends(line),
        **_named(fields, "initiator", "src", line.source),
        **_named(fields, "responder", "dst", line.outer),
        "initiator_principal": line.identities[0],
        "responder_principal": line.identities[1],
        "responder_named_service": _service(fields),
        "bytes_sent": line.sent,
        "bytes_received": line.received,
        # What a client sent before it was turned away was never read, so it is not known.
        **({} if line.failed and not line.moved else {"payload_sent": line.sent, "payload_received": line.received}),
        "connections": 1,
        **_fate(line),
        **_protection(line),
    }
    if is_loopback(row["initiator_ip"]) or is_loopback(row["responder_ip"]):
        row |= {"hop": Hop.LOOPBACK, **_seen(Transport.UNKNOWN, TransportBasis.NOT_ON_WIRE, Ternary.UNKNOWN)}
    return row


def _times(fields: Fields) -> Columns:
    """Return begin and end: the line is written at the end, and a connection that failed early has no duration."""
    last = moment(fields, "time")
    duration = text(fields, "duration")
    if last is None or duration is None:
        return {"first_seen": last, "last_seen": last}
    match = _DURATION.fullmatch(duration)
    if match is None:
        raise invalid("duration", duration)
    try:
        return {"first_seen": last - timedelta(microseconds=float(match[1]) * _UNITS[match[2]]), "last_seen": last}
    except OverflowError as error:
        raise invalid("duration", duration) from error


def _ends(line: _Line) -> Columns:
    # The source port of a tunnel is shared by all that goes through it; only the client's side knows the app's own.
    initiator_port = None if line.inbound and line.tunnelled else line.source.port
    responder, dialled, via = _responder(line)
    return {
        "initiator_ip": line.source.ip,
        "initiator_port": initiator_port,
        "responder_ip": responder.ip,
        "responder_port": responder.port,
        "dialled_ip": dialled.ip if dialled is not None else None,
        "dialled_port": dialled.port if dialled is not None and dialled.ip is not None else None,
        "via": via,
    }


def _responder(line: _Line) -> tuple[End, End | None, str | None]:
    """
    Return who answered, what was dialled if that is another host, and the encapsulation.

    The tunnel's own port is none that rules speak of. Which port was meant, the target says where the tunnel ended at
    its host; an older server's side logs the port it went on to.
    """
    outer, inner = line.outer, line.inner
    if outer is None:
        assert inner is not None  # one of the two is there, or the line was rejected
        return inner, None, "hbone"
    if not line.tunnelled:
        return outer, None, None
    here = inner is not None and (outer.ip, outer.name) == (inner.ip, inner.name)
    went_on = line.inbound and outer.port != _HBONE_PORT
    port = outer.port if went_on else inner.port if here and inner is not None else None
    return outer._replace(port=port), None if here else inner, "hbone"


def _named(fields: Fields, side: str, theirs: str, logged: End | None) -> Columns:
    """
    Return what the line calls one end.

    The first builds printed a pod's name in place of its address. Otherwise ztunnel looks the address up in what istiod
    told it, so that the name is no evidence beside the address; it is a workload's where it knew no pod.
    """
    pod = logged.name if logged is not None else None
    name = pod or text(fields, f"{theirs}.workload")
    return {
        f"{side}_named_namespace": text(fields, f"{theirs}.namespace"),
        f"{side}_named_name": name,
        f"{side}_named_kind": NamedKind.POD if pod else NamedKind.WORKLOAD if name else None,
    }


def _service(fields: Fields) -> str | None:
    match = _SERVICE.fullmatch(text(fields, "dst.service") or "")
    return f"{match[2]}/{match[1]}" if match is not None else None


def _fate(line: _Line) -> Columns:
    """Return what became of the connection; who was turned away before any payload was refused."""
    if not line.failed or line.moved:
        action = Action.UNKNOWN if line.failed else Action.ALLOWED
        return {"action": action, "connection_state": ConnectionState.ESTABLISHED}
    if line.error.startswith(_POLICY_REJECTION):
        match = _DENIED_BY.search(line.error)
        policy = match[1] if match is not None else None
        strict = policy is not None and _STRICT_POLICY.fullmatch(policy) is not None
        return {
            "action": Action.DENIED,
            "policies": json.dumps([policy]) if policy is not None else None,
            "connection_state": ConnectionState.REFUSED if strict else None,
        }
    if _NO_ANSWER.search(line.error):
        state = ConnectionState.ATTEMPTED
    elif line.early or _TURNED_AWAY.search(line.error):
        state = ConnectionState.REFUSED
    else:
        state = None
    return {"action": Action.UNKNOWN, "connection_state": state}


def _protection(line: _Line) -> Columns:
    """
    Return what protected the payload.

    Identities are printed for mutual TLS only, and on the client's side before the handshake is done: they count once
    payload passed or the connection ended well. Without them ztunnel passed bytes on as they came: the mesh did
    nothing, and whether the application encrypted them the line does not say.
    """
    if not any(line.identities):
        if line.early or line.tunnelled:
            return _seen(Transport.UNKNOWN, TransportBasis.FORMAT_SILENT, Ternary.UNKNOWN)
        if line.silent and not line.failed:
            return _seen(Transport.NONE, TransportBasis.NO_PAYLOAD, Ternary.NO)
        return _seen(Transport.UNKNOWN, TransportBasis.FORMAT_SILENT, Ternary.NO)
    if line.moved or not (line.failed or line.silent):
        return _seen(Transport.MTLS, TransportBasis.MESH_IDENTITY, Ternary.YES)
    if not line.failed:
        return _seen(Transport.NONE, TransportBasis.NO_PAYLOAD, Ternary.YES)
    if _TLS_ERROR.search(line.error):
        return _seen(Transport.UNKNOWN, TransportBasis.TLS_FAILED, Ternary.UNKNOWN)
    # The server's side takes a request only out of a tunnel whose handshake is done.
    return _seen(Transport.UNKNOWN, TransportBasis.FORMAT_SILENT, Ternary.YES if line.inbound else Ternary.UNKNOWN)


def _seen(transport: Transport, basis: TransportBasis, mesh_mtls: Ternary) -> Columns:
    return {"transport_seen": transport, "transport_seen_basis": basis, "mesh_mtls": mesh_mtls}
