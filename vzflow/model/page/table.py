"""Tables as they stand in a document, whatever their form: cells with their places, and nothing interpreted."""

from __future__ import annotations

from dataclasses import dataclass

#: Cells of a row that are kept: no table of a document has as many, and spans could ask for any number.
MOST_CELLS = 100


@dataclass(frozen=True, slots=True)
class Cell:
    """What a reader sees in one cell; a line break in it is a newline. Place: line and column of its text, from 1."""

    text: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Row:
    """
    One row.

    Args:
        quote: The line as written; of HTML, its cells between bars.
        open_end: It begins with a bar and does not end with one.
        in_head: It stands in the head of the table, or has header cells only.
    """

    cells: tuple[Cell, ...]
    line: int
    column: int
    quote: str
    open_end: bool = False
    in_head: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """
    One table: its header and the rows under it.

    Args:
        separator: The line of dashes under the header; None where there is none.
        needs_separator: It is written in Markdown.
        unclosed: Its end is missing (HTML).
    """

    header: Row
    rows: tuple[Row, ...]
    separator: Row | None = None
    needs_separator: bool = False
    unclosed: bool = False


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading: it names what the tables below it are about."""

    text: str
    line: int
