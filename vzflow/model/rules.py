"""What a model says once its files are laid over each other: components, rules, and the tables queries join."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pyarrow as pa

from vzflow.flow.errors import Place
from vzflow.flow.lookups import MODEL
from vzflow.flow.terms import RuleStatus
from vzflow.model.shapes import ANY_VALUE, PortRange


@dataclass(frozen=True)
class Component:
    """
    Pods that belong together; in_scope is False for a peer, whose flows are not judged.

    selectors: alternatives, each a tuple of (label, value) that must all match; ANY_VALUE matches every value, and as a
    namespace every namespace; without a namespace it is not known which pods they are, and none is. mesh is None where
    no file says it. place: where it is named first.
    """

    name: str
    in_scope: bool
    namespaces: tuple[str, ...]
    selectors: tuple[tuple[tuple[str, str], ...], ...]
    mesh: str | None
    egress: str
    says: str | None
    place: Place


@dataclass(frozen=True)
class Grant:
    """Every initiator term may reach every responder term. Terms are those of `lookups.MODEL["rule_grant"]`."""

    from_terms: tuple[str, ...]
    to_terms: tuple[str, ...]


@dataclass(frozen=True)
class Rule:
    """
    One rule as it holds on the model's day.

    says: the document's row for a documented rule, else what it is for. model: the name of the file it is from.
    transport: what is required after `mesh: off` was applied. revoked_by: id of the amendment that revokes it.
    expired: an accepted edge whose last day is past on the day `on`; what it allowed until then, it allowed.
    """

    id: str
    kind: RuleStatus
    says: str
    quote: str | None
    note: str | None
    source: str | None
    model: str
    place: Place
    grants: tuple[Grant, ...]
    ports: tuple[PortRange, ...]
    protocols: tuple[str, ...]
    transport: str
    transport_provenance: str | None
    revokes: tuple[str, ...] = ()
    revoked_by: str | None = None
    owner: str | None = None
    reason: str | None = None
    expires: date | None = None
    expired: bool = False


@dataclass(frozen=True)
class Model:
    """
    One or several files as one model, as it holds on the day `on`.

    sources: (name, text) of every file, in order; `load_texts` makes the same model of them. mesh: on or off; None in a
    draft that does not say it, and trust_domains is empty in one that names none.
    """

    names: tuple[str, ...]
    sources: tuple[tuple[str, str], ...] = field(repr=False)
    on: date
    mesh: str | None
    trust_domains: tuple[str, ...]
    protected_namespaces: tuple[str, ...]
    components: tuple[Component, ...]
    rules: tuple[Rule, ...]
    #: (name, address range as 10.0.0.0/24): what rules call `range:NAME`.
    ranges: tuple[tuple[str, str], ...] = ()
    #: (word, the terms it stands for, where it is defined)
    aliases: tuple[tuple[str, tuple[str, ...], Place], ...] = ()

    def tables(self) -> dict[str, pa.Table]:
        """Return the lookup tables, each with its schema of MODEL. What a flow is allowed is asked as of its time."""
        rows = {
            "component": [_component_row(c) for c in self.components],
            "selector": [row for c in self.components for row in _selector_rows(c)],
            "protected_namespace": [{"namespace": n} for n in self.protected_namespaces],
            "trust_domain": [{"trust_domain": d} for d in self.trust_domains],
            "rule": [_rule_row(r) for r in self.rules],
            "rule_grant": [row for r in self.rules for row in _grant_rows(r)],
        }
        return {name: pa.Table.from_pylist(rows[name], schema=schema) for name, schema in MODEL.items()}

    @property
    def digest(self) -> str:
        """
        64 hex digits that change when, and only when, some flow could be judged differently.

        Wording, comments, sources and the order of anything do not count; rule ids do, for verdicts name them.
        """
        meaning = {
            "components": sorted(
                [c.name, c.in_scope, c.mesh or "", c.egress, sorted({json.dumps(a) for a in _alternatives(c)})]
                for c in self.components
            ),
            "protected": sorted(set(self.protected_namespaces)),
            "trust": sorted(set(self.trust_domains)),
            "ranges": sorted(set(self.ranges)),
            "rules": sorted(
                [r.id, r.kind, r.transport, r.revoked_by or "", sorted({json.dumps(g) for g in _grant_rows(r)})]
                + [str(r.expires)] * (r.expires is not None)
                for r in self.rules
            ),
        }
        return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()


def _alternatives(component: Component) -> list[tuple[str | None, list[tuple[str, str | None]]]]:
    """Spell a component out as (namespace, labels); None is any namespace, or any value of a label."""
    return [
        (_or_any(namespace), [(key, _or_any(value)) for key, value in labels])
        for namespace in component.namespaces
        for labels in component.selectors or ((),)
    ]


def _or_any(text: str) -> str | None:
    return None if text == ANY_VALUE else text


def _component_row(component: Component) -> dict[str, Any]:
    return {
        "component": component.name,
        "in_scope": component.in_scope,
        "mesh": component.mesh,
        "egress": component.egress,
    }


def _selector_rows(component: Component) -> Iterable[dict[str, Any]]:
    for number, (namespace, labels) in enumerate(_alternatives(component), start=1):
        keyed: Sequence[tuple[str | None, str | None]] = labels or [(None, None)]
        for key, value in keyed:
            yield {
                "component": component.name,
                "alternative": number,
                "namespace": namespace,
                "key": key,
                "value": value,
                "keys": len(labels),
            }


def _rule_row(rule: Rule) -> dict[str, Any]:
    return {
        "rule_id": rule.id,
        "kind": rule.kind.value,
        "transport": rule.transport,
        "transport_provenance": rule.transport_provenance,
        "says": rule.says,
        "source": rule.source,
        "model": rule.model,
        "revoked_by": rule.revoked_by,
        "expires": _day_after(rule.expires),
    }


def _day_after(day: date | None) -> datetime | None:
    """Return when the day is over, UTC; null for the calendar's last."""
    if day is None or day == date.max:
        return None
    return datetime.combine(day + timedelta(days=1), time(), UTC)


def _grant_rows(rule: Rule) -> list[dict[str, Any]]:
    spelled = dict.fromkeys(
        (from_term, to_term, protocol, ports)
        for grant in rule.grants
        for from_term in grant.from_terms
        for to_term in grant.to_terms
        for protocol in rule.protocols
        for ports in rule.ports
    )
    return [
        {
            "rule_id": rule.id,
            "from_term": from_term,
            "to_term": to_term,
            "protocol": protocol,
            "port_lo": ports.lo,
            "port_hi": ports.hi,
            "port_class": ports.port_class,
        }
        for from_term, to_term, protocol, ports in spelled
    ]
