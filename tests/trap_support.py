"""A small Verrazzano cluster and what was recorded in it, judged by the shipped model as the program does."""

from __future__ import annotations

from datetime import date
from typing import Any

import pyarrow as pa
from identity.identity_support import (
    CLUSTER,
    Object,
    at,
    endpoint_slice,
    node,
    objects,
    peer_authentication,
    pod,
    service,
)
from query_case import table_of

from vzflow.flow.schema import FLOW_SCHEMA
from vzflow.identity.tables import Range, tables
from vzflow.model import classify
from vzflow.model.document import load
from vzflow.store.duck import connect

SYSTEM = "verrazzano-system"
#: What the sidecar injector adds.
PROXY = {"name": "istio-proxy", "readinessProbe": {"httpGet": {"port": 15021}}}
#: Node n1 is the control plane; its tunnel and its pods' gateway are addresses of it too.
N1, N1_TUNNEL, N1_BRIDGE, N2 = "10.1.0.1", "10.244.1.128", "10.244.1.1", "10.1.0.2"


def component(name: str, ip: str, labels: dict[str, str], *ports: int, mesh: bool = True, **more: Any) -> Object:
    """A pod of the model, probed on its first port."""
    app: Object = {"name": "app", "ports": [{"containerPort": port} for port in ports]}
    if ports:
        app["livenessProbe"] = {"httpGet": {"port": ports[0]}}
    more = {"namespace": SYSTEM, "start": "03:00", "ran": "03:00"} | more
    return pod(name, ip, more.pop("start"), labels=labels, containers=[app, PROXY] if mesh else [app], **more)


def on_every_node(name: str, namespace: str, labels: dict[str, str], *ports: int) -> list[Object]:
    """Host-network pods."""
    return [
        component(
            f"{name}-{n}", ip, labels, *ports, mesh=False, namespace=namespace, node=n, host_network=True
        )
        for n, ip in (("n1", N1), ("n2", N2))
    ]  # fmt: skip


CONSOLE = "10.244.1.10"
PROMETHEUS = "10.244.2.20"
NGINX = "10.244.2.21"
ES_MASTER = "10.244.2.22"
KIBANA = "10.244.2.23"
GATEWAY = "10.244.2.24"
APPLICATION_OPERATOR = "10.244.2.25"
KEYCLOAK = "10.244.2.26"
MYSQL = "10.244.2.27"
COREDNS = "10.244.2.28"
METRICS_SERVER = "10.244.2.29"
ROGUE = "10.244.2.30"
OUTSIDE = "198.51.100.7"
DNS_VIP, API_VIP, KEYCLOAK_VIP, INGRESS_LB = "10.96.0.10", "10.96.0.1", "10.96.0.20", "192.0.2.80"

