"""ALS messages and OpenTelemetry logs as stored JSON: the same flows, however many a line holds."""

from __future__ import annotations

import io
import json
from copy import deepcopy

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st
from readers.log_support import CONTEXT, INBOUND, OUTBOUND, as_text, read_bytes, sample

from vzflow.flow.key import ENTRY
from vzflow.readers.base import Context, Tally
from vzflow.readers.envoy import read, recognises
from vzflow.readers.envoy.given import given

CLIENT = "spiffe://cluster.local/ns/shop/sa/front"
SERVER = "spiffe://cluster.local/ns/shop/sa/orders"
NODE = "sidecar~192.0.2.20~orders-0.shop~shop.svc.cluster.local"


def socket(ip, port):
    return {"socketAddress": {"address": ip, "portValue": port}}


def common(**more):
    return {
        "downstreamRemoteAddress": socket("192.0.2.10", 40555),
        "downstreamDirectRemoteAddress": socket("192.0.2.10", 40555),
        "downstreamLocalAddress": socket("192.0.2.20", 8080),
        "upstreamRemoteAddress": socket("192.0.2.20", 8080), "upstreamLocalAddress": socket("127.0.0.6", 41000),
        "startTime": "2026-01-02T03:04:05.678901234Z", "duration": "0.017s",
        "upstreamCluster": "inbound|8080||", **more,
    }  # fmt: skip


def http(common_properties, **response):
    return {
        "commonProperties": common_properties, "protocolVersion": "HTTP11",
        "request": {"requestMethod": "GET", "authority": "orders", "path": "/", "requestBodyBytes": "120"},
        "response": {
            "responseCode": 200, "responseBodyBytes": "4500", "responseCodeDetails": "via_upstream", **response,
        },
    }  # fmt: skip


def tcp(common_properties):
    bytes_both_ways = {"receivedBytes": "120", "sentBytes": "4500"}
    return {"commonProperties": common_properties, "connectionProperties": bytes_both_ways}


def message(*, https=(), tcps=(), node=NODE):
    out = {"identifier": {"node": {"id": node}, "logName": "als"}} if node else {}
    out |= {"httpLogs": {"logEntry": list(https)}} if https else {}
    return json.dumps(out | ({"tcpLogs": {"logEntry": list(tcps)}} if tcps else {})).encode()


TLS = {
    "tlsVersion": "TLSv1_3", "tlsSniHostname": "outbound_.80_._.orders.shop.svc.cluster.local",
    "peerCertificateProperties": {"subjectAltName": [{"uri": CLIENT}]},
    "localCertificateProperties": {"subjectAltName": [{"uri": SERVER}]},
}  # fmt: skip


def rows_of(data, **more):
    """Return the rows of one input whose records may hold several each."""
    tally = Tally()
    context = Context(CONTEXT.path, CONTEXT.segment, CONTEXT.cluster, **more)
    rows = [row for batch in read(io.BytesIO(data), context, tally) for row in batch.to_pylist()]
    assert tally.balanced
    return rows, tally


def only(data, **more):
    rows, tally = rows_of(data, **more)
    assert not tally.rejects, tally.rejects
    assert len(rows) == 1
    return rows[0]


# ALS


def test_tls_properties_with_a_peer_are_the_best_evidence():
    """They are there exactly if the connection is TLS; numbers of 64 bits are strings."""
    row = only(message(https=[http(common(tlsProperties=TLS))]))
    assert (row["transport_seen"], row["transport_seen_basis"]) == ("mtls", "peer_uri")
    assert (row["initiator_principal"], row["responder_principal"]) == (CLIENT, SERVER)
    assert (row["tls_version"], row["tls_sni"]) == ("TLSv1.3", TLS["tlsSniHostname"])
    assert (row["bytes_sent"], row["bytes_received"], row["response_code"]) == (120, 4500, 200)
    assert (row["initiator_ip"], row["initiator_port"], row["responder_port"]) == ("192.0.2.10", 40555, 8080)
    assert (row["last_seen"] - row["first_seen"]).total_seconds() == 0.017


def test_node_id_names_the_reporter():
    """`sidecar~podIP~pod.namespace~domain`; what the user says wins."""
    data = message(https=[http(common())])
    assert only(data)["reporter_name"] == "shop/orders-0"
    assert only(data, reporter_name="a/b")["reporter_name"] == "a/b"


def test_message_without_a_node_has_no_reporter():
    """Only the first of a stream has one, and a file may hold several streams, mixed."""
    rows, _ = rows_of(message(https=[http(common())]) + b"\n" + message(https=[http(common())], node=None))
    assert [row["reporter_name"] for row in rows] == ["shop/orders-0", None]


