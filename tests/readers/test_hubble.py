"""Hubble events: which way a packet went, who saw it, and that one packet is no connection."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from readers.log_support import CONTEXT, one, read_bytes, rejected

from vzflow.readers.base import Context
from vzflow.readers.hubble import read, recognises

#: A packet of a client, seen at its own node; fields and spelling of api/v1/flow/flow.proto.
FLOW = {
    "time": "2026-01-02T03:04:05.678901234Z",
    "uuid": "6d0c4b1e-93a2-4b0b-8ce3-b1d3cbb41c4d",
    "verdict": "FORWARDED",
    "ethernet": {"source": "02:00:00:00:00:01", "destination": "02:00:00:00:00:02"},
    "IP": {"source": "192.0.2.10", "destination": "192.0.2.20", "ipVersion": "IPv4", "encrypted": True},
    "l4": {"TCP": {"source_port": 40555, "destination_port": 8080, "flags": {"PSH": True, "ACK": True}}},
    "source": {
        "ID": 1234,
        "identity": 7,
        "namespace": "shop",
        "labels": ["k8s:app=front", "k8s:io.kubernetes.pod.namespace=shop", "k8s:io.cilium.k8s.policy.cluster=default"],
        "pod_name": "front-5d4f8-abcde",
        "workloads": [{"name": "front", "kind": "Deployment"}],
    },
    "destination": {"identity": 8, "namespace": "shop", "labels": ["k8s:app=orders"], "pod_name": "orders-0"},
    "Type": "L3_L4",
    "node_name": "kind-kind/kind-worker",
    "event_type": {"type": 4, "sub_type": 3},
    "destination_service": {"name": "orders", "namespace": "shop"},
    "traffic_direction": "EGRESS",
    "trace_observation_point": "TO_STACK",
    "is_reply": False,
    "egress_allowed_by": [{"name": "front", "namespace": "shop"}, {"name": "everywhere"}],
    "Summary": "TCP Flags: ACK, PSH",
}

#: The answer to it, as the same node sees it.
REPLY = FLOW | {
    "IP": {"source": "192.0.2.20", "destination": "192.0.2.10", "ipVersion": "IPv4"},
    "l4": {"TCP": {"source_port": 8080, "destination_port": 40555, "flags": {"ACK": True}}},
    "source": FLOW["destination"],
    "destination": FLOW["source"],
    "source_service": FLOW["destination_service"],
    "destination_service": None,
    "is_reply": True,
}

SYN = {"TCP": {"source_port": 40555, "destination_port": 8080, "flags": {"SYN": True}}}
#: A drop, which connection tracking does not know.
DROP = FLOW | {
    "verdict": "DROPPED",
    "drop_reason": 133,
    "drop_reason_desc": "POLICY_DENIED",
    "l4": SYN,
    "traffic_direction": "INGRESS",
    "is_reply": None,
    "egress_allowed_by": [],
}

WRAPPED = {"flow": FLOW, "node_name": "kind-kind/kind-worker", "time": FLOW["time"]}


def flow(base=FLOW, **changes):
    return one(read, json.dumps({"flow": base | changes, "node_name": "n", "time": FLOW["time"]}))


def tcp(**flags):
    return {"TCP": {"source_port": 40555, "destination_port": 8080, "flags": dict.fromkeys(flags, True)}}


def way(row):
    return (
        row["initiator_ip"],
        row["initiator_port"],
        row["responder_ip"],
        row["responder_port"],
        row["initiator_basis"],
    )


def test_event_is_read_whole():
    """Column by column; a packet has no counts, and node encryption is no transport of the payload's ends."""
    assert {name: value for name, value in one(read, json.dumps(WRAPPED)).items() if value is not None} == {
        "segment": CONTEXT.segment,
        "record": 1,
        "source": "hubble",
        "reporter": "initiator",
        "reporter_name": "kind-kind/kind-worker",
        "cluster": "c1",
        "first_seen": datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        "last_seen": datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        "protocol": "tcp",
        "initiator_ip": "192.0.2.10",
        "initiator_port": 40555,
        "responder_ip": "192.0.2.20",
        "responder_port": 8080,
        "initiator_basis": "log",
        "hop": "wire",
        "initiator_named_namespace": "shop",
        "initiator_named_name": "front-5d4f8-abcde",
        "initiator_named_kind": "pod",
        "initiator_named_labels": '{"app": "front"}',
        "responder_named_namespace": "shop",
        "responder_named_name": "orders-0",
        "responder_named_kind": "pod",
        "responder_named_labels": '{"app": "orders"}',
        "responder_named_service": "shop/orders",
        "action": "allowed",
        "policies": '["shop/front", "everywhere"]',
        "transport_seen": "unknown",
        "transport_seen_basis": "not_recorded",
    }


