"""
Measures vzflow beside its peers on captures and logs made for it: `make bench`, or `make bench-short`.

In each case the programs run in turn, round after round, so that a busy neighbour slows all of them. The inputs are
made once and kept; everything a program writes goes to a folder that is removed.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from bench import measure, page
from bench.inputs import Capture, Inputs
from bench.log_cases import log_cases
from bench.page import Case, Entry, Row, counted
from bench.programs import (
    ARGUS,
    ARGUS_300,
    CHECKOUT,
    CLASSIFIED,
    NFPCAPD,
    RECORDED,
    SOFTFLOWD,
    TCPDUMP,
    TSHARK,
    Program,
    install_nfstream,
    nfstream,
    vzflow,
)  # fmt: skip

#: What the goals are about (docs/benchmarks.md): at least so many times the CPU of vzflow.
FAST_PEERS = (
    Entry(TCPDUMP, times=0.5), Entry(NFPCAPD, times=4), Entry(ARGUS, times=10), Entry(ARGUS_300), Entry(SOFTFLOWD),
)  # fmt: skip
TSHARK_TIMES, NFSTREAM_TIMES = 80, 25
TWO_CORES_TIMES = 1.7
MEMORY, MEMORY_FLOWS = 400, 500_000
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "vzflow-bench"


@dataclass(frozen=True)
class Size:
    """
    Packets and flows of the captures for fast programs, lines of the logs, and lines of the logs for memory.

    Of the captures' packets, the slow programs get a fifth; a twentieth is the number of flows that live at once.
    """

    packets: int
    flows: int
    lines: int
    most_lines: int

    @property
    def cut(self) -> int:
        return self.packets // 5

    @property
    def live(self) -> int:
        return self.packets // 20


FULL, SHORT = Size(10_000_000, 250_000, 1_000_000, 10_000_000), Size(1_000_000, 25_000, 100_000, 1_000_000)


def cases(size: Size, cache: Path) -> Iterator[Case]:
    """Everything that is measured."""
    yield from _capture_cases(size, cache)
    yield from log_cases(size.lines, size.most_lines)


def _capture_cases(size: Size, cache: Path) -> Iterator[Case]:
    shapes = (("full size", None), ("96 bytes a packet", 96))
    for shape, snaplen in shapes:
        capture = Capture(size.packets, size.flows, snaplen)
        yield Case(shape, (capture,), (Entry(RECORDED), Entry(CLASSIFIED), *FAST_PEERS))
    slow = (
        Entry(nfstream(cache, 0), times=NFSTREAM_TIMES), Entry(nfstream(cache, 20)), Entry(TSHARK, times=TSHARK_TIMES)
    )  # fmt: skip
    for shape, snaplen in shapes:
        capture = Capture(size.cut, size.flows * size.cut // size.packets, snaplen)
        yield Case(f"slow programs, {shape}", (capture,), (Entry(RECORDED), *slow))
    for shape, snaplen, packets in (("full size", None, size.cut), ("96 bytes a packet", 96, size.packets)):
        flows = size.flows * packets // size.packets
        two = tuple(Capture(packets, flows, snaplen, seed=seed) for seed in (1, 2))
        yield Case(f"two captures, {shape}", two, (
            Entry(_jobs(1)), Entry(_jobs(2), times=TWO_CORES_TIMES if _cores() > 1 else None),
        ), of="wall")  # fmt: skip
    for times in (1, 2):
        capture = Capture(size.live * 11 * times, size.live, live=True)
        most = MEMORY if size.live >= MEMORY_FLOWS else None
        yield Case(f"{size.live:,} flows at once, {times}x", (capture,), (Entry(RECORDED, memory=most),), rounds=1)
    tiny = Capture(200, 10)
    yield Case("start-up", (tiny,), tuple(Entry(program) for program in _starts()), of=None, rounds=5)


def _jobs(count: int) -> Program:
    command = vzflow("--no-classify", "--jobs", str(count))
    return Program(f"vzflow --jobs {count}", command, "this checkout", records=RECORDED.records)


def _starts() -> Iterator[Program]:
    python = sys.executable
    yield Program("python -c pass", lambda _: [python, "-c", "pass"], "", "Python alone")
    yield Program('python -c "import vzflow"', lambda _: [python, "-c", "import vzflow"], "")
    yield Program("vzflow --help", lambda _: [python, "-m", "vzflow", "--help"], "")
    yield Program("vzflow ingest, 200 packets", RECORDED.command, "", "a new store")
    yield Program("the same, classified", CLASSIFIED.command, "", "a new store")


def measured(case: Case, inputs: Inputs, rounds: int, scratch: Path) -> list[Row]:
    """One row for each program of the case; each round runs all of them in turn."""
    paths = {one: inputs.path(one) for entry in case.entries for one in case.inputs_of(entry)}
    for path in paths.values():
        measure.warm(path)
    environment = measure.environment(PYTHONPATH=str(CHECKOUT))
    rows = [
        Row(entry, "missing: " + entry.program.source if entry.program.missing() else None) for entry in case.entries
    ]
    for number in range(case.rounds or rounds):
        for row in rows:
            if row.fault is None:
                program, read = row.entry.program, case.inputs_of(row.entry)
                _note(f"{case.title}: {program.name}, round {number + 1}")
                run = measure.run(program.command([paths[one] for one in read]), environment, scratch)
                row.runs.append(run)
                row.fault = run.fault
                what, records = next(iter(counted(read).items()))
                row.note = program.short_of(records, what, run.told)
    return rows


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _note(text: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", file=sys.stderr, flush=True)


def main(words: list[str] | None = None) -> int:
    """Print the tables; 1 if a program that is there could not be measured."""
    options = _options(words)
    options.cache.mkdir(parents=True, exist_ok=True)
    if not options.no_install:
        install_nfstream(options.cache)
    inputs = Inputs(options.captures or options.cache / "captures", _note)
    wanted = [case for case in cases(options.size, options.cache) if re.search(options.only, case.title)]
    begin, load = datetime.now(UTC), os.getloadavg()[0]
    parts: dict[str, list[str]] = {}
    faults = False
    with tempfile.TemporaryDirectory(prefix="vzflow-bench-") as scratch:
        for case in wanted:
            case = case.keeping(options.programs)
            rows = measured(case, inputs, options.rounds, Path(scratch))
            told = page.table(case, rows)
            parts.setdefault(case.section, []).append(told)
            print(told, flush=True)
            faults |= any(row.runs and row.fault for row in rows)
    _note(f"load {load:.2f} before, {os.getloadavg()[0]:.2f} after, {_cores()} cores")
    made = page.Made(begin, " ".join(options.words), options.rounds, load, os.getloadavg()[0], _cores())
    for section, tables in parts.items() if options.write else ():
        known = versions(case for case in wanted if case.section == section)
        page.write(CHECKOUT / "docs" / "benchmarks.md", section, tables, made, known)
    return int(faults)


def versions(cases: Iterable[Case]) -> dict[str, str]:
    """Name and version of each program that is there."""
    entries = (entry for case in cases for entry in case.entries)
    programs = {e.program.name.split()[0].rstrip(","): e.program for e in entries if e.program.version}
    return {name: program.told_version() for name, program in programs.items() if not program.missing()}


def _options(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description="Measure vzflow beside its peers.")
    parser.add_argument("--short", action="store_true", help=f"{SHORT.packets:,} packets, {SHORT.lines:,} lines")
    parser.add_argument("--packets", type=int, help="so many packets; the slow programs' cut is a fifth")
    parser.add_argument("--flows", type=int, help="so many flows; one for 40 packets without it")
    parser.add_argument("--lines", type=int, help="so many lines of each log")
    parser.add_argument(
        "--most-lines", type=int, help="so many lines of the logs for memory; ten times as many without it"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", metavar="PATTERN", help="cases whose title matches")
    parser.add_argument("--programs", default="", metavar="PATTERN", help="programs whose name matches")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where nfstream and the inputs are kept")
    parser.add_argument("--captures", type=Path, help="where captures and logs are kept, if elsewhere")
    parser.add_argument("--no-install", action="store_true", help="do not install nfstream")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    options = parser.parse_args(words)
    options.words = sys.argv[1:] if words is None else words
    options.size = _size(options)
    return options


def _size(options: argparse.Namespace) -> Size:
    size = SHORT if options.short else FULL
    if options.packets:
        size = replace(size, packets=options.packets, flows=options.flows or max(options.packets // 40, 20))
    if options.lines:
        size = replace(size, lines=options.lines, most_lines=options.lines * 10)
    return replace(size, most_lines=options.most_lines or size.most_lines)


if __name__ == "__main__":
    sys.exit(main())
