"""
A made-up cluster for logs: workloads with pods and services, the world around, and who talks to whom how often.

Some thousand pods of 400 workloads in 40 namespaces; 3000 pairs of workloads, of which a few talk most.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

WORKLOADS, NAMESPACES, NODES, PAIRS = 400, 40, 80, 3000
#: Addresses outside: of the internet, of network sets, of hosts with an endpoint of their own.
PUBLIC, SETS, HOSTS = 20_000, 24, NODES
MOST_PODS = 60

_TEAMS = ("shop", "pay", "ship", "stock", "fraud", "search", "media", "ledger", "crm", "data")
_STAGES = ("prod", "canary", "batch", "edge")
_NAMES = (
    "cart", "checkout", "orders", "prices", "profile", "reviews", "ratings", "mailer", "tokens", "session", "catalog",
    "invoice", "refund", "courier", "label", "stock", "picker", "report", "export", "feed",
)  # fmt: skip
_ROLES = ("api", "web", "worker", "cache", "db")
#: Name and number of a service's port by role.
_PORTS = {"api": ("http", 8080), "web": ("http-web", 80), "worker": ("grpc", 9090), "cache": ("redis", 6379),
          "db": ("tcp-postgres", 5432)}  # fmt: skip
#: Kubernetes' alphabet for random names (k8s.io/apimachinery util/rand).
_ALPHABET = np.array(list("bcdfghjklmnpqrstvwxz2456789"))


class Workload(NamedTuple):
    """A Deployment and the Service in front of it; its pods are *pods* from *first* on."""

    namespace: str
    name: str
    role: str
    template: str
    service_ip: str
    port_name: str
    port: int
    first: int
    pods: int

    @property
    def host(self) -> str:
        return f"{self.name}.{self.namespace}.svc.cluster.local"


class End(NamedTuple):
    """
    What may be at one end of an exchange.

    Args:
        kind: `pod`, `public`, `set` or `host`.
        workload: Number of a pod's workload; -1 for others.
    """

    kind: str
    name: str
    ip: str
    node: str
    workload: int


class Exchanges(NamedTuple):
    """Numbers of the ends of exchanges: arrays of one length."""

    clients: np.ndarray
    servers: np.ndarray


class Cluster:
    """The ends, pods first, and the pairs of workloads that talk."""

    def __init__(self, random: np.random.Generator) -> None:
        self.workloads: list[Workload] = []
        self.ends: list[End] = []
        sizes = np.minimum(1 + random.pareto(1.2, WORKLOADS) * 3, MOST_PODS).astype(int).tolist()
        templates, suffixes = _words(random, WORKLOADS, 10), iter(_words(random, sum(sizes), 5))
        for number, (size, template) in enumerate(zip(sizes, templates, strict=True)):
            workload = _workload(number, template, len(self.ends), size)
            self.workloads.append(workload)
            for _ in range(size):
                name = f"{workload.name}-{template}-{next(suffixes)}"
                self.ends.append(self._pod(name, number))
        self.pods = len(self.ends)
        self._outside(random)
        self._first = np.array([w.first for w in self.workloads])
        self._size = np.array(sizes)
        self._client = random.integers(0, WORKLOADS, PAIRS)
        self._server = (WORKLOADS * random.random(PAIRS) ** 2).astype(int)
        weight = 1 / np.arange(1, PAIRS + 1) ** 0.9
        self._upto = np.cumsum(weight) / weight.sum()

    def _pod(self, name: str, workload: int) -> End:
        number = len(self.ends)
        node, nth = number % NODES, number // NODES
        return End("pod", name, f"10.244.{node}.{nth + 2}", f"node-{node:02}", workload)

    def _outside(self, random: np.random.Generator) -> None:
        for number in range(SETS):
            self.ends.append(End("set", f"partner-{number:02}", f"172.31.{number}.10", "", -1))
        for number in range(HOSTS):
            self.ends.append(End("host", f"node-{number:02}-eth0", f"192.168.10.{number + 1}", f"node-{number:02}", -1))
        for ip in random.integers(20 << 24, 200 << 24, PUBLIC).tolist():
            self.ends.append(End("public", "-", ".".join(str(byte) for byte in ip.to_bytes(4)), "", -1))

    def exchanges(self, count: int, random: np.random.Generator) -> Exchanges:
        """Draw pods of pairs of workloads."""
        pair = np.searchsorted(self._upto, random.random(count))
        return Exchanges(self._pods_of(self._client[pair], random), self._pods_of(self._server[pair], random))

    def _pods_of(self, workload: np.ndarray, random: np.random.Generator) -> np.ndarray:
        return self._first[workload] + (random.random(len(workload)) * self._size[workload]).astype(int)

    def outside(self, count: int, random: np.random.Generator) -> np.ndarray:
        """Draw ends that are no pods: the first of them far more often than the last."""
        return self.pods + ((len(self.ends) - self.pods) * random.random(count) ** 3).astype(int)


def _workload(number: int, template: str, first: int, pods: int) -> Workload:
    name, role = _NAMES[number % len(_NAMES)], _ROLES[number // len(_NAMES) % len(_ROLES)]
    namespace = f"{_TEAMS[number % NAMESPACES % len(_TEAMS)]}-{_STAGES[number % NAMESPACES // len(_TEAMS)]}"
    port_name, port = _PORTS[role]
    address = f"10.96.{number // 250}.{number % 250 + 1}"
    return Workload(namespace, f"{name}-{role}-{number:03}", role, template, address, port_name, port, first, pods)


def _words(random: np.random.Generator, count: int, length: int) -> list[str]:
    return ["".join(word) for word in _ALPHABET[random.integers(0, len(_ALPHABET), (count, length))].tolist()]
