"""
The space-delimited form of a flow record, 24 columns, from the time when flow logs went to CloudWatch.

`proto` is a number and the reporter the direction of the policy: `out` at the source, `in` at the destination. A name
that aggregation cut ends in `*`.

Source: tigera/docs, calico-enterprise/observability/elastic/flow/filtering.mdx ("Flow log format");
projectcalico/calico felix/collector/flowlog (labels as `[key=value,...]`).
"""

from __future__ import annotations

import re
from typing import Any

from vzflow.flow.terms import RejectReason
from vzflow.readers.calico.fields import number_in
from vzflow.readers.log_lines import Unusable, invalid

NAMES = (
    "start_time", "end_time", "source_type", "source_namespace", "source_name", "source_labels", "dest_type",
    "dest_namespace", "dest_name", "dest_labels", "source_ip", "dest_ip", "proto", "source_port", "dest_port",
    "num_flows", "num_flows_started", "num_flows_completed", "reporter", "packets_in", "packets_out", "bytes_in",
    "bytes_out", "action",
)  # fmt: skip

_COUNTS = (
    "start_time", "end_time", "source_port", "dest_port", "num_flows", "packets_in", "packets_out", "bytes_in",
    "bytes_out",
)  # fmt: skip

_BEGINNING = re.compile(r"[0-9]{9,11} [0-9]{9,11} (?:wep|hep|ns|net) ")
_REPORTERS = {"in": "dst", "out": "src"}


def looks_like(line: str) -> bool:
    """Whether *line* begins as such a record does: two times in epoch seconds, then a kind of endpoint."""
    return _BEGINNING.match(line) is not None


def record_of(line: str) -> dict[str, Any]:
    """
    Return the record of a line that looks like one, under the names of the JSON's fields.

    Raises:
        Unusable: It has not 24 columns, or one holds no number where there must be one.
    """
    columns = line.strip(" ").split(" ")
    if len(columns) != len(NAMES):
        raise Unusable(RejectReason.COLUMNS_AMBIGUOUS, f"{len(columns)} columns instead of {len(NAMES)}")
    fields = dict(zip(NAMES, columns, strict=True))
    record: dict[str, Any] = {**fields, **{name: number_in(fields, name) for name in _COUNTS}}
    record["reporter"] = _REPORTERS.get(fields["reporter"], fields["reporter"])
    for side in ("source", "dest"):
        record[f"{side}_labels"] = _labels(fields, f"{side}_labels")
        name = record.pop(f"{side}_name")
        record[f"{side}_name_aggr"] = name
    return record


def _labels(fields: dict[str, str], name: str) -> list[str] | None:
    text = fields[name]
    if text == "-":
        return None
    if not (text.startswith("[") and text.endswith("]")):
        raise invalid(name, text)
    return text[1:-1].split(",")
