"""Snapshots -> the kinds nobody could list."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.compute as pc

from vzflow.identity.snapshot import SNAPSHOT

#: How the reason begins where the cluster has no such kind: nothing is missing then.
ABSENT = "not in this cluster"


def not_listed(objects: pa.Table) -> list[dict[str, str]]:
    """
    Return cluster, kind and reason of every kind that could not be listed when it was last asked for, in order.

    A kind that the cluster does not have is not among them.

    Args:
        objects: Rows of `snapshot.OBJECT_SCHEMA`.
    """
    told = objects.filter(pc.equal(objects.column("kind"), SNAPSHOT)).select(["cluster", "object", "taken_at"])
    last: dict[tuple[str, str], str | None] = {}
    for row in told.filter(pc.is_valid(told.column("taken_at"))).sort_by("taken_at").to_pylist():
        said = json.loads(row["object"])
        last |= {(row["cluster"], kind): None for kind in said["listed"]}
        last |= {(row["cluster"], kind): why for kind, why in said.get("not_listed", {}).items()}
    return [
        {"cluster": c, "kind": kind, "why": why}
        for (c, kind), why in sorted(last.items())
        if why and not why.startswith(ABSENT)
    ]
