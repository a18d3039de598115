"""The captures and logs of the measurements: made once, and again when their maker has changed."""

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
_CAPTURE_MAKER = ("make_capture.py", "headers.py", "messages.py")
_LOG_MAKER = ("make_log.py", "cluster.py", "calico_lines.py", "istio_lines.py")


class Capture(NamedTuple):
    """What is in one; see `Options` of make_capture.py."""

    packets: int
    flows: int
    snaplen: int | None = None
    live: bool = False
    seed: int = 1

    @property
    def counts(self) -> dict[str, int]:
        """What is in it; the records first."""
        return {"packets": self.packets, "flows": self.flows}

    @property
    def need(self) -> int:
        """Bytes on disk at most."""
        return self.packets * min(self.snaplen or 600, 600)

    def maker(self) -> list[str]:
        """The module that makes it, and its options."""
        cut = ["--snaplen", str(self.snaplen)] if self.snaplen else []
        flows = ["--live" if self.live else "--flows", str(self.flows)]
        return ["bench.make_capture", "--packets", str(self.packets), *flows, *cut, "--seed", str(self.seed)]

    def name(self) -> str:
        what = f"{self.packets}p-{self.flows}f{'-live' if self.live else ''}-{self.snaplen or 'full'}-{self.seed}"
        return f"{what}-{_digest(_CAPTURE_MAKER)}.pcap"


class Log(NamedTuple):
    """What is in one; see `Options` of make_log.py."""

    shape: str
    lines: int
    gzip: bool = False
    seed: int = 1

    @property
    def counts(self) -> dict[str, int]:
        """What is in it; the records first."""
        return {"lines": self.lines}

    @property
    def need(self) -> int:
        """Bytes on disk at most."""
        return self.lines * {"calico": 1750, "istio": 350}[self.shape] // (5 if self.gzip else 1)

    def maker(self) -> list[str]:
        """The module that makes it, and its options."""
        packed = ["--gzip"] if self.gzip else []
        return ["bench.make_log", "--shape", self.shape, "--lines", str(self.lines), *packed, "--seed", str(self.seed)]

    def name(self) -> str:
        what = f"{self.shape}-{self.lines}-{self.seed}-{_digest(_LOG_MAKER)}"
        return f"{what}.log{'.gz' if self.gzip else ''}"


def _digest(sources: tuple[str, ...]) -> str:
    return hashlib.blake2b(b"".join((_HERE / name).read_bytes() for name in sources), digest_size=4).hexdigest()


class Inputs:
    """
    A folder of them.

    Made by a process of its own: a program that is started is charged with the memory of its parent at that moment.
    """

    def __init__(self, folder: Path, note: Callable[[str], None]) -> None:
        self._folder = folder
        self._note = note
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, wanted: Capture | Log) -> Path:
        """The input's file, made if it is not there."""
        path = self._folder.resolve() / wanted.name()
        if not path.exists():
            if shutil.disk_usage(self._folder).free < wanted.need:
                need = f"{wanted.need / 1e9:.0f} GB"
                raise SystemExit(f"{self._folder}: {path.name} needs {need}; choose another --captures")
            self._note(f"making {path}")
            module, *options = wanted.maker()
            maker = [sys.executable, "-m", module, path, *options]
            subprocess.run(maker, check=True, env=os.environ | {"PYTHONPATH": str(_HERE.parent)})
        return path
