"""`python -m vzflow`, and the console script."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; an interrupt ends it quietly from the first import on."""
    try:
        from vzflow import cli

        cli.main()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
