"""Calico Enterprise and Cloud JSON flow logs."""

import io
import json
from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from readers.log_support import CONTEXT, one, read_bytes, rejected

from vzflow.readers.base import Context, Tally
from vzflow.readers.calico import read, recognises

#: A whole record at aggregation level 0, told by the responder's node.
RECORD = {
    "start_time": 1767323045,
    "end_time": 1767323345,
    "source_ip": "192.0.2.10",
    "source_name": "shop-5d4f8-abcde",
    "source_name_aggr": "shop-5d4f8-*",
    "source_namespace": "shop",
    "source_port": 40555,
    "source_type": "wep",
    "source_labels": {"labels": ["tier=front", "app=shop"]},
    "dest_ip": "192.0.2.20",
    "dest_name": "orders-0",
    "dest_name_aggr": "orders-*",
    "dest_namespace": "orders",
    "dest_port": 8080,
    "dest_type": "wep",
    "dest_labels": None,
    "dest_service_namespace": "orders",
    "dest_service_name": "orders-http",
    "dest_service_port": "http",
    "dest_service_port_num": 80,
    "proto": "tcp",
    "action": "allow",
    "reporter": "dst",
    "policies": {
        "all_policies": ["0|old|old.all|allow|0"],
        "enforced_policies": ["1|default|orders/default.in|allow|2", "0|sec|sec.pass|pass|0"],
        "pending_policies": ["0|x|staged:x.y|deny|0"],
    },
    "bytes_in": 1000,
    "bytes_out": 2000,
    "packets_in": 10,
    "packets_out": 20,
    "num_flows": 3,
    "num_flows_started": 2,
    "num_flows_completed": 1,
    "host": "node-2",
}

WITHOUT_NAMES = {"source_name": "-", "source_name_aggr": "*", "source_namespace": "-"}


def flow(**changes):
    return one(read, json.dumps(RECORD | changes))


def test_every_field_with_a_column_is_read():
    """The whole record, column by column; what the record cannot say is null."""
    row = flow()
    assert {name: value for name, value in row.items() if value is not None} == {
        "segment": CONTEXT.segment,
        "record": 1,
        "source": "calico",
        "reporter": "responder",
        "reporter_name": "node-2",
        "cluster": "c1",
        "first_seen": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "last_seen": datetime(2026, 1, 2, 3, 9, 5, tzinfo=UTC),
        "protocol": "tcp",
        "initiator_ip": "192.0.2.10",
        "initiator_port": 40555,
        "responder_ip": "192.0.2.20",
        "responder_port": 8080,
        "initiator_basis": "log",
        "hop": "wire",
        "initiator_named_namespace": "shop",
        "initiator_named_name": "shop-5d4f8-abcde",
        "initiator_named_name_prefix": "shop-5d4f8-",
        "initiator_named_kind": "pod",
        "initiator_named_labels": '{"app": "shop", "tier": "front"}',
        "responder_named_namespace": "orders",
        "responder_named_name": "orders-0",
        "responder_named_name_prefix": "orders-",
        "responder_named_kind": "pod",
        "responder_named_service": "orders/orders-http",
        "packets_sent": 10,
        "bytes_sent": 1000,
        "packets_received": 20,
        "bytes_received": 2000,
        "connections": 3,
        "action": "allowed",
        "policies": '["0|sec|sec.pass|pass|0", "1|default|orders/default.in|allow|2"]',
        "transport_seen": "unknown",
        "transport_seen_basis": "not_recorded",
    }


def test_both_reporters_of_one_flow_agree_on_what_the_initiator_sent():
    """In and out are as the reporting end saw it: out of the source is in at the destination."""
    sizes = ("bytes_sent", "bytes_received", "packets_sent", "packets_received")
    at_source = flow(reporter="src", bytes_in=2000, bytes_out=1000, packets_in=20, packets_out=10)
    at_destination = flow()
    assert at_source["reporter"] == "initiator"
    assert [at_source[s] for s in sizes] == [at_destination[s] for s in sizes] == [1000, 2000, 10, 20]


