"""The captures of the measurements: made once, and again when their maker has changed."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

_HERE = Path(__file__).parent
_MAKER = ("make_capture.py", "headers.py", "messages.py")


class Capture(NamedTuple):
    """What is in one; see `Options` of make_capture.py."""

    packets: int
    flows: int
    snaplen: int | None = None
    live: bool = False
    seed: int = 1

    def words(self) -> list[str]:
        """Options of the maker."""
        cut = ["--snaplen", str(self.snaplen)] if self.snaplen else []
        flows = ["--live" if self.live else "--flows", str(self.flows)]
        return ["--packets", str(self.packets), *flows, *cut, "--seed", str(self.seed)]

    def name(self) -> str:
        what = f"{self.packets}p-{self.flows}f{'-live' if self.live else ''}-{self.snaplen or 'full'}-{self.seed}"
        source = b"".join((_HERE / name).read_bytes() for name in _MAKER)
        return f"{what}-{hashlib.blake2b(source, digest_size=4).hexdigest()}.pcap"


class Captures:
    """
    A folder of them.

    Made by a process of its own: a program that is started is charged with the memory of its parent at that moment.
    """

    def __init__(self, folder: Path, note: Callable[[str], None]) -> None:
        self._folder = folder
        self._note = note
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, capture: Capture) -> Path:
        """The capture's file, made if it is not there."""
        path = self._folder.resolve() / capture.name()
        if not path.exists():
            need = capture.packets * min(capture.snaplen or 600, 600)
            if shutil.disk_usage(self._folder).free < need:
                raise SystemExit(f"{self._folder}: {path.name} needs {need / 1e9:.0f} GB; choose another --captures")
            self._note(f"making {path}")
            maker = [sys.executable, "-m", "bench.make_capture", path, *capture.words()]
            subprocess.run(maker, check=True, env=os.environ | {"PYTHONPATH": str(_HERE.parent)})
        return path
