"""
Runs the classification queries over recorded flows: files and tables in, classified rows out.

Nothing is decided here. The engine is whatever `Engine` it is given, so that the same queries run in one process, in a
scheduled job, or inside a task of a cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Protocol

import pyarrow as pa

from vzflow.flow.key import address_key
from vzflow.flow.schema import TEXT
from vzflow.model import catalogue

#: Names of the tables a caller registers before `classify`: recorded flows, and the lookups of `flow.lookups`.
RECORDED = "recorded"
RESULT = "classified"
#: Stages whose rows are as many as the flows and are read once: views, so that they are stored nowhere.
_VIEWS = ("located", RESULT)

_ADDRESSES = pa.schema([("cluster", TEXT), ("address", TEXT), ("key", TEXT)])


class Engine(Protocol):
    """What classification needs of a database: tables and views of given rows and of queries, and a query's rows."""

    def register(self, name: str, table: pa.Table) -> None: ...

    def create_table(self, name: str, sql: str) -> None: ...

    def create_view(self, name: str, sql: str) -> None: ...

    def run(self, sql: str, params: Mapping[str, Any] | None = None) -> pa.Table: ...


def prepare(engine: Engine, lookups: Mapping[str, pa.Table]) -> None:
    """
    Register *lookups*, once for any number of `classify` calls.

    A lookup that `classify` cuts goes by the name `every_NAME` too, where the whole of it stays.
    """
    for name, table in lookups.items():
        engine.register(name, table)
        if name in catalogue.lived():
            engine.register(f"every_{name}", table)


def describe(engine: Engine) -> None:
    """
    Make the tables that depend on lookups alone and that questions ask for: components and the words of rules.

    Needs `prepare` before.
    """
    stages = catalogue.stages()
    asked = {name for query in catalogue.asking() for name in query.reads if not _per_flow(name)}
    for name, query in stages.items():
        if not _per_flow(name) and any(catalogue.depends_on(one, stages, name) for one in asked):
            engine.create_table(name, query.sql)


def classify(engine: Engine) -> None:
    """
    Decide about the rows of the table or view `recorded`, and make the view `classified`: one row for each of them.

    Needs `prepare` before. First the lookups are cut to who lived while these flows lasted: few of all that ever did,
    and every table from there on holds no more. The view puts together what is decided: its rows are many and are
    read once. Addresses are turned into ordered keys here because no portable SQL can.
    """
    for name, query in catalogue.lived().items():
        engine.create_table(name, query.sql)
    seen = engine.run(
        "SELECT cluster, initiator_ip AS address FROM recorded WHERE initiator_ip IS NOT NULL "
        "UNION SELECT cluster, responder_ip FROM recorded WHERE responder_ip IS NOT NULL"
    )
    keys = [address_key(address) for address in seen.column("address").to_pylist()]
    engine.register(
        "address",
        pa.Table.from_arrays([seen.column("cluster"), seen.column("address"), pa.array(keys, TEXT)], schema=_ADDRESSES),
    )
    for name, query in catalogue.stages().items():
        make = engine.create_view if name in _VIEWS else engine.create_table
        make(name, query.sql)


def digest() -> str:
    """Return 32 hex digits that change whenever a classification query does."""
    state = blake2b(digest_size=16)
    for name, query in sorted([*catalogue.lived().items(), *catalogue.stages().items()]):
        state.update(name.encode() + b"\0" + query.sql.encode() + b"\0")
    return state.hexdigest()


def _per_flow(name: str) -> bool:
    stages = catalogue.stages()
    return catalogue.depends_on(name, stages, RECORDED) or catalogue.depends_on(name, stages, "address")
