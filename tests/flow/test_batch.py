"""Batches are made in one place, and nothing leaves it that the schema does not allow."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from vzflow.flow.batch import BadBatch, batch_of_columns, checked, numbered, used
from vzflow.flow.schema import COUNT, FLOW_SCHEMA, NUMBERED, PORT, TEXT

#: The columns that are never null, with a value each.
NEEDED = {
    "segment": "0" * 16, "source": "pcap", "cluster": "here", "initiator_basis": "syn", "hop": "wire",
    "action": "unknown", "transport_seen": "unknown", "transport_seen_basis": "cut",
}  # fmt: skip


def columns(**others):
    """Two rows."""
    made = {name: numbered([text], np.zeros(2, np.int64)) for name, text in NEEDED.items()}
    return made | {"record": pa.array([1, 2], COUNT)} | others


def test_columns_become_a_batch_of_the_schema_and_missing_ones_are_null():
    """Text may be numbered; whoever casts it has FLOW_SCHEMA itself."""
    batch = batch_of_columns(columns(tls_sni=pa.array(["a", None], TEXT)), 2)
    assert checked(batch).cast(FLOW_SCHEMA).schema == FLOW_SCHEMA
    assert batch.schema.field("segment").type == NUMBERED
    assert not batch.schema.field("segment").nullable
    assert [row["tls_sni"] for row in batch.to_pylist()] == ["a", None]
    assert batch.column("responder_ip").null_count == 2


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"colour": pa.array(["red", "red"], TEXT)}, "no such column: colour"),
        ({"hop": numbered(["wire", "moon"], np.array([0, 1]))}, "hop holds 'moon'"),
        ({"hop": pa.array(["wire", "moon"], TEXT)}, "hop holds 'moon'"),
        ({"hop": numbered(["wire", None], np.array([0, 1]))}, "hop is null in 1 rows"),
        ({"responder_port": pa.array([80, 80], COUNT)}, "responder_port is int64, not int32"),
        ({"responder_port": numbered(["80"], np.zeros(2, np.int64))}, "responder_port is dictionary"),
        ({"action": pa.array([1, 2], PORT)}, "action is int32, not string"),
    ],
)
def test_what_the_schema_does_not_allow_is_refused_by_the_name_of_its_column(wrong, says):
    """A reader that yields it has a fault; it must not reach the store."""
    with pytest.raises(BadBatch, match=says):
        batch_of_columns(columns(**wrong), 2)


def test_numbered_text_is_held_once_and_null_where_its_text_is():
    """Parquet refuses a dictionary that repeats a text."""
    column = numbered(["a", None, "b", "a"], np.array([3, 1, 0, 2]))
    assert column.type == NUMBERED
    assert column.to_pylist() == ["a", None, "a", "b"]
    assert column.dictionary.to_pylist() == ["a", "b"]


def test_a_column_that_is_used_has_the_texts_of_its_rows_and_says_the_same():
    """Nulls and repeated rows stay; of no row there are no texts."""
    column = numbered(["a", None, "b", "c"], np.array([0, 3, 1, 3, 2]))
    for part, texts in ((column.slice(1, 3), ["c"]), (column.slice(2, 1), []), (column.slice(0, 0), [])):
        assert used(part).to_pylist() == part.to_pylist()
        assert used(part).dictionary.to_pylist() == texts
        assert used(part).type == NUMBERED
