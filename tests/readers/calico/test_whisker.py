"""Flows as the Whisker backend answers: objects, lists, and streams of events."""

import json
from datetime import UTC, datetime

import pytest
from readers.log_support import CONTEXT, one, read_bytes, rejected

from vzflow.readers.base import LINE_LIMIT
from vzflow.readers.calico import read, recognises
from vzflow.readers.sniff import sniff

#: A flow in which no field is zero, told at the source.
FLOW = {
    "start_time": "2026-01-02T03:04:00Z",
    "end_time": "2026-01-02T03:04:15Z",
    "action": "Deny",
    "source_name": "front-5d4f8-*",
    "source_namespace": "shop",
    "source_labels": "tier=front | app=shop",
    "dest_name": "orders-*",
    "dest_namespace": "orders",
    "dest_labels": "app=orders",
    "protocol": "tcp",
    "dest_port": 8080,
    "reporter": "Src",
    "policies": {
        "enforced": [
            {"kind": "NetworkPolicy", "name": "in", "namespace": "orders", "tier": "default", "action": "Deny",
             "policy_index": 1, "rule_index": 2, "trigger": None},
            {"kind": "GlobalNetworkPolicy", "name": "sec", "namespace": "", "tier": "security", "action": "Pass",
             "policy_index": 0, "rule_index": 0, "trigger": None},
        ],
        "pending": None,
    },
    "packets_in": 20,
    "packets_out": 10,
    "bytes_in": 2000,
    "bytes_out": 1000,
}  # fmt: skip

OTHER = FLOW | {"dest_port": 9090}


def flow(**changes):
    return one(read, json.dumps(FLOW | changes))


def test_every_field_with_a_column_is_read():
    """No addresses, no counts of connections, no kinds of ends but those that the name gives away."""
    row = flow()
    assert {name: value for name, value in row.items() if value is not None} == {
        "segment": CONTEXT.segment,
        "record": 1,
        "source": "calico",
        "reporter": "initiator",
        "cluster": "c1",
        "first_seen": datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        "last_seen": datetime(2026, 1, 2, 3, 4, 15, tzinfo=UTC),
        "protocol": "tcp",
        "responder_port": 8080,
        "initiator_basis": "log",
        "hop": "wire",
        "initiator_named_namespace": "shop",
        "initiator_named_name_prefix": "front-5d4f8-",
        "initiator_named_kind": "pod",
        "initiator_named_labels": '{"app": "shop", "tier": "front"}',
        "responder_named_namespace": "orders",
        "responder_named_name_prefix": "orders-",
        "responder_named_kind": "pod",
        "responder_named_labels": '{"app": "orders"}',
        "packets_sent": 10,
        "bytes_sent": 1000,
        "packets_received": 20,
        "bytes_received": 2000,
        "action": "denied",
        "policies": '["0|security|gnp:sec|pass|0", "1|default|knp:orders/in|deny|2"]',
        "transport_seen": "unknown",
        "transport_seen_basis": "not_recorded",
    }


@pytest.mark.parametrize(
    ("name", "kind"), [("PUBLIC NETWORK", "public_network"), ("PRIVATE NETWORK", "private_network")]
)
def test_network_is_public_or_private_by_its_name(name, kind):
    """Two words stand for classes of addresses; they are nobody's name."""
    row = flow(source_name=name, source_namespace="-", source_labels="")
    assert row["initiator_named_kind"] == kind
    assert row["initiator_named_name"] is row["initiator_named_name_prefix"] is row["initiator_named_labels"] is None


def test_whole_name_may_be_anybodys():
    """A pod without a generateName, a host or a network set: nobody is looked up by a name whose kind is open."""
    row = flow(dest_name="orders-0")
    assert (row["responder_named_name"], row["responder_named_kind"]) == ("orders-0", None)


@pytest.mark.parametrize("name", ["-", "*", ""])
def test_name_that_says_nothing_is_null(name):
    """Marks for nothing are not names."""
    row = flow(dest_name=name)
    assert row["responder_named_name"] is row["responder_named_name_prefix"] is row["responder_named_kind"] is None


def test_time_of_another_zone_is_utc():
    """Go writes the zone of the backend."""
    assert flow(start_time="2026-01-02T05:04:00+02:00")["first_seen"] == datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def test_zero_time_is_null():
    """Go's zero and the epoch are no times."""
    assert flow(start_time="0001-01-01T00:00:00Z", end_time="1970-01-01T00:00:00Z")["first_seen"] is None


@pytest.mark.parametrize("changes", [{"start_time": 1767323040}, {"start_time": "2026-01-02 03:04:00"},
                                     {"end_time": "2026-02-30T00:00:00Z"}, {"end_time": "2025-01-02T03:04:00Z"},
                                     {"action": "Drop"}, {"reporter": "Both"}, {"protocol": "x"}, {"dest_port": -1},
                                     {"source_name": 1}, {"source_labels": ["a=b"]}, {"policies": []},
                                     {"policies": {"enforced": {}}}, {"bytes_in": "1"}])  # fmt: skip
def test_value_of_the_wrong_kind_is_a_reject(changes):
    """By name, without an exception."""
    assert rejected(read, json.dumps(FLOW | changes)) == "field_invalid"