def test_forwarding_host_is_a_proxy_and_says_not_which_end_sent_what():
    """A host in between has no side, so its in and out, transit or not, cannot be told apart."""
    row = flow(reporter="fwd", transit_bytes_in=7, transit_bytes_out=8, transit_packets_in=9, transit_packets_out=10)
    assert row["reporter"] == "proxy"
    assert row["bytes_sent"] is row["bytes_received"] is row["packets_sent"] is row["packets_received"] is None


@pytest.mark.parametrize(
    ("reporter", "end", "sent"),
    [("dst,fwd", "responder", 1000), ("dst, fwd", "responder", 1000), ("src,fwd", "initiator", 2000)],
)
def test_end_whose_host_also_forwarded_is_that_end(reporter, end, sent):
    """Calico writes the direction of the endpoint's own rule and `fwd` after it; in and out are the endpoint's."""
    row = flow(reporter=reporter, transit_bytes_in=7)
    assert (row["reporter"], row["bytes_sent"]) == (end, sent)


@pytest.mark.parametrize("reporter", ["src,dst", "fwd,both", ",", "src,dst,fwd"])
def test_reporter_that_is_no_end_or_two_is_a_reject(reporter):
    """Whose in and out they are must be certain."""
    assert rejected(read, json.dumps(RECORD | {"reporter": reporter})) == "field_invalid"


def test_level_1_has_addresses_and_names_but_no_initiator_port():
    """Aggregation by source port leaves a null port, never 0."""
    row = flow(source_port=None)
    assert (row["initiator_ip"], row["initiator_port"], row["responder_port"]) == ("192.0.2.10", None, 8080)


def test_level_2_has_only_the_beginnings_of_names():
    """A name prefix is not a name: nobody may take it for a pod."""
    row = flow(source_ip=None, source_name="-", source_port=None, dest_ip=None, dest_name="-")
    assert row["initiator_ip"] is row["responder_ip"] is None
    assert row["initiator_named_name"] is row["responder_named_name"] is None
    assert (row["initiator_named_name_prefix"], row["responder_named_name_prefix"]) == ("shop-5d4f8-", "orders-")
    assert row["responder_port"] == 8080


def test_level_3_has_no_responder_port():
    """Without a port no port rule can be matched, so null and not a guess from the service."""
    assert flow(dest_port=None, action="deny")["responder_port"] is None


def test_star_alone_names_nobody():
    """`*` means that the aggregated names have nothing in common."""
    row = flow(**WITHOUT_NAMES)
    assert row["initiator_named_name"] is row["initiator_named_name_prefix"] is row["initiator_named_namespace"] is None
    assert row["initiator_named_kind"] == "pod"


def test_aggregated_name_without_star_is_a_full_name():
    """A pod without a generateName keeps its bare name through aggregation."""
    row = flow(source_name="-", source_name_aggr="multitool")
    assert (row["initiator_named_name"], row["initiator_named_name_prefix"]) == ("multitool", None)


def test_host_endpoint_is_named_by_its_node():
    """The plain name is that of the HostEndpoint object; identity knows nodes."""
    row = flow(source_type="hep", source_name="node-1-auto-hep", source_name_aggr="node-1", source_namespace="-")
    assert (row["initiator_named_kind"], row["initiator_named_name"]) == ("host", "node-1")


@pytest.mark.parametrize(
    ("aggregated", "kind"), [("pub", "public_network"), ("pvt", "private_network"), ("-", "network")]
)
def test_plain_network_has_a_kind_and_no_name(aggregated, kind):
    """`pub` and `pvt` are classes of addresses, not names of anybody."""
    row = flow(source_type="net", source_name="-", source_name_aggr=aggregated, source_namespace="-")
    assert row["initiator_named_kind"] == kind
    assert row["initiator_named_name"] is row["initiator_named_name_prefix"] is None


def test_network_set_keeps_its_name():
    """A network set is an object users know."""
    row = flow(dest_type="ns", dest_name="-", dest_name_aggr="trusted", dest_namespace="-")
    assert (row["responder_named_kind"], row["responder_named_name"]) == ("network_set", "trusted")


