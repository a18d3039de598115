"""Commands on the store itself."""

from __future__ import annotations

from vzflow.cli.options import DEFAULT_STORE, QuietOption, StoreOption
from vzflow.cli.output import say


def compact(store: StoreOption = DEFAULT_STORE, quiet: QuietOption = False) -> None:
    """Drop observations of the cluster that say nothing new, and join their files."""
    from vzflow.pipeline import verbs

    before, after = verbs.compact(store)
    if not quiet:
        say(f"identity: {after} of {before} observations kept")
