"""
JSON lines -> batches of flows, many lines at once: the fast road of logs that are large.

A format says in a Plan which of its fields mean what. Columns that follow from a few texts are asked for once for each
combination of these texts, by the same functions that read a single line; numbers are read a column at a time. Every
line that `json_core` leaves, that is not plainly of the plan's shape, or that a function complains about is left to
whoever reads one line at a time: so what a line means does not depend on the road it took.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vzflow.flow.batch import batch_of_columns, numbered
from vzflow.flow.schema import FLOW_SCHEMA, TEXT
from vzflow.readers.base import HEAD, LINE_LIMIT, Context, Unusable
from vzflow.readers.json_core import JsonLines

Record = Mapping[str, Any]
Words = npt.NDArray[Any]

#: Bytes that are read at a time: many lines for each look at what they have in common.
BLOCK = 1 << 25
#: Lines at most that make a batch.
ROWS = 1 << 16
#: What is no column but is asked of a facet for the numbers: its name begins so.
MARK = "_"
#: Bits that the number of a text takes in the number of a combination of up to three.
_CODE_BITS = 21


class Facet(NamedTuple):
    """
    Columns that follow from a few texts.

    Args:
        fields: The texts, by their paths.
        columns: Record with these fields -> columns, and marks (small whole numbers) for the numbers. Raises Unusable.
    """

    fields: tuple[str, ...]
    columns: Callable[[Record], Mapping[str, Any]]


class Numbers(NamedTuple):
    """
    What the numbers of lines say.

    Args:
        columns: Arrays by column.
        good: Of each line, whether its numbers are such as the format has.
    """

    columns: dict[str, pa.Array]
    good: Words


#: (name -> numbers and which of them are there, name of a mark -> its value in each line) -> columns
OfNumbers = Callable[[Callable[[str], tuple[Words, Words]], Callable[[str], Words]], Numbers]


@dataclass(frozen=True)
class Plan:
    """
    How the plain records of a format are read.

    Args:
        needed: Fields that every record has.
        foreign: Fields that none has: with one of these a line is of another shape, or wrapped.
        constants: Columns that are the same in all rows.
        facets: Columns that follow from texts.
        numbers: Fields that hold numbers.
        of_numbers: Columns that follow from them.
        around: Name of the object in which a store's export has the record.
    """

    needed: tuple[str, ...]
    foreign: tuple[str, ...]
    constants: Mapping[str, str]
    facets: tuple[Facet, ...]
    numbers: tuple[str, ...]
    of_numbers: OfNumbers
    around: str


class Line(NamedTuple):
    """A line that is to be read by itself: its number, and its bytes without the end; of a very long one, the first."""

    number: int
    text: bytes


def read_plain(stream: BinaryIO, context: Context, plan: Plan, pod: str | None) -> Iterator[pa.RecordBatch | Line]:
    """
    Yield batches of what could be read at once, and every other line.

    Records of a store's export are, if the first ones are; then those that stand alone are not.

    Args:
        stream: Uncompressed lines.
        context: What the bytes do not say.
        plan: The format's.
        pod: Who wrote the lines, where neither they nor the context say so.
    """
    reading: _Reading | None = None
    for block, begin, end in _blocks(stream):
        if reading is None:
            wrapped = f'"{plan.around}"'.encode() in bytes(block[max(begin, 0) : min(end, HEAD)])
            reading = _Reading(context, plan, pod, f"{plan.around}." if wrapped else "")
        if begin < 0:
            reading.number += 1
            yield Line(reading.number, bytes(block[:end]))
        while 0 <= begin < end:
            begin = reading.core.feed(block, begin, end)
            yield from reading.taken(block)


def _blocks(stream: BinaryIO) -> Iterator[tuple[memoryview, int, int]]:
    """Yield whole lines as (buffer, begin, end); as (buffer, -1, size) a line that is longer than any may be."""
    block = memoryview(bytearray(BLOCK + 9))  # a line end may be missing, and eight bytes may be looked at
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


@dataclass
class _Known:
    """The combinations of a facet's texts that were asked for, and what each of them says."""

    answers: list[Mapping[str, Any] | None] = field(default_factory=list)
    #: The combinations of the answers, and the same sorted, with their places among the answers.
    asked: Words = field(default_factory=lambda: np.zeros(0, np.int64))
    keys: Words = field(default_factory=lambda: np.zeros(0, np.int64))
    places: Words = field(default_factory=lambda: np.zeros(0, np.int64))
    columns: dict[str, pa.DictionaryArray] = field(default_factory=dict)
    marks: dict[str, Words] = field(default_factory=dict)
    good: Words = field(default_factory=lambda: np.zeros(0, bool))

    def tell(self, asked: Words) -> None:
        """Make columns of the answers, a row each."""
        self.asked, self.places = asked, np.argsort(asked)
        self.keys = asked[self.places]
        found = [answer or {} for answer in self.answers]
        self.good = np.array([answer is not None for answer in self.answers], bool)
        names = sorted(set().union(*(answer.keys() for answer in found)))
        places = np.arange(len(found))
        self.columns = {n: numbered([a.get(n) for a in found], places) for n in names if not n.startswith(MARK)}
        self.marks = {n: np.array([a.get(n, 0) for a in found], np.int64) for n in names if n.startswith(MARK)}


