"""Rows -> entries: component, ports, protocols, sources and transport of each row, or why it cannot be read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from vzflow.flow.terms import LintCode
from vzflow.model.page import columns as column
from vzflow.model.page.document import Section
from vzflow.model.page.table import Cell, Row

#: Ports or sources in one cell that are read: a row with more is a list that got into the wrong place.
_MOST = 100
#: Characters of a cell that a message shows.
_LONGEST_SHOWN = 60

_NOBODY = frozenset({"", "-", "\N{EN DASH}", "\N{EM DASH}", "n/a", "none", "nobody", "?", "tbd"})
_ANY = frozenset({"any", "all", "*", "any port", "all ports"})
_PORT = re.compile(
    r"(?:(?P<before>tcp|udp|sctp)\s*[/: ]\s*)?(?P<lo>[0-9]{1,5})(?:\s*(?:-|\bto\b|\.\.)\s*(?P<hi>[0-9]{1,5}))?"
    r"(?:\s*/\s*(?P<after>(?:tcp|udp|sctp)(?:[/+&, ]+(?:tcp|udp|sctp))*))?(?:\s*\((?P<said>[^()]{0,80})\))?",
    re.IGNORECASE,
)
#: What stands between names: `and` and its like as words of their own, in any case.
_BETWEEN = re.compile(r"[(),;\n]|(?<![^\s,;)])(?:and|or|&|\+|/)(?![^\s,;(])|\Z", re.IGNORECASE)
_PROTOCOL = re.compile(r"tcp|udp|sctp", re.IGNORECASE)
#: What runs over TCP only: such a word in a protocol column says TCP.
_OVER_TCP = frozenset({"http", "https", "grpc", "http/1.1", "http/2", "http2", "h2", "tls", "mysql", "ldap"})
_TRANSPORTS = {
    "mtls": ("mtls", "mutual tls", "istio mtls", "istio mutual", "strict", "strict mtls", "mtls strict",
             "mtls required"),
    "tls": ("tls", "https", "ssl", "server tls", "one way tls", "simple tls"),
    "plaintext_ok": ("plaintext", "plain text", "plain", "clear", "cleartext", "clear text", "http", "unencrypted",
                     "none", "no tls", "not encrypted"),
    "unspecified": ("", "unspecified", "unknown", "not stated", "n a", "tbd"),
}  # fmt: skip
_TRANSPORT = {word: transport for transport, words in _TRANSPORTS.items() for word in words}


@dataclass(frozen=True, slots=True)
class Word:
    """A name in a cell, and where it stands."""

    text: str
    line: int
    column: int

    @property
    def shown(self) -> str:
        """The name as messages have it: cut, where a whole page got into its cell."""
        return cut(self.text)


@dataclass(frozen=True)
class Entry:
    """
    One row that can be read.

    Args:
        id: `R` and the row's number in the document, from 1; rows that cannot be read are counted too.
        ports: As a model writes them: `9443`, `9300-9400`, `any`.
        sources: As the cell lists them; never empty.
        transport: mtls, tls, plaintext_ok or unspecified.
    """

    id: str
    row: Row
    section: Section
    component: Word
    ports: tuple[str, ...]
    protocols: tuple[str, ...]
    sources: tuple[Word, ...]
    source_cell: Cell
    transport: str
    description: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something in a row that could not be read; `lost` if the whole row was not."""

    code: LintCode
    line: int
    column: int
    message: str
    lost: bool = False


def entries(sections: list[Section], is_name: Callable[[str], bool]) -> Iterator[Entry | Trouble]:
    """
    Yield what every row of the tables comes to, in order; a row yields an entry, or a trouble that says `lost`.

    A cell of sources that *is_name* knows as a whole is not taken apart.
    """
    rows = [(section, row) for section in sections for row in section.table.rows]
    digits = max(2, len(str(len(rows))))
    for number, (section, row) in enumerate(rows, 1):
        yield from _Reading(f"R{number:0{digits}}", section, row, is_name).result()


class _Lost(Exception):  # it ends the reading of a row, and is no error for people
    def __init__(self, code: LintCode, message: str, cell: Cell | None) -> None:
        super().__init__(message)
        self.code, self.message, self.cell = code, message, cell


