"""`python -m vzflow`, and the console script."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.abc import MetaPathFinder
from types import ModuleType

# malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def main() -> None:
    """Run the command line; an interrupt ends it quietly from the first import on."""
    _be_light()
    try:
        from vzflow import cli

        cli.main()
    except KeyboardInterrupt:
        sys.exit(130)


class _WithoutPandas(MetaPathFinder):
    """Has every import of pandas fail, as where it is not installed."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("no command needs pandas", name=name)


def _be_light() -> None:
    """Keep libraries from doing what no command needs. For this process only: programs that use the library decide."""
    # numpy starts a thread for each core, which waits in a loop; nothing here multiplies matrices.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Columns come and go, a few hundred kilobytes each: memory that is given back and asked for again comes as new
    # pages, each cleared first: a tenth of the time of an ingest. One pool, so that no second one keeps some as well.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    with suppress(OSError, AttributeError):  # a C library that is not GNU's
        keep = ctypes.CDLL(None).mallopt
        keep(_M_MMAP_THRESHOLD, 32 << 20)
        keep(_M_TRIM_THRESHOLD, 128 << 20)
    # Rows and facts are many small objects without cycles: looking for some among them finds nothing.
    gc.set_threshold(200_000, 20, 100)
    # pyarrow imports pandas, if it is there, with the first array that is made: a third of the time of a small ingest.
    sys.meta_path.insert(0, _WithoutPandas())


if __name__ == "__main__":
    main()
