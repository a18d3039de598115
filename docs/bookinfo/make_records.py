"""
Makes what docs/bookinfo.md ingests: a cluster's objects, and what was recorded there within a minute.

Nothing here ran: the lines are as kubectl, Istio's sidecars (in the format that `vzflow plan` prints) and Calico write
them, for a cluster that has Istio's sample as its documentation describes it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
DAY = "2026-11-02"
BEGAN = 1793610000  # 09:00:00 of that day

_PAGE = {"app": "productpage", "version": "v1"}
#: Name: namespace, address, labels, whether it has a sidecar, ports.
PODS = {
    "productpage-v1-6987489c74-4k2lz": ("bookinfo", "10.244.1.11", _PAGE, True, [9080]),
    "productpage-v1-6987489c74-x9w7c": ("bookinfo", "10.244.1.12", _PAGE, False, [9080]),
    "details-v1-5f4d584748-7rjqp": ("bookinfo", "10.244.1.13", {"app": "details", "version": "v1"}, True, [9080]),
    "reviews-v1-55b668fc65-hd5sz": ("bookinfo", "10.244.1.14", {"app": "reviews", "version": "v1"}, True, [9080]),
    "reviews-v2-858f99c99-qm8tn": ("bookinfo", "10.244.1.15", {"app": "reviews", "version": "v2"}, True, [9080]),
    "reviews-v3-7886dd86b9-6vxkd": ("bookinfo", "10.244.1.16", {"app": "reviews", "version": "v3"}, True, [9080]),
    "ratings-v1-6d6d4bb7cd-pz4bj": ("bookinfo", "10.244.1.17", {"app": "ratings", "version": "v1"}, True, [9080]),
    "fortio-7c9c8f5d4b-tl2rw": ("loadtest", "10.244.1.30", {"app": "fortio"}, False, [8080]),
    "istio-ingressgateway-5d9f8b6c4d-m7k9x": (
        "istio-system", "10.244.1.21", {"app": "istio-ingressgateway", "istio": "ingressgateway"}, True, [8080, 8443],
    ),
    "istiod-7f8b9d6c5-j4vzq": ("istio-system", "10.244.1.22", {"app": "istiod"}, False, [15012, 15017]),
    "prometheus-6c8d5f7b9-w2gdn": (
        "istio-system", "10.244.1.23", {"app.kubernetes.io/name": "prometheus"}, False, [9090],
    ),
    "coredns-5d78c9869d-r6t8p": ("kube-system", "10.244.1.2", {"k8s-app": "kube-dns"}, False, [53]),
}  # fmt: skip
SERVICES = {"productpage": 9080, "details": 9080, "reviews": 9080, "ratings": 9080}


def pod(word: str) -> str:
    """Return the name of the first pod that begins with *word*."""
    return next(name for name in PODS if name.startswith(word))


def address(word: str) -> str:
    return PODS[pod(word)][1]


def principal(word: str) -> str:
    return f"spiffe://cluster.local/ns/{PODS[pod(word)][0]}/sa/{account(pod(word))}"


def account(name: str) -> str:
    """Bookinfo has an account for each service, all versions of it alike."""
    workload = name.rsplit("-", 2)[0]
    return f"bookinfo-{workload.split('-')[0]}" if PODS[name][0] == "bookinfo" else workload


def meta(name: str, namespace: str | None = None, **more: Any) -> dict[str, Any]:
    place = {"namespace": namespace} if namespace else {}
    return {"name": name, **place, "creationTimestamp": f"{DAY}T08:00:00Z", **more}


def pod_object(name: str) -> dict[str, Any]:
    namespace, ip, labels, sidecar, ports = PODS[name]
    workload, template, _ = name.rsplit("-", 2)
    protocols = ("UDP", "TCP") if 53 in ports else ("TCP",)
    app = {"name": workload, "ports": [{"containerPort": n, "protocol": p} for n in ports for p in protocols]}
    proxy = {"name": "istio-proxy", "ports": [{"containerPort": 15090, "name": "http-envoy-prom"}]}
    owner = {"kind": "ReplicaSet", "name": f"{workload}-{template}", "controller": True}
    notes = {"sidecar.istio.io/status": '{"containers":["istio-proxy"]}'} if sidecar else {}
    containers = [proxy | app] if "gateway" in name else [app, proxy] if sidecar else [app]
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": meta(
            name, namespace, labels=labels | {"pod-template-hash": template}, annotations=notes,
            ownerReferences=[owner],
        ),
        "spec": {"nodeName": "worker", "serviceAccountName": account(name), "containers": containers},
        "status": {
            "phase": "Running", "startTime": f"{DAY}T08:00:00Z", "podIP": ip, "podIPs": [{"ip": ip}],
            "hostIP": "172.18.0.3",
        },
    }  # fmt: skip


def service(name: str, namespace: str, ip: str, ports: dict[int, int], selector: dict[str, str], **more: Any) -> Any:
    spec = {"clusterIP": ip, "selector": selector, "ports": [{"port": p, "targetPort": t} for p, t in ports.items()]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta(name, namespace), "spec": spec | more}


def objects() -> list[dict[str, Any]]:
    """What `kubectl get pods,svc,endpointslices,nodes,namespaces,peerauthentications -A -o json` lists."""
    ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": f"{DAY}T09:01:00Z"}  # dates the whole list
    nodes = [
        {
            "apiVersion": "v1", "kind": "Node", "metadata": meta(name), "spec": {"podCIDR": pods},
            "status": {"addresses": [{"type": "InternalIP", "address": ip}], "conditions": [ready]},
        }
        for name, ip, pods in (("master", "172.18.0.2", "10.244.0.0/24"), ("worker", "172.18.0.3", "10.244.1.0/24"))
    ]  # fmt: skip
    mode = {
        "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": meta("default", "istio-system"),
        "spec": {"mtls": {"mode": "PERMISSIVE"}},
    }  # fmt: skip
    services = [
        service(name, "bookinfo", f"10.96.0.{number}", {port: port}, {"app": name})
        for number, (name, port) in enumerate(SERVICES.items(), 21)
    ]
    gateway = service(
        "istio-ingressgateway", "istio-system", "10.96.0.40", {80: 8080, 443: 8443}, {"app": "istio-ingressgateway"},
        type="LoadBalancer", externalTrafficPolicy="Local",
    )  # fmt: skip
    api = service("kubernetes", "default", "10.96.0.1", {443: 6443}, {})
    ready = {"addresses": ["172.18.0.2"], "conditions": {"ready": True}}
    api_slice = {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": meta("kubernetes", "default", labels={"kubernetes.io/service-name": "kubernetes"}),
        "endpoints": [ready], "ports": [{"port": 6443, "protocol": "TCP"}],
    }  # fmt: skip
    dns = service("kube-dns", "kube-system", "10.96.0.10", {53: 53}, {"k8s-app": "kube-dns"})
    spaces = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": meta(name)}
        for name in ("bookinfo", "default", "istio-system", "kube-system", "loadtest")
    ]
    return [*spaces, *nodes, *map(pod_object, PODS), *services, gateway, api, api_slice, dns, mode]


def request(second: int, initiator: str, responder: str, path: str, port: int, *, mtls: bool = True) -> dict[str, Any]:
    """A line of the responder's sidecar."""
    ip, name = address(responder), responder.split("-")[0]
    caller = f"{address(initiator)}:{port}"
    return {
        "start_time": f"{DAY}T09:00:{second:02}.125Z", "duration": 4, "method": "GET", "path": path,
        "protocol": "HTTP/1.1", "response_code": 200, "response_flags": "-", "response_code_details": "via_upstream",
        "bytes_received": 0,
        "bytes_sent": 178, "upstream_host": f"{ip}:9080", "upstream_cluster": "inbound|9080||",
        "upstream_local_address": f"127.0.0.6:{port}", "downstream_local_address": f"{ip}:9080",
        "downstream_remote_address": caller, "downstream_direct_remote_address": caller,
        "requested_server_name": f"outbound_.9080_._.{name}.bookinfo.svc.cluster.local" if mtls else None,
        "downstream_tls_version": "TLSv1.3" if mtls else None,
        "downstream_peer_uri_san": principal(initiator) if mtls else None,
        "downstream_transport_failure_reason": None, "upstream_tls_version": None, "upstream_peer_uri_san": None,
        "upstream_local_uri_san": None, "upstream_transport_failure_reason": None,
    }  # fmt: skip


