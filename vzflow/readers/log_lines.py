"""What the log readers share: every line becomes one flow, one named skip or one reject."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import pyarrow as pa

from vzflow.flow.batch import batches
from vzflow.flow.key import ENTRY
from vzflow.flow.terms import RejectReason, SkipReason
from vzflow.readers.base import Context, Tally, lines

#: A row of recorded columns; several where one line is a message of several records.
Parsed = dict[str, Any] | list[dict[str, Any]] | SkipReason

#: Largest count a column can hold (signed 64 bit).
LARGEST = (1 << 63) - 1

#: Characters of an unusable value that a reject's detail quotes.
_QUOTED = 60


class Unusable(Exception):
    """A line cannot be used; it becomes a reject with this reason and detail."""

    def __init__(self, reason: RejectReason, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(detail)


def missing(name: str) -> Unusable:
    """Return the complaint that a line lacks the field *name*."""
    return Unusable(RejectReason.FIELD_MISSING, f"no {name}")


def invalid(name: str, value: object) -> Unusable:
    """Return the complaint that the field *name* holds a value no such field can hold."""
    return Unusable(RejectReason.FIELD_INVALID, f"{name} is {repr(value)[:_QUOTED]}")


def flows_of_lines(
    stream: BinaryIO, context: Context, tally: Tally, parse: Callable[[bytes], Parsed]
) -> Iterator[pa.RecordBatch]:
    """
    Yield one flow for every line that *parse* turns into a row; skips and rejects go to *tally*.

    Args:
        stream: Uncompressed bytes, read a line at a time.
        context: What the bytes do not say; gives `segment`, `cluster` and, where the row has none, `reporter_name`.
        tally: Counts every line.
        parse: Line without its end -> recorded columns, or why it is no record. Raises Unusable.

    Yields:
        Batches of FLOW_SCHEMA in the order of the lines; `record` is the line number, and for the further flows of a
        message of several the line number + ENTRY, + 2 ENTRY and so on. A message is one record of the tally.
    """
    return batches(_rows(stream, context, tally, parse))


def _rows(
    stream: BinaryIO, context: Context, tally: Tally, parse: Callable[[bytes], Parsed]
) -> Iterator[dict[str, Any]]:
    for number, line in lines(stream, tally):
        try:
            parsed = parse(line)
        except Unusable as unusable:
            tally.reject(number, unusable.reason, unusable.detail, line)
            continue
        if isinstance(parsed, SkipReason):
            tally.skip(parsed)
            continue
        tally.in_flows += 1
        for entry, row in enumerate(parsed if isinstance(parsed, list) else [parsed]):
            row["segment"] = context.segment
            row["record"] = number + entry * ENTRY
            row["cluster"] = context.cluster
            if context.reporter_name is not None:
                row["reporter_name"] = context.reporter_name
            yield row


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def json_object(line: bytes, decoder: json.JSONDecoder = _DECODER) -> dict[str, Any]:
    """
    Return the JSON object that is *line*.

    Raises:
        Unusable: It is not UTF-8, not JSON, not an object, or holds half a surrogate pair, which no column can store.
    """
    try:
        text = line.decode()
        value = decoder.decode(text)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeError as error:
        raise Unusable(RejectReason.NOT_TEXT, str(error)[:_QUOTED]) from error
    except (ValueError, RecursionError) as error:
        raise Unusable(RejectReason.NOT_JSON, str(error)[:_QUOTED]) from error
    if not isinstance(value, dict):
        raise Unusable(RejectReason.NOT_JSON, f"a JSON {type(value).__name__}, not an object")
    return value
