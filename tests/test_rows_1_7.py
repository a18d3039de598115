"""
What the main rows of Verrazzano 1.7 allow, and that a stranger is let in by none.

Who may reach whom is written here from the document and the shipped policies, not from the model.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import pytest
from identity.identity_support import Object, endpoint_slice, node, objects, peer_authentication, service
from test_rows import SEEN
from trap_support import DEFAULTS, N1, N2, OUTSIDE, SYSTEM, component, flow, judged_in

MONITORING = "verrazzano-monitoring"
NAME, PART = "app.kubernetes.io/name", "app.kubernetes.io/component"
#: Namespace, labels, whether it has a sidecar, as of 1.7.
PODS = {
    "operator": (SYSTEM, {"app": "verrazzano-application-operator"}, False),
    "operator-webhook": (SYSTEM, {"app": "verrazzano-application-operator-webhook"}, False),
    "platform-webhook": ("verrazzano-install", {"app": "verrazzano-platform-operator-webhook"}, False),
    "cluster-webhook": (SYSTEM, {"app": "verrazzano-cluster-operator-webhook"}, False),
    "monitoring-operator": (SYSTEM, {"k8s-app": "verrazzano-monitoring-operator"}, True),
    "console": (SYSTEM, {"app": "verrazzano-console"}, True),
    "authproxy": (SYSTEM, {"app": "verrazzano-authproxy"}, True),
    "coherence-operator": (SYSTEM, {"control-plane": "coherence"}, False),
    "os-ingest": (SYSTEM, {"opensearch.verrazzano.io/role-ingest": "true"}, True),
    "os-data": (SYSTEM, {"opensearch.verrazzano.io/role-data": "true"}, True),
    "os-master": (SYSTEM, {"opensearch.verrazzano.io/role-master": "true"}, True),
    "dashboards": (SYSTEM, {"app": "system-osd"}, True),
    "grafana": (SYSTEM, {"app": "system-grafana"}, True),
    "fluentd": (SYSTEM, {"app": "fluentd"}, True),
    "kiali": (SYSTEM, {"app": "kiali"}, True),
    "prometheus": (MONITORING, {NAME: "prometheus"}, True),
    "jaeger-collector": (MONITORING, {"app": "jaeger", PART: "collector"}, True),
    "jaeger-query": (MONITORING, {"app": "jaeger", PART: "query"}, True),
    "thanos-query": (MONITORING, {NAME: "thanos", PART: "query"}, True),
    "thanos-frontend": (MONITORING, {NAME: "thanos", PART: "query-frontend"}, True),
    "istiod": ("istio-system", {"app": "istiod"}, False),
    "ingress-gateway": ("istio-system", {"app": "istio-ingressgateway", "istio": "ingressgateway"}, True),
    "nginx": ("verrazzano-ingress-nginx", {NAME: "ingress-nginx", PART: "controller"}, True),
    "nginx-upgraded": ("ingress-nginx", {NAME: "ingress-nginx", PART: "controller"}, True),
    "nginx-backend": ("verrazzano-ingress-nginx", {NAME: "ingress-nginx", PART: "default-backend"}, True),
    "keycloak": ("keycloak", {NAME: "keycloak"}, True),
    "mysql": ("keycloak", {"tier": "mysql"}, True),
    "mysql-router": ("keycloak", {"component": "mysqlrouter"}, True),
    "mysql-router-labelled": ("keycloak", {"component": "mysqlrouter", "tier": "mysql"}, True),
    "mysql-operator": ("mysql-operator", {"name": "mysql-operator"}, True),
    "rancher": ("cattle-system", {"app": "rancher"}, False),
    "rancher-webhook": ("cattle-system", {"app": "rancher-webhook"}, False),
    "weblogic-operator": (SYSTEM, {"app": "weblogic-operator"}, True),
    "weblogic": ("bank", {"weblogic.domainUID": "bank", "verrazzano.io/istio": "bank"}, True),
    "coherence": ("shop", {"coherenceComponent": "coherencePod"}, False),
    "thanos-store": (MONITORING, {NAME: "thanos", PART: "storegateway"}, True),
    "state-metrics": (MONITORING, {NAME: "kube-state-metrics"}, False),
    "pushgateway": (MONITORING, {NAME: "prometheus-pushgateway"}, False),
    "adapter": (MONITORING, {NAME: "prometheus-adapter"}, False),
    "prometheus-operator": (MONITORING, {"app": "kube-prometheus-stack-operator"}, False),
    "argocd": ("argocd", {NAME: "argocd-server"}, True),
    "argocd-controller": ("argocd", {NAME: "argocd-application-controller"}, True),
    "argocd-stranger": ("argocd", {"app": "stranger"}, True),
    "dex": ("verrazzano-auth", {NAME: "dex"}, True),
    "capi": ("verrazzano-capi", {"cluster.x-k8s.io/provider": "infrastructure-oci"}, False),
    "application": ("shop", {"app": "shop", "verrazzano.io/istio": "shop"}, True),
    "stranger": ("default", {"app": "stranger"}, False),
}
ADDRESS = {"api-server": N1, "node-exporter": N2, "node": N2, "outside": OUTSIDE}


class Pair(NamedTuple):
    """One initiator, one responder, and the rule that lets the one reach the other."""

    rule: str
    initiator: str
    responder: str
    port: int
    seen: str  # mtls | tls | plaintext


ALLOWED = [
    Pair("R01", "api-server", "operator-webhook", 9443, "tls"),
    Pair("R02", "api-server", "platform-webhook", 9443, "tls"),
    Pair("R04", "prometheus", "console", 15090, "plaintext"),
    Pair("R05", "nginx", "authproxy", 8775, "mtls"),
    Pair("R05", "nginx-upgraded", "authproxy", 8775, "mtls"),
    Pair("R11", "dashboards", "os-data", 9200, "mtls"),
    Pair("R11", "os-ingest", "os-data", 9200, "mtls"),
    Pair("R12", "os-data", "os-master", 9300, "plaintext"),
    Pair("R14", "thanos-query", "istiod", 15012, "tls"),
    Pair("R15", "prometheus", "istiod", 15014, "plaintext"),
    Pair("R16", "api-server", "istiod", 15017, "tls"),
    Pair("R17", "outside", "ingress-gateway", 8443, "tls"),
    Pair("R21", "nginx", "keycloak", 8080, "mtls"),
    Pair("R23", "prometheus", "mysql", 15090, "plaintext"),
    Pair("R24", "keycloak", "mysql", 3306, "mtls"),
    Pair("R25", "prometheus", "node-exporter", 9100, "plaintext"),
    Pair("R29", "grafana", "prometheus", 9090, "mtls"),
    Pair("R30", "nginx", "argocd", 443, "mtls"),
    Pair("R31", "argocd", "argocd", 8080, "mtls"),
    Pair("R31", "argocd-controller", "argocd", 8080, "mtls"),
    Pair("A01", "api-server", "coherence-operator", 9443, "tls"),
    Pair("A02", "api-server", "rancher-webhook", 9443, "tls"),
    Pair("A05", "api-server", "cluster-webhook", 9443, "tls"),
    Pair("A05", "api-server", "capi", 9443, "tls"),
    Pair("A06", "prometheus", "operator", 9100, "plaintext"),
    Pair("A07", "outside", "nginx", 443, "tls"),
    Pair("A10", "nginx", "nginx-backend", 8080, "plaintext"),
    Pair("A12", "prometheus", "kiali", 15090, "plaintext"),
    Pair("A14", "nginx", "authproxy", 8776, "mtls"),
    Pair("A17", "authproxy", "console", 8000, "mtls"),
    Pair("A18", "authproxy", "grafana", 3000, "mtls"),
    Pair("A19", "authproxy", "os-ingest", 9200, "mtls"),
    Pair("A20", "fluentd", "authproxy", 8775, "mtls"),
    Pair("A22", "monitoring-operator", "os-master", 9200, "mtls"),
    Pair("A24", "authproxy", "dashboards", 5601, "mtls"),
    Pair("A25", "prometheus", "monitoring-operator", 9100, "mtls"),
    Pair("A26", "kiali", "prometheus", 9090, "mtls"),
    Pair("A27", "thanos-query", "prometheus", 10901, "mtls"),
    Pair("A28", "authproxy", "kiali", 20001, "mtls"),
    Pair("A29", "prometheus", "kiali", 9090, "mtls"),
    Pair("A30", "application", "jaeger-collector", 9411, "mtls"),
    Pair("A31", "authproxy", "jaeger-query", 16686, "mtls"),
    Pair("A33", "keycloak", "mysql", 6446, "mtls"),
    Pair("A33", "keycloak", "mysql-router", 6446, "mtls"),
    Pair("A33", "keycloak", "mysql-router-labelled", 6446, "mtls"),
    Pair("A35", "mysql-operator", "mysql", 33061, "mtls"),
    Pair("A35", "mysql-router-labelled", "mysql", 3306, "mtls"),
    Pair("A35", "mysql-router", "mysql", 3306, "mtls"),
    Pair("A38", "nginx", "rancher", 444, "tls"),
    Pair("A40", "nginx", "dex", 5556, "mtls"),
    Pair("A41", "grafana", "thanos-frontend", 10902, "mtls"),
    Pair("A43", "thanos-frontend", "thanos-query", 10902, "mtls"),
    Pair("A46", "thanos-query", "thanos-store", 10901, "mtls"),
    Pair("A56", "prometheus", "state-metrics", 8080, "plaintext"),
    Pair("A56", "prometheus", "prometheus-operator", 8080, "plaintext"),
    Pair("A57", "prometheus", "pushgateway", 9091, "plaintext"),
    Pair("A58", "api-server", "prometheus-operator", 10250, "tls"),
    Pair("A59", "api-server", "adapter", 6443, "tls"),
]
#: What is allowed towards pods and addresses that nobody judges: a stranger there is none of the document's business.
ALLOWED_OUTSIDE = [
    Pair("A47", "prometheus", "node", 10250, "tls"),
    Pair("A48", "prometheus", "application", 8080, "mtls"),
    Pair("A48", "prometheus", "coherence", 9612, "plaintext"),
    Pair("A49", "weblogic-operator", "weblogic", 7001, "mtls"),
    Pair("A50", "coherence-operator", "coherence", 6676, "plaintext"),
]
#: What 1.0 allowed and 1.7 no longer does (no rule), who only a policy lets in, and what its document still has wrong
#: (the row in error).
GONE = [
    Pair("", "nginx", "console", 8000, "mtls"),
    Pair("", "nginx", "os-ingest", 8775, "mtls"),
    Pair("", "fluentd", "os-ingest", 8775, "mtls"),
    Pair("", "nginx", "rancher", 80, "plaintext"),
    Pair("", "nginx", "prometheus", 8775, "mtls"),
    Pair("", "argocd-stranger", "argocd", 8080, "mtls"),
    Pair("R08", "prometheus", "coherence-operator", 9443, "tls"),
    Pair("R27", "api-server", "rancher", 9443, "tls"),
]


def address(name: str, peer: bool = False) -> str:
    return ADDRESS.get(name) or f"10.244.2.{(110 if peer else 10) + list(PODS).index(name)}"


def cluster() -> list[Object]:
    """Two pods of each, so that a component can reach itself; no port is declared anywhere."""
    pods = [
        component(f"{name}-{peer:d}", address(name, peer), labels, mesh=mesh, namespace=namespace, node="n2",
                  spec={"serviceAccountName": name})
        for name, (namespace, labels, mesh) in PODS.items() for peer in (False, True)
    ]  # fmt: skip
    exporter = component(
        "node-exporter", N2, {NAME: "prometheus-node-exporter"}, 9100, mesh=False, namespace=MONITORING, node="n2",
        host_network=True,
    )  # fmt: skip
    return [
        *pods, exporter, node("n1", N1, podCIDR="10.244.1.0/24"), node("n2", N2, podCIDR="10.244.2.0/24"),
        service("kubernetes", [{"port": 443, "targetPort": 6443}], namespace="default", clusterIP="10.96.0.1"),
        endpoint_slice("kubernetes", [N1], 6443, namespace="default"), peer_authentication("default", "STRICT"),
    ]  # fmt: skip


def told(pair: Pair) -> Object:
    record = flow(address(pair.initiator, peer=True), address(pair.responder), pair.port, **SEEN[pair.seen])
    if pair.seen == "mtls":
        record["initiator_principal"] = f"spiffe://cluster.local/ns/{PODS[pair.initiator][0]}/sa/{pair.initiator}"
    return record


@cache
def answers() -> dict[Pair, tuple[str, str | None]]:
    """Everything is judged at once; a stranger's pair has the stranger as its initiator."""
    strangers = [p._replace(initiator="stranger", seen="tls") for p in (*ALLOWED, *GONE)]
    pairs = list(dict.fromkeys([*ALLOWED, *ALLOWED_OUTSIDE, *GONE, *strangers]))
    flows = [DEFAULTS | told(pair) for pair in pairs]
    found = judged_in(objects(("13:00", cluster())), *flows, model="verrazzano-1.7")
    return {pair: (row["verdict"], row["rule_id"]) for pair, row in zip(pairs, found, strict=True)}


def named(pair: Pair) -> str:
    return f"{pair.rule}-{pair.initiator}-{pair.responder}-{pair.port}"


@pytest.mark.parametrize("pair", [*ALLOWED, *ALLOWED_OUTSIDE], ids=named)
def test_what_1_7_allows_is_expected_by_its_rule(pair):
    """With the protection that the pods of 1.7 give it."""
    assert answers()[pair] == ("expected", pair.rule)


@pytest.mark.parametrize("pair", [*ALLOWED, *GONE], ids=named)
def test_a_stranger_is_unexpected_there(pair):
    """A pod that no rule names."""
    assert answers()[pair._replace(initiator="stranger", seen="tls")] == ("unexpected", None)


@pytest.mark.parametrize("pair", GONE, ids=named)
def test_what_1_7_no_longer_has_or_has_wrong_is_unexpected(pair):
    """The pods behind these rows of 1.0 are gone, or never listened."""
    assert answers()[pair] == ("unexpected", pair.rule or None)