def test_bare_flow_of_older_command_lines_is_the_same_event():
    """Whether the node's answer is wrapped or not, it tells of one packet."""
    assert one(read, json.dumps(FLOW)) == one(read, json.dumps(WRAPPED))


def test_numbers_in_place_of_names_mean_the_same():
    """Protobuf's JSON may be told to write enums as numbers, and wraps booleans in some encoders."""
    numbered = {"verdict": 1, "Type": 1, "traffic_direction": 2, "is_reply": {"value": False}}
    assert flow(**numbered) == flow()
    assert flow(DROP, verdict=2, traffic_direction=1, drop_reason_desc=133) == flow(DROP)


def test_answer_is_turned_round():
    """A reply is the responder's packet: names, labels and Service go with their ends."""
    sent, answered = flow(), flow(REPLY)
    told = ("action", "connection_state")
    assert {k: v for k, v in answered.items() if k not in told} == {k: v for k, v in sent.items() if k not in told}
    assert (sent["connection_state"], answered["connection_state"]) == (None, "established")


@pytest.mark.parametrize(
    ("base", "change", "turned", "basis"),
    [
        (FLOW, {"is_reply": None, "l4": tcp(SYN=1)}, False, "syn"),
        (FLOW, {"is_reply": None, "l4": tcp(SYN=1, ACK=1)}, True, "syn"),
        (FLOW, {"is_reply": None, "l4": tcp(ACK=1)}, False, "first_seen"),
        (FLOW, {"is_reply": None, "reply": False, "l4": tcp(ACK=1)}, False, "first_seen"),
        (FLOW, {"is_reply": None, "reply": True, "l4": tcp(ACK=1)}, True, "log"),
        (FLOW, {"is_reply": True}, True, "log"),
        (
            FLOW,
            {"is_reply": None, "l4": {"UDP": {"source_port": 40555, "destination_port": 8080}}},
            False,
            "first_seen",
        ),
    ],
)
def test_who_opened_is_known_by_tracking_or_a_syn_and_else_a_guess(base, change, turned, basis):
    """The older `reply` is false also where nobody knows."""
    there = ("192.0.2.10", 40555, "192.0.2.20", 8080)
    assert way(flow(base, **change)) == ((*there[2:], *there[:2]) if turned else there) + (basis,)


@pytest.mark.parametrize(
    ("l4", "protocol", "turned", "basis"),
    [
        ({"ICMPv4": {"type": 8}}, "icmp", False, "request"),
        ({"ICMPv4": {}}, "icmp", True, "request"),
        ({"ICMPv4": {"type": 3, "code": 1}}, "icmp", False, "first_seen"),
        ({"ICMPv6": {"type": 128}}, "icmpv6", False, "request"),
        ({"ICMPv6": {"type": 129}}, "icmpv6", True, "request"),
        ({"ICMPv6": {"type": 133}}, "icmpv6", False, "first_seen"),
        ({"VRRP": {"type": 1}}, "112", False, "first_seen"),
        ({}, None, False, "first_seen"),
        (None, None, False, "first_seen"),
    ],
)
def test_protocols_without_ports(l4, protocol, turned, basis):
    """An echo names itself; protobuf leaves out the 0 of an echo reply."""
    row = flow(is_reply=None, l4=l4)
    assert (row["protocol"], row["initiator_basis"]) == (protocol, basis)
    assert row["initiator_ip"] == ("192.0.2.20" if turned else "192.0.2.10")
    assert row["initiator_port"] is row["responder_port"] is None


