"""Records cut out of a log read back as the same flow, whatever they were wrapped in."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from pipeline.pipeline_support import ZEEK_HEADER, calico_line, envoy_line, zeek_rows
from readers import wrapped
from readers.log_support import CONTEXT

from vzflow.flow.data import shipped
from vzflow.flow.errors import UnreadableInput
from vzflow.readers.base import HEAD, LINE_LIMIT
from vzflow.readers.line_cutting import cut, rows_of, text_of
from vzflow.readers.sniff import is_stream, sniff

SHARED = Path(__file__).resolve().parents[3] / "shared" / "samples" / "logs"


def context_of(form, data, **more):
    return replace(CONTEXT, document=not is_stream(form, data[:HEAD]), **more)


def bare(row):
    return {key: value for key, value in row.items() if key != "record"}


def cut_out(data, *records, **more):
    form = sniff(data[:HEAD], "log")
    found = cut(io.BytesIO(data), form, context_of(form, data, **more), records)
    assert all(data[one.offset : one.offset + len(one.raw)] == one.raw for one in found)
    return text_of(found)


def read(data):
    form = sniff(data[:HEAD], "log")
    return form, rows_of(data, form, context_of(form, data))


def reads_back(data):
    """Every row of a log, cut out alone and all together, is the same row."""
    form, rows = read(data)
    assert rows
    for row in rows:
        kind, alone = read(cut_out(data, row["record"]))
        assert kind is form
        assert bare(row) in map(bare, alone)
    _, together = read(cut_out(data, *(row["record"] for row in rows)))
    assert [bare(row) for row in rows] == [bare(row) for row in together]


@pytest.mark.parametrize("wrapping", sorted(wrapped.ALL))
@pytest.mark.parametrize("line", [envoy_line, calico_line])
def test_record_reads_back_out_of_everything_it_is_found_in(wrapping, line):
    """Lines, pieces of lines, elements of documents: the smallest text that is read as the same flow."""
    wrap = wrapped.ALL[wrapping]
    reads_back(wrap([line(number).rstrip(b"\n") for number in (7, 8, 9)]))


@pytest.mark.parametrize("wrapping", sorted(wrapped.OBJECTS))
def test_record_that_stands_as_an_object_reads_back(wrapping):
    """Shippers and stores hold JSON lines as objects, not as text."""
    reads_back(wrapped.OBJECTS[wrapping]([calico_line(number).rstrip(b"\n") for number in (7, 8, 9)]))


def test_pieces_of_a_line_are_cut_out_together():
    """A container runtime cuts long lines; the lines of the other stream between the pieces stay behind."""
    data = wrapped.cut_cri([envoy_line(n).rstrip(b"\n") for n in (7, 8)])
    found = cut_out(data, 6)
    assert found.count(b"\n") == 3
    assert b"stderr" not in found


def test_header_of_a_zeek_log_goes_along():
    """Without it nobody knows what the columns are; it stands there once."""
    data = ZEEK_HEADER + zeek_rows(0, 5)
    reads_back(data)
    assert cut_out(data, 9, 11).count(b"#fields") == 1


def test_part_of_a_zeek_log_takes_the_header_from_before():
    """A later range has no header of its own."""
    form = sniff(ZEEK_HEADER, "log")
    context = replace(context_of(form, ZEEK_HEADER), before=ZEEK_HEADER)
    (found,) = cut(io.BytesIO(zeek_rows(0, 3)), form, context, [2])
    assert (found.number, found.offset) == (2, len(zeek_rows(0, 1)))
    _, (row,) = read(text_of([found]))
    _, rows = read(ZEEK_HEADER + zeek_rows(0, 3))
    assert bare(row) == bare(rows[1])


def test_last_line_without_an_end_gets_one():
    """What is cut out ends in whole lines."""
    assert cut_out(envoy_line(1) + envoy_line(2).rstrip(b"\n"), 2) == envoy_line(2)


def test_line_that_is_too_long_counts_as_one():
    """It is no record, and the byte of the next line is still true."""
    long = b"x" * (2 * LINE_LIMIT + 7) + b"\n"
    data = envoy_line(1) + long + envoy_line(2)
    assert cut_out(data, 3) == envoy_line(2)
    assert cut_out(envoy_line(1) + long.rstrip(b"\n"), 1) == envoy_line(1)


def test_byte_of_an_element_counts_a_mark_at_the_beginning():
    """A byte order mark is part of the file."""
    records = [json.loads(calico_line(number)) for number in (1, 2)]
    data = b"\xef\xbb\xbf" + json.dumps(records, indent=1).encode()
    reads_back(data)


def test_element_over_several_lines_reads_back():
    """Alone it would be lines that are no records."""
    reads_back(b"\n".join(json.dumps(json.loads(calico_line(n)), indent=2).encode() for n in (1, 2)))


def test_record_that_is_not_there_is_not_made_up():
    """Nothing is cut out, and nothing can be read of it."""
    assert cut_out(envoy_line(1), 9) == b""
    assert cut_out(b"[" + calico_line(1) + b"]", 9) == b""
    with pytest.raises(UnreadableInput):
        read(b"")


@pytest.mark.parametrize("name", ["envoy-text.log", "envoy-json.log", "calico.jsonl"])
def test_every_row_of_the_sample_logs_reads_back(name):
    """The property, on real lines."""
    reads_back((shipped("sample_captures") / name).read_bytes())


@pytest.mark.skipif(not SHARED.exists(), reason="logs of other projects are not part of this one")
@pytest.mark.parametrize("path", sorted(SHARED.glob("*.*l*")) or [None], ids=lambda p: p and p.name)
def test_every_row_of_other_logs_reads_back(path):
    """Formats and wrappings as others wrote them."""
    reads_back(path.read_bytes())
