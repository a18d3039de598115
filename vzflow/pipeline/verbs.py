"""The verbs of the command line for programs: each opens a store, does one thing, and returns plain values or Arrow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from vzflow.flow.errors import UsageProblem
from vzflow.model import catalogue
from vzflow.model.document import load
from vzflow.pipeline import answer, supposed
from vzflow.pipeline.baseline import load_baseline
from vzflow.pipeline.ingest import IngestResult, ingest
from vzflow.pipeline.judge import DEFAULT_MODEL, Asked, Judge, lookups_of, model_of, session, today
from vzflow.pipeline.one_input import Progress
from vzflow.store.duck import connect
from vzflow.store.lake import Lake

__all__ = ["Asked", "IngestResult", "check", "compact", "explain", "ingest", "plan", "query", "report", "sql"]


def open_judge(store: str | Path, model: Sequence[str | Path] = ()) -> Judge:
    """
    Open an existing store with *model*, or with the model it remembers.

    Raises:
        UnreadableStore: There is no store, or it cannot be read.
        UsageProblem: A model file cannot be used.
    """
    lake = Lake.open(store)
    return Judge(lake, model_of(lake, model))


def compact(store: str | Path) -> tuple[int, int]:
    """
    Drop what the store knows of the cluster more than once; return how many observations there were and are.

    Who held an address, and how long that is vouched for, stays the same; no flow is classified again.

    Raises:
        UnreadableStore: There is no store, or it cannot be read.
    """
    from vzflow.identity.compaction import compacted

    return Lake.open(store).rewrite_identity(compacted)


def report(
    store: str | Path, asked: Asked | None = None, *, model: Sequence[str | Path] = (),
    baseline: str | Path | None = None,
) -> dict[str, Any]:  # fmt: skip
    """
    Return the facts of a report (the keys of `vzflow report -o json`, times as datetime); see `answer`.

    Raises:
        UsageProblem: The *baseline*, an earlier `report -o json`, is not there or of another version.
        UnreadableInput: It is not a report.
    """
    before = None if baseline is None else load_baseline(baseline)
    return answer.report_facts(open_judge(store, model), asked or Asked(), before)


def explain(
    store: str | Path, what: str, *, model: Sequence[str | Path] = (), inputs: Sequence[str] = (),
    extract: str | None = None, dissect: bool = False, progress: Progress | None = None,
) -> dict[str, Any]:  # fmt: skip
    """
    Return everything behind the verdict of a flow, or of the first exchange of an edge or a finding.

    Args:
        store: Its folder.
        what: A flow id, an edge `A>B:PORT`, a finding's code, alone or before an edge, or a line of a report.
        model: As `report`.
        inputs: Where the inputs are now, if elsewhere than at ingest.
        extract: Where to write the packets or lines of the flow, or of all exchanges that are meant.
        dissect: Add scapy's view of the flow's packets.
        progress: Told as inputs are read again.

    Returns:
        `others` holds the ids of the further exchanges, `exchanges` how many there are; `finding` and `edge` what was
        asked for.

    Raises:
        UsageProblem: Nothing in the store is meant, or it cannot be cut out.
        UnreadableInput: An input is not there any more, or has changed, and it is needed.
    """
    from dataclasses import asdict

    from vzflow.pipeline import explaining, extraction
    from vzflow.pipeline.subject import MOST_FLOWS, flows_of, subject_of

    judge = open_judge(store, model)
    subject = subject_of(judge, what)
    first, *others = subject.exchanges
    if subject.edge is not None:
        first = explaining.telling(judge, first)
    found = explaining.explain(judge, first, inputs, progress)
    found |= {"others": others, "exchanges": subject.total, "finding": subject.finding, "edge": subject.edge}
    receipts = judge.lake.receipts().to_pylist()
    if dissect:
        # Of an exchange that several sources tell of, the packets are wanted.
        packets = [one["flow_id"] for one in found["exchange"]["told"] if one["source"] == "pcap"]
        dissected = first if first in packets or subject.edge is None else next(iter(packets), first)
        (row,) = explaining.rows_of(judge, [dissected])
        found["dissected"] = {"flow_id": dissected} | extraction.dissect(receipts, row, inputs, progress)
    if extract is not None:
        ids = [first] if subject.edge is None else flows_of(judge, subject.exchanges)
        rows = explaining.rows_of(judge, ids[:MOST_FLOWS])
        cut = extraction.extract(receipts, rows, extract, inputs, progress)
        found["extracted"] = [asdict(one) for one in cut]
        found["left_out"] = len(ids) - sum(len(one["flows"]) for one in found["extracted"])
    return found


def check(
    initiator: str, target: str, *, store: str | Path | None = None, identity: Sequence[str | Path] = (),
    model: Sequence[str | Path] = (), transports: Sequence[str] = tuple(supposed.TRANSPORTS), cluster: str = "default",
) -> dict[str, Any]:  # fmt: skip
    """
    Return what the model says of a flow from *initiator* to *target* (`TO:PORT`) that was not seen; see `supposed`.

    Who a name stands for is known from the *identity* files, else from *store*, else from the model alone.

    Raises:
        UsageProblem: An end is nobody known, or a model file cannot be used.
        UnreadableStore: There is a store and it cannot be read.
    """
    from vzflow.identity import snapshot

    flow = supposed.written(initiator, target)
    if store is not None and not identity:
        return supposed.check(open_judge(store, model).lookups, flow, transports)
    loaded = load(model or [DEFAULT_MODEL], on=today())
    objects = snapshot.load(identity, cluster) if identity else snapshot.OBJECT_SCHEMA.empty_table()
    return supposed.check(lookups_of(loaded, objects, [cluster]), flow, transports)


def plan(store: str | Path | None = None, *, model: Sequence[str | Path] = ()) -> list[dict[str, Any]]:
    """
    Return a row per documented rule: what would show it and prove it (`queries/provers.sql`).

    With a *store* also how it is covered now (`queries/rule_coverage.sql`); None otherwise.
    """
    provers = catalogue.question("provers").sql
    if store is None:
        with connect(threads=1) as duck:
            for name, table in load(model or [DEFAULT_MODEL], on=today()).tables().items():
                duck.register(name, table)
            return [row | {"coverage": None, "why": None} for row in duck.run(provers).to_pylist()]
    with session(open_judge(store, model)) as duck:
        covered = {row["rule_id"]: row for row in duck.run(catalogue.question("rule_coverage").sql).to_pylist()}
        return [
            row | {key: covered[row["rule_id"]][key] for key in ("coverage", "why")}
            for row in duck.run(provers).to_pylist()
        ]


def sql(store: str | Path, text: str, *, model: Sequence[str | Path] = ()) -> pa.Table:
    """
    Return the rows of one reading query over the views.

    Raises:
        UsageProblem: DuckDB cannot run it, or it is not one query that only reads.
    """
    with session(open_judge(store, model)) as duck:
        return duck.ask(text)


def query(
    store: str | Path, name: str, *, model: Sequence[str | Path] = (), **params: Any  # noqa: ANN401 - SQL values
) -> pa.Table:  # fmt: skip
    """
    Return the rows of one of the shipped questions.

    Raises:
        UsageProblem: There is no such question, or it takes other parameters.
    """
    asked = catalogue.question(name)
    params = dict(asked.defaults) | params
    if set(params) != set(asked.params):
        wanted = ", ".join(asked.params) or "no parameters"
        raise UsageProblem(f"{name} takes {wanted}", at="--param", do="Give exactly these, as NAME=VALUE.")
    with session(open_judge(store, model)) as duck:
        return duck.run(asked.sql, params or None)
