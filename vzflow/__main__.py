"""`python -m vzflow`, and the console script."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line; an interrupt ends it quietly from the first import on."""
    # numpy starts a thread for each core, which waits in a loop; nothing here multiplies matrices.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        from vzflow import cli

        cli.main()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