@pytest.mark.parametrize("action", [("allow", "allowed"), ("deny", "denied")])
def test_action_is_the_reporters_own(action):
    """Whether the other end denied is another record's word."""
    assert flow(action=action[0])["action"] == action[1]


@pytest.mark.parametrize(
    ("written", "protocol"),
    [("icmp6", "icmpv6"), ("6", "tcp"), (17, "udp"), ("58", "icmpv6"), ("sctp", "sctp"), ("ipip", "4"), ("esp", "50"),
     ("47", "47"), ("-", None)],
)  # fmt: skip
def test_protocol_is_canonical_whether_named_or_numbered(written, protocol):
    """One protocol has one name in the store."""
    assert flow(proto=written)["protocol"] == protocol


def test_plain_network_keeps_the_range_it_is_given_as():
    """A range is all that is left of the address; it is nobody's name, so the kind stays a network."""
    row = flow(source_type="net", source_name="-", source_name_aggr="203.0.113.0/24", source_ip=None)
    assert (row["initiator_named_kind"], row["initiator_named_name"]) == ("network", "203.0.113.0/24")


def test_record_of_no_connection_does_not_stand_for_none():
    """0 is how numbers say that nothing was counted; a row for no connection would be verified by nothing."""
    assert flow(num_flows=0)["connections"] is None


def test_icmp_has_no_ports():
    """Whatever stands in the port fields of ICMP is not a port."""
    row = flow(proto="icmp", source_port=0, dest_port=8)
    assert row["initiator_port"] is row["responder_port"] is None


def test_port_0_is_no_port():
    """Numbers that were not collected are 0 in this format, and no connection has that port."""
    assert flow(source_port=0)["initiator_port"] is None


def test_older_clusters_write_all_policies_only():
    """Four-part policy strings of `all_policies` are kept, sorted by their index as a number."""
    policies = {"all_policies": ["10|b|b|deny", "2|a|a|pass"]}
    assert json.loads(flow(policies=policies)["policies"]) == ["2|a|a|pass", "10|b|b|deny"]
    assert flow(policies=None)["policies"] is None
    assert flow(policies={"enforced_policies": [], "all_policies": None})["policies"] is None


@pytest.mark.parametrize(
    "staged",
    [
        "0|t|staged:t.deny-all|deny", "0|t|t.staged:deny-all|deny|0", "0|t|shop/t.staged:deny-all|deny|-1",
        "0|default|shop/staged:knp.default.deny-all|deny|0", "0|t|sgnp:deny-all|deny|0", "0|t|snp:shop/deny-all|deny|1",
        "0|default|sknp:shop/deny-all|deny|-1",
    ],
)  # fmt: skip
def test_staged_policy_never_counts_as_enforced(staged):
    """Older clusters list what is staged among what decided; neither generation's staged policies decide anything."""
    kept = "1|default|np:shop/default.allow|allow|0"
    assert json.loads(flow(policies={"all_policies": [staged, kept]})["policies"]) == [kept]
    assert flow(policies={"all_policies": [staged], "pending_policies": [staged]})["policies"] is None


@pytest.mark.parametrize(
    "policy",
    [
        "0|default|orders/default.in|allow", "0|default|orders/default.in|allow|2", "0|sec|sec.pass|pass|0",
        "0|default|orders/knp.default.in|deny|-1", "0|__PROFILE__|__PROFILE__.kns.orders|allow|0",
        "0|sec|gnp:in|deny|-2",
        "0|default|knp:orders/in|allow|0", "0|__PROFILE__|pro:kns.orders|allow|0", "0|a|kcnp:in|deny|1", "0|*|*|deny|*",
        "0|default|np:orders/staged-in|allow|-", "unheard of",
    ],
)  # fmt: skip
def test_policy_string_of_any_generation_is_kept_as_written(policy):
    """Four parts or five, with a kind or without, hidden or not understood: evidence is not reworded."""
    assert json.loads(flow(policies={"enforced_policies": [policy]})["policies"]) == [policy]


