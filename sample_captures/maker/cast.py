"""
Who takes part: the nodes, pods and Services of a small Verrazzano 1.0 cluster.

One table, so that the network (`lab`), the sidecars (`sidecars`) and the cluster snapshot (`cluster`) cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass

CONTROL_PLANE = "vz-control-plane"
WORKER = "vz-worker"
NODES = {CONTROL_PLANE: "172.18.0.2", WORKER: "172.18.0.3"}
POD_BLOCKS = {CONTROL_PLANE: "10.244.0.0/24", WORKER: "10.244.1.0/24"}

#: Ends that are in no cluster object: a routable address and a private one.
OUTSIDE = {"internet": "93.184.216.34", "stranger": "10.250.3.7"}

TRUST_DOMAIN = "cluster.local"


@dataclass(frozen=True)
class Container:
    """
    One container of a pod.

    Args:
        name: Its name.
        ports: Name -> TCP port it declares.
        probe: Readiness probe as in the pod spec *after* injection, or none.
    """

    name: str
    image: str
    ports: dict[str, int]
    probe: dict[str, object] | None = None


@dataclass(frozen=True)
class Inbound:
    """A port the sidecar captures: its protocol (`http` or `tcp`) and whether plaintext is let in too."""

    port: int
    protocol: str
    permissive: bool = False


@dataclass(frozen=True)
class Outbound:
    """A Service the pod's sidecar was told of, and how it dials it: TLS or not, TLS 1.2 as old proxies do."""

    service: str
    transport: str = "mtls"
    newest_tls: str = "TLSv1_3"


