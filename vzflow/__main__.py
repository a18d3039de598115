"""`python -m vzflow`, and the console script."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    from vzflow import cli

    cli.main()


if __name__ == "__main__":
    main()
