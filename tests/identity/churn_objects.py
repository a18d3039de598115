"""What the API server of a simulated cluster shows: lists of one moment, and every change as a watch sees it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from identity.churn import BEGIN, HOST_PORT, PORT, SECOND, TARGET, Cluster, Life, Node, Object, Workload

from vzflow.identity.kept import timestamp
from vzflow.identity.snapshot import LISTED, TAKEN_AT, save

#: What `vzflow snapshot` would list.
KINDS = ("Pod", "Service", "EndpointSlice", "Node", "ReplicaSet", "Job", "PeerAuthentication")
_GRACE = 30 * SECOND
#: How long after the API shows a start or an end the other controllers have written what follows from it.
_FOLLOWS = 200_000
#: How long an event takes to whoever watches.
_HEARD = 5_000


class Change(NamedTuple):
    """One event of a watch: when it was sent, `ADDED`, `MODIFIED` or `DELETED`, and the object."""

    at: int
    type: str
    object: Object


def stamp(moment: int) -> str:
    """Return a time as Kubernetes writes it: cut to whole seconds."""
    return timestamp(moment)[:19] + "Z"


def snapshot(cluster: Cluster, at: int) -> list[Object]:
    """Return what lists of all KINDS hold at the moment *at*."""
    found = [_node(node) for node in cluster.nodes if node.born <= at < node.gone]
    lives = [life for life in cluster.lives if life.created <= at < life.gone]
    found += [pod(life, at) for life in lives]
    owners = {(life.workload.number, life.owner): life for life in reversed(lives)}
    found += [owner for life in owners.values() if (owner := _owner(life)) is not None]
    of: dict[int, list[Life]] = defaultdict(list)
    for life in lives:
        of[life.workload.number].append(life)
    for workload in filter(_served, cluster.workloads):
        found += [_service(workload), _slice(workload, of[workload.number], at)]
    return [*found, _strict()]


def save_snapshot(cluster: Cluster, at: int, path: Path) -> Path:
    """Write a snapshot as `vzflow snapshot` does, which says when it was taken and of what."""
    save(snapshot(cluster, at), path, at, KINDS)
    return path


def save_list(cluster: Cluster, at: int, path: Path) -> Path:
    """Write what `kubectl get -A -o json` prints, which says neither."""
    content = {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": snapshot(cluster, at)}
    path.write_text(json.dumps(content))
    return path


def changes(cluster: Cluster) -> list[Change]:
    """Return every event of a watch of KINDS that began before the cluster did, in order."""
    found = [Change(BEGIN, "ADDED", _strict())]
    for node in cluster.nodes:
        found.append(Change(max(node.born, BEGIN), "ADDED", _node(node)))
        if node.gone < cluster.end:
            found.append(Change(node.gone, "DELETED", _node(node)))
    of: dict[int, list[Life]] = defaultdict(list)
    owners: dict[tuple[int, str], list[Life]] = defaultdict(list)
    for life in cluster.lives:
        of[life.workload.number].append(life)
        owners[life.workload.number, life.owner].append(life)
        found += _changes_of_pod(life)
    for lives in owners.values():
        owner = _owner(lives[0])
        if owner is not None:
            found.append(Change(lives[0].created - 10_000, "ADDED", owner))
    for workload in filter(_served, cluster.workloads):
        found.append(Change(BEGIN, "ADDED", _service(workload)))
        found += _changes_of_slice(workload, of[workload.number])
    return sorted((c for c in found if c.at < cluster.end), key=lambda c: c.at)


def save_recording(cluster: Cluster, path: Path) -> Path:
    """Write what `vzflow watch` does: a list of all KINDS, every change as it was heard, and that all was heard."""
    heading = {"annotations": {TAKEN_AT: timestamp(BEGIN), LISTED: ",".join(sorted(KINDS))}}
    lines: list[Object] = [{"apiVersion": "v1", "kind": "List", "metadata": heading, "items": snapshot(cluster, BEGIN)}]
    heard = [(change.at + _HEARD, change) for change in changes(cluster)]
    lines += [{"type": c.type, "at": timestamp(at), "object": c.object} for at, c in heard if at < cluster.end]
    for kind in KINDS:
        object_ = {"apiVersion": "v1", "kind": kind, "metadata": {"resourceVersion": "1"}}
        lines.append({"type": "BOOKMARK", "at": timestamp(cluster.end), "object": object_})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def _changes_of_pod(life: Life) -> Iterator[Change]:
    shown = [m for m in (life.created + 100_000, life.started + 100_000, life.told, life.asked, life.ended) if m]
    yield Change(life.created, "ADDED", pod(life, life.created))
    for at in sorted(m for m in shown if m < life.gone):
        yield Change(at, "MODIFIED", pod(life, at))
    yield Change(life.gone, "DELETED", pod(life, life.gone))


def _changes_of_slice(workload: Workload, lives: list[Life]) -> Iterator[Change]:
    yield Change(BEGIN, "ADDED", _slice(workload, [], BEGIN))
    for at in sorted({m + _FOLLOWS for life in lives for m in (life.told, life.asked) if m is not None}):
        yield Change(at, "MODIFIED", _slice(workload, lives, at))


def pod(life: Life, at: int) -> Object:
    """Return the pod as the API shows it at the moment *at*."""
    metadata: Object = {
        "name": life.name, "namespace": life.workload.namespace, "uid": f"{life.created}-{life.slot}",
        "creationTimestamp": stamp(life.created), "labels": life.workload.labels, "ownerReferences": [_owner_of(life)],
    }  # fmt: skip
    if life.asked is not None and at >= life.asked:
        metadata["deletionTimestamp"] = stamp(life.asked + _GRACE)
    port = {"name": "http", "containerPort": HOST_PORT if life.host_network else TARGET}
    spec: Object = {
        "nodeName": life.node, "serviceAccountName": life.workload.name,
        "containers": [{"name": "app", "ports": [port]}],
    }  # fmt: skip
    if life.host_network:
        spec["hostNetwork"] = True
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": _status(life, at)}


def _status(life: Life, at: int) -> Object:
    if at < life.started + 100_000:
        return {"phase": "Pending"}
    status: Object = {"phase": "Pending", "startTime": stamp(life.started)}
    if at < life.told:
        return status
    over = life.ended is not None and at >= life.ended
    run = {"startedAt": stamp(life.ran)} | ({"finishedAt": stamp(life.finished)} if over else {})
    # Clusters before 1.29 have no such condition, and not every kubelet ends the phase of a pod that is deleted.
    ready = {
        "type": "PodReadyToStartContainers",
        "status": "True",
        "lastTransitionTime": stamp(life.addressed + 50_000),
    }
    job = life.workload.kind == "CronJob"
    phase = "Succeeded" if over and job else "Failed" if over and life.slot % 2 else "Running"
    return status | {
        "phase": phase, "podIP": life.address, "podIPs": [{"ip": life.address}],
        "conditions": [ready] if life.workload.number % 2 else [],
        "containerStatuses": [{"name": "app", "state": {"terminated" if over else "running": run}}],
    }  # fmt: skip


def _owner_of(life: Life) -> Object:
    kind = {"Deployment": "ReplicaSet", "CronJob": "Job"}.get(life.workload.kind, life.workload.kind)
    return {"apiVersion": "apps/v1", "kind": kind, "name": life.owner, "uid": life.owner, "controller": True}


def _owner(life: Life) -> Object | None:
    """Return the ReplicaSet or Job between a pod and its workload; null where there is none."""
    workload = life.workload
    direct = {"Deployment": ("apps/v1", "ReplicaSet"), "CronJob": ("batch/v1", "Job")}.get(workload.kind)
    if direct is None:
        return None
    above = {
        "apiVersion": direct[0],
        "kind": workload.kind,
        "name": workload.name,
        "uid": workload.name,
        "controller": True,
    }
    metadata = {
        "name": life.owner, "namespace": workload.namespace, "uid": life.owner,
        "creationTimestamp": stamp(life.created - SECOND), "ownerReferences": [above],
    }  # fmt: skip
    return {"apiVersion": direct[0], "kind": direct[1], "metadata": metadata}


def _node(node: Node) -> Object:
    metadata = {
        "name": node.name, "uid": node.name, "creationTimestamp": stamp(node.born),
        "annotations": {"projectcalico.org/IPv4VXLANTunnelAddr": f"{node.block}.1"},
    }  # fmt: skip
    status = {"addresses": [{"type": "InternalIP", "address": node.address}]}
    spec = {"podCIDR": f"{node.block}.0/24"}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": spec, "status": status}


def _served(workload: Workload) -> bool:
    return workload.kind in ("Deployment", "StatefulSet")


def _service(workload: Workload) -> Object:
    metadata = _named(workload.name, workload.namespace)
    port = {"name": "http", "port": PORT, "targetPort": "http", "protocol": "TCP"}
    spec = {"clusterIP": workload.cluster_ip, "selector": workload.labels, "ports": [port]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def _slice(workload: Workload, lives: list[Life], at: int) -> Object:
    ready = [
        life.address
        for life in lives
        if life.told + _FOLLOWS <= at < (life.gone if life.asked is None else life.asked) + _FOLLOWS
    ]
    labels = {"kubernetes.io/service-name": workload.name}
    return {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": _named(f"{workload.name}-x", workload.namespace) | {"labels": labels},
        "endpoints": [{"addresses": [address]} for address in ready],
        "ports": [{"name": "http", "protocol": "TCP", "port": TARGET}],
    }  # fmt: skip


def _strict() -> Object:
    metadata = _named("default", "istio-system")
    spec = {"mtls": {"mode": "STRICT"}}
    return {"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": metadata, "spec": spec}


def _named(name: str, namespace: str) -> dict[str, Any]:
    return {
        "name": name, "namespace": namespace, "uid": f"{namespace}-{name}", "creationTimestamp": stamp(BEGIN - SECOND),
    }  # fmt: skip