class _Reading:
    def __init__(self, rule_id: str, section: Section, row: Row, is_name: Callable[[str], bool]) -> None:
        self._id, self._section, self._row, self._is_name = rule_id, section, row, is_name
        self._troubles: list[Trouble] = []

    def result(self) -> Iterator[Entry | Trouble]:
        try:
            entry = self._entry()
        except _Lost as lost:
            line, at = (lost.cell.line, lost.cell.column) if lost.cell else (self._row.line, self._row.column)
            yield Trouble(lost.code, line, at, lost.message, lost=True)
        else:
            yield from self._troubles
            yield entry

    def _entry(self) -> Entry:
        component = self._component()
        ports, protocols = self._ports()
        cell = self._cell(column.FROM)
        sources = () if cell is None or _folded(cell.text) in _NOBODY else self._sources(cell)
        if cell is None or not sources:
            raise _Lost(LintCode.NO_SOURCE, f"row {self._id} names no source", cell)
        if len(sources) > _MOST:
            raise _Lost(LintCode.NO_SOURCE, f"row {self._id} lists {len(sources)} sources", cell)
        return Entry(
            self._id, self._row, self._section, component, ports, protocols, sources, cell, self._transport(),
            self._text(column.DESCRIPTION),
        )  # fmt: skip

    def _sources(self, cell: Cell) -> tuple[Word, ...]:
        whole = " ".join(cell.text.split())
        return (Word(whole, cell.line, cell.column),) if self._is_name(whole) else split_words(cell)

    def _component(self) -> Word:
        if column.COMPONENT not in self._section.columns:
            heading = self._section.heading
            if heading is not None and heading.text:
                return Word(heading.text, heading.line, 1)
            raise _Lost(LintCode.NO_COMPONENT, f"row {self._id} has no component, and no heading names one", None)
        cell = self._cell(column.COMPONENT)
        if cell is None or _folded(cell.text) in _NOBODY:
            raise _Lost(LintCode.NO_COMPONENT, f"row {self._id} names no component", cell)
        return Word(" ".join(cell.text.split()), cell.line, cell.column)

    def _ports(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        cell = self._cell(column.PORT)
        text = "" if cell is None else cell.text
        if _folded(text) in _NOBODY:
            raise _Lost(LintCode.NO_PORT, f"row {self._id} names no port", cell)
        ports: list[str] = []
        said: list[str] = []
        items = _items(text)
        if not items:
            raise _Lost(LintCode.NO_PORT, f"row {self._id} has {_quoted(text)} as its port", cell)
        if len(items) > _MOST:
            raise _Lost(LintCode.NO_PORT, f"row {self._id} lists {len(items)} ports", cell)
        for item in items:
            port, protocols = _port(item)
            if port is None:
                raise _Lost(LintCode.NO_PORT, f"row {self._id} has {_quoted(item)} as its port", cell)
            ports.append(port)
            said.append(protocols)
        if set(said) == {"", "tcp"}:
            said = ["tcp"]
        if len(set(said)) > 1:
            what = f"row {self._id} lists ports of several protocols: give each protocol a row"
            raise _Lost(LintCode.NO_PORT, what, cell)
        return tuple(dict.fromkeys(ports)), self._protocols(said[0])

    def _protocols(self, in_port: str) -> tuple[str, ...]:
        if in_port:
            return tuple(dict.fromkeys(in_port.split()))
        cell = self._cell(column.PROTOCOL)
        text = "" if cell is None else cell.text.casefold()
        found: dict[str, None] = {}
        for word in re.split(r"[,;+&\n ]+|/(?=tcp|udp|sctp)|\band\b", text):
            if word in ("tcp", "udp", "sctp"):
                found[word] = None
            elif word in _OVER_TCP:
                found["tcp"] = None
            elif word not in _NOBODY:
                what = f"row {self._id} has protocol {_quoted(word)}, so it is not read"
                raise _Lost(LintCode.VALUE_NOT_READ, what, cell)
        return tuple(found) or ("tcp",)

    def _transport(self) -> str:
        cell = self._cell(column.TRANSPORT)
        if cell is None:
            return "unspecified"
        word = " ".join(re.sub(r"[^\w]+", " ", cell.text.casefold()).split())
        header = _folded(self._section.table.header.cells[self._section.columns[column.TRANSPORT]].text)
        if header in ("tls", "mtls") and word in ("yes", "required", "y", "true", "x", "✓", "on"):
            return header
        if word not in _TRANSPORT:
            what = f"row {self._id} has transport {_quoted(cell.text)}: it stays unspecified"
            self._troubles.append(Trouble(LintCode.VALUE_NOT_READ, cell.line, cell.column, what))
        return _TRANSPORT.get(word, "unspecified")

    def _cell(self, meaning: str) -> Cell | None:
        position = self._section.columns.get(meaning)
        cells = self._row.cells
        return cells[position] if position is not None and position < len(cells) else None

    def _text(self, meaning: str) -> str:
        cell = self._cell(meaning)
        return "" if cell is None else " ".join(cell.text.split())


def split_words(cell: Cell) -> tuple[Word, ...]:
    """
    Return the names a cell lists, between commas, semicolons, `and`, `&` or line breaks, not inside brackets.

    A conjunction is no name, also where it stands at the end of a cell or next to another.
    """
    words: dict[str, Word] = {}
    depth = start = 0
    text = cell.text
    for match in _BETWEEN.finditer(text):
        mark = match[0]
        if mark in ("(", ")"):
            depth = max(0, depth + (1 if mark == "(" else -1))
        elif not depth or not mark:
            part = text[start : match.start()]
            name = " ".join(part.split())
            if name and _folded(name) not in _NOBODY:
                at = start + len(part) - len(part.lstrip())
                words.setdefault(_folded(name), Word(name, cell.line, cell.column + at))
            start = match.end()
    return tuple(words.values())


def _items(text: str) -> list[str]:
    parts = re.split(r"[,;\n]|\band\b|\bor\b|&|\s/\s|(?<=[0-9])/(?=[0-9])", text)
    return [part.strip() for part in parts if part.strip()]


def _port(item: str) -> tuple[str | None, str]:
    """Return a port as models write it, or None, and the protocols the cell names beside it."""
    if _folded(item) in _ANY:
        return "any", ""
    match = _PORT.fullmatch(item.replace("\N{EN DASH}", "-").replace("\N{EM DASH}", "-"))
    if match is None:
        return None, ""
    lo, hi = int(match["lo"]), int(match["hi"] or match["lo"])
    said = " ".join(filter(None, (match["before"], match["after"], match["said"])))
    protocols = " ".join(_PROTOCOL.findall(said.casefold()))
    if not 1 <= lo <= hi <= 65_535:
        return None, ""
    return (str(lo) if lo == hi else f"{lo}-{hi}"), protocols


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def cut(text: str) -> str:
    """Return text on one line of at most 60 characters."""
    short = " ".join(text.split())
    return short if len(short) <= _LONGEST_SHOWN else short[: _LONGEST_SHOWN - 1] + "…"


def _quoted(text: str) -> str:
    return f"`{cut(text)}`"
