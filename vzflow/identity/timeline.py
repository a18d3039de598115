"""
Objects -> disjoint intervals: who held which address, port and name, from when until when; conflicts stay visible.

A claim is what one object says; claims of pods on one address are settled against each other where the evidence
settles them, and what it leaves open is an interval with several parties.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

import pyarrow as pa

from vzflow.flow.key import canonical_address
from vzflow.flow.terms import IdentityBasis
from vzflow.identity import party as parties
from vzflow.identity.intervals import Claim, Cut, Interval, Span, disjoint, oldest, settle
from vzflow.identity.kept import CALICO_ADDRESSES, FLANNEL_ADDRESSES
from vzflow.identity.lives import State, clusters_listing, pod_addresses, sandbox_made_anew, states, times_listed
from vzflow.identity.party import Owners, Party
from vzflow.identity.roots import ROOT
from vzflow.identity.surroundings import Around

AddressKey = tuple[str, str]  # cluster, address
EndpointKey = tuple[str, str, str, int]  # cluster, address, protocol, port
NameKey = tuple[str, str]  # cluster, pod:NS/NAME | prefix:NS/PREFIX | host:NODE

_UNSPECIFIED = ("0.0.0.0", "::")  # as a hostIP: every address of the node


@dataclass
class Timeline:
    """What `tables` writes down; the intervals of each key are disjoint and in order."""

    parties: dict[str, Party] = field(default_factory=dict)
    addresses: dict[AddressKey, list[Interval]] = field(default_factory=dict)
    endpoints: dict[EndpointKey, list[Interval]] = field(default_factory=dict)
    names: dict[NameKey, list[Interval]] = field(default_factory=dict)
    cuts: dict[AddressKey, list[Cut]] = field(default_factory=dict)
    terms: set[tuple[str, str]] = field(default_factory=set)  # party id, address term
    ports: set[tuple[str, str, int, str]] = field(default_factory=set)  # party id, protocol, port, role
    ranges: set[tuple[str, str, str, str]] = field(default_factory=set)  # cluster, CIDR, kind, name
    unmasqueraded: list[tuple[str, str, str, int, int]] = field(default_factory=list)  # as `Masquerade.none_towards`
    policy_known: set[str] = field(default_factory=set)
    pods_listed: list[tuple[str, int, int]] = field(default_factory=list)  # cluster, from, until


@dataclass(frozen=True, slots=True)
class _Slice:
    """An EndpointSlice or Endpoints object: who answers for a Service."""

    state: State
    service: str
    addresses: tuple[str, ...]
    ports: tuple[tuple[str, str, int], ...]  # name, protocol, number


def timeline(objects: pa.Table) -> Timeline:
    """
    Return who held what, from rows of OBJECT_SCHEMA of any number of snapshots and clusters.

    No snapshot gives an empty timeline: nobody is known, and that is what it says.
    """
    by_kind: dict[str, list[State]] = defaultdict(list)
    for state in states(objects):
        by_kind[state.kind].append(state)
    building = _Building(by_kind)
    building.claim_addresses()
    building.claim_endpoints()
    building.claim_names()
    building.add_terms()
    building.add_unmasqueraded()
    building.done.pods_listed = times_listed(objects, "Pod")
    building.done.policy_known = clusters_listing(objects, "PeerAuthentication", building.roots.ever, ROOT)
    return building.done


@dataclass(frozen=True, slots=True)
class _Life:
    """A state of a pod or a Service, and the parties it is over time."""

    state: State
    phases: list[tuple[int, int, str]]

    def spans(self) -> Iterator[Span]:
        return (Span(a, b, self.state.known_until, party) for a, b, party in self.phases)

    def claim(self, *, weak: bool = False) -> Claim:
        s = self.state
        holder = f"{s.kind}/{s.namespace}/{s.name}/{s.uid}"
        since = max(s.since, sandbox_made_anew(s.object) or s.since)
        return Claim(holder, since, s.sure_from, s.sure_until, s.until, s.ended, self.phases, weak)


class _Building:
    """Collects claims kind by kind; the order of the public methods is that of what they need of each other."""

    def __init__(self, by_kind: Mapping[str, list[State]]) -> None:
        self.done = Timeline()
        objects = (*by_kind.get("EndpointSlice", ()), *by_kind.get("Endpoints", ()))
        self._slices = [found for state in objects for found in _slices(state)]
        self._slices_of = _by_service(self._slices)
        owners = Owners(state for states_of_kind in by_kind.values() for state in states_of_kind)
        around = Around(by_kind)
        self.roots, self._masquerade = around.roots, around.masquerade
        self._pods = [self._pod(state, owners, around) for state in by_kind.get("Pod", ())]
        self._labelled: dict[tuple[str, str | None, str, str], list[_Life]] = defaultdict(list)
        for pod in self._pods:
            for label in parties.labels_of(pod.state).items():
                self._labelled[pod.state.cluster, pod.state.namespace, *label].append(pod)
        self._nodes = [self._node(state) for state in by_kind.get("Node", ())]
        self._services = [self._service(state) for state in by_kind.get("Service", ())]
        self._node_claims: dict[tuple[str, str], list[tuple[str, Claim]]] = defaultdict(list)
        self._service_claims: list[tuple[_Life, list[tuple[str, Claim]]]] = []
        self._api_claims: list[tuple[AddressKey, int, int]] = []
        self._led_to: dict[AddressKey, list[tuple[int, int]]] = defaultdict(list)
        self._felix = [
            _Life(state, [(state.since, state.until, "")]) for state in by_kind.get("FelixConfiguration", ())
        ]
        for state in by_kind.get("IPPool", ()):
            if "cidr" in state.object.get("spec", {}):
                self.done.ranges.add((state.cluster, state.object["spec"]["cidr"], "pod_range", state.name))
        for state in by_kind.get("ServiceCIDR", ()):
            for cidr in state.object.get("spec", {}).get("cidrs", ()):
                self.done.ranges.add((state.cluster, cidr, "service_range", state.name))

    # -- parties

    def _add(self, party: Party) -> str:
        if party.id not in self.done.parties:
            self.done.parties[party.id] = party
            self.done.ports |= {(party.id, *port) for port in party.ports}
        return party.id

    def _pod(self, state: State, owners: Owners, around: Around) -> _Life:
        phases = around.phases(state)
        return _Life(state, [(a, b, self._add(parties.of_pod(state, owners, held))) for a, b, held in phases])

    def _node(self, state: State) -> _Life:
        return _Life(state, [(state.since, state.until, self._node_party(state.cluster, state.name, state.uid))])

    def _node_party(self, cluster: str, name: str, uid: str) -> str:
        return self._add(
            Party(cluster, "node", name, uid, workload=name, workload_kind="Node", node=name, in_mesh=False)
        )

    def _service(self, state: State) -> _Life:
        if _is_api_server(state.namespace, state.name):
            party = self._api_server(state.cluster)
        else:
            own = Party(state.cluster, "service", state.name, state.uid, state.namespace, state.name, "Service")
            party = self._add(own)
        return _Life(state, [(state.since, state.until, party)])

    def _api_server(self, cluster: str) -> str:
        party = Party(cluster, "api_server", "kube-apiserver", workload="kube-apiserver", in_mesh=False)
        return self._add(party)

    # -- addresses

    def claim_addresses(self) -> None:
        """Fill `addresses`: pods, nodes with their host-network pods, Services, the API server."""
        of_pods: dict[AddressKey, list[Claim]] = defaultdict(list)
        cluster_ips: dict[AddressKey, list[Claim]] = defaultdict(list)
        shared: dict[AddressKey, list[Claim]] = defaultdict(list)
        for life in self._pods:
            if not parties.is_host_network(life.state):
                for address in pod_addresses(life.state.object):
                    of_pods[life.state.cluster, address].append(life.claim())
        self._claim_services(cluster_ips, shared)
        for kind in (of_pods, cluster_ips):
            for key, claims in kind.items():
                if cuts := settle(claims):
                    self.done.cuts.setdefault(key, []).extend(cuts)
        self._claim_nodes(shared)
        self._claim_host_network(shared)
        spans: dict[AddressKey, list[Span]] = defaultdict(list)
        for kind in (of_pods, cluster_ips, shared):
            for key, claims in kind.items():
                spans[key] += [span for claim in claims for span in claim.spans()]
        self.done.addresses = {key: disjoint(found) for key, found in spans.items()}

    def _claim_nodes(self, shared: dict[AddressKey, list[Claim]]) -> None:
        """Several nodes may claim one address, as behind one NAT: all are candidates."""
        known: dict[tuple[str, str], set[str]] = defaultdict(set)
        latest: dict[tuple[str, str], str] = {}
        for life in self._nodes:
            node = (life.state.cluster, life.state.name)
            latest[node] = life.phases[0][2]
            for address, weak in _node_addresses(life.state.object).items():
                known[node].add(address)
                claim = life.claim(weak=weak)
                shared[life.state.cluster, address].append(claim)
                self._node_claims[node].append((address, claim))
            for cidr in _pod_ranges(life.state.object):
                self.done.ranges.add((life.state.cluster, cidr, "pod_range", life.state.name))
        for felix in self._felix:
            self._claim_nat_address(felix, shared)
        for (node, address), lives in self._reported_by_pods().items():
            if address not in known[node]:
                party = latest.get(node) or self._node_party(*node, "")
                claim = _spanning(lives, party)
                shared[node[0], address].append(claim)
                self._node_claims[node].append((address, claim))

    def _claim_nat_address(self, felix: _Life, shared: dict[AddressKey, list[Claim]]) -> None:
        """What Calico masquerades leaves with this address instead of the node's: of all nodes, or of one."""
        address = felix.state.object.get("spec", {}).get("natOutgoingAddress")
        for life in self._nodes if address is not None else ():
            if life.state.cluster == felix.state.cluster and felix.state.name in ("default", f"node.{life.state.name}"):
                shared[life.state.cluster, address].append(_within(life.claim(), felix.claim()))

    def _reported_by_pods(self) -> dict[tuple[tuple[str, str], str], list[_Life]]:
        """Return (node, address) -> pods that say their node has it: all there is when nodes were not listed."""
        reported: dict[tuple[tuple[str, str], str], list[_Life]] = defaultdict(list)
        for life in self._pods:
            node, status = life.state.object.get("spec", {}).get("nodeName"), life.state.object.get("status", {})
            own = pod_addresses(life.state.object) if parties.is_host_network(life.state) else []
            for address in {status.get("hostIP"), *(h["ip"] for h in status.get("hostIPs", ())), *own} - {None}:
                if node:
                    reported[(life.state.cluster, node), address].append(life)
        return reported

    def _claim_host_network(self, shared: dict[AddressKey, list[Claim]]) -> None:
        """A host-network pod may use every address of its node, as long as the node has it."""
        for life in self._pods:
            if parties.is_host_network(life.state):
                node = (life.state.cluster, life.state.object.get("spec", {}).get("nodeName", ""))
                on_node = self._node_claims.get(node, ())
                for address, claim in on_node:
                    shared[node[0], address].append(_within(life.claim(weak=claim.weak), claim))
                for address in set(pod_addresses(life.state.object)) - {address for address, _ in on_node}:
                    shared[node[0], address].append(life.claim())

    def _claim_services(
        self, cluster_ips: dict[AddressKey, list[Claim]], shared: dict[AddressKey, list[Claim]]
    ) -> None:
        for life in self._services:
            state, claims = life.state, list[tuple[str, Claim]]()
            for address in _cluster_ips(state.object):
                claims.append((address, life.claim()))
                cluster_ips[state.cluster, address].append(claims[-1][1])
                if _is_api_server(state.namespace, state.name):
                    self._api_claims.append(((state.cluster, address), state.since, state.until))
            for address in _outer_addresses(state.object):
                claims.append((address, life.claim()))
                shared[state.cluster, address].append(claims[-1][1])
            self._service_claims.append((life, claims))
        for found in self._slices:
            if _is_api_server(found.state.namespace, found.service):
                state = found.state
                life = _Life(state, [(state.since, state.until, self._api_server(state.cluster))])
                for address in found.addresses:
                    shared[state.cluster, address].append(life.claim())
                    self._api_claims.append(((state.cluster, address), state.since, state.until))

    # -- endpoints

    def claim_endpoints(self) -> None:
        """Fill `endpoints`, and the ports of role `endpoint`; needs `addresses`."""
        spans: dict[EndpointKey, list[Span]] = defaultdict(list)
        for life, claims in self._service_claims:
            self._claim_service_ports(life, claims, spans)
        self._claim_api_server_ports(spans)
        self._claim_host_ports(spans)
        self._declare_slice_ports()
        self.done.endpoints = {key: disjoint(found) for key, found in spans.items()}

    def _claim_service_ports(
        self, life: _Life, claims: list[tuple[str, Claim]], spans: dict[EndpointKey, list[Span]]
    ) -> None:
        state = life.state
        for port in state.object.get("spec", {}).get("ports", ()):
            if "port" not in port:
                continue
            protocol, number = parties.protocol_of(port), port["port"]
            backends = self._backends(life, port)
            for span in backends:
                kind = self.done.parties[span.party].kind
                own = {number} if kind in ("service", "api_server") else set()
                for declared in own | ({span.target_port} if kind != "service" else set()):
                    if declared is not None:
                        self.done.ports.add((span.party, protocol, declared, "endpoint"))
            if _is_outer(state.object):
                self._note_led(backends)
            at = [((state.cluster, address, protocol, number), claim) for address, claim in claims]
            if port.get("nodePort"):
                at += [
                    ((state.cluster, address, protocol, port["nodePort"]), claim)
                    for (cluster, _), on_node in self._node_claims.items()
                    for address, claim in on_node
                    if cluster == state.cluster and not claim.weak
                ]
            for key, claim in at:
                spans[key] += [s for b in backends if (s := _during(b, claim)) is not None]

    def _note_led(self, backends: Iterable[Span]) -> None:
        """Whom a node's, an external or a load balancer's address leads to another node, kube-proxy masquerades."""
        for span in backends:
            party = self.done.parties[span.party]
            on_node = self._node_claims.get((party.cluster, party.node or ""), ())
            led = {(party.cluster, address) for address, _ in on_node if party.host_network or party.kind == "node"}
            if party.kind == "api_server":
                led |= {key for key, _, _ in self._api_claims if key[0] == party.cluster}
            for key in led:
                self._led_to[key].append((span.since, span.until))

    def _backends(self, life: _Life, port: Mapping[str, Any]) -> list[Span]:
        """Return who answers for a Service port; the weak claim is the Service's own, for when nobody is known to."""
        state, spec = life.state, life.state.object.get("spec", {})
        protocol, wanted = parties.protocol_of(port), port.get("targetPort", port["port"])
        common: dict[str, Any] = {
            "service": f"{state.namespace}/{state.name}",
            "basis": IdentityBasis.SERVICE.value,
        }
        number = wanted if isinstance(wanted, int) and wanted else None
        found = [s._replace(weak=True, target_port=number, **common) for s in life.spans()]
        if spec.get("selector"):
            for pod in self._selected(state, spec["selector"]):
                target = parties.target_port(pod.state.object, wanted, protocol)
                if target is not None:
                    found += [s._replace(target_port=target, **common) for s in pod.spans()]
        elif spec.get("type") != "ExternalName":
            found += [s._replace(**common) for s in self._behind_slices(life, port, protocol)]
        return [s for b in found if (s := _during(b, life.claim())) is not None]

    def _selected(self, service: State, selector: Mapping[str, str]) -> list[_Life]:
        alike = [self._labelled.get((service.cluster, service.namespace, *label), []) for label in selector.items()]
        return [
            pod
            for pod in min(alike, key=len)
            if selector.items() <= parties.labels_of(pod.state).items() and pod_addresses(pod.state.object)
        ]

    def _behind_slices(self, life: _Life, port: Mapping[str, Any], protocol: str) -> Iterator[Span]:
        state = life.state
        api_server = _is_api_server(state.namespace, state.name)
        for found in self._slices_of.get((state.cluster, state.namespace, state.name), ()):
            for name, its_protocol, number in found.ports:
                if (name, its_protocol) == (port.get("name", ""), protocol):
                    base = Span(found.state.since, found.state.until, found.state.known_until, life.phases[0][2])
                    yield base._replace(target_port=number, weak=not api_server)
                    if not api_server:
                        yield from (s._replace(target_port=number) for s in self._holders(found))

    def _holders(self, found: _Slice) -> Iterator[Span]:
        """Yield who held the addresses of a slice while it named them."""
        state = found.state
        for address in found.addresses:
            for held in self.done.addresses.get((state.cluster, address), ()):
                since, until = max(held.since, state.since), min(held.until, state.until)
                if since < until:
                    known = oldest(held.known_until, state.known_until)
                    yield from (Span(since, until, known, party) for party in held.parties)

    def _claim_api_server_ports(self, spans: dict[EndpointKey, list[Span]]) -> None:
        for found in self._slices:
            state = found.state
            if _is_api_server(state.namespace, found.service):
                party = self._api_server(state.cluster)
                for address in found.addresses:
                    for _, protocol, port in found.ports:
                        span = Span(state.since, state.until, state.known_until, party, target_port=port)
                        basis = IdentityBasis.SERVICE.value
                        spans[state.cluster, address, protocol, port].append(span._replace(basis=basis))

    def _claim_host_ports(self, spans: dict[EndpointKey, list[Span]]) -> None:
        """Ports of a node that belong to one pod: those of host-network pods, and every hostPort."""
        basis = IdentityBasis.HOST_PORT.value
        for life in self._pods:
            node = (life.state.cluster, life.state.object.get("spec", {}).get("nodeName", ""))
            for protocol, port, target, only in _host_ports(life.state):
                for address, claim in self._node_claims.get(node, ()):
                    if not claim.weak and only in (None, address):
                        spans[node[0], address, protocol, port] += [
                            s._replace(target_port=target, basis=basis)
                            for b in life.spans()
                            if (s := _during(b, claim)) is not None
                        ]

    def _declare_slice_ports(self) -> None:
        for found in self._slices:
            for span in self._holders(found):
                party = self.done.parties[span.party]
                if party.kind == "pod" and not party.host_network:  # a node address says nothing about one pod there
                    self.done.ports |= {(party.id, protocol, port, "endpoint") for _, protocol, port in found.ports}

    # -- names and terms

    def claim_names(self) -> None:
        """Fill `names`: pods by name and by the prefix their names were generated from, nodes with all on them."""
        spans: dict[NameKey, list[Span]] = defaultdict(list)
        for life in self._pods:
            state, prefix = life.state, life.state.object.get("metadata", {}).get("generateName")
            node = state.object.get("spec", {}).get("nodeName")
            keys = [f"pod:{state.namespace}/{state.name}"]
            keys += [f"prefix:{state.namespace}/{prefix}"] if prefix else []
            keys += [f"host:{node}"] if node and parties.is_host_network(state) else []
            for key in keys:
                spans[state.cluster, key] += life.spans()
        for (cluster, node), on_node in self._node_claims.items():
            spans[cluster, f"host:{node}"] += [s._replace(weak=False) for _, claim in on_node for s in claim.spans()]
        self.done.names = {key: disjoint(found) for key, found in spans.items()}

    def add_terms(self) -> None:
        """Fill `terms`; needs `addresses`. A pod with an address of its own is never `node`, however labelled."""
        for party in self.done.parties.values():
            if party.kind == "node" or party.host_network:
                self.done.terms.add((party.id, "node"))
            if party.kind == "api_server":
                self.done.terms.add((party.id, "api_server"))
        for intervals in self.done.addresses.values():
            for held in intervals:
                kinds = {self.done.parties[p].kind: p for p in held.parties}
                if "node" in kinds and "api_server" in kinds:
                    self.done.terms.add((kinds["api_server"], "node"))
        for key, since, until in [*self._api_claims, *self._api_server_pods()]:
            for held in self.done.addresses.get(key, ()):
                if held.since < until and since < held.until:
                    self.done.terms |= {(party, "api_server") for party in held.parties}

    def add_unmasqueraded(self) -> None:
        """Fill `unmasqueraded`; needs `addresses` and `endpoints`. Beside Calico's policies flannel masquerades too."""
        states = [life.state for life in self._nodes]
        flannel = {state.cluster for state in states if _runs_flannel(state.object)}
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
            labelled = parties.labels_of(state).get("component") == "kube-apiserver"
            if labelled and state.namespace == "kube-system" and parties.is_host_network(state):
                for address in pod_addresses(state.object):
                    yield (state.cluster, address), state.since, state.until


