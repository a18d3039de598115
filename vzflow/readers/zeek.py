"""
Zeek's conn.log and ssl.log: its tab-separated form with headers, and its JSON, with or without `_path`.

A header says how the rows that follow are written: the separator, the marks of what is missing, the log's name and the
fields. Logs that were put one after another have several; `#close` ends nothing but a file. A part of a growing log
begins with a row: then the last header before it holds, as far as the log's first 64 KiB show.

Source: Zeek documentation, "Zeek Log Formats and Inspection" and "ASCII Writer"; zeek/zeek src/Formatter (escapes).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import pyarrow as pa

from vzflow.flow.terms import RejectReason, SkipReason
from vzflow.readers.base import Context, Tally
from vzflow.readers.log_lines import Unusable, flows_of_lines, json_object, missing
from vzflow.readers.unwrapping import unwrapped_head
from vzflow.readers.zeek_meaning import CONN, CONN_FIELDS, FLOWS, SSL, SSL_FIELDS

#: What every row of any of Zeek's logs of connections has.
_MARKS = frozenset(("ts", "uid", "id.orig_h", "id.resp_h"))

_HEADER = b"#"
_ESCAPE = re.compile(r"\\x([0-9A-Fa-f]{2})")

#: Types whose unset elements make a set or vector; all others are single values.
_SEVERAL = ("set[", "vector[", "table[")


@dataclass(frozen=True)
class _Layout:
    """How rows are written: what the header lines above them say."""

    separator: str = "\t"
    set_separator: str = ","
    empty: str = "(empty)"
    unset: str = "-"
    path: str | None = None
    fields: tuple[str, ...] = ()
    types: tuple[str, ...] = ()

    def after(self, line: str) -> _Layout:
        """Return the layout that holds after one more header line; names of other lines change nothing."""
        name, _, value = line[1:].partition(" " if line.startswith("#separator ") else self.separator)
        if name == "separator":
            # The first line of a header: nothing of the one before holds on.
            return _Layout(separator=_unescaped(value) or "\t")
        if name == "set_separator":
            return replace(self, set_separator=value or ",")
        if name == "empty_field":
            return replace(self, empty=value)
        if name == "unset_field":
            return replace(self, unset=value)
        if name == "path":
            return replace(self, path=value, fields=(), types=())
        if name == "fields":
            return replace(self, fields=tuple(value.split(self.separator)))
        if name == "types":
            return replace(self, types=tuple(value.split(self.separator)))
        return self

    def row(self, line: str) -> dict[str, Any]:
        """
        Return the set fields of one row by name: texts, and lists of texts where the type is of several.

        Raises:
            Unusable: It has more or fewer columns than the header.
        """
        if not self.fields:
            raise Unusable(RejectReason.COLUMNS_AMBIGUOUS, "no #fields above it")
        columns = line.split(self.separator)
        if len(columns) != len(self.fields):
            detail = f"{len(columns)} columns where the header has {len(self.fields)}"
            raise Unusable(RejectReason.COLUMNS_AMBIGUOUS, detail)
        types = self.types if len(self.types) == len(self.fields) else ("string",) * len(self.fields)
        return {
            name: self._value(value, kind)
            for name, value, kind in zip(self.fields, columns, types, strict=True)
            if value != self.unset
        }

    def _value(self, value: str, kind: str) -> str | list[str]:
        if kind.startswith(_SEVERAL):
            return [] if value == self.empty else [_unescaped(part) for part in value.split(self.set_separator)]
        return "" if value == self.empty else _unescaped(value)


def _unescaped(text: str) -> str:
    r"""Return *text* with `\xHH` as the byte it stands for; what is no UTF-8 then stays as it is written."""
    if "\\x" not in text:
        return text
    raw = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text.encode().decode("latin-1")).encode("latin-1")
    try:
        return raw.decode()
    except UnicodeError:
        return text


def recognises(head: bytes) -> bool:
    """Return whether some line of *head* is a header of one of the two logs, or a row of theirs in JSON."""
    layout = _Layout()
    for line in head.split(b"\n"):
        if line.startswith(_HEADER):
            layout = layout.after(line.decode("utf-8", "replace").rstrip("\r"))
            if layout.path in FLOWS and set(layout.fields) >= _MARKS:
                return True
        elif line.startswith(b"{") and b"id.orig_h" in line:
            try:
                if _path_of(json_object(line)) in FLOWS:
                    return True
            except Unusable:
                continue
    return False


def read(stream: BinaryIO, context: Context, tally: Tally) -> Iterator[pa.RecordBatch]:
    """
    Yield one flow for every row of conn.log, and one for every row of ssl.log: two records of one exchange.

    Args:
        stream: Uncompressed lines.
        context: Its `before` holds the header of a part that begins without one.
        tally: Header lines and rows of other logs are skipped by name.
    """
    return flows_of_lines(stream, context, tally, _Rows(context.before).flow)


class _Rows:
    """Lines -> rows, by the header above them."""

    def __init__(self, before: bytes) -> None:
        self._layout = _Layout()
        whole = before[: before.rfind(b"\n") + 1]
        for line in (whole if whole.startswith(_HEADER) else unwrapped_head(whole)).split(b"\n"):
            if line.startswith(_HEADER):
                self._layout = self._layout.after(line.decode("utf-8", "replace").rstrip("\r"))

    def flow(self, line: bytes) -> dict[str, Any] | SkipReason:
        if line.startswith(b"{"):
            record = json_object(line)
            path = _path_of(record)
            if path is None:
                raise missing(next((mark for mark in sorted(_MARKS) if mark not in record), "conn_state"))
            return FLOWS[path](record) if path in FLOWS else SkipReason.OTHER_LOG
        try:
            text = line.decode()
        except UnicodeError as error:
            raise Unusable(RejectReason.NOT_TEXT, str(error)) from error
        if line.startswith(_HEADER):
            self._layout = self._layout.after(text)
            return SkipReason.LOG_HEADER
        path = self._layout.path
        if path is not None and path not in FLOWS:
            return SkipReason.OTHER_LOG
        row = self._layout.row(text)
        for mark in sorted(_MARKS):
            if mark not in row:
                raise missing(mark)
        if path is None:
            raise Unusable(RejectReason.COLUMNS_AMBIGUOUS, "no #path above it")
        return FLOWS[path](row)


def _path_of(record: Mapping[str, Any]) -> str | None:
    """Return the log a JSON row is of: what it says itself, else by fields that only one of them has."""
    path = record.get("_path")
    if isinstance(path, str):
        return path if not path or record.keys() >= _MARKS or path not in FLOWS else None
    if not record.keys() >= _MARKS:
        return None
    if record.keys() & CONN_FIELDS:
        return CONN
    return SSL if record.keys() & SSL_FIELDS else None
