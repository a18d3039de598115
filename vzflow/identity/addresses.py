"""What objects say of addresses: those of nodes and Services, ranges of pods, ports of a node that are a pod's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_network
from typing import Any

from vzflow.flow.key import canonical_address
from vzflow.identity.kept import CALICO_ADDRESSES, FLANNEL_ADDRESSES
from vzflow.identity.party import container_ports, protocol_of, serving_containers
from vzflow.identity.pods import Template

_UNSPECIFIED = ("0.0.0.0", "::")  # as a hostIP: every address of the node

HostPort = tuple[str, int, int, str | None]  # protocol, node port, pod port, its one node address or null for all


def node_addresses(node: Mapping[str, Any]) -> dict[str, bool]:
    """Return a node's addresses; true marks those presumed from its pod block, which another CNI gives to pods."""
    annotations = node.get("metadata", {}).get("annotations", {})
    listed = [
        a.get("address", "")
        for a in node.get("status", {}).get("addresses", ())
        if a.get("type") in ("InternalIP", "ExternalIP")
    ]
    annotated = [annotations[key] for key in (*CALICO_ADDRESSES, *FLANNEL_ADDRESSES) if key in annotations]
    presumed = dict[str, bool]()
    flannel = runs_flannel(node)
    for cidr in pod_ranges(node):
        block = ip_network(cidr)
        if block.num_addresses > 2:
            presumed[str(block[1])] = True  # the bridge: the pods' gateway
            if flannel:
                presumed[str(block[0])] = True  # flannel.1
    return presumed | dict.fromkeys(_canonical([*listed, *annotated]), False)


def runs_flannel(node: Mapping[str, Any]) -> bool:
    return any(key in node.get("metadata", {}).get("annotations", {}) for key in FLANNEL_ADDRESSES)


def pod_ranges(node: Mapping[str, Any]) -> list[str]:
    spec, found = node.get("spec", {}), []
    for cidr in spec.get("podCIDRs") or [spec.get("podCIDR", "")]:
        try:
            found.append(str(ip_network(cidr, strict=False)))
        except ValueError:
            continue
    return found


def cluster_ips(service: Mapping[str, Any]) -> list[str]:
    spec = service.get("spec", {})
    return list(dict.fromkeys(spec.get("clusterIPs") or filter(None, [spec.get("clusterIP")])))


def outer_addresses(service: Mapping[str, Any]) -> list[str]:
    ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress", ())
    return list(dict.fromkeys([*service.get("spec", {}).get("externalIPs", ()), *(i["ip"] for i in ingress)]))


def is_outer(service: Mapping[str, Any]) -> bool:
    """Whether a Service is reached by more than its cluster addresses."""
    spec = service.get("spec", {})
    typed = spec.get("type") in ("NodePort", "LoadBalancer") or any(p.get("nodePort") for p in spec.get("ports", ()))
    return typed or bool(outer_addresses(service))


def host_ports(template: Template) -> Iterator[HostPort]:
    """Yield the ports of a node that belong to a pod there: those of a host-network pod, and every hostPort."""
    for container in serving_containers(template.object):
        for port in container_ports(container):
            number = port["containerPort"] if template.host_network else port.get("hostPort")
            only = port.get("hostIP")
            if number:
                yield protocol_of(port), number, port["containerPort"], None if only in _UNSPECIFIED else only


def _canonical(texts: Iterable[str]) -> Iterator[str]:
    """Yield the addresses among *texts*, canonical, without their mask; a host name is no address."""
    for text in texts:
        try:
            yield canonical_address(text.partition("/")[0])
        except ValueError:
            continue
