"""What is wrong with how a document is laid out: what a renderer drops, hides or shows as text."""

from __future__ import annotations

from collections.abc import Iterator

from vzflow.flow.finding import LintFinding
from vzflow.flow.terms import LintCode
from vzflow.model.page.document import Document, Section
from vzflow.model.page.table import Row

#: Lines that a finding about many rows names.
_MOST_LINES = 8


def layout_findings(document: Document) -> Iterator[LintFinding]:
    """Yield what is wrong with the tables of *document* before anything in them is read."""
    path = document.source.path
    for line, what in document.source.unclosed:
        yield LintFinding(path, line, 1, LintCode.NOT_CLOSED, f"{what} is never closed and hides the rest of the file")
    for line in document.stray:
        yield LintFinding(path, line, 1, LintCode.ROW_OUTSIDE_TABLE, "this line looks like a row of no table")
    for line in document.fenced:
        yield LintFinding(path, line, 1, LintCode.TABLE_IN_CODE, "this table stands in a code fence")
    for section in document.sections:
        yield from _of_table(path, section) if section.is_read else _not_read(path, section)


def _not_read(path: str, section: Section) -> Iterator[LintFinding]:
    header = section.table.header
    missing = [what for what in ("port", "from") if what not in section.columns]
    what = f"this table has no column for {' or '.join('the pod port' if m == 'port' else 'sources' for m in missing)}"
    yield LintFinding(path, header.line, header.column, LintCode.TABLE_NOT_READ, what)


def _of_table(path: str, section: Section) -> Iterator[LintFinding]:
    table, header = section.table, section.table.header
    wanted = len(header.cells)
    if table.unclosed:
        yield LintFinding(path, header.line, header.column, LintCode.NOT_CLOSED, "this table is never closed")
    if not table.rows:
        yield LintFinding(path, header.line, header.column, LintCode.NO_ROWS, "no row follows this header")
    if table.separator is not None and len(table.separator.cells) != wanted:
        found, at = len(table.separator.cells), table.separator
        what = f"the separator has {_cells(found)} and the header {_cells(wanted)}"
        yield LintFinding(path, at.line, at.column, LintCode.SEPARATOR_MISMATCH, what)
    if table.separator is None and table.needs_separator:
        what = "no separator line follows this header"
        yield LintFinding(path, header.line, header.column, LintCode.SEPARATOR_MISSING, what)
    for row in table.rows:
        if len(row.cells) != wanted:
            what = f"the row has {_cells(len(row.cells))} and the header {_cells(wanted)}"
            yield LintFinding(path, row.line, row.column, LintCode.CELLS_MISMATCH, what)
    yield from _open_ends(path, table.rows)


def _open_ends(path: str, rows: tuple[Row, ...]) -> Iterator[LintFinding]:
    """All of a table are one finding: they are written alike."""
    found = [row for row in rows if row.open_end]
    if found:
        lines = [str(row.line) for row in found[:_MOST_LINES]]
        more = ", …" if len(found) > _MOST_LINES else ""
        where = "" if len(found) == len(rows) else f": line{'s' if len(lines) > 1 else ''} {', '.join(lines)}{more}"
        what = f"{len(found)} of {len(rows)} rows have no closing bar{where}"
        column = found[0].column + len(found[0].quote.strip(" \t>"))
        yield LintFinding(path, found[0].line, column, LintCode.BAR_NOT_CLOSED, what)


def _cells(count: int) -> str:
    return f"{count} cell{'' if count == 1 else 's'}"
