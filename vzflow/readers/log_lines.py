"""What the log readers share: every line becomes one flow, one named skip or one reject."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import pyarrow as pa

from vzflow.flow.batch import BATCH_ROWS, batches
from vzflow.flow.key import ENTRY
from vzflow.flow.terms import RejectReason, SkipReason
from vzflow.readers.base import Context, Parsed, Tally, Unusable, record_of_line
from vzflow.readers.bulk import Form, read_plain
from vzflow.readers.line_core import COMPILED
from vzflow.readers.unwrapping import STREAMS, Record, Unwrapper, opened, records
from vzflow.readers.wrappings import pod_of_path

__all__ = ["LARGEST", "FormOf", "Parsed", "Unusable", "flows_of_lines", "invalid", "json_object", "missing"]

#: Beginning of an input -> how its plain lines are read; null if they are not read at once.
FormOf = Callable[[bytes], Form | None]

#: Bytes that make many lines: fewer are read one by one sooner than what reads many at once is set up.
MANY = 1 << 14

#: Largest count a column can hold (signed 64 bit).
LARGEST = (1 << 63) - 1

#: Characters of an unusable value that a reject's detail quotes.
_QUOTED = 60


def missing(name: str) -> Unusable:
    """Return the complaint that a line lacks the field *name*."""
    return Unusable(RejectReason.FIELD_MISSING, f"no {name}")


def invalid(name: str, value: object) -> Unusable:
    """Return the complaint that the field *name* holds a value no such field can hold."""
    return Unusable(RejectReason.FIELD_INVALID, f"{name} is {repr(value)[:_QUOTED]}")


def flows_of_lines(
    stream: BinaryIO,
    context: Context,
    tally: Tally,
    parse: Callable[[bytes], Parsed],
    form_of: FormOf | None = None,
) -> Iterator[pa.RecordBatch]:
    """
    Yield one flow for every record that *parse* turns into a row; skips and rejects go to *tally*.

    A record is a line, or an element of a JSON document, out of whatever it was wrapped in.

    Args:
        stream: Uncompressed bytes, read piece by piece.
        context: What the bytes do not say: `segment`, `cluster`, and `reporter_name`. Where the user gave no reporter
            and the row has none, it is the pod that the wrapping or the path names.
        tally: Counts every line or element.
        parse: Record without its wrapping and line end -> recorded columns, or why it is no record. Raises Unusable.
        form_of: How what is plain is read many lines at once, by the beginning of the lines; gives the same as *parse*.

    Yields:
        Batches of FLOW_SCHEMA; `record` is the number of the line, the first one if it was cut into several, or of the
        element; for the further flows of a message of several that number + ENTRY, + 2 ENTRY and so on. A message is
        one record of the tally.
    """
    stream, document, head = opened(stream, context)
    many = COMPILED and not document and len(head) >= MANY
    form = form_of(head) if form_of is not None and many else None
    if form is not None:
        return _at_once(stream, context, tally, parse, form)
    return batches(_rows(records(stream, context, tally, parse, document=document), context, tally))


def _at_once(
    stream: BinaryIO,
    context: Context,
    tally: Tally,
    parse: Callable[[bytes], Parsed],
    form: Form,
) -> Iterator[pa.RecordBatch]:
    """Yield the flows of lines that are plain, and then those of the others around them."""
    pod = pod_of_path(context.path)
    unwrapper = Unwrapper(parse, pod)
    rows: list[dict[str, Any]] = []
    for found in read_plain(stream, context, form, pod, unwrapper.waits):
        if isinstance(found, pa.RecordBatch):
            tally.read += len(found)
            tally.in_flows += len(found)
            yield found
            yield from batches(rows)
            rows = []
        elif (line := record_of_line(found.number, found.text, tally)) is not None:
            record = unwrapper.read(found.number, line)
            rows += _rows(unwrapper.unfinished(STREAMS) if record is None else iter((record,)), context, tally)
            if len(rows) >= BATCH_ROWS:
                yield from batches(rows)
                rows = []
    rows += _rows(unwrapper.unfinished(), context, tally)
    yield from batches(rows)


def _rows(found: Iterator[Record], context: Context, tally: Tally) -> Iterator[dict[str, Any]]:
    for number, pieces, outcome, pod, raw in found:
        if pieces > 1:
            tally.skipped[SkipReason.PARTIAL_LINE] += pieces - 1
        if isinstance(outcome, Unusable):
            tally.reject(number, outcome.reason, outcome.detail, raw)
        elif isinstance(outcome, SkipReason):
            tally.skip(outcome)
        else:
            tally.in_flows += 1
            for entry, row in enumerate(outcome if isinstance(outcome, list) else [outcome]):
                row["segment"] = context.segment
                row["record"] = number + entry * ENTRY
                row["cluster"] = context.cluster
                if context.reporter_name is not None:
                    row["reporter_name"] = context.reporter_name
                elif pod is not None and row.get("reporter_name") is None:
                    row["reporter_name"] = pod
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