def test_own_address_tells_the_direction_where_no_cluster_does():
    """The node id holds the proxy's address."""
    raw = {"upstreamCluster": "", "upstreamLocalAddress": socket("192.0.2.20", 41000)}
    assert only(message(tcps=[tcp(common(**raw))]))["reporter"] == "responder"
    client = raw | {"downstreamLocalAddress": socket("198.51.100.7", 80)}
    assert only(message(tcps=[tcp(common(**client))]))["reporter"] == "initiator"
    assert only(message(tcps=[tcp(common(**raw))], node=None))["reporter"] is None


def test_request_without_tls_properties_is_plaintext_only_of_an_envoy_that_fills_them():
    """Envoys before 1.12 did not log the direct remote address, and the oldest no TLS either."""
    assert only(message(https=[http(common())]))["transport_seen"] == "plaintext"
    old = {k: v for k, v in common().items() if k != "downstreamDirectRemoteAddress"}
    assert only(message(https=[http(old)]))["transport_seen"] == "unknown"
    vip = common(upstreamCluster="inbound-vip|80|http|orders.shop.svc.cluster.local")
    assert only(message(https=[http(vip)]))["transport_seen"] == "unknown"


def test_entries_of_one_message_are_flows_with_records_of_their_own():
    """A flow id is segment:record, so records of one line differ, and the line is found from each."""
    rows, tally = rows_of(
        message(https=[http(common())]) + b"\n" + message(https=[http(common()), http(common())], tcps=[tcp(common())])
    )
    assert [row["record"] for row in rows] == [1, 2, 2 + ENTRY, 2 + 2 * ENTRY]
    assert [divmod(row["record"], ENTRY)[1] for row in rows] == [1, 2, 2, 2]
    assert (tally.read, tally.in_flows) == (2, 2)


def test_entry_that_goes_on_is_left_to_the_last_one():
    """`intermediateLogEntry` marks what will be told again."""
    going = tcp(common(intermediateLogEntry=True))
    rows, tally = rows_of(message(tcps=[going]) + b"\n" + message(tcps=[going, tcp(common())]))
    assert [row["record"] for row in rows] == [2]
    assert tally.skipped == {"not_final": 1}


def test_message_with_an_unusable_entry_is_put_aside_whole():
    """A line is a flow, a skip or a reject, and the next one is read."""
    bad = http(common(downstreamLocalAddress=socket("not an address", 1)))
    rows, tally = rows_of(message(https=[http(common()), bad]) + b"\n" + message(https=[http(common())]))
    assert [row["record"] for row in rows] == [2]
    assert [(r.record, r.reason) for r in tally.rejects] == [(1, "field_invalid")]


def test_flags_are_booleans_by_name():
    """Protobuf JSON leaves out what is false."""
    flags = {"upstreamConnectionFailure": True, "upstreamRetryLimitExceeded": True}
    row = only(message(tcps=[tcp(common(responseFlags=flags))]))
    assert row["response_flags"] == "UF,URX"


def test_names_of_the_proto_file_are_read_too():
    """Some receivers store those."""
    snake_socket = {"address": "2001:db8::1", "port_value": 80}
    snake = {"http_logs": {"log_entry": [{
        "common_properties": {"downstream_local_address": {"socket_address": snake_socket},
                              "start_time": "2026-01-02T03:04:05Z", "response_flags": {"no_route_found": True}},
        "response": {"response_code": 404},
    }]}}  # fmt: skip
    row = only(json.dumps(snake).encode())
    assert (row["responder_ip"], row["response_code"], row["response_flags"]) == ("2001:db8::1", 404, "NR")


def test_shared_als_sample_is_read():
    """A message of an Istio 1.1 sidecar, which knew nothing of TLS."""
    data = sample("envoy-als-grpc-as-json.jsonl")
    assert recognises(data)
    row = only(data)
    assert (row["reporter_name"], row["reporter"]) == ("default/reviews-v1-d66dcfdc5-kh6v7", "responder")
    assert (row["initiator_ip"], row["initiator_port"], row["responder_ip"]) == ("10.44.2.54", 58356, "10.44.2.55")
    assert (row["response_code"], row["bytes_received"], row["transport_seen"]) == (200, 295, "unknown")


# OpenTelemetry


def export(*bodies, attributes=(), resource=()):
    records = [{"timeUnixNano": "1", "body": body, "attributes": list(attributes)} for body in bodies]
    logs = {"resource": {"attributes": list(resource)}, "scopeLogs": [{"logRecords": records}]}
    return json.dumps({"resourceLogs": [logs]}).encode()


def text(value):
    return {"stringValue": value}


