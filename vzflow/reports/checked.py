"""What the model says of a flow that was not seen, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vzflow.reports.plain import aligned, coloured

_COLOURS = {"plaintext": "critical", "unexpected": "high", "unknown": "medium", "expected": "good"}


def render(found: Mapping[str, Any], *, colour: bool = False) -> str:
    """Return *found* (`pipeline.supposed.check`) as text that ends in a newline."""
    return "".join(f"{line}\n" for line in _lines(found, colour))


def _lines(found: Mapping[str, Any], colour: bool) -> Iterator[str]:
    port = f"{found['port']}" if found["protocol"] == "tcp" else f"{found['port']}/{found['protocol']}"
    yield coloured(f"{found['initiator']} > {found['responder']}:{port}", "bold", on=colour)
    for side in found["made_up"]:
        yield f"  no snapshot knows a pod of the {side}: one as the model describes it is supposed"
    rows = [
        (f"if {a['if']}", a["verdict"], a["reason"], a["rule_id"], a["rule_status"], a["transport_status"])
        for a in found["answers"]
    ]
    for answer, line in zip(found["answers"], aligned(rows), strict=True):
        yield coloured(line, _COLOURS.get(answer["verdict"], "dim"), on=colour)
    for rule in found["rules"]:
        revoked = f", revoked by {rule['revoked_by']}" if rule["revoked_by"] else ""
        yield f"  rule {rule['rule_id']} {rule['kind']}, {rule['transport']}{revoked}: {' '.join(rule['says'].split())}"
    if not found["rules"] and found["near"]:
        near = sorted({rule["rule_id"] for rule in found["near"]})
        yield f"  rules of the responder that do not fit: {', '.join(near)}"
