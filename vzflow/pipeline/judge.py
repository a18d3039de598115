"""Recorded flows -> classified flows, for the partitions that are stale; and a session to query both."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache, cached_property
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vzflow.flow import lookups
from vzflow.flow.errors import UsageProblem
from vzflow.flow.schema import CLASSIFIED_SCHEMA, NO_TIME
from vzflow.identity import tables as identity_tables
from vzflow.identity.snapshot import OBJECT_SCHEMA, SNAPSHOT
from vzflow.model import catalogue, classify
from vzflow.model.document import Model, load, load_texts
from vzflow.pipeline.freshness import Freshness, end_in
from vzflow.pipeline.passes import parts, passes, weights
from vzflow.store import memo
from vzflow.store.duck import Duck, connect
from vzflow.store.lake import Lake, Superseded
from vzflow.store.tables import PARTITION_FIELDS, RECORDED_SCHEMA, REJECT_SCHEMA, Partition

#: The model of a store that was never told of one.
DEFAULT_MODEL = "verrazzano-1.0"
#: How often another process may replace a partition first before this one gives up.
_TRIES = 5

#: Flows whose verdict, or one of whose ends, is another than in the classification before.
_MOVED = """
SELECT count(*) AS flows FROM decided n JOIN classified_before b ON b.segment = n.segment AND b.record = n.record
WHERE n.verdict <> b.verdict OR n.reason <> b.reason OR n.transport_status IS DISTINCT FROM b.transport_status
  OR n.initiator_kind <> b.initiator_kind OR n.responder_kind <> b.responder_kind
  OR n.initiator_namespace IS DISTINCT FROM b.initiator_namespace OR n.initiator_pod IS DISTINCT FROM b.initiator_pod
  OR n.responder_namespace IS DISTINCT FROM b.responder_namespace OR n.responder_pod IS DISTINCT FROM b.responder_pod
