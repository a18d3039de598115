"""Calico's masquerade, as of then: which pods leave with their node's address, and towards which addresses none do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache, partial
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple

from vzflow.flow.key import canonical_address
from vzflow.identity.kept import CALICO_NODE_ADDRESSES
from vzflow.identity.lives import State
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

    def __init__(self, pools: Iterable[State[Any]], felix: Iterable[State[Any]]) -> None:
        self._pools = steps_of(pools)
        #: Cluster and name -> what that configuration was; several of one name only one after the other.
        self._felix: dict[tuple[str, str], list[list[Step]]] = defaultdict(list)
        for (cluster, _), objects in steps_of(felix).items():
            for key, steps in objects.items():
                self._felix[cluster, key.split("/")[1]].append(steps)
        self._natted: dict[tuple[str, tuple[str, ...]], tuple[Phase[bool | None], ...]] = {}
        self._spared: dict[tuple[str, str], tuple[Phase[bool], ...]] = {}
        self._leaving: dict[tuple[int, int], tuple[Phase[Leaving], ...]] = {}
        self._alike: dict[str, tuple[Phase[Any], ...]] = {}

    def of_pod(self, cluster: str, node: str, addresses: tuple[str, ...]) -> tuple[Phase[Leaving], ...]:
        """
        Return the spans in which one thing holds of a pod there; together they cover all time, and may overlap.

        What is said of two pods alike is the same object.
        """
        place = (cluster, addresses if (cluster, None) in self._pools else ())
        if place not in self._natted:
            self._natted[place] = self._shared(phases(self._pools_of(cluster), partial(_by_pools, place[1])))
        if (cluster, node) not in self._spared:
            told = [steps for name in ("default", f"node.{node}") for steps in self._felix.get((cluster, name), ())]
            self._spared[cluster, node] = self._shared(phases(told, _spares_nodes))
        natted, spared = self._natted[place], self._spared[cluster, node]
        key = (id(natted), id(spared))  # both are kept
        if key not in self._leaving:
            self._leaving[key] = self._shared(_leaving(natted, spared))
        return self._leaving[key]

    def _shared(self, found: Iterable[Phase[Any]]) -> tuple[Phase[Any], ...]:
        held = tuple(found)
        return self._alike.setdefault(repr(held), held)

    def none_towards(
        self,
        addresses: Iterable[tuple[str, str]],
        nodes: Iterable[State[Any]],
        led_to: Mapping[tuple[str, str], _Spans],
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


def _leaving(natted: Iterable[Phase[bool | None]], spared: Iterable[Phase[bool]]) -> Iterator[Phase[Leaving]]:
    for since, until, masqueraded in natted:
        for begin, end, nodes_are in within(spared, since, until):
            yield begin, end, Leaving(masqueraded, masqueraded and not nodes_are)


def _by_pools(addresses: tuple[str, ...], pools: list[State[Any]]) -> bool | None:
    """Return whether some address is masqueraded, by the narrowest pool around it; null where one is in no pool."""
    said = set()
    for address in addresses:
        inside = [(_network(p.object["spec"]["cidr"]).prefixlen, p) for p in pools if _is_inside(address, p)]
        narrowest = max(inside, key=lambda found: found[0], default=None)
        said.add(None if narrowest is None else bool(narrowest[1].object["spec"].get("natOutgoing", False)))
    return True if True in said else None if None in said or not said else False


def _is_inside(address: str, pool: State[Any]) -> bool:
    cidr = pool.object.get("spec", {}).get("cidr")
    return cidr is not None and _address(address) in _network(cidr)


_address, _network = lru_cache(1024)(ip_address), lru_cache(1024)(ip_network)


def _spares_nodes(felix: list[State[Any]]) -> bool:
    """A node's own configuration counts before that of all, setting by setting."""
    told = [(f.name == "default", f.object.get("spec", {}).get("natOutgoingExclusions")) for f in felix]
    return next((value for _, value in sorted(t for t in told if t[1] is not None)), None) == NODES_TOO


def _known_by(node: State[Any] | None) -> set[str]:
    """Return the addresses that Calico knows a node by, one of each family."""
    annotations = {} if node is None else node.object.get("metadata", {}).get("annotations", {})
    found = set()
    for text in (annotations[key] for key in CALICO_NODE_ADDRESSES if key in annotations):
        try:
            found.add(canonical_address(text.partition("/")[0]))
        except ValueError:
            continue
    return found


def _is_known_by(address: str, nodes: list[State[Any]]) -> bool:
    return any(address in _known_by(node) for node in nodes)
