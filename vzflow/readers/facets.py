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
from vzflow.readers.bulk import Answers, Columns, Numbering, Words, same
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
    """

    needed: tuple[str, ...]
    foreign: tuple[str, ...]
    constants: Mapping[str, str]
    facets: tuple[Facet, ...]
    numbers: tuple[str, ...]
    of_numbers: OfNumbers


class Facets:
    """The Form of a Plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        texts = {*plan.needed, *plan.foreign, *(name for facet in plan.facets for name in facet.fields)}
        self._fields = {name: place for place, name in enumerate([*sorted(texts), *plan.numbers])}
        kinds = [(name, NUMBER if name in plan.numbers else TEXT) for name in self._fields]
        self.core = JsonLines(os.urandom(8), kinds, bulk.ROWS)
        self.forget()

    def forget(self) -> None:
        self._known = [(Numbering(), Answers()) for _ in self._plan.facets]
        self._values: dict[str, list[Any]] = {name: [None] for name in self._fields}

    def fits(self) -> Words:
        fits: Words = np.ones(len(self.core.lines[0]), bool)
        for name in self._plan.needed:
            fits &= self.core.text(self._fields[name])[0] > 0
        for name in self._plan.foreign:
            fits &= self.core.text(self._fields[name])[0] == 0
        return fits

    def columns(self, rows: Words) -> tuple[Columns, Words]:
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
            values, states = self.core.number(self._fields[name])
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

    def _keys(self, facet: Facet, rows: Words) -> Words:
        keys: Words = np.zeros(len(rows), np.int64)
        for name in facet.fields:
            keys = keys << _CODE_BITS | self.core.text(self._fields[name])[0][rows]
        return keys

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
        values = self._values[name]
        texts = self.core.text(self._fields[name])[1]
        while len(values) <= code:
            values.append(json.loads(texts[len(values) - 1]))
        return values[code]
