"""What is wrong with a model that loads: names without pods, edges said twice, what it leaves unsaid."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized

from vzflow.flow.errors import Place
from vzflow.flow.finding import LintFinding
from vzflow.flow.terms import LintCode, RuleStatus
from vzflow.model.rules import Component, Model, Rule
from vzflow.model.shapes import ANY_VALUE, PortRange

_WEBHOOK = re.compile(r"\bweb-?hooks?\b", re.IGNORECASE)
#: Initiators of documented rules that name nobody in particular; other classes are what the format has them for.
_CLASSES = frozenset({"any", "pod"})
#: Responders without a sidecar whatever runs there: nobody misses the transport of a rule about them.
_NO_PODS = frozenset({"node", "api_server", "external"})
_MOST_IDS = 6

#: Where a finding is put, what it is, and its sentence.
_Found = tuple[Place, LintCode, str]
#: One edge that a rule allows: initiator, responder, protocol, ports.
_Edge = tuple[str, str, str, PortRange]


def findings(model: Model) -> list[LintFinding]:
    """Return everything that is wrong with *model*, in order; columns are those of the lines' first words."""
    found = [one for check in _CHECKS for one in check(model)]
    return placed(model, found)


def placed(model: Model, found: Iterable[_Found]) -> list[LintFinding]:
    """Give findings the columns of their places in the model's files."""
    texts = {name: text.splitlines() for name, text in model.sources}
    return sorted({_placed(texts, *one) for one in found})


def _placed(texts: Mapping[str, list[str]], place: Place, code: LintCode, what: str) -> LintFinding:
    line = place.record or 1
    lines = texts.get(place.path, [])
    text = lines[line - 1] if line <= len(lines) else ""
    return LintFinding(place.path, line, len(text) - len(text.lstrip(" -")) + 1, code, what)


def _pods_unknown(model: Model) -> Iterator[_Found]:
    used = _rules_by_term(model)
    for component in model.components:
        if not component.namespaces:
            ids = _ids(used.get(f"component:{component.name}", []))
            yield component.place, LintCode.PODS_UNKNOWN, f"nothing says which pods `{component.name}` is ({ids})"


def _undeclared(model: Model) -> Iterator[_Found]:
    open_ = [key for key, said in (("mesh", model.mesh), ("trust_domains", model.trust_domains)) if not said]
    if open_:
        what = f"no file states {' and '.join(f'`{key}`' for key in open_)}"
        yield Place(model.sources[0][0], 1), LintCode.UNDECLARED, what


def _never_used(model: Model) -> Iterator[_Found]:
    used = set(_rules_by_term(model))
    for component in model.components:
        if not component.in_scope and f"component:{component.name}" not in used:
            yield component.place, LintCode.NEVER_USED, f"no rule names the peer `{component.name}`"


def _edges(model: Model) -> Iterator[_Found]:
    """Edges that two rules allow; ports are compared as ranges, so one may lie in the other."""
    groups: dict[tuple[str, str, str], list[tuple[PortRange, Rule]]] = {}
    for rule in _live(model):
        for initiator, responder, protocol, ports in _edges_of(rule):
            if ports.port_class is None:
                groups.setdefault((initiator, responder, protocol), []).append((ports, rule))
    told: set[tuple[str, str]] = set()
    for edge, said in groups.items():
        for (ports, earlier), (others, later) in _overlapping(said):
            if earlier is not later and (earlier.id, later.id) not in told:
                told.add((earlier.id, later.id))
                yield from _clash(edge, (ports, earlier), (others, later))


def _overlapping(said: list[tuple[PortRange, Rule]]) -> Iterator[tuple[tuple[PortRange, Rule], tuple[PortRange, Rule]]]:
    for number, (ports, earlier) in enumerate(said):
        for others, later in said[number + 1 :]:
            if (ports.lo or 0) <= (others.hi or 65_535) and (others.lo or 0) <= (ports.hi or 65_535):
                yield (ports, earlier), (others, later)


def _clash(
    edge: tuple[str, str, str], first: tuple[PortRange, Rule], second: tuple[PortRange, Rule]
) -> Iterator[_Found]:
    (ports, earlier), (others, later) = first, second
    text = f"{_bare(edge[0])} to {_bare(edge[1])}:{_port(others)}"
    stated = {earlier.transport, later.transport} - {"unspecified"}
    if len(stated) > 1:
        what = f"{later.id} says {later.transport}, {earlier.id} says {earlier.transport}: {text}"
        yield later.place, LintCode.CONTRADICTION, what
    elif ports == others:
        yield later.place, LintCode.DUPLICATE, f"{later.id} allows again what {earlier.id} allows: {text}"


def _webhooks(model: Model) -> Iterator[_Found]:
    names = {c.name for c in model.components}
    covered = {term for rule in _live(model) for term in _responders(rule)}
    for rule in _live(model):
        if rule.kind is not RuleStatus.DOCUMENTED or not _WEBHOOK.search(f"{rule.says} {rule.quote or ''}"):
            continue
        initiators = {term for grant in rule.grants for term in grant.from_terms}
        responders = set(map(_bare, _responders(rule)))
        if not initiators & {"api_server", "any"}:
            callers = ", ".join(sorted(map(_bare, initiators)))
            yield rule.place, LintCode.WEBHOOK_SOURCE, f"{rule.id} is a webhook and names {callers} as its caller"
        other = next((f"{n}-webhook" for n in sorted(responders) if f"{n}-webhook" in names - responders), None)
        if other is not None:
            amended = f"component:{other}" in covered
            what = f"{rule.id} is a webhook, and the pod that serves it is {other}"
            yield rule.place, LintCode.WEBHOOK_POD, what + (", which another rule allows" if amended else "")


