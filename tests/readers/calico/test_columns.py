"""The space-delimited form of Calico flow logs."""

from datetime import UTC, datetime

import pytest
from readers.log_support import CONTEXT, one, rejected

from vzflow.readers.calico import read, recognises

#: A whole record at aggregation level 0, told at the destination.
FIELDS = {
    "start": "1767323045", "end": "1767323345", "src_type": "wep", "src_namespace": "shop", "src_name": "front-x7",
    "src_labels": "[app=front,tier=web]", "dst_type": "wep", "dst_namespace": "orders", "dst_name": "orders-0",
    "dst_labels": "-", "src_ip": "192.0.2.10", "dst_ip": "2001:db8::20", "proto": "6", "src_port": "40555",
    "dst_port": "8080", "flows": "3", "started": "2", "completed": "1", "reporter": "in", "packets_in": "10",
    "packets_out": "20", "bytes_in": "1000", "bytes_out": "2000", "action": "allow",
}  # fmt: skip


def line(**changes):
    return " ".join((FIELDS | changes).values())


def test_every_column_is_read():
    """The whole record; `in` is the direction of the destination's policy."""
    row = one(read, line())
    assert {name: value for name, value in row.items() if value is not None} == {
        "segment": CONTEXT.segment,
        "record": 1,
        "source": "calico",
        "reporter": "responder",
        "cluster": "c1",
        "first_seen": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "last_seen": datetime(2026, 1, 2, 3, 9, 5, tzinfo=UTC),
        "protocol": "tcp",
        "initiator_ip": "192.0.2.10",
        "initiator_port": 40555,
        "responder_ip": "2001:db8::20",
        "responder_port": 8080,
        "initiator_basis": "log",
        "hop": "wire",
        "initiator_named_namespace": "shop",
        "initiator_named_name": "front-x7",
        "initiator_named_kind": "pod",
        "initiator_named_labels": '{"app": "front", "tier": "web"}',
        "responder_named_namespace": "orders",
        "responder_named_name": "orders-0",
        "responder_named_kind": "pod",
        "packets_sent": 10,
        "bytes_sent": 1000,
        "packets_received": 20,
        "bytes_received": 2000,
        "connections": 3,
        "action": "allowed",
        "transport_seen": "unknown",
        "transport_seen_basis": "not_recorded",
    }


@pytest.mark.parametrize(
    ("reporter", "end", "sent"),
    [("out", "initiator", 2000), ("src", "initiator", 2000), ("in", "responder", 1000), ("dst", "responder", 1000)],
)
def test_reporter_is_the_end_whose_policy_it_was(reporter, end, sent):
    """Older records write the policy's direction, later ones the end; in and out are that end's."""
    row = one(read, line(reporter=reporter))
    assert (row["reporter"], row["bytes_sent"]) == (end, sent)


def test_aggregated_columns_are_null_and_names_are_beginnings():
    """`-` is nothing, a `*` ends what the names have in common, `*` alone is nothing in common."""
    row = one(read, line(src_name="front-*", dst_name="*", src_ip="-", dst_ip="-", src_port="-", dst_port="-"))
    assert (row["initiator_named_name"], row["initiator_named_name_prefix"]) == (None, "front-")
    assert row["responder_named_name"] is row["responder_named_name_prefix"] is None
    assert row["initiator_ip"] is row["initiator_port"] is row["responder_ip"] is row["responder_port"] is None


def test_network_has_a_class_and_no_name():
    """`pub` stands in the name's column."""
    row = one(read, line(dst_type="net", dst_namespace="-", dst_name="pub"))
    assert (row["responder_named_kind"], row["responder_named_name"]) == ("public_network", None)


@pytest.mark.parametrize("text", [line() + " extra", line().rsplit(" ", 1)[0], line(src_labels="[a=b, c=d]")])
def test_other_number_of_columns_is_ambiguous(text):
    """Which column is missing cannot be told, so none is believed."""
    assert rejected(read, text) == "columns_ambiguous"
    assert not recognises(text.encode())


@pytest.mark.parametrize("changes", [{"proto": "tcpp"}, {"bytes_in": "1.5"}, {"action": "log"}, {"reporter": "both"},
                                     {"src_ip": "pod"}, {"dst_type": "pod"}, {"src_labels": "app=a"},
                                     {"dst_port": "70000"}, {"flows": "-3"}])  # fmt: skip
def test_value_of_the_wrong_kind_is_a_reject(changes):
    """As in JSON."""
    assert rejected(read, line(**changes)) == "field_invalid"


def test_is_recognised_past_other_lines():
    """The first lines of a file need not be records."""
    assert recognises(b"2026-01-02 03:04:05 starting\n\n" + line().encode() + b"\n")