def pair(key, value):
    return {"key": key, "value": text(value)}


def test_body_is_the_text_line():
    """Istio's default provider puts the line into the body."""
    data = export(text(as_text(OUTBOUND)), text(as_text(INBOUND) + "\n"))
    assert recognises(data)
    rows, tally = rows_of(data)
    assert [row["record"] for row in rows] == [1, 1 + ENTRY]
    assert [row["reporter"] for row in rows] == ["initiator", "responder"]
    assert (tally.read, tally.in_flows) == (1, 1)


def test_labels_are_attributes_by_name_or_by_template():
    """Users name labels as they like; with the format given the operator counts."""
    named = pair("downstream_peer_uri_san", CLIENT)
    assert only(export(text(as_text(INBOUND)), attributes=[named]))["transport_seen"] == "mtls"
    template = {"who": "%DOWNSTREAM_PEER_URI_SAN%", "to": "%DOWNSTREAM_LOCAL_ADDRESS%", "v": "%DOWNSTREAM_TLS_VERSION%",
                "c": "%UPSTREAM_CLUSTER%", "code": "%RESPONSE_CODE%", "p": "%PROTOCOL%"}  # fmt: skip
    labels = [pair("who", CLIENT), pair("to", "192.0.2.20:8080"), pair("v", "TLSv1.3"), pair("c", "inbound|8080||"),
              pair("code", "200"), pair("p", "HTTP/2")]  # fmt: skip
    row = only(export(None, attributes=labels), envoy_format=given(json.dumps(template)).formats)
    assert (row["transport_seen"], row["initiator_principal"]) == ("mtls", CLIENT)


def test_resource_names_the_reporter():
    """The collector's Kubernetes attributes, or Envoy's node name."""
    pod = [pair("k8s.namespace.name", "shop"), pair("k8s.pod.name", "orders-0")]
    for resource in (pod, [pair("node_name", NODE)]):
        assert only(export(text(as_text(INBOUND)), resource=resource))["reporter_name"] == "shop/orders-0"


def test_body_that_is_an_object_is_read_by_its_keys():
    """`kvlistValue` is a JSON object."""
    body = {"kvlistValue": {"values": [pair(k, v) for k, v in INBOUND.items()]}}
    assert only(export(body))["reporter"] == "responder"


def test_other_logs_are_skipped_and_not_recognised():
    """A collector stores everybody's logs."""
    other = export(text("GET / 200"), resource=[pair("service.name", "shop")])
    assert not recognises(other)
    rows, tally = rows_of(other + b"\n" + export(text(as_text(INBOUND))))
    assert [row["record"] for row in rows] == [2]
    assert tally.skipped == {"not_access_log": 1}


def test_body_that_a_header_injects_columns_into_is_put_aside():
    """The text line escapes nothing there either."""
    hostile = as_text(INBOUND | {"user_agent": 'x" "y'})
    rows, tally = rows_of(export(text(hostile)))
    assert (rows, tally.rejects[0].reason) == ([], "columns_ambiguous")


# Any message at all

ODD = (None, True, 0, -1, 1.5, "", "-", [], {}, [1], {"a": 1}, "x", "9" * 30, [None], {"socketAddress": 1})


@for_all(
    st.lists(st.tuples(st.integers(0, 60), st.sampled_from(ODD)), min_size=1, max_size=3),
    st.sampled_from(
        [message(https=[http(common(tlsProperties=TLS))], tcps=[tcp(common())]), export(text(as_text(INBOUND)))]
    ),
)
@settings(max_examples=500)
def test_odd_values_anywhere_give_flows_or_a_named_reject(changes, data):
    """Nothing raises, and the next line is read."""
    whole = json.loads(data)
    for place, value in changes:
        spots = []
        stack = [whole]
        while stack:
            one = stack.pop()
            inner = (
                list(one.items()) if isinstance(one, dict) else list(enumerate(one)) if isinstance(one, list) else []
            )
            spots += [(one, key) for key, _ in inner]
            stack += [v for _, v in inner if isinstance(v, (dict, list))]
        if spots:
            holder, key = spots[place % len(spots)]
            holder[key] = deepcopy(value)
    rows, tally = rows_of(json.dumps(whole).encode() + b"\n" + data)
    assert tally.read == 2
    assert rows[-1]["record"] % ENTRY == 2


@pytest.mark.parametrize("data", [b'{"httpLogs":{}}', b'{"resourceLogs":[]}', b'{"tcpLogs":{"logEntry":[]}}'])
def test_message_without_entries_is_skipped(data):
    """There is nothing in it."""
    rows, tally = read_bytes(read, data)
    assert (rows, tally.skipped) == ([], {"not_access_log": 1})
