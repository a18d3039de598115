"""
What a store holds of a simulated cluster that was watched for a day: pods as a mesh has them, a file for each hour.

`python -m bench.make_objects FILE --pods 400 --generations 50` writes the rows of OBJECT_SCHEMA as a Parquet file.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from bench.make_identity import CLUSTER, cluster_of
from identity.churn import BEGIN, HOST_PORT, HOUR, TARGET, Cluster, Object
from identity.churn_objects import KINDS, changes, snapshot

from vzflow.identity.kept import timestamp
from vzflow.identity.snapshot import LISTED, TAKEN_AT, load

_SIDECAR = {
    "name": "istio-proxy",
    "ports": [{"name": "http-envoy-prom", "containerPort": 15090, "protocol": "TCP"}],
    "readinessProbe": {"httpGet": {"path": "/healthz/ready", "port": 15021}},
}
_INIT = {"name": "istio-init", "args": ["istio-iptables", "-p", "15001", "-b", "*", "-d", "15090,15021,15020"]}
_CONDITIONS = ("Initialized", "Ready", "ContainersReady", "PodScheduled")


def meshed(item: Object, nodes: Mapping[str, str]) -> Object:
    """
    Return a pod as a mesh has it: with probes, a sidecar unless on its node's network, and what Istio labels it.

    *nodes* are their addresses by name.
    """
    if item["kind"] != "Pod":
        return item
    metadata, spec, status = item["metadata"], item["spec"], item["status"]
    app, owner = metadata["labels"]["app"], metadata["ownerReferences"][0]["name"]
    labels = metadata["labels"] | {"pod-template-hash": owner.rpartition("-")[2], "version": "v1"}
    port = HOST_PORT if spec.get("hostNetwork") else TARGET
    probe = {"httpGet": {"path": "/healthz", "port": "http", "scheme": "HTTP"}, "periodSeconds": 10}
    containers = [c | {"readinessProbe": probe, "livenessProbe": probe} for c in spec["containers"]]
    containers[0]["ports"] = [*containers[0]["ports"], {"name": "metrics", "containerPort": port + 1}]
    if not spec.get("hostNetwork"):
        containers.append(_SIDECAR)
        spec = spec | {"initContainers": [_INIT]}
        labels |= {
            "security.istio.io/tlsMode": "istio", "service.istio.io/canonical-name": app,
            "service.istio.io/canonical-revision": "v1",
        }  # fmt: skip
    if "containerStatuses" in status:
        first = status["containerStatuses"][0]
        began = (first["state"].get("running") or first["state"]["terminated"])["startedAt"]
        said = [{"type": kind, "status": "True", "lastTransitionTime": began} for kind in _CONDITIONS]
        status = status | {
            "hostIP": nodes[spec["nodeName"]], "conditions": [*status["conditions"], *said],
            "containerStatuses": [c | {"name": name} for name in ("app", "istio-proxy") for c in [first]],
        }  # fmt: skip
    metadata = metadata | {"labels": labels, "generateName": f"{owner}-"}
    return item | {"metadata": metadata, "spec": spec | {"containers": containers}, "status": status}


def objects(cluster: Cluster) -> pa.Table:
    """Return what the store holds after a watch whose files each held an hour."""
    told = changes(cluster)
    nodes = {node.name: node.address for node in cluster.nodes}
    place, tables = 0, []
    with tempfile.TemporaryDirectory() as folder:
        for since in range(BEGIN, cluster.end, HOUR):
            until = since + HOUR
            ends = next((n for n in range(place, len(told)) if told[n].at >= until), len(told))
            path = Path(folder) / f"{since}.jsonl"
            with path.open("w") as file:
                if since == BEGIN:
                    heading = {"annotations": {TAKEN_AT: timestamp(BEGIN), LISTED: ",".join(sorted(KINDS))}}
                    items = [meshed(item, nodes) for item in snapshot(cluster, BEGIN)]
                    listing = {"apiVersion": "v1", "kind": "List", "metadata": heading, "items": items}
                    file.write(json.dumps(listing) + "\n")
                file.writelines(_bookmarks(since))
                for change in told[place:ends]:
                    event = {"type": change.type, "at": timestamp(change.at), "object": meshed(change.object, nodes)}
                    file.write(json.dumps(event) + "\n")
                file.writelines(_bookmarks(until))
            tables.append(load([path], CLUSTER))
            path.unlink()
            place = ends
    return pa.concat_tables(tables)


def _bookmarks(at: int) -> Iterator[str]:
    for kind in KINDS:
        said = {"apiVersion": "v1", "kind": kind, "metadata": {"resourceVersion": "1"}}
        yield json.dumps({"type": "BOOKMARK", "at": timestamp(at), "object": said}) + "\n"


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make_objects", description="Make the cluster objects of a measurement.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--pods", type=int, default=400)
    parser.add_argument("--generations", type=int, default=50)
    options = parser.parse_args(words)
    cluster = cluster_of(options.pods, options.generations)
    made = objects(cluster)
    pq.write_table(made, options.file, compression="zstd")
    print(f"{len(cluster.lives):,} lives; rows: {dict(Counter(made.column('kind').to_pylist()))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
