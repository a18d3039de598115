"""One flow -> everything behind its verdict: the record and its place, both ends, rules, who else tells of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vzflow.flow.schema import CLASSIFIED_SCHEMA
from vzflow.model import catalogue
from vzflow.pipeline.extraction import place_of
from vzflow.pipeline.judge import Judge, dissect, one_row, rows_in
from vzflow.pipeline.one_input import Progress
from vzflow.pipeline.proving import would_prove
from vzflow.store.duck import connect
from vzflow.store.tables import PARTITION_FIELDS, RECORDED_SCHEMA

#: Candidates whose snapshots are looked up.
_HOLDERS = 12

_EXCHANGE_VIEWS = ("flow", "verdict", "exchange_flow", "exchange")
#: What a user can paste into `vzflow sql`.
_FLOW_SQL = "SELECT * FROM flow f JOIN verdict v USING (flow_id) WHERE f.segment = '{segment}' AND f.record = {record}"
_EXCHANGE_SQL = "SELECT * FROM exchange WHERE exchange_id = '{exchange_id}'"


def explain(judge: Judge, flow_id: str, inputs: Sequence[str] = (), progress: Progress | None = None) -> dict[str, Any]:
    """
    Return everything behind one flow's verdict.

    Args:
        judge: Of the store and the model.
        flow_id: As reports print it.
        inputs: Where the inputs are now, if elsewhere than at ingest.
        progress: Told as the input is read again.

    Raises:
        UsageProblem: There is no such flow.
        UnreadableInput: One of *inputs* is not what was ingested.
    """
    with dissect(judge, flow_id) as duck:
        recorded = one_row(duck.run("FROM recorded"))
        judged = one_row(duck.run("FROM classified"))
        found = {name: rows_in(duck, query) for name, query in catalogue.explanations().items() if not query.params}
    receipts = judge.lake.receipts().to_pylist()
    exchange, told = exchange_of(judge, flow_id, recorded)
    sql = {"flow": _FLOW_SQL.format(**recorded), "exchange": _EXCHANGE_SQL.format(**exchange)}
    return {
        "flow_id": flow_id,
        "recorded": recorded,
        "classified": judged,
        "input": next(r for r in receipts if r["segment"] == recorded["segment"]),
        "place": place_of(receipts, recorded, inputs, progress),
        **found,
        "vouched": _vouched(judge, recorded, found["holders"]),
        "would_prove": would_prove(recorded, judged),
        "exchange": {**exchange, "told": told},
        "sql": sql,
        "queries": [name for name in catalogue.stages() if catalogue.depends_on(name, catalogue.stages(), "recorded")],
    }


def telling(judge: Judge, exchange_id: str) -> str:
    """Return the flow of an exchange that says best what all say together: judged as it is, with the same transport."""
    (row,) = rows_of(judge, [exchange_id])
    exchange, told = exchange_of(judge, exchange_id, row)

    def unlike(one: Mapping[str, Any]) -> tuple[bool, bool, bool]:
        judged = one["verdict"] != exchange["exchange_verdict"], one["transport_status"] != exchange["transport_status"]
        return (*judged, one["transport"] != exchange["transport"])

    return str(min(told, key=unlike)["flow_id"])


def rows_of(judge: Judge, flow_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return the recorded rows of these flows, in this order."""
    wanted = [(segment, int(record)) for segment, _, record in (one.partition(":") for one in flow_ids)]
    asked = pa.table({"segment": [s for s, _ in wanted], "record": [r for _, r in wanted]})
    with connect() as duck:
        duck.parquet_view("every_recorded", judge.lake.files("recorded"), RECORDED_SCHEMA)
        duck.register("asked", asked)
        found = duck.run("SELECT r.* FROM every_recorded r JOIN asked a USING (segment, record)").to_pylist()
    by_id = {(row["segment"], row["record"]): dict(row) for row in found}
    return [by_id[one] for one in wanted if one in by_id]


def exchange_of(judge: Judge, flow_id: str, recorded: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return what the exchange of a flow comes to, and what each of its flows says; looks at those few flows only."""
    judge.refresh()
    explanations = catalogue.explanations()
    stored = {
        "recorded": RECORDED_SCHEMA,
        "classified": pa.schema([*CLASSIFIED_SCHEMA, *PARTITION_FIELDS]),
    }
    with connect() as duck:
        for name, schema in stored.items():
            duck.parquet_view(f"every_{name}", judge.lake.files(name), schema)
        place = {"segment": recorded["segment"], "record": recorded["record"]}
        duck.register("company", duck.run(explanations["company"].sql, place))
        for name in stored:
            few = f"SELECT r.* FROM every_{name} r JOIN company c USING (dt, hour, segment, record)"  # noqa: S608
            duck.create_table(name, few)
        for name in _EXCHANGE_VIEWS:
            duck.create_table(name, catalogue.views()[name].sql)
        asked = {"flow_id": flow_id}
        (exchange,) = rows_in(duck, explanations["together"], asked)
        return exchange, rows_in(duck, explanations["told"], asked)


def _vouched(
    judge: Judge, recorded: Mapping[str, Any], holders: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:  # fmt: skip
    """Return which records show a holder, if it is a pod or node: the last until the flow, the next after it."""
    at, objects = recorded["first_seen"], judge.objects
    if at is None or not objects.num_rows:
        return []
    objects = objects.filter(pc.equal(objects.column("cluster"), recorded["cluster"]))
    objects = objects.filter(pc.is_in(objects.column("kind"), pa.array(["Pod", "Node"])))
    names = {
        ("Pod", h["namespace"], h["pod"]) if h["kind"] == "pod" else ("Node", None, h["node"])
        for h in holders if h["kind"] in ("pod", "node")
    }  # fmt: skip
    return [
        {"kind": kind, "namespace": namespace, "name": name} | seen
        for kind, namespace, name in sorted(names, key=str)[:_HOLDERS] if name is not None
        for seen in _around(_of(objects, kind, namespace, name), at)
    ]  # fmt: skip


def _of(objects: pa.Table, kind: str, namespace: str | None, name: str) -> list[dict[str, Any]]:
    mine = objects.filter(pc.and_(pc.equal(objects.column("kind"), kind), pc.equal(objects.column("name"), name)))
    rows = mine.select(["snapshot_name", "taken_at", "seen_until", "namespace"]).to_pylist()
    return [row for row in rows if row["seen_until"] is not None and (kind == "Node" or row["namespace"] == namespace)]


def _around(rows: list[dict[str, Any]], at: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - a time
    before = max((r for r in rows if r["seen_until"] <= at), key=lambda r: r["seen_until"], default=None)
    after = min((r for r in rows if r["seen_until"] > at), key=lambda r: r["seen_until"], default=None)
    return [
        {"snapshot": row["snapshot_name"], "seen_until": row["seen_until"], "when": when}
        for row, when in ((before, "before"), (after, "after")) if row is not None
    ]  # fmt: skip
