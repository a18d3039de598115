"""
The document's 29 rows, each with what it allows and with near misses of it.

What a row means is written here from the document, not from the model, so that a mistake in the model shows.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import pytest
from identity.identity_support import Object, endpoint_slice, node, objects, peer_authentication, service
from trap_support import DEFAULTS, N1, N2, OUTSIDE, SYSTEM, component, flow, judged_in

#: Namespace, labels, whether it has a sidecar: facts, section 2, as of 1.0.
PODS = {
    "application-operator": (SYSTEM, {"app": "verrazzano-application-operator"}, False),
    "platform-operator": ("verrazzano-install", {"app": "verrazzano-platform-operator"}, False),
    "console": (SYSTEM, {"app": "verrazzano-console"}, True),
    "proxy": (SYSTEM, {"app": "verrazzano-api"}, True),
    "cert-manager": ("cert-manager", {"app": "cert-manager"}, False),
    "coherence-operator": (SYSTEM, {"control-plane": "coherence"}, False),
    "es-ingest": (SYSTEM, {"app": "system-es-ingest"}, True),
    "es-data": (SYSTEM, {"app": "system-es-data"}, True),
    "es-master": (SYSTEM, {"app": "system-es-master"}, True),
    "kibana": (SYSTEM, {"app": "system-kibana"}, True),
    "fluentd": (SYSTEM, {"app": "fluentd"}, True),
    "grafana": (SYSTEM, {"app": "system-grafana"}, True),
    "prometheus": (SYSTEM, {"app": "system-prometheus"}, True),
    "istiod": ("istio-system", {"app": "istiod"}, False),
    "ingress-gateway": ("istio-system", {"app": "istio-ingressgateway", "istio": "ingressgateway"}, True),
    "egress-gateway": ("istio-system", {"app": "istio-egressgateway", "istio": "egressgateway"}, True),
    "nginx": (
        "ingress-nginx", {"app.kubernetes.io/name": "ingress-nginx", "app.kubernetes.io/component": "controller"}, True,
    ),
    "keycloak": ("keycloak", {"app.kubernetes.io/name": "keycloak"}, True),
    "mysql": ("keycloak", {"app": "mysql"}, True),
    "rancher": ("cattle-system", {"app": "rancher"}, False),
    "weblogic-operator": (SYSTEM, {"app": "weblogic-operator"}, True),
    "rancher-webhook": ("cattle-system", {"app": "rancher-webhook"}, False),
    "cluster-agent": ("cattle-system", {"app": "cattle-cluster-agent"}, False),
    "istiocoredns": ("istio-system", {"app": "istiocoredns"}, False),
    "cert-webhook": (
        "cert-manager", {"app.kubernetes.io/name": "webhook", "app.kubernetes.io/component": "webhook"}, False,
    ),
    "nginx-backend": (
        "ingress-nginx",
        {"app.kubernetes.io/name": "ingress-nginx", "app.kubernetes.io/component": "default-backend"}, True,
    ),
    "coredns": ("kube-system", {"k8s-app": "kube-dns"}, False),
    "external-dns": ("cert-manager", {"app.kubernetes.io/instance": "external-dns"}, False),
    "application": ("shop", {"app": "shop", "verrazzano.io/istio": "shop"}, True),
    "cart": ("shop", {"app": "cart", "verrazzano.io/istio": "shop"}, True),
    "weblogic": ("bank", {"weblogic.domainUID": "bank", "verrazzano.io/istio": "bank"}, True),
    "coherence": ("shop", {"coherenceComponent": "coherencePod"}, False),
    "stranger": ("default", {"app": "stranger"}, False),
    "rogue": ("shop", {"app": "rogue"}, False),
}  # fmt: skip
#: What none of the rows lets in anywhere: in a namespace of nobody's, and beside the pods of an application.
STRANGERS = ("stranger", "rogue")
#: Whose address is not a pod's own.
ADDRESS = {"api-server": N1, "node-exporter": N2, "outside": OUTSIDE}


class Row(NamedTuple):
    """What one row of the document allows."""

    id: str
    initiator: str
    responder: str
    port: int
    transport: str  # mtls | tls | any


ROWS = [
    Row("R01", "api-server", "application-operator", 9443, "tls"),
    Row("R02", "api-server", "platform-operator", 9443, "tls"),
    Row("R03", "nginx", "console", 8000, "mtls"),
    Row("R04", "prometheus", "console", 15090, "any"),
    Row("R05", "nginx", "proxy", 8775, "mtls"),
    Row("R06", "prometheus", "proxy", 15090, "any"),
    Row("R07", "prometheus", "cert-manager", 9402, "any"),
    Row("R09", "nginx", "es-ingest", 8775, "mtls"),
    Row("R09", "nginx", "es-master", 8775, "mtls"),
    Row("R10", "fluentd", "es-ingest", 8775, "mtls"),
    Row("R10", "fluentd", "es-master", 8775, "mtls"),
    Row("R11", "kibana", "es-ingest", 9200, "mtls"),
    Row("R11", "kibana", "es-data", 9200, "mtls"),
    Row("R11", "kibana", "es-master", 9200, "mtls"),
    Row("R11", "es-ingest", "es-data", 9200, "mtls"),
    Row("R12", "es-data", "es-master", 9300, "any"),
    Row("R12", "es-master", "es-data", 9300, "any"),
    Row("R12", "es-ingest", "es-master", 9300, "any"),
    Row("R12", "es-ingest", "es-data", 9300, "any"),
    Row("R12", "es-master", "es-ingest", 9300, "any"),
    Row("R12", "es-data", "es-ingest", 9300, "any"),
    Row("R13", "prometheus", "es-data", 15090, "any"),
    Row("R13", "prometheus", "es-ingest", 15090, "any"),
    Row("R13", "prometheus", "es-master", 15090, "any"),
    Row("R14", "console", "istiod", 15012, "tls"),
    Row("R14", "ingress-gateway", "istiod", 15012, "tls"),
    Row("R14", "egress-gateway", "istiod", 15012, "tls"),
    Row("R14", "application", "istiod", 15012, "tls"),
    Row("R15", "prometheus", "istiod", 15014, "any"),
    Row("R16", "api-server", "istiod", 15017, "tls"),
    Row("R17", "outside", "ingress-gateway", 8443, "tls"),
    Row("R17", "node-exporter", "ingress-gateway", 8443, "tls"),  # a node's address
    Row("R18", "prometheus", "ingress-gateway", 15090, "any"),
    Row("R19", "application", "egress-gateway", 8443, "mtls"),
    Row("R20", "prometheus", "egress-gateway", 15090, "any"),
    Row("R21", "nginx", "keycloak", 8080, "mtls"),
    Row("R22", "prometheus", "keycloak", 15090, "any"),
    Row("R23", "prometheus", "mysql", 15090, "any"),
    Row("R24", "keycloak", "mysql", 3306, "mtls"),
    Row("R25", "prometheus", "node-exporter", 9100, "any"),
    Row("R26", "nginx", "rancher", 80, "any"),
    Row("R28", "nginx", "prometheus", 8775, "mtls"),
    Row("R29", "grafana", "prometheus", 9090, "mtls"),
]
#: Errors of the document (facts, section 3): a webhook that Prometheus would call, and one at a pod that serves none.
IN_ERROR = [
    Row("R08", "prometheus", "coherence-operator", 9443, "tls"),
    Row("R27", "api-server", "rancher", 9443, "tls"),
]
SEEN = {
    "mtls": {"transport_seen": "mtls", "transport_seen_basis": "client_certificate"},
    "tls": {"transport_seen": "tls", "transport_seen_basis": "tls_handshake"},
    "plaintext": {"transport_seen": "plaintext", "transport_seen_basis": "clear_protocol"},
}


def cluster() -> list[Object]:
    """One pod of each, every port of every row declared nowhere: rules alone say what is allowed."""
    pods = [
        component(name, address(name), labels, mesh=mesh, namespace=namespace, node="n2",
                  spec={"serviceAccountName": name})
        for name, (namespace, labels, mesh) in PODS.items()
    ]  # fmt: skip
    exporter = component(
        "node-exporter", N2, {"app": "node-exporter"}, 9100, mesh=False, namespace="monitoring", node="n2",
        host_network=True,
    )  # fmt: skip
    return [
        *pods, exporter, node("n1", N1, podCIDR="10.244.1.0/24"), node("n2", N2, podCIDR="10.244.2.0/24"),
        service("kubernetes", [{"port": 443, "targetPort": 6443}], namespace="default", clusterIP="10.96.0.1"),
        endpoint_slice("kubernetes", [N1], 6443, namespace="default"), peer_authentication("default", "STRICT"),
    ]  # fmt: skip


def address(name: str) -> str:
    """Return that of a pod or of something else by its name; what is no name is an address itself."""
    return ADDRESS.get(name, name if name not in PODS else f"10.244.2.{10 + list(PODS).index(name)}")


def told(row: Row, *, seen: str, **more: object) -> Object:
    """What a tap records of the exchange that *row* allows; *more* is what is otherwise about it."""
    record = flow(address(row.initiator), address(row.responder), row.port, **SEEN[seen])
    if seen == "mtls":
        record["initiator_principal"] = f"spiffe://cluster.local/ns/{PODS[row.initiator][0]}/sa/{row.initiator}"
    return record | more


def protected(row: Row) -> str:
    return "plaintext" if row.transport == "any" else row.transport


def near_misses(row: Row) -> dict[str, Object]:
    """Everything that is nearly what the row allows."""
    datagrams = {"protocol": "udp", "connection_state": None, "transport_seen": "unknown"}
    strangers = {f"source {name}": told(row._replace(initiator=name), seen="tls") for name in STRANGERS}
    return strangers | {
        "port": told(row, seen=protected(row), responder_port=row.port + 7),
        "protocol": told(row, seen="tls", transport_seen_basis="datagram", **datagrams),
        "plaintext": told(row, seen="plaintext"),
    }


@cache
def answers() -> dict[tuple[str, str, str, str], dict]:
    """Everything is judged at once: (rule, initiator, responder, how it was told) to its row."""
    flows = {}
    for row in (*ROWS, *IN_ERROR):
        for how, record in ({"allowed": told(row, seen=protected(row))} | near_misses(row)).items():
            flows[row.id, row.initiator, row.responder, how] = DEFAULTS | record
    found = judged_in(objects(("13:00", cluster())), *flows.values())
    return dict(zip(flows, found, strict=True))


def answer(row: Row, how: str) -> tuple[str, str | None, str | None]:
    found = answers()[row.id, row.initiator, row.responder, how]
    return found["verdict"], found["rule_id"], found["transport_status"]


def elsewhere(row: Row) -> str:
    """Behind any other port of a node's address may be anything that runs there."""
    return "unknown" if row.responder == "node-exporter" else "unexpected"


