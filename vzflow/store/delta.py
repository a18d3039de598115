"""
A folder of Delta tables: how they are made, found, read and committed. The only file importing deltalake.

Nobody may glob the folder of a table, which also holds files that were replaced or never committed: what a table
consists of is asked of its transaction log.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction

from vzflow.flow.errors import ServiceUnavailable, UnreadableStore
from vzflow.flow.schema import TEXT
from vzflow.store.spool import ParquetFiles, Written
from vzflow.store.tables import MADE_FROM, PARTITION_FIELDS, Partition

__all__ = ["DeltaFolder", "DeltaTable"]

#: Seconds to wait before each try, after another process was faster.
PATIENCE = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)

_PARTITION_COLUMNS = [field.name for field in PARTITION_FIELDS]

#: Makes the batches to be written, each with its partition.
Batches = Callable[[], Iterable[tuple[Partition | None, pa.RecordBatch]]]
#: Rows that are read at a time where not all are wanted at once.
_ROWS = 1 << 14

Actions = list[AddAction | RemoveAction]
Result = TypeVar("Result")


@dataclass(frozen=True)
class DeltaFolder:
    """Delta tables side by side in one folder. Every method looks at the newest version of the table it names."""

    root: Path
    #: Entered for each commit: processes that write to one store together take turns instead of trying again.
    turn: Callable[[], AbstractContextManager[None]] = field(default=nullcontext, compare=False)

    def files(self, table: str) -> list[str]:
        """
        Return the absolute paths of the Parquet files *table* consists of now, sorted; none if it was never made.

        Raises:
            UnreadableStore: The table's log is damaged, or a file that it names is gone.
        """
        return sorted(path for path, _ in self._files(table, self._find(table)))

    def read(self, table: str, schema: pa.Schema) -> pa.Table:
        """Return all rows of a table that is small and has no partitions, in *schema*."""
        try:
            found = [pq.ParquetFile(path).read().select(schema.names).cast(schema) for path in self.files(table)]
        except (OSError, KeyError, pa.ArrowException) as error:
            raise self._damaged(f"{table}/ cannot be read: {one_line(error)}") from error
        return pa.concat_tables(found) if found else schema.empty_table()

    def batches(self, files: Iterable[str], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """
        Yield what *files* of a table without partitions have in the columns of *schema*, some rows at a time.

        Raises:
            UnreadableStore: A file is gone or damaged.
        """
        for path in files:
            try:
                for batch in pq.ParquetFile(path).iter_batches(_ROWS, columns=schema.names):
                    yield batch.select(schema.names).cast(schema)
            except (OSError, KeyError, pa.ArrowException) as error:
                raise self._damaged(f"{Path(path).name} cannot be read: {one_line(error)}") from error

    def _names(self) -> set[str]:
        try:
            return {entry.name for entry in self.root.iterdir()}
        except FileNotFoundError:
            return set()
        except NotADirectoryError:
            raise self._problem("not a folder", do="Give the folder of a store") from None
        except OSError as error:
            raise self._problem(f"cannot be read: {one_line(error)}", do="Check the folder's permissions") from error

    def _make(self, name: str, schema: pa.Schema) -> DeltaTable:
        """Make the table, or open what another process has made at the same moment."""
        # Parquet has statistics; in the log they would cost more than they save, but for what is looked up there.
        indexed = [column for column in (MADE_FROM.name, "segment") if column in schema.names][:1]
        settings = {"delta.dataSkippingNumIndexedCols": "0"}
        if indexed:
            settings = {"delta.dataSkippingStatsColumns": indexed[0]}
        with self._translated(name):
            try:
                return DeltaTable.create(
                    str(self.root / name),
                    schema,
                    mode="ignore",
                    partition_by=partition_columns(schema) or None,
                    configuration=settings,
                )
            except DeltaError as error:
                found = self._find(name)
                if found is None:
                    raise self._damaged(f"{name}/ cannot be made: {one_line(error)}") from error
                return found

    def _find(self, name: str) -> DeltaTable | None:
        """Return the table at its newest version, or None if it was never made."""
        log = self.root / name / "_delta_log"
        try:
            commits = [entry for entry in log.iterdir() if entry.suffix == ".json"]
            empty = [entry.name for entry in commits if not entry.stat().st_size]
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._damaged(f"{name}/ cannot be read: {one_line(error)}") from error
        if empty:  # deltalake would pass over it in silence, and so over its rows
            raise self._damaged(f"in the log of {name}/, {min(empty)} is empty")
        if not commits:
            return None
        with self._translated(name):
            return DeltaTable(str(self.root / name))

    def _open(self, name: str) -> DeltaTable:
        found = self._find(name)
        if found is None:
            raise self._damaged(f"{name}/ is gone or has no log")
        return found

    def _check(self, name: str, schema: pa.Schema) -> None:
        found, wanted = columns_in(self._open(name)), types_of(schema)
        if found != wanted:
            odd = sorted({column for column, _ in found.items() ^ wanted.items()})
            what = f"{name}/ is of another version of vzflow: it differs in {', '.join(odd[:5])}"
            raise self._problem(what, do="Ingest again into a new store")

    def _actions(self, delta: DeltaTable | None) -> list[dict[str, Any]]:
        """Return one entry per file of the table: its path, partition and statistics."""
        if delta is None:
            return []
        with self._translated(Path(delta.table_uri).name):
            # Not pa.table: it imports pandas, to see whether this is a DataFrame.
            found = pa.RecordBatchReader.from_stream(delta.get_add_actions(flatten=True)).read_all()
            entries: list[dict[str, Any]] = found.to_pylist()
        return entries

    def _files(self, table: str, delta: DeltaTable | None) -> list[tuple[str, dict[str, Any]]]:
        found = [(self.root / table / entry["path"], entry) for entry in self._actions(delta)]
        for path, _ in found:
            if not path.is_file():
                raise self._damaged(f"{path.relative_to(self.root)} is gone")
        return [(str(path), entry) for path, entry in found]

    def _done(self, delta: DeltaTable, app_id: str, version: int) -> bool:
        with self._translated("a log"):
            seen = delta.transaction_version(app_id)
        return seen is not None and seen >= version

    def _append(
        self,
        name: str,
        rows: Batches,
        app_id: str,
        version: int,
        constants: Mapping[str, str] = {},
        ends: Mapping[str, str] = {},
        note: Mapping[str, str] | None = None,
    ) -> bool:
        """
        Append *rows* to a table unless *version* of *app_id* is there already; return whether they were.

        In the same commit the segments that *ends* names are taken out, and may come again under their app_id there.
        *note* is kept in the log with the commit.
        """
        delta = self._open(name)
        if self._done(delta, app_id, version):
            return False
        schema = schema_in(delta)
        inside = pa.schema([field for field in schema if field.name not in _PARTITION_COLUMNS])
        adds = added(self._write(name, rows()), constants)
        taken_out = sorted({*ends.values()} - {app_id})
        properties = CommitProperties(
            app_transactions=[Transaction(app_id, version), *(Transaction(old, 0) for old in taken_out)],
            custom_metadata=dict(note) if note else None,
        )

        def attempt(delta: DeltaTable) -> bool:
            if self._done(delta, app_id, version):
                return False
            actions = [*adds, *self._without(delta, name, inside, ends)]
            delta.create_write_transaction(
                actions, "append", schema, partition_columns(schema), commit_properties=properties
            )
            return True

        return self._commit(name, attempt, delta)

    def _without(self, delta: DeltaTable, name: str, schema: pa.Schema, segments: Collection[str]) -> Actions:
        """Return what takes *segments* out: their files go, those they share with others are written anew."""
        actions: Actions = []
        for path, entry in self._files(name, delta) if segments else []:
            low, high = entry.get("min.segment"), entry.get("max.segment")
            if low is not None and high is not None and not any(low <= segment <= high for segment in segments):
                continue
            actions.append(removed(entry))
            partition, gone = partition_in(entry), pa.array(list(segments), TEXT)
            batches = pq.ParquetFile(path).iter_batches()
            kept = (b.filter(pc.invert(pc.is_in(b.column("segment"), gone))).cast(schema) for b in batches)
            actions += added(self._write(name, ((partition, b) for b in kept if len(b))))
        return actions

    def _write(self, name: str, rows: Iterable[tuple[Partition | None, pa.RecordBatch]]) -> list[Written]:
        """
        Write new files, which are not part of the table before they are committed; none if *rows* raises.

        Once a commit was tried they stay, even if it failed: it may have taken place all the same.
        """
        files = ParquetFiles(self.root / name)
        try:
            for partition, batch in rows:
                with self._translated(name):
                    files.write(batch, partition)
            with self._translated(name):
                files.end()
        except BaseException:
            files.discard()
            raise
        return files.files

    def _commit(self, name: str, attempt: Callable[[DeltaTable], Result], opened: DeltaTable | None = None) -> Result:
        """
        Call *attempt* with the table (at first as it was *opened*, then anew) until it does not end in a conflict.

        It must read all it depends on from the handle that it commits through: then whatever another process has
        committed since the handle was opened ends in a conflict. Nothing else keeps two processes apart.
        """
        last = ""
        with self.turn():
            for wait in PATIENCE:
                time.sleep(wait)
                delta, opened = opened or self._open(name), None
                try:
                    with self._translated(name):
                        return attempt(delta)
                except CommitFailedError as error:
                    last = one_line(error)
        what = f"{len(PATIENCE)} tries to write {name}/ failed: {last}"
        raise ServiceUnavailable(what, at=str(self.root), do="Run the command again when fewer others write")

    @contextmanager
    def _translated(self, name: str) -> Iterator[None]:
        """Turn what deltalake and the file system raise into one line about the store; conflicts go to `_commit`."""
        try:
            yield
        except CommitFailedError:
            raise
        except DeltaError as error:
            raise self._damaged(f"{name}/ cannot be used: {one_line(error)}") from error
        except OSError as error:
            do = "Check space and permissions, then run the command again"
            raise self._problem(f"{name}/ cannot be read or written: {one_line(error)}", do=do) from error

    def _problem(self, what: str, do: str) -> UnreadableStore:
        return UnreadableStore(what, at=str(self.root), do=do)

    def _damaged(self, what: str) -> UnreadableStore:
        return self._problem(what, do="Restore the store from a copy, or ingest into a new one")


def one_line(error: BaseException) -> str:
    """Return what *error* says in one line, without colours, arrows and the backtrace that may follow."""
    text = re.sub(r"\x1b\[[0-9;]*m|↳", "", str(error))
    text = re.split(r"\n\s+0: ", text)[0]
    return " ".join(text.split())[:300].rstrip(". ") or type(error).__name__


def whole(table: pa.Table) -> Batches:
    """Return a maker of the batches of a *table* without partitions."""
    return lambda: ((None, batch) for batch in table.to_batches())


def added(files: Sequence[Written], constants: Mapping[str, str] = {}) -> Actions:
    """Return what a commit says of *files*: *constants* are the columns whose value is the same in all rows."""
    now = time.time_ns() // 1_000_000
    return [
        AddAction(
            path=file.path,
            size=file.size,
            partition_values=_values(file.partition),
            modification_time=now,
            data_change=True,
            stats=json.dumps(
                {
                    "numRecords": file.rows,
                    "minValues": dict(constants),
                    "maxValues": dict(constants),
                    "nullCount": dict.fromkeys(constants, 0),
                }
            ),
        )
        for file in files
    ]


def removed(entry: Mapping[str, Any]) -> RemoveAction:
    """Return what a commit says of a file that goes: *entry* is what the log says of it."""
    return RemoveAction(
        path=entry["path"],
        data_change=True,
        deletion_timestamp=time.time_ns() // 1_000_000,
        partition_values=_values(partition_in(entry)),
        size=entry["size_bytes"],
    )


def _values(partition: Partition | None) -> dict[str, str | None]:
    return dict(zip(_PARTITION_COLUMNS, partition, strict=True)) if partition else {}


def once(*transactions: Transaction) -> CommitProperties:
    return CommitProperties(app_transactions=list(transactions))


def next_transaction(delta: DeltaTable, app_id: str) -> Transaction:
    """Return a transaction that no other process can commit through a handle of the same version."""
    return Transaction(app_id, (delta.transaction_version(app_id) or 0) + 1)


def partition_in(entry: Mapping[str, Any]) -> Partition | None:
    return (entry["partition.dt"], entry["partition.hour"]) if "partition.dt" in entry else None


def partition_columns(schema: pa.Schema) -> list[str]:
    return [name for name in _PARTITION_COLUMNS if name in schema.names]


def schema_in(delta: DeltaTable) -> pa.Schema:
    return pa.schema(delta.schema().to_arrow())


def columns_in(delta: DeltaTable) -> dict[str, str]:
    return types_of(schema_in(delta))


def types_of(schema: pa.Schema) -> dict[str, str]:
    """Return the types by column, with the flavours of text made one: Delta has one text type only."""
    return {field.name: re.sub(r"^(large_)?string(_view)?$", "string", str(field.type)) for field in schema}
