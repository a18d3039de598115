"""Runs a program and measures the whole of it: processor time, time passed, memory; its output goes to a folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

#: Variables that would change how a program is measured: users set none of them.
_UNSET = ("VZFLOW_", "OPENBLAS_", "OMP_", "MKL_", "NUMEXPR_", "PYTHONPROFILE", "PYTHONDONTWRITEBYTECODE")


@dataclass(frozen=True)
class Run:
    """
    One run.

    Args:
        cpu: Seconds of processor time, user and system, of the process and of its children that it waited for.
        wall: Seconds from start to end.
        memory: Peak resident MB of the largest of these processes; never below this program's own, about 25.
        told: What it printed, both streams.
        fault: Why the run does not count; null when it does.
    """

    cpu: float
    wall: float
    memory: float
    told: str
    fault: str | None


def run(command: Sequence[str | Path], environment: dict[str, str], scratch: Path) -> Run:
    """Run *command* in a new folder in *scratch*, which is `{out}` in the command's words and is removed afterwards."""
    out = Path(tempfile.mkdtemp(dir=scratch))
    words = [str(word).replace("{out}", str(out)) for word in command]
    told = out / "told"
    try:
        with told.open("wb") as stream:
            begin = time.perf_counter()
            child = subprocess.Popen(
                words, cwd=out, env=environment, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
            )
            _, status, used = os.wait4(child.pid, 0)
            wall = time.perf_counter() - begin
            child.returncode = os.waitstatus_to_exitcode(status)
        text = told.read_text(errors="replace")
        fault = None if child.returncode == 0 else f"exit {child.returncode}: {_last_line(text)}"
        return Run(used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1024, text, fault)
    finally:
        shutil.rmtree(out)


def environment(**more: str) -> dict[str, str]:
    """Variables of this process, without those that tune libraries."""
    return {k: v for k, v in os.environ.items() if not k.startswith(_UNSET)} | more


def warm(path: Path) -> None:
    """Read a file once, so that no program pays for the disk."""
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 22):
            pass


def middle(runs: Sequence[Run], of: str) -> float:
    """Median of an attribute of *runs*."""
    return float(median(getattr(run, of) for run in runs))


def _last_line(text: str) -> str:
    lines = [line.strip(" │╭╰─╮╯") for line in text.splitlines()]
    return next((line for line in reversed(lines) if line), "said nothing")[:90]
