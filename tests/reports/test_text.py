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
    assert shown.startswith("vzflow report  model m  no flow with a time\n")
    assert shown.endswith("\n")
    words = [verdict.replace("_", " ") for verdict in VERDICTS]
    assert all(re.search(rf"(?m)^{verdict} +0 +0$", shown) for verdict in words)


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
    assert line.endswith("  2 met, 3 unverified; 1 rests on amendments")


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
    assert 0 < shown.index(words) < shown.index("\nplaintext")
    assert words not in text.render(facts()).split("\nplaintext")[0]


def test_names_and_times_that_do_not_fit_in_one_line_have_one_each():
    """A time is not broken."""
    window = {"first_seen": MOMENT, "last_seen": MOMENT}
    lines = text.render(facts(model={"names": ["m" * 30]}, window=window)).splitlines()
    assert lines[0].endswith("mm  2026-01-02 03:04:05Z to 2026-01-02 03:04:05Z")
    lines = text.render(facts(model={"names": ["m" * 50]}, window=window)).splitlines()
    assert (lines[0][-2:], lines[1]) == ("mm", "2026-01-02 03:04:05Z to 2026-01-02 03:04:05Z")


EGRESS = {
    "initiator": "a", "responder": "b", "port": 1, "protocol": "tcp", "transport": "tls", "exchanges": 1,
    "flow_ids": ["x:1"], "reason": "egress_unmodelled",
}  # fmt: skip


def test_rows_beyond_the_first_are_counted():
    """A table is cut, and says so."""
    shown = text.render(facts(egress=[EGRESS | {"port": n} for n in range(text.MOST + 3)]))
    assert "    and 3 more\n" in shown
    assert shown.count("a > b:") == text.MOST


def test_edge_with_several_transports_is_one_line():
    """And how many exchanges there were of each."""
    rows = [EGRESS, EGRESS | {"transport": "unknown", "exchanges": 3}, EGRESS | {"port": None, "protocol": "icmp"}]
    lines = text.render(facts(egress=rows)).splitlines()
    assert "    a > b:1       TLS, unknown x3" in lines
    assert "    a > b:-/icmp  TLS" in lines


def test_undecided_edge_says_what_is_missing_and_what_was_violated():
    """Nobody knows whether it was allowed, and it was not protected as it had to be."""
    rows = [EGRESS | {"reason": "initiator_unknown", "exchanges": 4, "violating": violating} for violating in (0, 3)]
    lines = text.render(facts(undecided=rows)).splitlines()
    assert "    a > b:1  initiator unknown x4" in lines
    assert "             initiator unknown x4, 3 violated" in lines


FINDING = {
    "code": "VZ1003", "severity": "medium", "says": "Attempts: all of them.", "rule_id": None, "port": 80,
    "protocol": "tcp", "reason": "port_not_documented", "transport": "unknown", "transport_status": "unverified",
    "outcome": "refused", "exchanges": 1, "flow_ids": ["x:1"],
}  # fmt: skip


def finding(initiator, responder, **changed):
    return FINDING | {"initiator": {"name": initiator}, "responder": {"name": responder}} | changed


def findings(*found, **changed):
    """The lines of the findings, below their heading."""
    lines = text.render(facts(findings=list(found), **changed)).split("\n\n")[3].splitlines()
    assert lines[0].startswith("FINDINGS")
    return lines[1:]


def test_finding_says_who_why_and_what_came_of_it():
    """In plain words, aligned over all findings; what each was is told once, without what follows a colon."""
    assert findings(
        finding("a/a", "b/bb", transport="plaintext"),
        finding("a/a", "b/bb", outcome="blocked_l7", exchanges=7),
        finding("a/a", "c/c", rule_id="R08", reason="documented_in_error"),
        finding("a/a", "c/c", code="VZ1005", severity="low", rule_id="R07", reason="rule"),
    ) == [
        "  VZ1003 medium  Attempts",
        "    a/a > b/bb:80  port not documented      refused in clear, blocked l7 x7",
        "    a/a > c/c:80   documented in error R08  refused",
        "  VZ1005 low  Attempts",
        "    a/a > c/c:80   R07                      refused",
    ]


