"""
Measures vzflow beside its peers on captures made for it: `make bench`, or `make bench-short` for a few minutes.

In each case the programs run in turn, round after round, so that a busy neighbour slows all of them. The captures are
made once and kept; everything a program writes goes to a folder that is removed.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench import measure, page
from bench.captures import Capture, Captures
from bench.page import Case, Entry, Row
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
    """Packets and flows of the captures for fast programs; of their cut for slow ones; flows that live at once."""

    packets: int
    flows: int
    cut: int
    live: int

    @classmethod
    def of(cls, packets: int, flows: int) -> Size:
        return cls(packets, flows, packets // 5, packets // 20)


FULL, SHORT = Size.of(10_000_000, 250_000), Size.of(1_000_000, 25_000)


def cases(size: Size, cache: Path) -> Iterator[Case]:
    """Everything that is measured."""
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
    return Program(f"vzflow --jobs {count}", command, "this checkout", packets=RECORDED.packets)


def _starts() -> Iterator[Program]:
    python = sys.executable
    yield Program("python -c pass", lambda _: [python, "-c", "pass"], "", "Python alone")
    yield Program('python -c "import vzflow"', lambda _: [python, "-c", "import vzflow"], "")
    yield Program("vzflow --help", lambda _: [python, "-m", "vzflow", "--help"], "")
    yield Program("vzflow ingest, 200 packets", RECORDED.command, "", "a new store")
    yield Program("the same, classified", CLASSIFIED.command, "", "a new store")


def measured(case: Case, captures: Captures, rounds: int, scratch: Path) -> list[Row]:
    """One row for each program of the case; each round runs all of them in turn."""
    paths = [captures.path(capture) for capture in case.captures]
    packets = sum(capture.packets for capture in case.captures)
    for path in paths:
        measure.warm(path)
    environment = measure.environment(PYTHONPATH=str(CHECKOUT))
    rows = [
        Row(entry, "missing: " + entry.program.source if entry.program.missing() else None) for entry in case.entries
    ]
    for number in range(case.rounds or rounds):
        for row in rows:
            if row.fault is None:
                _note(f"{case.title}: {row.entry.program.name}, round {number + 1}")
                run = measure.run(row.entry.program.command(paths), environment, scratch)
                row.runs.append(run)
                row.fault = run.fault
                row.note = row.entry.program.short_of(packets, run.told)
    return rows


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _note(text: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", file=sys.stderr, flush=True)


def main(words: list[str] | None = None) -> int:
    """Print the tables; 1 if a program that is there could not be measured."""
    options = _options(words)
    size = SHORT if options.short else FULL
    if options.packets:
        size = Size.of(options.packets, options.flows or max(options.packets // 40, 20))
    options.cache.mkdir(parents=True, exist_ok=True)
    if not options.no_install:
        install_nfstream(options.cache)
    captures = Captures(options.captures or options.cache / "captures", _note)
    begin, load = datetime.now(UTC), os.getloadavg()[0]
    parts = []
    faults = False
    with tempfile.TemporaryDirectory(prefix="vzflow-bench-") as scratch:
        for case in cases(size, options.cache):
            if not re.search(options.only, case.title):
                continue
            case = case.keeping(options.programs)
            rows = measured(case, captures, options.rounds, Path(scratch))
            parts.append(page.table(case, rows))
            print(parts[-1], flush=True)
            faults |= any(row.runs and row.fault for row in rows)
    _note(f"load {load:.2f} before, {os.getloadavg()[0]:.2f} after, {_cores()} cores")
    if options.write:
        made = page.Made(begin, " ".join(options.words), options.rounds, load, os.getloadavg()[0], _cores())
        page.write(CHECKOUT / "docs" / "benchmarks.md", parts, made, versions(size, options.cache))
    return int(faults)


def versions(size: Size, cache: Path) -> dict[str, str]:
    """Name and version of each program that is there."""
    entries = (entry for case in cases(size, cache) for entry in case.entries)
    programs = {e.program.name.split()[0].rstrip(","): e.program for e in entries if e.program.version}
    return {name: program.told_version() for name, program in programs.items() if not program.missing()}


def _options(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description="Measure vzflow beside its peers.")
    parser.add_argument("--short", action="store_true", help=f"{SHORT.packets:,} packets instead of {FULL.packets:,}")
    parser.add_argument("--packets", type=int, help="so many packets; the slow programs' cut is a fifth")
    parser.add_argument("--flows", type=int, help="so many flows; one for 40 packets without it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", metavar="PATTERN", help="cases whose title matches")
    parser.add_argument("--programs", default="", metavar="PATTERN", help="programs whose name matches")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where nfstream and the captures are kept")
    parser.add_argument("--captures", type=Path, help="where the captures are kept, if elsewhere")
    parser.add_argument("--no-install", action="store_true", help="do not install nfstream")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    options = parser.parse_args(words)
    options.words = sys.argv[1:] if words is None else words
    return options


if __name__ == "__main__":
    sys.exit(main())
