"""
What is measured of identity and classification, in a process of its own: WHAT LOOKUPS STORE, or `objects` FILE.

The folders LOOKUPS and STORE are those that `bench.make_identity` made. `lookups` only begins: what `edges` and
`verdicts` do first. `edges` counts the flows between workloads by verdict, and stores nothing.
`verdicts` classifies the store as `vzflow report` would, and takes what it wrote away again. `naive` is what one would
write without vzflow: two range joins for each flow, and counts. `objects` makes the lookups of the cluster objects in
FILE, which `bench.make_objects` made.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vzflow.identity.tables import tables
from vzflow.model import classify
from vzflow.pipeline.freshness import Freshness
from vzflow.pipeline.judge import Judge, model_of
from vzflow.pipeline.passes import parts, passes, weights
from vzflow.store.duck import Duck, connect
from vzflow.store.lake import Lake
from vzflow.store.tables import RECORDED_SCHEMA

_EDGES = """
SELECT a.namespace AS initiator_namespace, a.workload AS initiator_workload, b.namespace AS responder_namespace,
  b.workload AS responder_workload, i.target_port, coalesce(j.verdict, 'unknown') AS verdict, count(*) AS flows
FROM identified i
JOIN set_display a ON a.set_id = i.initiator_set
JOIN set_display b ON b.set_id = i.responder_set
LEFT JOIN judgement j ON j.combination = i.combination
GROUP BY ALL
"""
_SUMMED = "SELECT * EXCLUDE (flows), sum(flows)::BIGINT AS flows FROM edges GROUP BY ALL"
_HELD = """
SELECT h.address, h.valid_from, h.valid_to, min(m.party_id) AS party_id
FROM holding h JOIN set_member m ON m.set_id = h.set_id GROUP BY ALL
"""
_NAIVE = """
SELECT a.namespace, a.workload, b.namespace, b.workload, f.responder_port,
  EXISTS (
    SELECT 1 FROM rule_grant u
    WHERE u.to_term = 'component:' || b.workload AND u.port_lo = f.responder_port
      AND u.from_term IN ('any', 'pod', 'mesh', 'namespace:' || a.namespace, 'component:' || a.workload)
  ) AS allowed, count(*) AS flows
FROM recorded f
LEFT JOIN held i ON i.address = f.initiator_ip AND f.first_seen >= i.valid_from AND f.first_seen < i.valid_to
LEFT JOIN held r ON r.address = f.responder_ip AND f.first_seen >= r.valid_from AND f.first_seen < r.valid_to
LEFT JOIN party a ON a.party_id = i.party_id
LEFT JOIN party b ON b.party_id = r.party_id
GROUP BY ALL
"""


def lookups_in(folder: Path) -> dict[str, pa.Table]:
    """Return the lookups by name; they stay on disk until they are read."""
    return {path.stem: pa.ipc.open_file(pa.memory_map(str(path))).read_all() for path in folder.glob("*.arrow")}


def of_objects(file: Path) -> str:
    """Make the lookups; return of how many states of pods they speak, and how long each took."""
    begin = time.process_time()
    made = tables(pq.ParquetFile(file).iter_batches(), [])
    lives = made["party"].filter(pc.equal(made["party"].column("kind"), "pod")).num_rows
    return f"{lives} lives, {(time.process_time() - begin) / lives * 1e6:.0f} us each"


def edges(duck: Duck, lake: Lake) -> pa.Table:
    """Return how many flows went from which workload to which, on which port, with which verdict."""
    found = []
    recorded = lake.partitions("recorded")
    sizes = weights(lake, Freshness(duck, ()), list(recorded))
    for partitions in passes(list(recorded), sizes):
        files = [f for p in partitions for f in recorded[p]]
        for _ in parts(duck, classify.RECORDED, files, sum(sizes[p] for p in partitions)):
            classify.classify(duck)
            found.append(duck.run(_EDGES))
    duck.register("edges", pa.concat_tables(found))
    return duck.run(_SUMMED)


def verdicts(lake: Lake, lookups: dict[str, pa.Table]) -> int:
    """Classify every partition of the store; return how many there were."""
    judge = Judge(lake, model_of(lake))
    judge.__dict__["lookups"] = lookups
    return judge.refresh()


def naive(duck: Duck, lake: Lake) -> pa.Table:
    """Return the like of edges, all partitions at once."""
    duck.parquet_view("recorded", lake.files("recorded"), RECORDED_SCHEMA)
    duck.create_table("held", _HELD)
    return duck.run(_NAIVE)


def main(words: list[str] | None = None) -> int:
    what, *given = words or sys.argv[1:]
    if what == "objects":
        print(of_objects(Path(given[0])))
        return 0
    lookups, store = given
    found = lookups_in(Path(lookups))
    if what == "verdicts":
        written = Path(store) / "classified"
        shutil.rmtree(written, ignore_errors=True)
        partitions = verdicts(Lake.open(store), found)
        size = sum(file.stat().st_size for file in written.rglob("*.parquet"))
        print(f"partitions {partitions}, {size / 1e6:.1f} MB")
        shutil.rmtree(written)
        return 0
    lake = Lake.open(Path(store))
    with connect() as duck:
        if what == "naive":
            for name, table in found.items():
                duck.register(name, table)
            counted = naive(duck, lake)
        else:
            classify.prepare(duck, found)
            if what == "lookups":
                return 0
            counted = edges(duck, lake)
    print(f"edges {counted.num_rows}, flows {sum(counted.column('flows').to_pylist())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
