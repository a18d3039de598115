"""
JSON that is not one object a line: an answer of a store, a list, or records over several lines; one or many.

What a store answers is an envelope around a list of records. The list is found by its path, its elements are cut out
one at a time, so memory does not grow with the document, and whatever else the envelope holds is passed over. An object
without such a list is a record itself. A document that breaks off, or is no JSON from some byte on, gives what is whole
before that; nobody can say where the next element would begin.

Sources: Elasticsearch search API (`hits.hits`); Loki HTTP API, query_range (`data.result`) and push (`streams`);
CloudWatch Logs subscription events (`logEvents`), GetLogEvents and FilterLogEvents (`events`); Calico Whisker's lists,
lib/httpmachinery/pkg/apiutil/response.go (`items`).
"""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from typing import BinaryIO, NamedTuple

from vzflow.flow.terms import RejectReason
from vzflow.readers.base import LINE_LIMIT, Tally
from vzflow.readers.wrappings import Level, pod_of_labels

#: Paths of records; EACH stands for every element of an array.
EACH = "[]"
_RECORDS = frozenset((
    (EACH,), ("hits", "hits", EACH), ("logEvents", EACH), ("events", EACH), ("items", EACH),
))  # fmt: skip
#: Loki's records are pairs of a time and a line, below the labels of their stream.
_STREAMS = (("data", "result", EACH), ("streams", EACH))
_PAIRS = frozenset((*stream, "values", EACH) for stream in _STREAMS)
_LABELS = frozenset((*stream, "stream") for stream in _STREAMS)

_WANTED = _RECORDS | _PAIRS | _LABELS

#: Arrays that hold records, or streams of them; and with which keys an envelope begins.
_LISTS = frozenset((*_RECORDS, *_PAIRS, *_STREAMS))
_ENVELOPES = frozenset(path[0] for path in _LISTS)

#: Whatever is not on the way to records is passed over.
_ON_THE_WAY = frozenset(path[:end] for path in _WANTED for end in range(len(path)))

_READ = 1 << 20

#: A string, a bracket, or the rest: commas and colons are passed over like blanks.
_TOKEN = re.compile(rb'[\s,:]*+(?:("[^"\\\n]*+(?:\\.[^"\\\n]*+)*+")|([{}\[\]])|([^\s"{}\[\],:]++))')
_STRING_END = re.compile(rb'[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"')
#: How an object begins, as far as it goes: a brace alone may be text, which as a document would cost all its lines.
_OBJECT = re.compile(rb'\s*+\{\s*+(?:\Z|\}|"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+(?:\Z|"\s*+(?::|\Z)))')
#: Stands for a string that is longer than any record.
_LONG = b'"'
_BLANK = re.compile(rb"[\s,:]*+")
_DECODER = json.JSONDecoder()


class Element(NamedTuple):
    """
    One record of a document.

    Args:
        number: Counts from 1.
        text: Its bytes.
        level: What it may be wrapped in.
        pod: That its stream's labels name.
    """

    number: int
    text: bytes
    level: Level
    pod: str | None


class Cutting(NamedTuple):
    """
    One record as it stands in its document.

    Args:
        number: Counts from 1.
        offset: Where it begins in the uncompressed input, in bytes.
        raw: Its bytes.
        around: What has to stand before and after it so that it is read as what it is.
    """

    number: int
    offset: int
    raw: bytes
    around: tuple[bytes, bytes]


class _Broken(Exception):
    """The bytes are no JSON, or end too early."""

    def __init__(self, reason: RejectReason, detail: str, raw: bytes) -> None:
        self.reason, self.detail, self.raw = reason, detail, raw
        super().__init__(detail)


def is_document(head: bytes) -> bool:
    """
    Return whether an input that begins with *head* (up to 64 KiB) is to be read as documents, not as lines.

    It is if it begins with a list of objects, an envelope around records, a lone brace, or two values in one line.
    """
    begin = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if begin.startswith(b"["):
        return _OBJECT.match(begin, 1) is not None
    if not begin.startswith(b"{"):
        return False
    line, _, more = begin.partition(b"\n")
    if line.rstrip() == b"{":
        return bool(more.strip()) and _OBJECT.match(begin) is not None
    text, ended, _ = begin.decode("latin-1").partition("\n")
    try:
        _, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        end = len(begin)
    else:
        # What follows has to be a whole value, too: a damaged line is no document, which would cost the lines after it.
        rest = text[end:].strip()
        if rest.startswith("{"):
            with suppress(ValueError, RecursionError):
                _DECODER.raw_decode(rest)
                return True
            if not ended:
                return True
    walk = _Walk(io.BytesIO(begin[:end]))
    with suppress(_Broken):
        for _ in walk.values():
            break
    return walk.found