"""

#: When the flows of each partition ended; as `queries/lived/span.sql` has it of all together.
_ENDS = """
SELECT dt, hour, max(CASE WHEN source = 'calico' AND last_seen > first_seen THEN last_seen ELSE first_seen END) AS until
FROM recorded GROUP BY dt, hour
"""
#: What is written of a partition.
_DECIDED = f"SELECT {', '.join(CLASSIFIED_SCHEMA.names)} FROM decided"  # noqa: S608
#: Fewer cluster objects are made into lookups sooner than those are looked for.
_FEW = 1_000

#: Which cluster objects were seen when, without what they say, which is most of what a store has of them.
_SEEN = pa.schema([field for field in OBJECT_SCHEMA if field.name not in ("object", "snapshot", "uid")])

#: Called as partitions are classified: how many are done, of how many.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Asked:
    """What a report is asked for; None asks for everything. Times are UTC, `until` is exclusive."""

    since: datetime | None = None
    until: datetime | None = None
    namespace: str | None = None
    workload: str | None = None
    port: int | None = None
    verdict: str | None = None


def today() -> date:
    """Return the date on which `model show` and `model lint` call an accepted edge expired; flows have times."""
    return datetime.now(UTC).date()


def model_of(lake: Lake, named: Sequence[str | Path] = ()) -> Model:
    """
    Return the model to judge by: *named* (remembered by the store from now on), or what the store remembers.

    Raises:
        UsageProblem: A model file cannot be used.
    """
    if named:
        model = load(named, on=today())
        lake.remember_models(model.sources)
        return model
    remembered = lake.models()
    return load_texts(remembered, on=today()) if remembered else load([DEFAULT_MODEL], on=today())


def lookups_of(
    model: Model, objects: pa.Table | Iterable[pa.RecordBatch], clusters: Sequence[str]
) -> dict[str, pa.Table]:  # fmt: skip
    """Return the tables of `flow.lookups` that cluster *objects* (`OBJECT_SCHEMA`) and a model come to."""
    return identity_tables.tables(objects, clusters, _ranges(model)) | model.tables()


def _ranges(model: Model) -> list[identity_tables.Range]:
    return [identity_tables.Range(name, block) for name, block in model.ranges]


@cache
def _identity_code() -> str:
    """Return 32 hex digits that change whenever what makes the lookups does, also between two versions."""
    state = blake2b(digest_size=16)
    for package in (identity_tables, lookups):
        for path in sorted(Path(str(package.__file__)).parent.glob("*.py")):
            state.update(path.read_bytes() + b"\0")
    return state.hexdigest()


class Judge:
    """The lookups of one store and model, ready to classify any of its partitions."""

    def __init__(self, lake: Lake, model: Model) -> None:
        self.lake = lake
        self.model = model
        self.moved = 0  # flows that `refresh` judged before, and now judged otherwise
        self._files = lake.identity_files()

    @cached_property
    def seen(self) -> pa.Table:
        """Return which cluster objects were seen when, in columns of OBJECT_SCHEMA."""
        return pa.Table.from_batches(self.lake.batches(self._files, _SEEN), schema=_SEEN)

    @cached_property
    def snapshots(self) -> pa.Table:
        """Return the rows of OBJECT_SCHEMA that are about the snapshots themselves."""
        batches = self.lake.batches(self._files, OBJECT_SCHEMA)
        own = [batch.filter(pc.equal(batch.column("kind"), SNAPSHOT)) for batch in batches]
        return pa.Table.from_batches(own, schema=OBJECT_SCHEMA)

    @cached_property
    def lookups(self) -> dict[str, pa.Table]:
        """Return the tables that classification joins flows against."""
        clusters = sorted({row["cluster"] for row in self.lake.receipts().to_pylist()})
        objects = self.lake.batches(self._files, OBJECT_SCHEMA)
        if sum(self._files.values()) < _FEW:
            return lookups_of(self.model, objects, clusters)
        state = blake2b(_identity_code().encode(), digest_size=16)
        for part in (clusters, _ranges(self.model), [Path(file).name for file in self._files]):
            state.update(repr(part).encode() + b"\0")
        held = memo.recall(self.lake.root, state.hexdigest())
        if held is None:
            held = identity_tables.tables(objects, clusters, _ranges(self.model))
            memo.keep(self.lake.root, state.hexdigest(), held)
        return held | self.model.tables()

    def refresh(self, progress: Progress | None = None) -> int:
        """Classify every partition whose classification is missing or stale; return how many there were."""
        self.lake.recover()
        with connect() as duck:
            classify.prepare(duck, self.lookups)
            fresh = Freshness(duck, (version("vzflow"), classify.digest(), self.model.digest))
            stale = self._stale(fresh)
            done = 0
            sizes = weights(self.lake, fresh, stale)
            for partitions in passes(stale, sizes):
                if progress is not None:
                    progress(done, len(stale))
                self._classify(duck, fresh, partitions, sum(sizes[p] for p in partitions))
                done += len(partitions)
        return len(stale)

    def _stale(self, fresh: Freshness) -> list[Partition]:
        recorded = self.lake.partitions("recorded")
        made = self.lake.made_from("classified")
        for gone in sorted(set(made) - set(recorded)):
            self.lake.remove_partition("classified", gone)
        ends = {p: end for p in recorded if (end := end_in(p, made.get(p))) is not None}
        wanted = fresh.made_from({p: recorded[p] for p in ends}, ends)
        return [p for p in recorded if p not in wanted or made[p] != wanted[p]]

    def _classify(self, duck: Duck, fresh: Freshness, partitions: Sequence[Partition], weight: int) -> None:
        """Classify *partitions* together; one that another process replaces meanwhile is classified again, alone."""
        waiting = list(partitions)
        for attempt in range(_TRIES):
            before = self.lake.made_from("classified")
            recorded = self.lake.partitions("recorded")
            files = {p: recorded[p] for p in waiting if p in recorded}
            duck.parquet_view(classify.RECORDED, [f for its in files.values() for f in its], RECORDED_SCHEMA)
            ends = {(row["dt"], row["hour"]): row["until"] for row in duck.run(_ENDS).to_pylist()}
            wanted = fresh.made_from(files, ends)
            waiting = [p for p in wanted if before.get(p) != wanted[p]]
            if not waiting:
                return
            portions: Iterable[None] = self._portions(duck, [f for p in waiting for f in files[p]], weight)
            if len(waiting) > 1:
                portions = list(portions)  # together they are one
            superseded = [p for p in waiting if not self._replaced(duck, p, portions, wanted[p], before.get(p))]
            if superseded and attempt == _TRIES - 1:
                place = "{}/classified/dt={}/hour={}".format(self.lake.root, *superseded[0])
                raise Superseded("other processes keep replacing it", at=place, do="Run the command again")
            waiting = superseded

    def _portions(self, duck: Duck, files: Sequence[str], weight: int) -> Iterator[None]:
        """Classify the flows of *files*, as many at a time as memory holds, in the view `classified`."""
        for _ in parts(duck, classify.RECORDED, files, weight):
            classify.classify(duck)
            yield

    def _replaced(
        self, duck: Duck, partition: Partition, portions: Iterable[None], made_from: str, before: str | None
    ) -> bool:
        """Store what is decided of *partition*; return False if it is not what it was *before*."""
        moved = 0

        def decided() -> Generator[pa.RecordBatch]:
            nonlocal moved
            for _ in portions:
                where = _begins_in(partition)
                duck.create_view("decided", f"SELECT * FROM {classify.RESULT} WHERE {where}")  # noqa: S608
                moved += self._moved(duck, partition)
                for batch in duck.run_batches(_DECIDED):
                    yield pa.RecordBatch.from_arrays(batch.columns, schema=CLASSIFIED_SCHEMA)

        rows = decided()
        try:
            reader = pa.RecordBatchReader.from_batches(CLASSIFIED_SCHEMA, rows)
            self.lake.replace_partition("classified", partition, reader, made_from, instead_of=before)
        except Superseded:
            return False
        finally:
            rows.close()  # DuckDB answers nothing else as long as somebody may read on
        self.moved += moved
        return True

    def _moved(self, duck: Duck, partition: tuple[str, str]) -> int:
        """Return how many flows are classified otherwise than the store has them, where it has them as we do."""
        files = self.lake.partitions("classified").get(partition, [])
        if any(not set(CLASSIFIED_SCHEMA.names) <= set(pq.read_schema(file).names) for file in files):
            return 0  # another version made them
        duck.parquet_view("classified_before", files, pa.schema([*CLASSIFIED_SCHEMA, *PARTITION_FIELDS]))
        return int(one_row(duck.run(_MOVED))["flows"])


def _begins_in(partition: Partition) -> str:
    """Return the condition that is true for the flows of a partition; those without a time are classified alone."""
    if NO_TIME in partition:
        return "true"
    hour = f"TIMESTAMPTZ '{partition[0]} {partition[1]}:00:00+00'"
    return f"first_seen >= {hour} AND first_seen < {hour} + INTERVAL '1' HOUR"


def session(judge: Judge, asked: Asked | None = None) -> Duck:
    """
    Return a DuckDB connection with every view of `queries/views/` over the store, classified first where stale.

    The caller closes it (it is a context manager).
    """
    judge.refresh()
    duck = connect()
    classify.prepare(duck, judge.lookups)
    classify.describe(duck)
    duck.register("receipts", judge.lake.receipts())
    duck.register("rejects", judge.lake.read("rejects", REJECT_SCHEMA))
    duck.register("asked", pa.Table.from_pylist([vars(asked or Asked())], schema=lookups.ASKED["asked"]))
    for name, schema in lookups.COMPARED.items():
        duck.register(name, schema.empty_table())
    duck.parquet_view("recorded", judge.lake.files("recorded"), RECORDED_SCHEMA)
    duck.parquet_view("classified", judge.lake.files("classified"), pa.schema([*CLASSIFIED_SCHEMA, *PARTITION_FIELDS]))
    for name, view in catalogue.views().items():
        duck.create_view(name, view.sql)
    return duck


def dissect(judge: Judge, flow_id: str) -> Duck:
    """
    Classify one flow alone and keep every table on the way: what `explain` reads from.

    The same queries run as for the whole store, so the explanation cannot differ from the verdict.

    Raises:
        UsageProblem: There is no such flow.
    """
    segment, _, record = flow_id.partition(":")
    if not re.fullmatch(r"[0-9]{1,18}", record):
        raise UsageProblem("not a flow id", at=flow_id, do="A flow id is `segment:record`, as reports print it.")
    duck = connect()
    duck.parquet_view("every_recorded", judge.lake.files("recorded"), RECORDED_SCHEMA)
    row = duck.run(
        "SELECT * FROM every_recorded WHERE segment = $segment AND record = $record",
        {"segment": segment, "record": int(record)},
    )
    if not row.num_rows:
        raise UsageProblem("no such flow in this store", at=flow_id, do="Copy the id from a report or from `sql`.")
    classify.prepare(duck, judge.lookups)
    duck.register("recorded", row)
    classify.classify(duck)
    return duck


def one_row(table: pa.Table) -> Mapping[str, Any]:
    """Return the only row of *table* as a mapping."""
    (row,) = table.to_pylist()
    return dict(row)


def rows_in(duck: Duck, query: catalogue.Query, params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Return what a shipped query gives, a mapping for each row."""
    return [dict(row) for row in duck.run(query.sql, params).to_pylist()]
