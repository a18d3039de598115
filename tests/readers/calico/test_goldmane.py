"""Flows as Goldmane pushes them: Go's JSON of the proto struct."""

import json
from datetime import UTC, datetime

import pytest
from readers.log_support import CONTEXT, one, rejected

from vzflow.readers.calico import read, recognises

#: A flow in which no field is zero, told at the destination.
FLOW = {
    "Key": {
        "source_name": "front-5d4f8-*",
        "source_namespace": "shop",
        "source_type": 1,
        "dest_name": "orders-*",
        "dest_namespace": "orders",
        "dest_type": 1,
        "dest_port": 8080,
        "dest_service_name": "orders-http",
        "dest_service_namespace": "orders",
        "dest_service_port_name": "http",
        "dest_service_port": 80,
        "proto": "tcp",
        "reporter": 2,
        "action": 1,
        "policies": {
            "enforced_policies": [
                {"kind": 6, "namespace": "orders", "name": "in", "tier": "default", "action": 1, "policy_index": 1,
                 "rule_index": 2},
                {"kind": 2, "name": "sec", "tier": "security", "action": 3},
            ],
            "pending_policies": [{"kind": 3, "namespace": "orders", "name": "x", "tier": "default", "action": 2}],
        },
    },
    "start_time": 1767323040,
    "end_time": 1767323055,
    "source_labels": ["tier=front", "app=shop"],
    "dest_labels": ["app=orders"],
    "packets_in": 10,
    "packets_out": 20,
    "bytes_in": 1000,
    "bytes_out": 2000,
    "num_connections_started": 2,
    "num_connections_completed": 1,
    "num_connections_live": 3,
}  # fmt: skip


def flow(key=(), **changes):
    return one(read, json.dumps(FLOW | changes | {"Key": FLOW["Key"] | dict(key)}))


def without(*names):
    key = {name: value for name, value in FLOW["Key"].items() if name not in names}
    return json.dumps({name: value for name, value in FLOW.items() if name not in names} | {"Key": key})


def test_every_field_with_a_column_is_read():
    """Names only: neither addresses nor the initiator's port are ever there."""
    row = flow()
    assert {name: value for name, value in row.items() if value is not None} == {
        "segment": CONTEXT.segment,
        "record": 1,
        "source": "calico",
        "reporter": "responder",
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
        "responder_named_service": "orders/orders-http",
        "packets_sent": 10,
        "bytes_sent": 1000,
        "packets_received": 20,
        "bytes_received": 2000,
        "connections": 3,
        "action": "allowed",
        "policies": '["0|security|gnp:sec|pass|0", "1|default|knp:orders/in|allow|2"]',
        "transport_seen": "unknown",
        "transport_seen_basis": "not_recorded",
    }


def test_count_that_is_not_there_is_zero():
    """Go leaves zero fields out; nothing received is what a blocked flow looks like."""
    row = one(read, without("packets_out", "bytes_out"))
    assert (row["packets_sent"], row["packets_received"], row["bytes_received"]) == (10, 0, 0)


def test_port_that_is_not_there_is_none():
    """No connection has port 0."""
    assert one(read, without("dest_port"))["responder_port"] is None


@pytest.mark.parametrize(("absent", "columns"), [
    ("reporter", {"reporter": None, "bytes_sent": None, "bytes_received": None}),
    ("action", {"action": "unknown"}),
    ("source_type", {"initiator_named_kind": None, "initiator_named_name_prefix": "front-5d4f8-"}),
    ("policies", {"policies": None}),
    ("start_time", {"first_seen": None}),
    ("num_connections_live", {"connections": 2}),
])  # fmt: skip
def test_unspecified_is_unknown(absent, columns):
    """An enum that is not there is its zero, which says nothing; whose in and out they are is then not known either."""
    row = one(read, without(absent))
    assert {name: row[name] for name in columns} == columns


@pytest.mark.parametrize(("written", "kind"), [
    (1, "pod"), (2, "host"), (3, "network_set"), (4, "network"), (0, None),
    ("WorkloadEndpoint", "pod"), ("HostEndpoint", "host"), ("NetworkSet", "network_set"), ("Network", "network"),
    ("wep", "pod"), ("hep", "host"), ("ns", "network_set"), ("net", "network"), ("", None),
])  # fmt: skip
def test_endpoint_type_is_read_as_number_and_as_word(written, kind):
    """Numbers of Go's JSON, names of protobuf's own; the first builds wrote felix's words."""
    assert flow({"dest_type": written})["responder_named_kind"] == kind


