"""Services, slices and host ports -> who answers on an address and port."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from vzflow.flow.terms import IdentityBasis
from vzflow.identity.addresses import HostPort, host_ports, is_outer
from vzflow.identity.claims import Life, during
from vzflow.identity.intervals import Claim, Interval, Span, disjoint, oldest
from vzflow.identity.lives import State
from vzflow.identity.party import Party, Ports, protocol_of, target_port
from vzflow.identity.pods import Pod, Template
from vzflow.identity.slices import Answering, Slice

AddressKey = tuple[str, str]  # cluster, address
EndpointKey = tuple[str, str, str, int]  # cluster, address, protocol, port
Claimed = list[tuple[str, Claim]]  # address, the claim on it
Label = tuple[str, str | None, str, str]  # cluster, namespace, key, value

_SERVICE, _HOST_PORT = IdentityBasis.SERVICE.value, IdentityBasis.HOST_PORT.value


def is_api_server(namespace: str | None, service: str) -> bool:
    return (namespace, service) == ("default", "kubernetes")


class Endpoints:
    """
    Collects them.

    Args:
        parties: By id.
        addresses: Who holds each, in order of time.
        pods: All, with the parties they are.
        slices: Who answers for which Service.
        nodes: (cluster, name) -> what each claims.
        api_servers: Their addresses.
    """

    def __init__(
        self,
        parties: Mapping[str, Party],
        addresses: Mapping[AddressKey, list[Interval]],
        pods: list[Life[Pod]],
        slices: list[tuple[State[Slice], Answering]],
        nodes: Mapping[tuple[str, str], Claimed],
        api_servers: Iterable[AddressKey],
    ) -> None:
        self.led_to: dict[AddressKey, list[tuple[int, int]]] = defaultdict(list)  # see `_note_led`
        self._api_servers = set(api_servers)
        self.ports: dict[str, Ports] = {}  # party id -> those of role `endpoint`
        self._spans: dict[EndpointKey, list[list[Span]]] = defaultdict(list)
        self._parties, self._addresses, self._pods, self._nodes = parties, addresses, pods, nodes
        self._slices = slices
        self._slices_of: dict[tuple[str, str | None, str], list[tuple[State[Slice], Answering]]] = defaultdict(list)
        for state, answering in slices:
            self._slices_of[state.cluster, state.namespace, answering.service].append((state, answering))
        self._labelled: dict[Label, list[Life[Pod]]] = {}
        self._joined: dict[tuple[Ports, str, int], Ports] = {}
        self._targets: dict[tuple[Template, int | str, str], int | None] = {}

    def intervals(self) -> dict[EndpointKey, list[Interval]]:
        """Return who answered when, of all that was claimed; can be asked once."""
        done: dict[EndpointKey, list[Interval]] = {}
        shared: dict[int, tuple[list[Span], list[Interval]]] = {}  # by the list's identity, which lives as long
        for key in list(self._spans):
            first, *more = self._spans.pop(key)
            if more:
                done[key] = disjoint(chain(first, *more))
                continue
            if id(first) not in shared:
                shared[id(first)] = (first, disjoint(first))
            done[key] = shared[id(first)][1]
        return done

    # -- Services

    def claim_services(self, services: list[tuple[Life[Any], Claimed]]) -> None:
        """Claim the ports of Services on the addresses they claim, and on nodes those of every NodePort."""
        self._index(services)
        for life, claims in services:
            for port in life.state.object.get("spec", {}).get("ports", ()):
                if "port" in port:
                    self._claim_port(life, port, claims)

    def _index(self, services: list[tuple[Life[Any], Claimed]]) -> None:
        """Find the pods of each label that a Service selects by."""
        wanted: dict[tuple[str, str | None], set[tuple[str, str]]] = defaultdict(set)
        for life, _ in services:
            labels = life.state.object.get("spec", {}).get("selector", {}).items()
            wanted[life.state.cluster, life.state.namespace].update(labels)
        for pod in self._pods:
            place = (pod.state.cluster, pod.state.namespace)
            if place in wanted:
                for label in wanted[place] & pod.state.shown.template.labels.items():
                    self._labelled.setdefault((*place, *label), []).append(pod)

    def _claim_port(self, life: Life[Any], port: Mapping[str, Any], claims: Claimed) -> None:
        cluster, protocol, number = life.state.cluster, protocol_of(port), port["port"]
        backends = self._backends(life, port)
        for party, target in dict.fromkeys((span.party, span.target_port) for span in backends):
            kind = self._parties[party].traits.kind
            own = {number} if kind in ("service", "api_server") else set()
            for declared in own | ({target} if kind != "service" else set()):
                if declared is not None:
                    self._declare(party, protocol, declared)
        if is_outer(life.state.object):
            self._note_led(backends)
        at = [((cluster, address, protocol, number), claim) for address, claim in claims]
        if port.get("nodePort"):
            at += [
                ((cluster, address, protocol, port["nodePort"]), claim)
                for (its, _), on_node in self._nodes.items()
                for address, claim in on_node
                if its == cluster and not claim.weak
            ]
        self._claim(at, backends)

    def _claim(self, at: list[tuple[EndpointKey, Claim]], backends: list[Span]) -> None:
        """Claim each key for *backends*; what many nodes claim alike is one list."""
        first = min((b.since for b in backends), default=0)
        last = max((b.until for b in backends), default=0)
        alike: dict[tuple[int, int, int | None], list[Span]] = {}
        for key, claim in at:
            how = (max(claim.since, first), min(claim.until, last), None if claim.ended else claim.sure_until)
            if how not in alike:
                alike[how] = [s for b in backends if (s := during(b, claim)) is not None]
            self._spans[key].append(alike[how])

    def _note_led(self, backends: Iterable[Span]) -> None:
        """Whom a node's, an external or a load balancer's address leads to another node, kube-proxy masquerades."""
        for span in backends:
            party = self._parties[span.party]
            cluster, kind = party.traits.cluster, party.traits.kind
            led: set[AddressKey] = set()
            if party.traits.host_network or kind == "node":
                led |= {(cluster, address) for address, _ in self._nodes.get((cluster, party.node or ""), ())}
            if kind == "api_server":
                led |= {key for key in self._api_servers if key[0] == cluster}
            for key in led:
                self.led_to[key].append((span.since, span.until))

    def _backends(self, life: Life[Any], port: Mapping[str, Any]) -> list[Span]:
        """Return who answers for a Service port; the weak claim is the Service's own, for when nobody is known to."""
        state, spec, claim = life.state, life.state.object.get("spec", {}), life.claim()
        protocol, wanted = protocol_of(port), port.get("targetPort", port["port"])
        said = (f"{state.namespace}/{state.name}", _SERVICE)
        number = wanted if isinstance(wanted, int) and wanted else None
        found = [Span(*span[:4], True, number, *said) for span in life.spans()]
        if spec.get("selector"):
            for pod in self._selected(state, spec["selector"]):
                target = self._target(pod.state.shown.template, wanted, protocol)
                if target is not None:
                    found += [Span(*span[:4], False, target, *said) for span in pod.spans()]
        elif spec.get("type") != "ExternalName":
            found += [Span(*span[:6], *said) for span in self._behind_slices(life, port, protocol)]
        return [s for b in found if (s := during(b, claim)) is not None]

    def _target(self, template: Template, wanted: int | str, protocol: str) -> int | None:
        if isinstance(wanted, int):
            return wanted
        key = (template, wanted, protocol)
        if key not in self._targets:
            self._targets[key] = target_port(template.object, wanted, protocol)
        return self._targets[key]

    def _selected(self, service: State[Any], selector: Mapping[str, str]) -> list[Life[Pod]]:
        alike = [self._labelled.get((service.cluster, service.namespace, *label), []) for label in selector.items()]
        return [
            pod
            for pod in min(alike, key=len)
            if pod.state.shown.addresses and selector.items() <= pod.state.shown.template.labels.items()
        ]

    def _behind_slices(self, life: Life[Any], port: Mapping[str, Any], protocol: str) -> Iterator[Span]:
        service = life.state
        api_server = is_api_server(service.namespace, service.name)
        for state, answering in self._slices_of.get((service.cluster, service.namespace, service.name), ()):
            for name, its_protocol, number in answering.ports:
                if (name, its_protocol) == (port.get("name", ""), protocol):
                    party = life.phases[0][2]
                    yield Span(state.since, state.until, state.known_until, party, not api_server, number)
                    if not api_server:
                        yield from self._holders(state, answering.addresses, number)

    def _holders(self, state: State[Slice], addresses: Iterable[str], number: int) -> Iterator[Span]:
        """Yield who held the addresses of a slice while it named them."""
        for address in addresses:
            for held in _overlapping(self._addresses.get((state.cluster, address), ()), state.since, state.until):
                since, until = max(held.since, state.since), min(held.until, state.until)
                known = oldest(held.known_until, state.known_until)
                yield from (Span(since, until, known, party, False, number) for party in held.parties)

    # -- others

    def claim_api_server(self, party_of: Mapping[str, str]) -> None:
        """Claim the API server's ports where its slices say it is; *party_of* is cluster -> party id."""
        for state, answering in self._slices:
            if is_api_server(state.namespace, answering.service):
                party = party_of[state.cluster]
                for address in answering.addresses:
                    for _, protocol, port in answering.ports:
                        span = Span(state.since, state.until, state.known_until, party, False, port, None, _SERVICE)
                        self._spans[state.cluster, address, protocol, port].append([span])

    def claim_host_ports(self) -> None:
        """Claim ports of a node that belong to one pod: those of host-network pods, and every hostPort."""
        known: dict[Template, list[HostPort]] = {}
        for life in self._pods:
            shown = life.state.shown
            if (ports := known.get(shown.template)) is None:
                ports = known[shown.template] = list(host_ports(shown.template))
            if ports:
                self._claim_on_node(life, ports, (life.state.cluster, shown.node or ""))

    def _claim_on_node(self, life: Life[Pod], ports: list[HostPort], node: tuple[str, str]) -> None:
        for protocol, port, target, only in ports:
            for address, claim in self._nodes.get(node, ()):
                if not claim.weak and only in (None, address):
                    spans = [s for b in life.spans() if (s := during(b, claim)) is not None]
                    self._spans[node[0], address, protocol, port].append(
                        [Span(*s[:5], target, None, _HOST_PORT) for s in spans]
                    )

    def declare_slice_ports(self) -> None:
        """Find the ports on which pods answer while a slice names their addresses."""
        named: dict[tuple[str, str], dict[tuple[tuple[str, str, int], ...], list[tuple[int, int]]]] = {}
        for state, answering in self._slices:
            for address in answering.addresses:
                spans = named.setdefault((state.cluster, address), {}).setdefault(answering.ports, [])
                if spans and spans[-1][0] <= state.since <= spans[-1][1]:  # in its next state it names it, too
                    spans[-1] = (spans[-1][0], max(spans[-1][1], state.until))
                else:
                    spans.append((state.since, state.until))
        for key, by_ports in named.items():
            for ports, spans in by_ports.items():
                held = (h for span in spans for h in _overlapping(self._addresses.get(key, ()), *span))
                for party in {party for interval in held for party in interval.parties}:
                    traits = self._parties[party].traits
                    if traits.kind == "pod" and not traits.host_network:  # a node address says nothing about one pod
                        for _, protocol, port in ports:
                            self._declare(party, protocol, port)

    def _declare(self, party: str, protocol: str, port: int) -> None:
        known = self.ports.get(party, _NONE)
        key = (known, protocol, port)
        if (ports := self._joined.get(key)) is None:
            ports = self._joined[key] = known | {(protocol, port, "endpoint")}
        self.ports[party] = ports


_NONE: Ports = frozenset()


def _overlapping(intervals: list[Interval] | tuple[()], since: int, until: int) -> Iterator[Interval]:
    """Yield those of disjoint intervals in order that overlap [since, until)."""
    for place in range(max(bisect_left(intervals, (since,)) - 1, 0), len(intervals)):
        if intervals[place].since >= until:
            return
        if intervals[place].until > since:
            yield intervals[place]
