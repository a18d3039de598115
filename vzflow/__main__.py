"""`python -m vzflow`, and the console script."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType


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
    # pyarrow imports pandas, if it is there, with the first array that is made: a third of the time of a small ingest.
    sys.meta_path.insert(0, _WithoutPandas())


if __name__ == "__main__":
    main()
