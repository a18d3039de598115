"""
What Verrazzano 1.0 does besides the rows of its document, and what no rule is made of.

Who reaches whom is written here from the collected facts, section 2, not from the model; the pods are the rows' own.
"""

from __future__ import annotations

from datetime import date
from functools import cache

import pytest
from identity.identity_support import objects
from test_rows import DEFAULTS, STRANGERS, Row, address, cluster, named, protected, told
from trap_support import flow, judged_in

from vzflow.flow.terms import RuleStatus
from vzflow.identity.tables import Range
from vzflow.model.document import load

#: Ranges that a site configures; the addresses are public, or would be nobody's.
OTHER_CLUSTER, ACME, DNS_PROVIDER, ANYWHERE = "172.31.0.9", "203.0.113.10", "203.0.113.20", "203.0.113.99"
RANGES = (
    Range("remote-cluster", "172.31.0.0/24"), Range("acme-provider", "203.0.113.10/32"),
    Range("dns-provider", "203.0.113.20/32"),
)  # fmt: skip
AMENDED = [
    Row("A01", "api-server", "coherence-operator", 9443, "tls"),
    Row("A02", "api-server", "rancher-webhook", 9443, "tls"),
    Row("A03", "api-server", "cert-webhook", 10250, "tls"),
    Row("A04", "coherence", "coherence-operator", 8000, "any"),
    Row("A05", "nginx", "kibana", 8775, "mtls"),
    Row("A06", "nginx", "grafana", 8775, "mtls"),
    Row("A07", "outside", "nginx", 443, "tls"),
    Row("A08", "grafana", "nginx", 443, "tls"),
    Row("A09", "platform-operator", "nginx", 443, "tls"),
    Row("A10", "nginx", "nginx-backend", 8080, "mtls"),
    Row("A11", "kibana", "keycloak", 8080, "mtls"),
    Row("A11", "prometheus", "keycloak", 8080, "mtls"),
    Row("A12", "prometheus", "kibana", 15090, "any"),
    Row("A12", "prometheus", "nginx-backend", 15090, "any"),
    Row("A13", "prometheus", "nginx", 10254, "any"),
    Row("A14", "coredns", "istiocoredns", 53, "any"),
    Row("A15", "ingress-gateway", "cart", 8080, "mtls"),
    Row("A16", "prometheus", "cart", 15090, "any"),
    Row("A17", "prometheus", "cart", 8080, "mtls"),
    Row("A17", "prometheus", "coherence", 9612, "none"),
    Row("A18", "weblogic-operator", "weblogic", 7001, "mtls"),
    Row("A19", "coherence-operator", "coherence", 6676, "any"),
    Row("A20", OTHER_CLUSTER, "nginx", 443, "tls"),
    Row("A21", "fluentd", OTHER_CLUSTER, 443, "tls"),
    Row("A21", "cluster-agent", OTHER_CLUSTER, 443, "tls"),
    Row("A22", "application-operator", OTHER_CLUSTER, 6443, "tls"),
    Row("A23", "cert-manager", ACME, 443, "tls"),
    Row("A23", "external-dns", DNS_PROVIDER, 443, "tls"),
]
#: What the facts tell of and nothing allows: verdict and reason.
WITHOUT_RULE = {
    Row("", "cart", "application", 8080, "mtls"): ("out_of_scope", "foreign"),
    Row("", "cart", "coherence", 9000, "any"): ("out_of_scope", "foreign"),
    Row("", "cert-manager", ANYWHERE, 443, "tls"): ("out_of_scope", "egress_unmodelled"),
    Row("", "external-dns", ACME, 443, "tls"): ("out_of_scope", "egress_unmodelled"),
    Row("", "prometheus", "weblogic-operator", 8083, "any"): ("unexpected", "port_not_documented"),
    Row("", "platform-operator", "rancher", 444, "tls"): ("unexpected", "port_not_documented"),
    Row("", "cluster-agent", "rancher", 443, "tls"): ("unexpected", "port_not_documented"),
    Row("", "application", "es-master", 9200, "mtls"): ("unexpected", "source_not_documented"),
    Row("", "console", "nginx", 80, "any"): ("unexpected", "port_not_documented"),
    Row("", "ingress-gateway", "istiod", 15010, "any"): ("unexpected", "port_not_documented"),
    Row("", "ingress-gateway", "weblogic-operator", 8083, "mtls"): ("unexpected", "port_not_documented"),
}
#: Responders that are nobody's to judge.
FOREIGN = {"cart", "coherence", "weblogic", OTHER_CLUSTER, ACME, DNS_PROVIDER}
STATUS = {"mtls": "met", "tls": "met", "any": "exempt", "none": "not_required"}


@cache
def answers() -> dict[tuple[Row, str], dict]:
    """Everything is judged at once: a row, and as who told it, to what was found."""
    flows = {}
    for row in (*AMENDED, *WITHOUT_RULE):
        flows[row, row.initiator] = told(row, seen="plaintext" if row.transport == "none" else protected(row))
        flows |= {(row, name): told(row._replace(initiator=name), seen="tls") for name in STRANGERS}
    found = judged_in(objects(("13:00", cluster())), *(DEFAULTS | one for one in flows.values()), ranges=RANGES)
    return dict(zip(flows, found, strict=True))


def test_every_amendment_is_here():
    """Whatever turns a flow green without a row is held against the facts."""
    amended = {
        rule.id for rule in load(["verrazzano-1.0"], on=date(2026, 1, 2)).rules if rule.kind is RuleStatus.AMENDED
    }
    assert amended == {row.id for row in AMENDED}


@pytest.mark.parametrize("row", AMENDED, ids=named)
def test_what_the_document_lacks_is_expected_by_its_amendment(row):
    """With the protection that the ends give it."""
    found = answers()[row, row.initiator]
    assert (found["verdict"], found["rule_id"], found["transport_status"]) == (
        "expected",
        row.id,
        STATUS[row.transport],
    )


@pytest.mark.parametrize("row", AMENDED, ids=named)
@pytest.mark.parametrize("stranger", STRANGERS)
def test_an_amendment_names_who_may(row, stranger):
    """A pod it does not name is unexpected, or none of the document's business."""
    found = answers()[row, stranger]
    wanted = "out_of_scope" if row.responder in FOREIGN else "unexpected"
    assert (found["verdict"], found["rule_id"]) == (wanted, None)


@pytest.mark.parametrize(("row", "wanted"), WITHOUT_RULE.items(), ids=lambda x: named(x) if isinstance(x, Row) else "")
def test_what_a_policy_lets_through_or_nothing_can_say_has_no_rule(row, wanted):
    """Applications among themselves are out of scope; the breadth of a policy is no purpose."""
    found = answers()[row, row.initiator]
    assert (found["verdict"], found["reason"], found["rule_id"]) == (*wanted, None)


def test_plaintext_between_applications_is_held_against_the_mesh_and_not_where_there_is_none():
    """STRICT asks for mTLS whoever the ends are; a Coherence pod has no sidecar to ask it."""
    clear = {"transport_seen": "plaintext", "transport_seen_basis": "clear_protocol"}
    flows = [DEFAULTS | flow(address("cart"), address(to), 9000, **clear) for to in ("application", "coherence")]
    mesh, coherence = judged_in(objects(("13:00", cluster())), *flows)
    assert (mesh["verdict"], mesh["transport_status"]) == ("out_of_scope", "violated")
    assert (coherence["verdict"], coherence["transport_status"]) == ("out_of_scope", None)
