"""
Calico Enterprise and Cloud flow logs: one JSON object a line, as felix writes them and Fluentd ships them.

Each record is one aggregated flow in one export window, told by one end (or by a forwarding host in between). It says
nothing of TLS, and shows addresses after destination NAT. Aggregation leaves nulls and name prefixes, never guesses.

Source: Calico Enterprise documentation, "Flow log data types" and "Configure flow log aggregation".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, BinaryIO

import pyarrow as pa

from vzflow.flow.key import canonical_address
from vzflow.flow.terms import (
    Action,
    Hop,
    InitiatorBasis,
    NamedKind,
    Reporter,
    Source,
    Transport,
    TransportBasis,
)
from vzflow.readers.base import Context, Tally
from vzflow.readers.log_lines import LARGEST, Unusable, flows_of_lines, invalid, json_object, missing

#: What every such record has, at every aggregation level and from every reporter.
_MARKS = ("action", "reporter", "proto", "source_type", "dest_type")

#: Ways a text field says that it has nothing to say.
_NOTHING = ("-", "", "*")

_ACTIONS = {"allow": Action.ALLOWED, "deny": Action.DENIED}

#: Protocol names (felix) and numbers (IANA) with a canonical name; any other protocol is its number.
_PROTOCOLS = {
    "tcp": "tcp", "udp": "udp", "sctp": "sctp", "icmp": "icmp", "icmp6": "icmpv6", "icmpv6": "icmpv6",
    "ipip": "4", "esp": "50", "6": "tcp", "17": "udp", "132": "sctp", "1": "icmp", "58": "icmpv6",
}  # fmt: skip
_WITHOUT_PORTS = ("icmp", "icmpv6")

_KINDS = {"wep": NamedKind.POD, "hep": NamedKind.HOST, "ns": NamedKind.NETWORK_SET}
_NETWORKS = {"pub": NamedKind.PUBLIC_NETWORK, "pvt": NamedKind.PRIVATE_NETWORK}

#: Policy lists, the one that tells what was enforced first; `all_policies` is what older clusters wrote.
_POLICY_LISTS = ("enforced_policies", "all_policies", "transit_policies")

#: 9999-12-31T23:59:59Z in epoch seconds. A larger number is not in seconds.
_LAST_SECOND = 253_402_300_799

Record = Mapping[str, Any]


def recognises(head: bytes) -> bool:
    """Return whether some line is such a record, or the beginning of one, cut by *head*."""
    *whole, last = head.split(b"\n")
    cut = last.startswith(b"{") and all(f'"{mark}"'.encode() in last for mark in _MARKS)
    return cut or any(line.startswith(b"{") and _is_record(line) for line in whole)


def _is_record(line: bytes) -> bool:
    try:
        return json_object(line).keys() >= set(_MARKS)
    except Unusable:
        return False


def read(stream: BinaryIO, context: Context, tally: Tally) -> Iterator[pa.RecordBatch]:
    """
    Yield one flow for every record.

    Args:
        stream: Uncompressed lines.
        context: Its `reporter_name`, if given, wins over the record's `host`.
        tally: A line that is no such record is a reject.
    """
    return flows_of_lines(stream, context, tally, _flow)


def _flow(line: bytes) -> dict[str, Any]:
    record = json_object(line)
    for mark in _MARKS:
        if mark not in record:
            raise missing(mark)
    reporter = _reporter(record)
    protocol = _protocol(record)
    first, last = _time(record, "start_time"), _time(record, "end_time")
    if first is not None and last is not None and last < first:
        raise invalid("end_time", record["end_time"])
    return {
        "source": Source.CALICO,
        "reporter": reporter,
        "reporter_name": _text(record, "host"),
        "first_seen": first,
        "last_seen": last,
        "protocol": protocol,
        "initiator_basis": InitiatorBasis.LOG,
        "hop": Hop.WIRE,
        **_end(record, "initiator", "source", protocol),
        **_end(record, "responder", "dest", protocol),
        "responder_named_service": _service(record),
        **_volume(record, reporter),
        "connections": _count(record, "num_flows"),
        "action": _action(record),
        "policies": _policies(record),
        "transport_seen": Transport.UNKNOWN,
        "transport_seen_basis": TransportBasis.NOT_RECORDED,
    }


def _end(record: Record, side: str, theirs: str, protocol: str | None) -> dict[str, Any]:
    return {
        f"{side}_ip": _address(record, f"{theirs}_ip"),
        f"{side}_port": None if protocol in _WITHOUT_PORTS else _port(record, theirs),
        f"{side}_named_namespace": _text(record, f"{theirs}_namespace"),
        f"{side}_named_labels": _labels(record, f"{theirs}_labels"),
        **_named(record, side, theirs),
    }


def _named(record: Record, side: str, theirs: str) -> dict[str, str | None]:
    """
    Return kind and name of one end: a full name, or the common beginning of the names aggregation left.

    An aggregated name without `*` is a full name: the pod had no generateName, or it is a set or a host. A host's
    aggregated name is the node's; its plain name is that of the HostEndpoint object. A plain network has no name.
    """
    kind = _text(record, f"{theirs}_type")
    name, aggregated = _text(record, f"{theirs}_name"), _text(record, f"{theirs}_name_aggr")
    if kind == "net":
        return {f"{side}_named_kind": _NETWORKS.get(aggregated or "", NamedKind.NETWORK)}
    if kind is not None and kind not in _KINDS:
        raise invalid(f"{theirs}_type", kind)
    whole = aggregated is not None and not aggregated.endswith("*")
    if whole and (name is None or kind == "hep"):
        name = aggregated
    prefix = aggregated.removesuffix("*") if aggregated is not None and name is None else None
    return {
        f"{side}_named_kind": _KINDS[kind] if kind is not None else None,
        f"{side}_named_name": name,
        f"{side}_named_name_prefix": prefix,
    }


def _volume(record: Record, reporter: Reporter) -> dict[str, int | None]:
    """Return what each end sent. In and out are as the reporting end saw it; a host in between has no such side."""
    if reporter is Reporter.PROXY:
        return {}
    sent, received = ("out", "in") if reporter is Reporter.INITIATOR else ("in", "out")
    return {
        "packets_sent": _count(record, f"packets_{sent}"),
        "bytes_sent": _count(record, f"bytes_{sent}"),
        "packets_received": _count(record, f"packets_{received}"),
        "bytes_received": _count(record, f"bytes_{received}"),
    }


def _reporter(record: Record) -> Reporter:
    """Return who wrote it; `fwd`, alone or as in `dst, fwd`, is a host that forwarded it."""
    words = {word.strip() for word in (_text(record, "reporter") or "").split(",")}
    if "fwd" in words:
        return Reporter.PROXY
    if words == {"src"}:
        return Reporter.INITIATOR
    if words == {"dst"}:
        return Reporter.RESPONDER
    raise invalid("reporter", record["reporter"])


def _action(record: Record) -> Action:
    action = _ACTIONS.get(_text(record, "action") or "")
    if action is None:
        raise invalid("action", record["action"])
    return action


def _protocol(record: Record) -> str | None:
    value = record["proto"]
    text = str(value) if type(value) is int else _text(record, "proto")
    if text is None or text in _PROTOCOLS:
        return _PROTOCOLS.get(text or "")
    if text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= 255:
        return _PROTOCOLS.get(str(int(text)), str(int(text)))
    raise invalid("proto", value)


def _policies(record: Record) -> str | None:
    """Return the policy strings that decided, sorted by their index, as a JSON array."""
    lists = record.get("policies")
    if lists is None:
        return None
    if not isinstance(lists, dict):
        raise invalid("policies", lists)
    for name in _POLICY_LISTS:
        policies = lists.get(name)
        if policies:
            if not isinstance(policies, list) or not all(isinstance(policy, str) for policy in policies):
                raise invalid(name, policies)
            return json.dumps(sorted(policies, key=_policy_index))
    return None


def _policy_index(policy: str) -> tuple[int, str]:
    index = policy.partition("|")[0]
    return (int(index) if index.isascii() and index.isdigit() and len(index) < 10 else LARGEST, policy)


def _labels(record: Record, name: str) -> str | None:
    value = record.get(name)
    if value is None:
        return None
    labels = value.get("labels") if isinstance(value, dict) else value
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise invalid(name, value)
    pairs = dict(label.split("=", 1) for label in labels if "=" in label)
    return json.dumps(pairs, sort_keys=True) if pairs else None


def _service(record: Record) -> str | None:
    namespace, name = _text(record, "dest_service_namespace"), _text(record, "dest_service_name")
    return f"{namespace}/{name}" if namespace is not None and name is not None else None


def _text(record: Record, name: str) -> str | None:
    value = record.get(name)
    if value is None or value in _NOTHING:
        return None
    if not isinstance(value, str):
        raise invalid(name, value)
    return value


def _count(record: Record, name: str) -> int | None:
    value = record.get(name)
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise invalid(name, value)
    return value


def _port(record: Record, theirs: str) -> int | None:
    """Return the port number, also under the name that exports of the index use; 0 stands for none."""
    name = f"{theirs}_port" if f"{theirs}_port" in record else f"{theirs}_port_num"
    port = _count(record, name)
    if port is not None and port > 65535:
        raise invalid(name, port)
    return port or None


def _address(record: Record, name: str) -> str | None:
    text = _text(record, name)
    if text is None:
        return None
    try:
        return canonical_address(text)
    except ValueError as error:
        raise invalid(name, text) from error


def _time(record: Record, name: str) -> datetime | None:
    """Return the UTC time of epoch seconds; 0 stands for none."""
    seconds = _count(record, name)
    if not seconds:
        return None
    if seconds > _LAST_SECOND:
        raise invalid(name, seconds)
    return datetime.fromtimestamp(seconds, UTC)