@pytest.mark.parametrize("name", ["UDP", "SCTP"])
def test_other_protocols_with_ports(name):
    """Ports are where the protocol's header is."""
    row = flow(l4={name: {"source_port": 1, "destination_port": 2}})
    assert (row["protocol"], row["initiator_port"], row["responder_port"]) == (name.lower(), 1, 2)


@pytest.mark.parametrize(
    ("change", "reporter"),
    [
        ({"traffic_direction": "EGRESS"}, "initiator"),
        ({"traffic_direction": "INGRESS"}, "responder"),
        ({"traffic_direction": "EGRESS", "is_reply": True}, "initiator"),
        ({"traffic_direction": "INGRESS", "is_reply": True}, "responder"),
        ({"traffic_direction": "TRAFFIC_DIRECTION_UNKNOWN"}, None),
        ({"traffic_direction": None}, None),
        # Of a packet that tracking does not know, the direction is the packet's own.
        ({"traffic_direction": "EGRESS", "is_reply": None, "l4": tcp(SYN=1, ACK=1)}, "responder"),
        ({"traffic_direction": "INGRESS", "is_reply": None, "l4": tcp(SYN=1, ACK=1)}, "initiator"),
        ({"traffic_direction": "EGRESS", "is_reply": False, "l4": tcp(SYN=1)}, "initiator"),
    ],
)
def test_reporter_is_the_end_that_the_direction_speaks_of(change, reporter):
    """The direction is the connection's, so a reply does not turn it."""
    assert flow(**change)["reporter"] == reporter


@pytest.mark.parametrize(
    ("verdict", "action"),
    [("FORWARDED", "allowed"), ("AUDIT", "allowed"), ("DROPPED", "denied"), ("REDIRECTED", "unknown"),
     ("ERROR", "unknown"), ("TRACED", "unknown"), ("VERDICT_UNKNOWN", "unknown"), (None, "unknown"),
     ("SOMETHING_NEW", "unknown")],
)  # fmt: skip
def test_action_is_what_was_done_with_the_packet(verdict, action):
    """An audited packet passed; what a proxy was given is not decided; a word of a newer version is no denial."""
    assert flow(verdict=verdict)["action"] == action


@pytest.mark.parametrize(
    ("change", "action"),
    [
        ({"drop_reason_desc": "POLICY_DENIED"}, "denied"),
        ({"drop_reason_desc": "POLICY_DENY"}, "denied"),
        ({"drop_reason_desc": "AUTH_REQUIRED"}, "denied"),
        ({"drop_reason_desc": None, "drop_reason": None}, "denied"),
        ({"drop_reason_desc": None, "drop_reason": 181}, "denied"),
        ({"drop_reason_desc": "STALE_OR_UNROUTABLE_IP", "drop_reason": 151}, "unknown"),
        ({"drop_reason_desc": None, "drop_reason": 151}, "unknown"),
        ({"drop_reason_desc": 151}, "unknown"),
    ],
)
def test_only_a_policys_drop_is_a_denial(change, action):
    """Packets are also dropped because they make no sense; no policy refused those."""
    assert flow(DROP, **change)["action"] == action


def test_policies_of_a_drop_are_those_that_denied_it():
    """What would have allowed it at the other end did not decide."""
    denied = {"ingress_denied_by": [{"name": "no-front", "namespace": "shop"}], "egress_allowed_by": [{"name": "x"}]}
    assert flow(DROP, **denied)["policies"] == '["shop/no-front"]'


@pytest.mark.parametrize(
    ("base", "change", "state"),
    [
        (FLOW, {"l4": tcp(SYN=1)}, "attempted"),
        (DROP, {}, "attempted"),
        (REPLY, {"l4": tcp(SYN=1, ACK=1)}, "established"),
        (REPLY, {"l4": tcp(RST=1, ACK=1)}, None),
        (REPLY, {"verdict": "DROPPED"}, None),
        (REPLY, {"l4": {"UDP": {"source_port": 53, "destination_port": 4}}}, "established"),
        (FLOW, {"l4": tcp(FIN=1, ACK=1)}, None),
        (FLOW, {"l4": {"UDP": {"source_port": 4, "destination_port": 53}}}, None),
    ],
)
def test_one_packet_shows_how_far_a_connection_came_only_by_an_answer(base, change, state):
    """A reset may have been a refusal or an end; a packet without an answer may have had one elsewhere."""
    assert flow(base, **change)["connection_state"] == state


