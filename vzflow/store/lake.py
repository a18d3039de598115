"""
What a store keeps in its Delta tables: segments and receipts, classified partitions, identity, models.

How tables are found and committed is `delta.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vzflow.flow.errors import Reject, UsageProblem, VzflowError
from vzflow.flow.schema import TEXT, TIME
from vzflow.store.delta import (
    Actions,
    DeltaFolder,
    DeltaTable,
    added,
    columns_in,
    next_transaction,
    once,
    one_line,
    partition_columns,
    partition_in,
    removed,
    schema_in,
    types_of,
    whole,
)
from vzflow.store.spool import Spool
from vzflow.store.tables import (
    COUNTED,
    MADE_FROM,
    MODEL_SCHEMA,
    PARTITION_FIELDS,
    RECEIPT_SCHEMA,
    RECORDED_SCHEMA,
    REJECT_SCHEMA,
    Partition,
    reject_rows,
)

#: The tables every store has, in the order they are made: where `recorded` is, the others are.
_ALWAYS = {"rejects": REJECT_SCHEMA, "receipts": RECEIPT_SCHEMA, "recorded": RECORDED_SCHEMA}
_TABLES = (*_ALWAYS, "classified", "identity", "models")

#: Key in the log of `recorded` of the receipt that is to follow, and how many commits back `recover` looks for one.
_RECEIPT = "vzflow.receipt"
RECENT = 100


@dataclass(frozen=True)
class Unit:
    """
    What is stored exactly once, as it is known when it was read.

    Args:
        segment: Its id, which every flow carries.
        receipt: One row of RECEIPT_SCHEMA without the columns COUNTED, in which a column that is left out is null.
        rejects: Records that could not be used.
        app_id: What is stored once per version: the segment by default; for a range of a log its stream id.
        version: For a range of a log its end offset. Versions of one id only grow.
        replaces: Segments that go in the commits that this one comes in: the same bytes, read another way.
    """

    segment: str
    receipt: Mapping[str, Any]
    rejects: Sequence[Reject] = ()
    app_id: str | None = None
    version: int = 1
    replaces: Sequence[str] = ()


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
class Lake(DeltaFolder):
    """A store that is open. Every method looks at the newest version of the tables it names."""

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
        flows: Iterable[pa.RecordBatch],
        finish: Callable[[], Unit],
    ) -> bool:
        """
        Store one unit of ingest: exactly once or not at all, whatever breaks in between and whoever else writes.

        The flows are read to their end before anything is committed. Then rejects, flows and receipt are committed in
        this order, each unless an earlier try did it. A segment counts once it has a receipt.

        Args:
            flows: Batches in FLOW_SCHEMA, in any order; which segment they say they are of does not count. What it
                raises is passed on, and nothing is stored.
            finish: Called when the flows are exhausted: says what they are.

        Returns:
            False if it was there already, or another process stored it meanwhile.

        Raises:
            UnreadableStore: The store cannot be read or written.
            ServiceUnavailable: Other processes were faster time after time.
        """
        with self._spooled(flows) as spool:
            unit = finish()
            segment, version = unit.segment, unit.version
            app_id = segment if unit.app_id is None else unit.app_id
            if self._done(self._open("receipts"), app_id, version):
                return False
            rejected = sum(reject.records for reject in unit.rejects)
            counted = dict(zip(COUNTED, (segment, spool.rows, rejected, *spool.times()), strict=True))
            receipt = pa.Table.from_pylist([{**unit.receipt, **counted}], schema=RECEIPT_SCHEMA)
            own, ends = {"segment": segment}, self._app_ids(unit.replaces)
            if unit.rejects:
                self._append("rejects", whole(reject_rows(segment, unit.rejects)), segment, 1, own)
            if spool.rows or ends:
                left = {"app_id": app_id, "version": version, "ends": ends, "receipt": receipt.to_pylist()[0]}
                note = {_RECEIPT: json.dumps(left, default=str)}
                self._append("recorded", lambda: spool.sorted(segment), app_id, version, own, ends, note)
            return self._append("receipts", whole(receipt), app_id, version, own, ends)

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
            made += self._append("receipts", whole(receipt), app_id, version, own, note["ends"])
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
        adds = added(self._write("receipts", whole(row)()), own)
        app_id = f"names of {receipt['segment']}"

        def attempt(delta: DeltaTable) -> bool:
            if names in self.receipts().select(list(names)).to_pylist():
                return False
            delta.create_write_transaction(
                adds, "append", RECEIPT_SCHEMA, commit_properties=once(next_transaction(delta, app_id))
            )
            return True

        return self._commit("receipts", attempt)

    def receipts(self) -> pa.Table:
        """Return every receipt in RECEIPT_SCHEMA, oldest first."""
        return self.read("receipts", RECEIPT_SCHEMA).sort_by([("ingested_at", "ascending"), ("name", "ascending")])

    # What classification does.

    def partitions(self, table: str) -> dict[Partition, list[str]]:
        """Return the files of each partition of *table*, both sorted; else as `files`."""
        found: dict[Partition, list[str]] = {}
        for path, entry in sorted(self._files(table, self._find(table)), key=lambda pair: pair[0]):
            if (partition := partition_in(entry)) is not None:
                found.setdefault(partition, []).append(path)
        return dict(sorted(found.items()))

    def sizes(self, table: str) -> dict[Partition, int]:
        """Return how many rows each partition of *table* has, as the log says."""
        found: dict[Partition, int] = {}
        for entry in self._actions(self._find(table)):
            if (partition := partition_in(entry)) is not None:
                found[partition] = found.get(partition, 0) + (entry["num_records"] or 0)
        return found

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
        if columns_in(delta) != types_of(schema):
            self._begin_anew(table, schema)
            instead_of = None
        batches = rows.to_batches() if isinstance(rows, pa.Table) else rows
        files = self._write(table, ((partition, _with_constant(b, made_from, inside)) for b in batches))
        self._replace(table, schema, partition, added(files, {MADE_FROM.name: made_from}), instead_of)

    def remove_partition(self, table: str, partition: Partition) -> None:
        """
        Take *partition* out of *table*, because what it was made from is gone.

        Raises:
            Superseded: Another process replaced it at the same moment; nothing was removed.
        """
        delta = self._open(table)
        self._replace(table, schema_in(delta), partition, [], self._made_from(delta).get(partition))

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
            added |= self._append("identity", whole(rows), snapshot, 1)
        return added

    def identity_objects(self) -> pa.Table | None:
        """Return the objects of every snapshot that was added, or None if none ever was."""
        delta = self._find("identity")
        return None if delta is None else self.read("identity", schema_in(delta))

    def identity_files(self) -> dict[str, int]:
        """
        Return the files that hold the objects now, and how many each has; they never change.

        Of a store that is compacted meanwhile they say the same as those in their place.
        """
        entries = sorted(self._files("identity", self._find("identity")), key=lambda pair: pair[0])
        return {path: entry["num_records"] or 0 for path, entry in entries}

    def rewrite_identity(self, fewer: Callable[[pa.Table], pa.Table]) -> tuple[int, int]:
        """
        Put what *fewer* makes of all objects in their place, in one commit; return how many rows there were and are.

        What others add meanwhile stays. Snapshots that were added once are still known.
        """
        if self._find("identity") is None:
            return 0, 0

        def attempt(delta: DeltaTable) -> tuple[int, int]:
            schema, files = schema_in(delta), self._files("identity", delta)
            if not files:
                return 0, 0
            before = pa.concat_tables([pq.ParquetFile(path).read().cast(schema) for path, _ in files])
            after = fewer(before)
            actions = [*added(self._write("identity", whole(after)())), *(removed(entry) for _, entry in files)]
            properties = once(next_transaction(delta, "compact"))
            delta.create_write_transaction(actions, "append", schema, commit_properties=properties)
            return before.num_rows, after.num_rows

        return self._commit("identity", attempt)

    def remember_models(self, models: Sequence[tuple[str, str]]) -> bool:
        """Keep (name, text) of the model files that were named last, in order; return False if they are the same."""
        if self.models() == list(models):
            return False
        rows = [{"position": i, "name": name, "text": text} for i, (name, text) in enumerate(models)]
        if self._find("models") is None:
            self._make("models", MODEL_SCHEMA)
        adds = added(self._write("models", whole(pa.Table.from_pylist(rows, schema=MODEL_SCHEMA))()))

        def attempt(delta: DeltaTable) -> None:
            properties = once(next_transaction(delta, "models"))
            delta.create_write_transaction(adds, "overwrite", MODEL_SCHEMA, commit_properties=properties)

        self._commit("models", attempt)
        return True

    def models(self) -> list[tuple[str, str]]:
        """Return what `remember_models` was given last; empty if nothing ever was."""
        rows = self.read("models", MODEL_SCHEMA).sort_by("position").to_pylist()
        return [(row["name"], row["text"]) for row in rows]

    # How that is done.

    def _create(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._problem(f"cannot be made: {one_line(error)}", do="Give another folder") from error
        for name, schema in _ALWAYS.items():
            if self._find(name) is None:
                self._make(name, schema)

    def _made_from(self, delta: DeltaTable | None) -> dict[Partition, str | None]:
        values: dict[Partition, set[str | None]] = {}
        for entry in self._actions(delta):
            # A file whose statistics say nothing is as one whose rows disagree.
            ends = entry.get(f"min.{MADE_FROM.name}"), entry.get(f"max.{MADE_FROM.name}")
            if (partition := partition_in(entry)) is not None:
                values.setdefault(partition, set()).update(ends)
        return {key: next(iter(found)) if len(found) == 1 else None for key, found in sorted(values.items())}

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
            actions = [*adds, *(removed(entry) for entry in self._actions(delta) if partition_in(entry) == partition)]
            # Two who take the same files out are in conflict by that; two who fill an empty partition only by the id.
            properties = once(next_transaction(delta, app_id))
            delta.create_write_transaction(
                actions, "append", schema, partition_columns(schema), commit_properties=properties
            )

        self._commit(table, attempt)

    def _begin_anew(self, table: str, schema: pa.Schema) -> None:
        """Empty the table and give it the columns of *schema*: what another version made of it cannot be kept."""

        def attempt(delta: DeltaTable) -> None:
            if columns_in(delta) != types_of(schema):
                delta.create_write_transaction([], "overwrite", schema, partition_columns(schema))

        self._commit(table, attempt)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _with_constant(batch: pa.RecordBatch, value: str, schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([*batch.columns, pa.repeat(pa.scalar(value, TEXT), len(batch))], schema=schema)
