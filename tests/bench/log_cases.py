"""The cases of logs: Calico's JSON and Istio's text beside DuckDB and a loop in Python, and the memory of long logs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.inputs import Log
from bench.page import Case, Entry
from bench.programs import CLASSIFIED, RECORDED, Program

#: What the goals are about: vzflow needs at most 2.5 times DuckDB's CPU, and at most an eighth of Python's.
DUCKDB_TIMES, PYTHON_TIMES = 0.4, 8
#: MB at most for any log; for a long log at most so many times what one of a million lines needs.
MEMORY, MEMORY_TIMES, MEMORY_LINES = 400, 1.1, 1_000_000
_SHAPES = {"calico": ("Calico JSON", "json"), "istio": ("Istio text", "re")}
_PEERS = Path(__file__).with_name("log_peers.py")


def log_cases(lines: int, most_lines: int) -> Iterator[Case]:
    """Logs of *lines* lines for every program; for the memory of vzflow also one of *most_lines*."""
    for shape, (title, module) in _SHAPES.items():
        for packed in (False, True):
            yield Case(
                f"logs: {title}{', gzip' if packed else ''}", (Log(shape, lines, packed),),
                tuple(_entries(shape, module, packed=packed)), section="logs",
            )  # fmt: skip
    most = MEMORY_TIMES if lines >= MEMORY_LINES else None
    # A long Calico log takes too much disk uncompressed.
    for title, shape, packed in (("Istio text", "istio", False), ("Calico JSON, gzip", "calico", True)):
        short, long = Log(shape, lines, packed), Log(shape, most_lines, packed)
        yield Case(f"logs: memory, {title}", (short,), (
            Entry(_vzflow(), memory=MEMORY),
            Entry(_vzflow(f", {most_lines:,} lines"), most, inputs=(long,)),
        ), of="memory", rounds=1, section="logs")  # fmt: skip


def _entries(shape: str, module: str, *, packed: bool) -> Iterator[Entry]:
    """The programs; of compressed logs only those with a goal."""
    scan = "read_json" if shape == "calico" else "read_csv"
    version = (sys.executable, "-c", "import duckdb; print(duckdb.__version__)")
    duckdb = Program(f"DuckDB {scan}", _peer("duckdb", shape), "pip: duckdb", "counts each column", _READ, version)
    python = Program(f"python {module} loop", _peer("python", shape), "", "parses the fields and drops them", _READ)
    storing = _peer("duckdb", shape, "--to", "{out}/fields.parquet")
    yield Entry(_vzflow())
    if not packed:
        yield Entry(CLASSIFIED)
    yield Entry(duckdb, DUCKDB_TIMES)
    if not packed:
        yield Entry(Program(f"DuckDB {scan}, storing", storing, "pip: duckdb", "the fields as Parquet", _READ))
    yield Entry(python, PYTHON_TIMES)


_READ = r"lines (\d+)"


def _peer(reader: str, shape: str, *options: str) -> Callable[[list[Path]], list[str | Path]]:
    # -P: modules beside the script are not to be taken for those that libraries import.
    return lambda logs: [sys.executable, "-P", _PEERS, reader, shape, logs[0], *options]


def _vzflow(which: str = "") -> Program:
    return Program(f"vzflow{which}", RECORDED.command, RECORDED.source, "stores flows", RECORDED.records)