def requests() -> list[dict[str, Any]]:
    """The inbound lines of Bookinfo's sidecars."""
    page, bare = "productpage-v1-6987489c74-4k2lz", "productpage-v1-6987489c74-x9w7c"
    return [
        request(1, "istio-ingressgateway", page, "/productpage", 40112),
        request(1, page, "details", "/details/0", 40206),
        request(1, page, "reviews-v1", "/reviews/0", 40310),
        request(2, page, "reviews-v2", "/reviews/0", 40311),
        request(2, "reviews-v2", "ratings", "/ratings/0", 40420),
        request(3, page, "reviews-v3", "/reviews/0", 40312),
        request(3, "reviews-v3", "ratings", "/ratings/0", 40421),
        request(5, bare, "details", "/details/0", 40502, mtls=False),
        request(7, "fortio", "ratings", "/ratings/0", 40610, mtls=False),
    ]


def record(initiator: str, responder: str, initiator_port: int, port: int, protocol: str = "tcp") -> dict[str, Any]:
    """A line of Calico, by the responder's node."""
    to = pod(responder)
    of = None if initiator[0].isdigit() else pod(initiator)
    ends = {
        "source": ("pub", "-", initiator, "net") if of is None else (of, PODS[of][0], PODS[of][1], "wep"),
        "dest": (to, PODS[to][0], PODS[to][1], "wep"),
    }
    named = {
        f"{end}_{key}": value
        for end, (name, namespace, ip, kind) in ends.items()
        for key, value in {
            "ip": ip, "name": name if kind == "wep" else "-", "namespace": namespace, "type": kind,
            "name_aggr": f"{name.rsplit('-', 1)[0]}-*" if kind == "wep" else name,
        }.items()
    }  # fmt: skip
    return {
        "start_time": BEGAN, "end_time": BEGAN + 15, **named, "source_port": initiator_port, "dest_port": port,
        "proto": protocol, "action": "allow", "reporter": "dst", "bytes_in": 820, "bytes_out": 1630,
        "packets_in": 6, "packets_out": 5,
        "num_flows": 1, "num_flows_started": 1, "num_flows_completed": 1,
    }  # fmt: skip


def records() -> list[dict[str, Any]]:
    """What no sidecar logs: the gateway's own clients, scrapes, istiod, DNS."""
    page = "productpage-v1-6987489c74-4k2lz"
    scraped = [
        record("prometheus", name, 41000 + number, 15020)
        for number, name in enumerate((page, "details", "reviews-v1", "ratings"))
    ]
    return [
        record("203.0.113.40", "istio-ingressgateway", 51515, 8080),
        *scraped,
        record("details", "istiod", 42000, 15012),
        record(page, "coredns", 43000, 53, "udp"),
    ]


def main() -> None:
    """Write the three files beside this one, one object a line."""
    listed = ",\n".join(json.dumps(one) for one in objects())
    (HERE / "cluster.json").write_text(f'{{"apiVersion": "v1", "kind": "List", "items": [\n{listed}\n]}}\n')
    for name, lines in (("sidecars.log", requests()), ("calico.jsonl", records())):
        (HERE / name).write_text("".join(json.dumps(line) + "\n" for line in lines))


if __name__ == "__main__":
    main()
