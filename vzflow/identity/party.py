"""Party: one holder of addresses, as classification sees it, and what a pod's own object says of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from typing import Any, NamedTuple

from blake3 import blake3

from vzflow.identity.kept import (
    BYPASS_INBOUND,
    EXCLUDE_INBOUND,
    EXCLUDED_PORTS,
    INCLUDE_INBOUND,
    INCLUDED_PORTS,
    INTERCEPTION,
    REDIRECTOR,
)
from vzflow.identity.lives import State
from vzflow.identity.owners import Owners
from vzflow.identity.pods import Pod, Template

PROXY = "istio-proxy"
#: Init containers that set up the redirection of a sidecar's traffic, without and with Istio's CNI plugin.
REDIRECTS = frozenset({"istio-init", "istio-validation"})
#: What every sidecar leaves alone: Envoy's metrics, readiness and the agent's status port (Istio's injection template).
NEVER_CAPTURED = frozenset({15020, 15021, 15090})
LAST_PORT = 65_535
SIDECAR, ZTUNNEL = "sidecar", "ztunnel"

#: HBONE: where ztunnel itself listens for other pods.
HBONE = 15008

Ports = frozenset[tuple[str, int, str]]  # protocol, port, role
Labels = tuple[tuple[str, str], ...]
Captured = tuple[int, int, str]  # from, to, by: sidecar | ztunnel


@dataclass(frozen=True, slots=True)
class Policy:
    """What one PeerAuthentication says of a party; see `party_policy` in `flow/lookups.py`."""

    level: int
    port: int | None
    mode: str
    name: str
    since: int


@dataclass(frozen=True, eq=False)
class Traits:
    """What parties have in common that are alike but for their names; columns as of `party` in `flow/lookups.py`."""

    cluster: str
    kind: str
    namespace: str | None = None
    workload: str | None = None
    workload_kind: str | None = None
    service_account: str | None = None
    labels: Labels | None = None
    in_mesh: bool | None = None
    host_network: bool | None = None
    ports: Ports = frozenset()
    capture: tuple[Captured, ...] = ()
    masqueraded: bool | None = None
    masqueraded_to_nodes: bool | None = None
    policies: tuple[Policy, ...] = ()

    def party(self, name: str, uid: str = "", node: str | None = None) -> Party:
        """Return the one of that name, whose id is readable, and a digest of all it says: the same in every run."""
        before, *between = self._texts
        own = (json.dumps(value) + text for value, text in zip((name, node, uid), between, strict=True))
        digest = blake3("".join((before, *own)).encode()).hexdigest(4)
        return Party(f"{self._path}{name}#{digest}", self, name, uid, node)

    @cached_property
    def label_set(self) -> tuple[str | None, str | None]:
        """The labels' id, the same in every run, and what they are as JSON; null of what has none."""
        if self.labels is None:
            return None, None
        labels = json.dumps(dict(self.labels), sort_keys=True)
        return blake3(labels.encode()).hexdigest(8), labels

    @cached_property
    def _path(self) -> str:
        return "".join(f"{part}/" for part in (self.cluster, self.kind, self.namespace) if part)

    @cached_property
    def _texts(self) -> list[str]:
        """What all say, as JSON with sorted keys, cut where the values of `name`, `node` and `uid` stand."""
        content = asdict(self) | {"ports": sorted(self.ports)} | dict.fromkeys(("name", "node", "uid"))
        texts = ["{"]
        for number, (key, value) in enumerate(sorted(content.items())):
            texts[-1] += f'{", " if number else ""}"{key}": '
            if key in ("name", "node", "uid"):
                texts.append("")
            else:
                texts[-1] += json.dumps(value, sort_keys=True)
        texts[-1] += "}"
        return texts


class Party(NamedTuple):
    """One state of one holder. Equal content gives equal ids."""

    id: str
    traits: Traits
    name: str
    uid: str
    node: str | None


class Profile(NamedTuple):
    """
    What pods have in common that declare, are led to, captured and bound alike; see `flow/lookups.py`.

    `ports` are all that are known of the pod, those that Services lead to included.
    """

    ports: Ports
    capture: tuple[Captured, ...]
    policies: tuple[Policy, ...]

    @property
    def id(self) -> str:
        """16 hex digits, the same in every run."""
        return _profile_id(self)


@cache
def _profile_id(profile: Profile) -> str:
    content = [sorted(profile.ports), profile.capture, [asdict(p) for p in profile.policies]]
    return blake3(json.dumps(content).encode()).hexdigest(8)


@dataclass(frozen=True, slots=True, eq=False)
class Surroundings:
    """What other objects say of a pod for a while. Whether it is masqueraded is null where nothing says so."""

    policies: tuple[Policy, ...] = ()
    ambient: bool = False
    masqueraded: bool | None = None
    masqueraded_to_nodes: bool | None = None


class PodParties:
    """Makes parties of pods; what those of one template are alike in while their surroundings are is found once."""

    def __init__(self, owners: Owners) -> None:
        self._owners = owners
        self._traits: dict[tuple[str, str | None, Template, Surroundings, str | None], Traits] = {}

    def of(self, pod: State[Pod], around: Surroundings) -> Party:
        """Return the party of a pod's state while its surroundings are these; *around* is told apart by identity."""
        template = pod.shown.template
        alone = pod.name if template.controller is None else None
        key = (pod.cluster, pod.namespace, template, around, alone)
        if (traits := self._traits.get(key)) is None:
            traits = self._traits[key] = self._of(pod, template, around)
        return traits.party(pod.name, pod.uid, pod.shown.node)

    def _of(self, pod: State[Pod], template: Template, around: Surroundings) -> Traits:
        meshed = in_mesh(template.object)
        ambient = around.ambient and not meshed and not template.host_network
        return Traits(
            pod.cluster,
            "pod",
            pod.namespace,
            *self._owners.workload(pod),
            template.object["spec"].get("serviceAccountName"),
            tuple(sorted(template.labels.items())),
            meshed or ambient,
            template.host_network,
            declared_ports(template.object),
            _taken_by_ztunnel(template.object) if ambient else captured(template.object),
            around.masqueraded,
            around.masqueraded_to_nodes,
            around.policies,
        )