def _classes(model: Model) -> Iterator[_Found]:
    for rule in _live(model):
        terms = [t for grant in rule.grants for t in grant.from_terms if t in _CLASSES or t.startswith("namespace:")]
        if terms and rule.kind in (RuleStatus.DOCUMENTED, RuleStatus.ACCEPTED):
            what = f"{rule.id} allows a class of peers: {', '.join(dict.fromkeys(terms))}"
            yield rule.place, LintCode.CLASS_AS_SOURCE, what


def _unsaid(model: Model) -> Iterator[_Found]:
    outside = {f"component:{c.name}" for c in model.components if not c.in_scope and c.mesh == "no"} | _NO_PODS
    open_rules = [r for r in _live(model) if r.transport == "unspecified" and r.grants and model.mesh != "off"]
    open_rules = [r for r in open_rules if not _responders(r) <= outside]
    if open_rules:
        what = f"the transport of {_count(open_rules, 'rule')} is unspecified: {_ids(r.id for r in open_rules)}"
        yield open_rules[0].place, LintCode.TRANSPORT_UNSTATED, what
    silent = [c for c in model.components if c.in_scope and c.egress == "unmodelled"]
    if silent:
        what = f"the egress of {_count(silent, 'component')} is not modelled: {_ids(c.name for c in silent)}"
        yield silent[0].place, LintCode.EGRESS_UNSTATED, what
    if not any(rule.kind is RuleStatus.INFRASTRUCTURE for rule in model.rules):
        yield Place(model.sources[0][0], 1), LintCode.NO_INFRASTRUCTURE, "no rule is about probes, DNS or sidecars"


def _expired(model: Model) -> Iterator[_Found]:
    for rule in model.rules:
        if rule.expired:
            what = f"{rule.id} of {rule.owner} expired after {rule.expires}"
            yield rule.place, LintCode.EXPIRED, what


def _same_pods(model: Model) -> Iterator[_Found]:
    """Components whose every alternative is met by all pods of an alternative of another, or is the same."""
    scoped = [c for c in model.components if c.in_scope and c.namespaces]
    for number, component in enumerate(scoped):
        for other in scoped[:number]:
            inner, outer = (other, component) if _within(other, component) else (component, other)
            if _within(inner, outer):
                what = f"every pod of `{inner.name}` is one of `{outer.name}` too"
                yield component.place, LintCode.SAME_PODS, what


def _within(inner: Component, outer: Component) -> bool:
    if not (ANY_VALUE in outer.namespaces or set(inner.namespaces) <= set(outer.namespaces)):
        return False
    wide = [dict(labels) for labels in outer.selectors or ((),)]
    return all(
        any(_met(dict(labels), wanted) for wanted in wide) for labels in inner.selectors or ((),)
    )  # fmt: skip


def _met(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(key in labels and value in (labels[key], ANY_VALUE) for key, value in wanted.items())


def _not_protected(model: Model) -> Iterator[_Found]:
    told: set[str] = set()
    for component in model.components:
        for namespace in component.namespaces:
            loose = component.in_scope and namespace not in {*model.protected_namespaces, ANY_VALUE, *told}
            if loose:
                told.add(namespace)
                what = f"namespace {namespace} of `{component.name}` is not protected"
                yield component.place, LintCode.NOT_PROTECTED, what


_CHECKS: tuple[Callable[[Model], Iterator[_Found]], ...] = (
    _undeclared, _pods_unknown, _never_used, _edges, _webhooks, _classes, _unsaid, _expired, _same_pods, _not_protected,
)  # fmt: skip


def _live(model: Model) -> list[Rule]:
    return [rule for rule in model.rules if not rule.expired and rule.revoked_by is None]


def _responders(rule: Rule) -> set[str]:
    return {term for grant in rule.grants for term in grant.to_terms}


def _rules_by_term(model: Model) -> dict[str, list[str]]:
    used: dict[str, list[str]] = {}
    for rule in model.rules:
        for grant in rule.grants:
            for term in dict.fromkeys((*grant.from_terms, *grant.to_terms)):
                used.setdefault(term, []).append(rule.id)
    return used


def _count(found: Sized, noun: str) -> str:
    return f"{len(found)} {noun}{'' if len(found) == 1 else 's'}"


def _edges_of(rule: Rule) -> Iterator[_Edge]:
    for grant in rule.grants:
        for initiator in grant.from_terms:
            for responder in grant.to_terms:
                for protocol in rule.protocols:
                    for ports in rule.ports:
                        yield initiator, responder, protocol, ports


def _bare(term: str) -> str:
    return term.removeprefix("component:")


def _port(ports: PortRange) -> str:
    if ports.lo is None:
        return "any"
    return f"{ports.lo}" if ports.lo == ports.hi else f"{ports.lo}-{ports.hi}"


def _ids(ids: Iterable[str]) -> str:
    listed = list(dict.fromkeys(ids))
    shown = ", ".join(listed[:_MOST_IDS]) + (f" and {len(listed) - _MOST_IDS} more" if len(listed) > _MOST_IDS else "")
    return shown or "in no rule"
