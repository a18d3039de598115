"""Every query is a folder-tested program: small tables in, expected rows out (see tests/queries/)."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
from query_case import BASE, QUERIES, Session, only, plain, rows_of, run_case

from vzflow.flow import lookups
from vzflow.model import catalogue
from vzflow.store.duck import connect

ALL = [*catalogue.lived().values(), *catalogue.stages().values(), *catalogue.views().values(),
       *catalogue.explanations().values(), *catalogue.lints().values(), *catalogue.questions().values()]  # fmt: skip
CASES = [(query, case) for query in ALL for case in sorted((QUERIES / query.name).glob("*/"))]
#: A value for every parameter any query takes.
PARAMS = {"address": "10.0.0.1", "time": "2026-01-01T00:00:00Z", "initiator": "a", "responder": "b", "port": 1,
          "protocol": "tcp", "segment": "s", "record": 1, "flow_id": "s:1", "min_minutes": 1,
          "name": "web"}  # fmt: skip


@pytest.fixture(scope="module")
def session():
    with connect(threads=1) as duck:
        yield Session(duck)


@pytest.mark.parametrize(("query", "case"), CASES, ids=lambda x: x.name)
def test_claim(session, query, case):
    """The folder's name is the claim; expect.jsonl names the columns that matter to it."""
    params = json.loads((case / "params.json").read_text()) if (case / "params.json").exists() else None
    expected = rows_of(case / "expect.jsonl")
    for row in expected:
        for key, value in row.items():
            if key.endswith(("_seen", "_from", "_to", "_until")) and isinstance(value, str) and key != "made_from":
                row[key] = datetime.fromisoformat(value).isoformat()
    keys = set().union(*(row.keys() for row in expected))
    got = session.run(query, case, params).to_pylist()
    if set(query.one_row_per) <= set(query.returns):
        rows = [tuple(row[key] for key in query.one_row_per) for row in got]
        assert len(rows) == len(set(rows)), f"not one row per {', '.join(query.one_row_per)}"
    assert plain(only(case, got), keys or set(query.returns)) == plain(expected, keys)


@pytest.mark.parametrize("query", ALL, ids=lambda q: q.name)
def test_query_on_no_rows_returns_its_declared_columns(query, tmp_path):
    """Every query binds against empty tables, and its header names exactly its columns."""
    params = {name: PARAMS[name] for name in query.params}
    got = run_case(query, tmp_path, params or None)
    assert tuple(got.column_names) == query.returns


@pytest.mark.parametrize("query", ALL, ids=lambda q: q.name)
def test_query_has_a_case_that_fires_and_one_that_stays_silent(query):
    """A query nobody has seen stay silent is not trusted; one that always answers has two different answers."""
    expected = [rows_of(case / "expect.jsonl") for q, case in CASES if q.name == query.name]
    if query.one_row_per == ("query",):
        assert len({json.dumps(rows) for rows in expected}) > 1
    else:
        assert {bool(rows) for rows in expected} == {True, False}


@pytest.mark.parametrize("query", ALL, ids=lambda q: q.name)
def test_query_reads_only_tables_that_exist(query):
    """`reads` is not decoration: each name is a base table, a stage or a view."""
    known = set(BASE) | set(catalogue.lived()) | set(catalogue.stages()) | set(catalogue.views())
    assert set(query.reads) <= known


@pytest.mark.parametrize(
    "query",
    [*catalogue.explanations().values(), *catalogue.lints().values(), *catalogue.questions().values()],
    ids=lambda q: q.name,
)
def test_answer_is_ordered(query):
    """Output can be compared only if the same rows always come in the same order."""
    assert query.one_row_per == ("query",) or "ORDER BY" in query.sql.rstrip().splitlines()[-1]


def test_a_lookup_that_is_cut_keeps_its_columns():
    """Queries read the same columns, whether they see everybody or those who lived meanwhile."""
    for name, query in catalogue.lived().items():
        assert name == "span" or query.returns == tuple(lookups.IDENTITY[name].names)


def test_every_case_folder_is_of_a_query():
    """A folder whose query was renamed would silently test nothing."""
    folders = {path.name for path in QUERIES.iterdir() if path.is_dir() and not path.name.startswith("_")}
    assert folders <= {query.name for query in ALL}


def test_no_name_is_both_a_stage_and_a_question():
    """`vzflow query NAME` and the test folders need names to be unique."""
    assert len({query.name for query in ALL}) == len(ALL)