@pytest.mark.parametrize(
    ("endpoint", "wanted"),
    [
        ({"labels": ["reserved:host"]}, ("kind-worker", "host")),
        ({"labels": ["reserved:remote-node", "reserved:kube-apiserver"]}, (None, None)),
        ({"labels": ["reserved:world"]}, (None, None)),
        ({}, (None, None)),
        (None, (None, None)),
    ],
)
def test_only_the_node_that_saw_it_is_named(endpoint, wanted):
    """Cilium's reserved words are classes of ends, not names."""
    row = flow(source=endpoint)
    assert (row["initiator_named_name"], row["initiator_named_kind"]) == wanted


def test_parsed_request_and_answer_are_two_messages_of_one_exchange():
    """A code is the answer's; it may be the proxy's own, so it does not show that the app served."""
    http = {"protocol": "HTTP/1.1", "method": "PUT", "url": "http://orders/x", "headers": []}
    asked = flow(Type="L7", l7={"type": "REQUEST", "http": http}, l4=tcp())
    answered = flow(REPLY, Type="L7", l7={"type": "RESPONSE", "http": http | {"code": 403}, "latency_ns": "5"})
    assert (asked["app_protocol"], asked["response_code"]) == ("http/1.1", None)
    assert (answered["app_protocol"], answered["response_code"]) == ("http/1.1", 403)
    assert way(asked) == way(answered)
    assert {asked["transport_seen"], answered["transport_seen"]} == {"unknown"}


def test_kind_of_message_turns_an_answer_that_does_not_say_so():
    """Older versions leave out `is_reply`."""
    row = flow(REPLY, is_reply=None, Type="L7", l7={"type": "RESPONSE", "dns": {"query": "orders."}})
    assert (row["initiator_ip"], row["app_protocol"]) == ("192.0.2.10", "dns")


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (
            {"lost_events": {"source": "PERF_EVENT_RING_BUFFER", "num_events_lost": "8"}, "node_name": "n"},
            "lost_events",
        ),
        ({"node_status": {"state_change": "NODE_CONNECTED", "node_names": ["n"]}}, "no_flow_event"),
        ({"agent_event": {"type": "ENDPOINT_CREATED"}, "node_name": "n"}, "no_flow_event"),
        ({"debug_event": {"type": "DBG_GENERIC"}, "node_name": "n"}, "no_flow_event"),
        ({"flow": FLOW | {"Type": "SOCK", "verdict": "TRANSLATED"}}, "socket_event"),
        ({"flow": {"verdict": "DROPPED", "event_type": {"type": 1}}}, "not_ip"),
    ],
)
def test_what_is_no_packet_and_no_message_is_skipped_by_name(record, reason):
    """Lost events are counted, so that coverage can be doubted."""
    rows, tally = read_bytes(read, json.dumps(record).encode())
    assert (rows, dict(tally.skipped)) == ([], {reason: 1})


def test_fields_an_exporter_masks_are_null():
    """Documentation, "Configuring Hubble exporter": a field mask leaves out what was not asked for."""
    masked = {
        "time": "2026-01-02T03:04:05Z",
        "verdict": "DROPPED",
        "l4": {"TCP": {"destination_port": 8080}},
        "source": {"namespace": "shop", "pod_name": "front"},
        "destination": {"namespace": "shop"},
    }
    row = one(read, json.dumps({"flow": masked}))
    assert (row["initiator_ip"], row["initiator_port"], row["responder_port"]) == (None, None, 8080)
    assert (row["initiator_named_name"], row["responder_named_name"], row["reporter"]) == ("front", None, None)
    assert (row["action"], row["initiator_basis"]) == ("denied", "first_seen")


