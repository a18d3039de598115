"""
Makes what identity and classification are measured on: the lookups of a simulated cluster, and a store of its flows.

`python -m bench.make_identity FOLDER --pods 20000 --generations 50 --flows 10000000` puts `lookups/NAME.arrow` and
`store/` into FOLDER. The lookups are those that `identity.tables` and a model would give; they are written directly,
because objects of a million pods are not what is measured. Flows go through the store's own code, as segments.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
from identity.churn import BEGIN, HOST_PORT, HOUR, TARGET, Cluster, Life, Size, Workload
from identity.churn_flows import Flows

from vzflow.flow.lookups import FOREVER, IDENTITY, MODEL
from vzflow.flow.schema import TIME
from vzflow.identity.party import LAST_PORT
from vzflow.store.lake import Lake, Unit

CLUSTER = "bench"
RULES, COMPONENTS = 300, 280
HOURS = 24
#: Flows of one segment, at most: a capture of a busy hour.
SEGMENT = 2_000_000
_BATCH = 1 << 17

Rows = Sequence[tuple[Any, ...]]


def cluster_of(pods: int, generations: int, seed: int = 1) -> Cluster:
    """Return a cluster of about so many pods at a time, each of them replaced so many times in a day."""
    size = Size(
        hours=HOURS, nodes=max(pods // 50, 2), deployments=pods * 8 // 100, replicas=10, stateful_sets=pods // 20,
        cron_jobs=pods // 60, life=round(HOURS * HOUR / generations), rollouts=max(generations // 5, 1),
        runs=generations, losses=pods // 1000,
    )  # fmt: skip
    return Cluster(size, seed)


def lookups(cluster: Cluster) -> dict[str, pa.Table]:
    """Return every table of `flow.lookups` for the cluster, one party for each life, and for a model of RULES rules."""
    rows: dict[str, Rows] = {name: () for name in (*IDENTITY, *MODEL)}
    rows |= _parties(cluster.lives) | _holders(cluster) | _model(cluster.workloads)
    return {name: _table(rows[name], schema) for name, schema in (IDENTITY | MODEL).items()}


def _table(rows: Rows, schema: pa.Schema) -> pa.Table:
    """Return the rows as a table; columns that they end before are null."""
    columns = list(zip(*rows, strict=True))
    columns += [(None,) * len(rows)] * (len(schema) - len(columns))
    arrays = [
        pa.array(column, pa.int64()).cast(TIME) if field.type == TIME else pa.array(column, field.type)
        for column, field in zip(columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _party(life: Life) -> str:
    return f"{CLUSTER}/pod/{life.title}#{life.created & 0xFFFFFFFF:08x}"


def _labels(life: Life) -> str:
    return _set(f"{life.workload.name} {life.owner}")


def _profile(life: Life) -> str:
    return "host" if life.host_network else "meshed"


def _set(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _parties(lives: Sequence[Life]) -> dict[str, Rows]:
    """A sidecar in every pod that has an address of its own, and one policy for the mesh."""
    ids = [(_party(life), life) for life in lives]
    captured = [(1, 15_019), (15_022, 15_089), (15_091, LAST_PORT)]
    return {
        "party": [
            (
                party, CLUSTER, "pod", life.workload.namespace, life.name, life.workload.name, life.workload.kind,
                life.workload.name, f'{{"app": "{life.workload.name}"}}', life.node, not life.host_network,
                life.host_network, _labels(life), _profile(life),
            )
            for party, life in ids
        ],
        "party_label": sorted(
            {
                (_labels(life), *label)
                for life in lives
                for label in (("app", life.workload.name), ("owner", life.owner), ("version", "1"))
            }
        ),
        "party_port": [
            (profile, "tcp", *port)
            for profile, number in (("host", HOST_PORT), ("meshed", TARGET))
            for port in ((number, "container"), (15_021, "probe"))
        ],
        "party_capture": [("meshed", *ports) for ports in captured],
        "party_policy": [("meshed", 3, None, "STRICT", "istio-system/default", BEGIN)],
        "policy_known": [(CLUSTER,)],
        "party_address_term": [(party, "node") for party, life in ids if life.host_network],
    }  # fmt: skip


def _holders(cluster: Cluster) -> dict[str, Rows]:
    """Who held which address; a node's pods all hold the node's."""
    holding, members, named = list[tuple[Any, ...]](), list[tuple[Any, ...]](), list[tuple[Any, ...]]()
    shared: dict[str, list[str]] = {}
    for life in cluster.lives:
        party = _party(life)
        if life.host_network:
            shared.setdefault(life.address, []).append(party)
            continue
        one = _set(party)
        holding.append((CLUSTER, life.address, life.addressed, life.released, None, one))
        named.append((CLUSTER, f"pod:{life.title}", life.addressed, life.released, None, one))
        members.append((one, party))
    for address, parties in shared.items():
        holding.append((CLUSTER, address, BEGIN - HOUR, FOREVER, None, _set(address)))
        members += [(_set(address), party) for party in parties]
    return {"holding": holding, "set_member": members, "named": named}


def _model(workloads: Sequence[Workload]) -> dict[str, Rows]:
    """Components of one workload each, and rules among them, some of which speak of namespaces and of anybody."""
    draw = Random(1)
    chosen = draw.sample(workloads, min(COMPONENTS, len(workloads)))
    terms = [f"component:{w.name}" for w in chosen]
    others = [*(f"namespace:ns{n}" for n in range(7)), "any", "node", "own_node", "mesh", "pod"]
    rules = [f"R{n:03}" for n in range(RULES)]
    return {
        "component": [(w.name, True, "yes", "unmodelled") for w in chosen],
        "selector": [(w.name, 1, w.namespace, "app", w.name, 1) for w in chosen],
        "protected_namespace": [("ns0",), ("ns1",)],
        "trust_domain": [("cluster.local",)],
        "rule": [
            (rule, "documented", draw.choice(("mtls", "mtls", "unspecified")), "row", "", "", "bench", None)
            for rule in rules
        ],
        "rule_grant": [
            (
                rule, draw.choice(terms if n % 4 else others), terms[n % len(terms)], "tcp", TARGET, TARGET, None,
            )
            for n, rule in enumerate(rules)
        ],
    }  # fmt: skip


def fill(store: Path, cluster: Cluster, count: int) -> int:
    """Put about *count* flows into a new store, in segments; return how many."""
    lake = Lake.open(store, create=True)
    flows = Flows(cluster, CLUSTER)
    segments = -(-count // SEGMENT)
    step = HOURS * HOUR // segments
    stored = 0
    for number in range(segments):
        since = BEGIN + number * step
        batches = list(_batches(flows, count // segments, since, since + step))
        stored += sum(len(batch) for batch in batches)
        segment = f"{number:016x}"
        receipt = {
            "name": f"{number}.pcap", "format": "pcap", "interpretation": "{}", "cluster": CLUSTER, "digest": segment,
            "offset_from": 0, "offset_to": 1, "bytes": 1, "records_read": 1, "records_in_flows": 1, "skipped": "{}",
            "unfinished_bytes": 0, "vzflow_version": "0", "ingested_at": datetime(2026, 1, 3, tzinfo=UTC),
        }  # fmt: skip
        lake.add_segment(batches, lambda s=segment, r=receipt: Unit(s, r))
    return stored


def _batches(flows: Flows, count: int, since: int, until: int) -> Iterator[pa.RecordBatch]:
    parts = -(-count // _BATCH)
    step = (until - since) // parts
    first = 1
    for number in range(parts):
        # Some of those that are drawn meet nobody: a slot between two pods.
        batch, _ = flows.draw(count // parts * 11 // 10, since + number * step, since + (number + 1) * step, first)
        batch = batch.slice(0, count // parts)
        first += len(batch)
        yield batch


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="make_identity", description="Make the lookups and the store of a measurement."
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pods", type=int, default=20_000)
    parser.add_argument("--generations", type=int, default=50)
    parser.add_argument("--flows", type=int, nargs="+", default=[10_000_000], help="a store of each size")
    options = parser.parse_args(words)
    cluster = cluster_of(options.pods, options.generations)
    tables = options.folder / "lookups"
    tables.mkdir(parents=True, exist_ok=True)
    for name, table in lookups(cluster).items():
        with pa.OSFile(str(tables / f"{name}.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
    for count in options.flows:
        stored = fill(options.folder / f"store-{count}", cluster, count)
        print(f"{len(cluster.lives):,} pods in all, {stored:,} flows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