def test_forwarding_hosts_policies_stand_after_the_ends_own():
    """Either may have denied, so neither is left out; each list is in its own order."""
    lists = {
        "transit_policies": ["1|default|default.t1|deny|0", "0|default|default.t0|pass|0"],
        "enforced_policies": ["0|default|shop/default.in|allow|0"],
        "pending_policies": ["0|default|shop/default.staged:x|deny|0"],
    }
    assert json.loads(flow(reporter="dst,fwd", action="deny", policies=lists)["policies"]) == [
        "0|default|shop/default.in|allow|0",
        "0|default|default.t0|pass|0",
        "1|default|default.t1|deny|0",
    ]


def test_ports_are_read_under_the_names_the_index_has_for_them():
    """Exports of the index may use the aliases of its mapping."""
    record = {k: v for k, v in RECORD.items() if k not in ("source_port", "dest_port")}
    row = one(read, json.dumps(record | {"source_port_num": 40555, "dest_port_num": 8080}))
    assert (row["initiator_port"], row["responder_port"]) == (40555, 8080)


def test_elasticsearch_hit_is_the_record_within_it():
    """Exports keep the index and the id around what was stored."""
    hit = {"_index": "tigera_secure_ee_flows.cluster.20260102", "_id": "x", "_source": RECORD}
    assert one(read, json.dumps(hit)) == flow()
    assert recognises(json.dumps(hit).encode())


def test_fields_without_a_column_change_nothing():
    """NAT ports, names of an address, forwarded addresses, processes, HTTP counts and TCP statistics have none."""
    assert flow() == flow(
        nat_outgoing_ports=[30001, 30002],
        dest_domains=["example.com"],
        original_source_ips=["198.51.100.9"],
        num_original_source_ips=1,
        process_name="/bin/sh",
        http_requests_allowed_in=0,
        http_requests_denied_in=4,
        tcp_mean_mss=1460,
        dest_service_port="*",
    )


def test_dialled_address_is_null():
    """Calico shows the pod after translation; the port of the service it was dialled by is not the dialled address."""
    row = flow()
    assert row["dialled_ip"] is row["dialled_port"] is None


def test_ipv4_mapped_address_is_ipv4():
    """One address has one spelling in the store."""
    assert flow(source_ip="::ffff:192.0.2.10")["initiator_ip"] == "192.0.2.10"
    assert flow(source_ip="2001:DB8:0::1")["initiator_ip"] == "2001:db8::1"


def test_record_without_times_is_kept_with_null_times():
    """The source may have no time; a made-up one would identify the wrong pod."""
    record = {k: v for k, v in RECORD.items() if k not in ("start_time", "end_time")}
    row = one(read, json.dumps(record))
    assert row["first_seen"] is row["last_seen"] is None


def test_named_reporter_of_the_user_wins_over_the_host():
    """What the user says of an input is not overridden by it."""
    context = Context("p", "0" * 16, "c", reporter_name="calico-system/calico-node-x")
    rows, _ = read_bytes(read, json.dumps(RECORD).encode(), context)
    assert rows[0]["reporter_name"] == "calico-system/calico-node-x"


@pytest.mark.parametrize("field", ["action", "reporter", "proto", "source_type", "dest_type"])
def test_record_without_a_needed_field_is_rejected(field):
    """Half a record must not become a flow that looks whole."""
    assert rejected(read, json.dumps({k: v for k, v in RECORD.items() if k != field})) == "field_missing"


