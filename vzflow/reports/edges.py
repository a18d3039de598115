"""Tables of edges: who reached whom, and what is said of it beside, or below where the names are too long for that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vzflow.reports.plain import aligned, printable

#: Columns of a terminal that a report may take.
WIDTH = 100
_INDENT, _GAP = 4, 2

#: An edge as `edge` writes it, and the cells beside it.
Row = tuple[str, Sequence[str]]


def edge(initiator: str, responder: str, row: Mapping[str, Any]) -> str:
    """Return an edge as `vzflow explain` takes it: `A > B:PORT`, with the protocol where it is not TCP."""
    port = "-" if row["port"] is None else row["port"]
    return f"{initiator} > {responder}:{port}" + ("" if row["protocol"] == "tcp" else f"/{row['protocol']}")


def edge_lines(groups: Sequence[Sequence[Row]]) -> list[list[str]]:
    """
    Return the lines of every group of rows, all with the same columns, and as wide as WIDTH where names allow it.

    An edge that is too long for what stands beside it has it below; one that is longer than a line is parted before its
    responder. Of neighbouring rows with one edge only the first names it.
    """
    beside = iter(aligned([cells for rows in groups for _, cells in rows], indent=0))
    told = [[(printable(name), next(beside)) for name, _ in rows] for rows in groups]
    room = WIDTH - _INDENT - _GAP - max((len(cells) for rows in told for _, cells in rows), default=0)
    lengths = [len(_parted(name)[-1]) for rows in told for name, _ in rows]
    column = max((length for length in lengths if length <= room), default=_GAP)
    return [[" " * _INDENT + line for line in _group(rows, column)] for rows in told]


def _group(rows: Sequence[tuple[str, str]], column: int) -> Iterator[str]:
    before = ""
    for name, cells in rows:
        *above, last = [""] if name == before else _parted(name)
        before = name
        yield from above
        if len(last) > column:
            yield last
            last = ""
        yield f"{last:<{column}}{' ' * _GAP}{cells}".rstrip()


def _parted(name: str) -> list[str]:
    initiator, _, responder = name.partition(" > ")
    return [name] if len(name) <= WIDTH - _INDENT else [initiator, f"  > {responder}"]
