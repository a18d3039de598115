"""What would prove more of a flow than its record does: which source to turn on, and how, in words to act on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vzflow.flow.terms import IdentityBasis, Kind, Reason, TransportBasis, TransportGrade

Row = Mapping[str, Any]

_LOG = (
    "Log the inbound proxy of the responder with %DOWNSTREAM_PEER_URI_SAN% and %DOWNSTREAM_TLS_VERSION% "
    "in meshConfig.accessLogFormat"
)
_START = "Capture from the start of the connection: `{tcpdump}`"
_HIDDEN = f"{_LOG}: TLS 1.3 and resumed sessions hide certificates from a capture."

#: By what is known of the transport, and why: what would tell more.
_MORE = {
    TransportBasis.ISTIO_ALPN: _HIDDEN,
    TransportBasis.TLS_HANDSHAKE: _HIDDEN,
    TransportBasis.TLS_RESUMED: _HIDDEN,
    TransportBasis.TLS_MIDSTREAM: f"{_START}; it shows the hello. {_HIDDEN}",
    TransportBasis.OUTBOUND_SNI: f"{_LOG}.",
    TransportBasis.TLS_VERSION: f"{_LOG}.",
    TransportBasis.SERVER_NAME: f"{_LOG}.",
    TransportBasis.PEER_CERTIFICATE: f"{_LOG}.",
    TransportBasis.FORMAT_SILENT: f"{_LOG}.",
    TransportBasis.UNRECOGNISED: f"{_LOG}.",
    TransportBasis.TLS_FAILED: f"{_LOG} and %DOWNSTREAM_TRANSPORT_FAILURE_REASON%: it says why the handshake failed.",
    TransportBasis.NOT_RECORDED: f"{_START}; or: {_LOG}.",
    TransportBasis.MIDSTREAM: f"{_START}.",
    TransportBasis.CUT: "Capture whole packets: `{tcpdump}`.",
    TransportBasis.POOL_FULL: "Cut this flow out with --extract OUT.pcap and ingest that: then memory suffices.",
    TransportBasis.NO_PAYLOAD: "Only a connection with payload can show what protects it: record one.",
    TransportBasis.NOT_ON_WIRE: "Capture on the device of the pod or node instead of lo: `{tcpdump}`.",
    TransportBasis.HOP_UNCERTAIN: "Capture with `tcpdump -i any`, which says of each packet where it was seen.",
    TransportBasis.TUNNEL: "Capture inside the tunnel, on the device of the pod: `{tcpdump}`.",
    TransportBasis.FOREIGN_TRUST_DOMAIN: "If it is the mesh's, name the trust domain in a --model file.",
    TransportBasis.RESPONDER_NOT_IN_MESH: (
        "Give a snapshot of that time that shows the responder's sidecar; if it had none, there is no more to prove."
    ),
}

#: By how an end is known.
_WHO = {
    IdentityBasis.NOT_FOUND: "Record who holds addresses (`vzflow watch`, or `vzflow snapshot` before and after) and "
    "ingest it with --identity: nothing says who held {ip} at {at}.",
    IdentityBasis.AFTER_SNAPSHOT: "Ingest a snapshot of {at} or later with --identity: the newest is older.",
    IdentityBasis.NAME_AND_ADDRESS: "The record's name and the holder of {ip} differ: ingest one of nearer to {at}.",
    IdentityBasis.PRINCIPAL: "A certificate tells the service account of {ip} at {at}, not the pod: log addresses as "
    "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS% does, and record who holds them (`vzflow watch`).",
    IdentityBasis.NETWORK: "Record this end by its address: the log only calls it public.",
    IdentityBasis.NOT_RECORDED: "Record this end by address or name: lower the aggregation of the log, or capture.",
    IdentityBasis.NO_TIME: "Ingest a log whose lines have times.",
}  # fmt: skip


def would_prove(recorded: Row, judged: Row) -> list[str]:
    """
    Return what would settle what is open about a flow, one sentence or two each; empty if nothing is.

    Args:
        recorded: Its recorded columns.
        judged: Its classified columns.
    """
    return list(dict.fromkeys((*_direction(recorded, judged), *_ends(recorded, judged), *_transport(recorded, judged))))


def _direction(recorded: Row, judged: Row) -> Iterator[str]:
    if judged["reason"] == Reason.DIRECTION_UNKNOWN:
        yield _START.format(tcpdump=_tcpdump(recorded)) + "; who opened it is only a guess."
    if judged["reason"] == Reason.PORT_NOT_RECORDED:
        yield "Lower the aggregation of the log so that it keeps the responder's port."


def _ends(recorded: Row, judged: Row) -> Iterator[str]:
    for side in ("initiator", "responder"):
        words = _WHO.get(judged[f"{side}_identity_basis"])
        if words is None or judged[f"{side}_kind"] == Kind.EXTERNAL:
            continue
        # Identity is told of the ends as judged, addresses as recorded.
        ip = recorded[f"{_other(side) if judged['turned'] else side}_ip"]
        at = recorded["first_seen"]
        when = "that time" if at is None else at.isoformat(" ", "seconds").replace("+00:00", "Z")
        yield f"{side.capitalize()}: " + words.format(ip=ip or "it", at=when)


def _transport(recorded: Row, judged: Row) -> Iterator[str]:
    if judged["reason"] in (Reason.LOOPBACK, Reason.POD_INTERNAL):
        return
    nothing = judged["transport_basis"] == TransportBasis.NO_PAYLOAD
    if judged["transport_grade"] == TransportGrade.PROVEN and not nothing:
        return
    words = _MORE.get(judged["transport_basis"])
    if words is not None:
        yield words.format(tcpdump=_tcpdump(recorded))


def _tcpdump(recorded: Row) -> str:
    address, port = recorded["responder_ip"], recorded["responder_port"]
    words = [f"host {address}"] if address else []
    words += [f"{recorded['protocol']} port {port}"] if port and recorded["protocol"] in ("tcp", "udp", "sctp") else []
    return "tcpdump -i any -s 0 -w OUT.pcap" + (f" '{' and '.join(words)}'" if words else "")


def _other(side: str) -> str:
    return "responder" if side == "initiator" else "initiator"
