"""
Hubble flows of Cilium, one JSON object a line: `hubble observe -o json` and the exporter's files (`{"flow": ...}`), and
the bare flows of older command lines.

An event is one packet, or one message that Cilium's proxy or DNS proxy parsed, at one place on its way; it is no
connection, and how many others there were it does not say. So a row has no counts, and rows of one 5-tuple become one
exchange later. An event says nothing of TLS: `IP.encrypted` is encryption between nodes, and a parsed message may have
come out of a proxy that ended TLS.

Source: cilium/cilium api/v1/flow/flow.proto, api/v1/observer/observer.proto, pkg/hubble/parser/{threefour,seven}.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa

from vzflow.flow.terms import (
    Action,
    ConnectionState,
    Hop,
    InitiatorBasis,
    NamedKind,
    Reporter,
    SkipReason,
    Source,
    Transport,
    TransportBasis,
)
from vzflow.readers.base import Context, Tally
from vzflow.readers.log_lines import Unusable, flows_of_lines, invalid, json_object, missing
from vzflow.readers.values import address, count, is_loopback, moment, port, text

#: What a flow has besides what an exporter's field mask leaves out.
_MARKS = frozenset(("IP", "l4", "verdict", "Type", "traffic_direction", "event_type"))
#: Of these a bare flow has the first, in the proto's own spelling, and one of the others.
_BARE_MARKS = frozenset(("l4", "source", "destination", "node_name"))

#: What else an export holds, one kind a line.
_OTHER_EVENTS = {
    "lost_events": SkipReason.LOST_EVENTS,
    "node_status": SkipReason.NO_FLOW_EVENT,
    "agent_event": SkipReason.NO_FLOW_EVENT,
    "debug_event": SkipReason.NO_FLOW_EVENT,
}

#: Verdict names by number. Protobuf's JSON has names, unless it is told to write numbers.
_VERDICTS = ("VERDICT_UNKNOWN", "FORWARDED", "DROPPED", "ERROR", "AUDIT", "REDIRECTED", "TRACED", "TRANSLATED")
#: An audited packet passed, though a policy would refuse it. What a proxy was given (REDIRECTED) is not decided yet.
_PASSED = ("FORWARDED", "AUDIT")
_DROPPED = "DROPPED"

#: Reasons of a drop that are a policy's (POLICY_DENIED, POLICY_DENY, AUTH_REQUIRED, DENIED_BY_LB_SRC_RANGE_CHECK);
#: without one, as older clusters write it, a drop is taken for one.
_POLICY_DROPS = frozenset((None, 0, 133, 181, 189, 177))
_POLICY_DROP_NAMES = frozenset((
    "DROP_REASON_UNKNOWN", "POLICY_DENIED", "POLICY_DENY", "AUTH_REQUIRED", "DENIED_BY_LB_SRC_RANGE_CHECK",
))  # fmt: skip

_DIRECTIONS = ("TRAFFIC_DIRECTION_UNKNOWN", "INGRESS", "EGRESS")
_TYPES = ("UNKNOWN_TYPE", "L3_L4", "L7", "SOCK")

_PROTOCOLS = {
    "TCP": "tcp", "UDP": "udp", "SCTP": "sctp", "ICMPv4": "icmp", "ICMPv6": "icmpv6", "VRRP": "112", "IGMP": "2",
}  # fmt: skip
#: ICMP types of an echo request and its reply, RFC 792 and RFC 4443.
_ECHO = {"ICMPv4": (8, 0), "ICMPv6": (128, 129)}

#: Prefix of labels that are the pod's own; Cilium adds others that tell of namespace and cluster.
_POD_LABEL = "k8s:"
_ADDED_LABELS = ("io.cilium.", "io.kubernetes.pod.")

_DENIED_BY = ("egress_denied_by", "ingress_denied_by")
_ALLOWED_BY = ("egress_allowed_by", "ingress_allowed_by")

Record = Mapping[str, Any]


def recognises(head: bytes) -> bool:
    """Return whether some line of *head* is such an event."""
    return any(line.startswith(b"{") and _is_event(line) for line in head.split(b"\n"))


def _is_event(line: bytes) -> bool:
    try:
        record = json_object(line)
    except Unusable:
        return False
    if _flow_in(record) is not None:
        return True
    return "node_name" in record and any(isinstance(record.get(name), dict) for name in _OTHER_EVENTS)


def _flow_in(record: Record) -> Record | None:
    """Return the flow that a line holds or is."""
    flow = record.get("flow")
    if isinstance(flow, dict):
        return flow if flow.keys() & _MARKS else None
    return record if {"IP", "verdict"} <= record.keys() and record.keys() & _BARE_MARKS else None


def read(stream: BinaryIO, context: Context, tally: Tally) -> Iterator[pa.RecordBatch]:
    """
    Yield one flow for every packet or message.

    Args:
        stream: Uncompressed lines.
        context: Its `reporter_name`, if given, wins over the node's name.
        tally: Lost events and events of agents, nodes and sockets are skipped by name.
    """
    return flows_of_lines(stream, context, tally, _flow)


def _flow(line: bytes) -> dict[str, Any] | SkipReason:
    record = json_object(line)
    flow = _flow_in(record)
    if flow is None:
        for name, reason in _OTHER_EVENTS.items():
            if isinstance(record.get(name), dict):
                return reason
        raise missing("flow")
    kind = _named(flow, "Type", _TYPES)
    if kind == "SOCK":
        return SkipReason.SOCKET_EVENT
    ip = _record(flow, "IP")
    if ip is None and not (_record(flow, "source") or _record(flow, "destination")):
        return SkipReason.NOT_IP
    time = moment(flow if "time" in flow else record, "time")
    l4 = _layer_4(flow)
    way = _way(flow, l4)
    ends = ("source", "destination") if not way.reply else ("destination", "source")
    row = {
        "source": Source.HUBBLE,
        "reporter": _reporter(flow, way),
        "reporter_name": text(flow, "node_name") or text(record, "node_name"),
        "first_seen": time,
        "last_seen": time,
        "protocol": l4.protocol,
        "initiator_basis": way.basis,
        "hop": Hop.WIRE,
        **_end(flow, ip or {}, l4, "initiator", ends[0]),
        **_end(flow, ip or {}, l4, "responder", ends[1]),
        "responder_named_service": _service(flow, f"{ends[1]}_service"),
        **_fate(flow, l4, way),
        **_message(flow),
        "transport_seen": Transport.UNKNOWN,
        "transport_seen_basis": TransportBasis.NOT_RECORDED,
    }
    if is_loopback(row["initiator_ip"]) or is_loopback(row["responder_ip"]):
        row["hop"] = Hop.LOOPBACK
    return row


class _Layer4(NamedTuple):
    """What carries the payload: its name in the proto, vzflow's, and its header."""

    name: str | None
    protocol: str | None
    header: Record