def named(row: Row) -> str:
    return f"{row.id}-{row.initiator}-{row.responder}"


every_row = pytest.mark.parametrize("row", ROWS, ids=named)


def test_every_row_of_the_document_is_here():
    """R01 to R29, of which two are in error."""
    assert {row.id for row in (*ROWS, *IN_ERROR)} == {f"R{number:02}" for number in range(1, 30)}


@every_row
def test_what_a_row_allows_is_expected_by_that_row(row):
    """With the protection it asks for, and with any where it asks for none."""
    status = {"mtls": "met", "tls": "met", "any": "exempt"}[row.transport]
    assert answer(row, "allowed") == ("expected", row.id, status)


@every_row
@pytest.mark.parametrize("stranger", STRANGERS)
def test_another_source_is_unexpected(row, stranger):
    """A pod that no row names; being beside an application in the mesh makes it none of its pods."""
    verdict, rule, _ = answer(row, f"source {stranger}")
    assert (verdict, rule) == ("unexpected", None)


@every_row
def test_another_port_is_unexpected(row):
    """The row's own ends, on a port that nothing says they use."""
    verdict, rule, _ = answer(row, "port")
    assert (verdict, rule) == (elsewhere(row), None)


@every_row
def test_another_protocol_is_unexpected(row):
    """The document's ports are TCP ports."""
    verdict, rule, _ = answer(row, "protocol")
    assert (verdict, rule) == (elsewhere(row), None)


