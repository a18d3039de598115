"""The rules of a model as people read them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from vzflow.reports.plain import aligned


def render(tables: Mapping[str, pa.Table], names: Sequence[str], as_json: bool) -> str:
    """Return every rule of *tables* (`flow.lookups.MODEL`) with its grants, as text or as a JSON array."""
    rules = list(_rules(tables))
    if as_json:
        return json.dumps(rules, indent=2) + "\n"
    lines = [f"model {', '.join(names)}: {len(rules)} rules"]
    for kind in ("documented", "infrastructure", "amended", "accepted"):
        mine = [rule for rule in rules if rule["kind"] == kind]
        if mine:
            lines += ["", f"{kind.upper()} ({len(mine)})"]
            lines += aligned([_line(rule) for rule in mine])
    return "\n".join(lines) + "\n"


def _rules(tables: Mapping[str, pa.Table]) -> Iterator[dict[str, Any]]:
    grants: dict[str, list[dict[str, Any]]] = {}
    for grant in tables["rule_grant"].to_pylist():
        grants.setdefault(grant.pop("rule_id"), []).append(grant)
    for rule in tables["rule"].to_pylist():
        yield rule | {"grants": grants.get(rule["rule_id"], [])}


def _line(rule: Mapping[str, Any]) -> tuple[Any, ...]:
    grants = rule["grants"]
    initiators = ", ".join(sorted({_term(g["from_term"]) for g in grants}))
    responders = ", ".join(sorted({_term(g["to_term"]) for g in grants}))
    revoked = f"revoked by {rule['revoked_by']}" if rule["revoked_by"] else ""
    return (rule["rule_id"], f"{responders}:{_ports(grants)}", "<", initiators, rule["transport"], revoked)


def _term(term: str) -> str:
    return term.removeprefix("component:")


def _ports(grants: Sequence[Mapping[str, Any]]) -> str:
    def one(grant: Mapping[str, Any]) -> str:
        if grant["port_class"]:
            return str(grant["port_class"])
        if grant["port_lo"] is None:
            return "any"
        low, high = grant["port_lo"], grant["port_hi"]
        return str(low) if low == high else f"{low}-{high}"

    return ",".join(sorted({one(grant) for grant in grants}))