def _is_api_server(namespace: str | None, service: str) -> bool:
    return (namespace, service) == ("default", "kubernetes")


def _spanning(lives: list[_Life], party: str) -> Claim:
    """Return the claim of a node on an address that its pods report, from the first of them to the last."""
    since, until = min(x.state.since for x in lives), max(x.state.until for x in lives)
    sure_until = max(x.state.sure_until for x in lives)
    return Claim(f"Node/{party}", since, since, sure_until, until, False, [(since, until, party)])


def _within(pod: Claim, node: Claim) -> Claim:
    return Claim(
        pod.holder,
        max(pod.since, node.since),
        max(pod.sure_from, node.sure_from),
        min(pod.sure_until, node.sure_until),
        min(pod.until, node.until),
        pod.ended and pod.until <= node.until,
        pod.phases,
        pod.weak,
    )


def _during(span: Span, claim: Claim) -> Span | None:
    since, until = max(span.since, claim.since), min(span.until, claim.until)
    if since >= until:
        return None
    known = oldest(span.known_until, None if claim.ended else claim.sure_until)
    return span._replace(since=since, until=until, known_until=known)


def _canonical(texts: Iterable[str]) -> Iterator[str]:
    """Yield the addresses among *texts*, canonical, without their mask; a host name is no address."""
    for text in texts:
        try:
            yield canonical_address(text.partition("/")[0])
        except ValueError:
            continue


