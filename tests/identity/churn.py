"""
A simulated cluster with churn that knows the truth: who held which address, from when until when.

Small pools of addresses are used again within milliseconds, Deployments roll out, StatefulSets keep their names, Jobs
finish and stay listed, nodes are lost with all on them. The moments of a pod's life come in the order in which a
kubelet brings them about, and the objects show them as the API does: later than they were, and in whole seconds.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from vzflow.identity.kept import microseconds

Object = dict[str, Any]
SECOND = 1_000_000
HOUR = 3600 * SECOND
#: When every simulation begins.
BEGIN = microseconds("2026-01-02T00:00:00Z")
#: What a service port of every workload leads to.
PORT, TARGET = 80, 8080
HOST_PORT = 9100
#: How long after a node is lost its pods are marked for deletion, and how much later they and the node are gone.
_EVICTED, _COLLECTED = 300 * SECOND, 30 * SECOND


@dataclass(frozen=True)
class Size:
    """
    What is simulated; times in microseconds.

    Args:
        life: A pod lives so long on average, between rollouts or without one.
        rollouts: Of each Deployment, at random times.
        runs: Of each CronJob, evenly; none of its pods lives longer than a third of the time between.
        spare: Addresses of a node that its pods need not have at once.
    """

    hours: int = 4
    nodes: int = 6
    deployments: int = 8
    replicas: int = 4
    stateful_sets: int = 3
    cron_jobs: int = 3
    life: int = 40 * 60 * SECOND
    rollouts: int = 3
    runs: int = 24
    losses: int = 2
    spare: int = 3


@dataclass(frozen=True, slots=True)
class Workload:
    """What pods belong to; `slots` are the numbers of its replicas, unique in the cluster."""

    number: int
    kind: str
    name: str
    slots: range
    rollouts: tuple[int, ...] = ()

    @property
    def namespace(self) -> str:
        return f"ns{self.number % 7}"

    @property
    def labels(self) -> dict[str, str]:
        return {"app": self.name}

    @property
    def cluster_ip(self) -> str:
        return f"10.96.{self.number // 250}.{self.number % 250 + 2}"


@dataclass(slots=True)
class Life:
    """
    One pod; it held `address` in [addressed, released) and ran something in [ran, finished).

    Args:
        told: When the API first showed the address. Null moments never come.
        asked: When its deletion was asked for.
        ended: When the API first showed that its containers had ended.
        gone: When the API stopped showing it.
        lost: Whether it ended because its node did.
    """

    workload: Workload
    slot: int
    name: str
    node: str
    created: int
    started: int
    addressed: int
    ran: int
    told: int
    finished: int
    released: int
    asked: int | None
    ended: int | None
    gone: int
    owner: str
    address: str = ""
    lost: bool = False

    @property
    def host_network(self) -> bool:
        return self.workload.kind == "DaemonSet"

    @property
    def title(self) -> str:
        return f"{self.workload.namespace}/{self.name}"


@dataclass(slots=True)
class Node:
    """A machine; `lost` and `gone` lie beyond the simulation for most."""

    name: str
    machine: int
    address: str
    block: str
    born: int
    lost: int
    free: list[tuple[int, str]] = field(default_factory=list)  # released at, address

    @property
    def gone(self) -> int:
        return self.lost + _EVICTED + _COLLECTED


class Cluster:
    """
    Everything that happened in it.

    Args:
        size: How much.
        seed: The same gives the same cluster.
    """

    def __init__(self, size: Size | None = None, seed: int = 1) -> None:
        self.size = size or Size()
        self.end = BEGIN + self.size.hours * HOUR
        self._random = Random(seed)
        self._last: dict[int, Node] = {}  # of each slot of a StatefulSet: its volume stays where it is
        self.workloads = list(self._workloads())
        self.nodes = list(self._nodes())
        self.lives: list[Life] = []
        self._live()

    # -- what happens

    def _workloads(self) -> Iterator[Workload]:
        size, draw = self.size, self._random
        begin = 0
        plan = [("Deployment", size.deployments, size.replicas), ("StatefulSet", size.stateful_sets, 3)]
        for kind, count, replicas in [*plan, ("CronJob", size.cron_jobs, 1), ("DaemonSet", 1, size.nodes)]:
            for number in range(count):
                times = sorted(draw.randrange(BEGIN, self.end) for _ in range(size.rollouts))
                yield Workload(
                    begin, kind, f"{kind.lower()}-{number}", range(begin, begin + replicas),
                    tuple(times) if kind == "Deployment" else (),
                )  # fmt: skip
                begin += replicas

    def _nodes(self) -> Iterator[Node]:
        """Yield the nodes, and after each that is lost another of a new name that gets its address."""
        each = -(-sum(len(w.slots) for w in self.workloads) * 5 // (4 * self.size.nodes)) + self.size.spare
        for number in range(self.size.nodes):
            born = BEGIN - 10 * 24 * HOUR
            lost = self._random.randrange(BEGIN, self.end) if number < self.size.losses else self.end + 100 * HOUR
            for name, since, until in ((f"n{number}", born, lost), (f"n{number}b", lost + 2 * _EVICTED, 2 * self.end)):
                if since < self.end:
                    block = f"10.{100 + number // 250}.{number % 250}"
                    node = Node(name, number, f"192.168.{number // 250}.{number % 250 + 1}", block, since, until)
                    node.free = [(BEGIN - HOUR, f"{block}.{host}") for host in range(2, 2 + each)]
                    yield node

    def _live(self) -> None:
        """Start pods in the order of their time, each followed by the next of its slot."""
        waiting = [(self._first(w, slot), slot, w) for w in self.workloads for slot in w.slots]
        heapq.heapify(waiting)
        while waiting:
            created, slot, workload = heapq.heappop(waiting)
            if created < self.end:
                life = self._life(workload, slot, created)
                heapq.heappush(waiting, (self._next(life), slot, workload))

    def _first(self, workload: Workload, slot: int) -> int:
        at = BEGIN + self._random.randrange(SECOND, 600 * SECOND) + slot % 7
        return self._up_again(slot - workload.slots[0], at) if workload.kind == "DaemonSet" else at

    def _next(self, life: Life) -> int:
        """Return when the pod that takes this one's place is created."""
        draw, workload = self._random, life.workload
        if workload.kind == "CronJob":
            return life.created + self.size.hours * HOUR // self.size.runs
        if workload.kind == "DaemonSet":
            return self._up_again(life.slot - workload.slots[0], life.gone + draw.randrange(100_000, SECOND))
        if workload.kind != "Deployment" or life.asked is None:
            return life.gone + draw.randrange(100_000, SECOND)
        if not life.lost and any(0 <= life.asked - r < 40 * SECOND for r in workload.rollouts):
            return max(
                life.created + 15 * SECOND, life.asked - draw.randrange(2 * SECOND, 10 * SECOND)
            )  # the new one is up first
        return life.asked + draw.randrange(20_000, SECOND)

    def _up_again(self, machine: int, at: int) -> int:
        """Return when, from *at* on, a machine is up; the end of all if it never is."""
        nodes = (n for n in self.nodes if n.machine == machine and at < n.lost - 20 * SECOND)
        return next((max(at, n.born + SECOND) for n in nodes), self.end)

    def _life(self, workload: Workload, slot: int, created: int) -> Life:
        draw = self._random
        started = created + draw.randrange(50_000, 900_000)
        node = self._node(workload, slot, started)
        address = self._address(workload, node, started + draw.randrange(300_000, 3 * SECOND))
        addressed, ran = address[0], address[0] + draw.randrange(100_000, 2 * SECOND)
        told = ran + draw.randrange(50_000, SECOND)
        finished, asked = self._ends(workload, told)
        # A node keeps its address, whoever of those that share it ends.
        released = finished + (0 if workload.kind == "DaemonSet" else draw.randrange(20_000, 900_000))
        ended = released + draw.randrange(10_000, 300_000)
        gone = ended + draw.randrange(50_000, SECOND)
        if workload.kind == "CronJob":
            asked = ended + draw.randrange(30 * SECOND, 1800 * SECOND)
            gone = asked + draw.randrange(50_000, SECOND)
        name, owner = self._named(workload, slot, created)
        life = Life(
            workload, slot, name, node.name, created, started, addressed, ran, told, finished, released, asked, ended,
            gone, owner, address[1],
        )  # fmt: skip
        if released > node.lost:
            self._lose(life, node.lost)
        elif not life.host_network:
            insort(node.free, (life.released, life.address))
        self.lives.append(life)
        return life

    def _ends(self, workload: Workload, told: int) -> tuple[int, int | None]:
        """Return when its containers end, and when its deletion was asked for."""
        draw, size = self._random, self.size
        if workload.kind == "CronJob":
            return told + draw.randrange(SECOND, size.hours * HOUR // (3 * size.runs)), None
        long = size.life if workload.kind != "DaemonSet" else 8 * size.life
        asked = told + 5 * SECOND + round(draw.expovariate(1 / long))
        rollout = next((r for r in workload.rollouts if r > told + 5 * SECOND), None)
        if rollout is not None and rollout < asked:
            asked = rollout + draw.randrange(30 * SECOND)
        return asked + draw.choice((draw.randrange(100_000, 3 * SECOND), 30 * SECOND)), asked

    def _lose(self, life: Life, lost: int) -> None:
        """Nobody saw it end: the API shows it until its node is collected."""
        life.finished, life.released, life.ended, life.lost = lost, lost, None, True
        life.asked = min(lost + _EVICTED, life.gone if life.asked is None else life.asked)
        life.gone = lost + _EVICTED + _COLLECTED

    def _node(self, workload: Workload, slot: int, at: int) -> Node:
        """Return a node that is up and has an address to give; a DaemonSet's slot stands for one machine."""

        def up(node: Node) -> bool:
            return node.born <= at < node.lost - 10 * SECOND

        if workload.kind == "DaemonSet":
            return next(n for n in self.nodes if n.machine == slot - workload.slots[0] and up(n))
        for node in (*filter(None, [self._last.get(slot)]), *self._random.choices(self.nodes, k=8)):
            if up(node) and node.free and node.free[0][0] <= at:
                chosen = node
                break
        else:
            chosen = min((n for n in self.nodes if up(n) and n.free), key=lambda n: n.free[0])
        if workload.kind == "StatefulSet":
            self._last[slot] = chosen
        return chosen

    def _address(self, workload: Workload, node: Node, at: int) -> tuple[int, str]:
        """Return when it gets which address: the one that was released last, or first."""
        if workload.kind == "DaemonSet":
            return at, node.address
        until = bisect_left(node.free, (at, ""))
        released, address = node.free.pop(until - 1 if self._random.random() < 0.6 and until else 0)
        return max(at, released + self._random.randrange(1000, 50_000)), address

    def _named(self, workload: Workload, slot: int, created: int) -> tuple[str, str]:
        """Return a pod's name and that of its direct owner."""
        suffix = "".join(self._random.choices("bcdfghjklmnpqrstvwxz2456789", k=5))
        if workload.kind == "Deployment":
            owner = f"{workload.name}-{sum(r <= created + 15 * SECOND for r in workload.rollouts):x}7c9f"
            return f"{owner}-{suffix}", owner
        if workload.kind == "StatefulSet":
            return f"{workload.name}-{slot - workload.slots[0]}", workload.name
        if workload.kind == "CronJob":
            owner = f"{workload.name}-{created // (60 * SECOND)}"
            return f"{owner}-{suffix}", owner
        return f"{workload.name}-{suffix}", workload.name