PODS = [
    component("console-0", CONSOLE, {"app": "verrazzano-console"}, 8000, node="n1"),
    component("prometheus-0", PROMETHEUS, {"app": "system-prometheus"}, 9090, node="n2"),
    component("kibana-0", KIBANA, {"app": "system-kibana"}, 5601, node="n2"),
    component("es-master-0", ES_MASTER, {"app": "system-es-master"}, 9200, 9300, node="n2"),
    component(
        "nginx-0", NGINX, {"app.kubernetes.io/name": "ingress-nginx", "app.kubernetes.io/component": "controller"},
        80, 443, namespace="ingress-nginx", node="n2",
        annotations={"traffic.sidecar.istio.io/includeInboundPorts": ""},
    ),
    component(
        "gateway-0", GATEWAY, {"app": "istio-ingressgateway", "istio": "ingressgateway"}, 8443,
        namespace="istio-system", node="n2",
    ),
    component(
        "operator-0", APPLICATION_OPERATOR, {"app": "verrazzano-application-operator"}, 9443, mesh=False, node="n2"
    ),
    component("keycloak-0", KEYCLOAK, {"app.kubernetes.io/name": "keycloak"}, 8080, namespace="keycloak", node="n2"),
    component("mysql-0", MYSQL, {"app": "mysql"}, 3306, 33060, namespace="keycloak", node="n2"),
    component("coredns-0", COREDNS, {"k8s-app": "kube-dns"}, mesh=False, namespace="kube-system", node="n2"),
    component(
        "metrics-0", METRICS_SERVER, {"k8s-app": "metrics-server"}, 4443, mesh=False, namespace="kube-system", node="n2"
    ),
    component("rogue-0", ROGUE, {"app": "rogue"}, mesh=False, namespace="shop", node="n2"),
    *on_every_node("node-exporter", "monitoring", {"app": "node-exporter"}, 9100),
    *on_every_node("kube-proxy", "kube-system", {"k8s-app": "kube-proxy"}),
    component(
        "kube-apiserver-n1", N1, {"component": "kube-apiserver"}, 6443, mesh=False, namespace="kube-system",
        node="n1", host_network=True,
    ),
]  # fmt: skip
CLUSTER_OBJECTS = [
    *PODS,
    node(
        "n1", N1, podCIDR="10.244.1.0/24", annotations={"projectcalico.org/IPv4VXLANTunnelAddr": N1_TUNNEL},
    ),
    node("n2", N2, podCIDR="10.244.2.0/24"),
    service("kubernetes", [{"port": 443, "targetPort": 6443}], namespace="default", clusterIP=API_VIP),
    endpoint_slice("kubernetes", [N1], 6443, namespace="default"),
    service(
        "kube-dns", [{"port": 53, "protocol": p} for p in ("UDP", "TCP")], namespace="kube-system",
        clusterIP=DNS_VIP, selector={"k8s-app": "kube-dns"},
    ),
    service(
        "verrazzano-application-operator", [{"port": 443, "targetPort": 9443}], namespace=SYSTEM,
        clusterIP="10.96.0.30", selector={"app": "verrazzano-application-operator"},
    ),
    service(
        "keycloak-http", [{"port": 80, "targetPort": 8080}], namespace="keycloak", clusterIP=KEYCLOAK_VIP,
        selector={"app.kubernetes.io/name": "keycloak"},
    ),
    service(
        "es-master", [{"port": 9300}], namespace=SYSTEM, clusterIP="None", selector={"app": "system-es-master"},
    ),
    service(
        "ingress-controller", [{"port": 443, "targetPort": 443, "nodePort": 30443}], namespace="ingress-nginx",
        clusterIP="10.96.0.40", type="LoadBalancer", selector={"app.kubernetes.io/name": "ingress-nginx"},
        status={"loadBalancer": {"ingress": [{"ip": INGRESS_LB}]}},
    ),
    service(
        "istio-ingressgateway", [{"port": 443, "targetPort": 8443, "nodePort": 31390}], namespace="istio-system",
        clusterIP="10.96.0.41", type="NodePort", selector={"app": "istio-ingressgateway"},
    ),
    peer_authentication("default", "STRICT"),
]  # fmt: skip

DEFAULTS: dict[str, Any] = {
    "segment": "s", "source": "pcap", "reporter": "tap", "cluster": CLUSTER, "protocol": "tcp",
    "initiator_port": 40000, "initiator_basis": "syn", "hop": "wire", "connection_state": "established",
    "action": "unknown", "packets_sent": 5, "packets_received": 5, "payload_sent": 10, "payload_received": 10,
    "transport_seen": "unknown", "transport_seen_basis": "unrecognised",
}  # fmt: skip


def flow(initiator: str | None, responder: str | None, port: int | None, clock: str = "12:00", **more: Any) -> Object:
    """One recorded row, of packets on the wire unless it says otherwise."""
    ends = {"initiator_ip": initiator, "responder_ip": responder, "responder_port": port}
    return DEFAULTS | {"first_seen": at(clock), "last_seen": at(clock)} | ends | more


def judged(
    *flows: Object, with_objects: list[Object] | None = None, ranges: tuple[Range, ...] = ()
) -> list[dict[str, Any]]:
    """Return the classified rows of *flows*, in their order, with *with_objects* in the snapshot of 13:00 too."""
    return judged_in(objects(("13:00", [*CLUSTER_OBJECTS, *(with_objects or [])])), *flows, ranges=ranges)


def judged_in(
    snapshots: pa.Table, *flows: Object, ranges: tuple[Range, ...] = (), model: str = "verrazzano-1.0"
) -> list[dict[str, Any]]:
    rows = [row | {"record": number} for number, row in enumerate(flows, 1)]
    documented = load([model], on=date(2026, 1, 2))
    with connect(threads=1) as duck:
        classify.prepare(duck, tables(snapshots, [CLUSTER], ranges) | documented.tables())
        duck.register(classify.RECORDED, table_of(rows, FLOW_SCHEMA, "recorded"))
        classify.classify(duck)
        return duck.run("SELECT * FROM classified ORDER BY record").to_pylist()


def verdict(*flows: Object, **more: Any) -> list[tuple[str, str | None]]:
    """Return (verdict, rule or reason) of each flow."""
    return [(row["verdict"], row["rule_id"] or row["reason"]) for row in judged(*flows, **more)]
