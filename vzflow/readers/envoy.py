"""
Envoy access logs as Istio writes them: its default text (1.9 and later) and its JSON, of all generations, also mixed.

A text line is taken only if its columns can be told apart in one way. Text mode does not escape quotes, so whoever
sends a request chooses bytes of the line: path, User-Agent, X-Forwarded-For, X-Request-Id, authority. All of them stand
between quotes; as no column may hold a quote here, a line that matches has exactly the format's fourteen quotes, and
nothing that a header says can end up in another column. Any other line that looks like an access log line is a reject.

Source: Istio pilot/pkg/model/telemetry_logging.go (EnvoyTextLogFormat) and the JSON keys beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import pyarrow as pa

from vzflow.flow.terms import RejectReason, SkipReason
from vzflow.readers.base import Context, Tally
from vzflow.readers.envoy_line import COLUMNS, Line
from vzflow.readers.envoy_meaning import flow_of
from vzflow.readers.log_lines import Unusable, flows_of_lines, invalid, json_object

#: Columns left of the first header: what Envoy itself says, but for method and path (REQ(:METHOD) and the path).
_FRONT = rb"""
    \[(?P<start_time>[^\]"]*)\]
    [ ]"(?P<method>[^" ]*)[ ][^"]*[ ](?P<protocol>[^" ]*)"
    [ ](?P<response_code>[^" ]*)
    [ ](?P<response_flags>[^" ]*)
    [ ](?P<response_code_details>[^" ]*)
    [ ](?P<connection_termination_details>[^" ]*)
    [ ]"(?P<upstream_transport_failure_reason>[^"]*)"
    [ ](?P<bytes_received>\d+)
    [ ](?P<bytes_sent>\d+)
    [ ](?P<duration>\d+|-?)
    [ ](?:\d+|-?)                     # RESP(X-ENVOY-UPSTREAM-SERVICE-TIME), a header of the answer
    [ ]"
"""

#: Headers, then what Envoy says again. The route's name is its configuration's and may hold blanks.
_REST = rb"""
    [^"]*"[ ]"[^"]*"[ ]"[^"]*"[ ]"[^"]*"    # X-FORWARDED-FOR, USER-AGENT, X-REQUEST-ID, AUTHORITY
    [ ]"(?P<upstream_host>[^"]*)"
    [ ](?P<upstream_cluster>[^" ]*)
    [ ](?P<upstream_local_address>[^" ]*)
    [ ](?P<downstream_local_address>[^" ]*)
    [ ](?P<downstream_remote_address>[^" ]*)
    [ ](?P<requested_server_name>[^" ]*)
    [ ][^"]*                                # ROUTE_NAME
"""

_FRONT_OF_LINE = re.compile(_FRONT, re.VERBOSE)
_LINE = re.compile(_FRONT + _REST, re.VERBOSE)

#: The beginning of every text line of this family, whatever its columns.
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

#: A server name as clients send it. Anything else in that column means that the columns are not those of the format.
_SERVER_NAME = re.compile(r"[A-Za-z0-9._|*-]+")

#: What any JSON line of Istio's has.
_MARKS = frozenset(("start_time", "response_flags", "upstream_host", "downstream_local_address"))

#: What Envoy's application log and pilot-agent have when they write JSON.
_OTHER_MARKS = frozenset(("level", "msg"))


def recognises(head: bytes) -> bool:
    """Return whether some line of *head* is such a line; container logs begin with the output of other programs."""
    return any(_is_access_line(line) for line in head.split(b"\n"))


def _is_access_line(line: bytes) -> bool:
    if not line.startswith(b"{"):
        return _FRONT_OF_LINE.match(line) is not None
    try:
        return json_object(line).keys() >= _MARKS
    except Unusable:
        return False


def read(stream: BinaryIO, context: Context, tally: Tally) -> Iterator[pa.RecordBatch]:
    """
    Yield one flow for every access log line: a request over HTTP, a connection otherwise.

    Args:
        stream: Uncompressed lines.
        context: Its `reporter_name` is the only source of that column.
        tally: Other container output is skipped as `not_access_log`; what cannot be parsed with certainty is a reject.
    """
    return flows_of_lines(stream, context, tally, _flow)


def _flow(line: bytes) -> dict[str, Any] | SkipReason:
    if line.startswith(b"{"):
        columns = _json_columns(line)
    elif _BEGINNING.match(line):
        columns = _text_columns(line)
    elif _OTHER_OUTPUT.match(line) and not _BEGINNING.search(line):
        return SkipReason.NOT_ACCESS_LOG
    elif _BEGINNING.search(line) or line.count(_QUOTED_COLUMNS) > 1:
        raise Unusable(RejectReason.COLUMNS_AMBIGUOUS, "an access log line that does not begin with its time")
    else:
        return SkipReason.NOT_ACCESS_LOG
    return columns if isinstance(columns, SkipReason) else flow_of(Line(columns))


def _text_columns(line: bytes) -> Mapping[str, str | None]:
    match = _LINE.fullmatch(line)
    if match is None:
        quotes = line.count(b'"')
        detail = f"{quotes} quotes where the format has 14" if quotes != 14 else "not the 24 columns of the format"
        raise Unusable(RejectReason.COLUMNS_AMBIGUOUS, detail)
    try:
        columns = {name: _absent(value.decode()) for name, value in match.groupdict().items()}
    except UnicodeError as error:
        raise Unusable(RejectReason.NOT_TEXT, str(error)) from error
    if columns.pop("method") is not None and columns["protocol"] is None:
        raise invalid("protocol", None)
    server_name = columns["requested_server_name"]
    if server_name is not None and not _SERVER_NAME.fullmatch(server_name):
        raise invalid("requested_server_name", server_name)
    return columns


def _absent(text: str) -> str | None:
    """Return null for what Envoy prints in place of nothing: `-`, or an empty string if it is told to omit it."""
    return None if text in ("-", "") else text


def _json_columns(line: bytes) -> Mapping[str, str | None] | SkipReason:
    record = json_object(line)
    if record.keys() >= _OTHER_MARKS and not record.keys() & _MARKS:
        return SkipReason.NOT_ACCESS_LOG
    return {name: _json_text(name, record[name]) for name in COLUMNS & record.keys()}


def _json_text(name: str, value: object) -> str | None:
    """Return the text of a value: a string, a number (newer generations) or null; anything else is no column's."""
    if value is None:
        return None
    if isinstance(value, str):
        return _absent(value)
    if type(value) is int or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    raise invalid(name, value)
