"""The report for a terminal, of facts written by hand: what misleads stands first, and nothing is left unsaid."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from vzflow.flow import terms
from vzflow.reports import text

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
VERDICTS = [v.value for v in terms.Verdict]


def facts(**changed):
    """The facts of a report on nothing at all, but for *changed*."""
    empty = {
        "schema_version": 1, "generated_at": MOMENT, "model": {"names": ["m"], "digest": "0"},
        "window": {"first_seen": None, "last_seen": None, "since": None, "until": None},
        "coverage": {
            "not_listed": [],
            "sources": [], "window_minutes": 0, "observed_minutes": 0, "snapshots": 1, "records_read": 0, "rejected": 0,
            "skipped": 0, "damaged_inputs": [], "unresolved_addresses": 0, "contested_addresses": 0,
            "blind": [], "blind_classes": [], "blind_spots": [], "nodes": [], "namespaces": [],
        },
        "summary": {
            "flows": 0, "exchanges": 0, "by_verdict": dict.fromkeys(VERDICTS, 0),
            "flows_by_verdict": dict.fromkeys(VERDICTS, 0), "by_transport_status": {},
            "expected_by_transport_status": {}, "expected_by_rule_status": {},
        },
        "findings": [], "undecided": [], "egress": [], "rules": [], "inputs": [], "strict_readiness": [],
        "gate": {"plaintext": 0, "unexpected": 0, "unexpected_any": 0, "unknown": 0, "amended": 0, "disputed": 0},
    }  # fmt: skip
    return {k: v | changed[k] if isinstance(v, dict) and k in changed else changed.get(k, v) for k, v in empty.items()}


def line_with(words, **changed):
    return next(line for line in text.render(facts(**changed)).splitlines() if line.startswith(words))


def test_report_on_nothing_is_a_report():
    """No data is never green, and never a crash."""
    shown = text.render(facts())
    assert shown.endswith("\n")
    assert all(re.search(rf"^{verdict} +0 ", shown + " ", re.MULTILINE) for verdict in VERDICTS)


def test_expected_is_never_without_its_split():
    """By transport status, and how many rest on amendments."""
    counts = dict.fromkeys(VERDICTS, 0) | {"expected": 5}
    line = line_with(
        "expected ",
        summary={
            "by_verdict": counts, "flows_by_verdict": counts, "expected_by_rule_status": {"amended": 1},
            "expected_by_transport_status": {"met": 2, "unverified": 3},
        },
    )  # fmt: skip
    assert "met 2" in line
    assert "unverified 3" in line
    assert "1 rest" in line


@pytest.mark.parametrize(
    ("coverage", "words"),
    [
        ({"snapshots": 0}, "no snapshot"),
        ({"not_listed": [{"cluster": "prod", "kind": "Job", "why": "not permitted (403)"}]}, "prod: Job not permitted"),
        ({"damaged_inputs": ["a.pcap"]}, "a.pcap"),
        ({"rejected": 3}, "3 records"),
        ({"contested_addresses": 2}, "2 spans of an address claimed twice"),
    ],
    ids=str,
)
def test_what_may_mislead_stands_before_any_verdict(coverage, words):
    """A reader who stops at the numbers has read it."""
    shown = text.render(facts(coverage=coverage))
    assert 0 < shown.index(words) < shown.index("plaintext")
    assert words not in text.render(facts()).split("plaintext")[0]


def test_rows_beyond_the_first_are_counted():
    """A table is cut, and says so."""
    edge = {
        "initiator": "a", "responder": "b", "port": 1, "protocol": "tcp", "transport": "tls", "exchanges": 1,
        "flow_ids": ["x:1"], "reason": "egress_unmodelled",
    }  # fmt: skip
    shown = text.render(facts(egress=[edge | {"port": n} for n in range(text.MOST + 3)]))
    assert "and 3 more" in shown
    assert shown.count("x:1") == text.MOST


def test_colour_changes_nothing_but_colour():
    """What a terminal shows and what a file holds read the same."""
    bright = text.render(facts(coverage={"snapshots": 0}), colour=True)
    assert "\x1b[" in bright
    assert re.sub(r"\x1b\[[0-9;]*m", "", bright) == text.render(facts(coverage={"snapshots": 0}))


def test_coverage_stands_before_any_verdict():
    """What was not looked at is read before what was found."""
    shown = text.render(facts())
    assert shown.index("COVERAGE") < shown.index("VERDICT")


@pytest.mark.parametrize("coverage", [one.value for one in terms.RuleCoverage if one != "seen"])
def test_documented_row_not_seen_is_told_with_its_coverage(coverage):
    """A row that could not have been seen is no row that nobody uses."""
    rule = {"rule_id": "R7", "status": "documented", "coverage": coverage, "revoked_by": None}
    assert "R7" in line_with(f"  {text.UNSEEN[coverage]}: ", rules=[rule, rule | {"coverage": "seen"}])


def test_rows_that_are_revoked_are_told_apart():
    """Nobody need have seen what the model calls an error of the document."""
    rule = {"rule_id": "R7", "status": "documented", "coverage": "not_seen", "revoked_by": None}
    shown = line_with("DOCUMENTED ROWS", rules=[rule, rule | {"rule_id": "R8", "revoked_by": "A1"}])
    assert shown.endswith("0 of 1 seen, 1 revoked: R8")


def test_what_the_sources_cannot_show_is_named():
    """Silence of a source that cannot speak is not good news."""
    assert "tunnel" in line_with("  cannot show: ", coverage={"blind_classes": [{"class": "tunnel", "flows": 1}]})


def test_blind_nodes_are_counted():
    """Nodes nobody looked at are told beside those somebody did."""
    spot = {"what": "node", "cluster": "c", "name": "n", "pods": 1, "first_minute": None, "last_minute": None}
    assert "1 node blind" in line_with("  0 nodes", coverage={"blind_spots": [spot]})


def test_strict_readiness_is_one_line():
    """How many workloads STRICT would hurt, and where to read more."""
    rows = [{"readiness": "ready"}, {"readiness": "blocked"}, {"readiness": "blocked"}]
    assert "1 of 3 workloads ready, 2 blocked" in line_with("STRICT", strict_readiness=rows)
