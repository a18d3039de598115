"""The report for a terminal: what was observed first, what needs attention next, what was fine last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from textwrap import wrap
from typing import Any

from vzflow.reports.contradiction import both_sides
from vzflow.reports.plain import aligned, coloured, printable, to_the_second

#: Lines per table; the rest is counted, and `vzflow query` lists it.
MOST = 12

#: Columns that lists are wrapped at.
_WIDTH = 80

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


def render(facts: Mapping[str, Any], *, colour: bool = False) -> str:
    """Return the facts of a report as text that ends in a newline."""
    blocks = [
        _head(facts, colour), _warnings(facts, colour), _coverage(facts, colour), _verdicts(facts, colour),
        _findings(facts, colour), _undecided(facts, colour), _egress(facts, colour), _rules(facts, colour),
    ]  # fmt: skip
    return "\n\n".join("\n".join(lines) for block in blocks if (lines := list(block))) + "\n"


def _head(facts: Mapping[str, Any], colour: bool) -> Iterator[str]:
    window, coverage, summary = facts["window"], facts["coverage"], facts["summary"]
    yield coloured("vzflow report", "bold", on=colour) + f"   model {', '.join(facts['model']['names'])}"
    yield (
        f"{to_the_second(window['first_seen'])} to {to_the_second(window['last_seen'])}, "
        + _plural(coverage["observed_minutes"], "minute")
        + f" observed of {coverage['window_minutes']}"
    )
    yield (
        f"{_plural(len(facts['inputs']), 'input')}, {_plural(coverage['records_read'], 'record')}, "
        f"{_plural(summary['flows'], 'flow')}, {_plural(summary['exchanges'], 'exchange')}, "
        f"{_plural(coverage['snapshots'], 'snapshot')}"
    )


def _warnings(facts: Mapping[str, Any], colour: bool) -> Iterator[str]:
    """What may mislead a reader, before any number."""
    coverage = facts["coverage"]
    if not coverage["snapshots"]:
        yield coloured("! no snapshot: nobody can be identified, so no verdict is firm", "high", on=colour)
    for one in coverage["not_listed"]:
        yield coloured(f"! {one['cluster']}: {one['kind']} {one['why']}", "medium", on=colour)
    if coverage["damaged_inputs"]:
        yield coloured(f"! damaged, read in part: {', '.join(coverage['damaged_inputs'])}", "high", on=colour)
    if coverage["rejected"]:
        yield coloured(f"! {_plural(coverage['rejected'], 'record')} rejected: see `vzflow sql \"from reject\"`",
                       "medium", on=colour)  # fmt: skip
    late = sum(source["after_snapshot"] for source in coverage["sources"])
    if late:
        yield coloured(f"! {_plural(late, 'flow')} later than the newest snapshot vouches for", "medium", on=colour)
    if coverage["contested_addresses"]:
        what = (
            _plural(coverage["contested_addresses"], "span")
            + " of an address claimed twice: see `vzflow query contested`"
        )
        yield coloured(f"! {what}", "medium", on=colour)


def _verdicts(facts: Mapping[str, Any], colour: bool) -> Iterator[str]:
    summary = facts["summary"]
    rows = [("VERDICT", "EXCHANGES", "FLOWS", "")]
    for verdict in _VERDICTS:
        rows.append((verdict, summary["by_verdict"][verdict], summary["flows_by_verdict"][verdict],
                     _split(facts, verdict)))  # fmt: skip
    head, *lines = aligned(rows, indent=0)
    yield coloured(head, "bold", on=colour)
    for verdict, line in zip(_VERDICTS, lines, strict=True):
        yield coloured(line, _VERDICT_COLOURS[verdict], on=colour and bool(summary["by_verdict"][verdict]))


def _split(facts: Mapping[str, Any], verdict: str) -> str:
    summary, gate = facts["summary"], facts["gate"]
    if verdict == "expected":
        shown = ", ".join(f"{name} {n}" for name, n in summary["expected_by_transport_status"].items())
        amended = summary["expected_by_rule_status"].get("amended", 0)
        return shown + (f"; {amended} rest on amendments" if amended else "")
    if verdict == "unexpected" and gate["unexpected_any"] and "baseline" not in facts:  # with one, only new ones count
        kept = gate["unexpected_any"] - gate["unexpected"]
        return f"{gate['unexpected']} took place, {kept} kept away"
    return ""


def _findings(facts: Mapping[str, Any], colour: bool) -> Iterator[str]:
    findings, compared = facts["findings"], facts.get("baseline")
    if not findings and compared is None:
        return
    since = "" if compared is None else (
        f"  since the baseline: {compared['new']} new, {compared['known']} known, "
        f"{len(compared['not_found_again'])} not found again"
    )  # fmt: skip
    yield coloured("FINDINGS", "bold", on=colour) + since
    for code in sorted({f["code"] for f in findings}, key=[f["code"] for f in findings].index):
        mine = [f for f in findings if f["code"] == code]
        yield coloured(f"  {code} {mine[0]['severity']}  {mine[0]['says']}", mine[0]["severity"], on=colour)
        yield from _table(
            sorted(mine, key=lambda f: not f.get("new")),
            lambda f: (
                *(() if compared is None else ("new" if f["new"] else "",)),
                _edge(f["initiator"]["name"], f["responder"]["name"], f), _why(f),
                f["transport_status"], f["outcome"], f"x{f['exchanges']}", f["flow_ids"][0],
            ),
            lambda f: (side for one in f.get("contradiction", ()) for side in both_sides(one)),
        )  # fmt: skip


def _undecided(facts: Mapping[str, Any], colour: bool) -> Iterator[str]:
    if facts["undecided"]:
        yield coloured("UNKNOWN", "bold", on=colour) + "  not enough evidence to decide"
        yield from _table(
            facts["undecided"],
            lambda u: (_edge(u["initiator"], u["responder"], u), u["reason"], f"x{u['exchanges']}", u["flow_ids"][0]),
        )


def _egress(facts: Mapping[str, Any], colour: bool) -> Iterator[str]:
    if facts["egress"]:
        yield coloured("EGRESS", "bold", on=colour) + "  what components reached and the model does not describe"
        yield from _table(
            facts["egress"],
            lambda e: (
                _edge(e["initiator"], e["responder"], e),
                e["transport"],
                f"x{e['exchanges']}",
                e["flow_ids"][0],
            ),
        )


def _rules(facts: Mapping[str, Any], colour: bool) -> Iterator[str]:
    rows = [r for r in facts["rules"] if r["status"] == "documented"]
    documented, revoked = ([r for r in rows if (r["revoked_by"] is None) is holds] for holds in (True, False))
    if documented:
        seen = sum(r["coverage"] == "seen" for r in documented)
        in_error = f", {len(revoked)} revoked: {' '.join(r['rule_id'] for r in revoked)}" if revoked else ""
        yield coloured("DOCUMENTED ROWS", "bold", on=colour) + f"  {seen} of {len(documented)} seen{in_error}"
        for coverage, said in UNSEEN.items():
            if unseen := [r["rule_id"] for r in documented if r["coverage"] == coverage]:
                yield from wrap(f"  {said}: {' '.join(unseen)}", _WIDTH, subsequent_indent="    ")
    ready = Counter(row["readiness"] for row in facts["strict_readiness"])
    if ready:
        others = [f"{count} {name}" for name, count in sorted(ready.items()) if name != "ready"]
        yield (
            coloured("STRICT", "bold", on=colour)
            + "  "
            + ", ".join([f"{ready['ready']} of {ready.total()} workloads ready", *others])
        )


def _coverage(facts: Mapping[str, Any], colour: bool) -> Iterator[str]:
    coverage = facts["coverage"]
    yield coloured("COVERAGE", "bold", on=colour)
    yield from aligned(
        [
            ("source", "flows", "minutes", "initiators unknown", "responders unknown", "without time"),
            *(
                (s["source"], s["flows"], s["minutes"], s["initiators_unknown"], s["responders_unknown"], s["no_time"])
                for s in coverage["sources"]
            ),
        ]
    )
    blind = Counter(spot["what"] for spot in coverage["blind_spots"])
    unresolved = _plural(coverage["unresolved_addresses"], "address", "addresses")
    yield (
        f"  {_plural(coverage['records_read'], 'record')} read, {coverage['skipped']} skipped by name, "
        f"{coverage['rejected']} rejected; {unresolved} unresolved"
    )
    yield (
        f"  {_plural(len(coverage['nodes']), 'node')}, {_plural(len(coverage['namespaces']), 'namespace')} seen"
        + "".join(f"; {_plural(count, word)} blind" for word in ("node", "namespace") if (count := blind[word]))
        + (": see `vzflow query blind_spots`" if blind["node"] + blind["namespace"] else "")
    )
    if coverage["blind_classes"]:
        classes = ", ".join(row["class"] for row in coverage["blind_classes"])
        for line in wrap(f"  cannot show: {classes}", _WIDTH, subsequent_indent="    "):
            yield coloured(line, "dim", on=colour)


def _table(
    rows: Sequence[Mapping[str, Any]],
    cells: Callable[[Mapping[str, Any]], Sequence[Any]],
    below: Callable[[Mapping[str, Any]], Iterable[str]] = lambda _: (),
) -> Iterator[str]:
    """A line for each of the first rows, and under it what *below* says of it."""
    for row, line in zip(rows, aligned([cells(row) for row in rows[:MOST]], indent=4), strict=False):
        yield line
        yield from (f"      {printable(more)}" for more in below(row))
    if len(rows) > MOST:
        yield f"    and {len(rows) - MOST} more"


def _why(finding: Mapping[str, Any]) -> str:
    """The rule that speaks of it, or the reason why none does; both where a row was documented in error."""
    if finding["rule_id"] is None or finding["reason"] == "documented_in_error":
        return " ".join(filter(None, (finding["reason"], finding["rule_id"])))
    return str(finding["rule_id"])


def _edge(initiator: str, responder: str, row: Mapping[str, Any]) -> str:
    return f"{initiator} > {responder}:{_port(row)}"


def _port(row: Mapping[str, Any]) -> str:
    port = "-" if row["port"] is None else row["port"]
    return f"{port}" if row["protocol"] == "tcp" else f"{port}/{row['protocol']}"


def _plural(count: int, word: str, words: str = "") -> str:
    return f"{count} {word if count == 1 else words or word + 's'}"
