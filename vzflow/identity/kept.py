"""What is kept of a Kubernetes object: the fields identity needs, checked to be what Kubernetes writes there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import ip_network
from itertools import pairwise
from typing import Any

import yaml

from vzflow.flow.key import canonical_address

INCLUDE_INBOUND = "traffic.sidecar.istio.io/includeInboundPorts"
EXCLUDE_INBOUND = "traffic.sidecar.istio.io/excludeInboundPorts"
INTERCEPTION = "sidecar.istio.io/interceptionMode"
#: Istio's CNI plugin writes `enabled` when ztunnel takes a pod's traffic; the second leaves its inbound alone.
REDIRECTION = "ambient.istio.io/redirection"
BYPASS_INBOUND = "ambient.istio.io/bypass-inbound-capture"
POD_ANNOTATIONS = (INCLUDE_INBOUND, EXCLUDE_INBOUND, INTERCEPTION, REDIRECTION, BYPASS_INBOUND)
#: The program that redirects a sidecar's traffic, in an init container, and those of its options that say which inbound
#: ports it captures and which it leaves alone (Istio's injection template): mesh-wide settings stand nowhere else.
REDIRECTOR, INCLUDED_PORTS, EXCLUDED_PORTS = "istio-iptables", "-b", "-d"
#: Calico's node annotations that hold an address, some with a /mask (projectcalico/libcalico-go, k8s node backend):
#: those it knows the node by, and those of its tunnels.
CALICO_NODE_ADDRESSES = ("projectcalico.org/IPv4Address", "projectcalico.org/IPv6Address")
CALICO_ADDRESSES = CALICO_NODE_ADDRESSES + tuple(
    f"projectcalico.org/{name}"
    for name in (
        "IPv4IPIPTunnelAddr",
        "IPv4VXLANTunnelAddr",
        "IPv6VXLANTunnelAddr",
        "IPv4WireguardInterfaceAddr",
        "IPv6WireguardInterfaceAddr",
    )
)
FLANNEL_ADDRESSES = ("flannel.alpha.coreos.com/public-ip", "flannel.alpha.coreos.com/public-ipv6")

#: Istio's MeshConfig is the text of this key in the ConfigMap `istio`, or `istio-REVISION`, beside istiod (pilot's
#: getMeshConfigMapName); what it says of the namespace whose policies are for the whole mesh.
MESH_CONFIG, MESH_KEY, ROOT_NAMESPACE = "istio", "mesh", "rootNamespace"
_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_YAML_NULLS = frozenset({"", "~", "null", "Null", "NULL"})

_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = datetime.resolution


def microseconds(text: str) -> int:
    """
    Return an RFC 3339 time, as Kubernetes writes it, in microseconds since 1970 UTC.

    Raises:
        ValueError: It is not one.
    """
    second = text[17:19]
    if text[19:] == "Z" and second.isascii() and second.isdigit() and second < "60":
        return _any_time(f"{text[:17]}00Z") + int(second) * 1_000_000  # objects were made in few different minutes
    return _any_time(text)


@lru_cache(maxsize=1 << 13)
def _any_time(text: str) -> int:
    if not _TIMESTAMP.fullmatch(text):
        raise ValueError(f"not a time: {text!r}")
    try:
        return (datetime.fromisoformat(text.upper()) - _EPOCH) // _MICROSECOND
    except OverflowError as error:
        raise ValueError(f"not a time: {text!r}") from error


def timestamp(moment: int) -> str:
    """Return microseconds since 1970 UTC as RFC 3339 text."""
    return (_EPOCH + moment * _MICROSECOND).isoformat(timespec="microseconds").replace("+00:00", "Z")


class WrongShape(Exception):
    """A value is not what Kubernetes writes there; the message names the field."""


# Leaves of KEPT: what a field may hold. Each returns the value to keep.


def plain_text(value: object) -> str:
    """Return *value* if it is text that can be written as UTF-8."""
    if not isinstance(value, str):
        raise WrongShape("is not text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise WrongShape("is not text") from error
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise WrongShape("is not true or false")
    return value


def _port(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 65_535:
        raise WrongShape("is not a port number")
    return value


def _port_or_name(value: object) -> int | str:
    return plain_text(value) if isinstance(value, str) else _port(value)


def _time(value: object) -> str:
    written = plain_text(value)
    try:
        microseconds(written)
    except ValueError as error:
        raise WrongShape("is not a time") from error
    return written


def _address(value: object) -> str | None:
    """Canonical address; null for a Service without one (`None`) and for a pod that has none yet (empty)."""
    written = plain_text(value)
    if written in ("", "None"):
        return None
    try:
        return canonical_address(written)
    except ValueError as error:
        raise WrongShape(f"holds {written!r}, which is not an IP address") from error


def _cidr(value: object) -> str:
    """Canonical address range."""
    written = plain_text(value)
    try:
        return str(ip_network(written, strict=False))
    except ValueError as error:
        raise WrongShape(f"holds {written!r}, which is not an address range") from error


def redirection(value: object) -> list[str] | None:
    """Of the arguments of Istio's redirection return what they say of inbound ports; of any other program's nothing."""
    if not isinstance(value, list) or value[:1] != [REDIRECTOR] or not all(isinstance(word, str) for word in value):
        return None
    pairs = [pair for pair in pairwise(value) if pair[0] in (INCLUDED_PORTS, EXCLUDED_PORTS)]
    return [REDIRECTOR, *(plain_text(word) for pair in pairs for word in pair)]


def holds_mesh_config(item: Mapping[str, Any]) -> bool:
    """Whether a ConfigMap is a mesh's configuration, by its name: Istio keeps others beside it."""
    name, data = item["metadata"]["name"], item.get("data")
    return name == MESH_CONFIG or (name.startswith(f"{MESH_CONFIG}-") and isinstance(data, dict) and MESH_KEY in data)


