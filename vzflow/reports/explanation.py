"""`vzflow explain` in plain words: recorded what, by whom, who the ends were, which rules were considered, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vzflow.flow import terms
from vzflow.flow.schema import COLUMNS
from vzflow.reports.contradiction import both_sides
from vzflow.reports.plain import aligned, coloured, instant, printable

Found = Mapping[str, Any]

_SAYS = {c.name: c.values for c in COLUMNS if c.values is not None}
#: Rows of one table, and lines of what scapy says of all packets; more are counted.
MOST, MOST_LINES = 12, 400
#: Characters of a record that are shown.
_SHOWN = 600
_JUDGED = ("verdict", "reason", "rule_id", "rule_status", "transport_required", "transport_status", "outcome")
_COLOURS = {"plaintext": "critical", "unexpected": "high", "unknown": "medium", "expected": "good"}


def render(found: Found, *, colour: bool = False) -> str:
    """Return everything behind one flow's verdict as text that ends in a newline; what a terminal obeys is escaped."""
    # What scapy says has lines of its own, which are escaped one by one.
    found = printable({k: v for k, v in found.items() if k != "dissected"}) | {"dissected": found.get("dissected")}
    blocks = (
        _verdict(found, colour), _record(found, colour), _end(found, "initiator", colour),
        _end(found, "responder", colour), _rules(found, colour), _transport(found, colour), _exchange(found, colour),
        _dissected(found, colour), _sql(found, colour),
    )  # fmt: skip
    return "\n\n".join("\n".join(lines) for block in blocks if (lines := [line.rstrip() for line in block])) + "\n"


def extracted(found: Found) -> list[str]:
    """Return what is to be said of the files that were written: what is in each, how to read it, what differs."""
    lines = []
    for one in found["extracted"]:
        what = "packet" if one["name"].endswith(("pcap", "pcapng")) else "line"
        around = f", {one['context']} of them only to tell who opened or where it was seen" if one["context"] else ""
        of = f" of {_plural(len(one['flows']), 'flow')}" if len(one["flows"]) > 1 else ""
        lines.append(f"{one['name']}: {_plural(one['records'], what)}{of} from {one['origin']}{around}")
        lines.append(f"read it with: {one['command']}")
        lines += [
            f"{flow_id} reads otherwise by itself: {', '.join(columns)}" for flow_id, columns in one["differs"].items()
        ]
    if found["left_out"]:
        lines.append(f"{_plural(found['left_out'], 'flow')} of this edge left out: of another kind, or too many")
    return lines


def _verdict(found: Found, colour: bool) -> Iterator[str]:
    judged = found["classified"]
    head = f"{found['flow_id']}  {judged['verdict']}"
    yield coloured(head, _COLOURS.get(judged["verdict"], "bold"), on=colour)
    if found.get("finding"):
        yield f"  {found['finding']['code']}: {found['finding']['says']}"
    if found.get("edge"):
        count = f", the first of {found['exchanges']} exchanges" if found["exchanges"] > 1 else ""
        yield f"  {found['edge']}{count}"
    exchange = found["exchange"]
    if exchange["exchange_verdict"] != judged["verdict"]:
        yield f"  with all that tells of its exchange (below): {exchange['exchange_verdict']}, {exchange['reason']}"
    yield from aligned([(name, judged[name], _sentence(name, judged[name])) for name in _JUDGED])


def _record(found: Found, colour: bool) -> Iterator[str]:
    row, source, place = found["recorded"], found["input"], found["place"]
    entry = f", entry {place['entry']}" if place["entry"] else ""
    byte = "" if place["offset"] is None else f", byte {place['offset']}"
    yield _head("RECORDED", colour) + f"  {place['input']}, {place['kind']} {place['number']}{entry}{byte}"
    yield f"  segment {row['segment']}, BLAKE3 {source['digest'][:16]}..., ingested {instant(source['ingested_at'])}"
    if place["why_not"]:
        yield f"  byte not known: {place['why_not']}"
    if place["text"] is not None:
        more = " ..." if len(place["text"]) > _SHOWN else ""
        yield f"  | {place['text'][:_SHOWN]}{more}"
    span = f"{instant(row['first_seen'])} to {instant(row['last_seen'])}"
    yield f"  {_address(row, 'initiator')} > {_address(row, 'responder')} {row['protocol']}, {span}"
    yield from aligned(
        [(name, value, _sentence(name, value)) for name, value in row.items()
         if value is not None and name not in _SHOWN_ABOVE]
    )  # fmt: skip


