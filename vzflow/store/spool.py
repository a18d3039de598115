"""Flows on their way to disk: put aside, sorted by time, written as Parquet files of one partition each."""

from __future__ import annotations

import mmap
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vzflow.flow.batch import used
from vzflow.flow.schema import COUNT, FLOW_SCHEMA, NUMBERED, TEXT, TIME
from vzflow.store.tables import CALENDAR, HOUR, Partition, partition_of

#: Rows that are sorted together and make a row group: two copies of them are in memory, about 200 bytes a row each.
STRETCH = 1 << 17
#: Rows per row group, at most.
ROW_GROUP = 1 << 20
#: Sorted times lie close together: their differences take a third of what a dictionary of them takes.
_BY_DIFFERENCE = ("first_seen", "last_seen", "record")


def _numbered(field: pa.Field) -> pa.Field:
    """Return *field* with numbered text, which is cheap to sort, and what Parquet makes of it anyway."""
    return field.with_type(NUMBERED) if field.type == TEXT else field


#: Columns of a spooled row. The segment, the same for all rows, is put in when they are written.
_SPOOLED = [field for field in FLOW_SCHEMA if field.name != "segment"]
_WRITTEN = pa.schema([_numbered(field) for field in FLOW_SCHEMA])


class Spool:
    """
    Keeps flows in FLOW_SCHEMA as they come and gives them back sorted.

    One stretch is in memory. Others wait in a file without a name in *folder*, so that even a killed process leaves
    nothing behind.

    Raises:
        OSError: The folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.rows = 0
        self._first: list[Any] = []
        self._last: list[Any] = []
        self._folder = folder
        self._held: list[pa.RecordBatch] = []
        self._held_rows = 0
        self._file: IO[bytes] | None = None
        self._ends = [0]

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            with suppress(OSError):  # what a full disk did not take is not wanted any more
                self._file.close()

    def add(self, batch: pa.RecordBatch) -> None:
        self._first.append(pc.min(_in_calendar(batch.column("first_seen"))).as_py())
        self._last.append(pc.max(_in_calendar(batch.column("last_seen"))).as_py())
        for begin in range(0, len(batch), STRETCH):
            if self._held_rows >= STRETCH:
                self._put_aside()
            self._held.append(_small(batch.slice(begin, STRETCH)))
            self._held_rows += len(self._held[-1])
        self.rows += len(batch)

    def times(self) -> tuple[datetime | None, datetime | None]:
        """Return the earliest first_seen and the latest last_seen that a calendar has; None without any."""
        return pc.min(pa.array(self._first, TIME)).as_py(), pc.max(pa.array(self._last, TIME)).as_py()

    def sorted(self, segment: str) -> Iterator[tuple[Partition, pa.RecordBatch]]:
        """
        Yield the flows of *segment* with the partition they belong to, by first_seen (none last) and record.

        The order is total within a stretch of about STRETCH rows; readers give longer inputs in nearly this order.
        """
        if self._file is not None:
            self._file.flush()
            with mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) as memory, memoryview(memory) as view:
                for begin, end in pairwise(self._ends):
                    # Copied, because every page of a mapping that was read counts as this process's memory.
                    yield from _by_partition(pa.ipc.open_stream(bytes(view[begin:end])).read_all(), segment)
                    memory.madvise(mmap.MADV_DONTNEED)
        if self._held:
            yield from _by_partition(_in_order(self._held), segment)

    def _put_aside(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115  (closed by __exit__)
        table = _in_order(self._held)
        self._held, self._held_rows = [], 0
        with pa.ipc.new_stream(self._file, table.schema) as writer:
            writer.write_table(table)
        self._ends.append(self._file.tell())


def _small(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return *batch* without what takes room and says nothing: columns of nulls are left out, text is numbered."""
    fields, columns = [], []
    for field in _SPOOLED:
        column = batch.column(field.name)
        if column.null_count < len(column):
            fields.append(_numbered(field))
            columns.append(column.dictionary_encode() if column.type == TEXT else column)
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


def _in_calendar(times: pa.Array) -> pa.Array:
    """Return those of *times* that have a date: hostile input may hold any number."""
    us = times.cast(COUNT)
    return times.filter(pc.and_(pc.greater_equal(us, CALENDAR[0]), pc.less(us, CALENDAR[1])))