class _Way(NamedTuple):
    """Which way the packet went."""

    #: Whether it came from the responder.
    reply: bool
    #: Whether Cilium's connection tracking said so.
    tracked: bool
    basis: InitiatorBasis


def _layer_4(flow: Record) -> _Layer4:
    l4 = _record(flow, "l4") or {}
    for name, protocol in _PROTOCOLS.items():
        header = _record(l4, name)
        if header is not None:
            return _Layer4(name, protocol, header)
    return _Layer4(None, None, {})


def _way(flow: Record, l4: _Layer4) -> _Way:
    """
    Return who sent the packet: a SYN or an echo tells it, else connection tracking; else it is a guess.

    `is_reply` is null where it is not known, as of most drops. The older `reply` is false also where it is not known.
    """
    if _flag(l4, "SYN"):
        return _Way(_flag(l4, "ACK"), _is_reply(flow) is not None, InitiatorBasis.SYN)
    reply = _is_reply(flow)
    if reply is not None:
        return _Way(reply, True, InitiatorBasis.LOG)
    if l4.name in _ECHO:
        kind = count(l4.header, "type") or 0  # protobuf's JSON leaves zeros out, and 0 is an echo reply
        if kind in _ECHO[l4.name]:
            return _Way(kind == _ECHO[l4.name][1], False, InitiatorBasis.REQUEST)
    return _Way(False, False, InitiatorBasis.FIRST_SEEN)


def _is_reply(flow: Record) -> bool | None:
    value = flow.get("is_reply")
    if isinstance(value, dict):  # a wrapped value, as older encoders write it
        value = value.get("value", False)
    if value is None:
        value = flow.get("reply") or None
        if value is None and (_record(flow, "l7") or {}).get("type") == "RESPONSE":
            value = True
    if value is not None and not isinstance(value, bool):
        raise invalid("is_reply", value)
    return value


def _reporter(flow: Record, way: _Way) -> Reporter | None:
    """
    Return at whose side it was seen.

    `traffic_direction` is the connection's, as the local endpoint sees it; where connection tracking does not know the
    packet, as for drops, it is the packet's.
    """
    direction = _named(flow, "traffic_direction", _DIRECTIONS)
    if direction not in ("INGRESS", "EGRESS"):
        return None
    at_initiator = (direction == "EGRESS") != (way.reply and not way.tracked)
    return Reporter.INITIATOR if at_initiator else Reporter.RESPONDER


