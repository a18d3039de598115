"""A document as tables under headings, with what its layout hides."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from vzflow.model.page import markdown
from vzflow.model.page.columns import columns, tells_who_may_reach
from vzflow.model.page.markup import Markup
from vzflow.model.page.source import Source
from vzflow.model.page.table import Heading, Table

#: What makes a sentence worth quoting: it may state a transport or a policy.
_STATES = re.compile(r"\b(?:m?TLS|STRICT|PERMISSIVE|PeerAuthentication|NetworkPolic(?:y|ies)|encrypt\w*|plain ?text)\b")


@dataclass(frozen=True)
class Section:
    """A table and the heading above it. columns: meaning -> position, see `columns`."""

    table: Table
    heading: Heading | None
    columns: dict[str, int]

    @property
    def is_read(self) -> bool:
        """Whether it tells who may reach whom."""
        return tells_who_may_reach(self.columns)


@dataclass(frozen=True)
class Document:
    """
    What a document shows.

    Args:
        sections: Its tables, in order.
        prose: (line, text) of sentences outside tables that may state a transport or a policy.
        stray: Lines, from 1, that look like rows and belong to no table.
        fenced: Lines, from 1, of code fences in which a table to read begins.
    """

    source: Source
    sections: tuple[Section, ...]
    prose: tuple[tuple[int, str], ...]
    stray: tuple[int, ...]
    fenced: tuple[int, ...]

    @property
    def tables(self) -> list[Section]:
        """The tables that tell who may reach whom."""
        return [section for section in self.sections if section.is_read]


def document(source: Source) -> Document:
    """Find the tables of a document: those of Markdown, and those of HTML, also where Markdown holds them."""
    markup = Markup()
    markup.feed("\n".join(source.shown))
    markup.close()
    tables, heads, shown = list(markup.tables), list(markup.headings), source.shown
    if not source.is_html:
        shown = _without(source.shown, markup.covered)
        tables += markdown.tables(shown, source.lines)
        heads += markdown.headings(shown)
    tables.sort(key=lambda t: t.header.line)
    sections = tuple(_sections(tables, sorted(heads, key=lambda h: h.line)))
    taken = set(_lines_of(sections)) | {n for first, last in markup.covered for n in range(first, last + 1)}
    titles = {heading.line for heading in heads}
    free = [(n, line) for n, line in enumerate(shown, 1) if line and n not in taken]
    return Document(
        source=source,
        sections=sections,
        prose=tuple((n, " ".join(line.split())) for n, line in free if n not in titles and _STATES.search(line)),
        stray=() if source.is_html else tuple(n for n, line in free if markdown.looks_like_row(line)),
        fenced=tuple(n + 1 for n, line in source.fenced if markdown.is_header(line)),
    )


def _without(lines: Sequence[str], covered: Iterable[tuple[int, int]]) -> list[str]:
    kept = list(lines)
    for first, last in covered:
        kept[first - 1 : last] = [""] * (min(last, len(kept)) - first + 1)
    return kept


def _sections(tables: Iterable[Table], headings: Sequence[Heading]) -> Iterator[Section]:
    lines = [heading.line for heading in headings]
    for table in tables:
        above = bisect_left(lines, table.header.line)
        heading = headings[above - 1] if above else None
        yield Section(table, heading, columns(cell.text for cell in table.header.cells))


def _lines_of(sections: Iterable[Section]) -> Iterator[int]:
    for section in sections:
        table = section.table
        yield from (row.line for row in (table.header, *table.rows, *([table.separator] if table.separator else [])))