def _in_order(batches: list[pa.RecordBatch]) -> pa.Table:
    """Return the rows of *batches* by first_seen (none last) and record."""
    names = [field.name for field in _SPOOLED if any(field.name in batch.schema.names for batch in batches)]
    schema = pa.schema([_WRITTEN.field(name) for name in names])
    filled = [
        pa.RecordBatch.from_arrays(
            [b.column(f.name) if f.name in b.schema.names else pa.nulls(len(b), f.type) for f in schema], schema=schema
        )
        for b in batches
    ]
    table = pa.Table.from_batches(filled).unify_dictionaries().combine_chunks()
    last = np.iinfo(np.int64).max
    times = (
        pc.fill_null(table.column("first_seen").cast(COUNT), last).to_numpy() if "first_seen" in names
        else np.full(len(table), last)
    )  # fmt: skip
    records = table.column("record").to_numpy()
    if np.all((times[:-1] < times[1:]) | ((times[:-1] == times[1:]) & (records[:-1] <= records[1:]))):
        return table
    return table.take(pa.array(np.lexsort((records, times))))


def _by_partition(table: pa.Table, segment: str) -> Iterator[tuple[Partition, pa.RecordBatch]]:
    """Cut *table*, which is sorted by time, where the hour (UTC) of first_seen changes, and give it all columns."""
    none = np.iinfo(np.int64).min  # far before any calendar, so its partition is that of rows without a time
    hours = np.full(len(table), none // HOUR)
    if "first_seen" in table.schema.names:
        hours = pc.fill_null(table.column("first_seen").cast(COUNT), none).to_numpy() // HOUR
    constant = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(table), np.int32)), pa.array([segment], TEXT))
    whole = pa.table(
        [
            constant if field.name == "segment"
            else table.column(field.name) if field.name in table.schema.names
            else pa.nulls(len(table), field.type)
            for field in _WRITTEN
        ],
        schema=_WRITTEN,
    )  # fmt: skip
    (batch,) = whole.combine_chunks().to_batches()
    cuts = [0, *(np.flatnonzero(np.diff(hours)) + 1).tolist(), len(batch)]
    for begin, end in pairwise(cuts):
        part = batch.slice(begin, end - begin)
        # Parquet would put every text of the stretch into every file.
        columns = [used(column) if column.type == NUMBERED else column for column in part.columns]
        yield partition_of(int(hours[begin])), pa.RecordBatch.from_arrays(columns, schema=_WRITTEN)


@dataclass(frozen=True)
class Written:
    """A Parquet file that is whole: its path below the table's folder, its size in bytes and its rows."""

    path: str
    partition: Partition | None
    size: int
    rows: int


class ParquetFiles:
    """
    Writes new Parquet files below the folder of a table; nobody reads them before they are committed.

    Raises:
        OSError: They cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.files: list[Written] = []
        self._folder = folder
        self._writer: Any = None
        self._path = ""
        self._partition: Partition | None = None
        self._rows = 0

    def write(self, batch: pa.RecordBatch, partition: Partition | None = None) -> None:
        """Add *batch*: to the file of the batch before if that is in the same partition, else to a new one."""
        if self._writer is None or partition != self._partition:
            self.end()
            self._begin(partition, batch.schema)
        self._writer.write_batch(batch, row_group_size=ROW_GROUP)
        self._rows += len(batch)

    def end(self) -> None:
        """Make the last file whole."""
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        path = self._folder / self._path
        try:
            writer.close()
        except OSError:
            path.unlink(missing_ok=True)
            raise
        self.files.append(Written(self._path, self._partition, path.stat().st_size, self._rows))

    def discard(self) -> None:
        """Delete everything that was written."""
        with suppress(OSError):  # a full disk, most likely: what could not be ended is deleted all the same
            self.end()
        for file in self.files:
            (self._folder / file.path).unlink(missing_ok=True)
        self.files = []

    def _begin(self, partition: Partition | None, schema: pa.Schema) -> None:
        below = "" if partition is None else f"dt={partition[0]}/hour={partition[1]}/"
        self._path = f"{below}part-{uuid.uuid4()}.zstd.parquet"
        self._partition, self._rows = partition, 0
        path = self._folder / self._path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = pq.ParquetWriter(
            path,
            schema,
            compression="zstd",
            compression_level=3,
            use_dictionary=[name for name in schema.names if name not in _BY_DIFFERENCE],
            column_encoding={n: "DELTA_BINARY_PACKED" for n in _BY_DIFFERENCE if n in schema.names},
            # Of numbered text they cost as much as writing it, and nobody looks for a flow by the least protocol.
            write_statistics=[f.name for f in schema if f.type != NUMBERED or f.name == "segment"],
            store_schema=False,
        )
