"""
Pages of docs/ that the tests run: their files are written, their commands run, and all that is printed is compared.

A block whose fence names a file after the language is written; in a `console` block each line after `$ ` is a command
and what follows is all it prints, standard output first. A line `...` stands for any lines. `sh` blocks are not run.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
_BLOCK = re.compile(r"^```(\S+) ?([^\n]*)\n(.*?)^```$", re.S | re.M)


class Step(NamedTuple):
    """What one block asks for: a file to write, or a command and all it must print."""

    file: str
    command: str
    text: str


def steps(page: str) -> list[Step]:
    """Return what a page does, in order."""
    found = []
    for language, name, body in _BLOCK.findall(page):
        if name:
            found.append(Step(name, "", body))
        elif language == "console":
            found += [Step("", *one.split("\n", 1)) for one in re.split(r"^\$ ", body, flags=re.M)[1:]]
    return found


def run(command: str, folder: Path, tools: Path) -> str:
    """Run a command as a shell would in *folder*; *tools* is where `vzflow` is put."""
    tools.mkdir(exist_ok=True)
    program = tools / "vzflow"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m vzflow "$@"\n')
    program.chmod(0o755)
    env = {"PATH": f"{tools}:/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, shell=True, cwd=folder, env=env, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def matches(shown: str, printed: str) -> bool:
    """Say whether *printed* is what the page shows, each `...` line aside."""
    parts = re.split(r"^\.\.\.\n", shown, flags=re.M)
    return re.fullmatch(r"(?:.*\n)*".join(map(re.escape, parts)), printed) is not None
