"""Tables of what was measured, with the goals beside, and the page docs/benchmarks.md that holds them."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from bench.inputs import Capture, Log
from bench.measure import Run, middle
from bench.programs import CHECKOUT, Program

_BEGIN, _END = "<!-- Made by `make bench BENCH=--write`: {}. -->", "<!-- End of {}. -->"
_HEADINGS = ("PROGRAM", "CPU s", "LEAST", "WALL s", "MB", "M/CPU s", "TIMES", "GOAL", "")


class Entry(NamedTuple):
    """
    A program in a case.

    Args:
        times: Goal: it needs at least so many times the first program's CPU or, in a case of wall time, is so many
            times as fast; in a case of memory, it needs at most so many times the first one's.
        memory: Goal: it needs at most so many MB.
        inputs: Instead of the case's.
    """

    program: Program
    times: float | None = None
    memory: float | None = None
    inputs: tuple[Capture | Log, ...] | None = None


@dataclass(frozen=True)
class Case:
    """
    Programs that read the same inputs.

    Args:
        of: What TIMES compares with the first program: `cpu`, `wall`, `memory`, or nothing.
        rounds: Instead of those asked for.
        section: Of the page: `captures` or `logs`.
    """

    title: str
    inputs: tuple[Capture | Log, ...]
    entries: tuple[Entry, ...]
    of: str | None = "cpu"
    rounds: int | None = None
    section: str = "captures"

    def keeping(self, pattern: str) -> Case:
        """The same with the programs whose name matches."""
        return replace(self, entries=tuple(e for e in self.entries if re.search(pattern, e.program.name)))

    def inputs_of(self, entry: Entry) -> tuple[Capture | Log, ...]:
        return entry.inputs or self.inputs


@dataclass
class Row:
    """What was measured of a program; with a fault it has no figures, with a note they are to be doubted."""

    entry: Entry
    fault: str | None = None
    note: str | None = None
    runs: list[Run] = field(default_factory=list)


class Made(NamedTuple):
    """How a page came about; load is the average of a minute, before and after."""

    at: datetime
    words: str
    rounds: int
    load_before: float
    load_after: float
    cores: int


def counted(inputs: Sequence[Capture | Log]) -> dict[str, int]:
    """What is in them together; the records first."""
    return {what: sum(one.counts[what] for one in inputs) for what in inputs[0].counts}


def table(case: Case, rows: Sequence[Row]) -> str:
    """An aligned table under the case's title."""
    lines = [_HEADINGS, *(_cells(case, row, rows) for row in rows)]
    widths = [max(len(line[i]) for line in lines if len(line) > 2 or i == 0) for i in range(len(_HEADINGS))]
    text = [f"{case.title}: " + ", ".join(f"{number:,} {what}" for what, number in counted(case.inputs).items())]
    for line in lines:
        cells = [line[0].ljust(widths[0])]
        if len(line) == 2:
            cells.append(line[1])
        else:
            cells += [cell.rjust(width) for cell, width in zip(line[1:7], widths[1:7], strict=True)]
            cells += [line[7].ljust(widths[7]), line[8]]
        text.append("  " + "  ".join(cells).rstrip())
    return "\n".join(text) + "\n"


def _cells(case: Case, row: Row, rows: Sequence[Row]) -> tuple[str, ...]:
    name = row.entry.program.name
    if row.fault is not None:
        return name, row.fault
    cpu = middle(row.runs, "cpu")
    times = _times(case, row, rows)
    memory = max(run.memory for run in row.runs)
    records = next(iter(counted(case.inputs_of(row.entry)).values()))
    rate = f"{records / cpu / 1e6:.2f}" if case.of else ""
    return (
        name, f"{cpu:.2f}", f"{min(run.cpu for run in row.runs):.2f}", f"{middle(row.runs, 'wall'):.2f}",
        f"{memory:.0f}", rate, "" if times is None else f"{times:.2f}", _goal(case, row.entry, times, memory),
        "; ".join(filter(None, (row.note, row.entry.program.does))),
    )  # fmt: skip


def _times(case: Case, row: Row, rows: Sequence[Row]) -> float | None:
    """How the row compares with the first program, which is vzflow."""
    first = rows[0]
    if case.of is None or row is first or first.fault is not None or not first.entry.program.name.startswith("vzflow"):
        return None
    mine, other = middle(row.runs, case.of), middle(first.runs, case.of)
    return other / mine if case.of == "wall" else mine / other


def _goal(case: Case, entry: Entry, times: float | None, memory: float) -> str:
    if entry.memory is not None:
        return f"<= {entry.memory:.0f} MB {'met' if memory <= entry.memory else 'MISSED'}"
    if entry.times is None:
        return ""
    goal = f"{'<=' if case.of == 'memory' else '>='} {entry.times:g}"
    if times is None:
        return goal
    met = times <= entry.times if case.of == "memory" else times >= entry.times
    return f"{goal} {'met' if met else 'MISSED'}"


def write(path: Path, section: str, tables: Sequence[str], made: Made, versions: dict[str, str]) -> None:
    """Put the tables between the markers of a section of the page."""
    facts = {
        "date": f"{made.at:%Y-%m-%d %H:%M} UTC",
        "vzflow": _commit(),
        "options": made.words,
        "rounds": str(made.rounds),
        "machine": f"{_processor()}, {made.cores} cores, Linux {'.'.join(platform.release().split('.')[:2])}",
        "load": f"{made.load_before:.2f} before, {made.load_after:.2f} after",
        "Python": platform.python_version(),
        **versions,
    }
    told = "".join(f"| {name} | {value} |\n" for name, value in facts.items())
    tables_text = "\n".join(f"```text\n{text}```\n" for text in tables)
    first, last = _BEGIN.format(section), _END.format(section)
    begin, rest = path.read_text().split(first)
    _, end = rest.split(last)
    path.write_text(f"{begin}{first}\n\n| what | |\n| --- | --- |\n{told}\n{tables_text}\n{last}{end}")


def _commit() -> str:
    words = ["git", "-C", CHECKOUT, "describe", "--always", "--dirty"]
    told = subprocess.run(words, capture_output=True, text=True, check=False, env=os.environ | {"LC_ALL": "C"})
    return told.stdout.strip() or "no commit"


def _processor() -> str:
    """Model of the first processor, as Linux names it."""
    names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return names[0] if names else platform.machine()
