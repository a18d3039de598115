"""
Writes a log of a made-up cluster for measurements: `python -m bench.make_log OUT --shape calico --lines N`.

The same options and seed give the same file, compressed or not. A shorter log is the beginning of a longer one.
"""

from __future__ import annotations

import argparse
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from bench.calico_lines import Calico
from bench.cluster import Cluster
from bench.istio_lines import Istio

SHAPES = {"calico": Calico, "istio": Istio}
#: Lines drawn at a time.
DRAWN = 1 << 15


@dataclass(frozen=True)
class Options:
    """
    What is to be made.

    Args:
        shape: Key of SHAPES.
        gzip: Compressed as `gzip` does by default.
    """

    shape: str
    lines: int = 1_000_000
    gzip: bool = False
    seed: int = 1


def written(options: Options) -> Iterator[bytes]:
    """The log's bytes before compression, a chunk of lines at a time."""
    random = np.random.default_rng(options.seed)
    log = SHAPES[options.shape](Cluster(random))
    for first in range(0, options.lines, DRAWN):
        lines = log.lines(first, DRAWN, random)
        yield "".join(line for line, _ in zip(lines, range(options.lines - first), strict=False)).encode()


def make(path: Path, options: Options) -> None:
    """Write a log to *path*; a file of that name appears only when it is whole."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        if options.gzip:
            # No name and no time, so that the same lines give the same bytes.
            with gzip.GzipFile("", "wb", 6, file, mtime=0) as out:
                _write(out, options)
        else:
            _write(file, options)
    partial.replace(path)


def _write(out: IO[bytes], options: Options) -> None:
    for chunk in written(options):
        out.write(chunk)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a log of a made-up cluster.")
    parser.add_argument("path", type=Path)
    parser.add_argument("--shape", choices=sorted(SHAPES), required=True)
    parser.add_argument("--lines", type=int, default=Options.lines)
    parser.add_argument("--gzip", action="store_true")
    parser.add_argument("--seed", type=int, default=Options.seed)
    options = vars(parser.parse_args())
    make(options.pop("path"), Options(**options))


if __name__ == "__main__":
    main()