@dataclass(frozen=True)
class Pod:
    """
    One pod.

    Args:
        owner: Kind and name of the direct owner; none for a bare pod.
        sidecar: Access log encoding of its Envoy (`text`, `json`), or none when it was not injected.
        excluded_inbound: Value of the annotation that takes ports out of the sidecar's hands.
    """

    namespace: str
    name: str
    ip: str
    node: str
    labels: dict[str, str]
    owner: tuple[str, str] | None
    service_account: str
    containers: tuple[Container, ...]
    sidecar: str | None = None
    inbound: tuple[Inbound, ...] = ()
    outbound: tuple[Outbound, ...] = ()
    excluded_inbound: str | None = None
    host_network: bool = False

    @property
    def full_name(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def generate_name(self) -> str | None:
        """The prefix its controller named it by; StatefulSet, static and bare pods have none."""
        if self.owner is None or self.owner[0] in ("StatefulSet", "Node"):
            return None
        return self.name[: self.name.rindex("-") + 1]

    @property
    def spiffe_id(self) -> str:
        return f"spiffe://{TRUST_DOMAIN}/ns/{self.namespace}/sa/{self.service_account}"


@dataclass(frozen=True)
class Service:
    """One Service with one port. *backends* are keys of PODS (or of NODES, for the API server)."""

    namespace: str
    name: str
    cluster_ip: str
    port: int
    target_port: int
    backends: tuple[str, ...]
    selector: dict[str, str]
    protocol: str = "TCP"
    port_name: str = "http"

    @property
    def host(self) -> str:
        return f"{self.name}.{self.namespace}.svc.cluster.local"


def _http_probe(path: str, port: int) -> dict[str, object]:
    return {"httpGet": {"path": path, "port": port, "scheme": "HTTP"}, "periodSeconds": 10}


def _rewritten(container: str) -> dict[str, object]:
    """The probe that injection leaves: asked of the agent, which asks the app."""
    return _http_probe(f"/app-health/{container}/readyz", 15020)


_VZ = "verrazzano-system"
_VMI_ACCOUNT = "verrazzano-monitoring-operator"
_INGRESS_LABELS = {
    "app.kubernetes.io/component": "controller",
    "app.kubernetes.io/instance": "ingress-controller",
    "app.kubernetes.io/name": "ingress-nginx",
    "pod-template-hash": "6f8c9d7b5d",
}
_INGRESS_OWNER = ("ReplicaSet", "ingress-controller-ingress-nginx-controller-6f8c9d7b5d")
_INGRESS_CONTAINER = Container("controller", "ingress-nginx-controller:0.46.0", {"https": 443, "metrics": 10254})

PODS: dict[str, Pod] = {
    "coredns": Pod(
        "kube-system",
        "coredns-6d4b75cb6d-8xk2p",
        "10.244.0.10",
        CONTROL_PLANE,
        {"k8s-app": "kube-dns", "pod-template-hash": "6d4b75cb6d"},
        ("ReplicaSet", "coredns-6d4b75cb6d"),
        "coredns",
        (Container("coredns", "coredns:1.8.6", {"dns-tcp": 53, "metrics": 9153}, _http_probe("/ready", 8181)),),
    ),
    "apiserver": Pod(
        "kube-system",
        "kube-apiserver-vz-control-plane",
        NODES[CONTROL_PLANE],
        CONTROL_PLANE,
        {"component": "kube-apiserver", "tier": "control-plane"},
        ("Node", CONTROL_PLANE),
        "default",
        (Container("kube-apiserver", "kube-apiserver:v1.20.15", {}),),
        host_network=True,
    ),
    "istiod": Pod(
        "istio-system",
        "istiod-7b6d9c5d7f-qq8ws",
        "10.244.0.11",
        CONTROL_PLANE,
        {"app": "istiod", "istio": "pilot", "pod-template-hash": "7b6d9c5d7f"},
        ("ReplicaSet", "istiod-7b6d9c5d7f"),
        "istiod-service-account",
        (
            Container(
                "discovery",
                "pilot:1.7.3",
                {"http-debug": 8080, "grpc-xds": 15010, "webhook": 15017},
                _http_probe("/ready", 8080),
            ),
        ),
    ),
    "nginx": Pod(
        "ingress-nginx",
        "ingress-controller-ingress-nginx-controller-6f8c9d7b5d-4tzmx",
        "10.244.1.11",
        WORKER,
        _INGRESS_LABELS,
        _INGRESS_OWNER,
        "ingress-controller-ingress-nginx",
        (_INGRESS_CONTAINER,),
        sidecar="text",
        outbound=(Outbound("console"), Outbound("keycloak"), Outbound("rancher", "plaintext")),
        excluded_inbound="80,443",
    ),
    # The second replica of the same controller: injection failed for it, so it has no sidecar.
    "nginx-bare": Pod(
        "ingress-nginx",
        "ingress-controller-ingress-nginx-controller-6f8c9d7b5d-w9k7c",
        "10.244.1.12",
        WORKER,
        _INGRESS_LABELS,
        _INGRESS_OWNER,
        "ingress-controller-ingress-nginx",
        (_INGRESS_CONTAINER,),
    ),
    "console": Pod(
        _VZ,
        "verrazzano-console-5c9f7d8b6c-hj2lq",
        "10.244.1.13",
        WORKER,
        {"app": "verrazzano-console", "pod-template-hash": "5c9f7d8b6c"},
        ("ReplicaSet", "verrazzano-console-5c9f7d8b6c"),
        "verrazzano-console",
        (Container("verrazzano-console", "console:1.0.0", {"http": 8000}),),
        sidecar="text",
        inbound=(Inbound(8000, "http", permissive=True),),
    ),
    "keycloak": Pod(
        "keycloak",
        "keycloak-0",
        "10.244.1.14",
        WORKER,
        {"app.kubernetes.io/instance": "keycloak", "app.kubernetes.io/name": "keycloak"},
        ("StatefulSet", "keycloak"),
        "keycloak",
        (
            Container(
                "keycloak",
                "keycloak:10.0.1",
                {"http": 8080, "https": 8443, "http-management": 9990},
                _rewritten("keycloak"),
            ),
        ),
        sidecar="text",
        inbound=(Inbound(8080, "http"),),
        outbound=(Outbound("mysql"),),
    ),
    "mysql": Pod(
        "keycloak",
        "mysql-6b8f5c7d9d-x4vnt",
        "10.244.1.15",
        WORKER,
        {"app": "mysql", "release": "mysql", "pod-template-hash": "6b8f5c7d9d"},
        ("ReplicaSet", "mysql-6b8f5c7d9d"),
        "default",
        (Container("mysql", "mysql:8.0.20", {"mysql": 3306}, {"tcpSocket": {"port": 3306}, "periodSeconds": 10}),),
        sidecar="text",
        inbound=(Inbound(3306, "tcp"),),
    ),
    "prometheus": Pod(
        _VZ,
        "vmi-system-prometheus-0-7d6c9b8f5f-m6rkp",
        "10.244.1.16",
        WORKER,
        {"app": "system-prometheus", "verrazzano.binding": "system", "pod-template-hash": "7d6c9b8f5f"},
        ("ReplicaSet", "vmi-system-prometheus-0-7d6c9b8f5f"),
        _VMI_ACCOUNT,
        (
            Container("prometheus", "prometheus:2.13.1", {"http": 9090}, _rewritten("prometheus")),
            Container("oidc-proxy", "nginx-ingress-controller:0.46.0", {"oidc": 8775}),
        ),
        sidecar="json",
        inbound=(Inbound(9090, "http"),),
    ),
    "es-ingest": Pod(
        _VZ,
        "vmi-system-es-ingest-84d7f6c9bb-tq5zd",
        "10.244.1.17",
        WORKER,
        {"app": "system-es-ingest", "verrazzano.binding": "system", "pod-template-hash": "84d7f6c9bb"},
        ("ReplicaSet", "vmi-system-es-ingest-84d7f6c9bb"),
        _VMI_ACCOUNT,
        (
            Container("es-ingest", "elasticsearch:7.6.1", {"http": 9200, "transport": 9300}),
            Container("oidc-proxy", "nginx-ingress-controller:0.46.0", {"oidc": 8775}),
        ),
        sidecar="json",
        inbound=(Inbound(9200, "http"),),
        excluded_inbound="9300",
    ),
    "es-master": Pod(
        _VZ,
        "vmi-system-es-master-0",
        "10.244.1.18",
        WORKER,
        {"app": "system-es-master", "verrazzano.binding": "system"},
        ("StatefulSet", "vmi-system-es-master"),
        _VMI_ACCOUNT,
        (Container("es-master", "elasticsearch:7.6.1", {"transport": 9300}),),
        sidecar="json",
        excluded_inbound="9300",
    ),
    "fluentd": Pod(
        _VZ,
        "fluentd-7hx9s",
        "10.244.1.19",
        WORKER,
        {"app": "fluentd", "pod-template-generation": "1"},
        ("DaemonSet", "fluentd"),
        "fluentd",
        (Container("fluentd", "fluentd:1.12.3", {}),),
        sidecar="text",
        outbound=(Outbound("keycloak"),),
    ),
    "grafana": Pod(
        _VZ,
        "vmi-system-grafana-6c8f5d7c9b-pl4dn",
        "10.244.1.20",
        WORKER,
        {"app": "system-grafana", "verrazzano.binding": "system", "pod-template-hash": "6c8f5d7c9b"},
        ("ReplicaSet", "vmi-system-grafana-6c8f5d7c9b"),
        _VMI_ACCOUNT,
        (
            Container("grafana", "grafana:6.4.4", {"http": 3000}, _rewritten("grafana")),
            Container("oidc-proxy", "nginx-ingress-controller:0.46.0", {"oidc": 8775}),
        ),
        sidecar="json",
        outbound=(Outbound("prometheus"),),
    ),
    "application-operator": Pod(
        _VZ,
        "verrazzano-application-operator-66d8b9f7c4-vw2xk",
        "10.244.1.21",
        WORKER,
        {"app": "verrazzano-application-operator", "pod-template-hash": "66d8b9f7c4"},
        ("ReplicaSet", "verrazzano-application-operator-66d8b9f7c4"),
        "verrazzano-application-operator",
        (Container("verrazzano-application-operator", "application-operator:1.0.0", {"webhook": 9443}),),
    ),
    "coherence": Pod(
        _VZ,
        "coherence-operator-5f7b8d9c6d-zk8hm",
        "10.244.1.22",
        WORKER,
        {"control-plane": "coherence", "pod-template-hash": "5f7b8d9c6d"},
        ("ReplicaSet", "coherence-operator-5f7b8d9c6d"),
        "coherence-operator",
        (Container("manager", "coherence-operator:3.1.4", {"webhook-server": 9443, "operator-rest": 8000}),),
    ),
    "rancher": Pod(
        "cattle-system",
        "rancher-7f9d6c8b5b-n5x2v",
        "10.244.1.23",
        WORKER,
        {"app": "rancher", "release": "rancher", "pod-template-hash": "7f9d6c8b5b"},
        ("ReplicaSet", "rancher-7f9d6c8b5b"),
        "rancher",
        (Container("rancher", "rancher:v2.5.7", {"http": 80}, _http_probe("/healthz", 80)),),
    ),
    "cert-manager": Pod(
        "cert-manager",
        "cert-manager-58d6b7c9f5-t8wqj",
        "10.244.1.24",
        WORKER,
        {"app": "cert-manager", "app.kubernetes.io/name": "cert-manager", "pod-template-hash": "58d6b7c9f5"},
        ("ReplicaSet", "cert-manager-58d6b7c9f5"),
        "cert-manager",
        (Container("cert-manager", "cert-manager-controller:1.2.0", {"metrics": 9402}),),
    ),
    "node-exporter": Pod(
        "monitoring",
        "node-exporter-l6x4d",
        NODES[WORKER],
        WORKER,
        {"app": "node-exporter", "pod-template-generation": "1"},
        ("DaemonSet", "node-exporter"),
        "node-exporter",
        (Container("node-exporter", "node-exporter:1.0.0", {"metrics": 9100}),),
        host_network=True,
    ),
    # A bare pod that somebody started to look around: in no mesh, in no protected namespace.
    "netshoot": Pod(
        "default",
        "netshoot",
        "10.244.1.30",
        WORKER,
        {"run": "netshoot"},
        None,
        "default",
        (Container("netshoot", "netshoot:latest", {}),),
    ),
    # A Job's pod that finishes during the run; Kibana's pod then gets its address.
    "reindex": Pod(
        _VZ,
        "es-reindex-fz6lm",
        "10.244.1.37",
        WORKER,
        {"controller-uid": "0b7f7f0e-7f3b-4c60-9d56-2f0f9c1f0a11", "job-name": "es-reindex"},
        ("Job", "es-reindex"),
        "default",
        (Container("reindex", "curl:7.77.0", {}),),
    ),
    "kibana": Pod(
        _VZ,
        "vmi-system-kibana-7c5d9f8b6f-r2n8g",
        "10.244.1.37",
        WORKER,
        {"app": "system-kibana", "verrazzano.binding": "system", "pod-template-hash": "7c5d9f8b6f"},
        ("ReplicaSet", "vmi-system-kibana-7c5d9f8b6f"),
        _VMI_ACCOUNT,
        (
            Container("kibana", "kibana:7.6.1", {"http": 5601}, _rewritten("kibana")),
            Container("oidc-proxy", "nginx-ingress-controller:0.46.0", {"oidc": 8775}),
        ),
        sidecar="json",
        outbound=(Outbound("es-ingest", newest_tls="TLSv1_2"),),
    ),
}

SERVICES: dict[str, Service] = {
    "kubernetes": Service("default", "kubernetes", "10.96.0.1", 443, 6443, (CONTROL_PLANE,), {}, port_name="https"),
    "kube-dns": Service(
        "kube-system", "kube-dns", "10.96.0.10", 53, 53, ("coredns",), {"k8s-app": "kube-dns"}, "UDP", "dns"
    ),
    "istiod": Service(
        "istio-system", "istiod", "10.96.31.12", 15012, 15012, ("istiod",), {"app": "istiod"}, port_name="https-dns"
    ),
    "console": Service(
        "verrazzano-system",
        "verrazzano-console",
        "10.96.40.80",
        8000,
        8000,
        ("console",),
        {"app": "verrazzano-console"},
    ),
    "keycloak": Service(
        "keycloak", "keycloak-http", "10.96.77.21", 80, 8080, ("keycloak",), {"app.kubernetes.io/name": "keycloak"}
    ),
    "mysql": Service("keycloak", "mysql", "10.96.113.6", 3306, 3306, ("mysql",), {"app": "mysql"}, port_name="mysql"),
    "prometheus": Service(
        "verrazzano-system",
        "vmi-system-prometheus",
        "10.96.140.90",
        9090,
        9090,
        ("prometheus",),
        {"app": "system-prometheus"},
    ),
    "es-ingest": Service(
        "verrazzano-system",
        "vmi-system-es-ingest",
        "10.96.200.92",
        9200,
        9200,
        ("es-ingest",),
        {"app": "system-es-ingest"},
    ),
    "rancher": Service("cattle-system", "rancher", "10.96.220.8", 80, 80, ("rancher",), {"app": "rancher"}),
    "application-operator": Service(
        "verrazzano-system",
        "verrazzano-application-operator",
        "10.96.90.44",
        443,
        9443,
        ("application-operator",),
        {"app": "verrazzano-application-operator"},
        port_name="https",
    ),
}


def address(key: str) -> str:
    """Return the address of a pod, a node or an outside end."""
    return PODS[key].ip if key in PODS else NODES.get(key) or OUTSIDE[key]
