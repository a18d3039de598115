"""Live clusters -> snapshot files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vzflow.flow.errors import UsageProblem, VzflowError
from vzflow.identity import listing, snapshot
from vzflow.identity.kept import timestamp
from vzflow.identity.kubernetes import TIMEOUT


@dataclass(frozen=True)
class Taken:
    """
    What became of the snapshot of one context.

    Args:
        path: The file; null when there is none, and `error` says why.
        notes: What could not be read, a line each.
    """

    path: Path | None
    notes: tuple[str, ...] = ()
    error: VzflowError | None = None


def take_snapshot(
    path: str | Path,
    *,
    kubeconfig: str | None = None,
    contexts: Sequence[str] = (),
    clusters: Sequence[str] = (),
    timeout: float = TIMEOUT,
) -> list[Taken]:
    """
    Read clusters once, and write a file for each: what became of each, in the order they were named.

    Args:
        path: File for one context; or a folder, in which each file is named by its cluster and moment.
        kubeconfig: Path; null for where kubectl finds it, else for the pod's service account.
        contexts: Of the kubeconfig; none for its current one.
        clusters: A name for each context, in the same order. None: one cluster is left to be named when the file is
            read, several are named by their contexts.
        timeout: Seconds to wait for more of an answer.

    Raises:
        UsageProblem: The arguments do not go together.
    """
    folder = is_folder(path)
    check_names(contexts, clusters)
    if len(contexts) > 1 and not folder:
        raise UsageProblem("several contexts, one file", at=str(path), do="Name a folder, with / at its end.")
    named = clusters or (contexts if len(contexts) > 1 else (None,))
    asked = zip(contexts or (None,), named, strict=True)
    return [_taken(Path(path), folder, kubeconfig, context, cluster, timeout) for context, cluster in asked]


def check_names(contexts: Sequence[str], clusters: Sequence[str]) -> None:
    """
    Check the names of clusters.

    Raises:
        UsageProblem: There is not one for each context, or one cannot be a name.
    """
    if clusters and len(clusters) != max(1, len(contexts)):
        do = "Name as many clusters as contexts, in the same order."
        raise UsageProblem(f"{len(clusters)} names for {max(1, len(contexts))} contexts", at="--cluster", do=do)
    for names, option in ((contexts, "--context"), (clusters, "--cluster")):
        for name in names:
            if names.count(name) > 1:
                raise UsageProblem(f"named twice: {name}", at=option, do="Name each once.")
            if not name or not name.isprintable():
                raise UsageProblem(f"not a name: {name!r}", at=option, do="Name the cluster.")


def is_folder(path: str | Path) -> bool:
    """Tell whether *path* is a folder, or is to be one: it ends with a slash."""
    return Path(path).is_dir() or str(path).endswith("/")


def safe_name(cluster: str | None) -> str:
    """Return a cluster's name in letters that every file system takes."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", cluster or "cluster").lstrip(".") or "_"


def _taken(
    path: Path, folder: bool, kubeconfig: str | None, context: str | None, cluster: str | None, timeout: float
) -> Taken:
    try:
        fetched = listing.fetch(context, kubeconfig, timeout)
        if folder:
            path.mkdir(parents=True, exist_ok=True)
            moment = re.sub("[-:]", "", timestamp(fetched.taken_at))
            path /= f"{safe_name(cluster)}-{moment}.json.gz"
        snapshot.save(
            fetched.objects, path, fetched.taken_at, fetched.listed, cluster, fetched.listed, fetched.missing
        )  # fmt: skip
    except VzflowError as error:
        return Taken(None, error=error)
    except OSError as error:
        what = f"cannot be made: {error.strerror or error}"
        return Taken(None, error=UsageProblem(what, at=str(path), do="Choose another folder."))
    return Taken(path, tuple(fetched.notes))
