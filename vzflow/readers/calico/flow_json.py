"""
Flow records: Calico Enterprise and Cloud JSON as felix writes it and Fluentd ships it, and what its fields mean.

Each record is one aggregated flow in one export window, told by one end (or by a forwarding host in between). It says
nothing of TLS, and shows addresses after destination NAT. Aggregation leaves nulls and name prefixes, never guesses.
The other shapes of flow records (`columns`, `goldmane`, `whisker`) are brought to these field names and then mean the
same; a word `unspecified` in `action` or `reporter` is theirs.

Source: Calico Enterprise documentation, "Flow log data types" and "Configure flow log aggregation";
projectcalico/calico felix/collector/flowlog (the JSON's fields; reporters `src`, `dst`, `fwd`, `src,fwd`, `dst,fwd`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from vzflow.flow.schema import COUNT, PORT, TIME
from vzflow.flow.terms import Action, InitiatorBasis, NamedKind, Reporter
from vzflow.readers.bulk import Words
from vzflow.readers.calico.fields import (
    LAST_SECOND,
    SAID_BY_ALL,
    WITHOUT_PORTS,
    Record,
    address_of,
    count_of,
    port_of,
    protocol_of,
    seconds_of,
    text_of,
)
from vzflow.readers.calico.policies import enforced_policies
from vzflow.readers.facets import Facet, Numbers, Plan
from vzflow.readers.log_lines import invalid, missing

#: What every such record has, at every aggregation level and from every reporter.
MARKS = ("action", "reporter", "proto", "source_type", "dest_type")

_ACTIONS = {"allow": Action.ALLOWED, "deny": Action.DENIED, "unspecified": Action.UNKNOWN}

_KINDS = {"wep": NamedKind.POD, "hep": NamedKind.HOST, "ns": NamedKind.NETWORK_SET}
_NETWORKS = {"pub": NamedKind.PUBLIC_NETWORK, "pvt": NamedKind.PRIVATE_NETWORK}


def _end(side: str, theirs: str) -> tuple[Facet, ...]:
    return (
        Facet((f"{theirs}_ip",), lambda r: {f"{side}_ip": address_of(r, f"{theirs}_ip")}),
        Facet((f"{theirs}_namespace",), lambda r: {f"{side}_named_namespace": text_of(r, f"{theirs}_namespace")}),
        Facet((f"{theirs}_labels",), lambda r: {f"{side}_named_labels": _labels(r, f"{theirs}_labels")}),
        Facet((f"{theirs}_type", f"{theirs}_name", f"{theirs}_name_aggr"), lambda r: _named(r, side, theirs)),
    )


def flow_of(record: Record) -> dict[str, Any]:
    """
    Return the recorded columns of a flow record.

    Raises:
        Unusable: A needed field is missing, or a field holds what no such field can hold.
    """
    for mark in MARKS:
        if mark not in record:
            raise missing(mark)
    row: dict[str, Any] = dict(_CONSTANTS)
    for facet in _FACETS:
        row |= facet.columns(record)
    way, with_ports = row.pop("_way"), row.pop("_with_ports")
    first, last = seconds_of(record, "start_time"), seconds_of(record, "end_time")
    if first is not None and last is not None and last < first:
        raise invalid("end_time", record["end_time"])
    row["first_seen"], row["last_seen"] = first, last
    for side, theirs in _SIDES:
        row[f"{side}_port"] = _port(record, theirs) if with_ports else None
    for column, ways in _VOLUMES.items():
        row[column] = count_of(record, ways[way]) if way < len(ways) else None
    # A record of no connection at all was not counted: 0 is how numbers say so.
    row["connections"] = count_of(record, "num_flows") or None
    return row


def _numbers(number: Callable[[str], tuple[Words, Words]], mark: Callable[[str], Words]) -> Numbers:
    """Return what `flow_of` says of the numbers of many records."""
    columns: dict[str, pa.Array] = {}
    good = np.ones(len(mark("_way")), bool)
    seconds = {}
    for column, name in (("first_seen", "start_time"), ("last_seen", "end_time")):
        value, there = number(name)
        there = there & (value != 0)
        good &= ~there | ((value >= 0) & (value <= LAST_SECOND))
        seconds[column] = value, there
        columns[column] = pa.array(np.where(there & good, value, 0) * 1_000_000, COUNT, mask=~there).cast(TIME)
    (first, begun), (last, ended) = seconds.values()
    good &= ~(begun & ended) | (last >= first)
    for side, theirs in _SIDES:
        value, there = number(f"{theirs}_port")
        wanted = there & (mark("_with_ports") != 0)
        good &= ~wanted | ((value >= 0) & (value <= 65535))
        columns[f"{side}_port"] = pa.array(np.where(good, value, 0).astype(np.int32), PORT, mask=~wanted | (value == 0))
    for column, ways in _VOLUMES.items():
        (one, one_there), (two, two_there) = number(ways[0]), number(ways[1])
        opened = mark("_way") == 0
        value = np.where(opened, one, two)
        there = np.where(opened, one_there, two_there) & (mark("_way") < len(ways))
        good &= ~there | (value >= 0)
        columns[column] = pa.array(value, COUNT, mask=~there)
    value, there = number("num_flows")
    good &= ~there | (value >= 0)
    columns["connections"] = pa.array(value, COUNT, mask=~there | (value == 0))
    return Numbers(columns, good)


def _named(record: Record, side: str, theirs: str) -> dict[str, str | None]:
    """
    Return kind and name of one end, and the common beginning of the names it is or would be aggregated under.

    An aggregated name without `*` is a full name: the pod had no generateName, or it is a set or a host. A host's
    aggregated name is the node's; its plain name is that of the HostEndpoint object. A plain network has no name but
    its range, where the record gives one.
    """
    kind = text_of(record, f"{theirs}_type")
    name, aggregated = text_of(record, f"{theirs}_name"), text_of(record, f"{theirs}_name_aggr")
    if kind == "net":
        network = _NETWORKS.get(aggregated or "")
        return {
            f"{side}_named_kind": network or NamedKind.NETWORK,
            f"{side}_named_name": None if network else aggregated,
        }
    if kind is not None and kind not in _KINDS:
        raise invalid(f"{theirs}_type", kind)
    whole = aggregated is not None and not aggregated.endswith("*")
    if whole and (name is None or kind == "hep"):
        name = aggregated
    return {
        f"{side}_named_kind": _KINDS[kind] if kind is not None else None,
        f"{side}_named_name": name,
        f"{side}_named_name_prefix": None if aggregated is None or whole else aggregated.removesuffix("*"),
    }


def _written_by(record: Record) -> dict[str, Any]:
    """
    Return who wrote it, and which way it looks: 0 from the initiator, 1 from the responder, 2 neither.

    A host in between has no side to count by, and its transit counters do not say which way they look.
    """
    reporter = _reporter(record)
    return {"reporter": reporter, "_way": {Reporter.INITIATOR: 0, Reporter.RESPONDER: 1}.get(reporter, 2)}  # type: ignore[arg-type]


def _protocol(record: Record) -> dict[str, Any]:
    protocol = protocol_of(record, "proto")
    return {"protocol": protocol, "_with_ports": protocol not in WITHOUT_PORTS}


def _reporter(record: Record) -> Reporter | None:
    """Return who wrote it: an end, also where its host forwarded the flow (`dst,fwd`), or a host in between."""
    words = {word.strip() for word in (text_of(record, "reporter") or "").split(",")}
    end = words - {"fwd"}
    if words == {"fwd"}:
        return Reporter.PROXY
    if end == {"src"}:
        return Reporter.INITIATOR
    if end == {"dst"}:
        return Reporter.RESPONDER
    if words == {"unspecified"}:
        return None
    raise invalid("reporter", record["reporter"])


def _action(record: Record) -> Action:
    action = _ACTIONS.get(text_of(record, "action") or "")
    if action is None:
        raise invalid("action", record["action"])
    return action


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
    namespace, name = text_of(record, "dest_service_namespace"), text_of(record, "dest_service_name")
    return f"{namespace}/{name}" if namespace is not None and name is not None else None


def _port(record: Record, theirs: str) -> int | None:
    """Return the port number, also under the name that exports of the index use."""
    return port_of(record, f"{theirs}_port" if f"{theirs}_port" in record else f"{theirs}_port_num")


_SIDES = (("initiator", "source"), ("responder", "dest"))

#: In and out are as the reporting end saw it: what column holds which of them, by who reports.
_VOLUMES = {
    f"{what}_{way}": (f"{what}_{ours}", f"{what}_{theirs}")
    for what in ("packets", "bytes")
    for way, ours, theirs in (("sent", "out", "in"), ("received", "in", "out"))
}

_CONSTANTS = {**SAID_BY_ALL, "initiator_basis": InitiatorBasis.LOG}

_FACETS = (
    Facet(("reporter",), _written_by),
    Facet(("proto",), _protocol),
    Facet(("host",), lambda r: {"reporter_name": text_of(r, "host")}),
    Facet(("action",), lambda r: {"action": _action(r)}),
    Facet(("policies",), lambda r: {"policies": enforced_policies(r)}),
    Facet(("dest_service_namespace", "dest_service_name"), lambda r: {"responder_named_service": _service(r)}),
    *(facet for side, theirs in _SIDES for facet in _end(side, theirs)),
)

#: What is read many lines at once. The shapes of others, the index's names for ports, and what a shipper that knows the
#: pod adds are read one by one.
PLAN = Plan(
    needed=MARKS,
    foreign=("_source", "Key", "protocol", "source_port_num", "dest_port_num", "kubernetes", "log"),
    constants=_CONSTANTS,
    facets=_FACETS,
    numbers=(
        "start_time", "end_time", "source_port", "dest_port", "packets_in", "packets_out", "bytes_in", "bytes_out",
        "num_flows",
    ),
    of_numbers=_numbers,
    around="_source",
)  # fmt: skip
