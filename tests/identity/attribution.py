"""
How often a simulated cluster's flows are attributed to whom they were of, and the table of it in docs/attribution.md.

`python -m identity.attribution` writes the table.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
from identity.churn import BEGIN, HOUR, Cluster
from identity.churn_flows import OUTSIDE, Flows, Truth
from identity.churn_objects import save_list, save_recording, save_snapshot

from vzflow.flow.schema import FLOW_SCHEMA
from vzflow.identity.snapshot import load
from vzflow.identity.tables import tables
from vzflow.model import classify
from vzflow.model.document import load as load_model
from vzflow.store.duck import connect

NAME = "simulated"
PAGE = Path(__file__).parents[2] / "docs" / "attribution.md"
SEEDS = (1, 2, 3)
FLOWS = 30_000
#: What is known of the cluster, and which flows: anywhere in lives, or half of them near the ends of lives.
KNOWN = {"recording of a watch": "watch", "snapshot every hour": "snapshots", "kubectl list every hour": "lists"}
NEAR = {"any time": 0.0, "half near an end of a life": 0.5}
#: The answers, as the page explains them.
OUTCOMES = ("right", "replica", "ambiguous", "unknown", "wrong, marked", "starting", "wrong")
_BEGIN, _END = "<!-- Made by `python -m identity.attribution`. -->", "<!-- End of what is made. -->"

_ENDS = """
WITH named AS (
  SELECT record, initiator_namespace || '/' || initiator_pod AS initiator_pod,
    initiator_namespace || '/' || initiator_workload AS initiator_workload,
    responder_namespace || '/' || responder_pod AS responder_pod,
    responder_namespace || '/' || responder_workload AS responder_workload,
    initiator_kind, initiator_identity_basis, initiator_node, responder_kind, responder_identity_basis, responder_node
  FROM classified
), ends AS (
  SELECT i.record, true AS initiator, i.initiator_set AS set_id, n.initiator_kind AS kind,
    n.initiator_identity_basis AS basis, n.initiator_pod AS pod, n.initiator_workload AS workload,
    n.initiator_node AS node
  FROM identified i JOIN named n ON n.record = i.record
  UNION ALL
  SELECT i.record, false, i.responder_set, n.responder_kind, n.responder_identity_basis, n.responder_pod,
    n.responder_workload, n.responder_node
  FROM identified i JOIN named n ON n.record = i.record
), member AS (
  SELECT s.set_id, c.namespace || '/' || c.pod AS pod FROM set_candidate s JOIN candidate c ON c.party_id = s.party_id
)
SELECT e.kind, e.basis, e.pod, e.workload, e.node, t.pod AS true_pod, t.workload AS true_workload, t.node AS true_node,
  t.by_service, CAST(epoch_us(f.first_seen) AS BIGINT) AS moment,
  e.set_id IN (SELECT m.set_id FROM member m WHERE m.pod = t.pod) AS among
FROM ends e
JOIN truth t ON t.record = e.record AND t.initiator = e.initiator
JOIN recorded f ON f.record = e.record
"""


def objects(cluster: Cluster, known: str) -> pa.Table:
    """Return what the store would hold of the cluster: of a watch, of dated snapshots or of undated lists."""
    with tempfile.TemporaryDirectory() as folder:
        if known == "watch":
            return load([save_recording(cluster, Path(folder) / "watch.jsonl")], NAME)
        save = save_snapshot if known == "snapshots" else save_list
        hours = range(BEGIN, cluster.end + 1, HOUR)
        return load([save(cluster, at, Path(folder) / f"{at}.json") for at in hours], NAME)


def attributed(cluster: Cluster, held: pa.Table, near: float, flows: int = FLOWS) -> list[dict]:
    """Return both ends of *flows* flows, each with what identification says and what is true."""
    batch, truth = Flows(cluster, NAME, near=near, services=0.1).draw(flows, BEGIN, cluster.end)
    with connect(threads=1) as duck:
        classify.prepare(duck, tables(held, [NAME]) | load_model(["verrazzano-1.0"], on=date(2026, 1, 2)).tables())
        duck.register(classify.RECORDED, pa.Table.from_batches([batch]).cast(FLOW_SCHEMA))
        classify.classify(duck)
        duck.register("truth", _truth(cluster, batch.column("record"), truth))
        return duck.run(_ENDS).to_pylist()


def _truth(cluster: Cluster, record: pa.Array, truth: Truth) -> pa.Table:
    parts = []
    for initiator, places in ((True, truth.initiator), (False, truth.responder)):
        lives = [None if place == OUTSIDE else cluster.lives[place] for place in places]
        parts.append(
            pa.table(
                {
                    "record": record,
                    "initiator": pa.repeat(initiator, len(lives)),
                    "pod": [life and life.title for life in lives],
                    "workload": [life and f"{life.workload.namespace}/{life.workload.name}" for life in lives],
                    "node": [life and life.node for life in lives],
                    "by_service": np.zeros(len(lives), bool) if initiator else truth.by_service,
                }
            )
        )
    return pa.concat_tables(parts)


def outcome(end: dict, starting: set[tuple[str, int]]) -> str:
    """
    Return which of OUTCOMES an end is.

    Args:
        end: A row of `attributed` whose truth is a pod.
        starting: (pod, moment in seconds) at which a pod was started and had no address yet.
    """
    if end["kind"] in ("unknown", "service"):
        return "unknown"
    if end["pod"] == end["true_pod"]:
        return "right"
    if end["by_service"] and end["workload"] == end["true_workload"]:
        return "replica"
    if end["pod"] is None and (end["among"] or (end["kind"] == "node" and end["node"] == end["true_node"])):
        return "ambiguous"
    if end["basis"] == "after_snapshot":
        return "wrong, marked"
    return "starting" if (end["pod"], end["moment"] // 1_000_000) in starting else "wrong"


def started(cluster: Cluster) -> set[tuple[str, int]]:
    """Return the seconds of the clock in which each pod was started and had no address yet."""
    return {
        (life.title, second)
        for life in cluster.lives
        for second in range(life.started // 1_000_000, life.addressed // 1_000_000 + 1)
    }


def counted(cluster: Cluster, held: pa.Table, near: float, flows: int = FLOWS) -> Counter[str]:
    """Return how many ends that were pods have each of OUTCOMES."""
    early = started(cluster)
    return Counter(outcome(end, early) for end in attributed(cluster, held, near, flows) if end["true_pod"] is not None)


def table() -> str:
    """Return the page's table."""
    lines = [f"| known | flows | ends | {' | '.join(OUTCOMES)} |", f"|---|---|{'--:|' * (len(OUTCOMES) + 1)}"]
    lines += [row(title, when) for title in KNOWN for when in NEAR]
    return "\n".join(lines) + "\n"


def row(title: str, when: str) -> str:
    """Return one line of the table: percentages of the ends of all SEEDS."""
    found = Counter[str]()
    for cluster in (Cluster(seed=seed) for seed in SEEDS):
        found += counted(cluster, objects(cluster, KNOWN[title]), NEAR[when])
    shares = " | ".join(f"{100 * found[name] / found.total():.2f} %" if found[name] else "0" for name in OUTCOMES)
    return f"| {title} | {when} | {found.total():,} | {shares} |"


def on_page() -> str:
    """Return the table that the page holds."""
    return PAGE.read_text().split(_BEGIN)[1].split(_END)[0].strip() + "\n"


def main() -> int:
    before, rest = PAGE.read_text().split(_BEGIN)
    PAGE.write_text(f"{before}{_BEGIN}\n\n{table()}\n{_END}{rest.split(_END)[1]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
