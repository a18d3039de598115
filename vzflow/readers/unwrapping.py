"""Lines and documents -> records out of their wrappings, with what the format says of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BufferedReader, BytesIO
from typing import Any, BinaryIO, NamedTuple, cast

from vzflow.flow.errors import REJECT_KEEPS
from vzflow.flow.terms import RejectReason, SkipReason
from vzflow.readers.base import HEAD, LINE_LIMIT, Context, Parsed, Tally, Unusable, lines
from vzflow.readers.documents import elements, ends_inside, is_document
from vzflow.readers.wrappings import (
    Level,
    Peeled,
    is_tool_message,
    perhaps,
    pod_beside,
    pod_of_path,
    surely,
)

#: What a format makes of a record.
Parse = Callable[[bytes], Parsed]
Outcome = Parsed | Unusable
Pods = tuple[str, ...]

#: Streams whose lines may be unfinished at a time: a container has two, and a shipper's file holds many containers'.
STREAMS = 16


class Record(NamedTuple):
    """
    One record.

    Args:
        number: Of its line or element; of the first one if it came in pieces.
        pieces: How many lines it came in.
        outcome: Its row, or why there is none.
        pod: The one pod that its wrappings and the path name; null if they name none, or several.
        raw: The beginning of its first line, wrapped.
    """

    number: int
    pieces: int
    outcome: Outcome
    pod: str | None
    raw: bytes


class Opened(NamedTuple):
    """
    A log, opened.

    Args:
        stream: All of its bytes.
        document: Whether it is JSON documents instead of lines.
        head: What lines begin with, up to HEAD bytes.
    """

    stream: BinaryIO
    document: bool
    head: bytes


def opened(stream: BinaryIO, context: Context) -> Opened:
    """Return *stream*, and whether it is a document: by its beginning, if nobody else knows."""
    if context.document:
        return Opened(stream, True, b"")
    buffered = BufferedReader(cast(Any, stream), HEAD)  # it asks no more of a stream than `readinto`
    head = buffered.peek(HEAD)
    return Opened(buffered, context.document is None and is_document(head), head)


def records(
    stream: BinaryIO, context: Context, tally: Tally, parse: Parse, *, document: bool = False
) -> Iterator[Record]:
    """Yield what became of every line that is not blank, or of every element; what is read is counted in *tally*."""
    unwrapper = Unwrapper(parse, pod_of_path(context.path))
    if document:
        found = (unwrapper.read(*element) for element in elements(stream, tally))
    else:
        found = (unwrapper.read(number, line) for number, line in lines(stream, tally))
    for record in found:
        yield from unwrapper.unfinished(STREAMS) if record is None else (record,)
    yield from unwrapper.unfinished()


def unwrapped_head(head: bytes) -> bytes:
    """Return what the records in the beginning of a log may be, a line each, the innermost first."""
    tried: list[bytes] = []
    found: list[bytes] = []

    def note(text: bytes) -> SkipReason:
        tried.append(text)
        raise Unusable(RejectReason.FIELD_MISSING, "")

    unwrapper = Unwrapper(note)
    stream = BytesIO(head)
    one_by_one = (
        elements(stream, Tally())
        if is_document(head)
        else ((n, line, Level.FILE, None) for n, line in lines(stream, Tally()))
    )
    for number, text, level, _ in one_by_one:
        tried.clear()
        unwrapper.read(number, text, level)
        found += tried[:0:-1] or tried
    return b"\n".join(text.replace(b"\n", b" ") for text in found)


@dataclass
class _Held:
    """The pieces of a line whose last one has not come yet."""

    first: int
    raw: bytes
    pods: Pods
    pieces: int = 0
    text: bytearray = field(default_factory=bytearray)
    too_long: bool = False

    def add(self, text: bytes) -> None:
        self.pieces += 1
        self.too_long = self.too_long or len(self.text) + len(text) > LINE_LIMIT
        if self.too_long:
            self.text.clear()
        else:
            self.text += text


class Unwrapper:
    """
    Takes records out of their wrappings one at a time, and asks their format what they are.

    A record that is its format's as it stands is taken so; else what may be a wrapping is taken off. Nothing but
    the pieces of unfinished lines is carried from one record to the next, and of those a bounded number.

    Args:
        parse: What the format makes of a record.
        pod: That the path names.
    """

    def __init__(self, parse: Parse, pod: str | None = None) -> None:
        self._parse = parse
        self._path = () if pod is None else (pod,)
        self._held: dict[str, _Held] = {}
        self._line = (0, b"")
        self._pieces: _Held | None = None

    def read(self, number: int, line: bytes, level: Level = Level.FILE, pod: str | None = None) -> Record | None:
        """Return the record that ends with *line*; null if it is a piece of one, and not the last."""
        self._line, self._pieces = (number, line), None
        outcome, pods = self._outcome(line, level, self._path if pod is None else (*self._path, pod))
        if outcome is None:
            return None
        if self._pieces is None:
            return Record(number, 1, outcome, _one(pods), line)
        return Record(self._pieces.first, self._pieces.pieces, outcome, _one(pods), self._pieces.raw)

    def waits(self) -> bool:
        """Whether lines are unfinished."""
        return bool(self._held)

    def unfinished(self, keep: int = 0) -> Iterator[Record]:
        """Yield, and forget, the lines whose last piece has not come, but for the *keep* newest."""
        while len(self._held) > keep:
            yield _lost(self._held.pop(next(iter(self._held))))

    def _outcome(self, line: bytes, level: Level, pods: Pods) -> tuple[Outcome | None, Pods]:
        """Return what becomes of a record, and the pods that its wrappings name; null for a piece of one."""
        if (peeled := surely(line, level)) is not None:
            return self._inside(peeled, pods)
        outcome: Outcome
        try:
            outcome = self._parse(line)
        except Unusable as unusable:
            outcome = unusable
        if isinstance(outcome, (dict, list)):
            if b"\n" in line and not line.startswith(b"{"):
                return Unusable(RejectReason.COLUMNS_AMBIGUOUS, "more than one line"), pods
            beside = pod_beside(line, level)
            return outcome, pods if beside is None else (*pods, beside)
        if outcome is SkipReason.OTHER_PROGRAM:  # without its header it would look like what it imitates
            return outcome, pods
        if level == Level.FILE and is_tool_message(line):
            return SkipReason.TOOL_MESSAGE, pods
        best: tuple[Outcome | None, Pods] = outcome, pods
        for peeled in perhaps(line, level):
            inner = self._inside(peeled, pods)
            if peeled.sure or isinstance(inner[0], (dict, list)):
                return inner
            # What is wrong is said best where it is, if it is a record at all.
            if isinstance(inner[0], Unusable) and (_is_damage(inner[0], peeled.text) or _is_nothing(outcome)):
                best = inner
        return best

    def _inside(self, peeled: Peeled, pods: Pods) -> tuple[Outcome | None, Pods]:
        if peeled.pod is not None:
            pods = (*pods, peeled.pod)
        text = peeled.text
        if peeled.stream is not None and (self._held or not peeled.whole):
            held = self._joined(peeled.stream, text, pods, whole=peeled.whole)
            if held is None:
                return None, pods
            if held.too_long:
                return Unusable(RejectReason.LINE_TOO_LONG, f"longer than {LINE_LIMIT} bytes in its pieces"), pods
            text = bytes(held.text)
        if not text.strip():
            return SkipReason.BLANK_LINE, pods
        outcome, pods = self._outcome(text, peeled.level, pods)
        if peeled.may_be_cut and isinstance(outcome, Unusable) and text.startswith(b"{") and ends_inside(text):
            outcome = Unusable(RejectReason.TRUNCATED, f"cut after {len(text)} bytes")
        return outcome, pods

    def _joined(self, stream: str, text: bytes, pods: Pods, *, whole: bool) -> _Held | None:
        """Return the line that *text* is the last piece of; null if it is not the last one."""
        held = self._held.pop(stream, None)
        if held is None:
            number, line = self._line
            held = _Held(number, line[:REJECT_KEEPS], pods)
        held.add(text)
        if whole:
            self._pieces = held
            return held
        self._held[stream] = held
        return None


def _is_nothing(outcome: Outcome) -> bool:
    """Whether the format knows nothing of the record."""
    return isinstance(outcome, Unusable) and outcome.reason is RejectReason.NOT_JSON


def _is_damage(outcome: Unusable, text: bytes) -> bool:
    """Whether the format knows *text* for a record of its own, or would if it were whole."""
    return not _is_nothing(outcome) or text.lstrip().startswith(b"{")


def _one(pods: Pods) -> str | None:
    """
    Return the pod that is named; whoever contradicts another may be lying.

    A name without its namespace can contradict, and is nobody's by itself: several pods may bear it, and a node.
    """
    whole = {pod for pod in pods if "/" in pod}
    return whole.pop() if len(whole) == 1 and len({pod.rpartition("/")[2] for pod in pods}) == 1 else None


def _lost(held: _Held) -> Record:
    outcome = Unusable(RejectReason.TRUNCATED, "its last piece is missing")
    return Record(held.first, held.pieces, outcome, _one(held.pods), held.raw)
