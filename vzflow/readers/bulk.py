"""
Lines -> batches of flows, many lines at once: the fast road of logs that are large.

A format says in a Form how `line_core` takes its plain lines apart, and which columns follow. What follows from texts
is asked for once for each combination of them, by the same functions that read a single line; numbers are read a column
at a time. Every line that `line_core` leaves, that is not plainly of the form's shape, or that a function complains
about is left to whoever reads one line at a time: so what a line means does not depend on the road it took.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vzflow.flow.batch import batch_of_columns, numbered, used
from vzflow.flow.schema import FLOW_SCHEMA, NUMBERED, TEXT
from vzflow.readers.base import LINE_LIMIT, Context
from vzflow.readers.line_core import Lines
from vzflow.readers.wrappings import Level, surely

Words = npt.NDArray[Any]
Columns = dict[str, pa.Array]

#: Bytes that are read at a time: many lines for each look at what they have in common.
BLOCK = 1 << 25
#: Lines at most that make a batch.
ROWS = 1 << 16
#: Bytes that a form remembers of what it asked for, and what each answer takes besides its texts: of few texts there
#: may be any number of combinations.
MAX_HELD, ANSWER = 1 << 25, 1 << 10
#: What is no column but a whole number that says something of a row: its name begins so.
MARK = "_"


class Form(Protocol):
    """How the plain lines of a format are read."""

    @property
    def core(self) -> Lines:
        """What takes the lines apart."""

    def fits(self) -> Words:
        """Return which of the lines that the core has just read are plainly of this form."""

    def columns(self, rows: Words) -> tuple[Columns, Words]:
        """Return what the lines *rows* say, and which of them are good: columns are of the good ones only."""

    def forget(self) -> None:
        """The core numbers its texts anew."""


class Line(NamedTuple):
    """A line that is to be read by itself: its number, and its bytes without the end; of a very long one, the first."""

    number: int
    text: bytes


def read_plain(
    stream: BinaryIO, context: Context, form: Form, pod: str | None, waits: Callable[[], bool]
) -> Iterator[pa.RecordBatch | Line]:
    """
    Yield batches of what could be read at once, and every other line.

    Args:
        stream: Uncompressed lines.
        context: What the bytes do not say.
        form: The format's.
        pod: Who wrote the lines, where neither they nor the context say so.
        waits: Whether, of the lines that were yielded, the last is a piece of one that goes on in the next.
    """
    reading = _Reading(context, form, pod)
    for block, begin, end in _blocks(stream):
        if begin < 0:
            reading.number += 1
            yield Line(reading.number, bytes(block[:end]))
        while 0 <= begin < end:
            begin = form.core.feed(block, begin, end)
            yield from reading.taken(block, waits=waits())


def _blocks(stream: BinaryIO) -> Iterator[tuple[memoryview, int, int]]:
    """Yield whole lines as (buffer, begin, end); as (buffer, -1, size) a line that is longer than any may be."""
    # A line end may be missing, and eight bytes may be looked at. Of anonymous memory only what is used is there.
    block = memoryview(mmap.mmap(-1, BLOCK + 9))
    held, skipping, read = 0, False, 1
    while read:
        read = stream.readinto(block[held:BLOCK])  # type: ignore[attr-defined]
        end = held + read
        if not read and held:
            block[held] = 10
            end += 1
        last = block.obj.rfind(b"\n", 0, end) + 1  # type: ignore[attr-defined]
        begin = 0
        if skipping and last:
            begin, skipping = block.obj.find(b"\n") + 1, False  # type: ignore[attr-defined]
        if begin < last:
            yield block, begin, last
        if not last and end == BLOCK:
            if not skipping:
                yield block, -1, LINE_LIMIT + 2
            skipping = True
        if skipping:
            last = end
        held = end - last
        block[:held] = bytes(block[last:end])


class Numbering:
    """Numbers whole numbers that may be any, from 0, in the order in which they first come."""

    def __init__(self) -> None:
        self._keys: Words = np.zeros(0, np.int64)
        self._numbers: Words = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self._keys)

    def of(self, keys: Words) -> tuple[Words, Words]:
        """Return the number of each key, and the places where a new one comes first."""
        found = pa.array(keys).dictionary_encode()
        distinct, indices = found.dictionary.to_numpy(), found.indices.to_numpy()
        at = np.searchsorted(self._keys, distinct)
        known = at < len(self._keys)
        known[known] = self._keys[at[known]] == distinct[known]
        firsts: Words = np.zeros(0, np.int64)
        if not known.all():
            places = np.empty(len(distinct), np.int64)
            places[indices[::-1]] = np.arange(len(keys))[::-1]
            firsts = places[~known]
            self._add(distinct[~known])
            at = np.searchsorted(self._keys, distinct)
        return self._numbers[at][indices], firsts

    def _add(self, keys: Words) -> None:
        keys = np.concatenate([self._keys, keys])
        numbers = np.concatenate([self._numbers, np.arange(len(self._keys), len(keys))])
        order = np.argsort(keys)
        self._keys, self._numbers = keys[order], numbers[order]


class Answers:
    """What combinations of texts say, by their numbers: columns and marks of each; nothing of what is no flow."""

    def __init__(self) -> None:
        self._answers: list[Mapping[str, Any] | None] = []
        self._columns: Columns = {}
        self._marks: dict[str, Words] = {}
        self._good: Words = np.zeros(0, bool)

    def add(self, answers: Iterable[Mapping[str, Any] | None]) -> None:
        self._answers += answers
        found = [answer or {} for answer in self._answers]
        self._good = np.array([answer is not None for answer in self._answers], bool)
        names = sorted(set().union(*(answer.keys() for answer in found)))
        self._columns = {n: _column(n, [a.get(n) for a in found]) for n in names if not n.startswith(MARK)}
        self._marks = {n: np.array([a.get(n, 0) for a in found], np.int64) for n in names if n.startswith(MARK)}

    def good(self, numbers: Words) -> Words:
        """Return which of the combinations that are asked for say something."""
        good: Words = self._good[numbers]
        return good

    def marks(self, numbers: Words) -> dict[str, Words]:
        return {name: mark[numbers] for name, mark in self._marks.items()}

    def columns(self, numbers: Words) -> Columns:
        places = pa.array(numbers)
        return {name: column.take(places) for name, column in self._columns.items()}


def _column(name: str, values: list[Any]) -> pa.Array:
    kind = FLOW_SCHEMA.field(name).type
    return numbered(values, np.arange(len(values))) if kind == TEXT else pa.array(values, kind)


def same(text: str, count: int) -> pa.Array:
    """Return a column that says the same in all rows."""
    return numbered([text], np.zeros(count, np.int64))


def _is_piece(line: bytes) -> bool:
    """Whether a line may go on in another: what no runtime wrote may hold a piece that one did."""
    peeled = surely(line, Level.FILE)
    return peeled is None or peeled.stream is None or not peeled.whole


def _without_last_pieces(rows: Words, pieces: Sequence[int]) -> Words:
    """Leave out the first row after each of the pieces: it may be the rest of that line, and look like a whole one."""
    last = np.searchsorted(rows, np.array(pieces, np.int64), "right")
    return np.delete(rows, np.unique(last[last < len(rows)]))


class _Reading:
    def __init__(self, context: Context, form: Form, pod: str | None) -> None:
        self.number = 0
        self._context, self._form, self._pod = context, form, pod

    def taken(self, block: memoryview, *, waits: bool) -> Iterator[pa.RecordBatch | Line]:
        """Yield what the core has just read, and the lines it has left; *waits* as of `read_plain`, before these."""
        core = self._form.core
        plain, begins, ends = core.lines
        first = self.number + 1
        self.number += len(plain)
        rows = np.flatnonzero(plain & (ends - begins <= LINE_LIMIT) & self._form.fits())
        ends = np.minimum(ends, begins + LINE_LIMIT + 2)

        def text(place: int) -> bytes:
            return bytes(block[begins[place] : ends[place]])

        if core.wrapped:
            pieces = [place for place in np.flatnonzero(~plain).tolist() if _is_piece(text(place))]
            rows = _without_last_pieces(rows, [-1] * waits + pieces)
        left = np.ones(len(plain), bool)
        if len(rows):
            columns, good = self._form.columns(rows)
            rows = rows[good]
            left[rows] = False
        if len(rows):
            yield self._batch(columns, rows + first)
        for place in np.flatnonzero(left).tolist():
            yield Line(first + place, text(place))
        if core.forgets:
            self._form.forget()

    def _batch(self, columns: Columns, records: Words) -> pa.RecordBatch:
        # Whoever holds a batch would hold all texts that are known.
        columns = {n: used(column) if column.type == NUMBERED else column for n, column in columns.items()}
        columns["record"] = pa.array(records, FLOW_SCHEMA.field("record").type)
        for name in ("segment", "cluster"):
            columns[name] = same(getattr(self._context, name), len(records))
        self._name_reporter(columns)
        return batch_of_columns(columns, len(records))

    def _name_reporter(self, columns: Columns) -> None:
        """Who wrote the line: whom the user named, else whom it names, else whom its path names."""
        count = len(columns["record"])
        given = self._context.reporter_name
        if given is not None:
            columns["reporter_name"] = same(given, count)
        elif self._pod is not None:
            said = columns.get("reporter_name", pa.nulls(count, TEXT)).cast(TEXT)
            columns["reporter_name"] = said.fill_null(self._pod)
