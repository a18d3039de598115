"""
The programs that are measured, each with the command that reads an input, and what it does and does not do.

`{out}` in a command is a new folder. A program that is not there is named as missing; nothing is estimated for it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
NFSTREAM = "nfstream==6.6.0"


@dataclass(frozen=True)
class Program:
    """
    Something that reads a capture or a log.

    Args:
        command: Its words, for the inputs it is given.
        source: How to get it, told when it is missing.
        does: What it does less or more than vzflow, briefly.
        records: Pattern whose group is the number of packets or lines it says it has read of an input; null if it does
            not say.
        version: Command that tells its version.
    """

    name: str
    command: Callable[[list[Path]], list[str | Path]]
    source: str
    does: str = ""
    records: str | None = None
    version: tuple[str, ...] = ()

    def missing(self) -> bool:
        return shutil.which(str(self.command([Path("x")])[0])) is None

    def short_of(self, records: int, what: str, told: str) -> str | None:
        """What is wrong if it says that it has read another number of *records*, which are *what*."""
        if self.records is None:
            return None
        read = sum(int(number) for number in re.findall(self.records, told))
        return None if read == records else f"read {read:,} of {records:,} {what}"

    def told_version(self) -> str:
        """The first thing that looks like a version in what it says, or `unknown`."""
        if not self.version:
            return "unknown"
        told = subprocess.run(self.version, capture_output=True, text=True, check=False, timeout=60)
        found = re.search(r"\d+(\.\d+)+[\w+-]*", told.stdout + told.stderr)
        return found[0] if found else "unknown"


def vzflow(*options: str) -> Callable[[list[Path]], list[str | Path]]:
    """`vzflow ingest` of this checkout into an empty store."""

    def command(inputs: list[Path]) -> list[str | Path]:
        return [sys.executable, "-m", "vzflow", "ingest", "--store", "{out}/store", *options, *inputs]

    return command


_READ = r"flows of (\d+) records"
RECORDED = Program(
    "vzflow", vzflow("--no-classify"), "this checkout", "stores flows and what their payload tells", _READ
)
CLASSIFIED = Program("vzflow, classified", vzflow(), "this checkout", "the same and a verdict for every flow", _READ)
TCPDUMP = Program(
    "tcpdump -w /dev/null", lambda captures: ["tcpdump", "-r", captures[0], "-w", "/dev/null"],
    "apt-get install tcpdump", "copies packets: no flows", version=("tcpdump", "--version"),
)  # fmt: skip
NFPCAPD = Program(
    "nfpcapd", lambda captures: ["nfpcapd", "-r", captures[0], "-w", "{out}"],
    "apt-get install nfdump", "one-way flows cut at 300 s, no payload; stores them",
    r"Total: Processed: (\d+)", ("nfpcapd", "-V"),
)  # fmt: skip
ARGUS = Program(
    "argus", lambda captures: ["argus", "-X", "-r", captures[0], "-w", "{out}/flows"],
    "apt-get install argus-server", "a record every 5 s of a flow, no payload; stores them", version=("argus", "-h"),
)  # fmt: skip
ARGUS_300 = Program(
    "argus -S 300", lambda captures: ["argus", "-X", "-S", "300", "-r", captures[0], "-w", "{out}/flows"],
    "apt-get install argus-server", "a record every 300 s of a flow, no payload; stores them",
)  # fmt: skip
SOFTFLOWD = Program(
    "softflowd",
    lambda captures: ["softflowd", "-r", captures[0], "-d", "-6", "-m", "4000000", "-p", "{out}/pid", "-c", "none"],
    "apt-get install softflowd", "no idle cut, no payload; stores and sends nothing",
    r"Packets processed: (\d+)", ("softflowd", "-h"),
)  # fmt: skip
TSHARK = Program(
    "tshark -z conv",
    lambda captures: ["tshark", "-n", "-r", captures[0], "-q", "-z", "conv,tcp", "-z", "conv,udp"],
    "apt-get install tshark", "dissects every packet in full; no idle cut; prints a table", version=("tshark", "-v"),
)  # fmt: skip


def nfstream(cache: Path, dissections: int) -> Program:
    """Nfstream in an environment of its own in *cache*; with *dissections* it looks at payloads through nDPI."""
    python = cache / "nfstream" / "bin" / "python"
    count = (
        "import sys, nfstream\n"
        "if __name__ == '__main__':\n"
        f"    flows = nfstream.NFStreamer(sys.argv[1], n_dissections={dissections}, n_meters=1)\n"
        "    print('packets', sum(f.bidirectional_packets for f in flows))\n"
    )
    does = "finds protocols by nDPI; stores nothing" if dissections else "no payload; stores nothing"
    return Program(
        f"nfstream, {dissections} dissections", lambda captures: [python, "-c", count, *captures], f"pip: {NFSTREAM}",
        does, r"packets (\d+)", (str(python), "-m", "pip", "show", "nfstream"),
    )  # fmt: skip


def install_nfstream(cache: Path) -> None:
    """Make nfstream's environment once; where pip cannot reach it the folder is removed and nfstream is missing."""
    folder = cache / "nfstream"
    if folder.exists():
        return
    venv.create(folder, with_pip=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", NFSTREAM]
    if subprocess.run(pip, capture_output=True, check=False).returncode != 0:
        shutil.rmtree(folder)
