"""
Reads Envoy access logs: Istio's default text of every release and Envoy's own, Istio's JSON of all generations, both
mixed, formats that the user gave, ALS messages and OpenTelemetry logs stored as JSON.

A text line is taken only if its columns can be told apart in one way (see `format`). Any other line that looks like an
access log line is a reject: text mode escapes nothing, so what does not fit may have been written by a client.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, BinaryIO

import pyarrow as pa

from vzflow.flow.terms import RejectReason, SkipReason
from vzflow.readers.base import Context, Tally
from vzflow.readers.bulk import Form
from vzflow.readers.envoy import als, otlp
from vzflow.readers.envoy.als import NOBODY, Node
from vzflow.readers.envoy.at_once import form_of_json, form_of_text
from vzflow.readers.envoy.format import Columns, TextLayout
from vzflow.readers.envoy.given import Layouts, compiled
from vzflow.readers.envoy.layouts import KNOWN
from vzflow.readers.envoy.line import Line
from vzflow.readers.envoy.meaning import flow_of
from vzflow.readers.envoy.operators import COLUMNS
from vzflow.readers.envoy.template import object_of, text_of
from vzflow.readers.log_lines import Parsed, Unusable, flows_of_lines, missing
from vzflow.readers.wrappings import unwrapped_by_runtime

#: How a request's line begins in every known layout.
_REQUEST = re.compile(rb'\[\d{4}-\d\d-\d\dT[\d:.]+Z\] "[^"]*" \d{1,3} [A-Za-z0-9,-]+ ')

#: The beginning of every text line of the known layouts.
_BEGINNING = re.compile(rb"\[\d{4}-\d\d-\d\dT[^\]]{0,40}\] ")

#: How lines of the programs beside it begin: pilot-agent (time, level), Envoy's own log ([time][thread][level]), its
#: connection prefixes ([C12]).
_OTHER_OUTPUT = re.compile(
    rb"\d{4}-\d\d-\d\dT\S+\s+(?:trace|debug|info|warn|warning|error|critical|fatal)\b"
    rb"|\[\d{4}-\d\d-\d\d [\d:.]+\]\["
    rb"|\[C\d+\]|\[Tags: ",
    re.IGNORECASE,
)

#: Two quoted columns side by side: no program beside Envoy prints them, so the line was, or holds, an access log line.
_QUOTED_COLUMNS = b'" "'

#: What any JSON line of Istio's has.
_MARKS = frozenset(("start_time", "response_flags", "upstream_host", "downstream_local_address"))

#: Without one of these a line in Istio's JSON keys would be misread rather than read in part.
_NEEDED = (
    "start_time", "protocol", "response_code", "response_flags", "bytes_received", "bytes_sent", "upstream_host",
    "upstream_local_address", "downstream_local_address",
)  # fmt: skip
_NEEDED_ONE_OF = (
    ("upstream_cluster", "upstream_cluster_raw"),
    ("downstream_remote_address", "downstream_direct_remote_address"),
)

#: What Envoy's application log and pilot-agent have when they write JSON.
_OTHER_MARKS = frozenset(("level", "msg"))

#: Values of ACCESS_LOG_TYPE of lines that tell of something whole: envoyproxy/envoy data/accesslog/v3 AccessLogType.
_WHOLE = frozenset((
    None, "NotSet", "DownstreamEnd", "TcpConnectionEnd", "UpstreamEnd", "UdpSessionEnd",
))  # fmt: skip

_KNOWN = Layouts(tuple(KNOWN.values()), ())


def recognises(head: bytes) -> bool:
    """Return whether some line of *head* is such a line; container logs begin with the output of other programs."""
    *whole, last = head.split(b"\n")
    return any(_is_access_line(line) for line in (*whole, last)) or _begins_message(last)


def recognises_format(head: bytes, formats: str) -> bool:
    """Return whether some line of *head* is of the *formats* that `given` returned."""
    return any(_is_read(line, compiled(formats)) for line in head.split(b"\n"))


def _is_access_line(line: bytes) -> bool:
    if line.startswith(b"{"):
        try:
            record = object_of(line)
        except Unusable:
            return False
        if otlp.is_export(record):
            return _is_read(line, _KNOWN)
        return record.keys() >= _MARKS or als.is_message(record)
    return _REQUEST.match(line) is not None or KNOWN["istio 1.0 tcp"].parse(line) is not None


def _begins_message(last: bytes) -> bool:
    """Whether a head ends in the middle of an ALS message, which may be of any length."""
    return last.startswith(b'{"') and b'"commonProperties"' in last and (b'"httpLogs"' in last or b'"tcpLogs"' in last)


def _is_read(line: bytes, layouts: Layouts) -> bool:
    try:
        return bool(line) and not isinstance(_parse(line, layouts), SkipReason)
    except Unusable:
        return False


def read(stream: BinaryIO, context: Context, tally: Tally) -> Iterator[pa.RecordBatch]:
    """
    Yield one flow for every access log line: a request over HTTP, a connection otherwise.

    A line that is a message of several entries gives a flow for each, numbered as `flows_of_lines` says.

    Args:
        stream: Uncompressed lines.
        context: Its `reporter_name` wins over what a message says; `envoy_format` takes the place of known layouts.
        tally: Other container output is skipped as `not_access_log`; what cannot be parsed with certainty is a reject.
    """
    layouts = compiled(context.envoy_format) if context.envoy_format is not None else _KNOWN
    return flows_of_lines(stream, context, tally, partial(_parse, layouts=layouts), partial(_form_of, layouts=layouts))


def _form_of(head: bytes, layouts: Layouts) -> Form | None:
    """Return how lines like those of *head* are read at once: as the first of them that is of a known form."""
    if len(layouts.texts) > 1 and layouts is not _KNOWN:  # a line may fit more than one
        return None
    for whole in head.splitlines():
        line, wrapping = unwrapped_by_runtime(whole)
        if line.startswith(b"{") and layouts is _KNOWN and all(b'"%b"' % mark.encode() in line for mark in _MARKS):
            return form_of_json(lambda columns: _row(_whole(columns)), wrapping)
        for layout in layouts.texts:
            with suppress(Unusable):
                if layout.parse(line) is not None:
                    return form_of_text(layout, _row, wrapping)
    return None


def _parse(line: bytes, layouts: Layouts) -> Parsed:
    if not line.startswith(b"{"):
        return _row(_text_columns(line, layouts))
    columns = _of_texts(line, layouts.texts) if layouts is not _KNOWN else None
    if columns is not None:
        return _row(columns)
    record = object_of(line)
    if als.is_message(record):
        node, entries = als.entries(record)
        return _rows(_row(columns, node) for columns in entries)
    if otlp.is_export(record):
        return _rows(_row(_otlp_columns(one, layouts), one.node) for one in otlp.records(record))
    return _row(_json_columns(record, layouts))


def _row(columns: Columns | SkipReason, node: Node = NOBODY) -> dict[str, Any] | SkipReason:
    if isinstance(columns, SkipReason):
        return columns
    if columns.get("access_log_type") not in _WHOLE:
        return SkipReason.NOT_FINAL
    row = flow_of(Line(columns, node.ip))
    return row | {"reporter_name": node.name} if node.name is not None else row


def _rows(parsed: Iterator[dict[str, Any] | SkipReason]) -> Parsed:
    """Return the flows of a message; if it has none, why."""
    found = list(parsed)
    rows = [row for row in found if not isinstance(row, SkipReason)]
    skips = [one for one in found if isinstance(one, SkipReason)]
    return rows or (skips or [SkipReason.NOT_ACCESS_LOG])[0]


def _text_columns(line: bytes, layouts: Layouts) -> Columns | SkipReason:
    columns = _of_texts(line, layouts.texts)
    if columns is not None:
        return columns
    if layouts is not _KNOWN and any(layout.resembles(line) for layout in layouts.texts):
        detail = "it does not fit the format that was given"
    elif layouts is _KNOWN and _BEGINNING.match(line):
        quotes = line.count(b'"')
        detail = f"no known layout has these columns; it has {quotes} quotes"
    elif _OTHER_OUTPUT.match(line) and not _BEGINNING.search(line):
        return SkipReason.NOT_ACCESS_LOG
    elif _BEGINNING.search(line) or line.count(_QUOTED_COLUMNS) > 1:
        detail = "an access log line that does not begin as the format does"
    else:
        return SkipReason.NOT_ACCESS_LOG
    raise Unusable(RejectReason.COLUMNS_AMBIGUOUS, detail)


def _of_texts(line: bytes, layouts: Sequence[TextLayout]) -> Columns | None:
    """
    Return the columns of a text line; null if it is of none of the layouts.

    Raises:
        Unusable: It fits in several ways.
    """
    found: Columns | None = None
    for layout in layouts:
        columns = layout.parse(line)
        if columns is None:
            continue
        if found is not None:
            raise Unusable(RejectReason.COLUMNS_AMBIGUOUS, "it fits more than one of the formats that were given")
        found = columns
        if layouts is _KNOWN.texts:  # no line fits two of these
            break
    return found


def _json_columns(record: Mapping[str, Any], layouts: Layouts) -> Columns | SkipReason:
    if layouts is not _KNOWN:
        columns = _of_templates(record, layouts)
        if columns is not None:
            return columns
        if not record.keys() >= _OTHER_MARKS:
            raise Unusable(RejectReason.COLUMNS_AMBIGUOUS, "its keys are not those of the format that was given")
    if record.keys() >= _OTHER_MARKS and not record.keys() & _MARKS:
        return SkipReason.NOT_ACCESS_LOG
    return _whole(_by_name(record))


def _whole(columns: Columns) -> Columns:
    """
    Return the columns of a line in Istio's JSON keys.

    Raises:
        Unusable: One is missing without which the others would be misread.
    """
    for name in _NEEDED:
        if name not in columns:
            raise missing(name)
    for names in _NEEDED_ONE_OF:
        if not any(name in columns for name in names):
            raise missing(names[0])
    return columns


def _of_templates(record: Mapping[str, Any], layouts: Layouts) -> Columns | None:
    found = [columns for template in layouts.templates if (columns := template.parse(record)) is not None]
    if len(found) > 1 and any(columns != found[0] for columns in found):
        raise Unusable(RejectReason.COLUMNS_AMBIGUOUS, "it fits more than one of the formats that were given")
    return found[0] if found else None


def _by_name(record: Mapping[str, Any]) -> Columns:
    return {name: text_of(name, record[name]) for name in COLUMNS & record.keys()}


def _otlp_columns(one: otlp.LogRecord, layouts: Layouts) -> Columns | SkipReason:
    """Return the columns of a log record: its attributes by template or by name, and the text line that is its body."""
    columns: Columns = {}
    if one.attributes:
        columns = (_of_templates(one.attributes, layouts) if layouts.templates else _by_name(one.attributes)) or {}
    if isinstance(one.body, str) and one.body:
        body = _text_columns(one.body.rstrip("\n").encode(), layouts)
        if not isinstance(body, SkipReason):
            return body | columns
        return columns or body
    if isinstance(one.body, dict):
        return columns or _json_columns(one.body, layouts)
    return columns or SkipReason.NOT_ACCESS_LOG
