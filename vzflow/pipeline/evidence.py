"""Segment -> the bytes it was read from: found under the names it came by, and used only if they are still the same."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from io import BufferedReader
from typing import Any

from vzflow.flow.errors import Place, UnreadableInput, UsageProblem
from vzflow.pipeline.inputs import Part
from vzflow.pipeline.one_input import Progress, Told
from vzflow.pipeline.streams import forward
from vzflow.pipeline.unpacked import STDIN, Opened, is_pipe, open_input, readable
from vzflow.readers.base import HEAD, Context
from vzflow.readers.sniff import FORMATS, Format

_GATHERED = 1 << 16

Receipt = Mapping[str, Any]


@dataclass(frozen=True)
class Origin:
    """
    The part of an input that a segment is, there and unchanged.

    Args:
        name: Of the file, as it was found.
        receipt: Of the segment.
        before: The beginning of the log, as far as it is before this part.
        progress: Told as its content is read.
    """

    name: str
    receipt: Receipt
    before: bytes
    progress: Progress | None = None

    @property
    def form(self) -> Format:
        return FORMATS[self.receipt["format"]]

    @property
    def is_document(self) -> bool:
        """Whether it is a log of JSON documents, whose records are elements."""
        return self.form.is_log and self.receipt["stream"] is None

    @property
    def context(self) -> Context:
        """What its reader was told at ingest."""
        return context_of(self.receipt, self.receipt["name"], document=self.is_document, before=self.before)

    @contextmanager
    def content(self) -> Iterator[BufferedReader]:
        """Open it: bytes from `offset_from` on, up to `offset_to` of a log."""
        with readable(self.name), closing(open_input(self.name)) as opened:
            yield BufferedReader(_part(opened, self.receipt, self.progress), _GATHERED)


def context_of(
    receipt: Receipt, path: str, *, document: bool = False, before: bytes = b"", reporter: str | None = None
) -> Context:
    """Return what a reader is told of bytes that are to be read as *receipt* says."""
    read = json.loads(receipt["interpretation"])
    formats = read.get("envoy_format")
    return Context(
        path, receipt["segment"], receipt["cluster"], reporter or receipt["reporter_name"],
        tuple(read.get("vxlan_ports", ())), document, before, None if formats is None else json.dumps(formats),
    )  # fmt: skip


def origin_of(
    receipts: Sequence[Receipt], segment: str, inputs: Sequence[str] = (), progress: Progress | None = None
) -> Origin:
    """
    Return what a segment was read from.

    Args:
        receipts: Of everything that is stored.
        segment: One of them.
        inputs: Where to look, instead of under the names it was ingested by.
        progress: Told as it is read: to see whether it is the same, and again whenever its content is.

    Raises:
        UnreadableInput: It is not there any more, or has changed.
        UsageProblem: It came through a pipe, and no file was named.
    """
    mine = [r for r in receipts if r["segment"] == segment]
    names = list(inputs) or _names(receipts, mine)
    places = [name for name in names if not is_pipe(name)]
    if not places:
        what = "standard input" if names == [STDIN] else "a pipe"
        raise UsageProblem(
            f"was read from {what}, which cannot be read again", at=names[0], do="Name a copy of it with --input FILE."
        )
    problems: list[UnreadableInput] = []
    for name in places:
        try:
            return _checked(name, mine[0], progress)
        except UnreadableInput as problem:
            problems.append(problem)
    # A file that is there and other says more than one that is not.
    raise next((p for p in problems if p.what.startswith(_CHANGED)), problems[0])


_CHANGED = "is not what was ingested"


def _names(receipts: Sequence[Receipt], mine: Sequence[Receipt]) -> list[str]:
    """Return the names of a segment, newest first; then those by which its log came later, rotated or grown."""
    stream = mine[0]["stream"]
    later = [r for r in receipts if stream is not None and r["stream"] == stream]
    ordered = [*sorted(mine, key=_ingested, reverse=True), *sorted(later, key=_ingested, reverse=True)]
    return list(dict.fromkeys(r["name"] for r in ordered))


def _ingested(receipt: Receipt) -> Any:  # noqa: ANN401 - a time
    return receipt["ingested_at"]


def _checked(name: str, receipt: Receipt, progress: Progress | None) -> Origin:
    try:
        with readable(name), closing(open_input(name)) as opened:
            before = opened.plain.peek(HEAD)[: receipt["offset_from"]]
            part = _part(opened, receipt, progress)
            part.drain()
            found = part.content.hexdigest()
    except UnreadableInput as problem:
        do = "Say where it is now with --input FILE."
        raise UnreadableInput(problem.what, at=problem.at, do=do) from problem
    if found != receipt["digest"]:
        what = f"{_CHANGED}: BLAKE3 {found[:16]}..., not {receipt['digest'][:16]}..."
        raise UnreadableInput(what, at=Place(name), do="Say where the original is with --input FILE.")
    return Origin(name, receipt, before, progress)


def _part(opened: Opened, receipt: Receipt, progress: Progress | None) -> Part:
    def tell() -> None:
        if progress is not None:
            progress(Told(opened.name, opened.plain.position, opened.size, 0, "bytes"))

    if receipt["stream"] is None:
        return Part(opened.plain, on_read=tell)
    forward(opened.plain, receipt["offset_from"], tell)
    return Part(opened.plain, receipt["offset_to"] - receipt["offset_from"], tell)
