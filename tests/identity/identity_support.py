"""Builders of Kubernetes objects as the API writes them, cut to what a test speaks of; clock times are of one day."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa

from vzflow.flow.lookups import IDENTITY
from vzflow.identity.kept import microseconds
from vzflow.identity.snapshot import load, save
from vzflow.identity.tables import Range, tables

Object = dict[str, Any]
CLUSTER = "prod"
#: What `vzflow snapshot` lists.
KINDS = ("Pod", "Service", "EndpointSlice", "Node", "Namespace", "ReplicaSet", "Job", "PeerAuthentication")


def at(clock: str) -> str:
    """Return 12:00 or 12:00:05 as Kubernetes writes it."""
    return f"2026-01-02T{clock if clock.count(':') == 2 else clock + ':00'}Z"


def us(clock: str) -> int:
    return microseconds(at(clock))


def meta(name: str, created: str, namespace: str | None = None, **more: Any) -> Object:
    own = {"name": name, "uid": f"{name}-{created}", "creationTimestamp": at(created)}
    return own | ({"namespace": namespace} if namespace else {}) | more


def pod(
    name: str,
    ip: str | list[str],
    start: str,
    *,
    namespace: str = "shop",
    node: str = "n1",
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    containers: list[Object] | None = None,
    finished: str | None = None,
    deleted: str | None = None,
    ran: str | None = None,
    host_network: bool = False,
    metadata: Object | None = None,
    spec: Object | None = None,
) -> Object:
    """
    A pod taken up by its node at *start*; its container ran from *ran* (not told when null) to *finished*.

    *deleted*: when the grace period of its deletion ends.
    """
    ips = [ip] if isinstance(ip, str) else ip
    more = {"labels": labels or {}, "annotations": annotations or {}} | (metadata or {})
    if deleted:
        more["deletionTimestamp"] = at(deleted)
    status: Object = {"phase": "Running", "startTime": at(start), "podIPs": [{"ip": i} for i in ips]}
    status["podIP"] = ips[0]
    if finished:
        status["phase"] = "Succeeded"
        state = {"terminated": {"startedAt": at(start), "finishedAt": at(finished)}}
        status["containerStatuses"] = [{"name": "app", "state": state}]
    elif ran:
        status["containerStatuses"] = [{"name": "app", "state": {"running": {"startedAt": at(ran)}}}]
    own: Object = {"nodeName": node, "containers": containers or [{"name": "app"}]}
    if host_network:
        own["hostNetwork"] = True
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta(name, start, namespace, **more),
        "spec": own | (spec or {}),
        "status": status,
    }


def node(name: str, ip: str, created: str = "01:00", *, annotations: Object | None = None, **spec: Any) -> Object:
    addresses = [{"type": "InternalIP", "address": ip}, {"type": "Hostname", "address": name}]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": meta(name, created, annotations=annotations or {}),
        "spec": spec,
        "status": {"addresses": addresses},
    }


def service(name: str, ports: list[Object], *, namespace: str = "shop", created: str = "02:00", **spec: Any) -> Object:
    status = spec.pop("status", {})
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta(name, created, namespace),
        "spec": {"ports": ports, **spec},
        "status": status,
    }


def endpoint_slice(
    service_name: str, addresses: list[str], port: int, *, namespace: str = "shop", port_name: str = ""
) -> Object:
    labels = {"kubernetes.io/service-name": service_name}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": meta(f"{service_name}-{port}", "02:00", namespace, labels=labels),
        "addressType": "IPv4",
        "endpoints": [{"addresses": [a]} for a in addresses],
        "ports": [{"name": port_name, "protocol": "TCP", "port": port}],
    }


def peer_authentication(
    name: str, mode: str | None, *, namespace: str = "istio-system", created: str = "02:00", **spec: Any
) -> Object:
    mtls = {"mtls": {"mode": mode}} if mode else {}
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": meta(name, created, namespace),
        "spec": mtls | spec,
    }


def objects(*snapshots: tuple[str, list[Object]], listed: tuple[str, ...] = KINDS) -> pa.Table:
    """Return what the store would hold of snapshots taken at these clock times, by way of files."""
    with TemporaryDirectory() as folder:
        paths = []
        for number, (clock, items) in enumerate(snapshots):
            paths.append(Path(folder) / f"{number}.json")
            save(items, paths[-1], us(clock), listed)
        return load(paths, CLUSTER)


class World:
    """The tables of some snapshots, asked the way the queries ask: by key and moment, at most one row."""

    def __init__(
        self, *snapshots: tuple[str, list[Object]], ranges: tuple[Range, ...] = (), table: pa.Table | None = None
    ) -> None:
        made = tables(objects(*snapshots) if table is None else table, [CLUSTER], ranges)
        self.rows = {name: table.to_pylist() for name, table in made.items() if name not in _TIMED}
        for name in _TIMED:
            table = made[name]
            for column in ("valid_from", "valid_to", "known_until", "since", "listed_at"):
                if column in table.column_names:
                    place = table.column_names.index(column)
                    table = table.set_column(place, column, table.column(column).cast(pa.int64()))
            self.rows[name] = table.to_pylist()
        self.party = {row["party_id"]: row for row in self.rows["party"]}

    def holder(self, address: str, clock: str) -> set[str]:
        return self._named(self._row("holding", clock, address=address))

    def behind(self, address: str, port: int, clock: str, protocol: str = "tcp") -> tuple[set[str], int | None]:
        row = self._row("endpoint", clock, address=address, port=port, protocol=protocol)
        return self._named(row), row["target_port"] if row else None

    def called(self, key: str, clock: str) -> set[str]:
        return self._named(self._row("named", clock, key=key))

    def vouched(self, address: str, clock: str) -> int | None:
        row = self._row("holding", clock, address=address)
        assert row is not None
        return row["known_until"]

    def of(self, table: str, name: str) -> list[Object]:
        """Return the rows of a party table for parties of that readable name, without their ids."""
        key = next(iter(IDENTITY[table].names))
        named = {self.party[party][key] for party in self.party if self.title(party) == name}
        return [{k: v for k, v in row.items() if k != key} for row in self.rows[table] if row[key] in named]

    def title(self, party_id: str) -> str:
        row = self.party[party_id]
        return f"{row['kind']}:{row['pod'] or row['workload'] or party_id}"

    def parties_at(self, address: str, clock: str) -> list[str]:
        row = self._row("holding", clock, address=address)
        assert row is not None
        return [m["party_id"] for m in self.rows["set_member"] if m["set_id"] == row["set_id"]]

    def _row(self, table: str, clock: str, **key: Any) -> Object | None:
        moment = us(clock)
        found = [
            row
            for row in self.rows[table]
            if all(row[k] == v for k, v in key.items()) and row["valid_from"] <= moment < row["valid_to"]
        ]
        assert len(found) <= 1, "intervals of one key overlap"
        return found[0] if found else None

    def _named(self, row: Object | None) -> set[str]:
        members = (m["party_id"] for m in self.rows["set_member"] if row and m["set_id"] == row["set_id"])
        return {self.title(party) for party in members}


_TIMED = ("holding", "endpoint", "named", "party_policy", "contested", "pods_listed", "unmasqueraded")
