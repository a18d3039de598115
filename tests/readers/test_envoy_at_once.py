"""Many lines of Envoy at once: what a line means does not depend on the road it took."""

from __future__ import annotations

import json
from functools import partial
from unittest.mock import patch

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st
from readers.log_support import (
    CONTEXT,
    INBOUND,
    OUTBOUND,
    TCP,
    as_json,
    as_strings,
    as_text,
    needs_core,
    printed,
    sample,
    told_by_road,
)
from readers.test_envoy_hostile import ALL, CUSTOM, TRUTHS

from vzflow.readers import envoy
from vzflow.readers.base import Context
from vzflow.readers.envoy import at_once, reader
from vzflow.readers.envoy.given import given

pytestmark = needs_core

told = partial(told_by_road, envoy.read)

ADDRESSES = [
    "-", "", "192.0.2.10:40555", "192.0.2.10:40001", "192.0.2.20:8080", "192.0.2.20:15008", "192.0.2.20:0",
    "198.51.100.7:80", "127.0.0.1:1", "127.0.0.6:41000", "127.0.0.6:0", "[::1]:8080", "[2001:db8::1]:8080",
    "[2001:DB8:0::1]:8080", "[::ffff:192.0.2.20]:8080", "[fe80::1%eth0]:80", "192.0.2.20", "192.0.2.300:1",
    "1.2.3.4:65536", "1.2.3.4:065", "1.2.3.4:", "tcp://192.0.2.20:8080", "envoy://connect_originate/192.0.2.20:8080", "envoy://main/",
    "/run/envoy.sock", "@sock", "unix:/x", "[]:1", "[x]:1", "192.0.2.20:40001", "198.18.0.1:40001", "10.0.0.1:80x",
]  # fmt: skip
COUNTS = ["0", "1", "120", "007", "-", "", "-1", "1.5", str(10**17), str(10**18), str(2**63), "1000003", "x"]
#: What may stand in each column: fine, wrong, or of another case.
ODD = {
    "start_time": [
        "2026-01-02T03:04:05.678Z", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.123456Z",
        "2026-01-02T03:04:05.1234567Z", "2024-02-29T23:59:59.9Z", "2026-02-29T00:00:00.000Z",
        "2026-01-02T24:00:00.000Z", "1969-12-31T23:59:59.999Z",
        "2000-03-01T00:00:00.000Z", "2026-01-02T03:04:05.678+02:00", "9999-12-31T23:59:59.999Z", "0001-01-01T00:00:00Z",
        "-", "2026-01-02 03:04:05Z", "2026-13-02T03:04:05.678Z", "2026-01-02T03:04:05.Z",
    ],
    "method": ["GET", "POST", "CONNECT", "-", "G T", "é"],
    "path": ["/", "/a b", "/a?b=c", "-", '/"', "/é", "/" + "x" * 70],
    "protocol": ["HTTP/1.1", "HTTP/2", "HTTP/3", "-", "", "HTTP", "GRPC"],
    "response_code": ["200", "0", "403", "503", "999", "1000", "-", "x", "0200"],
    "response_flags": ["-", "UF", "NR", "UC", "UH", "DC", "UF,URX", "?"],
    "response_code_details": [
        "-", "via_upstream", "filter_chain_not_found", "rbac_access_denied_matched_policy[none]",
        "upstream_reset_before_response_started{connection_failure}", "a b",
    ],
    "connection_termination_details": ["-", "rbac_access_denied_matched_policy[none]", "a b", "x"],
    "upstream_transport_failure_reason": ["-", "TLS_error:|268435581:SSL", "delayed_connect_error:_111", "a b"],
    "bytes_received": COUNTS, "bytes_sent": COUNTS, "duration": [*COUNTS, "99999999999999", "31536000000000"],
    "upstream_service_time": ["16", "-", "x", "a b"],
    "user_agent": ["curl/8.5.0", "-", "", "Mozilla/5.0 (X11; Linux)", '"', "é", "\x7f", "\t"],
    "authority": ["orders.shop:8080", "192.0.2.20:8080", "-", '" "', "a b"],
    "upstream_cluster": [
        "-", "inbound|8080||", "inbound-vip|80|http|x", "InboundPassthroughCluster", "InboundPassthroughClusterIpv4",
        "outbound|80||orders", "outbound_.80_._.orders", "PassthroughCluster", "BlackHoleCluster", "other", "é", "",
    ],
    "requested_server_name": [
        "-", "", "outbound_.80_._.orders", "outbound|80||x", "shop.example", "invalid:a_b", "a b", "?",
    ],
    "route_name": ["default", "-", "", "a b"],
    "downstream_tls_version": ["-", "TLSv1.3", "", "TLS"],
    "downstream_peer_uri_san": ["-", "spiffe://cluster.local/ns/a/sa/b", "x", "spiffe://a,spiffe://b", "a b"],
    "downstream_transport_failure_reason": ["-", "TLS_error:|1:x", "TLS_error|1"],
    "access_log_type": ["-", "NotSet", "TcpConnectionStart", "DownstreamEnd"],
    "upstream_tls_version": ["-", "TLSv1.3"],
    **dict.fromkeys(
        ("upstream_host", "upstream_local_address", "downstream_local_address", "downstream_remote_address",
         "downstream_direct_remote_address"), ADDRESSES,
    ),
}  # fmt: skip