def serving_containers(pod: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the containers that run as long as the pod does: its own and its native sidecars."""
    spec = pod.get("spec", {})
    sidecars = [c for c in spec.get("initContainers", ()) if c.get("restartPolicy") == "Always"]
    return [*spec.get("containers", ()), *sidecars]


def in_mesh(pod: Mapping[str, Any]) -> bool:
    """Whether the pod runs Istio's proxy, as a sidecar of either kind or as a gateway."""
    return any(c.get("name") == PROXY for c in serving_containers(pod))


def _is_gateway(pod: Mapping[str, Any]) -> bool:
    """Whether the proxy is the pod's own program. The label alone proves nothing: anyone may set it."""
    if all(c.get("name") == PROXY for c in serving_containers(pod)):
        return True
    labelled = pod.get("metadata", {}).get("labels", {}).get("istio") in ("ingressgateway", "egressgateway")
    redirected = any(c.get("name") in REDIRECTS for c in pod.get("spec", {}).get("initContainers", ()))
    return labelled and not redirected


def captured(pod: Mapping[str, Any]) -> tuple[Captured, ...]:
    """
    Return the inbound TCP ports that the pod's sidecar captures, as disjoint closed ranges in order.

    Nothing is captured without a sidecar, by a gateway (its listeners are its own), on the host's network, or with
    interception switched off. Istio heeds the exclusions only where all ports are included.
    """
    annotations = pod.get("metadata", {}).get("annotations", {})
    outside = pod.get("spec", {}).get("hostNetwork") or annotations.get(INTERCEPTION) == "NONE"
    if outside or not in_mesh(pod) or _is_gateway(pod):
        return ()
    done = _redirection(pod)
    included = done.get(INCLUDED_PORTS, annotations.get(INCLUDE_INBOUND, "*")).strip()
    if included != "*":
        return tuple((port, port, SIDECAR) for port in sorted(_port_list(included) - NEVER_CAPTURED))
    excluded = done.get(EXCLUDED_PORTS, annotations.get(EXCLUDE_INBOUND, ""))
    return _all_but(_port_list(excluded) | NEVER_CAPTURED, SIDECAR)


def _redirection(pod: Mapping[str, Any]) -> dict[str, str]:
    """Return what the pod's redirection was told when it was injected: the annotations may have changed since."""
    for container in pod.get("spec", {}).get("initContainers", ()):
        words = container.get("args") or ()
        if container.get("name") in REDIRECTS and words[:1] == [REDIRECTOR]:
            return dict(zip(words[1::2], words[2::2], strict=True))
    return {}


def _taken_by_ztunnel(pod: Mapping[str, Any]) -> tuple[Captured, ...]:
    bypassed = pod.get("metadata", {}).get("annotations", {}).get(BYPASS_INBOUND) == "true"
    return () if bypassed else _all_but({HBONE}, ZTUNNEL)


def _all_but(ports: set[int] | frozenset[int], by: str) -> tuple[Captured, ...]:
    ranges, begin = [], 1
    for port in sorted(ports):
        if begin < port:
            ranges.append((begin, port - 1, by))
        begin = port + 1
    return (*ranges, (begin, LAST_PORT, by)) if begin <= LAST_PORT else tuple(ranges)


def _port_list(text: str) -> set[int]:
    numbers = (part.strip() for part in text.split(","))
    return {int(n) for n in numbers if n.isascii() and n.isdigit() and 0 < int(n) <= LAST_PORT}


def declared_ports(pod: Mapping[str, Any]) -> Ports:
    """
    Return what the pod's containers declare: their ports and, as role `probe`, the ports they are probed on.

    A probe that only connects (`tcpSocket`) has the role `probe_connect`: it never sends a byte.
    """
    ports: set[tuple[str, int, str]] = set()
    for container in serving_containers(pod):
        ports |= {(protocol_of(p), p["containerPort"], "container") for p in container_ports(container)}
        for name in ("readinessProbe", "livenessProbe", "startupProbe"):
            for kind, probe in container.get(name, {}).items():
                number = _probe_port(probe.get("port"), container)
                if number:
                    ports.add(("tcp", number, "probe_connect" if kind == "tcpSocket" else "probe"))
    return frozenset(ports)


def _probe_port(port: int | str | None, container: Mapping[str, Any]) -> int | None:
    if isinstance(port, str):
        named = (p["containerPort"] for p in container_ports(container) if p.get("name") == port)
        return int(port) if port.isascii() and port.isdigit() else next(named, None)
    return port


def container_ports(container: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [p for p in container.get("ports", ()) if "containerPort" in p]


def protocol_of(port: Mapping[str, Any]) -> str:
    """Return a port's protocol as flows write it; Kubernetes leaves out TCP."""
    protocol: str = port.get("protocol", "TCP")
    return protocol.lower()


def target_port(pod: Mapping[str, Any], wanted: int | str, protocol: str) -> int | None:
    """Return the pod port that a Service's targetPort means on this pod; null when the pod has no port of that name."""
    if isinstance(wanted, int):
        return wanted
    for container in serving_containers(pod):
        for port in container_ports(container):
            if port.get("name") == wanted and protocol_of(port) == protocol:
                number: int = port["containerPort"]
                return number
    return None
