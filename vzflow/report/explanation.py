"""`vzflow explain` in plain words: recorded what, by whom, who the ends were, which rules were considered, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vzflow.flow import terms
from vzflow.flow.key import ENTRY
from vzflow.flow.schema import COLUMNS
from vzflow.report.plain import aligned, coloured, instant

_SAYS = {c.name: c.values for c in COLUMNS if c.values is not None}
#: Rows of one table; more are counted.
MOST = 12


def render(found: Mapping[str, Any], *, colour: bool = False) -> str:
    """Return everything behind one flow's verdict as text that ends in a newline."""
    blocks = (_verdict(found, colour), _record(found), _ends(found), _rules(found), _transport(found), _queries(found))
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _verdict(found: Mapping[str, Any], colour: bool) -> Iterator[str]:
    judged = found["classified"]
    yield coloured(f"{found['flow_id']}  {judged['verdict']}", "bold", on=colour)
    yield from aligned(
        [
            (name, judged[name], _sentence(name, judged[name]))
            for name in (
                "verdict",
                "reason",
                "rule_id",
                "rule_status",
                "transport_required",
                "transport_status",
                "outcome",
            )
        ]
    )


def _record(found: Mapping[str, Any]) -> Iterator[str]:
    row, source = found["recorded"], found["input"]
    what = "packet" if row["source"] == "pcap" else "line"
    entry, number = divmod(row["record"], ENTRY)
    line = number + (source["first_line"] or 1) - 1
    where = f"{what} {line}" + (f", entry {entry + 1}" if entry else "")
    yield f"RECORDED  {source['name']}, {where} (segment {row['segment']}, BLAKE3 {source['digest'][:16]}...)"
    span = f"{instant(row['first_seen'])} to {instant(row['last_seen'])}"
    yield f"  {_end(row, 'initiator')} > {_end(row, 'responder')} {row['protocol']}, {span}"
    shown = [
        (name, value, _sentence(name, value))
        for name, value in row.items()
        if value is not None and name not in _SHOWN_ABOVE
    ]
    yield from aligned(shown)


_SHOWN_ABOVE = {
    "segment", "record", "first_seen", "last_seen", "protocol", "initiator_ip", "initiator_port", "responder_ip",
    "responder_port", "dt", "hour",
}  # fmt: skip


def _ends(found: Mapping[str, Any]) -> Iterator[str]:
    judged = found["classified"]
    for side in ("initiator", "responder"):
        basis = judged[f"{side}_identity_basis"]
        holders = [h for h in found["holders"] if h["side"] == side]
        yield f"{side.upper()}  {judged[f'{side}_kind']}: {_sentence(f'{side}_identity_basis', basis)}"
        if judged[f"{side}_kind"] == terms.Kind.UNKNOWN:
            yield f"  every one of {len(holders)} peers of the model is possible"
            continue
        rows = [
            (
                h["party_id"], f"component {h['component'] or '-'}", "in scope" if h["in_scope"] else "not in scope",
                h["address"], f"from {instant(h['valid_from'])}", _until(h),
            )
            for h in holders[:MOST]
        ]  # fmt: skip
        yield from aligned(rows)
        if len(holders) > MOST:
            yield f"  and {len(holders) - MOST} more candidates"
    if judged["responder_service"]:
        yield f"  dialled as Service {judged['responder_service']}; pod port {judged['target_port']}"


def _rules(found: Mapping[str, Any]) -> Iterator[str]:
    matches = found["matches"]
    yield "RULES"
    if matches:
        parted = len({p["verdict"] for p in found["pairs"]}) > 1
        yield f"  allow this{' for some of the candidates' if parted else ''}, best first:"
        seen: dict[str, Mapping[str, Any]] = {m["rule_id"]: m for m in matches}
        for match in sorted(seen.values(), key=lambda m: m["place"]):
            revoked = f" (revoked by {match['revoked_by']})" if match["revoked_by"] else ""
            yield f"    {match['rule_id']} {match['kind']}{revoked}, {match['transport']}: {match['says']}"
            if match["source"]:
                yield f"      {match['source']}"
    else:
        yield "  none allows this"
    near = [n for n in found["near"] if n["rule_id"] not in {m["rule_id"] for m in matches}]
    if near:
        yield "  also speak of this responder:"
        yield from aligned(
            [(n["rule_id"], n["kind"], f"from {n['from_term']}", f"port {_ports(n)}") for n in near[:MOST]], indent=4
        )


def _transport(found: Mapping[str, Any]) -> Iterator[str]:
    judged = found["classified"]
    grade = judged["transport_grade"] or "no evidence"
    yield f"TRANSPORT  {judged['transport']} ({grade}), seen by {judged['evidence_origin']}"
    yield f"  {_sentence('transport_basis', judged['transport_basis'])}"
    if len(found["pairs"]) > 1:
        verdicts = sorted({p["verdict"] for p in found["pairs"]})
        yield f"  judged for {len(found['pairs'])} pairs of candidates: {', '.join(verdicts)}"


def _queries(found: Mapping[str, Any]) -> Iterator[str]:
    yield "DECIDED BY  queries/classify/*.sql, the same for every flow; the last step is classified.sql"


def _sentence(column: str, value: Any) -> str:  # noqa: ANN401 - a cell
    values = _SAYS.get(column)
    return values(value).says if values is not None and value is not None else ""


def _end(row: Mapping[str, Any], side: str) -> str:
    ip, port = row[f"{side}_ip"], row[f"{side}_port"]
    named = row[f"{side}_named_name"] or row[f"{side}_named_name_prefix"]
    return f"{ip or named or '?'}:{port if port is not None else '-'}"


def _until(holder: Mapping[str, Any]) -> str:
    if holder["valid_to"] is None:
        return ""
    if holder["valid_to"].year == 9999:
        return f"last vouched for {instant(holder['known_until'])}"
    return f"until {instant(holder['valid_to'])}"


def _ports(rule: Mapping[str, Any]) -> str:
    if rule["port_lo"] is None:
        return f"any/{rule['protocol'] or 'any'}"
    ports = str(rule["port_lo"]) if rule["port_lo"] == rule["port_hi"] else f"{rule['port_lo']}-{rule['port_hi']}"
    return f"{ports}/{rule['protocol'] or 'any'}"