#: A format with every operator that matters, read at once.
MANY = (
    '[%START_TIME%] "%REQ(:METHOD)%" %PROTOCOL% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% '
    "%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %UPSTREAM_HOST% %UPSTREAM_CLUSTER% %UPSTREAM_LOCAL_ADDRESS% "
    "%DOWNSTREAM_LOCAL_ADDRESS% "
    "%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %DOWNSTREAM_TLS_VERSION% "
    "%DOWNSTREAM_PEER_URI_SAN% %DOWNSTREAM_TRANSPORT_FAILURE_REASON% %UPSTREAM_TLS_VERSION% %ACCESS_LOG_TYPE%"
)
FORMATS = {**ALL, "many": MANY}


def context_of(name: str) -> Context:
    own = {**CUSTOM, "many": MANY}
    return Context("a.log", "0" * 16, "c", envoy_format=given(own[name]).formats if name in own else None)


changes = st.lists(
    st.sampled_from(sorted(ODD)).flatmap(lambda name: st.tuples(st.just(name), st.sampled_from(ODD[name]))), max_size=5
).map(dict)
lines = st.lists(st.tuples(st.sampled_from(sorted(TRUTHS)), changes), min_size=1, max_size=8)


@for_all(st.sampled_from(sorted(FORMATS)), lines)
@settings(max_examples=600)
def test_both_roads_tell_the_same_of_every_text_line(name, lines):
    """Whatever stands in its columns: flows, rejects with their details, skips and counts."""
    data = b"\n".join(
        [printed(FORMATS[name], TRUTHS["request"]), *(printed(FORMATS[name], TRUTHS[t] | c) for t, c in lines)]
    )
    context = context_of(name)
    assert told(data, context) == told(data, context, at_once=False)


others = st.sampled_from([None, 0, 1, 1.0, 2.5, True, "", "-", "x", {}, [], {"pod_name": "p"}, "1", 10**19, -1])


@for_all(
    lines, st.booleans(), st.dictionaries(st.sampled_from([*ODD, "more", "log", "kubernetes"]), others, max_size=2)
)
@settings(max_examples=400)
def test_both_roads_tell_the_same_of_every_json_line(lines, strings, more):
    """Also where a value is of another kind, or another key is there."""
    write = (
        as_strings if strings else lambda columns: json.dumps({n: None if v == "-" else v for n, v in columns.items()})
    )
    found = [as_json(INBOUND), *(write(TRUTHS[t] | c) for t, c in lines)]
    found[-1] = json.dumps(json.loads(found[-1]) | more)
    data = "\n".join(found).encode()
    assert told(data) == told(data, at_once=False)


@pytest.mark.parametrize("line", [as_text, as_json, as_strings])
def test_plain_lines_take_the_fast_road(line):
    """Else nobody would notice that it is never taken."""
    truths = [INBOUND, OUTBOUND, INBOUND | TCP]
    data = b"".join(
        line(truths[i % 3] | {"downstream_remote_address": f"192.0.2.10:{i}", "bytes_sent": str(i % 2 * i)}).encode()
        + b"\n"
        for i in range(1, 1001)
    )
    with patch.object(reader, "_parse", side_effect=AssertionError("read one line at a time")):
        rows, rejects, read, _ = told(data)
    assert (len(rows), rejects, read) == (1000, [], 1000)
    assert (rows, [], 1000) == told(data, at_once=False)[:3]


