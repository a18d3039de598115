r"""
Tables in Markdown, also where they are broken.

A renderer shows no table whose separator does not match its header, and drops cells and rows without a word. Those are
the defects that have to be told, so this reads what is written: a line of cells, with or without a separator under it,
begins a table where its words are those of columns; every further line belongs to it down to a blank one.

Source: GitHub Flavored Markdown, section 4.10; a bar in a cell is written `\|`, also in code.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence

from vzflow.model.page.columns import columns, tells_who_may_reach
from vzflow.model.page.table import MOST_CELLS, Cell, Heading, Row, Table

_BAR = re.compile(r"\\[!-/:-@\[-`{-~]|\|")
_DASHES = re.compile(r":?-+:?")
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
_LINK = re.compile(r"!?\[([^\[\]]*)\](?:\([^()]*\)|\[[^\[\]]*\])")
_FOOTNOTE = re.compile(r"\[\^[^\[\]]*\]")
_ATX = re.compile(r"[ \t>]*(#{1,6})[ \t]+(.*)")
_UNDERLINE = re.compile(r" {0,3}(?:=+|-+)[ \t]*")
_BLOCK = re.compile(r"[ \t>]*(?:#{1,6}[ \t]|<)")


def tables(lines: Sequence[str], raw: Sequence[str]) -> Iterator[Table]:
    """
    Yield the tables of a document.

    Args:
        lines: Its lines as a renderer shows them: what is hidden is blank.
        raw: The lines as written, for the quotes.
    """
    at = 0
    while at < len(lines):
        header = _header(lines, raw, at)
        if header is None:
            at += 1
            continue
        separator = row(lines, raw, at + 1) if at + 1 < len(lines) and is_separator(lines[at + 1]) else None
        at += 1 if separator is None else 2
        rows: list[Row] = []
        while at < len(lines) and lines[at].strip(" \t>") and not _BLOCK.match(lines[at]):
            rows.append(row(lines, raw, at))
            at += 1
        yield Table(header, tuple(rows), separator, needs_separator=True)


def looks_like_row(line: str) -> bool:
    """Say whether a line begins with a bar and has cells: where it belongs to no table, it was meant to."""
    text = line.strip(" \t>")
    return text.startswith("|") and len(_cells(line)[0]) > 1 and not is_separator(line)


def is_header(line: str) -> bool:
    """Say whether a line has the words of columns that tell who may reach whom."""
    return "|" in line and tells_who_may_reach(columns(plain(text) for text, _ in _cells(line)[0]))


def headings(lines: Sequence[str]) -> Iterator[Heading]:
    """Yield the headings of both forms, with # and underlined."""
    for number, line in enumerate(lines):
        atx = _ATX.fullmatch(line)
        if atx is not None:
            yield Heading(_one_line(plain(atx[2].rstrip(" \t#"))), number + 1)
        elif number and _UNDERLINE.fullmatch(line):
            above = lines[number - 1].strip()
            if above and "|" not in above and not _ATX.fullmatch(above):
                yield Heading(_one_line(plain(above)), number)


def is_separator(line: str) -> bool:
    """Say whether a line consists of cells of dashes."""
    if "|" not in line or "-" not in line:
        return False
    return all(_DASHES.fullmatch(text.strip()) for text, _ in _cells(line)[0])


def _header(lines: Sequence[str], raw: Sequence[str], at: int) -> Row | None:
    line = lines[at]
    if "|" not in line or is_separator(line):
        return None
    separated = at + 1 < len(lines) and is_separator(lines[at + 1])
    return row(lines, raw, at) if separated or is_header(line) else None


def row(lines: Sequence[str], raw: Sequence[str], at: int) -> Row:
    """Return the cells of a line, at most MOST_CELLS."""
    line = lines[at]
    found, open_end = _cells(line)
    cells = []
    for text, start in found[:MOST_CELLS]:
        inside = start + len(text) - len(text.lstrip())
        cells.append(Cell(plain(text.strip()), at + 1, inside + 1))
    column = len(line) - len(line.lstrip(" \t>")) + 1
    return Row(tuple(cells), at + 1, column, raw[at], open_end)


def _cells(line: str) -> tuple[list[tuple[str, int]], bool]:
    """Return (text, position) of each cell, and whether the row opens with a bar and does not close with one."""
    bars = [match.start() for match in _BAR.finditer(line) if match[0] == "|"]
    begin = len(line) - len(line.lstrip(" \t>"))
    opens = bool(bars) and bars[0] == begin
    end = len(line.rstrip())
    closes = len(bars) > int(opens) and bars[-1] == end - 1
    starts = [begin] if not opens else []
    starts += [bar + 1 for bar in bars]
    ends = bars[1:] if opens else list(bars)
    if closes:
        starts.pop()
    else:
        ends.append(end)
    return [(line[a:b], a) for a, b in zip(starts, ends, strict=True)], opens and not closes


def plain(text: str) -> str:
    """Return what a reader sees of a cell: without emphasis, code marks, links and tags; a line break is a newline."""
    text = _BREAK.sub("\n", text)
    text = _TAG.sub("", text)
    text = _FOOTNOTE.sub("", text)
    text = _LINK.sub(r"\1", text)
    text = text.replace("**", "").replace("__", "").replace("`", "")
    text = html.unescape(_ESCAPED.sub(r"\1", text)).strip()
    if len(text) > 2 and text[0] == text[-1] and text[0] in "*_":
        text = text[1:-1]
    return "\n".join(" ".join(part.split()) for part in text.split("\n"))


def _one_line(text: str) -> str:
    return " ".join(text.split())
