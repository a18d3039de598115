"""Rows -> checked RecordBatch: the only place where batches of flows are made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vzflow.flow.schema import FLOW_SCHEMA, NUMBERED, RECORDED, TEXT

#: Rows per batch: large enough to amortise Arrow's overhead, small enough to stay in cache.
BATCH_ROWS = 65_536

Row = Mapping[str, Any]


class BadBatch(ValueError):
    """A reader produced rows that break the schema: a fault in vzflow, never in the input."""


def batches(rows: Iterable[Row], size: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
    """
    Collect *rows* (dicts of recorded columns; a missing key is null) into checked batches of at most *size* rows.

    Yields:
        Batches in FLOW_SCHEMA, in the order of the rows. Never an empty batch.

    Raises:
        BadBatch: A row has an unknown column, a null where the schema has none, or a value outside its closed list.
    """
    held: list[Row] = []
    for row in rows:
        held.append(row)
        if len(held) == size:
            yield _batch(held)
            held = []
    if held:
        yield _batch(held)


def _batch(rows: list[Row]) -> pa.RecordBatch:
    unknown = set().union(*(row.keys() for row in rows)) - set(FLOW_SCHEMA.names)
    if unknown:
        raise BadBatch(f"no such column: {', '.join(sorted(unknown))}")
    try:
        made = pa.RecordBatch.from_pylist(rows, schema=FLOW_SCHEMA)
    except pa.ArrowInvalid as error:
        raise BadBatch(str(error)) from error
    return checked(made)


def batch_of_columns(columns: Mapping[str, pa.Array], count: int) -> pa.RecordBatch:
    """
    Return *count* rows as a checked batch: columns in the types of FLOW_SCHEMA, text also NUMBERED; others are null.

    Raises:
        BadBatch: As `checked`.
    """
    unknown = columns.keys() - set(FLOW_SCHEMA.names)
    if unknown:
        raise BadBatch(f"no such column: {', '.join(sorted(unknown))}")
    arrays = [columns[f.name] if f.name in columns else pa.nulls(count, f.type) for f in FLOW_SCHEMA]
    fields = [field.with_type(array.type) for field, array in zip(FLOW_SCHEMA, arrays, strict=True)]
    return checked(pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields)))


def numbered(texts: Sequence[str | None], codes: npt.NDArray[Any]) -> pa.DictionaryArray:
    """
    Return a NUMBERED column: of each row the text that its code is the place of in *texts*.

    Args:
        texts: May repeat; those that are null are no text.
        codes: A whole number for each row.
    """
    numbers: dict[str, int] = {}
    number = np.array([-1 if text is None else numbers.setdefault(text, len(numbers)) for text in texts], np.int32)
    of_rows = number[codes]
    none = of_rows < 0
    indices = pa.array(of_rows, mask=none if none.any() else None)
    return pa.DictionaryArray.from_arrays(indices, pa.array(list(numbers), TEXT))


def used(column: pa.DictionaryArray) -> pa.DictionaryArray:
    """Return a NUMBERED column with the texts of its own rows only: a slice of a column has those of all its rows."""
    found = column.indices.dictionary_encode()
    return pa.DictionaryArray.from_arrays(found.indices, column.dictionary.take(found.dictionary))


def checked(batch: pa.RecordBatch) -> pa.RecordBatch:
    """
    Return *batch* if it is in FLOW_SCHEMA, has no null where none may be and no value outside a closed list.

    A column of text may be NUMBERED.

    Arrow accepts nulls in a non-nullable field and the Parquet writer refuses them later, so they are looked for here.

    Raises:
        BadBatch: It breaks one of these; the message names the column.
    """
    if batch.schema.names != FLOW_SCHEMA.names:
        raise BadBatch("columns are not those of FLOW_SCHEMA, in its order")
    for column in RECORDED:
        array = batch.column(column.name)
        if array.type != column.type and not (column.type == TEXT and array.type == NUMBERED):
            raise BadBatch(f"{column.name} is {array.type}, not {column.type}")
        if array.null_count and not column.nullable:
            raise BadBatch(f"{column.name} is null in {array.null_count} rows")
        if column.values is not None:
            allowed = pa.array([v.value for v in column.values], column.type)
            found = array.dictionary if array.type == NUMBERED else pc.unique(array)
            odd = found.filter(pc.invert(pc.is_in(found, pa.concat_arrays([allowed, pa.nulls(1, column.type)]))))
            if len(odd):
                raise BadBatch(f"{column.name} holds {odd[0].as_py()!r}, which is not one of its values")
    return batch