def elements(stream: BinaryIO, tally: Tally) -> Iterator[Element]:
    """
    Yield every record of the documents in *stream*.

    Counts them in `tally.read`; those over LINE_LIMIT are rejected, and where a document breaks off the tally stops.
    """
    walk = _Walk(stream)
    number = 0
    pod = None
    try:
        for path, text in walk.values():
            if path in _LABELS:
                pod = pod_of_labels(_decoded(text))
                continue
            if path in _STREAMS:
                pod = None
                continue
            number += 1
            tally.read += 1
            if text is None:
                tally.reject(number, RejectReason.LINE_TOO_LONG, f"longer than {LINE_LIMIT} bytes", b"")
            elif path in _PAIRS:
                yield Element(number, _line_of_pair(text), Level.STORED, pod)
            else:
                yield Element(number, text, Level.FILE, None)
    except _Broken as broken:
        tally.stop(number + 1, broken.reason, broken.detail, broken.raw)


def cut(stream: BinaryIO, numbers: Collection[int]) -> Iterator[Cutting]:
    """Yield the records of the documents in *stream* that have these *numbers*, as `elements` counts them."""
    walk, number, labels = _Walk(stream), 0, b""
    with suppress(_Broken):
        for path, text in walk.values():
            if path in _LABELS:
                labels = text or b""
            elif path in _STREAMS:
                labels = b""
            else:
                number += 1
                if number in numbers and text is not None:
                    around = b"[", b"]"
                    if path in _PAIRS:
                        begin = b'"stream":' + labels + b"," if labels else b""
                        around = b'{"streams":[{' + begin + b'"values":[', b"]}]}"
                    elif b"\n" not in text:
                        around = b"", b""
                    yield Cutting(number, walk.offset - len(text), text, around)
                if number >= max(numbers):
                    return


def ends_inside(text: bytes) -> bool:
    """Whether *text* is the beginning of a JSON object, and not all of it."""
    try:
        for _ in _Walk(io.BytesIO(text)).values():
            return False
    except _Broken as broken:
        return broken.reason is RejectReason.TRUNCATED_FILE
    return False


def _decoded(text: bytes | None) -> object:
    try:
        return json.loads((text or b"null").decode())
    except (ValueError, RecursionError):
        return None


def _line_of_pair(text: bytes) -> bytes:
    """Return the line of `["time", "line"]`; what is no such pair goes to the format as it is, which will refuse it."""
    pair = _decoded(text)
    if isinstance(pair, list) and len(pair) > 1 and isinstance(pair[1], str):
        return pair[1].rstrip("\r\n").encode("utf-8", "surrogatepass")
    return text