class _Reading:
    """Reads blocks of lines. The paths of fields begin with *inside*: nothing, or the name of an object and a dot."""

    def __init__(self, context: Context, plan: Plan, pod: str | None, inside: str) -> None:
        self.number = 0
        self._context, self._plan, self._pod, self._inside = context, plan, pod, inside
        texts = {*plan.needed, *plan.foreign, *(name for facet in plan.facets for name in facet.fields)}
        #: What no line has: in the record, and around it what may say something of it.
        self._foreign = {inside + name for name in plan.foreign} | {n for n in plan.foreign if n != plan.around}
        numbers = {inside + name for name in plan.numbers}
        paths = [*sorted({inside + name for name in texts} | self._foreign), *sorted(numbers)]
        self._fields = {path: place for place, path in enumerate(paths)}
        self.core = JsonLines(os.urandom(8), [(path, path in numbers) for path in paths], ROWS)
        self._known: list[_Known] = []
        self._values: dict[str, list[Any]] = {}
        self._forget()

    def _forget(self) -> None:
        self._known = [_Known() for _ in self._plan.facets]
        self._values = {path: [None] for path in self._fields}

    def taken(self, block: memoryview) -> Iterator[pa.RecordBatch | Line]:
        """Yield what the core has just read, and the lines it has left."""
        plain, begins, ends = self.core.lines
        first = self.number + 1
        self.number += len(plain)
        rows = np.flatnonzero(self._of_plan(plain & (ends - begins <= LINE_LIMIT)))
        batch, good = self._batch(rows, first)
        if batch is not None:
            yield batch
        left = np.ones(len(plain), bool)
        left[rows[good]] = False
        for place in np.flatnonzero(left).tolist():
            yield Line(first + place, bytes(block[begins[place] : ends[place]]))
        if self.core.forgets:
            self._forget()

    def _text(self, name: str) -> tuple[Words, list[bytes]]:
        return self.core.text(self._fields[self._inside + name])

    def _of_plan(self, plain: Words) -> Words:
        for name in self._plan.needed:
            plain = plain & (self._text(name)[0] > 0)
        for path in self._foreign:
            plain = plain & (self.core.text(self._fields[path])[0] == 0)
        return plain

    def _batch(self, rows: Words, first: int) -> tuple[pa.RecordBatch | None, Words]:
        """Return the flows of *rows*, and which of these are good: the others are in no batch."""
        good = np.ones(len(rows), bool)
        if not len(rows):
            return None, good
        asked = []
        for facet, known in zip(self._plan.facets, self._known, strict=True):
            places = self._ask(facet, known, rows)
            good &= known.good[places]
            asked.append((known, places))
        if not good.any():
            return None, good
        marks = {name: mark[places] for known, places in asked for name, mark in known.marks.items()}

        def number(name: str) -> tuple[Words, Words]:
            values, there = self.core.number(self._fields[self._inside + name])
            return values[rows], there[rows]

        of_numbers = self._plan.of_numbers(number, marks.__getitem__)
        good &= of_numbers.good
        kept = np.flatnonzero(good)
        if not len(kept):
            return None, good
        columns: dict[str, pa.Array] = {}
        for known, places in asked:
            at = pa.array(places[kept])
            columns |= {name: column.take(at) for name, column in known.columns.items()}
        whole = len(kept) == len(rows)
        columns |= {n: column if whole else column.take(pa.array(kept)) for n, column in of_numbers.columns.items()}
        columns |= self._constants(len(kept))
        columns["record"] = pa.array(rows[kept] + first, FLOW_SCHEMA.field("record").type)
        self._name_reporter(columns)
        return batch_of_columns(columns, len(kept)), good

    def _ask(self, facet: Facet, known: _Known, rows: Words) -> Words:
        """Return of each row the place of its combination among those that are known."""
        keys = np.zeros(len(rows), np.int64)
        for name in facet.fields:
            keys = keys << _CODE_BITS | self._text(name)[0][rows]
        found = pa.array(keys).dictionary_encode()
        distinct = found.dictionary.to_numpy()
        new = distinct[~np.isin(distinct, known.keys)]
        if len(new):
            known.answers += [self._answer(facet, key) for key in new.tolist()]
            known.tell(np.concatenate([known.asked, new]))
        of_rows: Words = known.places[np.searchsorted(known.keys, distinct)][found.indices.to_numpy()]
        return of_rows

    def _answer(self, facet: Facet, key: int) -> Mapping[str, Any] | None:
        record = {}
        for name in reversed(facet.fields):
            if code := key & (1 << _CODE_BITS) - 1:
                record[name] = self._value(name, code)
            key >>= _CODE_BITS
        try:
            return facet.columns(record)
        except Unusable:
            return None

    def _value(self, name: str, code: int) -> Any:  # noqa: ANN401 - whatever stands in the JSON
        values, texts = self._values[self._inside + name], self._text(name)[1]
        while len(values) <= code:
            values.append(json.loads(texts[len(values) - 1]))
        return values[code]

    def _constants(self, count: int) -> dict[str, pa.Array]:
        texts = {"segment": self._context.segment, "cluster": self._context.cluster, **self._plan.constants}
        return {name: numbered([text], np.zeros(count, np.int64)) for name, text in texts.items()}

    def _name_reporter(self, columns: dict[str, pa.Array]) -> None:
        """Who wrote the line: whom the user named, else whom it names, else whom its path names."""
        count = len(columns["record"])
        given = self._context.reporter_name
        if given is not None:
            columns["reporter_name"] = numbered([given], np.zeros(count, np.int64))
        elif self._pod is not None:
            said = columns.get("reporter_name", pa.nulls(count, TEXT)).cast(TEXT)
            columns["reporter_name"] = said.fill_null(self._pod)
