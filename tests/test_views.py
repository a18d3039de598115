"""What holds for the views as a whole, whatever columns they get."""

from __future__ import annotations

import json

import pytest
from query_case import run_case

from vzflow.flow.schema import CLASSIFIED_SCHEMA, FLOW_SCHEMA, RECORDED, RESOLVED, VERDICT
from vzflow.model import catalogue

VIEWS = catalogue.views()
#: A recorded column and the column that says the same of the other side.
OTHER_SIDE = {
    name: other
    for name in FLOW_SCHEMA.names
    for a, b in (("initiator", "responder"), ("sent", "received"))
    for other in (name.replace(a, "?").replace(b, a).replace("?", b),)
    if other != name and other in FLOW_SCHEMA.names
}


def value(number, kind):
    """A value that no other column has, of the type of a column."""
    return {"string": f"value {number}", "bool": True}.get(str(kind), number)


@pytest.fixture
def stored(tmp_path):
    """Write one recorded row, every directional column with a value of its own, and its classification."""

    def write(*, turned):
        place = {"segment": "s", "record": 1, "dt": "2026-01-02", "hour": "03"}
        recorded = {n: value(i, FLOW_SCHEMA.field(n).type) for i, n in enumerate(sorted(OTHER_SIDE), 1)}
        resolved = {n: value(i, CLASSIFIED_SCHEMA.field(n).type) for i, n in enumerate((c.name for c in RESOLVED), 1)}
        (tmp_path / "recorded.jsonl").write_text(json.dumps({**recorded, **place}))
        (tmp_path / "classified.jsonl").write_text(json.dumps({**resolved, **place, "turned": turned}))
        (row,) = run_case(VIEWS["flow"], tmp_path).to_pylist()
        return recorded, resolved, row

    return write


def test_every_directional_column_is_turned(stored):
    """A column added later cannot be forgotten: half a turned row would name the wrong side."""
    assert len(OTHER_SIDE) > 20
    recorded, _, row = stored(turned=True)
    assert {n: row[n] for n in OTHER_SIDE} == {n: recorded[OTHER_SIDE[n]] for n in OTHER_SIDE}


def test_no_directional_column_is_turned_without_need(stored):
    """What was recorded the right way round stays as recorded."""
    recorded, _, row = stored(turned=False)
    assert {n: row[n] for n in OTHER_SIDE} == recorded


@pytest.mark.parametrize("turned", [True, False])
def test_resolved_columns_are_never_turned(stored, turned):
    """Classification already speaks of the right sides."""
    _, resolved, row = stored(turned=turned)
    assert {n: row[n] for n in resolved} == resolved


def test_flow_has_every_declared_column_once():
    """`flow` is what was recorded and what was resolved, in the order of the schema."""
    assert VIEWS["flow"].returns == ("flow_id", *(c.name for c in (*RECORDED, *RESOLVED)))


def test_verdict_has_exactly_its_columns():
    """Programs outside rely on these seven."""
    assert VIEWS["verdict"].returns == tuple(c.name for c in VERDICT)


def test_flow_and_verdict_share_only_the_flow_id():
    """So a natural join of the two is the join people mean."""
    assert set(VIEWS["flow"].returns) & set(VIEWS["verdict"].returns) == {"flow_id"}
