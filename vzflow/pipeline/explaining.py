"""One flow -> everything behind its verdict: the record and its place, both ends, rules, who else tells of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from vzflow.flow.schema import CLASSIFIED_SCHEMA
from vzflow.model import catalogue
from vzflow.pipeline.extraction import place_of
from vzflow.pipeline.judge import Judge, dissect, one_row, rows_in
from vzflow.pipeline.one_input import Progress
from vzflow.pipeline.proving import would_prove
from vzflow.pipeline.vouching import both_sides, vouched
from vzflow.store.duck import connect
from vzflow.store.tables import PARTITION_FIELDS, RECORDED_SCHEMA

_EXCHANGE_VIEWS = ("flow", "verdict", "contradiction", "exchange_flow", "exchange")
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
    exchange, told, contradictions = exchange_of(judge, flow_id, recorded)
    sql = {"flow": _FLOW_SQL.format(**recorded), "exchange": _EXCHANGE_SQL.format(**exchange)}
    return {
        "flow_id": flow_id,
        "recorded": recorded,
        "classified": judged,
        "input": next(r for r in receipts if r["segment"] == recorded["segment"]),
        "place": place_of(receipts, recorded, inputs, progress),
        **found,
        "vouched": vouched(judge.seen, recorded["cluster"], found["holders"], recorded["first_seen"]),
        "contradictions": contradictions,
        "would_prove": would_prove(recorded, judged),
        "exchange": {**exchange, "told": told},
        "sql": sql,
        "queries": [name for name in catalogue.stages() if catalogue.depends_on(name, catalogue.stages(), "recorded")],
    }


def telling(judge: Judge, exchange_id: str) -> str:
    """
    Return the flow of an exchange that says best what all say together: judged as it is, with the same transport.

    One that contradicts the address of an end says most.
    """
    (row,) = rows_of(judge, [exchange_id])
    exchange, told, contradictions = exchange_of(judge, exchange_id, row)
    contradicting = {one["flow_id"] for one in contradictions}

    def unlike(one: Mapping[str, Any]) -> tuple[bool, ...]:
        judged = one["verdict"] != exchange["exchange_verdict"], one["transport_status"] != exchange["transport_status"]
        return (one["flow_id"] not in contradicting, *judged, one["transport"] != exchange["transport"])

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


def exchange_of(
    judge: Judge, flow_id: str, recorded: Mapping[str, Any]
) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]:
    """
    Return what the exchange of a flow comes to, what each of its flows says, and what contradicts an address there.

    Looks at those few flows only.
    """
    judge.refresh()
    explanations = catalogue.explanations()
    stored = {
        "recorded": RECORDED_SCHEMA,
        "classified": pa.schema([*CLASSIFIED_SCHEMA, *PARTITION_FIELDS]),
    }
    with connect() as duck:
        for name, table in judge.lookups.items():
            duck.register(name, table)
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
        against = duck.run("FROM contradiction ORDER BY flow_id, side, told_by").to_pylist()
        return exchange, rows_in(duck, explanations["told"], asked), both_sides(judge.seen, against)