@every_row
def test_in_clear_is_a_violation_where_the_row_asks_for_protection(row):
    """And exempt where it asks for none."""
    wanted = {
        "mtls": ("plaintext", row.id, "violated"),
        "tls": ("unexpected", row.id, "violated"),
        "any": ("expected", row.id, "exempt"),
    }
    assert answer(row, "plaintext") == wanted[row.transport]


def test_a_gateway_is_no_mesh_service():
    """R19 lets pods with a sidecar in: what another gateway sends to the egress gateway nobody documented."""
    row = Row("R19", "ingress-gateway", "egress-gateway", 8443, "mtls")
    (found,) = judged_in(objects(("13:00", cluster())), DEFAULTS | told(row, seen="mtls"))
    assert (found["verdict"], found["rule_id"]) == ("unexpected", None)


@pytest.mark.parametrize("row", IN_ERROR, ids=named)
@pytest.mark.parametrize("how", ["allowed", *(f"source {name}" for name in STRANGERS), "port", "protocol", "plaintext"])
def test_a_row_that_is_in_error_allows_nothing(row, how):
    """Prometheus calls no webhook, and Rancher's own pods serve none; who trusts the row is told so."""
    verdict, rule, _ = answer(row, how)
    assert (verdict, rule) == ("unexpected", row.id if how in ("allowed", "plaintext") else None)
