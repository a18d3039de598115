"""
Runs one query on small tables: what the folders of `tests/queries/` are made of.

A case holds `TABLE.jsonl` (the table's rows), or `TABLE+.jsonl` (more rows than those of the base folder that its
`base.txt` names). `TABLE.default.json` holds the columns that rows leave out. `only.json` says which rows of the answer
the claim is about: {"column": [values]}.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from vzflow.flow import lookups
from vzflow.flow.schema import CLASSIFIED_SCHEMA, TEXT
from vzflow.model import catalogue
from vzflow.store.duck import Duck, connect
from vzflow.store.tables import RECEIPT_SCHEMA, RECORDED_SCHEMA, REJECT_SCHEMA

QUERIES = Path(__file__).parent / "queries"
_PARTITION = [("dt", TEXT), ("hour", TEXT), ("made_from", TEXT)]
#: The tables that no query makes, with their schemas.
BASE: dict[str, pa.Schema] = {
    "recorded": RECORDED_SCHEMA,
    "every_recorded": RECORDED_SCHEMA,
    "classified": pa.schema([*CLASSIFIED_SCHEMA, *(pa.field(*f) for f in _PARTITION)]),
    "receipts": RECEIPT_SCHEMA,
    "rejects": REJECT_SCHEMA,
    "address": pa.schema([("cluster", TEXT), ("address", TEXT), ("key", TEXT)]),
    **lookups.IDENTITY,
    **lookups.MODEL,
    **lookups.ASKED,
    **lookups.COMPARED,
    **{f"every_{name}": schema for name, schema in lookups.IDENTITY.items() if name in catalogue.lived()},
}


def made_by_queries(*, of_views: bool) -> dict[str, catalogue.Query]:
    """Every table that a query makes; views read the stored `classified`, stages make it."""
    stages = dict(catalogue.stages())
    return {n: q for n, q in stages.items() if n != "classified"} | dict(catalogue.views()) if of_views else stages


class Session:
    """Runs queries on the tables of folders, one after the other; a table that stays the same is not made again."""

    def __init__(self, duck: Duck) -> None:
        self._duck = duck
        #: By name of a table: a digest of everything that it is made of.
        self._made_of: dict[str, str] = {}

    def run(self, query: catalogue.Query, case: Path, params: dict | None = None) -> pa.Table:
        """Run *query* on the tables of *case*; a table that is neither there nor made by a query is empty."""
        kind = query.path.parent.name
        of_views = kind not in ("lived", "classify", "explain", "lint") or bool(
            set(query.reads) & set(catalogue.views())
        )
        made = dict(catalogue.lived()) if kind == "lived" else made_by_queries(of_views=of_views)
        done: dict[str, str] = {}
        for name in query.reads:
            self._provide(name, case, made, done)
        return self._duck.run(query.sql, params)

    def _provide(self, name: str, case: Path, made: dict[str, catalogue.Query], done: dict[str, str]) -> str:
        if name in done:
            return done[name]
        given = given_rows(case, name)
        if given is None and name.startswith("every_"):
            given = given_rows(case, name.removeprefix("every_"))
        query = made.get(name)
        reads = [self._provide(read, case, made, done) for read in query.reads] if query else []
        what = json.dumps([given, query and query.sql, reads])
        done[name] = hashlib.blake2b(what.encode()).hexdigest()
        if self._made_of.get(name) != done[name]:
            self._made_of.pop(name, None)
            self._make(name, given, query)
            self._made_of[name] = done[name]
        return done[name]

    def _make(self, name: str, given: list[dict] | None, query: catalogue.Query | None) -> None:
        if query is None:
            self._duck.register(name, _nothing(name) if given is None else table_of(given, BASE[name], name))
            return
        self._duck.create_table(name, query.sql)
        if given is not None:
            schema = self._duck.run(f'SELECT * FROM "{name}" LIMIT 0').schema
            self._duck.register(name, table_of(given, schema, name))


def run_case(query: catalogue.Query, case: Path, params: dict | None = None) -> pa.Table:
    """Run *query* on the tables of the folder *case* in a session of its own, which knows no others."""
    with connect(threads=1) as duck:
        return Session(duck).run(query, case, params)


def _nothing(name: str) -> pa.Table:
    if name == "asked":
        return pa.Table.from_pylist([{}], schema=BASE[name])
    return BASE[name].empty_table()


def given_rows(case: Path, name: str) -> list[dict] | None:
    """The table's rows in the folder of the case or its base, completed; None where neither gives any."""
    base = QUERIES / "_base" / (case / "base.txt").read_text().strip() if (case / "base.txt").exists() else case
    files = [case / f"{name}.jsonl"] if (case / f"{name}.jsonl").exists() else [base / f"{name}.jsonl"]
    files = [path for path in (*files, case / f"{name}+.jsonl") if path.exists()]
    defaults: dict = {}
    for folder in (base, case):
        if (folder / f"{name}.default.json").exists():
            defaults |= json.loads((folder / f"{name}.default.json").read_text())
    rows = [defaults | row for path in files for row in rows_of(path)]
    if name == "party":
        # Nobody says the same as anybody else, unless the folder says so.
        rows = [{"label_set": row["party_id"], "profile": row["party_id"]} | row for row in rows]
    return rows if files else None


def only(case: Path, rows: list[dict]) -> list[dict]:
    """The rows that the claim is about."""
    path = case / "only.json"
    wanted = json.loads(path.read_text()) if path.exists() else {}
    assert not rows or set(wanted) <= set(rows[0]), f"{path}: no such column"
    return [row for row in rows if all(row[column] in values for column, values in wanted.items())]


def rows_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def table_of(rows: list[dict], schema: pa.Schema, name: str) -> pa.Table:
    for row in rows:
        unknown = set(row) - set(schema.names)
        assert not unknown, f"{name}: no such column: {', '.join(sorted(unknown))}"
        for field in schema:
            if pa.types.is_timestamp(field.type) and isinstance(row.get(field.name), str):
                row[field.name] = datetime.fromisoformat(row[field.name])
    return pa.Table.from_pylist(rows, schema=pa.schema([f.with_nullable(True) for f in schema]))


def plain(rows: list[dict], keys: set[str]) -> list[dict]:
    """Rows cut to *keys*, with times as text, in an order of their own."""
    shown = [
        {k: (v.isoformat() if isinstance(v, datetime) else v) for k, v in row.items() if k in keys} for row in rows
    ]
    return sorted(shown, key=lambda row: json.dumps(row, sort_keys=True, default=str))
