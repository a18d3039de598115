"""
The Delta tables of a store: commit a segment, replace a partition, list files. The only file importing deltalake.

Nobody may glob the folder of a table, which also holds files that were replaced or never committed: `Lake.files` and
`Lake.partitions` answer from the transaction log.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction

from vzflow.flow.errors import Reject, ServiceUnavailable, UnreadableStore, UsageProblem, VzflowError
from vzflow.flow.schema import TEXT, TIME
from vzflow.store.spool import ParquetFiles, Spool, Written
from vzflow.store.tables import (
    COUNTED,
    MODEL_SCHEMA,
    PARTITION_FIELDS,
    RECEIPT_SCHEMA,
    RECORDED_SCHEMA,
    REJECT_SCHEMA,
    Partition,
    reject_rows,
)

__all__ = ["COUNTED", "RECEIPT_SCHEMA", "RECORDED_SCHEMA", "REJECT_SCHEMA", "Lake", "Superseded", "store_folder"]

#: Seconds to wait before each try, after another process was faster.
PATIENCE = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)

#: The tables every store has, in the order they are made: where `recorded` is, the others are.
_ALWAYS = {"rejects": REJECT_SCHEMA, "receipts": RECEIPT_SCHEMA, "recorded": RECORDED_SCHEMA}
_TABLES = (*_ALWAYS, "classified", "identity", "models")
_PARTITION_COLUMNS = [field.name for field in PARTITION_FIELDS]

#: The constant column that says what the rows of a classified partition were made from.
MADE_FROM = pa.field("made_from", TEXT, nullable=False)

#: Key in the log of `recorded` of the receipt that is to follow, and how many commits back `recover` looks for one.
_RECEIPT = "vzflow.receipt"
RECENT = 100

#: Makes the batches to be written, each with its partition.
Batches = Callable[[], Iterable[tuple[Partition | None, pa.RecordBatch]]]
Actions = list[AddAction | RemoveAction]
Result = TypeVar("Result")


class Superseded(VzflowError):
    """Another process replaced the same partition meanwhile: classify again from what the store holds now."""

    exit_code = 5


def store_folder(path: str | Path) -> Path:
    """
    Return the absolute folder that *path* names: the one place where the address of a store is understood.

    Raises:
        UsageProblem: It is a URL, or holds characters that a Delta table's path cannot hold.
    """
    text = str(path)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text):
        raise UsageProblem("a store cannot be at a URL yet", at=text, do="Give a folder")
    folder = Path(text).expanduser().absolute()
    # deltalake reads these as something else or crashes: %41 becomes A, a backslash a slash, a bracket is no URL.
    if re.search(r"[\[\]\\\x00-\x1f\x7f]|%[0-9A-Fa-f]{2}", str(folder)):
        what = "a store's path cannot hold brackets, backslashes, control characters or percent escapes"
        raise UsageProblem(what, at=repr(text), do="Choose another folder")
    return folder


@dataclass(frozen=True)
class Lake:
    """A store that is open. Every method looks at the newest version of the tables it names."""

    root: Path

    @classmethod
    def open(cls, path: str | Path, *, create: bool = False) -> Lake:
        """
        Open the store in the folder *path*; with *create*, make it if there is none.

        Raises:
            UnreadableStore: There is none, it is something else, it is damaged, or it cannot be read or written.
            UsageProblem: *path* cannot name a store.
        """
        lake = cls(store_folder(path))
        # A fresh volume holds `lost+found` and the like; that does not make it somebody else's folder.
        foreign = [name for name in lake._names() if name not in (*_TABLES, "lost+found") and not name.startswith(".")]
        # Receipts first: whoever has just made the store cannot look like one who lost `recorded`.
        receipts = lake._find("receipts")
        if lake._find("recorded") is None:
            if receipts is not None and receipts.version() > 0:
                raise lake._damaged("recorded/ is gone or has no log")
            if foreign:
                raise lake._problem("not a store, and not empty", do="Give the folder of a store, or a new one")
            if not create:
                raise lake._problem("no store here", do="Make one with `vzflow ingest`")
            lake._create()
        for name, schema in _ALWAYS.items():
            lake._check(name, schema)
        return lake

    # What ingest does.

    def add_segment(
        self,
        segment: str,
        flows: Iterable[pa.RecordBatch],
        rejects: Sequence[Reject],
        make_receipt: Callable[[], Mapping[str, Any]],
        *,
        app_id: str | None = None,
        version: int = 1,
        replaces: Sequence[str] = (),
    ) -> bool:
        """
        Store one unit of ingest: exactly once or not at all, whatever breaks in between and whoever else writes.

        The flows are read to their end before anything is committed. Then rejects, flows and receipt are committed in
        this order, each unless an earlier try did it. A segment counts once it has a receipt.

        Args:
            segment: Its id, which every flow carries.
            flows: Batches in FLOW_SCHEMA, in any order. What it raises is passed on, and nothing is stored.
            rejects: Looked at when the flows are exhausted: give the list that reading fills.
            make_receipt: Called at that moment too; one row of RECEIPT_SCHEMA without the columns COUNTED, in which
                a column that is left out is null.
            app_id: What is stored once per version: the segment by default; for a range of a log its stream id.
            version: For a range of a log its end offset. Versions of one id only grow.
            replaces: Segments that go in the commits that this one comes in: the same bytes, read another way.

        Returns:
            False if it was there already, or another process stored it meanwhile.

        Raises:
            UnreadableStore: The store cannot be read or written.
            ServiceUnavailable: Other processes were faster time after time.
        """
        app_id = segment if app_id is None else app_id
        if self._done(self._open("receipts"), app_id, version):
            return False
        with self._spooled(flows) as spool:
            counted = dict(zip(COUNTED, (segment, spool.rows, len(rejects), *spool.times()), strict=True))
            receipt = pa.Table.from_pylist([{**make_receipt(), **counted}], schema=RECEIPT_SCHEMA)
            own, ends = {"segment": segment}, self._app_ids(replaces)
            if rejects:
                self._append("rejects", _whole(reject_rows(segment, rejects)), segment, 1, own)
            if spool.rows or ends:
                left = {"app_id": app_id, "version": version, "ends": ends, "receipt": receipt.to_pylist()[0]}
                self._append("recorded", spool.sorted, app_id, version, own, ends, json.dumps(left, default=str))
            return self._append("receipts", _whole(receipt), app_id, version, own, ends)

    def recover(self) -> int:
        """
        Make the receipts that processes killed between two commits left out; return how many there were.

        Flows are committed together with the receipt that is to follow, so nothing has to be read again: a log that
        has grown meanwhile goes on where it was left.
        """
        recorded, made = self._open("recorded"), 0
        with self._translated("recorded"):
            notes = [json.loads(commit[_RECEIPT]) for commit in recorded.history(RECENT) if _RECEIPT in commit]
        for note in reversed(notes):
            app_id, version = note["app_id"], note["version"]
            # Without its flows it was taken out again later, and with its receipt nothing is missing.
            if not self._done(recorded, app_id, version) or self._done(self._open("receipts"), app_id, version):
                continue
            row: dict[str, Any] = {
                name: _moment(value) if RECEIPT_SCHEMA.field(name).type == TIME else value
                for name, value in note["receipt"].items()
            }
            receipt = pa.Table.from_pylist([row], schema=RECEIPT_SCHEMA)
            own = {"segment": row["segment"]}
            made += self._append("receipts", _whole(receipt), app_id, version, own, note["ends"])
        return made

    def add_alias(self, receipt: Mapping[str, Any]) -> bool:
        """
        Note that a stored segment was given again under another name.

        Args:
            receipt: A whole row of RECEIPT_SCHEMA, the columns COUNTED too.

        Returns:
            False if that segment is known by that name already.
        """
        own = {"segment": receipt["segment"]}
        names = own | {"name": receipt["name"]}
        row = pa.Table.from_pylist([dict(receipt)], schema=RECEIPT_SCHEMA)
        adds = _adds(self._write("receipts", RECEIPT_SCHEMA, _whole(row)()), own)
        app_id = f"names of {receipt['segment']}"

        def attempt(delta: DeltaTable) -> bool:
            if names in self.receipts().select(list(names)).to_pylist():
                return False
            delta.create_write_transaction(
                adds, "append", RECEIPT_SCHEMA, commit_properties=_once(_next(delta, app_id))
            )
            return True

        return self._commit("receipts", attempt)

    def receipts(self) -> pa.Table:
        """Return every receipt in RECEIPT_SCHEMA, oldest first."""
        return self.read("receipts", RECEIPT_SCHEMA).sort_by([("ingested_at", "ascending"), ("name", "ascending")])

    # What classification does.

    def files(self, table: str) -> list[str]:
        """
        Return the absolute paths of the Parquet files *table* consists of now, sorted; none if it was never made.

        Raises:
            UnreadableStore: The table's log is damaged, or a file that it names is gone.
        """
        return sorted(path for path, _ in self._files(table, self._find(table)))

    def partitions(self, table: str) -> dict[Partition, list[str]]:
        """Return the files of each partition of *table*, both sorted; else as `files`."""
        found: dict[Partition, list[str]] = {}
        for path, entry in sorted(self._files(table, self._find(table)), key=lambda pair: pair[0]):
            if (partition := _partition(entry)) is not None:
                found.setdefault(partition, []).append(path)
        return dict(sorted(found.items()))

    def made_from(self, table: str) -> dict[Partition, str | None]:
        """
        Return what each partition of *table* was made from; None where its rows do not agree.

        That is the value of its column `made_from`, read from the statistics in the log and from no data file.
        """
        return self._made_from(self._find(table))

    def replace_partition(
        self,
        table: str,
        partition: Partition,
        rows: pa.Table | pa.RecordBatchReader,
        made_from: str,
        *,
        instead_of: str | None,
    ) -> None:
        """
        Put *rows* in the place of all that *partition* holds, in one commit.

        Args:
            table: Is made with the columns of *rows*; is emptied first when it has others.
            partition: From `partitions("recorded")`.
            rows: Without dt, hour and made_from, which are added. At least one row.
            made_from: At most 32 characters; the same if and only if the rows would be the same.
            instead_of: What `made_from` said of the partition when the work began; None if it said nothing.

        Raises:
            Superseded: The partition is not what it was then; nothing was written.
            UnreadableStore: The store cannot be written.
        """
        inside = pa.schema([*rows.schema, MADE_FROM])
        schema = pa.schema([*inside, *PARTITION_FIELDS])
        delta = self._find(table) or self._make(table, schema)
        self._expect(delta, table, partition, instead_of)
        if _columns(delta) != _types(schema):
            self._begin_anew(table, schema)
            instead_of = None
        batches = rows.to_batches() if isinstance(rows, pa.Table) else rows
        files = self._write(table, inside, ((partition, _with_constant(b, made_from, inside)) for b in batches))
        self._replace(table, schema, partition, _adds(files, {MADE_FROM.name: made_from}), instead_of)

    def remove_partition(self, table: str, partition: Partition) -> None:
        """
        Take *partition* out of *table*, because what it was made from is gone.

        Raises:
            Superseded: Another process replaced it at the same moment; nothing was removed.
        """
        delta = self._open(table)
        self._replace(table, _schema(delta), partition, [], self._made_from(delta).get(partition))

    # What the store remembers for later commands.

    def add_identity(self, objects: pa.Table) -> bool:
        """
        Add cluster objects, each snapshot once.

        Args:
            objects: The column `snapshot` is the digest of the snapshot a row is from. The first table ever given
                decides which columns the store's has.

        Returns:
            False if every snapshot was there already.
        """
        if self._find("identity") is None:
            self._make("identity", objects.schema)
        self._check("identity", objects.schema)
        added = False
        for snapshot in pc.unique(objects.column("snapshot")).to_pylist():
            rows = objects.filter(pc.equal(objects.column("snapshot"), snapshot))
            added |= self._append("identity", _whole(rows), snapshot, 1)
        return added

    def identity_objects(self) -> pa.Table | None:
        """Return the objects of every snapshot that was added, or None if none ever was."""
        delta = self._find("identity")
        return None if delta is None else self.read("identity", _schema(delta))

    def remember_models(self, models: Sequence[tuple[str, str]]) -> bool:
        """Keep (name, text) of the model files that were named last, in order; return False if they are the same."""
        if self.models() == list(models):
            return False
        rows = [{"position": i, "name": name, "text": text} for i, (name, text) in enumerate(models)]
        if self._find("models") is None:
            self._make("models", MODEL_SCHEMA)
        adds = _adds(self._write("models", MODEL_SCHEMA, _whole(pa.Table.from_pylist(rows, schema=MODEL_SCHEMA))()))

        def attempt(delta: DeltaTable) -> None:
            once = _once(_next(delta, "models"))
            delta.create_write_transaction(adds, "overwrite", MODEL_SCHEMA, commit_properties=once)

        self._commit("models", attempt)
        return True

    def models(self) -> list[tuple[str, str]]:
        """Return what `remember_models` was given last; empty if nothing ever was."""
        rows = self.read("models", MODEL_SCHEMA).sort_by("position").to_pylist()
        return [(row["name"], row["text"]) for row in rows]

    def read(self, table: str, schema: pa.Schema) -> pa.Table:
        """Return all rows of a table that is small and has no partitions, in *schema*."""
        try:
            found = [pq.ParquetFile(path).read().select(schema.names).cast(schema) for path in self.files(table)]
        except (OSError, KeyError, pa.ArrowException) as error:
            raise self._damaged(f"{table}/ cannot be read: {_one_line(error)}") from error
        return pa.concat_tables(found) if found else schema.empty_table()

    # How tables are found and made.

    def _names(self) -> set[str]:
        try:
            return {entry.name for entry in self.root.iterdir()}
        except FileNotFoundError:
            return set()
        except NotADirectoryError:
            raise self._problem("not a folder", do="Give the folder of a store") from None
        except OSError as error:
            raise self._problem(f"cannot be read: {_one_line(error)}", do="Check the folder's permissions") from error

    def _create(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._problem(f"cannot be made: {_one_line(error)}", do="Give another folder") from error
        for name, schema in _ALWAYS.items():
            if self._find(name) is None:
                self._make(name, schema)

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
                    partition_by=_partition_by(schema) or None,
                    configuration=settings,
                )
            except DeltaError as error:
                found = self._find(name)
                if found is None:
                    raise self._damaged(f"{name}/ cannot be made: {_one_line(error)}") from error
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
            raise self._damaged(f"{name}/ cannot be read: {_one_line(error)}") from error
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
        found, wanted = _columns(self._open(name)), _types(schema)
        if found != wanted:
            odd = sorted({column for column, _ in found.items() ^ wanted.items()})
            what = f"{name}/ is of another version of vzflow: it differs in {', '.join(odd[:5])}"
            raise self._problem(what, do="Ingest again into a new store")

    def _actions(self, delta: DeltaTable | None) -> list[dict[str, Any]]:
        """Return one entry per file of the table: its path, partition and statistics."""
        if delta is None:
            return []
        with self._translated(Path(delta.table_uri).name):
            entries: list[dict[str, Any]] = pa.table(delta.get_add_actions(flatten=True)).to_pylist()
        return entries

    def _files(self, table: str, delta: DeltaTable | None) -> list[tuple[str, dict[str, Any]]]:
        found = [(self.root / table / entry["path"], entry) for entry in self._actions(delta)]
        for path, _ in found:
            if not path.is_file():
                raise self._damaged(f"{path.relative_to(self.root)} is gone")
        return [(str(path), entry) for path, entry in found]

    def _made_from(self, delta: DeltaTable | None) -> dict[Partition, str | None]:
        values: dict[Partition, set[str | None]] = {}
        for entry in self._actions(delta):
            # A file whose statistics say nothing is as one whose rows disagree.
            ends = entry.get(f"min.{MADE_FROM.name}"), entry.get(f"max.{MADE_FROM.name}")
            if (partition := _partition(entry)) is not None:
                values.setdefault(partition, set()).update(ends)
        return {key: next(iter(found)) if len(found) == 1 else None for key, found in sorted(values.items())}

    # How commits are made.

    def _done(self, delta: DeltaTable, app_id: str, version: int) -> bool:
        with self._translated("a log"):
            seen = delta.transaction_version(app_id)
        return seen is not None and seen >= version

    @contextmanager
    def _spooled(self, flows: Iterable[pa.RecordBatch]) -> Iterator[Spool]:
        with self._translated("recorded"):
            spool = Spool(self.root)
        with spool:
            for batch in flows:
                with self._translated("recorded"):
                    spool.add(batch)
            yield spool

    def _app_ids(self, segments: Sequence[str]) -> dict[str, str]:
        """Return under which app_id each of *segments* was stored: for a range of a log that of its stream."""
        rows = self.receipts().select(["segment", "stream"]).to_pylist() if segments else []
        return {s: s for s in segments} | {
            r["segment"]: r["stream"] or r["segment"] for r in rows if r["segment"] in segments
        }

    def _append(
        self,
        name: str,
        rows: Batches,
        app_id: str,
        version: int,
        constants: Mapping[str, str] = {},
        ends: Mapping[str, str] = {},
        receipt: str | None = None,
    ) -> bool:
        """
        Append *rows* to a table unless *version* of *app_id* is there already; return whether they were.

        In the same commit the segments that *ends* names are taken out, and may come again under their app_id there.
        *receipt* is kept in the log with the commit, for `recover`.
        """
        delta = self._open(name)
        if self._done(delta, app_id, version):
            return False
        schema = _schema(delta)
        inside = pa.schema([field for field in schema if field.name not in _PARTITION_COLUMNS])
        adds = _adds(self._write(name, inside, rows()), constants)
        taken_out = sorted({*ends.values()} - {app_id})
        once = CommitProperties(
            app_transactions=[Transaction(app_id, version), *(Transaction(old, 0) for old in taken_out)],
            custom_metadata={_RECEIPT: receipt} if receipt else None,
        )

        def attempt(delta: DeltaTable) -> bool:
            if self._done(delta, app_id, version):
                return False
            actions = [*adds, *self._without(delta, name, inside, ends)]
            delta.create_write_transaction(actions, "append", schema, _partition_by(schema), commit_properties=once)
            return True

        return self._commit(name, attempt, delta)

    def _without(self, delta: DeltaTable, name: str, schema: pa.Schema, segments: Collection[str]) -> Actions:
        """Return what takes *segments* out: their files go, those they share with others are written anew."""
        actions: Actions = []
        for path, entry in self._files(name, delta) if segments else []:
            low, high = entry.get("min.segment"), entry.get("max.segment")
            if low is not None and high is not None and not any(low <= segment <= high for segment in segments):
                continue
            actions.append(_remove(entry))
            partition, gone = _partition(entry), pa.array(list(segments), TEXT)
            batches = pq.ParquetFile(path).iter_batches()
            kept = (b.filter(pc.invert(pc.is_in(b.column("segment"), gone))).cast(schema) for b in batches)
            actions += _adds(self._write(name, schema, ((partition, b) for b in kept if len(b))))
        return actions

    def _expect(self, delta: DeltaTable, table: str, partition: Partition, made_from: str | None) -> None:
        if self._made_from(delta).get(partition) != made_from:
            place = f"{self.root}/{table}/dt={partition[0]}/hour={partition[1]}"
            raise Superseded("another process replaced it meanwhile", at=place, do="Run the command again")

    def _replace(
        self, table: str, schema: pa.Schema, partition: Partition, adds: Actions, instead_of: str | None
    ) -> None:
        app_id = "/".join((table, *partition))

        def attempt(delta: DeltaTable) -> None:
            self._expect(delta, table, partition, instead_of)
            actions = [*adds, *(_remove(entry) for entry in self._actions(delta) if _partition(entry) == partition)]
            # Two who take the same files out are in conflict by that; two who fill an empty partition only by the id.
            once = _once(_next(delta, app_id))
            delta.create_write_transaction(actions, "append", schema, _partition_by(schema), commit_properties=once)

        self._commit(table, attempt)

    def _begin_anew(self, table: str, schema: pa.Schema) -> None:
        """Empty the table and give it the columns of *schema*: what another version made of it cannot be kept."""

        def attempt(delta: DeltaTable) -> None:
            if _columns(delta) != _types(schema):
                delta.create_write_transaction([], "overwrite", schema, _partition_by(schema))

        self._commit(table, attempt)

    def _write(
        self, name: str, schema: pa.Schema, rows: Iterable[tuple[Partition | None, pa.RecordBatch]]
    ) -> list[Written]:
        """
        Write new files, which are not part of the table before they are committed; none if *rows* raises.

        Once a commit was tried they stay, even if it failed: it may have taken place all the same.
        """
        files = ParquetFiles(self.root / name, schema)
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
        for wait in PATIENCE:
            time.sleep(wait)
            delta, opened = opened or self._open(name), None
            try:
                with self._translated(name):
                    return attempt(delta)
            except CommitFailedError as error:
                last = _one_line(error)
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
            raise self._damaged(f"{name}/ cannot be used: {_one_line(error)}") from error
        except OSError as error:
            do = "Check space and permissions, then run the command again"
            raise self._problem(f"{name}/ cannot be read or written: {_one_line(error)}", do=do) from error

    def _problem(self, what: str, do: str) -> UnreadableStore:
        return UnreadableStore(what, at=str(self.root), do=do)

    def _damaged(self, what: str) -> UnreadableStore:
        return self._problem(what, do="Restore the store from a copy, or ingest into a new one")


def _one_line(error: BaseException) -> str:
    """Return what *error* says in one line, without colours, arrows and the backtrace that may follow."""
    text = re.sub(r"\x1b\[[0-9;]*m|↳", "", str(error))
    text = re.split(r"\n\s+0: ", text)[0]
    return " ".join(text.split())[:300].rstrip(". ") or type(error).__name__


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _whole(table: pa.Table) -> Batches:
    """Return a maker of the batches of a *table* without partitions."""
    return lambda: ((None, batch) for batch in table.to_batches())


def _with_constant(batch: pa.RecordBatch, value: str, schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([*batch.columns, pa.repeat(pa.scalar(value, TEXT), len(batch))], schema=schema)


def _adds(files: Sequence[Written], constants: Mapping[str, str] = {}) -> Actions:
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


def _remove(entry: Mapping[str, Any]) -> RemoveAction:
    """Return what a commit says of a file that goes: *entry* is what the log says of it."""
    return RemoveAction(
        path=entry["path"],
        data_change=True,
        deletion_timestamp=time.time_ns() // 1_000_000,
        partition_values=_values(_partition(entry)),
        size=entry["size_bytes"],
    )


def _values(partition: Partition | None) -> dict[str, str | None]:
    return dict(zip(_PARTITION_COLUMNS, partition, strict=True)) if partition else {}


def _once(*transactions: Transaction) -> CommitProperties:
    return CommitProperties(app_transactions=list(transactions))


def _next(delta: DeltaTable, app_id: str) -> Transaction:
    """Return a transaction that no other process can commit through a handle of the same version."""
    return Transaction(app_id, (delta.transaction_version(app_id) or 0) + 1)


def _partition(entry: Mapping[str, Any]) -> Partition | None:
    return (entry["partition.dt"], entry["partition.hour"]) if "partition.dt" in entry else None


def _partition_by(schema: pa.Schema) -> list[str]:
    return [name for name in _PARTITION_COLUMNS if name in schema.names]


def _schema(delta: DeltaTable) -> pa.Schema:
    return pa.schema(delta.schema().to_arrow())


def _columns(delta: DeltaTable) -> dict[str, str]:
    return _types(_schema(delta))


def _types(schema: pa.Schema) -> dict[str, str]:
    """Return the types by column, with the flavours of text made one: Delta has one text type only."""
    return {field.name: re.sub(r"^(large_)?string(_view)?$", "string", str(field.type)) for field in schema}
