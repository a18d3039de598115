"""Rows -> Arrow tables, some at a time, so that they are never all Python objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import pyarrow as pa

#: Rows of a batch, at most.
_ROWS = 1 << 17


def table(schema: pa.Schema, rows: Iterable[tuple[Any, ...]]) -> pa.Table:
    """Return *rows*, in the order in which they come, as a table."""
    return pa.Table.from_batches(_batches(schema, iter(rows)), schema=schema)


def repeated(schema: pa.Schema, groups: Iterable[tuple[str, Sequence[str]]]) -> pa.Table:
    """Return a row for each member of each group, with the group's name before it."""
    batches, names, members = [], list[str](), list[str]()
    for name, own in chain(groups, [("", ())]):
        names += [name] * len(own)
        members += own
        if len(names) >= _ROWS or (names and not own):
            arrays = [pa.array(names, schema.field(0).type), pa.array(members, schema.field(1).type)]
            batches.append(pa.RecordBatch.from_arrays(arrays, schema=schema))
            names, members = [], []
    return pa.Table.from_batches(batches, schema=schema)


def _batches(schema: pa.Schema, rows: Iterator[tuple[Any, ...]]) -> Iterator[pa.RecordBatch]:
    while some := list(islice(rows, _ROWS)):
        columns = zip(*some, strict=True)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)