_SHOWN_ABOVE = {
    "segment", "record", "first_seen", "last_seen", "protocol", "initiator_ip", "initiator_port", "responder_ip",
    "responder_port", "dt", "hour",
}  # fmt: skip


def _end(found: Found, side: str, colour: bool) -> Iterator[str]:
    judged = found["classified"]
    basis = judged[f"{side}_identity_basis"]
    holders = [h for h in found["holders"] if h["side"] == side]
    kind = judged[f"{side}_kind"]
    yield _head(side.upper(), colour) + f"  {kind}: {_sentence(f'{side}_identity_basis', basis)}"
    if kind == terms.Kind.UNKNOWN:
        yield f"  every one of {len(holders)} peers of the model is possible"
    else:
        yield from aligned([_holder(h) for h in holders[:MOST]])
        if len(holders) > MOST:
            yield f"  and {len(holders) - MOST} more candidates"
        yield from _shown_by(found, holders[:MOST])
    recorded = ("responder" if side == "initiator" else "initiator") if judged["turned"] else side
    if principal := found["recorded"][f"{recorded}_principal"]:
        yield f"  it presented {principal}"
    for one in found["contradictions"]:
        if one["side"] == side:
            for number, said in enumerate(both_sides(one)):
                yield coloured(f"  {'' if number else 'contradiction: '}{said}", "high", on=colour)
    if side == "responder" and judged["responder_service"]:
        yield f"  dialled as Service {judged['responder_service']}; pod port {judged['target_port']}"
    if side == "initiator" and judged["turned"]:
        yield "  recorded the other way round: only the port of the other end is a declared one"


def _holder(holder: Found) -> tuple[str, ...]:
    named = (holder["namespace"], holder["pod"] or holder["workload"])
    name = "/".join(named) if all(named) else holder["node"] or holder["party_id"]
    component = f"component {holder['component']}" if holder["component"] else "no component"
    address = holder["address"] or "no address of its own"
    since = f"from {instant(holder['valid_from'])}" if holder["valid_from"] else ""
    scope = "in scope" if holder["in_scope"] else "not in scope"
    # Why a sidecar received plaintext is mostly that its peer has none.
    mesh = ("in the mesh" if holder["in_mesh"] else "no sidecar") if holder["kind"] == "pod" else ""
    return name, component, scope, mesh, address, since, _until(holder)


def _shown_by(found: Found, holders: Sequence[Found]) -> Iterator[str]:
    names = {h["pod"] or h["node"] for h in holders}
    rows = [
        (f"shown by {one['snapshot']}", instant(one["seen_until"]), f"{one['when']} the flow", one["name"])
        for one in found["vouched"] if one["name"] in names
    ]  # fmt: skip
    yield from aligned(rows[:MOST])


def _rules(found: Found, colour: bool) -> Iterator[str]:
    matches, judged = found["matches"], found["classified"]
    if matches:
        parted = len({p["verdict"] for p in found["pairs"]}) > 1
        some = " for some of the candidates" if parted else ""
        yield _head("RULES", colour) + f"  allow this{some}, best first"
        seen = {m["rule_id"]: m for m in matches}
        for match in sorted(seen.values(), key=lambda m: m["place"]):
            revoked = f" (revoked by {match['revoked_by']})" if match["revoked_by"] else ""
            fails = _transport_fails(match, judged)
            yield f"  {match['rule_id']} {match['kind']}{revoked}, {match['transport']}{fails}: {match['says']}"
            if match["source"]:
                yield f"    {match['source']}"
    else:
        yield _head("RULES", colour) + "  none allows this"
    yield from _nearest(found["near"])


def _nearest(near: Sequence[Found]) -> Iterator[str]:
    """One line for each rule, the nearest first: what it is about, and what it fails by."""
    by_rule: dict[str, list[Found]] = {}
    for one in near:
        by_rule.setdefault(one["rule_id"], []).append(one)
    if not by_rule:
        return
    yield "  considered, nearest first:"
    rows = []
    for rule_id, grants in list(by_rule.items())[:MOST]:
        first = grants[0]
        others = len({g["from_term"] for g in grants}) - 1
        who = first["from_term"].removeprefix("component:") + (f" and {others} more" if others else "")
        fails = [what for what in ("source", "port", "protocol") if first[f"fails_{what}"]]
        revoked = f"revoked by {first['revoked_by']}" if first["revoked_by"] else ""
        failing = f"fails by {', '.join(fails)}" if fails else ""
        rows.append((rule_id, first["kind"], f"from {who}", f"to port {_ports(first)}", failing, revoked))
    yield from aligned(rows, indent=4)
    if len(by_rule) > MOST:
        yield f"    and {len(by_rule) - MOST} more"


