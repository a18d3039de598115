"""Runs one query on small tables: what the folders of `tests/queries/` are made of."""

from __future__ import annotations

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
    "classified": pa.schema([*CLASSIFIED_SCHEMA, *(pa.field(*f) for f in _PARTITION)]),
    "receipts": RECEIPT_SCHEMA,
    "rejects": REJECT_SCHEMA,
    "address": pa.schema([("cluster", TEXT), ("address", TEXT), ("key", TEXT)]),
    **lookups.IDENTITY,
    **lookups.MODEL,
    **lookups.ASKED,
}


def made_by_queries(*, of_views: bool) -> dict[str, catalogue.Query]:
    """Every table that a query makes; views read the stored `classified`, stages make it."""
    return dict(catalogue.views()) if of_views else dict(catalogue.stages())


def run_case(query: catalogue.Query, case: Path, params: dict | None = None) -> pa.Table:
    """Run *query* on the tables of the folder *case*; a table that is neither there nor made by a query is empty."""
    of_views = query.path.parent.name not in ("classify", "explain") or "edge" in query.reads
    made = made_by_queries(of_views=of_views)
    with connect() as duck:
        for name in query.reads:
            _provide(duck, name, case, made, set())
        return duck.run(query.sql, params)


def _provide(duck: Duck, name: str, case: Path, made: dict[str, catalogue.Query], done: set[str]) -> None:
    if name in done:
        return
    done.add(name)
    given = _file(case, name)
    if name not in made:
        duck.register(name, _table(given, BASE[name]) if given else _nothing(name))
        return
    for read in made[name].reads:
        _provide(duck, read, case, made, done)
    duck.create_table(name, made[name].sql)
    if given:
        schema = duck.run(f'SELECT * FROM "{name}" LIMIT 0').schema
        duck.register(name, _table(given, schema))


def _nothing(name: str) -> pa.Table:
    if name == "asked":
        return pa.Table.from_pylist([{}], schema=BASE[name])
    return BASE[name].empty_table()


def _file(case: Path, name: str) -> Path | None:
    """The table's rows in the folder of the case, else in the base folder that its `base.txt` names."""
    for folder in (case, *([QUERIES / "_base" / (case / "base.txt").read_text().strip()] if (case / "base.txt").exists() else [])):
        if (folder / f"{name}.jsonl").exists():
            return folder / f"{name}.jsonl"
    return None


def rows_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _table(path: Path, schema: pa.Schema) -> pa.Table:
    rows = rows_of(path)
    for row in rows:
        unknown = set(row) - set(schema.names)
        assert not unknown, f"{path}: no such column: {', '.join(sorted(unknown))}"
        for field in schema:
            if pa.types.is_timestamp(field.type) and isinstance(row.get(field.name), str):
                row[field.name] = datetime.fromisoformat(row[field.name])
    return pa.Table.from_pylist(rows, schema=pa.schema([f.with_nullable(True) for f in schema]))


def plain(rows: list[dict], keys: set[str]) -> list[dict]:
    """Rows cut to *keys*, with times as text, in an order of their own."""
    shown = [{k: (v.isoformat() if isinstance(v, datetime) else v) for k, v in row.items() if k in keys} for row in rows]
    return sorted(shown, key=lambda row: json.dumps(row, sort_keys=True, default=str))
