"""The report for a terminal: what was observed first, what needs attention next, what was fine last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from textwrap import TextWrapper
from typing import Any

from vzflow.flow.terms import BlindClass
from vzflow.reports.contradiction import both_sides
from vzflow.reports.edges import WIDTH, Row, edge, edge_lines
from vzflow.reports.plain import aligned, coloured, printable, to_the_second

#: Lines per table; the rest is counted, and `vzflow query` lists it.
MOST = 12

_VERDICT_COLOURS = {
    "plaintext": "critical", "unexpected": "high", "unknown": "medium", "expected": "good", "out_of_scope": "dim",
}  # fmt: skip
#: Worst first: the order in which an engineer reads.
_VERDICTS = ("plaintext", "unexpected", "unknown", "expected", "out_of_scope")

#: What is said of documented rows that were not seen, by their coverage.
UNSEEN = {
    "shadowed": "seen under another rule",
    "not_seen": "not seen, though a source would have shown it",
    "uncertain": "not seen, and not known whether it would have been",
    "not_observable": "not observable from here",
}

_TRANSPORTS = {"mtls": "mTLS", "tls": "TLS", "plaintext": "in clear", "none": "no payload", "unknown": "unknown"}

#: What cannot show what, in as few words as can be.
BLIND: dict[str, tuple[str, str]] = {
    BlindClass.NO_TLS_IN_LOG: ("Calico, Hubble", "TLS"),
    BlindClass.FORMAT_SILENT: ("Envoy", "TLS where the format leaves it out"),
    BlindClass.FAILED_HANDSHAKE: ("Envoy", "refused TLS without a certificate"),
    BlindClass.CAPTURED_PORTS_ONLY: ("Envoy", "ports not captured"),
    BlindClass.CERTIFICATE_HIDDEN: ("packets", "certificates of TLS 1.3"),
    BlindClass.PORT_AGGREGATED: ("Calico", "ports of aggregated records"),
    BlindClass.TUNNEL: ("packets", "the inside of tunnels"),
}


def render(facts: Mapping[str, Any], *, colour: bool = False) -> str:
    """Return the facts of a report as text that ends in a newline."""
    blocks = [
        _head(facts, colour), _warnings(facts, colour), _coverage(facts, colour), _verdicts(facts, colour),
        _findings(facts, colour), _undecided(facts, colour), _egress(facts, colour), _rules(facts, colour),
    ]  # fmt: skip
    return "\n\n".join("\n".join(lines) for block in blocks if (lines := list(block))) + "\n"


def _head(facts: Mapping[str, Any], colour: bool) -> Iterator[str]:
    window = facts["window"]
    times = "no flow with a time"
    if window["first_seen"] is not None:
        times = f"{to_the_second(window['first_seen'])} to {to_the_second(window['last_seen'])}"
    named = f"vzflow report  model {', '.join(facts['model']['names'])}"
    together = f"{named}  {times}"
    first, *more = [together] if len(together) <= WIDTH else [*_wrapped(named), times]
    yield first.replace("vzflow report", coloured("vzflow report", "bold", on=colour), 1)
    yield from more


def _warnings(facts: Mapping[str, Any], colour: bool) -> Iterator[str]:
    """What may mislead a reader, before any number."""
    for what, severity in _misleading(facts["coverage"]):
        for line in _wrapped(f"! {what}"):
            yield coloured(line, severity, on=colour)


def _misleading(coverage: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not coverage["snapshots"]:
        yield "no snapshot: nobody can be identified, so no verdict is firm", "high"
    for one in coverage["not_listed"]:
        yield f"{one['cluster']}: {one['kind']} {one['why']}", "medium"
    if coverage["damaged_inputs"]:
        yield f"damaged, read in part: {', '.join(coverage['damaged_inputs'])}", "high"
    if coverage["rejected"]:
        yield f'{_plural(coverage["rejected"], "record")} rejected: see `vzflow sql "from reject"`', "medium"
    late = sum(source["after_snapshot"] for source in coverage["sources"])
    if late:
        yield f"{_plural(late, 'flow')} later than the newest snapshot vouches for", "medium"
    if coverage["contested_addresses"]:
        spans = _plural(coverage["contested_addresses"], "span")
        yield f"{spans} of an address claimed twice: see `vzflow query contested`", "medium"


def _coverage(facts: Mapping[str, Any], colour: bool) -> Iterator[str]:
    coverage, summary, sources = facts["coverage"], facts["summary"], facts["coverage"]["sources"]
    yield coloured("COVERAGE", "bold", on=colour) + (
        f"  {coverage['observed_minutes']} of {_plural(coverage['window_minutes'], 'minute')} observed, "
        f"{_plural(len(coverage['nodes']), 'node')}, {_plural(len(coverage['namespaces']), 'namespace')}, "
        f"{_plural(coverage['snapshots'], 'snapshot')}"
    )
    yield (
        f"  {_plural(coverage['records_read'], 'record')} of {_plural(len(facts['inputs']), 'input')}, "
        f"{coverage['skipped']} skipped by name, {coverage['rejected']} rejected: "
        f"{_plural(summary['flows'], 'flow')}, {_plural(summary['exchanges'], 'exchange')}"
    )
    if sources:
        yield from _wrapped(f"  {', '.join(_source(one, coverage['observed_minutes']) for one in sources)}")
    missing = [
        (
            sum(s["initiators_unknown"] for s in sources),
            "flow from an unknown initiator",
            "flows from unknown initiators",
        ),
        (sum(s["responders_unknown"] for s in sources), "flow to an unknown responder", "flows to unknown responders"),
        (sum(s["no_time"] for s in sources), "flow without a time", "flows without a time"),
        (coverage["unresolved_addresses"], "address unresolved", "addresses unresolved"),
    ]
    if told_of := [_plural(count, one, many) for count, one, many in missing if count]:
        yield from _wrapped(f"  {', '.join(told_of)}")
    blind = Counter(spot["what"] for spot in coverage["blind_spots"])
    if blind["node"] + blind["namespace"]:
        spots = ", ".join(_plural(count, word) for word in ("node", "namespace") if (count := blind[word]))
        yield f"  {spots} blind: see `vzflow query blind_spots`"
    if coverage["blind_classes"]:
        for line in _wrapped(f"  cannot show: {_blind(coverage['blind_classes'])}"):
            yield coloured(line, "dim", on=colour)


def _blind(classes: Sequence[Mapping[str, Any]]) -> str:
    shown: dict[str, list[str]] = {}
    for row in classes:
        who, what = BLIND[row["class"]]
        shown.setdefault(who, []).append(what)
    return "; ".join(f"{', '.join(whats)} ({who})" for who, whats in sorted(shown.items()))


def _source(one: Mapping[str, Any], observed: int) -> str:
    """Its flows, and its minutes where others were there longer."""
    within = f" in {_plural(one['minutes'], 'minute')}" if one["minutes"] < observed else ""
    return f"{one['source']} {_plural(one['flows'], 'flow')}{within}"


def _verdicts(facts: Mapping[str, Any], colour: bool) -> Iterator[str]:
    summary = facts["summary"]
    rows = [("VERDICT", "EXCHANGES", "FLOWS", "")]
    for verdict in _VERDICTS:
        rows.append((_plain(verdict), summary["by_verdict"][verdict], summary["flows_by_verdict"][verdict],
                     _split(facts, verdict)))  # fmt: skip
    head, *lines = aligned([row[:3] for row in rows], indent=0)
    yield coloured(head, "bold", on=colour)
    for verdict, line, (*_, split) in zip(_VERDICTS, lines, rows[1:], strict=True):
        for shown in _wrapped(f"{line}  {split}".rstrip(), " " * (len(head) + 2)):
            yield coloured(shown, _VERDICT_COLOURS[verdict], on=colour and bool(summary["by_verdict"][verdict]))


def _split(facts: Mapping[str, Any], verdict: str) -> str:
    summary, gate = facts["summary"], facts["gate"]
    if verdict == "expected":
        shown = ", ".join(f"{n} {_plain(name)}" for name, n in summary["expected_by_transport_status"].items())
        amended = summary["expected_by_rule_status"].get("amended", 0)
        return shown + (f"; {_plural(amended, 'rests', 'rest')} on amendments" if amended else "")
    if verdict == "unexpected" and gate["unexpected_any"] and "baseline" not in facts:  # with one, only new ones count
        kept = gate["unexpected_any"] - gate["unexpected"]
        return f"{gate['unexpected']} took place, {kept} kept away"
    return ""


def _findings(facts: Mapping[str, Any], colour: bool) -> Iterator[str]:
    findings, compared = facts["findings"], facts.get("baseline")
    if not findings and compared is None:
        return
    about = 'behind each: `vzflow explain "CODE A > B:PORT"`' if compared is None else (
        f"since the baseline: {compared['new']} new, {compared['known']} known, "
        f"{len(compared['not_found_again'])} not found again"
    )  # fmt: skip
    yield coloured("FINDINGS", "bold", on=colour) + f"  {about}"
    codes = list(dict.fromkeys(f["code"] for f in findings))
    groups = [[f for f in findings if f["code"] == code] for code in codes]
    tables = _tables([_by_edge(mine, compared is not None) for mine in groups])
    for mine, lines in zip(groups, tables, strict=True):
        severity = mine[0]["severity"]
        says, _, _ = mine[0]["says"].rstrip(".").partition(": ")  # the second half is for the page of findings
        for line in _wrapped(f"  {mine[0]['code']} {severity}  {says}"):
            yield coloured(line, severity, on=colour)
        yield from lines
        for side in (side for f in mine[:MOST] for one in f.get("contradiction", ()) for side in both_sides(one)):
            yield from _wrapped(f"      {printable(side)}", " " * 8)


def _by_edge(findings: Sequence[Mapping[str, Any]], compared: bool) -> list[Row]:
    """Return a row for each edge and why it was found, with the outcomes of its exchanges; what is new comes first."""
    rows: dict[Row, list[str]] = {}
    for one in sorted(findings, key=lambda f: not f.get("new")):
        shown = edge(one["initiator"]["name"], one["responder"]["name"], one)
        cells = ("new" if one["new"] else "", _why(one)) if compared else (_why(one),)
        clear = " in clear" if one["transport"] == "plaintext" else ""
        rows.setdefault((shown, cells), []).append(_counted(_plain(one["outcome"]) + clear, one))
    return [(shown, (*cells, ", ".join(outcomes))) for (shown, cells), outcomes in rows.items()]


def _undecided(facts: Mapping[str, Any], colour: bool) -> Iterator[str]:
    if facts["undecided"]:
        yield coloured("UNKNOWN", "bold", on=colour) + "  not enough evidence to decide"
        yield from _tables([[_open(one) for one in facts["undecided"]]])[0]


def _open(one: Mapping[str, Any]) -> Row:
    clear = f", {one['violating']} violated" if one["violating"] else ""
    return edge(one["initiator"], one["responder"], one), (_counted(_plain(one["reason"]), one) + clear,)


def _egress(facts: Mapping[str, Any], colour: bool) -> Iterator[str]:
    if facts["egress"]:
        yield coloured("EGRESS", "bold", on=colour) + "  what components reached and the model does not describe"
        rows: dict[str, list[str]] = {}
        for one in facts["egress"]:
            shown = edge(one["initiator"], one["responder"], one)
            rows.setdefault(shown, []).append(_counted(_TRANSPORTS[one["transport"]], one))
        yield from _tables([[(shown, (", ".join(seen),)) for shown, seen in rows.items()]])[0]


def _rules(facts: Mapping[str, Any], colour: bool) -> Iterator[str]:
    rows = [r for r in facts["rules"] if r["status"] == "documented"]
    documented, revoked = ([r for r in rows if (r["revoked_by"] is None) is holds] for holds in (True, False))
    if documented:
        seen = sum(r["coverage"] == "seen" for r in documented)
        in_error = f", {len(revoked)} revoked: {' '.join(r['rule_id'] for r in revoked)}" if revoked else ""
        yield coloured("DOCUMENTED ROWS", "bold", on=colour) + f"  {seen} of {len(documented)} seen{in_error}"
        for coverage, said in UNSEEN.items():
            if unseen := [r["rule_id"] for r in documented if r["coverage"] == coverage]:
                yield from _wrapped(f"  {said}: {' '.join(unseen)}")
    ready = Counter(row["readiness"] for row in facts["strict_readiness"])
    if ready:
        others = [f"{count} {_plain(name)}" for name, count in sorted(ready.items()) if name != "ready"]
        counted = ", ".join([f"{ready['ready']} of {ready.total()} workloads ready", *others])
        yield coloured("STRICT", "bold", on=colour) + f"  {counted}"


def _tables(groups: Sequence[Sequence[Row]]) -> list[list[str]]:
    """Return the lines of tables with the same columns; of each at most MOST rows, and how many more there are."""
    lines = edge_lines([rows[:MOST] for rows in groups])
    left = [[f"    and {len(rows) - MOST} more"] if len(rows) > MOST else [] for rows in groups]
    return [[*some, *more] for some, more in zip(lines, left, strict=True)]


def _why(finding: Mapping[str, Any]) -> str:
    """The rule that speaks of it, or the reason why none does; both where a row was documented in error."""
    if finding["rule_id"] is None or finding["reason"] == "documented_in_error":
        return " ".join(filter(None, (_plain(finding["reason"] or ""), finding["rule_id"])))
    return str(finding["rule_id"])


def _counted(what: str, row: Mapping[str, Any]) -> str:
    return what if row["exchanges"] == 1 else f"{what} x{row['exchanges']}"


def _plain(term: str) -> str:
    """Return a value of a closed list as people write it."""
    return "inferred" if term == "met_inferred" else term.replace("_", " ")


def _plural(count: int, word: str, words: str = "") -> str:
    return f"{count} {word if count == 1 else words or word + 's'}"


def _wrapped(line: str, indent: str = "    ") -> list[str]:
    """Return a line as several where it is wider than WIDTH; names are not broken."""
    return TextWrapper(WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False).wrap(line)
