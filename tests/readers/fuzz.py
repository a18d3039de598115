"""
Damaged captures without end: `make fuzz N=1000000 SEED=7`.

Each child reads some of the files, so that a crash or a hang is one file of one child. A file that failed is saved in
build/fuzz/, named after its seed and number; what went wrong is beside it.
"""

from __future__ import annotations

import faulthandler
import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from readers.mutations import CHECKOUT, damaged, held, same
from readers.twin import interpreted

PLACE = CHECKOUT / "build" / "fuzz"
#: Files of one child; every how many are read in dribs and by the interpreted twin too; seconds for one of them.
SHARE, DRIBBLED, TWINNED, HANGS = 2_000, 20, 100, 120
#: Failures after which the run ends.
ENOUGH = 10


def saved(seed: str, number: int, why: str) -> Path:
    """Save a file that failed, and why."""
    data, limits = damaged(seed, number)
    path = PLACE / f"{seed}-{number}.pcap"
    path.write_bytes(data)
    path.with_suffix(".txt").write_text(f"{limits}\n{why}")
    return path


def read_some(seed: str, first: int, last: int) -> None:
    """Read the files from *first* up to *last*: what a child does. It says on standard output at which one it is."""
    core = interpreted("vzflow.readers.packet_core")
    for number in range(first, last):
        os.write(1, b"%d\n" % number)
        faulthandler.dump_traceback_later(HANGS, exit=True)
        data, limits = damaged(seed, number)
        held(data, **limits)
        if number % DRIBBLED == 0:
            same(seed, number, core if number % TWINNED == 0 else None)
    faulthandler.cancel_dump_traceback_later()


def run(seed: str, first: int, last: int) -> list[Path]:
    """Read the files from *first* up to *last* in children; return those that failed."""
    failed: list[Path] = []
    while first < last:
        command = [sys.executable, "-m", "readers.fuzz", "--child", seed, str(first), str(last)]
        child = subprocess.run(command, capture_output=True, check=False)
        if child.returncode == 0:
            break
        at = int(child.stdout.split()[-1]) if child.stdout else first
        why = f"exit {child.returncode}\n" + child.stderr.decode("utf-8", "replace")
        failed.append(saved(seed, at, why))
        print(f"{failed[-1]}: {why.strip().splitlines()[-1]}", flush=True)
        first = at + 1
        if len(failed) >= ENOUGH:
            break
    return failed


def main() -> None:
    """Arguments: files, and the seed to repeat a run with."""
    if sys.argv[1] == "--child":
        read_some(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
        return
    count, seed = int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else str(random.SystemRandom().randrange(1 << 32))
    PLACE.mkdir(parents=True, exist_ok=True)
    print(f"{count} files, seed {seed}", flush=True)
    begin, failed = time.monotonic(), []
    with ThreadPoolExecutor(int(os.environ.get("JOBS") or os.cpu_count() or 1)) as pool:
        for done in pool.map(lambda at: run(seed, at, min(at + SHARE, count)), range(0, count, SHARE)):
            failed += done
            if len(failed) >= ENOUGH:
                pool.shutdown(cancel_futures=True)
                break
    print(f"{count} files, seed {seed}, {time.monotonic() - begin:.0f} s: {len(failed)} failed", flush=True)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
