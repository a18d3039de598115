"""Calico's masquerade, as of then: which pods leave with their node's address, and towards which addresses none do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache, partial
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from vzflow.flow.key import canonical_address
from vzflow.identity.kept import CALICO_NODE_ADDRESSES
from vzflow.identity.lives import State, pod_addresses
from vzflow.identity.phases import Phase, Step, certainly, phases, steps_of, within

#: Of Felix's natOutgoingExclusions the value that leaves alone what goes to nodes; its default, IPPoolsOnly, does not.
NODES_TOO = "IPPoolsAndHostIPs"
POOL, NODE = "pool", "node"

_Spans = list[tuple[int, int]]


class Leaving(NamedTuple):
    """Whether a pod leaves with its node's address: outside of the pools, and to nodes. Null: nothing says so."""

    pools: bool | None = None
    to_nodes: bool | None = None


class Masquerade:
    """
    The IPPools and FelixConfigurations of all clusters, over time.

    Felix masquerades what pods of a pool with natOutgoing send to an address that is in no pool, be it disabled, and,
    where it is told so, is none that Calico knows a node by (its NATOutgoingChain, masqManager, hostsIPSetManager).
    """

    def __init__(self, pools: Iterable[State], felix: Iterable[State]) -> None:
        self._pools = steps_of(pools)
        #: Cluster and name -> what that configuration was; several of one name only one after the other.
        self._felix: dict[tuple[str, str], list[list[Step]]] = defaultdict(list)
        for (cluster, _), objects in steps_of(felix).items():
            for key, steps in objects.items():
                self._felix[cluster, key.split("/")[1]].append(steps)
        self._natted: dict[tuple[str, tuple[str, ...]], list[Phase[bool | None]]] = {}
        self._spared: dict[tuple[str, str], list[Phase[bool]]] = {}

    def of_pod(self, pod: State) -> Iterator[Phase[Leaving]]:
        """Yield the spans in which one thing holds of a pod; together they cover its state, and may overlap."""
        node, addresses = pod.object.get("spec", {}).get("nodeName", ""), tuple(pod_addresses(pod.object))
        if (pod.cluster, addresses) not in self._natted:
            found = phases(self._pools_of(pod.cluster), partial(_by_pools, addresses))
            self._natted[pod.cluster, addresses] = found
        if (pod.cluster, node) not in self._spared:
            told = [steps for name in ("default", f"node.{node}") for steps in self._felix.get((pod.cluster, name), ())]
            self._spared[pod.cluster, node] = phases(told, _spares_nodes)
        for since, until, natted in within(self._natted[pod.cluster, addresses], pod.since, pod.until):
            for begin, end, spared in within(self._spared[pod.cluster, node], since, until):
                yield begin, end, Leaving(natted, natted and not spared)

    def none_towards(
        self, addresses: Iterable[tuple[str, str]], nodes: Iterable[State], led_to: Mapping[tuple[str, str], _Spans]
    ) -> Iterator[tuple[str, str, str, int, int]]:
        """
        Yield cluster, address, why, and the span in which no pod leaves masqueraded for that address of a node.

        Why is POOL where that holds for every pod of a pool, NODE where it takes a Felix that was told so. What may
        have been otherwise, between two snapshots that differ, is left out.

        Args:
            addresses: Cluster and address, of nodes.
            nodes: Calico's own idea of a node's address stands in annotations.
            led_to: Cluster and address -> spans in which kube-proxy may have led pods there under their node's address.
        """
        known: dict[tuple[str, str], dict[str, list[Step]]] = defaultdict(dict)
        for (cluster, _), objects in steps_of(nodes).items():
            for name, steps in objects.items():
                for address in {a for _, _, state in steps for a in _known_by(state)}:
                    known[cluster, address][name] = steps
        for key in sorted(set(addresses)):
            not_then = [(since, until, False) for since, until in led_to.get(key, ())]
            inside = phases(self._pools_of(key[0], key[1]), lambda pools: bool(pools))
            in_pool = certainly([*inside, *not_then])
            of_node = phases(list(known[key].values()), partial(_is_known_by, key[1]))
            besides = [(since, until, False) for since, until in in_pool]
            yield from ((*key, POOL, since, until) for since, until in in_pool)
            yield from ((*key, NODE, since, until) for since, until in certainly([*of_node, *not_then, *besides]))

    def _pools_of(self, cluster: str, around: str | None = None) -> list[list[Step]]:
        """Return the pools of a cluster; only those that ever were around an address, and then only while they were."""
        found = list(self._pools.get((cluster, None), {}).values())
        if around is None:
            return found
        cut = ([(a, b, s if s and _is_inside(around, s) else None) for a, b, s in steps] for steps in found)
        return [steps for steps in cut if any(state for _, _, state in steps)]


def _by_pools(addresses: tuple[str, ...], pools: list[State]) -> bool | None:
    """Return whether some address is masqueraded, by the narrowest pool around it; null where one is in no pool."""
    said = set()
    for address in addresses:
        inside = [(_network(p.object["spec"]["cidr"]).prefixlen, p) for p in pools if _is_inside(address, p)]
        narrowest = max(inside, key=lambda found: found[0], default=None)
        said.add(None if narrowest is None else bool(narrowest[1].object["spec"].get("natOutgoing", False)))
    return True if True in said else None if None in said or not said else False


def _is_inside(address: str, pool: State) -> bool:
    cidr = pool.object.get("spec", {}).get("cidr")
    return cidr is not None and _address(address) in _network(cidr)


_address, _network = lru_cache(1024)(ip_address), lru_cache(1024)(ip_network)


def _spares_nodes(felix: list[State]) -> bool:
    """A node's own configuration counts before that of all, setting by setting."""
    told = [(f.name == "default", f.object.get("spec", {}).get("natOutgoingExclusions")) for f in felix]
    return next((value for _, value in sorted(t for t in told if t[1] is not None)), None) == NODES_TOO


def _known_by(node: State | None) -> set[str]:
    """Return the addresses that Calico knows a node by, one of each family."""
    annotations = {} if node is None else node.object.get("metadata", {}).get("annotations", {})
    found = set()
    for text in (annotations[key] for key in CALICO_NODE_ADDRESSES if key in annotations):
        try:
            found.add(canonical_address(text.partition("/")[0]))
        except ValueError:
            continue
    return found


def _is_known_by(address: str, nodes: list[State]) -> bool:
    return any(address in _known_by(node) for node in nodes)
