"""
Objects -> disjoint intervals: who held which address, port and name, from when until when; conflicts stay visible.

A claim is what one object says; claims of pods on one address are settled against each other where the evidence
settles them, and what it leaves open is an interval with several parties.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from vzflow.identity.addresses import cluster_ips, node_addresses, outer_addresses, pod_ranges, runs_flannel
from vzflow.identity.claims import Life, spanning, within
from vzflow.identity.endpoints import AddressKey, Claimed, EndpointKey, Endpoints, is_api_server
from vzflow.identity.intervals import Claim, Cut, Interval, Span, disjoint, settle
from vzflow.identity.lives import State, states
from vzflow.identity.observed import Observed
from vzflow.identity.owners import Owners
from vzflow.identity.party import Party, PodParties, Ports, Traits
from vzflow.identity.pods import Pod
from vzflow.identity.roots import ROOT
from vzflow.identity.slices import Answering, Slice
from vzflow.identity.surroundings import Around

NodeKey = tuple[str, str]  # cluster, name
NameKey = tuple[str, str]  # cluster, pod:NS/NAME | prefix:NS/PREFIX | host:NODE


_NOBODY: set[str] = set()


@dataclass
class Timeline:
    """What `tables` writes down; the intervals of each key are disjoint and in order."""

    clusters: set[str] = field(default_factory=set)
    parties: dict[str, Party] = field(default_factory=dict)
    addresses: dict[AddressKey, list[Interval]] = field(default_factory=dict)
    endpoints: dict[EndpointKey, list[Interval]] = field(default_factory=dict)
    names: dict[NameKey, list[Interval]] = field(default_factory=dict)
    cuts: dict[AddressKey, list[Cut]] = field(default_factory=dict)
    terms: set[tuple[str, str]] = field(default_factory=set)  # party id, address term
    ports: dict[str, Ports] = field(default_factory=dict)  # party id -> ports that something leads to, of `endpoint`
    ranges: set[tuple[str, str, str, str]] = field(default_factory=set)  # cluster, CIDR, kind, name
    unmasqueraded: list[tuple[str, str, str, int, int]] = field(default_factory=list)  # as `Masquerade.none_towards`
    policy_known: set[str] = field(default_factory=set)
    pods_listed: list[tuple[str, int, int]] = field(default_factory=list)  # cluster, from, until


def timeline(objects: pa.Table | Iterable[pa.RecordBatch]) -> Timeline:
    """
    Return who held what, from rows of OBJECT_SCHEMA of any number of snapshots and clusters.

    No snapshot gives an empty timeline: nobody is known, and that is what it says.
    """
    observed = Observed(objects)
    by_kind: dict[str, list[State[Any]]] = defaultdict(list)
    for state in states(observed):
        by_kind[state.kind].append(state)
    building = _Building(by_kind)
    building.done.clusters = observed.clusters
    building.claim_addresses()
    building.claim_endpoints()
    building.claim_names()
    building.add_terms()
    building.add_unmasqueraded()
    building.done.pods_listed = observed.listings.everywhere("Pod")
    building.done.policy_known = observed.clusters_listing("PeerAuthentication", building.roots.ever, ROOT)
    return building.done


class _Building:
    """Collects claims kind by kind; the order of the public methods is that of what they need of each other."""

    def __init__(self, by_kind: Mapping[str, list[State[Any]]]) -> None:
        self.done = Timeline()
        self._slices: list[tuple[State[Slice], Answering]] = [
            (state, answering)
            for kind in ("EndpointSlice", "Endpoints")
            for state in by_kind.get(kind, ())
            for answering in state.shown.answering
        ]
        parties, around = PodParties(Owners(by_kind)), Around(by_kind)
        self.roots, self._masquerade = around.roots, around.masquerade
        self._led_to: Mapping[AddressKey, list[tuple[int, int]]] = {}
        self._pods = [self._pod(state, parties, around) for state in by_kind.get("Pod", ())]
        self._nodes = [self._node(state) for state in by_kind.get("Node", ())]
        self._services = [self._service(state) for state in by_kind.get("Service", ())]
        self._node_claims: dict[NodeKey, Claimed] = defaultdict(list)
        self._service_claims: list[tuple[Life[Any], Claimed]] = []
        self._api_claims: list[tuple[AddressKey, int, int]] = []
        self._felix = [Life(state, [(state.since, state.until, "")]) for state in by_kind.get("FelixConfiguration", ())]
        for state in by_kind.get("IPPool", ()):
            if "cidr" in state.object.get("spec", {}):
                self.done.ranges.add((state.cluster, state.object["spec"]["cidr"], "pod_range", state.name))
        for state in by_kind.get("ServiceCIDR", ()):
            for cidr in state.object.get("spec", {}).get("cidrs", ()):
                self.done.ranges.add((state.cluster, cidr, "service_range", state.name))

    # -- parties

    def _add(self, party: Party) -> str:
        return self.done.parties.setdefault(party.id, party).id

    def _pod(self, state: State[Pod], parties: PodParties, around: Around) -> Life[Pod]:
        return Life(state, [(a, b, self._add(parties.of(state, held))) for a, b, held in around.phases(state)])

    def _node(self, state: State[Any]) -> Life[Any]:
        return Life(state, [(state.since, state.until, self._node_party(state.cluster, state.name, state.uid))])

    def _node_party(self, cluster: str, name: str, uid: str) -> str:
        traits = Traits(cluster, "node", workload=name, workload_kind="Node", in_mesh=False)
        return self._add(traits.party(name, uid, node=name))

    def _service(self, state: State[Any]) -> Life[Any]:
        if is_api_server(state.namespace, state.name):
            party = self._api_server(state.cluster)
        else:
            traits = Traits(state.cluster, "service", state.namespace, state.name, "Service")
            party = self._add(traits.party(state.name, state.uid))
        return Life(state, [(state.since, state.until, party)])

    def _api_server(self, cluster: str) -> str:
        traits = Traits(cluster, "api_server", workload="kube-apiserver", in_mesh=False)
        return self._add(traits.party("kube-apiserver"))

    # -- addresses

    def claim_addresses(self) -> None:
        """Fill `addresses`: pods, nodes with their host-network pods, Services, the API server."""
        of_pods: dict[AddressKey, list[Claim]] = defaultdict(list)
        virtual: dict[AddressKey, list[Claim]] = defaultdict(list)
        shared: dict[AddressKey, list[Claim]] = defaultdict(list)
        for life in self._pods:
            if not life.state.shown.template.host_network:
                for address in life.state.shown.addresses:
                    of_pods[life.state.cluster, address].append(life.claim())
        self._claim_services(virtual, shared)
        for kind in (of_pods, virtual):
            for key, claims in kind.items():
                if cuts := settle(claims):
                    self.done.cuts.setdefault(key, []).extend(cuts)
        self._claim_nodes(shared)
        self._claim_host_network(shared)
        spans: dict[AddressKey, list[Span]] = defaultdict(list)
        for kind in (of_pods, virtual, shared):
            for key, claims in kind.items():
                spans[key] += [span for claim in claims for span in claim.spans()]
        self.done.addresses = _disjoint(spans)

    def _claim_nodes(self, shared: dict[AddressKey, list[Claim]]) -> None:
        """Several nodes may claim one address, as behind one NAT: all are candidates."""
        known: dict[NodeKey, set[str]] = defaultdict(set)
        latest: dict[NodeKey, str] = {}
        for life in self._nodes:
            node = (life.state.cluster, life.state.name)
            latest[node] = life.phases[0][2]
            for address, weak in node_addresses(life.state.object).items():
                known[node].add(address)
                claim = life.claim(weak=weak)
                shared[life.state.cluster, address].append(claim)
                self._node_claims[node].append((address, claim))
            for cidr in pod_ranges(life.state.object):
                self.done.ranges.add((life.state.cluster, cidr, "pod_range", life.state.name))
        for felix in self._felix:
            self._claim_nat_address(felix, shared)
        for (node, address), lives in self._reported_by_pods(
            known
        ).items():  # all there is of nodes that are not listed
            party = latest.get(node) or self._node_party(*node, "")
            claim = spanning(lives, party)
            shared[node[0], address].append(claim)
            self._node_claims[node].append((address, claim))

    def _claim_nat_address(self, felix: Life[Any], shared: dict[AddressKey, list[Claim]]) -> None:
        """What Calico masquerades leaves with this address instead of the node's: of all nodes, or of one."""
        address = felix.state.object.get("spec", {}).get("natOutgoingAddress")
        for life in self._nodes if address is not None else ():
            if life.state.cluster == felix.state.cluster and felix.state.name in ("default", f"node.{life.state.name}"):
                shared[life.state.cluster, address].append(within(life.claim(), felix.claim()))

    def _reported_by_pods(
        self, known: Mapping[NodeKey, set[str]]
    ) -> dict[tuple[NodeKey, str], list[Life[Pod]]]:  # fmt: skip
        """Return (node, address) -> pods that say their node has it; *known* are those that nodes say themselves."""
        reported: dict[tuple[NodeKey, str], list[Life[Pod]]] = defaultdict(list)
        for life in self._pods:
            shown = life.state.shown
            if not shown.node:
                continue
            node = (life.state.cluster, shown.node)
            own = shown.addresses if shown.template.host_network else ()
            for address in {*shown.status.reported, *own} - known.get(node, _NOBODY):
                reported[node, address].append(life)
        return reported

    def _claim_host_network(self, shared: dict[AddressKey, list[Claim]]) -> None:
        """A host-network pod may use every address of its node, as long as the node has it."""
        for life in self._pods:
            if life.state.shown.template.host_network:
                node = (life.state.cluster, life.state.shown.node or "")
                on_node = self._node_claims.get(node, ())
                for address, claim in on_node:
                    shared[node[0], address].append(within(life.claim(weak=claim.weak), claim))
                for address in set(life.state.shown.addresses) - {address for address, _ in on_node}:
                    shared[node[0], address].append(life.claim())

    def _claim_services(self, virtual: dict[AddressKey, list[Claim]], shared: dict[AddressKey, list[Claim]]) -> None:
        for life in self._services:
            state, claims = life.state, list[tuple[str, Claim]]()
            for address in cluster_ips(state.object):
                claims.append((address, life.claim()))
                virtual[state.cluster, address].append(claims[-1][1])
                if is_api_server(state.namespace, state.name):
                    self._api_claims.append(((state.cluster, address), state.since, state.until))
            for address in outer_addresses(state.object):
                claims.append((address, life.claim()))
                shared[state.cluster, address].append(claims[-1][1])
            self._service_claims.append((life, claims))
        for state, answering in self._slices:
            if is_api_server(state.namespace, answering.service):
                life = Life(state, [(state.since, state.until, self._api_server(state.cluster))])
                for address in answering.addresses:
                    shared[state.cluster, address].append(life.claim())
                    self._api_claims.append(((state.cluster, address), state.since, state.until))

    # -- endpoints

    def claim_endpoints(self) -> None:
        """Fill `endpoints` and `ports`; needs `addresses`."""
        done = self.done
        api_servers = [key for key, _, _ in self._api_claims]
        claimed = Endpoints(done.parties, done.addresses, self._pods, self._slices, self._node_claims, api_servers)
        claimed.claim_services(self._service_claims)
        behind = {s.cluster for s, answering in self._slices if is_api_server(s.namespace, answering.service)}
        claimed.claim_api_server({cluster: self._api_server(cluster) for cluster in behind})
        claimed.claim_host_ports()
        claimed.declare_slice_ports()
        done.ports, done.endpoints, self._led_to = claimed.ports, claimed.intervals(), claimed.led_to

    # -- names and terms

    def claim_names(self) -> None:
        """Fill `names`: pods by name and by the prefix their names were generated from, nodes with all on them."""
        spans: dict[NameKey, list[Span]] = defaultdict(list)
        for life in self._pods:
            state, shown = life.state, life.state.shown
            prefix = shown.object["metadata"].get("generateName")
            keys = [f"pod:{state.namespace}/{state.name}"]
            keys += [f"prefix:{state.namespace}/{prefix}"] if prefix else []
            keys += [f"host:{shown.node}"] if shown.node and shown.template.host_network else []
            for key in keys:
                spans[state.cluster, key] += life.spans()
        for (cluster, node), on_node in self._node_claims.items():
            spans[cluster, f"host:{node}"] += [s._replace(weak=False) for _, claim in on_node for s in claim.spans()]
        self.done.names = _disjoint(spans)

    def add_terms(self) -> None:
        """Fill `terms`; needs `addresses`. A pod with an address of its own is never `node`, however labelled."""
        for party in self.done.parties.values():
            if party.traits.kind == "node" or party.traits.host_network:
                self.done.terms.add((party.id, "node"))
            if party.traits.kind == "api_server":
                self.done.terms.add((party.id, "api_server"))
        for intervals in self.done.addresses.values():
            for held in intervals:
                if len(held.parties) < 2:
                    continue
                kinds = {self.done.parties[p].traits.kind: p for p in held.parties}
                if "node" in kinds and "api_server" in kinds:
                    self.done.terms.add((kinds["api_server"], "node"))
        for key, since, until in [*self._api_claims, *self._api_server_pods()]:
            for held in self.done.addresses.get(key, ()):
                if held.since < until and since < held.until:
                    self.done.terms |= {(party, "api_server") for party in held.parties}

    def add_unmasqueraded(self) -> None:
        """Fill `unmasqueraded`; needs `addresses` and `endpoints`. Beside Calico's policies flannel masquerades too."""
        states = [life.state for life in self._nodes]
        flannel = {state.cluster for state in states if runs_flannel(state.object)}
        of_nodes = {
            (cluster, address)
            for (cluster, _), on_node in self._node_claims.items()
            for address, claim in on_node
            if not claim.weak and cluster not in flannel
        }
        self.done.unmasqueraded = list(self._masquerade.none_towards(of_nodes, states, self._led_to))

    def _api_server_pods(self) -> Iterator[tuple[AddressKey, int, int]]:
        """Labels can be set by anyone; only kube-system's host-network pods are believed."""
        for life in self._pods:
            state = life.state
            template = state.shown.template
            labelled = template.labels.get("component") == "kube-apiserver"
            if labelled and state.namespace == "kube-system" and template.host_network:
                for address in state.shown.addresses:
                    yield (state.cluster, address), state.since, state.until


def _disjoint(spans: dict[tuple[str, str], list[Span]]) -> dict[tuple[str, str], list[Interval]]:
    """Return the intervals of each key, whose spans are forgotten on the way."""
    return {key: disjoint(spans.pop(key)) for key in list(spans)}
