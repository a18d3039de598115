"""Holders of addresses -> the snapshots and recordings that show them: what an identity rests on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

#: Holders whose snapshots are looked up.
_HOLDERS = 12

_KINDS = {"pod": "Pod", "node": "Node"}
_COLUMNS = ["snapshot_name", "taken_at", "seen_until", "namespace"]


def vouched(
    objects: pa.Table, cluster: str, holders: Iterable[Mapping[str, Any]], at: Any  # noqa: ANN401 - a time
) -> list[dict[str, Any]]:  # fmt: skip
    """
    Return which records show a holder, if it is a pod or node: the last until *at*, the next after it.

    Args:
        objects: Rows of `OBJECT_SCHEMA`.
        cluster: Of the holders.
        holders: With kind, namespace, pod and node, as of `holders.sql`; at most 12 are looked up.
        at: The time of the flow; None vouches for nobody.
    """
    if at is None or not objects.num_rows:
        return []
    objects = objects.filter(pc.equal(objects.column("cluster"), cluster))
    names = {
        (_KINDS[h["kind"]], h["namespace"] if h["kind"] == "pod" else None, h["pod"] or h["node"])
        for h in holders if h["kind"] in _KINDS
    }  # fmt: skip
    return [
        {"kind": kind, "namespace": namespace, "name": name} | seen
        for kind, namespace, name in sorted(names, key=str)[:_HOLDERS] if name is not None
        for seen in _around(_of(objects, kind, namespace, name), at)
    ]  # fmt: skip


def both_sides(objects: pa.Table, contradictions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of the view `contradiction` with `holders` as a list, and `shown_by`: who vouches for the holders."""
    listed = [dict(one) | {"holders": json.loads(one["holders"])} for one in contradictions]
    pods = {_pod(holder)["pod"] for one in listed for holder in one["holders"]}
    mine = objects.filter(pc.and_(pc.equal(objects.column("kind"), "Pod"),
                                  pc.is_in(objects.column("name"), pa.array(sorted(pods), pa.string()))))  # fmt: skip
    return [
        one | {"shown_by": vouched(mine, one["cluster"], map(_pod, one["holders"]), one["first_seen"])}
        for one in listed
    ]  # fmt: skip


def _pod(holder: str) -> dict[str, Any]:
    """Take apart what the view calls a holder: `NS/POD`, with ` as ACCOUNT` where accounts are compared."""
    namespace, _, pod = holder.partition(" ")[0].partition("/")
    return {"kind": "pod", "namespace": namespace, "pod": pod, "node": None}


def _of(objects: pa.Table, kind: str, namespace: str | None, name: str) -> list[dict[str, Any]]:
    mine = objects.filter(pc.and_(pc.equal(objects.column("kind"), kind), pc.equal(objects.column("name"), name)))
    rows = mine.select(_COLUMNS).to_pylist()
    return [row for row in rows if row["seen_until"] is not None and (kind == "Node" or row["namespace"] == namespace)]


def _around(rows: list[dict[str, Any]], at: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - a time
    before = max((r for r in rows if r["seen_until"] <= at), key=lambda r: r["seen_until"], default=None)
    after = min((r for r in rows if r["seen_until"] > at), key=lambda r: r["seen_until"], default=None)
    return [
        {"snapshot": row["snapshot_name"], "seen_until": row["seen_until"], "when": when}
        for row, when in ((before, "before"), (after, "after")) if row is not None
    ]  # fmt: skip
