"""A live cluster -> a snapshot file."""

from __future__ import annotations

from pathlib import Path

from vzflow.identity import kubernetes, snapshot


def take_snapshot(path: Path, *, kubeconfig: str | None = None, context: str | None = None) -> list[str]:
    """
    Read a cluster once, write *path*, and return what could not be read, a line each.

    Raises:
        ServiceUnavailable: The cluster does not answer.
        UsageProblem: The kubeconfig cannot be used, or *path* cannot be written.
    """
    fetched = kubernetes.fetch(kubeconfig=kubeconfig, context=context)
    snapshot.save(fetched.objects, path, fetched.taken_at, fetched.listed)
    return fetched.notes