def _node_addresses(node: Mapping[str, Any]) -> dict[str, bool]:
    """Return a node's addresses; true marks those presumed from its pod block, which another CNI gives to pods."""
    annotations = node.get("metadata", {}).get("annotations", {})
    listed = [
        a.get("address", "")
        for a in node.get("status", {}).get("addresses", ())
        if a.get("type") in ("InternalIP", "ExternalIP")
    ]
    annotated = [annotations[key] for key in (*CALICO_ADDRESSES, *FLANNEL_ADDRESSES) if key in annotations]
    presumed = dict[str, bool]()
    flannel = _runs_flannel(node)
    for cidr in _pod_ranges(node):
        block = ip_network(cidr)
        if block.num_addresses > 2:
            presumed[str(block[1])] = True  # the bridge: the pods' gateway
            if flannel:
                presumed[str(block[0])] = True  # flannel.1
    return presumed | dict.fromkeys(_canonical([*listed, *annotated]), False)


def _runs_flannel(node: Mapping[str, Any]) -> bool:
    return any(key in node.get("metadata", {}).get("annotations", {}) for key in FLANNEL_ADDRESSES)


def _pod_ranges(node: Mapping[str, Any]) -> list[str]:
    spec, found = node.get("spec", {}), []
    for cidr in spec.get("podCIDRs") or [spec.get("podCIDR", "")]:
        try:
            found.append(str(ip_network(cidr, strict=False)))
        except ValueError:
            continue
    return found