@pytest.mark.parametrize(("action", "means"), [(1, "allowed"), (2, "denied"), (3, "unknown"), ("Deny", "denied"),
                                               ("allow", "allowed"), ("Pass", "unknown")])  # fmt: skip
def test_action_is_read_as_number_and_as_word(action, means):
    """A pass decides nothing."""
    assert flow({"action": action})["action"] == means


@pytest.mark.parametrize(("reporter", "end", "sent"), [(1, "initiator", 2000), ("Src", "initiator", 2000),
                                                       ("dst", "responder", 1000)])  # fmt: skip
def test_in_and_out_are_the_reporters(reporter, end, sent):
    """As in flow logs."""
    row = flow({"reporter": reporter})
    assert (row["reporter"], row["bytes_sent"]) == (end, sent)


@pytest.mark.parametrize(("name", "kind"), [("pub", "public_network"), ("pvt", "private_network")])
def test_network_is_public_or_private_by_its_name(name, kind):
    """A class of addresses is nobody's name."""
    row = flow({"dest_type": 4, "dest_name": name, "dest_namespace": "-"})
    assert (row["responder_named_kind"], row["responder_named_name"], row["responder_named_namespace"]) == (
        kind, None, None
    )  # fmt: skip


@pytest.mark.parametrize(("hit", "string"), [
    ({"kind": 1, "namespace": "a", "name": "p", "tier": "t", "action": 2, "rule_index": 4}, "0|t|np:a/p|deny|4"),
    ({"kind": 7, "name": "p", "tier": "adminnetworkpolicy", "action": 1}, "0|adminnetworkpolicy|kcnp:p|allow|0"),
    ({"kind": 9, "name": "kns.a", "action": 1, "policy_index": 3}, "3|__PROFILE__|pro:kns.a|allow|0"),
    ({"kind": 10, "tier": "t", "action": 2, "rule_index": -1, "trigger": {"kind": 2, "name": "p", "tier": "t"}},
     "0|t|gnp:p|deny|-1"),
    ({"kind": "EndOfTier", "tier": "t", "action": "Deny", "rule_index": -1, "trigger": None}, "0|t||deny|-1"),
    ({"name": "p", "tier": "t"}, "0|t|p|-|0"),
])  # fmt: skip
def test_hit_becomes_the_string_that_flow_logs_hold(hit, string):
    """One form of a policy in the store; what ends a tier is told by the policy that selected the endpoint."""
    assert json.loads(flow({"policies": {"enforced_policies": [hit]}})["policies"]) == [string]


@pytest.mark.parametrize("kind", [3, 4, 5, "StagedNetworkPolicy"])
def test_staged_hit_is_not_enforced(kind):
    """Whatever list it is in."""
    hit = {"kind": kind, "name": "p", "tier": "t", "action": 2}
    assert flow({"policies": {"enforced_policies": [hit]}})["policies"] is None


@pytest.mark.parametrize("key", [{"action": 4}, {"action": [1]}, {"reporter": 3}, {"source_type": 9}, {"proto": "x"},
                                 {"dest_port": 70000}, {"policies": []}, {"policies": {"enforced_policies": [1]}},
                                 {"policies": {"enforced_policies": [{"kind": 77}]}},
                                 {"policies": {"enforced_policies": [{"kind": 10, "trigger": 5}]}},
                                 {"policies": {"enforced_policies": [{"tier": 1}]}}, {"source_name": 3}])  # fmt: skip
def test_value_of_the_wrong_kind_is_a_reject(key):
    """A number that no enum has is not made into one it has."""
    assert rejected(read, json.dumps(FLOW | {"Key": FLOW["Key"] | key})) == "field_invalid"


def test_flow_without_a_protocol_is_a_reject():
    """It is no flow."""
    assert rejected(read, without("proto")) == "field_missing"


def test_is_recognised():
    """By its key, wherever it stands in the object."""
    assert recognises(json.dumps(FLOW).encode())
    assert recognises(json.dumps(dict(reversed(FLOW.items()))).encode())
    assert not recognises(b'{"Key": "x", "Value": 1}')
    assert not recognises(b'{"Key": {"bucket": "x"}}')
