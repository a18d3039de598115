"""Rows -> Arrow tables, some at a time, so that they are never all Python objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import pyarrow as pa

#: Rows of a batch, at most.
_ROWS = 1 << 17


def table(schema: pa.Schema, rows: Iterable[tuple[Any, ...]]) -> pa.Table:
    """Return *rows*, in the order in which they come, as a table."""
    return pa.Table.from_batches(_batches(schema, iter(rows)), schema=schema)


def _batches(schema: pa.Schema, rows: Iterator[tuple[Any, ...]]) -> Iterator[pa.RecordBatch]:
    while some := list(islice(rows, _ROWS)):
        columns = zip(*some, strict=True)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)
