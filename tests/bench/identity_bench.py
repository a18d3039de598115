"""
Measures identity and classification: `make bench` and `make bench-short` run it after the captures.

Flows of a simulated cluster lie in stores of growing size (make_identity.py); what is done with them is
run_identity.py, each time a process of its own. Beginning is measured once and stands in a line of its own; the other
lines' BEYOND is their CPU without it, which is what the goals are about.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from bench import measure
from bench.measure import Run
from bench.programs import CHECKOUT

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "vzflow-bench"
#: Goals (design section 12): CPU seconds at MIDDLE flows, growth to more flows against linear, MB at the most flows.
GOALS = {"edges": 3.0, "verdicts": 12.0}
MIDDLE, GROWTH, MEMORY, MOST = 10_000_000, 1.1, 1000.0, 50_000_000
DOES = {
    "lookups": "begins: finds who held what, and the rules",
    "edges": "counts flows between workloads by verdict",
    "verdicts": "every flow's row, resolved and judged, stored",
    "objects": "makes the lookups of all pods that a watch told of in a day",
    "naive": "two range joins a flow in plain DuckDB, counted; no ranges, candidates or transport",
}
_BEGIN, _END = "<!-- Made by `make bench BENCH_IDENTITY=--write`. -->", "<!-- End of what identity's bench makes. -->"
_MAKERS = ("bench/make_identity.py", "identity/churn.py", "identity/churn_flows.py", "../vzflow/flow/lookups.py")
_TOLD_BY = ("bench/make_objects.py", "identity/churn.py", "identity/churn_objects.py", "../vzflow/identity/kept.py")
_HEADINGS = ("WHAT", "FLOWS", "CPU s", "BEYOND", "WALL s", "MB", "GROWTH", "GOAL", "")


@dataclass(frozen=True)
class Scale:
    """
    Pods at a time, how often each is replaced in a day, and the flows of each store, fewest first.

    `watched` is of how many pods lookups are made of objects; each is replaced as often.
    """

    pods: int
    generations: int
    flows: tuple[int, ...]
    watched: int = 20


FULL = Scale(20_000, 50, (1_000_000, MIDDLE, MOST), 400)
SHORT = Scale(1_000, 10, (10_000, 100_000), 40)


@dataclass
class Line:
    """What was measured of one thing that is done with one store; no flows: with none."""

    what: str
    flows: int | None
    runs: list[Run] = field(default_factory=list)

    @property
    def fault(self) -> str | None:
        return next((run.fault for run in self.runs if run.fault), None)


def made(scale: Scale, cache: Path) -> Path:
    """Return the folder with a store of each size, made if it is not there."""
    folder = cache / f"identity-{scale.pods}x{scale.generations}-{_digest(_MAKERS)}"
    missing = [str(count) for count in scale.flows if not (folder / f"store-{count}").exists()]
    if missing:
        _note(f"making {folder}")
        words = ["--pods", str(scale.pods), "--generations", str(scale.generations), "--flows", *missing]
        maker = [sys.executable, "-m", "bench.make_identity", folder, *words]
        subprocess.run(maker, check=True, env=_environment(), stdout=subprocess.DEVNULL)
    return folder


def told_of(scale: Scale, cache: Path) -> Path:
    """Return the file with the objects that a watch told of, made if it is not there."""
    file = cache / f"objects-{scale.watched}x{scale.generations}-{_digest(_TOLD_BY)}.parquet"
    if not file.exists():
        _note(f"making {file}")
        words = ["--pods", str(scale.watched), "--generations", str(scale.generations)]
        maker = [sys.executable, "-m", "bench.make_objects", file, *words]
        subprocess.run(maker, check=True, env=_environment(), stdout=subprocess.DEVNULL)
    return file


def _digest(names: Sequence[str]) -> str:
    source = b"".join((CHECKOUT / "tests" / name).read_bytes() for name in names)
    return hashlib.blake2b(source, digest_size=4).hexdigest()


def measured(scale: Scale, folder: Path, objects: Path, rounds: int) -> list[Line]:
    """Return every line, each round in turn; what is naive once, at the size the goals are about."""
    lines = [Line("lookups", None)]
    lines += [Line(what, count) for count in scale.flows for what in ("edges", "verdicts")]
    lines += [Line("naive", MIDDLE if MIDDLE in scale.flows else scale.flows[-1]), Line("objects", None)]
    with tempfile.TemporaryDirectory(prefix="vzflow-bench-") as scratch:
        for number in range(rounds):
            for line in lines:
                if line.fault is None:
                    _note(f"identity: {line.what} {line.flows or ''}, round {number + 1}")
                    store = folder / f"store-{line.flows or scale.flows[0]}"
                    given = [objects] if line.what == "objects" else [folder / "lookups", store]
                    command = [sys.executable, "-m", "bench.run_identity", line.what, *given]
                    line.runs.append(measure.run(command, _environment(), Path(scratch)))
    return lines


def table(scale: Scale, lines: Sequence[Line]) -> str:
    """Return an aligned table under its title."""
    rows = [_HEADINGS, *(_cells(line, lines) for line in lines)]
    widths = [max(len(row[i]) for row in rows if len(row) > 3 or i < 2) for i in range(len(_HEADINGS))]
    text = [f"identity and classification: {scale.pods:,} pods, each replaced {scale.generations} times, 300 rules"]
    for row in rows:
        cells = [row[0].ljust(widths[0]), row[1].rjust(widths[1])]
        if len(row) == 3:
            cells.append(row[2])
        else:
            cells += [cell.rjust(width) for cell, width in zip(row[2:7], widths[2:7], strict=True)]
            cells += [row[7].ljust(widths[7]), row[8]]
        text.append("  " + "  ".join(cells).rstrip())
    return "\n".join(text) + "\n"


def _cells(line: Line, lines: Sequence[Line]) -> tuple[str, ...]:
    flows = "" if line.flows is None else f"{line.flows:,}"
    if line.fault is not None:
        return line.what, flows, line.fault
    cpu, memory = measure.middle(line.runs, "cpu"), max(run.memory for run in line.runs)
    beyond, growth = _beyond(line, lines), _growth(line, lines)
    return (
        line.what, flows, f"{cpu:.2f}", "" if beyond is None else f"{beyond:.2f}",
        f"{measure.middle(line.runs, 'wall'):.2f}", f"{memory:.0f}", "" if growth is None else f"{growth:.2f}",
        _goal(line, beyond, growth, memory), _does(line),
    )  # fmt: skip


def _does(line: Line) -> str:
    return f"{DOES[line.what]}: {line.runs[-1].told.strip()}" if line.what == "objects" else DOES[line.what]


def _beyond(line: Line, lines: Sequence[Line]) -> float | None:
    """CPU without that of beginning."""
    if line.what not in GOALS or lines[0].fault is not None:
        return None
    return measure.middle(line.runs, "cpu") - measure.middle(lines[0].runs, "cpu")


def _growth(line: Line, lines: Sequence[Line]) -> float | None:
    """How many times as much CPU a flow takes as with the fewest flows."""
    first = next(other for other in lines if other.what == line.what)
    if line.what not in GOALS or line is first or first.fault is not None or not first.flows or not line.flows:
        return None
    before, now = _beyond(first, lines), _beyond(line, lines)
    return None if not before or now is None else now / line.flows / (before / first.flows)


def _goal(line: Line, beyond: float | None, growth: float | None, memory: float) -> str:
    goals = []
    if line.flows == MIDDLE and beyond is not None:
        goals.append(f"<= {GOALS[line.what]:g} s {_met(beyond <= GOALS[line.what])}")
    if growth is not None and line.flows and line.flows >= MIDDLE:
        goals.append(f"<= {GROWTH:g}x {_met(growth <= GROWTH)}")
    if line.flows == MOST:
        goals.append(f"<= {MEMORY:.0f} MB {_met(memory <= MEMORY)}")
    return ", ".join(goals)


def _met(met: bool) -> str:
    return "met" if met else "MISSED"


def write(path: Path, text: str, words: Sequence[str]) -> None:
    """Put the table between its markers on the page."""
    before, rest = path.read_text().split(_BEGIN)
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, load {os.getloadavg()[0]:.1f}, options `{' '.join(words)}`"
    path.write_text(f"{before}{_BEGIN}\n\n{when}\n\n```text\n{text}```\n\n{_END}{rest.split(_END)[1]}")


def _environment() -> dict[str, str]:
    return measure.environment(PYTHONPATH=f"{CHECKOUT}{os.pathsep}{CHECKOUT / 'tests'}")


def _note(text: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", file=sys.stderr, flush=True)


def main(words: list[str] | None = None) -> int:
    """Print the table; 1 if something could not be measured."""
    parser = argparse.ArgumentParser(prog="identity_bench", description="Measure identity and classification.")
    parser.add_argument("--short", action="store_true", help=f"{SHORT.flows[-1]:,} flows instead of {FULL.flows[-1]:,}")
    parser.add_argument("--flows", type=int, nargs="+", help="so many flows, of as many pods")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--cache", type=Path, default=CACHE, help="where the stores are kept")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    options = parser.parse_args(words)
    scale = SHORT if options.short else FULL
    if options.flows:
        scale = replace(scale, flows=tuple(sorted(options.flows)))
    options.cache.mkdir(parents=True, exist_ok=True)
    lines = measured(scale, made(scale, options.cache), told_of(scale, options.cache), options.rounds)
    text = table(scale, lines)
    print(text)
    if options.write:
        write(CHECKOUT / "docs" / "benchmarks.md", text, sys.argv[1:] if words is None else words)
    return int(any(line.fault for line in lines))


if __name__ == "__main__":
    sys.exit(main())
