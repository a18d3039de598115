"""The shipped model of Verrazzano 1.7: complete in itself, and held against that of 1.0."""

import re
from datetime import date
from pathlib import Path

import pytest

from vzflow.flow.terms import RuleStatus
from vzflow.model.document import Model, Rule, load

DAY = date(2026, 1, 15)
DOCS = Path(__file__).parents[2] / "docs" / "model.md"


@pytest.fixture(scope="module")
def later() -> Model:
    return load(["verrazzano-1.7"], on=DAY)


@pytest.fixture(scope="module")
def first() -> dict[str, Rule]:
    return {rule.id: rule for rule in load(["verrazzano-1.0"], on=DAY).rules}


def terms(model: Model) -> set[str]:
    return {t for rule in model.rules for g in rule.grants for t in (*g.from_terms, *g.to_terms)}


def test_rows_that_still_hold_keep_their_ids_and_words_and_ports(later: Model, first: dict[str, Rule]):
    """So that a report of a cluster of either version cites the same row."""
    kept = [r for r in later.rules if r.quote]
    assert [(r.id, r.quote, r.ports) for r in kept] == [(r.id, first[r.id].quote, first[r.id].ports) for r in kept]


def test_rows_that_no_longer_hold_are_left_out_and_argo_cd_s_are_added(later: Model):
    """Console, OpenSearch and Prometheus are behind the authentication proxy, and Rancher's port 80 is closed."""
    documented = {r.id for r in later.rules if r.kind is RuleStatus.DOCUMENTED}
    every = {f"R{number:02}" for number in range(1, 32)}
    assert every - documented == {"R03", "R09", "R10", "R26", "R28"}
    assert documented <= every


def test_both_versions_wait_for_the_same_ranges_of_a_site_and_the_docs_list_them(later: Model, first: dict[str, Rule]):
    """A rule about a range that nobody is told of never matches."""
    ranges = {t.removeprefix("range:") for t in terms(later) if t.startswith("range:")}
    before = {t for rule in first.values() for g in rule.grants for t in (*g.from_terms, *g.to_terms)}
    assert ranges == {t.removeprefix("range:") for t in before if t.startswith("range:")}
    listed = re.search(r"\| range \|.*?\n\n", DOCS.read_text(), re.S)[0]
    assert {name for row in listed.splitlines()[2:] for name in re.findall(r"`([a-z-]+)`", row)} == ranges


def test_errors_that_the_document_keeps_are_revoked(later: Model):
    """Prometheus calls no webhook, and Rancher's own pods serve none."""
    assert {r.id: r.revoked_by for r in later.rules if r.revoked_by} == {"R08": "A01", "R27": "A02"}


def test_every_rule_has_its_source(later: Model):
    """A row is its own; what turns a flow green without one must be open to question."""
    assert all(r.quote or (r.says and r.source) for r in later.rules)


def test_every_transport_that_is_required_or_waived_has_its_provenance(later: Model):
    """The document's rows state none."""
    assert all((r.transport == "unspecified") == (r.transport_provenance is None) for r in later.rules)


def test_every_component_is_in_a_protected_namespace_and_every_peer_in_none(later: Model):
    """A pod of a component's namespace that no component claims must still be judged."""
    protected = set(later.protected_namespaces)
    for component in later.components:
        its = set(component.namespaces)
        assert its <= protected if component.in_scope else its.isdisjoint(protected)


def test_every_component_is_spoken_of_or_accepts_nothing(later: Model):
    """No rule can speak of an unknown one: loading refuses it."""
    spoken = terms(later)
    for component in later.components:
        assert f"component:{component.name}" in spoken
    reached = {t for r in later.rules for g in r.grants for t in g.to_terms}
    closed = {c.name for c in later.components if c.in_scope and f"component:{c.name}" not in reached}
    said = {c.name for c in later.components if (c.says or "").find("ccepts nothing") >= 0}
    assert closed <= said | {"thanos-compactor"}


def test_no_rule_lets_anyone_in_or_reaches_every_pod(later: Model):
    """Such a rule would turn everything green."""
    rows = later.tables()["rule_grant"].to_pylist()
    assert not [r for r in rows if "any" in (r["from_term"], r["to_term"])]
    assert {r["rule_id"] for r in rows if r["to_term"] in ("pod", "mesh")} == {"I02"}


def test_in_scope_pods_are_reached_from_a_node_only_by_probes_and_from_outside(later: Model):
    """A node's address stands for much, so few rules may speak of it."""
    in_scope = {f"component:{c.name}" for c in later.components if c.in_scope}
    rows = later.tables()["rule_grant"].to_pylist()
    assert {r["rule_id"] for r in rows if r["from_term"] == "node" and r["to_term"] in in_scope} == {
        "R17", "A07", "I13",
    }  # fmt: skip
