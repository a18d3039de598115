"""A flow nobody saw is judged as one that was recorded would be."""

from __future__ import annotations

from datetime import date

import pyarrow as pa
import pytest
from pipeline.pipeline_support import SNAPSHOT

from vzflow.flow.errors import UsageProblem
from vzflow.identity import snapshot, tables
from vzflow.model.document import load
from vzflow.pipeline import supposed

MODEL = load(["verrazzano-1.0"], on=date(2026, 1, 2))


def lookups(*identity):
    objects = snapshot.load(identity, "default") if identity else snapshot.OBJECT_SCHEMA.empty_table()
    ranges = [tables.Range(name, block) for name, block in MODEL.ranges]
    return tables.tables(objects, ["default"], ranges) | MODEL.tables()


NOTHING = lookups()
SAMPLE = lookups(SNAPSHOT)
(CONSOLE_POD,) = [
    p["party_id"] for p in SAMPLE["party"].to_pylist() if p["kind"] == "pod" and p["workload"] == "verrazzano-console"
]


def answers(known, initiator, target):
    found = supposed.check(known, supposed.written(initiator, target))
    return {a["if"]: (a["verdict"], a["rule_id"], a["transport_status"]) for a in found["answers"]}


@pytest.mark.parametrize("known", [NOTHING, SAMPLE], ids=["model alone", "snapshot"])
def test_documented_flow_depends_on_its_transport(known):
    """R03 asks for mTLS: the answer is given for each transport."""
    assert answers(known, "nginx-ingress", "console:8000") == {
        "mtls": ("expected", "R03", "met"), "tls": ("expected", "R03", "unverified"),
        "plaintext": ("plaintext", "R03", "violated"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("initiator", "target", "verdict", "rule"),
    [
        ("api_server", "application-operator:9443", "expected", "R01"),
        ("external", "istio-ingressgateway:8443", "expected", "R17"),
        ("node", "istio-ingressgateway:8443", "expected", "R17"),
        ("keycloak", "coredns:53/udp", "expected", "I01"),
        ("8.8.8.8", "keycloak/mysql:3306", "unexpected", None),
        ("console", "external:443", "out_of_scope", None),
        ("prometheus", "coherence-operator:9443", "unexpected", "R08"),
        ("10.9.9.9", "keycloak/mysql:3306", "unknown", None),
    ],
)
def test_every_kind_of_end_is_found(initiator, target, verdict, rule):
    """Components, workloads, addresses and places that are no pods; an address nobody holds stays unknown."""
    assert answers(SAMPLE, initiator, target)["mtls"][:2] == (verdict, rule)


def test_kubelet_is_on_the_node_of_the_pod_it_probes():
    """A probe port is opened to the pod's own node, and not to another one."""
    assert answers(SAMPLE, "own_node", "verrazzano-system/verrazzano-console:15021")["plaintext"][0] == "expected"
    assert answers(SAMPLE, "node", "verrazzano-system/verrazzano-console:15021")["plaintext"][0] == "unexpected"


@pytest.mark.parametrize("initiator", ["verrazzano-system/verrazzano-console", "console", "own_node"])
def test_who_is_asked_about_is_not_the_responder_itself(initiator):
    """Asked is about another pod of the workload and about the node, though a Service leads to that port."""
    (profile,) = {row["profile"] for row in SAMPLE["party"].to_pylist() if row["party_id"] == CONSOLE_POD}
    port = {"profile": profile, "protocol": "tcp", "port": 8001, "role": "endpoint"}
    known = SAMPLE | {"party_port": pa.concat_tables([SAMPLE["party_port"], pa.Table.from_pylist(
        [port], schema=SAMPLE["party_port"].schema)])}  # fmt: skip
    assert answers(known, initiator, "verrazzano-system/verrazzano-console:8001")["mtls"][0] == "unexpected"


def test_requirement_is_not_known_of_a_made_up_pod():
    """Which PeerAuthentications would bind a pod that no snapshot has, nobody can say."""
    assert answers(NOTHING, "fluentd", "keycloak:8080")["plaintext"] == ("unexpected", None, "requirement_unknown")
    assert answers(SAMPLE, "fluentd", "keycloak:8080")["plaintext"] == ("unexpected", None, "violated")


def test_made_up_ends_are_named():
    """The reader sees what rests on the model alone."""
    assert supposed.check(SAMPLE, supposed.written("fluentd", "api-proxy:8775"))["made_up"] == ["responder"]


def test_rules_that_fit_are_shown_else_those_nearby():
    """Why, or what would have."""
    fits = supposed.check(NOTHING, supposed.written("nginx-ingress", "console:8000"))
    assert [rule["rule_id"] for rule in fits["rules"]] == ["R03"]
    assert "R21" in {
        r["rule_id"] for r in supposed.check(NOTHING, supposed.written("fluentd", "keycloak:8080"))["near"]
    }


@pytest.mark.parametrize(
    ("initiator", "target"), [("nobody", "console:8000"), ("console", "a/b:1"), ("range:x", "console:1")]
)
def test_unknown_name_is_refused(initiator, target):
    """A guess at who was meant would be an answer about somebody else."""
    with pytest.raises(UsageProblem):
        supposed.check(NOTHING, supposed.written(initiator, target))


@pytest.mark.parametrize("target", ["console", "console:", ":8000", "console:0", "console:65536", "console:http"])
def test_target_needs_a_port(target):
    """Rules speak of ports."""
    with pytest.raises(UsageProblem):
        supposed.written("nginx-ingress", target)
