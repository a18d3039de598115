"""
Everything in which Calico writes down flows and packets, told apart line by line; shapes may be mixed.

- `flow_json`: Enterprise and Cloud JSON, also with Elasticsearch's `_source` around it.
- `columns`: the space-delimited form of the same.
- `goldmane`, `whisker`: what open-source Calico pushes and answers: objects or events, one a line.
- `felix_syslog`, `kernel`, `ebpf_trace`: lines of system logs and of the trace pipe.

A line of a system log that tells of no packet is skipped by name; any other line that is of no shape is a reject.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa

from vzflow.flow.terms import RejectReason, SkipReason
from vzflow.readers.base import Context, Tally
from vzflow.readers.calico import columns, ebpf_trace, felix_syslog, flow_json, goldmane, kernel, whisker
from vzflow.readers.calico.fields import Record
from vzflow.readers.calico.message import Message, message_of
from vzflow.readers.facets import Facets
from vzflow.readers.log_lines import Unusable, flows_of_lines, json_object

#: How lines of programs begin that write to the same logs: a date, perhaps in brackets.
_DATED = re.compile(r"\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d")


def recognises(head: bytes) -> bool:
    """Return whether a line of *head* is of one of these shapes beyond doubt, or the beginning of a record, cut off."""
    last = head[head.rfind(b"\n") + 1 :]
    return any(_is_sure(line) for line in head.split(b"\n")) or (
        last.startswith(b"{") and all(f'"{mark}"'.encode() in last for mark in flow_json.MARKS)
    )


def read(stream: BinaryIO, context: Context, tally: Tally) -> Iterator[pa.RecordBatch]:
    """
    Yield one flow for every record.

    Args:
        stream: Uncompressed lines, or lists of records.
        context: Its `reporter_name`, if given, wins over the host that a record names.
        tally: `record` counts lines; of a list, elements.
    """
    return flows_of_lines(stream, context, tally, parse, lambda head: Facets(flow_json.PLAN, head))


def parse(line: bytes) -> dict[str, Any] | SkipReason:
    """
    Return the recorded columns of one line, or why it tells of no flow.

    Raises:
        Unusable: It is a damaged record, or nothing of Calico's.
    """
    if line.lstrip(b" \t").startswith(b"{"):
        return _flow_of_object(line)
    try:
        text = line.decode()
    except UnicodeError as error:
        raise Unusable(RejectReason.NOT_TEXT, str(error)[:60]) from error
    if columns.looks_like(text):
        return flow_json.flow_of(columns.record_of(text))
    if event := whisker.EVENT.match(text):
        return _flow_of_event(event[1], text[event.end() :])
    if (traced := ebpf_trace.text_of(text)) is not None:
        return ebpf_trace.flow_of(traced) if ebpf_trace.looks_like(traced) else SkipReason.NOT_A_FLOW
    return _flow_of_message(message_of(text), text)


def _flow_of_object(line: bytes) -> dict[str, Any]:
    record: Record = json_object(line)
    source = record.get("_source")
    if isinstance(source, dict):
        record = source
    if goldmane.looks_like(record):
        record = goldmane.record_of(record)
    elif whisker.looks_like(record):
        record = whisker.record_of(record)
    return flow_json.flow_of(record)


def _flow_of_event(field: str | None, text: str) -> dict[str, Any] | SkipReason:
    if field == "data":
        return _flow_of_object(text.encode())
    return SkipReason.STREAM_ERROR if field == "error" else SkipReason.NOT_A_FLOW


def _flow_of_message(message: Message, line: str) -> dict[str, Any] | SkipReason:
    if kernel.looks_like(message):
        return kernel.flow_of(message)
    if felix_syslog.looks_like(message):
        return felix_syslog.flow_of(message)
    bare = message_of(message.text)
    if message.program is not None and (kernel.looks_like(bare) or felix_syslog.looks_like(bare)):
        return SkipReason.OTHER_PROGRAM
    if message.stamped or _DATED.match(line):
        return SkipReason.NOT_A_FLOW
    raise Unusable(RejectReason.NOT_JSON, "neither JSON nor a line in which Calico tells of a flow")


def _is_sure(line: bytes) -> bool:
    """Whether a line is of Calico and of nobody else, whatever its fields hold."""
    line = line.strip()
    if line.startswith((b"{", b"data: {")):
        return _is_sure_object(line.removeprefix(b"data: "))
    text = line.decode(errors="replace")
    if columns.looks_like(text):
        return text.count(" ") == len(columns.NAMES) - 1
    message = message_of(text)
    return (
        ebpf_trace.is_whole(ebpf_trace.text_of(text) or "")
        or (kernel.looks_like(message) and kernel.is_surely_calicos(message))
        or (message.program == "calico-felix" and felix_syslog.looks_like(message))
    )


def _is_sure_object(line: bytes) -> bool:
    try:
        record: Record = json_object(line)
    except Unusable:
        return False
    source = record.get("_source")
    if isinstance(source, dict):
        record = source
    return goldmane.looks_like(record) or whisker.looks_like(record) or record.keys() >= set(flow_json.MARKS)