def _transport_fails(match: Found, judged: Found) -> str:
    failed = (terms.TransportStatus.VIOLATED, terms.TransportStatus.NOT_MUTUAL)
    if match["rule_id"] == judged["rule_id"] and judged["transport_status"] in failed:
        return f", fails by transport ({judged['transport']})"
    return ""


def _transport(found: Found, colour: bool) -> Iterator[str]:
    judged = found["classified"]
    grade = judged["transport_grade"] or "no evidence"
    yield _head("TRANSPORT", colour) + f"  {judged['transport']} ({grade}), seen by {judged['evidence_origin']}"
    yield f"  {_sentence('transport_basis', judged['transport_basis'])}"
    if len(found["pairs"]) > 1:
        verdicts = sorted({p["verdict"] for p in found["pairs"]})
        yield f"  judged for {len(found['pairs'])} pairs of candidates: {', '.join(verdicts)}"
    for number, words in enumerate(found["would_prove"]):
        yield ("  more would be known so: " if number == 0 else "  and: ") + words


def _exchange(found: Found, colour: bool) -> Iterator[str]:
    exchange = found["exchange"]
    told = exchange["told"]
    verdict = f"{exchange['exchange_verdict']}, {exchange['reason']}, {exchange['transport_status'] or '-'}"
    if len(told) == 1:
        yield _head("EXCHANGE", colour) + "  no other flow tells of it"
        return
    yield _head("EXCHANGE", colour) + f"  {len(told)} flows tell of it, together: {verdict}"
    if exchange["reason"] == terms.Reason.SOURCES_DISAGREE:
        yield coloured("  they contradict each other", "high", on=colour)
    rows = [
        (
            "*" if one["flow_id"] == found["flow_id"] else "", one["flow_id"], one["source"], one["reporter"],
            one["verdict"], one["rule_id"], one["transport"], one["transport_basis"], one["outcome"],
        )
        for one in told[:MOST]
    ]  # fmt: skip
    yield from aligned(rows)
    if len(told) > MOST:
        yield f"  and {len(told) - MOST} more"


def _dissected(found: Found, colour: bool) -> Iterator[str]:
    if found["dissected"] is None:
        return
    packets, shown = found["dissected"]["packets"], found["dissected"]["shown"]
    few = f", the first {len(shown)}" if len(shown) < packets else ""
    yield _head("PACKETS", colour) + f"  {packets} of {found['dissected']['flow_id']}{few}, as scapy sees them"
    lines = [
        line for one in shown for line in (f"  packet {one['number']}, byte {one['offset']}", *_indented(one["text"]))
    ]
    yield from lines[:MOST_LINES]
    if len(lines) > MOST_LINES:
        yield f"  and {len(lines) - MOST_LINES} more lines; -o json has them"


def _indented(text: str) -> Iterator[str]:
    return (f"    {printable(line)}".rstrip() for line in text.splitlines())


def _sql(found: Found, colour: bool) -> Iterator[str]:
    yield _head("SQL", colour) + f"  decided in queries/classify: {', '.join(found['queries'][-5:])}"
    if found.get("finding"):
        yield f"  found by: vzflow query {found['finding']['query']}"
    yield f'  this row: vzflow sql "{found["sql"]["flow"]}"'


def _head(word: str, colour: bool) -> str:
    return coloured(word, "bold", on=colour)


def _sentence(column: str, value: Any) -> str:  # noqa: ANN401 - a cell
    values = _SAYS.get(column)
    return values(value).says if values is not None and value is not None else ""


def _address(row: Found, side: str) -> str:
    ip, port = row[f"{side}_ip"], row[f"{side}_port"]
    named = row[f"{side}_named_name"] or row[f"{side}_named_name_prefix"]
    return f"{ip or named or '?'}:{port if port is not None else '-'}"


def _until(holder: Found) -> str:
    if holder["valid_to"] is None:
        return ""
    if holder["valid_to"].year == 9999:
        return f"last vouched for {instant(holder['known_until'])}"
    return f"until {instant(holder['valid_to'])}"


def _ports(rule: Found) -> str:
    if rule["port_class"]:
        return f"of {rule['port_class']}s"
    if rule["port_lo"] is None:
        return f"any/{rule['protocol'] or 'any'}"
    ports = str(rule["port_lo"]) if rule["port_lo"] == rule["port_hi"] else f"{rule['port_lo']}-{rule['port_hi']}"
    return f"{ports}/{rule['protocol'] or 'any'}"


def _plural(count: int, word: str) -> str:
    return f"{count} {word if count == 1 else word + 's'}"
