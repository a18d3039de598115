"""Flows -> the packets or lines behind them: where they stand in their input, cut out of it, and as scapy sees them."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

from vzflow.flow.errors import Place, UsageProblem, VzflowError
from vzflow.flow.key import ENTRY
from vzflow.pipeline.evidence import Origin, context_of, origin_of
from vzflow.pipeline.inputs import How, Part, format_of
from vzflow.pipeline.one_input import Progress
from vzflow.pipeline.unpacked import open_input
from vzflow.readers import cutting, line_cutting
from vzflow.readers.base import Tally
from vzflow.readers.sniff import FORMATS, is_stream
from vzflow.readers.tracing import Traced

Row = Mapping[str, Any]

#: Packets that are dissected.
MOST_PACKETS = 20
#: Bytes of a line or element that are shown.
SHOWN = 4_096
_CAPTURES, _LOGS = ("pcap", "pcapng"), ("log", "jsonl", "json", "txt")


@dataclass(frozen=True)
class Extract:
    """
    What was cut out of one input.

    Args:
        name: Of the file written.
        origin: Of the input.
        flows: Ids.
        records: Packets or lines in it.
        context: Those of them that are of no flow asked for, and without which a flow would be another one.
        size: Bytes.
        command: That ingests it.
        differs: By flow id, columns in which it reads otherwise by itself.
    """

    name: str
    origin: str
    flows: tuple[str, ...]
    records: int
    context: int
    size: int
    command: str
    differs: dict[str, list[str]]


def place_of(
    receipts: Sequence[Row], row: Row, inputs: Sequence[str] = (), progress: Progress | None = None
) -> dict[str, Any]:
    """
    Return where the record of a flow stands: what it is, its number, byte in the uncompressed input, a log's text.

    `why_not` says why the byte is not known: the input is not there, or has changed. *progress* is told as it is read.
    """
    receipt = next(r for r in receipts if r["segment"] == row["segment"])
    form = FORMATS[receipt["format"]]
    entry, number = divmod(row["record"], ENTRY)
    place: dict[str, Any] = {
        "input": receipt["name"], "kind": "packet", "number": number + (receipt["first_line"] or 1) - 1,
        "entry": entry + 1 if entry else None, "offset": None, "text": None, "why_not": None,
    }  # fmt: skip
    if form.is_log:
        place["kind"] = "element" if receipt["stream"] is None else "line"
    try:
        origin = origin_of(receipts, row["segment"], inputs, progress)
    except VzflowError as problem:
        if inputs:
            raise
        place["why_not"] = str(problem)
        return place
    place["input"] = origin.name
    with origin.content() as stream:
        if form.is_log:
            for one in line_cutting.cut(stream, form, origin.context, [row["record"]]):
                place["offset"] = receipt["offset_from"] + one.offset
                place["text"] = one.raw[:SHOWN].decode("utf-8", "backslashreplace").rstrip("\r\n")
        else:
            for packet in cutting.cut(stream, {number}):
                place["offset"] = packet.offset
    return place


def extract(
    receipts: Sequence[Row], rows: Sequence[Row], out: str, inputs: Sequence[str] = (), progress: Progress | None = None
) -> list[Extract]:
    """
    Write the packets or lines behind recorded *rows* to *out*; what is of several inputs, to `out-2` and so on.

    Each is read back, and what reads otherwise than it is stored is told. Nothing is written unless all can be.

    Args:
        receipts: Of everything that is stored.
        rows: Recorded columns. By the ending of *out*, those of captures or those of logs are taken.
        out: NAME.pcap, NAME.pcapng or NAME.log. A capture keeps its own format.
        inputs: Where their inputs are now.
        progress: Told as they are read.

    Raises:
        UsageProblem: *out* has another ending, exists or cannot be written; no row is of its kind; or of a pipe.
        UnreadableInput: An input is not there any more, or has changed.
    """
    wanted = _of_kind(receipts, rows, out)
    parts: dict[str, list[tuple[Origin, list[Row]]]] = {}
    for segment, mine in wanted.items():
        origin = origin_of(receipts, segment, inputs, progress)
        # Ranges of one log are one file again; captures are not, nor are documents.
        key = f"{origin.name} {origin.receipt['interpretation']}" if origin.receipt["stream"] else segment
        parts.setdefault(key, []).append((origin, mine))
    names = [_numbered(out, place) for place in range(len(parts))]
    taken = next((name for name in names if os.path.lexists(name)), None)
    if taken is not None:
        raise UsageProblem("exists already", at=Place(taken), do="Name another file, or remove it.")
    found = [_cut(part) for part in parts.values()]
    _write({name: content for name, (content, *_) in zip(names, found, strict=True)})
    return [
        _read_back(name, part, records, around)
        for name, part, (_, records, around) in zip(names, parts.values(), found, strict=True)
    ]


def dissect(
    receipts: Sequence[Row], row: Row, inputs: Sequence[str] = (), progress: Progress | None = None
) -> dict[str, Any]:
    """
    Return scapy's view of one flow's packets: number, byte and text of the first MOST_PACKETS; and how many it has.

    *progress* is told as its input is read.

    Raises:
        UsageProblem: The flow was not read from packets, or its input was a pipe.
        UnreadableInput: The input is not there any more, or has changed.
    """
    from vzflow.readers.packet_scapy import view

    if row["source"] != "pcap":
        raise UsageProblem("not a flow of packets", at="--dissect", do="Its record is a line, which is shown without.")
    origin = origin_of(receipts, row["segment"], inputs, progress)
    numbers = sorted(_traced(origin, [row])[row["record"]].packets)
    with origin.content() as stream:
        shown = [
            {"number": one.number, "offset": one.offset, "text": view(one.link, one.data, one.length)}
            for one in cutting.cut(stream, numbers[:MOST_PACKETS])
        ]
    return {"packets": len(numbers), "shown": shown}


def _of_kind(receipts: Sequence[Row], rows: Sequence[Row], out: str) -> dict[str, list[Row]]:
    suffix = Path(out).suffix.removeprefix(".").lower()
    if suffix not in (*_CAPTURES, *_LOGS):
        raise UsageProblem(f"not the name of a capture or log: {out}", at="--extract", do="Write OUT.pcap or OUT.log.")
    forms = {r["segment"]: FORMATS[r["format"]] for r in receipts}
    wanted: dict[str, list[Row]] = {}
    for row in rows:
        if forms[row["segment"]].is_log == (suffix in _LOGS):
            wanted.setdefault(row["segment"], []).append(row)
    if not wanted:
        here, there = ("packets", "lines") if suffix in _CAPTURES else ("lines", "packets")
        name = "OUT.log" if here == "packets" else "OUT.pcap"
        raise UsageProblem(f"nothing here is of {here}", at="--extract", do=f"It was read from {there}: write {name}.")
    return wanted


def _numbered(out: str, place: int) -> str:
    path = Path(out)
    return out if place == 0 else str(path.with_name(f"{path.stem}-{place + 1}{path.suffix}"))


def _cut(part: list[tuple[Origin, list[Row]]]) -> tuple[Iterable[bytes], int, int]:
    """Return what is to be written, how many records that are, and how many of these stand around the flows only."""
    if part[0][0].form.is_log:
        lines = []
        for origin, rows in part:
            with origin.content() as stream:
                lines.append(line_cutting.cut(stream, origin.form, origin.context, [r["record"] for r in rows]))
        return map(line_cutting.text_of, lines), sum(1 + len(one.pieces) for some in lines for one in some), 0
    ((origin, rows),) = part
    traced = _traced(origin, rows)
    own = {n for one in traced.values() for n in one.packets}
    needed = {n for one in traced.values() for n in one.needed}
    return _packets(origin, needed), len(needed), len(needed - own)


def _packets(origin: Origin, numbers: set[int]) -> Iterator[bytes]:
    with origin.content() as stream:
        for one in cutting.cut(stream, numbers):
            yield one.before + one.raw


def _traced(origin: Origin, rows: Sequence[Row]) -> dict[int, Traced]:
    with origin.content() as stream:
        found = cutting.packets_of(stream, origin.context, rows)
    lost = [f"{r['segment']}:{r['record']}" for r in rows if r["record"] not in found]
    if lost:
        what = f"read again, it has no flow {', '.join(lost)}"
        raise UsageProblem(what, at=Place(origin.name), do="It was stored by another version: ingest it again.")
    return found


def _write(contents: Mapping[str, Iterable[bytes]]) -> None:
    """Write all files, or none."""
    beside = {name: f"{name}.{os.getpid()}.part" for name in contents}
    try:
        for name, content in contents.items():
            with Path(beside[name]).open("xb") as file:
                file.writelines(content)
        for name in contents:
            Path(beside[name]).replace(name)
    except OSError as error:
        for path in beside.values():
            with suppress(OSError):
                Path(path).unlink()
        raise UsageProblem(
            f"cannot be written: {error.strerror}", at=Place(error.filename or ""), do="Name another file."
        ) from error


def _read_back(name: str, part: list[tuple[Origin, list[Row]]], records: int, around: int) -> Extract:
    origin, rows = part[0][0], [row for _, mine in part for row in mine]
    named = {row["reporter_name"] for row in rows}
    reporter = origin.receipt["reporter_name"]
    if reporter is None and origin.form.is_log and len(named) == 1:
        (reporter,) = named
    command, again = _again(name, origin, None), _rows_of(name, origin, None)
    if reporter is not None and any(_differs(row, again) for row in rows):  # the path named it, or the user did
        command, again = _again(name, origin, reporter), _rows_of(name, origin, reporter)
    differs = {f"{row['segment']}:{row['record']}": found for row in rows if (found := _differs(row, again))}
    ids = tuple(f"{row['segment']}:{row['record']}" for row in rows)
    return Extract(name, origin.name, ids, records, around, Path(name).stat().st_size, command, differs)


def _rows_of(name: str, origin: Origin, reporter: str | None) -> list[dict[str, Any]]:
    with closing(open_input(name)) as opened:
        form = format_of(opened, How(form=origin.form.name))
        document = form.is_log and not is_stream(form, opened.head)
        told = context_of({**origin.receipt, "reporter_name": None}, name, document=document, reporter=reporter)
        stream = BufferedReader(Part(opened.plain))
        return [row for batch in form.read(stream, told, Tally()) for row in batch.to_pylist()]


def _differs(row: Row, again: Sequence[Row]) -> list[str]:
    """Return the columns in which no row of *again* is *row*: of the nearest one."""

    def other(one: Row) -> list[str]:
        return [key for key, value in one.items() if key not in ("segment", "record") and row.get(key) != value]

    return min(map(other, again), key=len, default=["not read at all"])


def _again(name: str, origin: Origin, reporter: str | None) -> str:
    receipt = origin.receipt
    read = json.loads(receipt["interpretation"])
    words = ["vzflow", "ingest", name, "--format", receipt["format"]]
    if receipt["cluster"] != "default":
        words += ["--cluster", receipt["cluster"]]
    if reporter is not None:
        words += ["--reporter", reporter]
    for port in read.get("vxlan_ports", ()):
        words += ["--vxlan-port", str(port)]
    formats = read.get("envoy_format", ())
    if len(formats) == 1:
        words += ["--envoy-format", formats[0] if isinstance(formats[0], str) else json.dumps(formats[0])]
    elif formats:
        words += ["--envoy-format", "@FILE"]  # several come from a file only
    return shlex.join(words)