def mesh_config(value: object) -> str | None:
    """Of a MeshConfig's text return the root namespace alone, as such a text; an empty one where none can be read."""
    if not isinstance(value, str):
        return None
    name = _root_namespace(value)
    return json.dumps({ROOT_NAMESPACE: plain_text(name)} if name else {})


def _root_namespace(text: str) -> str | None:
    """Return what stands at that key of the text's outermost map; of its events only: nesting takes no stack."""
    depth, nodes, key, found = 0, 0, "", ""
    try:
        for event in yaml.parse(text, Loader=_YAML):
            if depth == 0 and isinstance(event, yaml.SequenceStartEvent):
                return None
            if depth == 1 and isinstance(event, yaml.NodeEvent):
                word = event.value if isinstance(event, yaml.ScalarEvent) else ""
                if nodes % 2 == 0:
                    key = word
                elif key == ROOT_NAMESPACE:
                    found = word
                nodes += 1
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
    except (yaml.YAMLError, ValueError):
        return None
    return None if found in _YAML_NULLS else found


_EVERY = "*"
_LABELS = {_EVERY: plain_text}
_OWNERS = [{"apiVersion": plain_text, "kind": plain_text, "name": plain_text, "uid": plain_text, "controller": _flag}]
_META = {"creationTimestamp": _time}
_PROBE = {name: {"port": _port_or_name} for name in ("httpGet", "tcpSocket", "grpc")}
_CONTAINER = {
    "name": plain_text,
    "restartPolicy": plain_text,
    "ports": [
        {"name": plain_text, "containerPort": _port, "protocol": plain_text, "hostPort": _port, "hostIP": _address}
    ],
    "readinessProbe": _PROBE,
    "livenessProbe": _PROBE,
    "startupProbe": _PROBE,
    "args": redirection,
}
_RAN = {"running": {"startedAt": _time}, "terminated": {"startedAt": _time, "finishedAt": _time}}
_STATUS = {"name": plain_text, "state": _RAN, "lastState": _RAN}

#: What is kept of whatever may stand between a pod and the owner users know.
_OWNED = {"metadata": {**_META, "ownerReferences": _OWNERS}}

