"""A document -> its lines, and which of them a reader of the rendered page would see."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from vzflow.flow.errors import Place, UnreadableInput

#: Bytes of a document: ten times the longest networking page, and still read in seconds whatever they are.
LARGEST = 1_000_000

_FENCE = re.compile(r"[ \t>]*(?:[-*+] +)?(`{3,}|~{3,})([^\n]*)")
_HTML = re.compile(r"\s*(?:<!doctype\s+html|<\?xml|<html|<head|<body)\b", re.IGNORECASE)


@dataclass
class Source:
    """
    The text of a document.

    Args:
        lines: As written, without line ends; a byte order mark is gone.
        shown: The same lines with what is commented out or in a code fence blanked; columns stay what they are.
        fenced: (number from 0, text) of the lines in code fences.
        unclosed: (line from 1, what) of fences and comments that hide everything down to the end.
    """

    path: str
    is_html: bool
    lines: list[str]
    shown: list[str] = field(default_factory=list)
    fenced: list[tuple[int, str]] = field(default_factory=list)
    unclosed: list[tuple[int, str]] = field(default_factory=list)


def read(path: str | Path) -> Source:
    """
    Read a document: Markdown, HTML, or text with tables in either form.

    Raises:
        UnreadableInput: It is not there, not text in UTF-8 (or UTF-16 with its mark), or larger than LARGEST.
    """
    name = str(path)
    try:
        with Path(path).open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        raise UnreadableInput(what, at=Place(name), do="Name a Markdown, HTML or text file.") from error
    return parse(_decoded(data, name), name)


def parse(text: str, path: str) -> Source:
    """Return the source of a text already read; *path* says where it is from, and its suffix what it is."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    is_html = path.lower().endswith((".html", ".htm", ".xhtml")) or _HTML.match(text) is not None
    source = Source(path, is_html, lines)
    source.shown = list(_Shown(source).lines())
    return source


def _decoded(data: bytes, name: str) -> str:
    if len(data) > LARGEST:
        raise UnreadableInput(f"larger than {LARGEST:,} bytes", at=Place(name), do="Cut out the page with the table.")
    utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = 1 + data.count(b"\n", 0, error.start)
        raise UnreadableInput("not UTF-8 text", at=Place(name, line), do="Save it as UTF-8.") from error
    if "\0" in text:
        line = 1 + text.count("\n", 0, text.index("\0"))
        raise UnreadableInput("not text: it holds a zero byte", at=Place(name, line), do="Name a text file.")
    return text


class _Shown:
    """Goes down the lines once and keeps whether a fence or a comment is open."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._fence = ""
        self._comment = False
        self._opened = 0
        self._last_end = max((n for n, line in enumerate(source.lines) if "-->" in line), default=-1)

    def lines(self) -> Iterator[str]:
        matter = 0 if self._source.is_html else _front_matter(self._source.lines)
        for number, line in enumerate(self._source.lines):
            yield "" if number < matter else self._line(number, line)
        if self._fence:
            self._source.unclosed.append((self._opened + 1, "this code fence"))
        if self._comment:
            self._source.unclosed.append((self._opened + 1, "this comment"))

    def _line(self, number: int, line: str) -> str:
        if self._fence:
            self._in_fence(number, line)
            return ""
        shown = self._without_comments(number, line)
        opens = None if self._source.is_html or self._comment else _FENCE.fullmatch(shown)
        if opens is not None and not ("`" in opens[1] and "`" in opens[2]):
            self._fence, self._opened = opens[1], number
            return ""
        return shown

    def _in_fence(self, number: int, line: str) -> None:
        mark = line.strip(" \t>")
        if len(mark) >= len(self._fence) and not mark.strip(self._fence[0]):
            self._fence = ""
        else:
            self._source.fenced.append((number, line))

    def _without_comments(self, number: int, line: str) -> str:
        parts: list[str] = []
        last_end = len(line) if self._last_end > number else line.rfind("-->")
        at = ticks = 0
        while at < len(line):
            if self._comment:
                end = line.find("-->", at)
                past = len(line) if end < 0 else end + 3
                self._comment = end < 0
                parts.append(" " * (past - at))
                at = past
                continue
            start = line.find("<!--", at)
            if start < 0:
                break
            ticks += line.count("`", at, start)
            parts.append(line[at:start])
            at = start
            if self._opens(line, start, in_code=ticks % 2 == 1, closed=last_end > start):
                self._comment, self._opened = True, number
            else:
                parts.append("    ")  # a browser's parser must not take it for one either
                at += 4
        return "".join(parts) + line[at:]

    def _opens(self, line: str, start: int, *, in_code: bool, closed: bool) -> bool:
        """One that is never closed is a comment in HTML, and in Markdown where a line begins with it."""
        if self._source.is_html:
            return True
        return not in_code and (closed or start == 0 or line[:start].isspace())


def _front_matter(lines: list[str]) -> int:
    """Return how many lines at the top are front matter: YAML between two lines of three dashes."""
    if not lines or lines[0].rstrip() != "---":
        return 0
    return next((n + 1 for n, line in enumerate(lines[1:], 1) if line.rstrip() in ("---", "...")), 0)