def _cluster_ips(service: Mapping[str, Any]) -> list[str]:
    spec = service.get("spec", {})
    return list(dict.fromkeys(spec.get("clusterIPs") or filter(None, [spec.get("clusterIP")])))


def _outer_addresses(service: Mapping[str, Any]) -> list[str]:
    ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress", ())
    return list(dict.fromkeys([*service.get("spec", {}).get("externalIPs", ()), *(i["ip"] for i in ingress)]))


def _is_outer(service: Mapping[str, Any]) -> bool:
    """Whether a Service is reached by more than its cluster addresses."""
    spec = service.get("spec", {})
    typed = spec.get("type") in ("NodePort", "LoadBalancer") or any(p.get("nodePort") for p in spec.get("ports", ()))
    return typed or bool(_outer_addresses(service))


def _host_ports(pod: State) -> Iterator[tuple[str, int, int, str | None]]:
    """Yield (protocol, node port, pod port, the one node address it is bound to or null for all)."""
    host_network = parties.is_host_network(pod)
    for container in parties.serving_containers(pod.object):
        for port in parties.container_ports(container):
            number = port["containerPort"] if host_network else port.get("hostPort")
            only = port.get("hostIP")
            if number:
                bound = None if only in _UNSPECIFIED else only
                yield parties.protocol_of(port), number, port["containerPort"], bound


def _slices(state: State) -> Iterator[_Slice]:
    content = state.object
    if state.kind == "EndpointSlice":
        service = content.get("metadata", {}).get("labels", {}).get("kubernetes.io/service-name", "")
        addresses = [a for e in content.get("endpoints", ()) for a in e.get("addresses", ())]
        yield _slice(state, service, addresses, content.get("ports", ()))
    for subset in content.get("subsets", ()):
        addresses = [a["ip"] for key in ("addresses", "notReadyAddresses") for a in subset.get(key, ())]
        yield _slice(state, state.name, addresses, subset.get("ports", ()))


def _slice(state: State, service: str, addresses: Iterable[str], ports: Iterable[Mapping[str, Any]]) -> _Slice:
    numbered = {(p.get("name", ""), parties.protocol_of(p), p["port"]) for p in ports if "port" in p}
    return _Slice(state, service, tuple(dict.fromkeys(_canonical(addresses))), tuple(sorted(numbered)))


def _by_service(slices: Iterable[_Slice]) -> dict[tuple[str, str | None, str], list[_Slice]]:
    found: dict[tuple[str, str | None, str], list[_Slice]] = defaultdict(list)
    for each in slices:
        found[each.state.cluster, each.state.namespace, each.service].append(each)
    return found