class _Walk:
    """Goes through documents value by value. Holds one element and one piece of the stream."""

    def __init__(self, stream: BinaryIO) -> None:
        # What is asked of a buffer in one piece is lost when the stream behind it breaks off.
        self._read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
        self._begun = False
        self._data = b""
        self._text = ""
        self._at = 0
        #: Bytes from here on are wanted, once they are all there; null: none are.
        self._keep: int | None = None
        self._ended = False
        self._forgotten = 0
        #: Whether the document that is read, or the last one, is a list of records or an envelope around one.
        self.found = False

    def values(self) -> Iterator[tuple[tuple[str, ...], bytes | None]]:
        """
        Yield (path, bytes) of records and labels, and (path, nothing) where a stream begins.

        The bytes are null for what is longer than LINE_LIMIT. The path of an object without records is ().

        Raises:
            _Broken: What follows cannot be read.
        """
        opened: list[tuple[bytes, str]] = []  # the bracket, and the key or EACH by which its values are reached
        while (token := self._next()) is not None:
            path = tuple(key for _, key in opened)
            if token in (b"}", b"]"):
                self._close(opened, token)
                if not opened and not self.found:
                    yield (), self._kept()
                    self._keep = None
            elif opened and opened[-1][0] == b"{" and token.startswith(b'"') and self._next_is_colon():
                opened[-1] = (b"{", _key(token))
            elif path in _WANTED:
                yield path, self._element(token)
            elif not opened and token == b"{" and (record := self._record()) is not None:
                yield (), record
            elif token in (b"{", b"["):
                if path in _STREAMS:
                    yield path, None
                if path in _ON_THE_WAY:
                    self._open(opened, path, token)
                else:
                    self._pass()
            elif not opened:
                raise self._broken("no JSON object")
        if opened:
            raise self._early()

    @property
    def offset(self) -> int:
        """How many bytes of the stream were passed so far."""
        return self._forgotten + self._at

    def _open(self, opened: list[tuple[bytes, str]], path: tuple[str, ...], bracket: bytes) -> None:
        if not opened:
            self.found, self._keep = False, self._at - 1
        opened.append((bracket, "" if bracket == b"{" else EACH))
        if bracket == b"[" and (*path, EACH) in _LISTS:
            self.found, self._keep = True, None

    def _close(self, opened: list[tuple[bytes, str]], bracket: bytes) -> None:
        if not opened or opened.pop()[0] != (b"{" if bracket == b"}" else b"["):
            raise self._broken("brackets that do not match")

    def _record(self) -> bytes | None:
        """Return the bytes of an object that is no envelope and all there, whose brace was read; else null."""
        begin = self._at - 1
        try:
            value, end = _DECODER.raw_decode(self._text, begin)
        except (ValueError, RecursionError):
            return None
        if value.keys() & _ENVELOPES or end - begin > LINE_LIMIT:
            return None
        self.found, self._at = False, end
        return self._data[begin:end]

    def _next(self) -> bytes | None:
        while True:
            match = _TOKEN.match(self._data, self._at)
            if match is not None and (match.end() < len(self._data) or match[3] is None or self._ended):
                self._at = match.end()
                return match[match.lastindex or 0]
            blank = _BLANK.match(self._data, self._at)
            start = blank.end() if blank is not None else self._at
            if match is None and b"\n" in self._data[start:]:
                raise self._broken("a string that does not end in its line")
            if match is None and len(self._data) - start > LINE_LIMIT:
                return self._long_string(start)
            if self._keep is not None and len(self._data) - self._keep > 2 * LINE_LIMIT:
                self._keep = None  # too long to be wanted
            if not self._fill() and match is None:
                if start == len(self._data):
                    return None
                raise self._early()

    def _long_string(self, start: int) -> bytes:
        """Pass over a string that is longer than any record."""
        self._keep, self._at = None, start + 1
        while (match := _STRING_END.match(self._data, self._at)) is None:
            if b"\n" in self._data[self._at :]:
                raise self._broken("a string that does not end in its line")
            escapes = len(self._data) - len(self._data.rstrip(b"\\"))
            self._at = max(self._at, len(self._data) - escapes % 2)
            if not self._fill():
                raise self._early()
        self._at = match.end()
        return _LONG

    def _next_is_colon(self) -> bool:
        """Whether the string that was read is a key."""
        while True:
            at = self._at
            while at < len(self._data) and self._data[at] in b" \t\r\n":
                at += 1
            if at < len(self._data):
                return self._data[at] == ord(":")
            if not self._fill():
                return False

    def _element(self, token: bytes) -> bytes | None:
        """Return the bytes of a value that begins with *token*, which was read; null if they are too many."""
        if token not in (b"{", b"["):
            return token if token != _LONG and len(token) <= LINE_LIMIT else None
        self._keep = self._at - 1
        self._pass()
        text = self._kept()
        self._keep = None
        return text

    def _pass(self) -> None:
        """Go to the end of an object or array whose bracket was read."""
        try:
            _, self._at = _DECODER.raw_decode(self._text, self._at - 1)
        except (ValueError, RecursionError):  # it goes on in the next piece, or holds what only the format can judge
            depth = 1
            while depth:
                token = self._next()
                if token is None:
                    raise self._early() from None
                depth += (token in (b"{", b"[")) - (token in (b"}", b"]"))

    def _kept(self) -> bytes | None:
        if self._keep is None or self._at - self._keep > LINE_LIMIT:
            return None
        return self._data[self._keep : self._at]

    def _fill(self) -> bool:
        """Read on, and forget what is no longer wanted; false at the end."""
        if self._ended:
            return False
        try:
            more = self._read(_READ)
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise _Broken(RejectReason.BAD_COMPRESSION, str(error), self._data[self._keep or self._at :]) from error
        if not more:
            self._ended = True
            return False
        if not self._begun:
            size = len(more)
            more, self._begun = more.removeprefix(b"\xef\xbb\xbf"), True
            self._forgotten = size - len(more)
        first = self._at if self._keep is None else self._keep
        self._forgotten += first
        self._data = self._data[first:] + more
        self._text = self._data.decode("latin-1")  # a character for each byte: what the decoder counts are bytes
        self._at -= first
        self._keep = None if self._keep is None else 0
        return True

    def _early(self) -> _Broken:
        begin = self._at if self._keep is None else self._keep
        return _Broken(RejectReason.TRUNCATED_FILE, "the document ends early", self._data[begin : begin + 512])

    def _broken(self, detail: str) -> _Broken:
        return _Broken(RejectReason.BAD_RECORD, detail, self._data[self._at : self._at + 512])


def _key(token: bytes) -> str:
    """Return a key; one that is a bracket pair is none of a path."""
    key = token[1:-1].decode("utf-8", "replace")
    return "" if key == EACH else key