def test_time_is_the_envelopes_where_the_flow_has_none():
    """Both are the same moment; a mask may leave the inner one out."""
    inner = {name: value for name, value in FLOW.items() if name != "time"}
    assert one(read, json.dumps(WRAPPED | {"flow": inner}))["first_seen"] == flow()["first_seen"]
    assert one(read, json.dumps({"flow": inner}))["first_seen"] is None


def test_loopback_is_a_hop_of_its_own():
    """A packet of a host to itself was never on the wire."""
    assert flow(IP={"source": "127.0.0.1", "destination": "127.0.0.1"})["hop"] == "loopback"


def test_reporter_the_user_names_wins():
    """Whoever exports may know better than the node's own name."""
    (row,), _ = read_bytes(read, json.dumps(FLOW).encode(), Context("x", "0" * 16, "c", "ns/pod"))
    assert row["reporter_name"] == "ns/pod"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("not json", "not_json"),
        ('{"flow": 3}', "field_missing"),
        ('{"flow": {"Key": {}}}', "field_missing"),
        ("{}", "field_missing"),
        (json.dumps(FLOW | {"time": "now"}), "field_invalid"),
        (json.dumps(FLOW | {"IP": "192.0.2.1"}), "field_invalid"),
        (json.dumps(FLOW | {"IP": {"source": "x"}}), "field_invalid"),
        (json.dumps(FLOW | {"l4": {"TCP": {"source_port": 65536}}}), "field_invalid"),
        (json.dumps(FLOW | {"l4": {"TCP": {"source_port": 1.5}}}), "field_invalid"),
        (json.dumps(FLOW | {"verdict": 99}), "field_invalid"),
        (json.dumps(FLOW | {"verdict": []}), "field_invalid"),
        (json.dumps(FLOW | {"is_reply": "no"}), "field_invalid"),
        (json.dumps(FLOW | {"source": {"labels": [1]}}), "field_invalid"),
        (json.dumps(FLOW | {"source": {"pod_name": 1}}), "field_invalid"),
        (json.dumps(FLOW | {"egress_allowed_by": "all"}), "field_invalid"),
        (json.dumps(DROP | {"drop_reason_desc": []}), "field_invalid"),
        (json.dumps(DROP | {"drop_reason_desc": None, "drop_reason": {}}), "field_invalid"),
        (json.dumps(FLOW | {"l7": {"http": {"code": 1000}}}), "field_invalid"),
    ],
)
def test_value_that_no_such_field_can_hold_is_put_aside(line, reason):
    """A row with half of a damaged event would be a forged one."""
    assert rejected(read, line) == reason


def test_recognises_events_and_nothing_of_other_json():
    """Goldmane's flows come under the same key, with other fields."""
    for record in (WRAPPED, FLOW, DROP, {"lost_events": {}, "node_name": "n"}):
        assert recognises(b"some words\n" + json.dumps(record).encode())
    for other in (
        {"flow": {"Key": {"source_name": "a"}}, "id": "1"},
        {"verdict": "x", "node_name": "n"},
        {"flow": 1},
        {},
    ):
        assert not recognises(json.dumps(other).encode())
    assert not recognises(b'{"flow": ')


LINES = [json.dumps(record) for record in (WRAPPED, REPLY, DROP)]


@settings(max_examples=300)
@given(st.sampled_from(LINES), st.data())
def test_damaged_line_costs_its_neighbours_nothing(line, data):
    """Whatever a line turns into, the lines around it are read as they are."""
    raw = bytearray(line.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    damaged = bytes(raw).replace(b"\n", b" ").replace(b"\r", b" ")
    good = json.dumps(WRAPPED).encode()
    rows, _ = read_bytes(read, b"\n".join([good, damaged, good]))
    assert [row["responder_port"] for row in rows if row["record"] in (1, 3)] == [8080, 8080]


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["TCP", "type", "name", "x"]), inner),
    max_leaves=4,
)


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(sorted({*FLOW, "l7", "reply", "drop_reason"})), _VALUES, max_size=4))
def test_any_json_in_any_field_is_a_row_or_put_aside(changes):
    """Fields of the wrong kind never crash the reader."""
    read_bytes(read, json.dumps({"flow": DROP | changes, "node_name": "n"}).encode("utf-8", "surrogatepass"))
