"""What is wrong with what a document says: words that name nobody, rows that contradict, what is left unsaid."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from vzflow.flow.finding import LintFinding
from vzflow.flow.terms import LintCode
from vzflow.model.page import columns as column
from vzflow.model.page.entries import Entry, Word, cut
from vzflow.model.page.imported import Imported
from vzflow.model.page.layout import layout_findings
from vzflow.model.page.names import Meaning, folded
from vzflow.model.shapes import nearest

WEBHOOK = re.compile(r"\bweb-?hooks?\b", re.IGNORECASE)
_PROXY = re.compile(r"\bproxy\b", re.IGNORECASE)
#: What people or clients outside of the cluster come for: no such pod is a webhook by its main purpose.
_PUBLIC = re.compile(r"\b(?:external|ingress|browsers?|users?)\b", re.IGNORECASE)
_OUTWARD = re.compile(r"\b(?:egress|outbound|outgoing)\b", re.IGNORECASE)
#: Ports of every Istio sidecar: they are at all components alike. Source: istio.io, "Ports used by Istio".
SIDECAR_PORTS = frozenset({"15000", "15001", "15006", "15020", "15021", "15090"})
_MOST_LISTED = 6
#: Edges that are compared, and words among which one that was probably meant is looked for: a page has far fewer.
_MOST_EDGES = 500_000
_MOST_WORDS, _LONGEST_WORD = 200, 100


def findings(read: Imported) -> list[LintFinding]:
    """Return everything that is wrong with a document, in order."""
    path = read.document.source.path
    found = list(layout_findings(read.document))
    found += [LintFinding(path, t.line, t.column, t.code, t.message) for t in read.troubles]
    for check in (_sources, _words, _components, _edges, _webhooks, _proxy_ports, _unsaid, _spellings):
        found += [LintFinding(path, line, at, code, what) for line, at, code, what in check(read)]
    return sorted(set(found))


#: line, column, code, message
_Found = tuple[int, int, LintCode, str]


def _sources(read: Imported) -> Iterator[_Found]:
    for entry in read.entries:
        if len(entry.sources) > 1:
            what = f"{entry.id} names {len(entry.sources)} sources in one cell: {_shown(entry)}"
            yield entry.source_cell.line, entry.source_cell.column, LintCode.SEVERAL_SOURCES, what


def _words(read: Imported) -> Iterator[_Found]:
    """Sources that are no component, each word once, at its first place."""
    known = list(dict.fromkeys([*(e.component.text for e in read.entries), *read.names.known_words()]))
    uses: dict[str, list[tuple[Entry, Word, Meaning]]] = {}
    for entry in read.entries:
        for word, meaning in zip(entry.sources, read.sources(entry), strict=True):
            uses.setdefault(folded(word.text), []).append((entry, word, meaning))
    for same in uses.values():
        _, word, meaning = same[0]
        ids = _some(entry.id for entry, _, _ in same)
        if meaning.kind == "class":
            what = f"`{word.shown}` ({ids}) is no component but a class: {_some(meaning.words)}"
            yield word.line, word.column, LintCode.CLASS_AS_SOURCE, what
        elif meaning.kind == "own":
            what = f"`{word.shown}` ({ids}) is no component; it is read as the component's own pods"
            yield word.line, word.column, LintCode.CLASS_AS_SOURCE, what
        elif meaning.kind == "unknown" and not read.names.is_listed(word.text):
            what = f"`{word.shown}` ({ids}) is no component of the document{_or_model(read)}{_meant(word.text, known)}"
            yield word.line, word.column, LintCode.SOURCE_UNKNOWN, what


def _components(read: Imported) -> Iterator[_Found]:
    if read.names.model is None:
        return
    first: dict[str, list[Entry]] = {}
    for entry in read.entries:
        if read.to(entry).kind == "unknown":
            first.setdefault(folded(entry.component.text), []).append(entry)
    for same in first.values():
        word = same[0].component
        what = f"no model given knows `{word.shown}` ({_some(e.id for e in same)})"
        yield word.line, word.column, LintCode.COMPONENT_UNKNOWN, what


def _edges(read: Imported) -> Iterator[_Found]:
    """Edges that two rows give; which one holds is open where their transports differ."""
    seen: dict[tuple[str, str, str, str], Entry] = {}
    for entry in read.entries:
        if len(seen) > _MOST_EDGES:
            return
        clashes: dict[str, tuple[Entry, str]] = {}
        for edge in _edges_of(read, entry):
            earlier = seen.setdefault(edge, entry)
            if earlier is not entry:
                clashes.setdefault(earlier.id, (earlier, f"{edge[3]} to {edge[0]}:{edge[1]}"))
        for earlier, edge_text in clashes.values():
            stated = {earlier.transport, entry.transport} - {"unspecified"}
            code = LintCode.CONTRADICTION if len(stated) > 1 else LintCode.DUPLICATE
            what = f"{entry.id} says again what {earlier.id} says on line {earlier.row.line}: {edge_text}"
            if len(stated) > 1:
                what = f"{entry.id} says {entry.transport}, {earlier.id} says {earlier.transport}: {edge_text}"
            yield entry.row.line, entry.row.column, code, what


def _edges_of(read: Imported, entry: Entry) -> Iterator[tuple[str, str, str, str]]:
    sources = dict.fromkeys(word for meaning in read.sources(entry) for word in meaning.words)
    for to in read.to(entry).words:
        for port in entry.ports:
            for protocol in entry.protocols:
                for source in sources:
                    yield to, port, protocol, source


def _webhooks(read: Imported) -> Iterator[_Found]:
    public: dict[str, Entry] = {}
    for entry in read.entries:
        if _PUBLIC.search(f"{entry.description} {_words_of(entry)}") and not WEBHOOK.search(entry.description):
            public.setdefault(folded(entry.component.text), entry)
    for entry in read.entries:
        if not WEBHOOK.search(entry.description):
            continue
        words = {word for meaning in read.sources(entry) for word in meaning.words}
        if not words & {"api_server", "any"}:
            what = f"{entry.id} is a webhook and names {_shown(entry)} as its caller"
            yield entry.source_cell.line, entry.source_cell.column, LintCode.WEBHOOK_SOURCE, what
        wrong = _wrong_pod(read, entry, public.get(folded(entry.component.text)))
        if wrong:
            yield entry.component.line, entry.component.column, LintCode.WEBHOOK_POD, f"{entry.id} {wrong}"


def _wrong_pod(read: Imported, entry: Entry, public: Entry | None) -> str | None:
    """Why another pod than the row's serves its webhook: the model has one for it, or the row's serves people."""
    meaning, model = read.to(entry), read.names.model
    if model is not None and meaning.kind == "component":
        names = {c.name for c in model.components}
        other = next((f"{w}-webhook" for w in meaning.words if f"{w}-webhook" in names - set(meaning.words)), None)
        return other and f"is a webhook of {entry.component.shown}: the model has its pod as {other}"
    if public is None:
        return None
    return (
        f"is a webhook at {entry.component.shown}, which serves outside clients too ({public.id}): "
        "webhooks mostly are pods of their own"
    )


def _proxy_ports(read: Imported) -> Iterator[_Found]:
    """A port that a proxy has, at another component and for the same source: what listens there may be a proxy too."""
    of_proxy: dict[tuple[str, str], Entry] = {}
    others: dict[tuple[str, str], list[Entry]] = {}
    for entry in read.entries:
        for port in entry.ports:
            if _PROXY.search(entry.component.text) and port not in SIDECAR_PORTS:
                for source in entry.sources:
                    of_proxy.setdefault((port, folded(source.text)), entry)
            elif not _PROXY.search(entry.component.text):
                others.setdefault((folded(entry.component.text), port), []).append(entry)
    for (_, port), same in others.items():
        sources = [folded(word.text) for entry in same for word in entry.sources]
        proxy = next((of_proxy[port, source] for source in sources if (port, source) in of_proxy), None)
        if proxy is not None:
            what = (
                f"port {port} of {same[0].component.shown} ({_some(e.id for e in same)}) "
                f"is also that of {proxy.component.shown} ({proxy.id}), for the same source"
            )
            yield same[0].row.line, same[0].row.column, LintCode.PROXY_PORT, what


def _unsaid(read: Imported) -> Iterator[_Found]:
    tables = read.document.tables
    for section in tables:
        header = section.table.header
        mine = [e for e in read.entries if e.section is section and e.transport == "unspecified"]
        if column.TRANSPORT not in section.columns:
            what = "no column says what protects the payload: every row's transport is unspecified"
            yield header.line, header.column, LintCode.TRANSPORT_UNSTATED, what
        elif mine:
            cell = header.cells[section.columns[column.TRANSPORT]]
            what = f"{len(mine)} rows do not state their transport: {_some(e.id for e in mine)}"
            yield cell.line, cell.column, LintCode.TRANSPORT_UNSTATED, what
    outward = (
        _OUTWARD.search(section.heading.text if section.heading else "")
        or any(_OUTWARD.search(cell.text) for cell in section.table.header.cells)
        for section in read.document.sections
    )
    if not any(outward):
        header = tables[0].table.header
        what = "no table is about egress: what components reach outside of these rows is not modelled"
        yield header.line, header.column, LintCode.EGRESS_UNSTATED, what


def _spellings(read: Imported) -> Iterator[_Found]:
    spelled: dict[str, dict[str, Word]] = {}
    for entry in read.entries:
        for word in (entry.component, *entry.sources):
            spelled.setdefault(folded(word.text), {}).setdefault(word.text, word)
    for ways in spelled.values():
        first, *others = ways.values()
        for other in others:
            yield (
                other.line,
                other.column,
                LintCode.SPELLING,
                f"`{other.shown}` is `{first.shown}` on line {first.line}",
            )


def _words_of(entry: Entry) -> str:
    return ", ".join(word.text for word in entry.sources)


def _shown(entry: Entry) -> str:
    return _some(word.shown for word in entry.sources)


def _or_model(read: Imported) -> str:
    return "" if read.names.model is None else " or the model"


def _meant(word: str, known: Sequence[str]) -> str:
    meant = nearest(word, known) if len(known) <= _MOST_WORDS and len(word) <= _LONGEST_WORD else None
    return f"; perhaps {cut(meant)} is meant" if meant and folded(meant) != folded(word) else ""


def _some(words: Iterable[str]) -> str:
    listed = list(dict.fromkeys(words))
    return ", ".join(listed[:_MOST_LISTED]) + (
        f" and {len(listed) - _MOST_LISTED} more" if len(listed) > _MOST_LISTED else ""
    )