def _end(flow: Record, ip: Record, l4: _Layer4, side: str, theirs: str) -> dict[str, Any]:
    endpoint = _record(flow, theirs) or {}
    labels = endpoint.get("labels") or []
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise invalid(f"{theirs}.labels", labels)
    pod = text(endpoint, "pod_name")
    # The local host, which is the node that saw it; of other nodes the event has no name.
    host = not pod and "reserved:host" in labels
    node = (text(flow, "node_name") or "").rpartition("/")[2] or None
    kind = NamedKind.POD if pod else NamedKind.HOST if host else None
    return {
        f"{side}_ip": address(ip, theirs),
        f"{side}_port": port(l4.header, f"{theirs}_port"),
        f"{side}_named_namespace": text(endpoint, "namespace"),
        f"{side}_named_name": pod or (node if host else None),
        f"{side}_named_kind": kind,
        f"{side}_named_labels": _pod_labels(labels),
    }


def _pod_labels(labels: list[str]) -> str | None:
    own = [label.removeprefix(_POD_LABEL) for label in labels if label.startswith(_POD_LABEL)]
    pairs = dict(label.split("=", 1) for label in own if "=" in label and not label.startswith(_ADDED_LABELS))
    return json.dumps(pairs, sort_keys=True) if pairs else None


def _service(flow: Record, name: str) -> str | None:
    service = _record(flow, name) or {}
    namespace, own = text(service, "namespace"), text(service, "name")
    return f"{namespace}/{own}" if namespace and own else None


def _fate(flow: Record, l4: _Layer4, way: _Way) -> dict[str, Any]:
    """Return what was done with the packet, and how far it shows that the connection came."""
    verdict = _named(flow, "verdict", _VERDICTS)
    action = Action.UNKNOWN
    if verdict in _PASSED:
        action = Action.ALLOWED
    elif verdict == _DROPPED and _is_policy_drop(flow):
        action = Action.DENIED
    state = None
    if verdict != _DROPPED and way.reply and not _flag(l4, "RST"):
        state = ConnectionState.ESTABLISHED
    elif _flag(l4, "SYN") and not way.reply:
        state = ConnectionState.ATTEMPTED
    names = _DENIED_BY if action is Action.DENIED else _ALLOWED_BY
    policies = [policy for name in names for policy in _policies(flow, name)]
    return {"action": action, "policies": json.dumps(policies) if policies else None, "connection_state": state}


def _is_policy_drop(flow: Record) -> bool:
    reason = flow.get("drop_reason_desc")
    if isinstance(reason, str):
        return reason in _POLICY_DROP_NAMES
    return count(flow, "drop_reason" if reason is None else "drop_reason_desc") in _POLICY_DROPS


def _policies(flow: Record, name: str) -> list[str]:
    policies = flow.get(name) or []
    if not isinstance(policies, list) or not all(isinstance(policy, dict) for policy in policies):
        raise invalid(name, policies)
    named = [(text(policy, "namespace"), text(policy, "name")) for policy in policies]
    return [f"{namespace}/{own}" if namespace else own for namespace, own in named if own is not None]


def _message(flow: Record) -> dict[str, Any]:
    """Return what a parsed message was of; a code may also be the proxy's own, as its 403 for a denial."""
    l7 = _record(flow, "l7")
    if l7 is None:
        return {}
    http = _record(l7, "http")
    if http is not None:
        code = count(http, "code") or None
        if code is not None and code > 999:
            raise invalid("code", code)
        return {"app_protocol": (text(http, "protocol") or "http").lower(), "response_code": code}
    return {"app_protocol": next((name for name in ("dns", "kafka") if name in l7), "http")}


def _flag(l4: _Layer4, name: str) -> bool:
    return l4.name == "TCP" and (_record(l4.header, "flags") or {}).get(name) is True


def _record(fields: Record, name: str) -> Record | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, dict):
        raise invalid(name, value)
    return value


def _named(fields: Record, name: str, names: tuple[str, ...]) -> str:
    """Return the name of an enum's value; what is missing is the first, as protobuf has it."""
    value = fields.get(name)
    if value is None:
        return names[0]
    if isinstance(value, str):
        return value
    if type(value) is not int or not 0 <= value < len(names):
        raise invalid(name, value)
    return names[value]