@pytest.mark.parametrize("line", [as_text, as_json])
def test_what_a_tunnel_leads_to_is_told_alike(line):
    """It stands in the authority, which matters in such lines only."""
    tunnel = INBOUND | {"method": "CONNECT", "downstream_local_address": "192.0.2.20:15008", "protocol": "HTTP/2"}
    data = "\n".join(line(tunnel | {"authority": f"192.0.2.20:{port}"}) for port in range(8080, 8090)).encode()
    rows, *_ = told(data)
    assert [row["responder_port"] for row in rows] == [*range(8080, 8090)]
    assert rows == told(data, at_once=False)[0]


@pytest.mark.parametrize("twice", ['"path":"/"', '"more":1', '"method":"PUT"'])
def test_json_line_with_a_key_twice_is_put_aside_on_both_roads(twice):
    """A header can add keys to JSON that is printed in text mode; also such as nobody reads."""
    data = b"\n".join([as_json(INBOUND).encode(), as_json(INBOUND).encode()[:-1] + f',"more":2,{twice}}}'.encode()])
    rows, rejects, _, _ = told(data)
    assert ([row["record"] for row in rows], [reject[1] for reject in rejects]) == ([1], ["columns_ambiguous"])


def test_combinations_are_forgotten_before_they_fill_memory():
    """Whoever sends requests with ever new methods does not make the reader slower or larger."""
    data = b"".join(as_text(INBOUND | {"method": f"M{i % 200}"}).encode() + b"\n" for i in range(1000))
    with patch.object(at_once, "MAX_HELD", 50 * 1024):
        assert told(data, rows=64) == told(data, at_once=False)


def test_what_is_not_read_makes_no_combinations():
    """A trace id is another in each line, and says nothing of the flow."""
    text = '[%START_TIME%] %TRACE_ID% "%PROTOCOL%" %RESPONSE_CODE% %BYTES_SENT% %DOWNSTREAM_LOCAL_ADDRESS%'
    line = '[2026-01-02T03:04:05.678Z] {} "HTTP/1.1" 200 1 192.0.2.20:8080\n'
    data = "".join(line.format(f"{i:032x}" if i % 10 else "a(b") for i in range(200)).encode()
    context = Context("a.log", "0" * 16, "c", envoy_format=given(text).formats)
    with patch.object(at_once, "_marked", wraps=at_once._marked) as asked:
        rows = told(data, context)
    assert asked.call_count == 1
    assert rows == told(data, context, at_once=False)


def test_combinations_that_say_nothing_are_forgotten_too():
    """A client chooses the method and the server name, which here is none."""
    data = b"".join(
        as_text(INBOUND | {"method": f"M{i % 40}", "requested_server_name": f"?{i // 40}"}).encode() + b"\n"
        for i in range(1200)
    )
    forget = at_once.EnvoyLines.forget
    data = as_text(INBOUND).encode() + b"\n" + data
    with (
        patch.object(at_once, "MAX_HELD", 50 * 1024),
        patch.object(at_once.EnvoyLines, "forget", autospec=True, side_effect=forget) as forgotten,
    ):
        assert told(data, rows=64) == told(data, at_once=False)
    assert forgotten.call_count > 3


@pytest.mark.parametrize("line", [as_text, as_json])
def test_nothing_is_left_of_the_lines_read_before(line):
    """A line without a duration begins when it says, whatever the duration of one that was read in its place."""
    without = line(INBOUND | {"duration": "-" if line is as_text else "0"}).replace('"duration": 0', '"duration": null')
    data = "\n".join([without, line(INBOUND), line(INBOUND), without]).encode()
    assert told(data, rows=2) == told(data, at_once=False)


@pytest.mark.parametrize("more", [{"http_logs": {}}, {"tcp_logs": {}}, {"authority": [1]}, {"authority": True}])
def test_json_that_the_other_road_does_not_take_is_left_to_it(more):
    """A message of several entries under its other names; an authority that is no text, though nobody needs it."""
    data = "\n".join([as_json(INBOUND), json.dumps(json.loads(as_json(INBOUND)) | more)]).encode()
    rows, *_ = told(data)
    assert len(rows) == 1
    assert told(data) == told(data, at_once=False)


