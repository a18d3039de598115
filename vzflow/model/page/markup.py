"""Tables in HTML, alone or inside Markdown: rows that span, cells that are not closed, tables in tables."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

from vzflow.model.page.table import MOST_CELLS, Cell, Heading, Row, Table

_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
#: Tags that end a line of what a reader sees.
_BREAKS = frozenset({"br", "p", "li", "div", "ul", "ol"})
#: Tags whose content nobody sees.
_UNSEEN = frozenset({"script", "style", "template", "noscript", "title", "textarea"})

_NO_TAG = re.compile(r"<(?!/?[a-zA-Z][^<>]*>)")
#: Stands for such a `<` while the parser has it; private use, so no document has it.
_LESS = "\ue000"


@dataclass
class _OpenCell:
    line: int
    column: int
    is_header: bool
    rows: int
    columns: int
    parts: list[str] = field(default_factory=list)

    def text(self) -> str:
        lines = (" ".join(line.split()) for line in "".join(self.parts).split("\n"))
        return "\n".join(line for line in lines if line)


@dataclass
class _OpenRow:
    line: int
    column: int
    in_head: bool
    cells: list[_OpenCell] = field(default_factory=list)


@dataclass
class _OpenTable:
    in_head: bool = False
    row: _OpenRow | None = None
    cell: _OpenCell | None = None
    rows: list[Row] = field(default_factory=list)
    #: position -> (cell, rows it still reaches into)
    spanning: dict[int, tuple[Cell, int]] = field(default_factory=dict)


class Markup(HTMLParser):
    """
    Collects the tables and headings of a document that is fed to it; `close` ends what is still open.

    Args (after `close`):
        tables: In the order in which they end.
        headings: In order.
        covered: (first, last) line of each outermost table.
    """

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tables: list[Table] = []
        self.headings: list[Heading] = []
        self.covered: list[tuple[int, int]] = []
        self._open: list[_OpenTable] = []
        self._began = 0
        self._heading: tuple[int, list[str]] | None = None
        self._unseen = 0

    def feed(self, data: str) -> None:
        """Take a document; every `<` that begins no whole tag is text, which the parser would look for an end of."""
        super().feed(_NO_TAG.sub(_LESS, data))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _UNSEEN:
            self._unseen += 1
        elif tag == "table":
            self._begin_table()
        elif tag in _HEADINGS and not self._open:
            self._heading = (self.getpos()[0], [])
        elif self._open:
            self._inside_table(self._open[-1], tag, dict(attrs))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _BREAKS:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNSEEN:
            self._unseen = max(0, self._unseen - 1)
        elif tag in _HEADINGS and self._heading is not None:
            self._end_heading()
        elif self._open:
            self._end_inside_table(self._open[-1], tag)

    def handle_data(self, data: str) -> None:
        if self._unseen:
            return
        if self._heading is not None:
            self._heading[1].append(data.replace(_LESS, "<"))
        elif self._open and (cell := self._open[-1].cell) is not None:
            # A line end in the source is a blank: only tags break lines.
            cell.parts.append(data.replace("\n", " ").replace(_LESS, "<"))

    def close(self) -> None:
        super().close()
        while self._open:
            self._end_table(unclosed=True)
        if self._heading is not None:
            self._end_heading()

    def _begin_table(self) -> None:
        if not self._open:
            self._began = self.getpos()[0]
        self._open.append(_OpenTable())

    def _end_heading(self) -> None:
        if self._heading is not None:
            line, parts = self._heading
            self.headings.append(Heading(" ".join("".join(parts).split()), line))
            self._heading = None

    def _inside_table(self, table: _OpenTable, tag: str, attributes: dict[str, str | None]) -> None:
        line, offset = self.getpos()
        if tag in ("thead", "tbody", "tfoot"):
            _end_row(table)
            table.in_head = tag == "thead"
        elif tag == "tr":
            _end_row(table)
            table.row = _OpenRow(line, offset + 1, table.in_head)
        elif tag in ("td", "th"):
            _end_cell(table)
            if table.row is None:
                table.row = _OpenRow(line, offset + 1, table.in_head)
            table.cell = _OpenCell(line, offset + 1, tag == "th", _span(attributes, "rowspan"),
                                   _span(attributes, "colspan"))  # fmt: skip
        elif tag in _BREAKS and table.cell is not None:
            table.cell.parts.append("\n")

    def _end_inside_table(self, table: _OpenTable, tag: str) -> None:
        if tag == "table":
            self._end_table(unclosed=False)
        elif tag in ("td", "th"):
            _end_cell(table)
        elif tag in ("tr", "thead", "tbody", "tfoot"):
            _end_row(table)
            table.in_head = table.in_head and tag == "tr"
        elif tag in _BREAKS and table.cell is not None:
            table.cell.parts.append("\n")

    def _end_table(self, *, unclosed: bool) -> None:
        table = self._open.pop()
        _end_row(table)
        if not self._open:
            self.covered.append((self._began, self.getpos()[0]))
        if table.rows:
            self.tables.append(_finished(table.rows, unclosed))


def _end_cell(table: _OpenTable) -> None:
    if table.cell is not None and table.row is not None and len(table.row.cells) < MOST_CELLS:
        table.row.cells.append(table.cell)
    table.cell = None


def _end_row(table: _OpenTable) -> None:
    _end_cell(table)
    row = table.row
    if row is None:
        return
    table.row = None
    cells = _spread(table, row)
    if cells:
        quote = "| " + " | ".join(" ".join(cell.text.split()) for cell in cells) + " |"
        in_head = row.in_head or all(cell.is_header for cell in row.cells)
        table.rows.append(Row(tuple(cells), row.line, row.column, quote, in_head=in_head))


def _spread(table: _OpenTable, row: _OpenRow) -> list[Cell]:
    """Give each position its cell: those that reach down from rows above, and this row's, as wide as they are."""
    cells: list[Cell] = []
    waiting = list(row.cells)
    reaching: dict[int, tuple[Cell, int]] = {}
    while len(cells) < MOST_CELLS and (waiting or len(cells) in table.spanning):
        if (above := table.spanning.get(len(cells))) is not None:
            if above[1] > 1:
                reaching[len(cells)] = (above[0], above[1] - 1)
            cells.append(above[0])
            continue
        made = waiting.pop(0)
        cell = Cell(made.text(), made.line, made.column)
        for _ in range(min(made.columns, MOST_CELLS - len(cells))):
            if made.rows > 1:
                reaching[len(cells)] = (cell, made.rows - 1)
            cells.append(cell)
    table.spanning = reaching
    return cells


def _span(attributes: dict[str, str | None], name: str) -> int:
    text = (attributes.get(name) or "1").strip()
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 6 else 1


def _finished(rows: list[Row], unclosed: bool) -> Table:
    """The header is the last row of the head, or the first of all."""
    heads = 0
    while heads < len(rows) - 1 and rows[heads].in_head:
        heads += 1
    at = max(heads - 1, 0)
    return Table(rows[at], tuple(rows[at + 1 :]), unclosed=unclosed)
