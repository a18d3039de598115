"""The cluster snapshot: what `kubectl get … -A -o json` would have printed at the end of the run."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from maker.cast import CONTROL_PLANE, NODES, POD_BLOCKS, PODS, SERVICES, Pod, Service

#: Everything but Kibana's pod was created this long before the run.
_EARLIER = dt.timedelta(hours=26)
_INJECTED = ("keycloak", "ingress-nginx", "verrazzano-system")
_NAMESPACE_ID = uuid.UUID("6f1f4f3a-3d6e-5c9c-8f53-0a3f8b1d2c77")

Object = dict[str, Any]


def snapshot(run_began: float, job_finished: float, kibana_began: float, taken: float) -> Object:
    """
    Return the List. All arguments are epoch seconds.

    *job_finished* and *kibana_began* bound the two lives of the reused address; *taken* is when the nodes last
    reported, which is what tells how long the snapshot can vouch for what it shows.
    """
    before = run_began - _EARLIER.total_seconds()
    began = dict.fromkeys(PODS, before) | {"reindex": run_began, "kibana": kibana_began}
    pods = [_pod(key, pod, began[key], job_finished if key == "reindex" else None) for key, pod in PODS.items()]
    namespaces = sorted({pod.namespace for pod in PODS.values()} | {"verrazzano-install"})
    items = [_namespace(name, before) for name in namespaces]
    items += [_node(name, before, taken) for name in NODES]
    items += pods
    for service in SERVICES.values():
        items += [_service(service, before), _slice(service, before)]
    items += [
        _peer_authentication("default", "istio-system", {"mtls": {"mode": "STRICT"}}, before),
        _peer_authentication(
            "verrazzano-console",
            "verrazzano-system",
            {"selector": {"matchLabels": {"app": "verrazzano-console"}}, "mtls": {"mode": "PERMISSIVE"}},
            before,
        ),
    ]
    return {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items}


def _time(seconds: float) -> str:
    """Kubernetes prints whole seconds, cut and not rounded."""
    return dt.datetime.fromtimestamp(int(seconds), dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _meta(name: str, kind: str, namespace: str | None, created: float, labels: dict[str, str]) -> Object:
    meta: Object = {"name": name}
    if namespace:
        meta["namespace"] = namespace
    meta["uid"] = str(uuid.uuid5(_NAMESPACE_ID, f"{kind}/{namespace}/{name}"))
    meta["creationTimestamp"] = _time(created)
    if labels:
        meta["labels"] = labels
    return meta


def _namespace(name: str, created: float) -> Object:
    labels = {} if name in ("default", "kube-system") else {"verrazzano.io/namespace": name}
    if name in _INJECTED:
        labels["istio-injection"] = "enabled"
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": _meta(name, "Namespace", None, created, labels),
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }


def _node(name: str, created: float, reported: float) -> Object:
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
    if name == CONTROL_PLANE:
        labels |= {"node-role.kubernetes.io/control-plane": "", "node-role.kubernetes.io/master": ""}
    meta = _meta(name, "Node", None, created, labels)
    meta["annotations"] = {
        "projectcalico.org/IPv4Address": f"{NODES[name]}/16",
        "projectcalico.org/IPv4IPIPTunnelAddr": POD_BLOCKS[name].replace(".0/24", ".1"),
    }
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "lastHeartbeatTime": _time(reported),
        "lastTransitionTime": _time(created),
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": meta,
        "spec": {"podCIDR": POD_BLOCKS[name], "podCIDRs": [POD_BLOCKS[name]]},
        "status": {
            "addresses": [{"type": "InternalIP", "address": NODES[name]}, {"type": "Hostname", "address": name}],
            "conditions": [ready],
        },
    }


def _pod(key: str, pod: Pod, began: float, finished: float | None) -> Object:
    meta = _meta(pod.name, "Pod", pod.namespace, began, dict(pod.labels))
    if pod.generate_name:
        meta["generateName"] = pod.generate_name
    if pod.owner:
        kind, name = pod.owner
        version = {"Job": "batch/v1", "Node": "v1"}.get(kind, "apps/v1")
        meta["ownerReferences"] = [
            {
                "apiVersion": version,
                "kind": kind,
                "name": name,
                "controller": True,
                "blockOwnerDeletion": True,
                "uid": str(uuid.uuid5(_NAMESPACE_ID, f"{kind}/{pod.namespace}/{name}")),
            }
        ]
    annotations = _annotations(key, pod)
    if annotations:
        meta["annotations"] = annotations
    containers = [_container(c.name, c.image, c.ports, c.probe, pod.host_network) for c in pod.containers]
    spec: Object = {"nodeName": pod.node, "serviceAccountName": pod.service_account, "restartPolicy": "Always"}
    if pod.host_network:
        spec["hostNetwork"] = True
    if pod.owner and pod.owner[0] == "Job":
        spec["restartPolicy"] = "Never"
    if pod.sidecar:
        spec["initContainers"] = [_istio_init(pod)]
        containers.append(
            _container(
                "istio-proxy",
                "proxyv2:1.7.3",
                {"http-envoy-prom": 15090},
                {"httpGet": {"path": "/healthz/ready", "port": 15021, "scheme": "HTTP"}, "periodSeconds": 2},
                False,
            )
        )
    spec["containers"] = containers
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta,
        "spec": spec,
        "status": _pod_status(pod, [c["name"] for c in containers], began, finished),
    }


def _annotations(key: str, pod: Pod) -> dict[str, str]:
    """What users and the injector wrote on the pod."""
    annotations = {}
    if pod.sidecar:
        annotations["sidecar.istio.io/status"] = (
            '{"version":"8e6295edf346b57ec1ac7f9ea8bbb75fb0e5d1b2","initContainers":["istio-init"],'
            '"containers":["istio-proxy"],"volumes":["istio-envoy"],"imagePullSecrets":null}'
        )
        if pod.excluded_inbound:
            annotations["traffic.sidecar.istio.io/excludeInboundPorts"] = pod.excluded_inbound
    if key == "reindex":
        annotations["sidecar.istio.io/inject"] = "false"
    return annotations


def _container(
    name: str, image: str, ports: dict[str, int], probe: dict[str, object] | None, host_network: bool
) -> Object:
    container: Object = {"name": name, "image": image}
    if ports:
        container["ports"] = [
            {"name": n, "containerPort": p, "protocol": "TCP"} | ({"hostPort": p} if host_network else {})
            for n, p in ports.items()
        ]
    if name == "coredns":
        container["ports"].append({"name": "dns", "containerPort": 53, "protocol": "UDP"})
    if probe:
        container["readinessProbe"] = probe
    return container


def _istio_init(pod: Pod) -> Object:
    """The init container whose arguments say which inbound ports are left alone."""
    left_alone = ",".join([*([pod.excluded_inbound] if pod.excluded_inbound else []), "15090", "15021", "15020"])
    return {
        "name": "istio-init",
        "image": "proxyv2:1.7.3",
        "args": [
            "istio-iptables",
            "-p",
            "15001",
            "-z",
            "15006",
            "-u",
            "1337",
            "-m",
            "REDIRECT",
            "-i",
            "*",
            "-x",
            "",
            "-b",
            "*",
            "-d",
            left_alone,
        ],
    }


def _pod_status(pod: Pod, containers: list[str], began: float, finished: float | None) -> Object:
    state: Object = {"running": {"startedAt": _time(began)}}
    if finished is not None:
        state = {
            "terminated": {
                "exitCode": 0,
                "reason": "Completed",
                "startedAt": _time(began),
                "finishedAt": _time(finished),
            }
        }
    phase = "Running" if finished is None else "Succeeded"
    return {
        "phase": phase,
        "hostIP": NODES[pod.node],
        "podIP": pod.ip,
        "podIPs": [{"ip": pod.ip}],
        "startTime": _time(began),
        "containerStatuses": [
            {"name": name, "ready": finished is None, "restartCount": 0, "state": state} for name in containers
        ],
    }


def _service(service: Service, created: float) -> Object:
    port = {
        "name": service.port_name,
        "port": service.port,
        "targetPort": service.target_port,
        "protocol": service.protocol,
    }
    spec: Object = {
        "type": "ClusterIP",
        "clusterIP": service.cluster_ip,
        "clusterIPs": [service.cluster_ip],
        "ports": [port],
    }
    if service.selector:
        spec["selector"] = service.selector
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _meta(service.name, "Service", service.namespace, created, {}),
        "spec": spec,
        "status": {"loadBalancer": {}},
    }


def _slice(service: Service, created: float) -> Object:
    endpoints = [_endpoint(key) for key in service.backends]
    name = service.name if service.name == "kubernetes" else f"{service.name}-x7k2q"
    meta = _meta(name, "EndpointSlice", service.namespace, created, {"kubernetes.io/service-name": service.name})
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": meta,
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": service.port_name, "port": service.target_port, "protocol": service.protocol}],
    }


def _endpoint(key: str) -> Object:
    if key in NODES:
        return {"addresses": [NODES[key]], "conditions": {"ready": True}}
    pod = PODS[key]
    target = {"kind": "Pod", "namespace": pod.namespace, "name": pod.name}
    return {"addresses": [pod.ip], "conditions": {"ready": True}, "nodeName": pod.node, "targetRef": target}


def _peer_authentication(name: str, namespace: str, spec: Object, created: float) -> Object:
    return {
        "apiVersion": "security.istio.io/v1beta1",
        "kind": "PeerAuthentication",
        "metadata": _meta(name, "PeerAuthentication", namespace, created, {}),
        "spec": spec,
    }
