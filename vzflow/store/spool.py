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
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vzflow.flow.schema import COUNT, FLOW_SCHEMA, TIME
from vzflow.store.tables import CALENDAR, HOUR, Partition, partition_of

#: Rows that are sorted together: their keys and order take 24 bytes each, so memory has a bound.
STRETCH = 1 << 20
#: Rows gathered and written at a time.
SLICE = 1 << 15
#: Rows per row group, at most.
ROW_GROUP = 1 << 20
#: Sorted times lie close together: their differences take a third of what a dictionary of them takes.
_BY_DIFFERENCE = ("first_seen", "last_seen", "record")


class Spool:
    """
    Keeps flows in FLOW_SCHEMA as they come and gives them back sorted.

    They wait in a file without a name in *folder*, so that even a killed process leaves nothing behind. Only the sort
    keys of one stretch and the rows of one slice are in memory.

    Raises:
        OSError: The folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.rows = 0
        self._first: list[Any] = []
        self._last: list[Any] = []
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (closed by __exit__)
        self._writer = pa.ipc.new_file(self._file, FLOW_SCHEMA)

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # what a full disk did not take is not wanted any more
            self._file.close()

    def add(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch)
        self.rows += len(batch)
        self._first.append(pc.min(_in_calendar(batch.column("first_seen"))).as_py())
        self._last.append(pc.max(_in_calendar(batch.column("last_seen"))).as_py())

    def times(self) -> tuple[datetime | None, datetime | None]:
        """Return the earliest first_seen and the latest last_seen that a calendar has; None without any."""
        return pc.min(pa.array(self._first, TIME)).as_py(), pc.max(pa.array(self._last, TIME)).as_py()

    def sorted(self) -> Iterator[tuple[Partition, pa.RecordBatch]]:
        """
        Yield the flows with the partition they belong to, by first_seen (none last) and record; `add` no more then.

        The order is total within a stretch of about STRETCH rows; readers give longer inputs in nearly this order.
        """
        self._writer.close()
        self._file.flush()
        memory = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)  # goes with the last batch made of it
        reader = pa.ipc.open_file(pa.py_buffer(memory))
        held: list[pa.RecordBatch] = []
        rows = 0
        for i in range(reader.num_record_batches):
            held.append(reader.get_batch(i))
            rows += len(held[-1])
            if rows >= STRETCH or i == reader.num_record_batches - 1:
                for batch in _in_order(held):
                    yield from _by_partition(batch)
                    if hasattr(memory, "madvise"):
                        memory.madvise(mmap.MADV_DONTNEED)  # else every page ever read counts as this process's memory
                held, rows = [], 0


def _in_calendar(times: pa.Array) -> pa.Array:
    """Return those of *times* that have a date: hostile input may hold any number."""
    us = times.cast(COUNT)
    return times.filter(pc.and_(pc.greater_equal(us, CALENDAR[0]), pc.less(us, CALENDAR[1])))


def _in_order(batches: list[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of *batches* by first_seen (none last) and record, SLICE at a time."""
    keys = pa.Table.from_batches([batch.select(["first_seen", "record"]) for batch in batches])
    order = pc.sort_indices(keys, [("first_seen", "ascending"), ("record", "ascending")]).to_numpy().astype(np.int64)
    starts = np.cumsum([0, *map(len, batches)])
    for begin in range(0, len(order), SLICE):
        wanted = order[begin : begin + SLICE]
        # Arrow's own take joins all chunks anew for every slice; so each chunk is asked for its rows only.
        chunk_of = np.searchsorted(starts, wanted, side="right") - 1
        by_chunk = np.argsort(chunk_of, kind="stable")
        pieces = []
        for chunk in np.unique(chunk_of):
            rows = wanted[chunk_of == chunk] - starts[chunk]
            pieces.append(batches[chunk].take(pa.array(rows)))
        if len(pieces) == 1:
            yield pieces[0]
            continue
        back = np.empty_like(by_chunk)
        back[by_chunk] = np.arange(len(by_chunk))
        (joined,) = pa.Table.from_batches(pieces).combine_chunks().to_batches()
        yield joined.take(pa.array(back))


def _by_partition(batch: pa.RecordBatch) -> Iterator[tuple[Partition, pa.RecordBatch]]:
    """Cut *batch*, which is sorted by time, where the hour (UTC) of first_seen changes."""
    none = np.iinfo(np.int64).min  # far before any calendar, so its partition is that of rows without a time
    hours = pc.fill_null(batch.column("first_seen").cast(COUNT), none).to_numpy() // HOUR
    cuts = [0, *(np.flatnonzero(np.diff(hours)) + 1).tolist(), len(batch)]
    for begin, end in pairwise(cuts):
        yield partition_of(int(hours[begin])), batch.slice(begin, end - begin)


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

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self.files: list[Written] = []
        self._folder = folder
        self._schema = schema
        self._writer: Any = None
        self._path = ""
        self._partition: Partition | None = None
        self._rows = 0

    def write(self, batch: pa.RecordBatch, partition: Partition | None = None) -> None:
        """Add *batch*: to the file of the batch before if that is in the same partition, else to a new one."""
        if self._writer is None or partition != self._partition:
            self.end()
            self._begin(partition)
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

    def _begin(self, partition: Partition | None) -> None:
        below = "" if partition is None else f"dt={partition[0]}/hour={partition[1]}/"
        self._path = f"{below}part-{uuid.uuid4()}.zstd.parquet"
        self._partition, self._rows = partition, 0
        path = self._folder / self._path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = pq.ParquetWriter(
            path,
            self._schema,
            compression="zstd",
            compression_level=3,
            use_dictionary=[name for name in self._schema.names if name not in _BY_DIFFERENCE],
            column_encoding={n: "DELTA_BINARY_PACKED" for n in _BY_DIFFERENCE if n in self._schema.names},
            store_schema=False,
        )
