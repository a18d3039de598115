"""
The documented model: YAML files -> rules, checked, and compiled to the tables of `vzflow.flow.lookups.MODEL`.

Several files make one model, later ones laid over earlier ones:

- a component or peer named again takes the keys the later file gives and keeps the others;
- aliases, ranges, `mesh` and `trust_domains` are replaced, protected namespaces are added;
- rules are only added: an id is never used twice, and a rule goes away only by an amendment that revokes it;
- an accepted edge holds for flows up to and including the day it expires; later ones it allows nothing;
- an amendment that is itself revoked revokes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from vzflow.flow.errors import Place, UsageProblem
from vzflow.flow.terms import RuleStatus
from vzflow.model.rules import Component, Grant, Model, Rule
from vzflow.model.shapes import (
    ANY_VALUE,
    CLASSES,
    NAME,
    PREFIXES,
    AcceptedShape,
    AmendmentShape,
    ComponentShape,
    DocumentedShape,
    FileShape,
    PeerShape,
    PortRange,
    RuleShape,
    nearest,
)
from vzflow.model.strict_yaml import Route, Text, read, refused

__all__ = ["Component", "Grant", "Model", "Rule", "load", "load_texts", "shipped_models"]

_SHIPPED = Path(__file__).resolve().parent / "shipped"

#: The sections of rules in a file, in the order they are listed, and what kind of rule each holds.
_SECTIONS = {
    "rules": RuleStatus.DOCUMENTED,
    "infrastructure": RuleStatus.INFRASTRUCTURE,
    "amendments": RuleStatus.AMENDED,
    "accepted": RuleStatus.ACCEPTED,
}


def shipped_models() -> list[str]:
    """Return the names of the models that travel with vzflow."""
    return sorted(p.stem for p in _SHIPPED.glob("*.yaml"))


def load(paths: Sequence[str | Path], *, on: date, draft: bool = False) -> Model:
    """
    Read model files and lay the later ones over the earlier ones.

    Args:
        paths: Each a file, or the name of a shipped model.
        on: The day that accepted edges are compared with (UTC).
        draft: They may leave open whether the mesh is on and what its trust domains are. No flow is judged by such a
            model: neither is ever guessed, and both decide verdicts.

    Raises:
        UsageProblem: A file cannot be read, is not a model, or they make no sense together; names file and line.
    """
    return load_texts([(str(p), _text_of(p)) for p in paths], on=on, draft=draft)


def load_texts(texts: Sequence[tuple[str, str]], *, on: date, draft: bool = False) -> Model:
    """
    Make the model of texts already read, as (name for messages, YAML).

    Raises:
        UsageProblem: As for `load`.
    """
    if not texts:
        raise UsageProblem("no model is named", at="--model", do=f"Name a file, or one of {_shipped_list()}.")
    files = [_File.of(name, text) for name, text in texts]
    model = _Overlay(files, on).model()
    return model if draft else _judging(model, files[0])


def _judging(model: Model, first: _File) -> Model:
    if model.mesh is None:
        do = "Write `mesh: on` or `mesh: off`, here or in an overlay."
        raise first.problem("no file says whether the mesh is on", do)
    if not model.trust_domains:
        do = "Write `trust_domains: [cluster.local]`, or what the mesh's are, here or in an overlay."
        raise first.problem("no file names the mesh's trust domains", do)
    return model


def _shipped_list() -> str:
    return ", ".join(shipped_models())


def _text_of(path: str | Path) -> str:
    if isinstance(path, str) and path in shipped_models():
        return (_SHIPPED / f"{path}.yaml").read_text(encoding="utf-8")
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        do = f"Name a file, or a shipped model: {_shipped_list()}."
        raise UsageProblem("no such model", at=Place(str(path)), do=do) from error
    except (OSError, ValueError) as error:
        why = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else getattr(error, "strerror", error)
        what = f"cannot be read: {why}"
        raise UsageProblem(what, at=Place(str(path)), do="Name a readable YAML file.") from error


@dataclass(frozen=True)
class _File:
    text: str
    yaml: Text
    shape: FileShape

    @classmethod
    def of(cls, name: str, text: str) -> _File:
        parsed = read(text, name)
        try:
            return cls(text, parsed, FileShape.model_validate(parsed.value))
        except ValidationError as error:
            raise _first_problem(error, parsed) from None

    def problem(self, what: str, do: str, *route: str | int) -> UsageProblem:
        return refused(what, self.yaml.place(route), do)

    def rules(self) -> Iterable[tuple[Route, RuleShape]]:
        for section in _SECTIONS:
            shapes: Sequence[RuleShape] = getattr(self.shape, section)
            for index, shape in enumerate(shapes):
                yield (section, index), shape


def _first_problem(error: ValidationError, text: Text) -> UsageProblem:
    """Say in our words what pydantic found, for the problem that stands first in the file."""
    found = [_problem_of(details, text) for details in error.errors(include_url=False)]
    return min(found, key=lambda p: p.at.record or 0)


def _problem_of(details: Any, text: Text) -> UsageProblem:  # noqa: ANN401 - pydantic's error is a map of many shapes
    route: Route = details["loc"]
    context = details.get("ctx", {})
    name = next((f"`{step}`" for step in reversed(route) if isinstance(step, str)), "the file")
    if details["type"] == "model":
        return refused(context["what"], text.place((*route, *context["at"])), context["do"])
    if details["type"] == "missing":
        return refused(f"{name} is missing", text.place(route), "Add it.")
    if details["type"] == "literal_error":
        return refused(f"{name} is `{details['input']}`", text.place(route), f"Write {context['expected']}.")
    wanted = {"list_type": "a list", "dict_type": "a map", "model_type": "a map", "string_type": "text"}
    do = f"It must be {wanted[details['type']]}." if details["type"] in wanted else f"{details['msg']}."
    return refused(f"{name} has the wrong form", text.place(route), do)


class _Overlay:
    """Lays files over one another; the first problem is raised."""

    def __init__(self, files: Sequence[_File], on: date) -> None:
        self._files = files
        self._on = on
        self._shapes: dict[str, ComponentShape | PeerShape] = {}
        self._places: dict[str, Place] = {}
        self._aliases: dict[str, tuple[str, ...]] = {}
        self._rules: dict[str, Rule] = {}
        self._mesh = next((f.shape.mesh for f in reversed(files) if f.shape.mesh), None)
        self._trust = next((f.shape.trust_domains for f in reversed(files) if f.shape.trust_domains), ())

    def model(self) -> Model:
        for file in self._files:
            self._lay_pods(file)
        for file in self._files:
            self._check_aliases(file)
        for file in self._files:
            for route, shape in file.rules():
                self._add_rule(file, route, shape)
        ranges = {name: blocks for f in self._files for name, blocks in f.shape.ranges.items()}
        namespaces = dict.fromkeys(n for f in self._files for n in f.shape.protected_namespaces)
        return Model(
            names=tuple(f.shape.name for f in self._files),
            sources=tuple((f.yaml.path, f.text) for f in self._files),
            on=self._on,
            mesh=self._mesh,
            trust_domains=self._trust,
            protected_namespaces=tuple(namespaces),
            components=tuple(self._component(name, shape) for name, shape in self._shapes.items()),
            rules=tuple(_with_revocations(self._rules)),
            ranges=tuple((name, block) for name, blocks in ranges.items() for block in blocks),
            aliases=tuple(self._alias(word) for word in self._aliases),
        )

    def _lay_pods(self, file: _File) -> None:
        sections: dict[str, Mapping[str, PeerShape]] = {"components": file.shape.components, "peers": file.shape.peers}
        for section, shapes in sections.items():
            for name, shape in shapes.items():
                self._lay_pod(file, section, name, shape)
        self._aliases |= file.shape.aliases

    def _lay_pod(self, file: _File, section: str, name: str, shape: PeerShape) -> None:
        earlier = self._shapes.get(name, shape)
        if isinstance(earlier, ComponentShape) != isinstance(shape, ComponentShape):
            raise file.problem(f"`{name}` is both a component and a peer", "Choose another name.", section, name)
        merged = earlier.model_copy(update=shape.model_dump(exclude_unset=True))
        self._places.setdefault(name, file.yaml.place((section, name)))
        if shape.pods and (shape.namespaces or shape.selectors):
            raise file.problem(f"`{name}` says which pods it is, and `pods: unknown`", "Keep one.", section, name)
        if merged.namespaces is None and merged.pods and not merged.selectors:
            self._shapes[name] = merged
            return
        if merged.namespaces is None:
            raise file.problem(f"`{name}` has no namespaces", "Say where its pods run.", section, name)
        if ANY_VALUE in merged.namespaces and not merged.selectors:
            raise file.problem(f"`{name}` would be every pod", "Name a namespace or a label.", section, name)
        if isinstance(merged, ComponentShape) and merged.mesh is None:
            raise file.problem(f"`{name}` does not say `mesh`", "Write yes, no or gateway.", section, name)
        self._shapes[name] = merged

    def _component(self, name: str, shape: PeerShape) -> Component:
        mesh: str | None = shape.mesh
        if mesh == "yes" and self._mesh == "off":
            mesh = "no"
        return Component(
            name=name,
            in_scope=isinstance(shape, ComponentShape),
            namespaces=tuple(dict.fromkeys(shape.namespaces or ())),
            selectors=tuple(tuple(sorted(labels.items())) for labels in shape.selectors or ()),
            mesh=mesh,
            egress=(shape.egress if isinstance(shape, ComponentShape) else None) or "unmodelled",
            says=shape.says,
            place=self._places[name],
        )

    def _alias(self, word: str) -> tuple[str, tuple[str, ...], Place]:
        file = next(f for f in reversed(self._files) if word in f.shape.aliases)
        terms = dict.fromkeys(term for each in self._aliases[word] if (term := self._term(each)) is not None)
        return word, tuple(terms), file.yaml.place(("aliases", word))

    def _check_aliases(self, file: _File) -> None:
        for alias, words in file.shape.aliases.items():
            if alias in self._shapes or alias in CLASSES:
                raise file.problem(f"`{alias}` already means something in rules", "Choose another.", "aliases", alias)
            for index, word in enumerate(words):
                if self._term(word) is None:
                    raise self._unknown(file, word, ("aliases", alias, index))

    def _add_rule(self, file: _File, route: Route, shape: RuleShape) -> None:
        if (earlier := self._rules.get(shape.id)) is not None:
            do = "Give it another id; to replace a rule, revoke it in an amendment."
            raise file.problem(f"the rule id {shape.id} is already used at {earlier.place}", do, *route, "id")
        self._rules[shape.id] = self._rule(file, route, shape)

    def _rule(self, file: _File, route: Route, shape: RuleShape) -> Rule:
        transport, provenance = shape.transport, shape.transport_provenance or "author"
        if transport == "mtls" and self._mesh == "off":
            transport = "unspecified"  # without a mesh nothing can require it
        rule = Rule(
            id=shape.id,
            kind=_SECTIONS[str(route[0])],
            says=shape.says or "",
            quote=None,
            note=shape.note,
            source=shape.source or file.shape.document,
            model=file.shape.name,
            place=file.yaml.place((*route, "id")),
            grants=self._grants(file, route, shape),
            ports=shape.port or (PortRange(),),
            protocols=tuple(dict.fromkeys(shape.protocol)),
            transport=transport,
            transport_provenance=None if transport == "unspecified" else provenance,
        )
        if isinstance(shape, DocumentedShape):
            return replace(rule, quote=shape.quote, says=shape.quote or rule.says)
        if isinstance(shape, AmendmentShape):
            self._check_initiators(file, route, rule)
            return replace(rule, revokes=self._revokes(file, route, shape))
        if isinstance(shape, AcceptedShape):
            expired = self._on > shape.expires
            says = shape.says or shape.reason
            return replace(
                rule, says=says, owner=shape.owner, reason=shape.reason, expires=shape.expires, expired=expired
            )
        return rule

    def _check_initiators(self, file: _File, route: Route, rule: Rule) -> None:
        """A policy's breadth is never an amendment: design rule, so that no amendment can make everything green."""
        for term in (term for grant in rule.grants for term in grant.from_terms):
            if term in ("any", "pod") or term.startswith("namespace:"):
                what = f"amendment {rule.id} must name a concrete initiator, and `{term}` is none"
                do = "Name the component, or accept the edge with owner, reason and expires."
                raise file.problem(what, do, *route, "from")

    def _revokes(self, file: _File, route: Route, shape: AmendmentShape) -> tuple[str, ...]:
        for index, rule_id in enumerate(shape.revokes or ()):
            if rule_id not in self._rules:
                do = "Only a rule that comes before it can be revoked."
                where = (*route, "revokes", index)
                raise file.problem(f"{shape.id} revokes {rule_id}, and there is no such rule before it", do, *where)
        return tuple(dict.fromkeys(shape.revokes or ()))

    def _grants(self, file: _File, route: Route, shape: RuleShape) -> tuple[Grant, ...]:
        within = [(*route, "grants", i) if shape.grants else route for i in range(len(shape.allowed))]
        return tuple(
            Grant(
                from_terms=self._terms(file, grant.from_, (*where, "from")),
                to_terms=self._terms(file, grant.to, (*where, "to")),
            )
            for where, grant in zip(within, shape.allowed, strict=True)
        )

    def _terms(self, file: _File, words: Sequence[str], route: Route) -> tuple[str, ...]:
        terms: dict[str, None] = {}
        for index, word in enumerate(words):
            for each in self._aliases.get(word, (word,)):
                term = self._term(each)
                if term is None:
                    raise self._unknown(file, word, (*route, index))
                if term == "own_node" and route[-1] == "to":
                    what = "`own_node` can only be an initiator: it is the node that a responder runs on"
                    raise file.problem(what, "Write node.", *route, index)
                terms[term] = None
        return tuple(terms)

    def _term(self, word: str) -> str | None:
        prefix, _, rest = word.partition(":")
        if word in CLASSES or (prefix in PREFIXES and NAME.fullmatch(rest)):
            return word
        return f"component:{word}" if word in self._shapes else None

    def _unknown(self, file: _File, word: str, route: Route) -> UsageProblem:
        meant = nearest(word, [*self._shapes, *self._aliases, *CLASSES])
        words = ", ".join((*CLASSES, *(f"{prefix}:NAME" for prefix in PREFIXES)))
        do = f"Did you mean {meant}?" if meant else f"Define it under components, peers or aliases, or write {words}."
        return file.problem(f"no component, peer or alias is called {word}", do, *route)


def _with_revocations(rules: dict[str, Rule]) -> Iterable[Rule]:
    """Later amendments first, so that one that is itself revoked has no effect."""
    revoked: dict[str, str] = {}
    for rule in reversed(rules.values()):
        if rule.id not in revoked:
            for rule_id in rule.revokes:
                revoked.setdefault(rule_id, rule.id)
    return [replace(rule, revoked_by=revoked.get(rule.id)) for rule in rules.values()]