def test_what_is_new_since_the_baseline_comes_first():
    """Of each code, and it says so."""
    since = {"baseline": {"new": 1, "known": 1, "not_found_again": []}}
    found = {"findings": [finding("a/a", "b/b", new=False), finding("a/a", "c/c", new=True)]}
    shown = text.render(facts() | since | found)
    assert "FINDINGS  since the baseline: 1 new, 1 known, 0 not found again\n" in shown
    assert shown.index("a/a > c/c:80  new  port") < shown.index("a/a > b/b:80       port")


def test_long_names_are_shown_whole_and_no_line_is_wider_than_a_terminal():
    """What is said of an edge stands below it, at its place; an edge longer than a line is parted at its arrow."""
    long, longer = "namespace-of-some-length/workload-" + "x" * 10, "namespace-of-some-length/" + "y" * 60
    assert findings(finding(long, long), finding("a/a", "b/b"), finding(longer, longer)) == [
        "  VZ1003 medium  Attempts",
        f"    {long} > {long}:80",
        "                  port not documented  refused",
        "    a/a > b/b:80  port not documented  refused",
        f"    {longer}",
        f"      > {longer}:80",
        "                  port not documented  refused",
    ]
    everything = facts(
        findings=[finding(longer, longer, exchanges=10**9)],
        undecided=[EGRESS | {"initiator": longer, "responder": longer, "violating": 1}],
        egress=[EGRESS | {"initiator": long, "responder": longer}],
        coverage={
            "blind_classes": [{"class": one.value} for one in terms.BlindClass], "damaged_inputs": [long] * 9,
            "sources": [{"source": one.value, "flows": 10**9, "minutes": 1, "initiators_unknown": 10**9,
                         "responders_unknown": 10**9, "no_time": 10**9, "after_snapshot": 1} for one in terms.Source],
            "observed_minutes": 10**6, "window_minutes": 10**6, "unresolved_addresses": 10**6,
        },
        model={"names": [f"model-{number}" for number in range(20)]},
        summary={"expected_by_transport_status": {one.value: 10**9 for one in terms.TransportStatus}},
    )  # fmt: skip
    assert max(map(len, text.render(everything).splitlines())) <= 100


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


@pytest.mark.parametrize("blind", [one.value for one in terms.BlindClass])
def test_what_the_sources_cannot_show_is_named_in_plain_words(blind):
    """Silence of a source that cannot speak is not good news."""
    shown = line_with("  cannot show: ", coverage={"blind_classes": [{"class": blind, "flows": 1}]})
    assert re.fullmatch(r"  cannot show: [^_()]+ \([^_()]+\)", shown)


def test_what_several_sources_cannot_show_is_told_by_source():
    """Each once."""
    names = ("failed_handshake", "certificate_hidden", "captured_ports_only")
    shown = text.render(facts(coverage={"blind_classes": [{"class": name, "flows": 1} for name in names]}))
    assert (shown.count("(Envoy)"), shown.count("(packets)")) == (1, 1)


def test_source_that_was_not_there_all_the_time_says_how_long():
    """The others cover what it does not."""
    one = {"flows": 1, "initiators_unknown": 0, "responders_unknown": 2, "no_time": 1, "after_snapshot": 0}
    sources = [one | {"source": "pcap", "minutes": 3}, one | {"source": "envoy", "minutes": 5, "flows": 2}]
    shown = text.render(facts(coverage={"sources": sources, "observed_minutes": 5}))
    assert (
        "  pcap 1 flow in 3 minutes, envoy 2 flows\n  4 flows to unknown responders, 2 flows without a time\n" in shown
    )


def test_blind_nodes_are_counted():
    """Nodes nobody looked at are told beside those somebody did."""
    spot = {"what": "node", "cluster": "c", "name": "n", "pods": 1, "first_minute": None, "last_minute": None}
    assert "  1 node blind: see `vzflow query blind_spots`\n" in text.render(facts(coverage={"blind_spots": [spot]}))


def test_strict_readiness_is_one_line():
    """How many workloads STRICT would hurt, and where to read more."""
    rows = [{"readiness": "ready"}, {"readiness": "blocked"}, {"readiness": "blocked"}]
    assert "1 of 3 workloads ready, 2 blocked" in line_with("STRICT", strict_readiness=rows)
