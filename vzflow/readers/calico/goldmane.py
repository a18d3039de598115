"""
Flows as open-source Calico's Goldmane pushes them: Go's plain JSON of the proto struct, one object a line.

`Key` is capitalised, enums are numbers, and a field that is zero is not there. Names are always aggregated, addresses
and the initiator's port are never recorded. Before enums came, types, actions and reporters were words.

Source: projectcalico/calico goldmane/proto/api.proto and goldmane/pkg/emitter/emitter.go; felix/collector/goldmane.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vzflow.readers.calico.fields import Record, count_of
from vzflow.readers.calico.policies import strings_of_hits
from vzflow.readers.log_lines import invalid, missing

Words = Mapping[int | str, str]

_TYPES: Words = {
    0: "-", 1: "wep", 2: "hep", 3: "ns", 4: "net", "WorkloadEndpoint": "wep", "HostEndpoint": "hep", "NetworkSet": "ns",
    "Network": "net", "wep": "wep", "hep": "hep", "ns": "ns", "net": "net", "": "-", "EndpointTypeUnspecified": "-",
}  # fmt: skip

#: A pass is never how a flow ended, so it says no more than nothing.
ACTIONS: Words = {
    0: "unspecified", 1: "allow", 2: "deny", 3: "unspecified", "Allow": "allow", "Deny": "deny", "Pass": "unspecified",
    "allow": "allow", "deny": "deny", "pass": "unspecified", "": "unspecified", "ActionUnspecified": "unspecified",
}  # fmt: skip

REPORTERS: Words = {
    0: "unspecified", 1: "src", 2: "dst", "Src": "src", "Dst": "dst", "src": "src", "dst": "dst", "": "unspecified",
    "ReporterUnspecified": "unspecified",
}  # fmt: skip

_NUMBERS = ("packets_in", "packets_out", "bytes_in", "bytes_out")
_CONNECTIONS = ("num_connections_started", "num_connections_completed", "num_connections_live")


def looks_like(record: Record) -> bool:
    """Whether *record* is such a flow: its key names ends or a protocol."""
    key = record.get("Key")
    return isinstance(key, dict) and not key.keys().isdisjoint(("source_name", "dest_name", "proto"))


def record_of(flow: Record) -> dict[str, Any]:
    """
    Return a flow under the names of the flow log's fields.

    Raises:
        Unusable: An enum holds a value it does not have, or the key is no object.
    """
    key = flow["Key"]
    if "proto" not in key:
        raise missing("proto")
    policies = key.get("policies") or {}
    if not isinstance(policies, dict):
        raise invalid("policies", policies)
    return {
        "start_time": flow.get("start_time"),
        "end_time": flow.get("end_time"),
        "action": one_of(ACTIONS, key, "action"),
        "reporter": one_of(REPORTERS, key, "reporter"),
        "proto": key["proto"],
        **_end(flow, key, "source"),
        **_end(flow, key, "dest"),
        "dest_port": key.get("dest_port"),
        "dest_service_namespace": key.get("dest_service_namespace"),
        "dest_service_name": key.get("dest_service_name"),
        "num_flows": _connections(flow),
        **{name: flow.get(name, 0) for name in _NUMBERS},
        "policies": {"enforced_policies": strings_of_hits(policies.get("enforced_policies"), "enforced_policies")},
    }


def one_of(words: Words, record: Record, name: str) -> str:
    """Return the word for an enum's number or name; a field that is not there is 0."""
    value = record.get(name, 0)
    if not isinstance(value, (int, str)) or value not in words:
        raise invalid(name, value)
    return words[value]


def _end(flow: Record, key: Record, side: str) -> dict[str, Any]:
    return {
        f"{side}_type": one_of(_TYPES, key, f"{side}_type"),
        f"{side}_namespace": key.get(f"{side}_namespace"),
        f"{side}_name_aggr": key.get(f"{side}_name"),
        f"{side}_labels": flow.get(f"{side}_labels"),
    }


def _connections(flow: Record) -> int:
    """
    Return how many connections a flow stands for, at least.

    The three counts overlap: what was live at the end may have been started in the window or before it.
    """
    return max(count_of(flow, name) or 0 for name in _CONNECTIONS)
