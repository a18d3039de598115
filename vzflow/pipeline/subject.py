"""What an engineer copies from a report -> the exchanges it is about: a flow id, an edge, a finding, a line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vzflow.flow.errors import UsageProblem
from vzflow.model import catalogue
from vzflow.pipeline.judge import Judge, rows_in, session

#: Exchanges of an edge that are told of, and flows that are cut out for one.
MOST_EXCHANGES, MOST_FLOWS = 20, 200

_FLOW = re.compile(r"(?:^|\s)([0-9a-f]{16}:[0-9]{1,18})\s*$")
_CODE = re.compile(r"\s*(VZ[0-9]{4})\b(?:\s+[a-z]+(?=\s|$)(?!\s*>))?\s*(.*)$", re.DOTALL)
#: What a report says of an edge stands two blanks away from it, or more.
_EDGE = re.compile(r"\s*(\S.*?)\s*>\s*(\S.*?):([0-9]{1,5}|-)(?:/([a-z0-9]+))?(?:\s*|\s{2,}\S.*)$")


@dataclass(frozen=True)
class Subject:
    """
    What is to be explained.

    Args:
        exchanges: Ids of the first exchanges, at most MOST_EXCHANGES; each is the id of one of its flows.
        total: How many there are.
        finding: Code, name and sentence of the query, if a finding was asked for.
        edge: Both ends as reports print them, if an edge or a finding was asked for.
    """

    exchanges: tuple[str, ...]
    total: int
    finding: Mapping[str, str] | None = None
    edge: str | None = None


def subject_of(judge: Judge, what: str) -> Subject:
    """
    Return what is meant by a flow id, an edge `INITIATOR > RESPONDER:PORT`, a finding's code, alone or before an edge.

    Raises:
        UsageProblem: It is none of these, or nothing in the store is meant.
    """
    if flow := _FLOW.search(what):
        return Subject((flow[1],), 1)
    if code := _CODE.match(what):
        return _finding(judge, code[1], code[2])
    if ">" in what:
        return _edge(judge, what)
    raise UsageProblem(
        "not a flow id, an edge or a finding", at=what, do="Copy a line of a report; a flow id is `segment:record`."
    )


def flows_of(judge: Judge, exchanges: tuple[str, ...]) -> list[str]:
    """Return the ids of all flows of some exchanges."""
    query = catalogue.explanations()["told"]
    with session(judge) as duck:
        duck.create_table("exchange_flow", catalogue.views()["exchange_flow"].sql)
        found = [row["flow_id"] for one in exchanges for row in rows_in(duck, query, {"flow_id": one})]
    return list(dict.fromkeys(found))


def _edge(judge: Judge, what: str) -> Subject:
    initiator, responder, port, protocol = _parts(what)
    asked = {"initiator": initiator, "responder": responder, "port": port, "protocol": protocol}
    with session(judge) as duck:
        rows = rows_in(duck, catalogue.explanations()["edge_flows"], asked)
    if not rows:
        raise UsageProblem("no exchange of this edge", at=what, do="Copy the names from a report.")
    return _of_rows(rows, None)


def _finding(judge: Judge, code: str, edge: str) -> Subject:
    query = next((q for q in catalogue.findings() if q.code == code), None)
    if query is None:
        known = ", ".join(str(q.code) for q in catalogue.findings())
        raise UsageProblem("no such finding", at=code, do=f"There are: {known}.")
    with session(judge) as duck:
        rows = rows_in(duck, query)
    if query.says.startswith(edge.rstrip()):  # the line that names the finding itself
        edge = ""
    if edge:
        initiator, responder, port, protocol = _parts(edge)
        rows = [
            r for r in rows
            if (r["initiator"], r["responder"], r["port"]) == (initiator, responder, port)
            and protocol in (None, r["protocol"])
        ]  # fmt: skip
    if not rows:
        what = "nothing in this store is found so"
        raise UsageProblem(what, at=f"{code} {edge}".strip(), do="Copy code and edge from a report.")
    # A code alone stands for its first line, as the report prints them.
    rows = rows if edge else sorted(rows, key=lambda r: -r["exchanges"])[:1]
    return _of_rows(rows, {"code": code, "query": query.name, "says": query.says})


def _of_rows(rows: list[dict[str, Any]], finding: Mapping[str, str] | None) -> Subject:
    ids = [flow_id for row in rows for flow_id in json.loads(row["flow_ids"])]
    first = rows[0]
    port = "-" if first["port"] is None else first["port"]
    protocol = "" if first["protocol"] == "tcp" else f"/{first['protocol']}"
    edge = f"{first['initiator']} > {first['responder']}:{port}{protocol}"
    return Subject(tuple(ids[:MOST_EXCHANGES]), sum(row["exchanges"] for row in rows), finding, edge)


def _parts(what: str) -> tuple[str, str, int | None, str | None]:
    found = _EDGE.match(what)
    if found is None:
        raise UsageProblem("neither a flow id nor an edge", at=what, do="Write `NS/WORKLOAD>NS/WORKLOAD:PORT`.")
    return found[1], found[2], None if found[3] == "-" else int(found[3]), found[4]
