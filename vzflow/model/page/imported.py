"""A document -> a model file: one rule per row, each of its sources an edge of its own, and nothing invented."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from vzflow.flow.errors import Place, UnreadableInput
from vzflow.model.page import columns as column
from vzflow.model.page.document import Document, Section, document
from vzflow.model.page.entries import Entry, Trouble, entries
from vzflow.model.page.names import Meaning, Names, made_name
from vzflow.model.page.source import Source
from vzflow.model.rules import Component, Model

#: Characters of a row that are quoted.
_LONGEST_QUOTE = 1000
#: Sentences of prose that are quoted.
_MOST_PROSE = 20
#: Texts that YAML needs no quotes for, whatever their meaning: the format reads every scalar as text.
_PLAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._/-]*[A-Za-z0-9._/-])?")
_NULLS = frozenset({"null", "Null", "NULL"})


@dataclass(frozen=True)
class Imported:
    """
    A document as read: every row is an entry, or a trouble that says `lost`.

    mesh and trust_domains are declared and never inferred: None and empty where nobody has.
    """

    document: Document
    names: Names
    entries: tuple[Entry, ...]
    troubles: tuple[Trouble, ...]
    mesh: str | None
    trust_domains: tuple[str, ...]

    @property
    def rows(self) -> int:
        """How many rows there are, read or not."""
        return len(self.entries) + sum(trouble.lost for trouble in self.troubles)

    @property
    def undeclared(self) -> list[str]:
        """The keys that the model file must still be given before it judges."""
        return [key for key, said in (("mesh", self.mesh), ("trust_domains", self.trust_domains)) if not said]

    def to(self, entry: Entry) -> Meaning:
        """Return what the component of a row stands for."""
        return self.names.of(entry.component.text)

    def sources(self, entry: Entry) -> list[Meaning]:
        """Return what each source of a row stands for."""
        return [self.names.of_source(word.text, self.to(entry)) for word in entry.sources]

    def unknown_names(self) -> list[str]:
        """Return the names of the model file whose pods neither the document nor a model tells, sorted."""
        meanings = [m for entry in self.entries for m in (self.to(entry), *self.sources(entry))]
        return sorted({word for meaning in meanings if meaning.kind == "unknown" for word in meaning.words})


def imported(
    source: Source, model: Model | None = None, *, mesh: str | None = None, trust_domains: Sequence[str] = ()
) -> Imported:
    """
    Read the tables of a document that tell who may reach whom.

    Args:
        source: See `source.read`.
        model: Knows names: what its components and aliases are called. Its rules are not used.
        mesh: on or off, as declared for the cluster; None is what *model* says, if it does.
        trust_domains: The mesh's; none is as for *mesh*.

    Raises:
        UnreadableInput: There is no such table.
    """
    found = document(source)
    tables = found.tables
    if not tables:
        do = "Its header must name a component, a pod port and a source: Component | Pod Port | From."
        raise UnreadableInput("no table says who may reach whom on which port", at=Place(source.path), do=do)
    names = Names(model, _listed(tables))
    results = list(entries(tables, names.is_name))
    return Imported(
        found, names,
        tuple(r for r in results if isinstance(r, Entry)), tuple(r for r in results if isinstance(r, Trouble)),
        mesh or (model.mesh if model else None), tuple(trust_domains) or (model.trust_domains if model else ()),
    )  # fmt: skip


def _listed(tables: Iterable[Section]) -> Iterator[str]:
    """Yield the names in the component columns, also those of rows that are not read."""
    for section in tables:
        at = section.columns.get(column.COMPONENT)
        if at is not None:
            yield from (row.cells[at].text for row in section.table.rows if at < len(row.cells))
        elif section.heading is not None:
            yield section.heading.text


def as_yaml(read: Imported) -> str:
    """Return a model file in the form of `docs/model.md`; it loads by itself (a draft if so) and as an overlay."""
    blocks = [_head(read), _settings(read), _components(read), _rules(read)]
    return "\n".join("".join(f"{line}\n" for line in block) for block in blocks if block)


def _head(read: Imported) -> list[str]:
    name = _file_name(read)
    lines = [
        f"# Imported from {_comment(name)}: {len(read.entries)} of {read.rows} rows are rules here.",
        "# The document's words are in `quote`. What it does not say stays unspecified: `vzflow model lint` lists it.",
    ]
    prose = read.document.prose[:_MOST_PROSE]
    if prose:
        lines += ["#", "# Its prose says, and no rule is made of that:"]
        lines += [f"#   line {number}: {_comment(text)}" for number, text in prose]
    lines += ["", "vzflow_model: 1", f"name: {made_name(Path(name).stem)}", f"document: {_scalar(name)}"]
    return lines


def _settings(read: Imported) -> list[str]:
    model, domains = read.names.model, read.trust_domains
    lines: list[str] = []
    if read.undeclared:
        lines.append("# To be stated, here or in an overlay; until then no flow is judged by this model:")
    lines.append(f"mesh: {read.mesh}" if read.mesh else "#mesh: on  # or off")
    lines.append(
        f"trust_domains: {_list(domains)}" if domains else "#trust_domains: [cluster.local]  # or the mesh's own"
    )
    if model is not None and model.protected_namespaces:
        lines.append(f"protected_namespaces: {_list(model.protected_namespaces)}")
    return lines


def _components(read: Imported) -> list[str]:
    """Components as the model has them; a name that only sources use is a peer, for no row says who may reach it."""
    known = read.names.model.components if read.names.model is not None else ()
    responders = {w: e.component.text for e in read.entries for w in read.to(e).words if read.to(e).kind == "unknown"}
    initiators = {
        word: named.text
        for entry in read.entries
        for named, meaning in zip(entry.sources, read.sources(entry), strict=True)
        if meaning.kind == "unknown"
        for word in meaning.words
    }
    lines: list[str] = []
    for section, in_scope, new in (
        ("components", True, responders),
        ("peers", False, {n: w for n, w in initiators.items() if n not in responders}),
    ):
        mine = [c for c in known if c.in_scope is in_scope]
        if mine or new:
            lines.append(f"{section}:")
            lines += [line for component in mine for line in _component(component)]
            lines += [line for name, word in sorted(new.items()) for line in _unknown(name, word)]
    if read.names.model is not None and read.names.model.ranges:
        lines.append("ranges:")
        blocks: dict[str, list[str]] = {}
        for name, block in read.names.model.ranges:
            blocks.setdefault(name, []).append(block)
        lines += [f"  {_scalar(name)}: {_list(each)}" for name, each in blocks.items()]
    return lines


def _component(component: Component) -> Iterator[str]:
    yield f"  {_scalar(component.name)}:"
    if component.says:
        yield f"    says: {_scalar(component.says)}"
    if not component.namespaces:
        yield "    pods: unknown"
        return
    yield f"    namespaces: {_list(component.namespaces)}"
    if component.selectors:
        selectors = ("{" + ", ".join(f"{_scalar(k)}: {_scalar(v)}" for k, v in s) + "}" for s in component.selectors)
        yield f"    selectors: [{', '.join(selectors)}]"
    if component.mesh:
        yield f"    mesh: {component.mesh}"
    if component.in_scope and component.egress != "unmodelled":
        yield f"    egress: {component.egress}"


def _unknown(name: str, word: str) -> Iterator[str]:
    yield f"  {_scalar(name)}:"
    yield f"    says: {_scalar(_cut(f'The document calls it {word}.'))}"
    yield "    pods: unknown"


def _rules(read: Imported) -> list[str]:
    if not read.entries:
        return []
    lines = ["rules:"]
    for entry in read.entries:
        sources = read.sources(entry)
        words = dict.fromkeys(word for meaning in sources for word in meaning.words)
        lines += [
            f"  - id: {entry.id}",
            f"    quote: {_scalar(_cut(entry.row.quote))}",
            f"    source: {_scalar(f'{_file_name(read)}, line {entry.row.line}')}",
            f"    to: {_some(read.to(entry).words)}",
            f"    port: {_some(entry.ports)}",
            *([] if entry.protocols == ("tcp",) else [f"    protocol: {_some(entry.protocols)}"]),
            f"    from: {_some(list(words))}",
            f"    transport: {entry.transport}",
            *(["    transport_provenance: row"] if entry.transport != "unspecified" else []),
        ]
        own = [w.text for w, m in zip(entry.sources, sources, strict=True) if m.kind == "own"]
        if own:
            lines.append(f"    note: {_scalar(f'{own[0]} is read as the pods of the component itself.')}")
    return lines


def _file_name(read: Imported) -> str:
    return Path(read.document.source.path).name or "document"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]} …"


def _comment(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in _cut(text))


def _some(words: Sequence[str]) -> str:
    return _scalar(words[0]) if len(words) == 1 else _list(words)


def _list(words: Iterable[str]) -> str:
    return f"[{', '.join(map(_scalar, words))}]"


def _scalar(text: str) -> str:
    """Return text as one YAML scalar on one line."""
    if _PLAIN.fullmatch(text) and text not in _NULLS:
        return text
    if text.isascii() and text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    shown: str = yaml.safe_dump(text, default_style='"', allow_unicode=False, width=10**9)
    return shown.strip()
