"""
Access logs of ztunnel, the node proxy of Istio's ambient mode: its text, of all builds, and its JSON, also mixed.

A text line is `TIME LEVEL access MESSAGE KEY=VALUE ...`, with tabs between the columns before the pairs; builds of
spring 2024 wrote `TIME  LEVEL access: MESSAGE`. Values are quoted as Rust prints them, or bare. With LOG_FORMAT=json
the same keys are those of one flat object. What peers choose (a tunnel's target, the text of an error) is quoted and
escaped, so a line is taken only if all of it is pairs and no key comes twice.

Source: istio/ztunnel README.md, src/proxy/metrics.rs (the access log) and src/telemetry.rs (how lines are written).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import pyarrow as pa

from vzflow.flow.terms import RejectReason, SkipReason
from vzflow.readers.base import Context, Tally
from vzflow.readers.log_lines import Unusable, flows_of_lines, invalid, json_object, missing
from vzflow.readers.ztunnel_meaning import FIELDS, flow_of

#: What an access line says; `opened` is written at debug level only.
_OPENED = "connection opened"
_MESSAGES = frozenset(("connection complete", "connection failed", _OPENED))

_TIME = r"\d{4}-\d\d-\d\dT\S+"
_LEVEL = r"(?:trace|debug|info|warn|error)"
_LINE = re.compile(
    rf"(?P<time>{_TIME})\s+(?P<level>{_LEVEL})\s+access(?::\s*|\s+)(?P<message>connection [a-z]+)"
    r"(?:\s+(?P<pairs>\S.*))?",
    re.IGNORECASE,
)
#: How every line of this program begins, whatever it is about.
_ANY_LINE = re.compile(rf"{_TIME}\s+{_LEVEL}\s+(?P<scope>\S+)", re.IGNORECASE)

_PAIR = re.compile(r'([a-z][a-z0-9_.]*)=(?:"((?:[^"\\]|\\.)*)"|([^\s"]*))(?:\s+|$)')
#: An error without quotes; it is always the last pair.
_BARE_ERROR = re.compile(r'error=([^\s"].*)')

_ESCAPE = re.compile(r"\\(?:u\{([0-9A-Fa-f]{1,6})\}|(.))", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "0": "\0", '"': '"', "'": "'", "\\": "\\"}


def recognises(head: bytes) -> bool:
    """Return whether some line of *head* is an access line; the log begins with other output of the program."""
    return any(_is_access_line(line) for line in head.split(b"\n"))


def _is_access_line(line: bytes) -> bool:
    if b"connection " not in line:
        return False
    if not line.startswith(b"{"):
        match = _LINE.fullmatch(line.decode("utf-8", "replace").rstrip("\r"))
        return match is not None and match["message"].lower() in _MESSAGES
    try:
        record = json_object(line)
    except Unusable:
        return False
    return _is_access_record(record)


def _is_access_record(record: Mapping[str, Any]) -> bool:
    return record.get("scope", "access") == "access" and "src.addr" in record and record.get("message") in _MESSAGES


def read(stream: BinaryIO, context: Context, tally: Tally) -> Iterator[pa.RecordBatch]:
    """
    Yield one flow for every connection that ended or failed.

    Args:
        stream: Uncompressed lines.
        context: Its `reporter_name` is the only source of that column.
        tally: The program's other lines are skipped as `not_access_log`, a connection's begin as `connection_opened`.
    """
    return flows_of_lines(stream, context, tally, _flow)


def _flow(line: bytes) -> dict[str, Any] | SkipReason:
    fields = _json_fields(line) if line.startswith(b"{") else _text_fields(line)
    if isinstance(fields, SkipReason):
        return fields
    if fields["message"] not in _MESSAGES:
        raise invalid("message", fields["message"])
    return SkipReason.CONNECTION_OPENED if fields["message"] == _OPENED else flow_of(fields)


def _text_fields(line: bytes) -> dict[str, str] | SkipReason:
    try:
        text = line.decode()
    except UnicodeError as error:
        raise Unusable(RejectReason.NOT_TEXT, str(error)) from error
    match = _LINE.fullmatch(text)
    if match is None:
        other = _ANY_LINE.match(text)
        if (other is not None and other["scope"].rstrip(":") == "access") or "src.addr=" in text:
            raise Unusable(RejectReason.COLUMNS_AMBIGUOUS, "not time, level, `access`, message and pairs")
        return SkipReason.NOT_ACCESS_LOG
    head = {"time": match["time"], "level": match["level"].lower(), "message": match["message"].lower()}
    return _pairs(match["pairs"] or "") | head


def _pairs(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = _PAIR.match(text, at)
        if match is None or match[1] == "error":
            match = _BARE_ERROR.fullmatch(text, at) or match
        if match is None:
            raise Unusable(RejectReason.COLUMNS_AMBIGUOUS, f"no pair at column {at} of the pairs")
        if match.re is _BARE_ERROR:
            name, value = "error", match[1]
        else:
            name, value = match[1], match[3] if match[2] is None else _unescaped(match[2])
        if name in found:
            raise Unusable(RejectReason.COLUMNS_AMBIGUOUS, f"{name} twice")
        found[name] = value
        at = match.end()
    return found


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(_plain, text) if "\\" in text else text


def _plain(match: re.Match[str]) -> str:
    if match[1] is None:
        return _ESCAPED.get(match[2], match[0])
    number = int(match[1], 16)
    return match[0] if number > 0x10FFFF or 0xD800 <= number < 0xE000 else chr(number)


def _json_fields(line: bytes) -> dict[str, str] | SkipReason:
    record = json_object(line)
    if not _is_access_record(record):
        if "src.addr" not in record and record.get("scope") != "access" and isinstance(record.get("message"), str):
            return SkipReason.NOT_ACCESS_LOG
        if record.get("message") is None:
            raise missing("message")
        if "src.addr" not in record:
            raise missing("src.addr")
        raise invalid("message", record["message"])
    return {name: _json_text(name, record[name]) for name in FIELDS & record.keys() if record[name] is not None}


def _json_text(name: str, value: object) -> str:
    if isinstance(value, str):
        return value
    if type(value) is int:
        return str(value)
    raise invalid(name, value)