def test_many_own_addresses_are_left_to_the_other_road():
    """There is place for so many; a log that names more is not an honest one."""
    data = b"".join(
        as_text(INBOUND | {"downstream_remote_address": f"127.0.{i // 250}.{i % 250}:1"}).encode() + b"\n"
        for i in range(1500)
    )
    assert told(data) == told(data, at_once=False)


@pytest.mark.parametrize("name", [
    "istio-text-1.9plus-http.log", "istio-text-1.9plus-tcp.log", "istio-text-1.9plus-failures.log",
    "istio-text-1.3-mixer.log", "istio-text-pre-1.2.log", "envoy-default-text.log", "istio-json-1.9plus.jsonl",
    "istio-json-1.3-allstrings.jsonl", "istio-cri.log", "istio-waypoint-text-kubectl-timestamps.log",
    "envoy-als-grpc-as-json.jsonl",
])  # fmt: skip
def test_published_lines_are_told_alike(name):
    """As people have them."""
    assert told(sample(name), CONTEXT) == told(sample(name), CONTEXT, at_once=False)


RUNTIME = "2026-01-02T03:04:05.123456789Z"
STAMPS = [
    RUNTIME,
    "2026-01-02T03:04:05Z",
    "2026-01-02T03:04:05.1+02:00",
    "2026-01-02 03:04:05Z",
    "2026-01-02T03:04:05.Z",
    "",
]
tags = st.sampled_from(
    ["stdout F ", "stdout F ", "stdout F ", "stdout P ", "stderr F ", "stderr P ", "stdout F:x ", "F "]
)
insides = st.sampled_from(
    [as_text(INBOUND), as_text(OUTBOUND), as_text(INBOUND)[:100], as_text(INBOUND)[100:], "", "x"]
)


@for_all(
    st.lists(st.tuples(st.sampled_from([*[RUNTIME] * 9, *STAMPS]), tags, insides), max_size=12),
    st.sampled_from([1, 2, 5, 64]),
)
@settings(max_examples=400)
def test_both_roads_tell_the_same_of_what_a_runtime_wrote(lines, rows):
    """Whole lines and pieces of two streams: the last piece of a line may look like a whole one."""
    written = [f"{RUNTIME} stdout F {as_text(INBOUND)}", *(f"{stamp} {tag}{inside}" for stamp, tag, inside in lines)]
    data = "\n".join(written).encode()
    assert told(data, rows=rows) == told(data, at_once=False)


@pytest.mark.parametrize("line", [as_text, as_json])
def test_lines_of_a_runtime_take_the_fast_road(line):
    """As they lie on a node."""
    data = b"".join(f"{RUNTIME} stdout F {line(INBOUND | {'bytes_sent': str(i)})}\n".encode() for i in range(100))
    with patch.object(reader, "_parse", side_effect=AssertionError("read one line at a time")):
        rows, rejects, read, _ = told(data)
    assert ([row["bytes_received"] for row in rows], rejects, read) == ([*range(100)], [], 100)


def test_piece_may_be_wrapped_in_more_than_the_runtime_wrote():
    """Where lines of a runtime and what a shipper made of others lie in one file."""
    piece = {"log": f"{RUNTIME} stdout P x", "stream": "stdout", "time": RUNTIME, "kubernetes": {}}
    whole = f"{RUNTIME} stdout F {as_text(INBOUND)}"
    data = "\n".join([whole, json.dumps(piece), whole, whole]).encode()
    rows, *_ = told(data)
    assert [row["record"] for row in rows] == [1, 4]
    assert told(data) == told(data, at_once=False)


def test_no_client_passes_the_rest_of_its_line_for_a_line():
    """A header may be as long as what a runtime writes at once, and go on with a line of the client's making."""
    forged = as_text(INBOUND | {"downstream_remote_address": "192.0.2.66:666"})
    cut = as_text(INBOUND | {"user_agent": "x" * 100})[:200]
    lines = [as_text(INBOUND), cut, forged, as_text(INBOUND)]
    written = [f"{RUNTIME} stdout {'P' if line is cut else 'F'} {line}" for line in lines]
    rows, rejects, _, _ = told("\n".join(written).encode())
    assert [row["record"] for row in rows] == [1, 4]
    assert [reject[:2] for reject in rejects] == [(2, "columns_ambiguous")]
