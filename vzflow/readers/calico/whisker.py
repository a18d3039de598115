"""
Flows as the Whisker backend of open-source Calico answers: a JSON list, or a stream of server-sent events.

Of an event stream, each flow is a line `data: {json}` and a failure is a line `error: text`. Names are aggregated; what
kind of endpoint a name is of is not said: only pods have names that end in `*`, and two words stand for networks. A
whole name may be a pod's, a host's or a network set's, so its kind stays open.

Source: projectcalico/calico whisker-backend/pkg/apis/v1/flows.go, pkg/handlers/v1/protoconvert.go;
lib/httpmachinery/pkg/apiutil/eventstream.go.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from vzflow.readers.calico.fields import Record
from vzflow.readers.calico.goldmane import ACTIONS, REPORTERS, one_of
from vzflow.readers.calico.policies import strings_of_hits
from vzflow.readers.log_lines import invalid

_MARKS = ("start_time", "action", "source_name", "dest_name", "protocol", "reporter", "policies")

#: Fields of an event stream (HTML standard, "Server-sent events"); a line that begins with a colon is a comment.
EVENT = re.compile(r"(data|error|event|id|retry)?: ?")

_NETWORKS = {"PUBLIC NETWORK": "pub", "PRIVATE NETWORK": "pvt"}

#: What a field holds as Go writes it, in whatever zone the backend runs.
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")


def looks_like(record: Record) -> bool:
    """Whether *record* is such a flow."""
    return record.keys() >= set(_MARKS)


def record_of(flow: Record) -> dict[str, Any]:
    """
    Return a flow under the names of the flow log's fields.

    Raises:
        Unusable: A field holds what no such field can hold.
    """
    policies = flow["policies"] or {}
    if not isinstance(policies, dict):
        raise invalid("policies", policies)
    return {
        "start_time": _seconds(flow, "start_time"),
        "end_time": _seconds(flow, "end_time"),
        "action": one_of(ACTIONS, flow, "action"),
        "reporter": one_of(REPORTERS, flow, "reporter"),
        "proto": flow["protocol"],
        **_end(flow, "source"),
        **_end(flow, "dest"),
        "dest_port": flow.get("dest_port"),
        **{name: flow.get(name) for name in ("packets_in", "packets_out", "bytes_in", "bytes_out")},
        "policies": {"enforced_policies": strings_of_hits(policies.get("enforced"), "enforced")},
    }


def _end(flow: Record, side: str) -> dict[str, Any]:
    name = flow[f"{side}_name"]
    if not isinstance(name, str):
        raise invalid(f"{side}_name", name)
    network = _NETWORKS.get(name)
    labels = flow.get(f"{side}_labels")
    if labels is not None and not isinstance(labels, str):
        raise invalid(f"{side}_labels", labels)
    return {
        f"{side}_type": "net" if network else "wep" if name.endswith("*") and name != "*" else None,
        f"{side}_namespace": flow.get(f"{side}_namespace"),
        f"{side}_name_aggr": network or name,
        f"{side}_labels": labels.split(" | ") if labels else None,
    }


def _seconds(flow: Record, name: str) -> int | None:
    value = flow.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise invalid(name, value)
    try:
        return max(int(datetime.fromisoformat(value).timestamp()), 0)
    except ValueError as error:
        raise invalid(name, value) from error