def test_event_stream_is_a_flow_an_event():
    """`data:` carries a flow, `error:` tells that some may be missing, everything else of a stream is no record."""
    stream = (
        f": comment\n\nevent: x\ndata: {json.dumps(FLOW)}\n\nid: 4\ndata: {json.dumps(OTHER)}\n\n"
        "error: failed to stream flows\n\ndata: {\n\n"
    ).encode()
    rows, tally = read_bytes(read, stream)
    assert [row["responder_port"] for row in rows] == [8080, 9090]
    assert {reason.value: n for reason, n in tally.skipped.items()} == {
        "blank_line": 5, "not_a_flow": 3, "stream_error": 1,
    }  # fmt: skip
    assert tally.rejected_by_reason() == {"not_json": 1}
    assert recognises(stream)


META = '{"meta":{"totalPages":1,"totalResults":2},"items":'
LISTS = {
    "whisker": f"{META}[{json.dumps(FLOW)},{json.dumps(OTHER)}]}}\n",
    "older whisker": f'{{"total":2,"items":[{json.dumps(FLOW)},{json.dumps(OTHER)}]}}\n',
    "counts at the end": f'{{"items":[{json.dumps(FLOW)},{json.dumps(OTHER)}],"total":2}}\n',
    "pretty": json.dumps({"meta": {"totalPages": 1, "totalResults": 2}, "items": [FLOW, OTHER]}, indent=2) + "\n",
    "pretty, counts at the end": json.dumps({"items": [FLOW, OTHER], "total": 2}, indent=4) + "\n",
    "bare": json.dumps([FLOW, OTHER]) + "\n",
    "bare and pretty": json.dumps([FLOW, OTHER], indent=1),
    "without a line end": f"{META}[{json.dumps(FLOW)},{json.dumps(OTHER)}]}}",
}


@pytest.mark.parametrize("text", LISTS.values(), ids=LISTS)
def test_list_is_a_flow_an_element(text):
    """However it is laid out, and whatever stands around the list."""
    rows, tally = read_bytes(read, text.encode())
    assert [(row["record"], row["responder_port"]) for row in rows] == [(1, 8080), (2, 9090)]
    assert (tally.read, tally.rejected) == (2, 0)
    assert sniff(text.encode(), "x").name == "calico"


def test_lists_one_after_another_are_read_on():
    """Pages appended to one file, then lines."""
    line = json.dumps(FLOW) + "\n"
    rows, tally = read_bytes(read, ("\n" + "".join(LISTS.values()) + "\n" + line * 2).encode())
    assert [row["responder_port"] for row in rows] == [*[8080, 9090] * len(LISTS), 8080, 8080]
    assert tally.rejected == 0


def test_line_among_lines_never_begins_a_list():
    """A damaged line that looks like the beginning of one would swallow the lines after it."""
    line = json.dumps(FLOW) + "\n"
    rows, tally = read_bytes(read, f'{line}[{{"kind": 1}}\n[\n{{"items":[{{}}\n{line}'.encode())
    assert [row["record"] for row in rows] == [1, 5]
    assert (tally.read, tally.rejected) == (5, 3)


def test_empty_list_holds_nothing():
    """An answer without flows is no damage."""
    rows, tally = read_bytes(read, f'{META}[]}}\n{{"total":0,"items":[]}}\n[]\n'.encode())
    assert (rows, tally.read) == ([], 0)


def test_brackets_and_quotes_within_strings_end_nothing():
    """Labels are whatever people wrote."""
    odd = FLOW | {"source_labels": 'a=}]{[ | b=\\" | c="'}
    rows, _ = read_bytes(read, f"{META}[{json.dumps(odd)},{json.dumps(OTHER)}]}}\n".encode())
    assert len(rows) == 2


def test_list_cut_off_keeps_what_is_whole():
    """The last element is a reject, those before it stand."""
    text = LISTS["whisker"][:-60]
    rows, tally = read_bytes(read, text.encode())
    assert (len(rows), tally.rejected_by_reason()) == (1, {"truncated_file": 1})


@pytest.mark.parametrize("odd", ["5", "{}", "[1]", '"text"', "null", "[{}]"])
def test_element_that_is_no_flow_costs_only_itself(odd):
    """Its neighbours are flows, and it is a reject."""
    rows, tally = read_bytes(read, f"[{json.dumps(FLOW)}, {odd}, {json.dumps(OTHER)}]\n".encode())
    assert [row["responder_port"] for row in rows] == [8080, 9090]
    assert (tally.read, tally.rejected) == (3, 1)


def test_blanks_between_elements_are_not_kept():
    """A megabyte of nothing is no element."""
    text = f"[{json.dumps(FLOW)}, {' ' * (2 * LINE_LIMIT)}{json.dumps(OTHER)}]\n"
    rows, tally = read_bytes(read, text.encode())
    assert ([row["responder_port"] for row in rows], tally.read) == ([8080, 9090], 2)


def test_element_too_long_is_one_reject():
    """Memory is bounded by a limit for elements, as for lines."""
    huge = json.dumps(FLOW | {"source_labels": "x" * (LINE_LIMIT + 100_000)})
    rows, tally = read_bytes(read, f"{META}[{huge},{json.dumps(OTHER)}]}}\n".encode())
    assert [row["responder_port"] for row in rows] == [9090]
    assert tally.rejected_by_reason() == {"line_too_long": 1}
