"""The networking document that the shipped model was written from, where it is at hand: all rows, and its defects."""

from pathlib import Path

import pytest
from model.page.page_support import DAY

from vzflow.model.document import load, load_texts
from vzflow.model.page.checks import findings
from vzflow.model.page.imported import as_yaml, imported
from vzflow.model.page.source import read

SHARED = Path(__file__).resolve().parents[4] / "shared"
SEEDS = sorted((SHARED / "seed").glob("*"))
pytestmark = pytest.mark.skipif(not SEEDS, reason="the document is not at hand")


def seed(*models):
    return imported(read(SEEDS[0]), load(models, on=DAY) if models else None)


def test_every_row_is_the_shipped_rule_of_its_id():
    """Quote, ports, responders and sources of R01 to R29 agree, but for "Internal", which the model narrows."""
    ours = load_texts([("imported", as_yaml(seed("verrazzano-1.0")))], on=DAY, draft=True)
    shipped = {rule.id: rule for rule in load(["verrazzano-1.0"], on=DAY).rules if rule.quote}
    assert [rule.id for rule in ours.rules] == [f"R{n:02}" for n in range(1, 30)] == sorted(shipped)
    for rule in ours.rules:
        theirs = shipped[rule.id]
        assert (rule.quote, rule.ports, rule.protocols) == (theirs.quote, theirs.ports, theirs.protocols)
        assert _terms(rule, "from_terms") >= _terms(theirs, "from_terms")
        assert _terms(rule, "to_terms") >= _terms(theirs, "to_terms")
        assert rule.transport == "unspecified"
        if rule.id not in ("R09", "R10", "R11", "R12"):  # which roles of Elasticsearch serve a port, no row says
            assert _terms(rule, "from_terms") == _terms(theirs, "from_terms")
            assert _terms(rule, "to_terms") == _terms(theirs, "to_terms")


def _terms(rule, end):
    return {term for grant in rule.grants for term in getattr(grant, end)}


def test_without_a_model_every_name_is_kept_and_no_pod_is_guessed():
    """29 rules load; which pods the names are, is said to be unknown."""
    model = load_texts([("imported", as_yaml(seed()))], on=DAY, draft=True)
    assert len(model.rules) == 29
    assert not [c.name for c in model.components if c.namespaces]


def test_rules_name_the_line_they_came_from():
    """The source of each rule is its own line of the document."""
    lines = read(SEEDS[0]).lines
    for rule in load_texts([("imported", as_yaml(seed()))], on=DAY, draft=True).rules:
        assert lines[int(rule.source.rsplit(" ", 1)[1]) - 1] == rule.quote


DEFECTS = {
    "separator_mismatch": ["5 cells"], "bar_not_closed": ["29 of 29"], "several_sources": ["R11"],
    "class_as_source": ["Kubernetes API Server", "Internal", "Envoy", "External", "Mesh services"],
    "webhook_source": ["R08"], "proxy_port": ["8775 of Elasticsearch", "8775 of Prometheus"], "webhook_pod": ["R27"],
    "transport_unstated": ["no column"], "egress_unstated": ["egress"],
}  # fmt: skip


@pytest.mark.parametrize("models", [(), ("verrazzano-1.0",)], ids=["alone", "with the model"])
def test_its_known_defects_are_told_and_each_once(models):
    """What people found in the document by hand is found, with and without a model that knows its words."""
    found = {}
    for one in findings(seed(*models)):
        found.setdefault(one.code.name.lower(), []).append(one.message)
    if not models:
        unknown = [message.split("`")[1] for message in found.pop("source_unknown")]
        assert unknown == ["NGINX Ingress", "Fluentd", "Kibana", "Grafana"]
    assert set(found) == set(DEFECTS)
    for code, words in DEFECTS.items():
        assert len(found[code]) == len(words)
        assert all(word in message for word, message in zip(words, found[code], strict=True)), found[code]