@pytest.mark.parametrize(
    "changes",
    [
        {"action": "log"}, {"action": None}, {"reporter": "both"}, {"reporter": None}, {"source_ip": "192.0.2"},
        {"source_port": "http"}, {"dest_port": 70000}, {"dest_port": -1}, {"bytes_in": -5}, {"bytes_in": 1.5},
        {"bytes_in": 1 << 70}, {"bytes_in": True}, {"proto": "tcpp"}, {"proto": "256"}, {"proto": 1.0},
        {"source_type": "pod"}, {"source_name": 5}, {"start_time": 1767323045000}, {"end_time": 1},
        {"policies": []}, {"policies": {"enforced_policies": [1]}}, {"source_labels": {"labels": "a=b"}},
    ],
)  # fmt: skip
def test_value_of_the_wrong_kind_is_a_reject(changes):
    """A field that holds nonsense makes the record unusable, by name and without an exception."""
    assert rejected(read, json.dumps(RECORD | changes)) == "field_invalid"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "not_json"),
        (b"[1]", "not_json"),
        (b'"text"', "not_json"),
        (b'{"a": NaN}', "not_json"),
        (b"\xff{}", "not_text"),
        (b"{}", "field_missing"),
        (b"[" * 100_000, "not_json"),
        (json.dumps(RECORD | {"host": "\ud800"}).encode(), "not_text"),
        (json.dumps(RECORD)[:-20].encode(), "not_json"),
    ],
)
def test_line_that_is_no_record_is_rejected_by_name(line, reason):
    """Rejects say what was wrong with the line itself."""
    assert rejected(read, line) == reason


def test_damaged_line_costs_only_itself():
    """What is whole before and after it is kept, at its own line number."""
    good = json.dumps(RECORD).encode()
    rows, tally = read_bytes(read, b"\n".join([good, good[:100], b"", good]))
    assert [row["record"] for row in rows] == [1, 4]
    assert [(r.record, r.raw) for r in tally.rejects] == [(2, good[:100])]


def test_recognises_a_record_whatever_its_key_order():
    """Key order is not part of the format."""
    assert recognises(json.dumps(RECORD).encode())
    assert recognises(b"\n\n" + json.dumps(dict(reversed(RECORD.items()))).encode() + b"\ngarbage")


def test_recognises_the_beginning_of_a_record_that_the_head_cuts_off():
    """The head is a fixed number of bytes and may end inside the first line."""
    assert recognises(json.dumps(RECORD)[:-10].encode())


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\n",
        b"{}",
        b'{"a": "{\\"reporter\\": 1}"}',
        b"[]",
        b"text",
        b'{"start_time": 1}',
        b'{"_source": {"reporter": "src"}}',
        b"\x00\xff",
    ],
)
def test_does_not_recognise_other_content(head):
    """A wrong guess would reject every line of somebody's file."""
    assert not recognises(head)


def test_reading_streams():
    """The first batch is there before the last line was read: files are larger than memory."""
    line = json.dumps(RECORD).encode() + b"\n"

    class Endless(io.RawIOBase):
        def readable(self):
            return True

        def readinto(self, buffer):
            count = min(len(buffer) // len(line), 1000) * len(line)
            buffer[:count] = line * (count // len(line))
            return count

    batch = next(read(Endless(), CONTEXT, Tally()))
    assert batch.num_rows > 0


ODD_VALUES = (
    None, True, 0, -1, 1 << 64, 1.5, 1e300, float("inf"), "", "-", "*", "6", "wep", "x" * 5000, "\x00", "\u00e9",
    "\ud800", [], [None], ["a=b"], {}, {"labels": None}, {"labels": ["a"]}, {"all_policies": {"0": 1}},
    {"enforced_policies": ["|"]},
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(sorted(RECORD)), st.sampled_from(ODD_VALUES), max_size=4))
@settings(max_examples=200)
def test_any_values_give_a_flow_or_a_named_reject(changes):
    """No value raises anything, and the tally always balances."""
    read_bytes(read, json.dumps(RECORD | changes).encode())


@given(st.integers(0, len(json.dumps(RECORD)) - 1), st.binary(max_size=4), st.integers(0, 4))
@example(0, b"\n", 0)
@settings(max_examples=200)
def test_mutated_lines_never_raise(at, insert, cut):
    """Bytes changed anywhere give flows or rejects."""
    line = json.dumps(RECORD).encode()
    data = line[:at] + insert + line[at + cut :] + b"\n" + line
    recognises(data)
    rows, _ = read_bytes(read, data)
    assert rows


@given(st.binary(max_size=200))
def test_random_bytes_never_raise(data):
    """Whatever the file holds."""
    recognises(data)
    read_bytes(read, data)