#: The fields that are kept of each kind, and nothing else: no environment, no volumes, of commands only Istio's
#: redirection. Of any other kind only its owners are kept, if it has some. `*` stands for every key of a map.
KEPT: dict[str, dict[str, Any]] = {
    "Pod": {
        "metadata": {
            **_META,
            "deletionTimestamp": _time,
            "generateName": plain_text,
            "labels": _LABELS,
            "annotations": dict.fromkeys(POD_ANNOTATIONS, plain_text),
            "ownerReferences": _OWNERS,
        },
        "spec": {
            "nodeName": plain_text,
            "hostNetwork": _flag,
            "serviceAccountName": plain_text,
            "containers": [_CONTAINER],
            "initContainers": [_CONTAINER],
        },
        "status": {
            "phase": plain_text,
            "podIP": _address,
            "podIPs": [{"ip": _address}],
            "hostIP": _address,
            "hostIPs": [{"ip": _address}],
            "startTime": _time,
            "conditions": [{"type": plain_text, "status": plain_text, "lastTransitionTime": _time}],
            "containerStatuses": [_STATUS],
            "initContainerStatuses": [_STATUS],
        },
    },
    "Node": {
        "metadata": {**_META, "annotations": dict.fromkeys((*CALICO_ADDRESSES, *FLANNEL_ADDRESSES), plain_text)},
        "spec": {"podCIDR": plain_text, "podCIDRs": [plain_text]},
        "status": {"addresses": [{"type": plain_text, "address": plain_text}]},
    },
    "Service": {
        "metadata": _META,
        "spec": {
            "type": plain_text,
            "clusterIP": _address,
            "clusterIPs": [_address],
            "externalIPs": [_address],
            "selector": _LABELS,
            "ports": [
                {
                    "name": plain_text,
                    "protocol": plain_text,
                    "port": _port,
                    "targetPort": _port_or_name,
                    "nodePort": _port,
                }
            ],
        },
        "status": {"loadBalancer": {"ingress": [{"ip": _address}]}},
    },
    "EndpointSlice": {
        "metadata": {**_META, "labels": {"kubernetes.io/service-name": plain_text}},
        "addressType": plain_text,
        "endpoints": [{"addresses": [plain_text]}],
        "ports": [{"name": plain_text, "protocol": plain_text, "port": _port}],
    },
    "Endpoints": {
        "metadata": _META,
        "subsets": [
            {
                "addresses": [{"ip": _address}],
                "notReadyAddresses": [{"ip": _address}],
                "ports": [{"name": plain_text, "protocol": plain_text, "port": _port}],
            }
        ],
    },
    "Namespace": {"metadata": {**_META, "labels": _LABELS}},
    **dict.fromkeys(("ReplicaSet", "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"), _OWNED),
    "PeerAuthentication": {
        "metadata": _META,
        "spec": {
            "selector": {"matchLabels": _LABELS},
            "mtls": {"mode": plain_text},
            "portLevelMtls": {_EVERY: {"mode": plain_text}},
        },
    },
    "Sidecar": {
        "metadata": _META,
        "spec": {
            "workloadSelector": {"labels": _LABELS},
            "ingress": [{"port": {"number": _port}, "tls": {"mode": plain_text}}],
        },
    },
    "IPPool": {"metadata": _META, "spec": {"cidr": _cidr, "natOutgoing": _flag, "disabled": _flag}},
    "FelixConfiguration": {
        "metadata": _META,
        "spec": {"natOutgoingAddress": _address, "natOutgoingExclusions": plain_text},
    },
    "ServiceCIDR": {"metadata": _META, "spec": {"cidrs": [_cidr]}},
    "ConfigMap": {"metadata": _META, "data": {MESH_KEY: mesh_config}},
}

#: API groups of the kinds that are not in the core group: Knative has a Service too.
_GROUPS = {
    "EndpointSlice": ("discovery.k8s.io",),
    **dict.fromkeys(("ReplicaSet", "Deployment", "StatefulSet", "DaemonSet"), ("apps",)),
    **dict.fromkeys(("Job", "CronJob"), ("batch",)),
    "PeerAuthentication": ("security.istio.io",),
    "Sidecar": ("networking.istio.io",),
    **dict.fromkeys(("IPPool", "FelixConfiguration"), ("crd.projectcalico.org", "projectcalico.org")),
    "ServiceCIDR": ("networking.k8s.io",),
}


def qualified(kind: str, api_version: str | None) -> str:
    """Return *kind*, with its API group where a kind of KEPT in another group has the same name."""
    group = (api_version or "").rpartition("/")[0]
    if kind in KEPT and api_version and group not in _GROUPS.get(kind, ("",)):
        return f"{kind}.{group}"
    return kind


def _cut(shape: Any, value: Any, at: str = "") -> Any:  # noqa: ANN401  (JSON has no narrower type)
    """Return *value* cut down to *shape*, or null when nothing of it is left; absent, null and empty are the same."""
    if value is None:
        return None
    if isinstance(shape, dict):
        return _cut_map(shape, value, at)
    if isinstance(shape, list):
        if not isinstance(value, list):
            raise WrongShape(f"{at} is not a list")
        kept = (_cut(shape[0], entry, f"{at}[{number}]") for number, entry in enumerate(value))
        return [entry for entry in kept if entry is not None] or None
    try:
        leaf: Callable[[object], object] = shape
        return leaf(value)
    except WrongShape as error:
        raise WrongShape(f"{at} {error}") from error


def _cut_map(shape: dict[str, Any], value: Any, at: str) -> dict[str, Any] | None:  # noqa: ANN401
    if not isinstance(value, dict):
        raise WrongShape(f"{at or 'it'} is not an object")
    keys = [plain_text(key) for key in value] if _EVERY in shape else [key for key in shape if key in value]
    kept = {key: _cut(shape.get(key, shape.get(_EVERY)), value[key], f"{at}.{key}".lstrip(".")) for key in keys}
    return {key: entry for key, entry in kept.items() if entry is not None} or None


def kept(kind: str, item: dict[str, Any]) -> dict[str, Any]:
    """
    Return *item* cut down to what is kept of *kind*, addresses canonical.

    Raises:
        WrongShape: A field holds what Kubernetes never writes there; the message begins with the field's path.
    """
    return _cut(KEPT.get(kind, _OWNED), item) or {}


def controller(content: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the owner that controls an object: one that says so, or its only one; null where there is none."""
    owners = [o for o in content.get("metadata", {}).get("ownerReferences", ()) if "kind" in o and "name" in o]
    controllers = [o for o in owners if o.get("controller")] or (owners if len(owners) == 1 else [])
    # The mirror of a static pod belongs to its node, which is no workload.
    return next((o for o in controllers if o["kind"] != "Node"), None)
