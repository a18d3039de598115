"""Plain JSON records, many at once: a format says in a Plan which of its fields mean what."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from vzflow.readers import bulk
from vzflow.readers.base import Unusable
from vzflow.readers.bulk import ANSWER, MAX_HELD, Answers, Columns, Numbering, Words, same
from vzflow.readers.line_core import NUMBER, TEXT, WHOLE, JsonLines

Record = Mapping[str, Any]

#: Bits that the number of a text takes in the number of a combination of up to three.
_CODE_BITS = 21


class Facet(NamedTuple):
    """
    Columns that follow from a few texts.

    Args:
        fields: The texts, by their paths; up to three.
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

    columns: Columns
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


class Facets:
    """
    The Form of a Plan, for lines that begin with *head*.

    If the first ones are of a store's export, it is of records in such an export, and not of those that stand alone.
    """

    def __init__(self, plan: Plan, head: bytes) -> None:
        self._plan = plan
        inside = f"{plan.around}." if f'"{plan.around}"'.encode() in head else ""
        #: What no line has: in the record, and around it what may say something of it.
        self._foreign = {inside + name for name in plan.foreign}
        self._foreign |= {name for name in plan.foreign if name != plan.around}
        texts = {inside + name for name in (*plan.needed, *(name for facet in plan.facets for name in facet.fields))}
        numbers = {inside + name for name in plan.numbers}
        paths = [*sorted(texts | self._foreign), *sorted(numbers)]
        self._inside, self._places = inside, {path: place for place, path in enumerate(paths)}
        self.core = JsonLines(os.urandom(8), [(path, NUMBER if path in numbers else TEXT) for path in paths], bulk.ROWS)
        self.forget()

    def forget(self) -> None:
        self._known = [(Numbering(), Answers()) for _ in self._plan.facets]
        self._held = 0

    def fits(self) -> Words:
        fits: Words = np.ones(len(self.core.lines[0]), bool)
        for name in self._plan.needed:
            fits &= self._text(name)[0] > 0
        for path in self._foreign:
            fits &= self.core.text(self._places[path])[0] == 0
        return fits

    def columns(self, rows: Words) -> tuple[Columns, Words]:
        if self._held > MAX_HELD:
            self.forget()
        good: Words = np.ones(len(rows), bool)
        asked = []
        for facet, (numbering, answers) in zip(self._plan.facets, self._known, strict=True):
            keys = self._keys(facet, rows)
            numbers, new = numbering.of(keys)
            if len(new):
                answers.add([self._answer(facet, key) for key in keys[new].tolist()])
            good &= answers.good(numbers)
            asked.append((answers, numbers))
        marks = {name: mark for answers, numbers in asked for name, mark in answers.marks(numbers).items()}

        def number(name: str) -> tuple[Words, Words]:
            values, states = self.core.number(self._places[self._inside + name])
            return values[rows], states[rows] == WHOLE

        if not good.any():
            return {}, good
        of_numbers = self._plan.of_numbers(number, marks.__getitem__)
        good &= of_numbers.good
        kept = np.flatnonzero(good)
        columns: Columns = {}
        for answers, numbers in asked:
            columns |= answers.columns(numbers[kept])
        whole = len(kept) == len(rows)
        columns |= {n: column if whole else column.take(pa.array(kept)) for n, column in of_numbers.columns.items()}
        columns |= {name: same(text, len(kept)) for name, text in self._plan.constants.items()}
        return columns, good

    def _text(self, name: str) -> tuple[Words, list[bytes]]:
        return self.core.text(self._places[self._inside + name])

    def _keys(self, facet: Facet, rows: Words) -> Words:
        keys: Words = np.zeros(len(rows), np.int64)
        for name in facet.fields:
            keys = keys << _CODE_BITS | self._text(name)[0][rows]
        return keys

    def _answer(self, facet: Facet, key: int) -> Mapping[str, Any] | None:
        record = {}
        self._held += ANSWER
        for name in reversed(facet.fields):
            if code := key & (1 << _CODE_BITS) - 1:
                record[name] = self._value(name, code)
            key >>= _CODE_BITS
        try:
            return facet.columns(record)
        except Unusable:
            return None

    def _value(self, name: str, code: int) -> Any:  # noqa: ANN401 - whatever stands in the JSON
        text = self._text(name)[1][code - 1]
        self._held += len(text)
        return json.loads(text)
