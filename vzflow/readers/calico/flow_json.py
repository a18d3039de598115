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
from typing import Any

from vzflow.flow.terms import Action, InitiatorBasis, NamedKind, Reporter
from vzflow.readers.calico.fields import (
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
from vzflow.readers.log_lines import invalid, missing

#: What every such record has, at every aggregation level and from every reporter.
MARKS = ("action", "reporter", "proto", "source_type", "dest_type")

_ACTIONS = {"allow": Action.ALLOWED, "deny": Action.DENIED, "unspecified": Action.UNKNOWN}

_KINDS = {"wep": NamedKind.POD, "hep": NamedKind.HOST, "ns": NamedKind.NETWORK_SET}
_NETWORKS = {"pub": NamedKind.PUBLIC_NETWORK, "pvt": NamedKind.PRIVATE_NETWORK}


def flow_of(record: Record) -> dict[str, Any]:
    """
    Return the recorded columns of a flow record.

    Raises:
        Unusable: A needed field is missing, or a field holds what no such field can hold.
    """
    for mark in MARKS:
        if mark not in record:
            raise missing(mark)
    reporter = _reporter(record)
    protocol = protocol_of(record, "proto")
    first, last = seconds_of(record, "start_time"), seconds_of(record, "end_time")
    if first is not None and last is not None and last < first:
        raise invalid("end_time", record["end_time"])
    return {
        **SAID_BY_ALL,
        "reporter": reporter,
        "reporter_name": text_of(record, "host"),
        "first_seen": first,
        "last_seen": last,
        "protocol": protocol,
        "initiator_basis": InitiatorBasis.LOG,
        **_end(record, "initiator", "source", protocol),
        **_end(record, "responder", "dest", protocol),
        "responder_named_service": _service(record),
        **_volume(record, reporter),
        # A record of no connection at all was not counted: 0 is how numbers say so.
        "connections": count_of(record, "num_flows") or None,
        "action": _action(record),
        "policies": enforced_policies(record),
    }


def _end(record: Record, side: str, theirs: str, protocol: str | None) -> dict[str, Any]:
    return {
        f"{side}_ip": address_of(record, f"{theirs}_ip"),
        f"{side}_port": None if protocol in WITHOUT_PORTS else _port(record, theirs),
        f"{side}_named_namespace": text_of(record, f"{theirs}_namespace"),
        f"{side}_named_labels": _labels(record, f"{theirs}_labels"),
        **_named(record, side, theirs),
    }


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


def _volume(record: Record, reporter: Reporter | None) -> dict[str, int | None]:
    """
    Return what each end sent. In and out are as the reporting end saw it.

    A host in between has no such side, and its transit counters do not say which way they look: nothing is told.
    """
    if reporter not in (Reporter.INITIATOR, Reporter.RESPONDER):
        return {}
    sent, received = ("out", "in") if reporter is Reporter.INITIATOR else ("in", "out")
    return {
        "packets_sent": count_of(record, f"packets_{sent}"),
        "bytes_sent": count_of(record, f"bytes_{sent}"),
        "packets_received": count_of(record, f"packets_{received}"),
        "bytes_received": count_of(record, f"bytes_{received}"),
    }


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
