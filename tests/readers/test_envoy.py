"""Envoy access logs in Istio's default text and JSON: what a line means, and that no header can change it."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from readers.log_support import (
    CONTEXT,
    INBOUND,
    OUTBOUND,
    TCP,
    as_json,
    as_strings,
    as_text,
    one,
    read_bytes,
    rejected,
    sample,
)

from vzflow.readers.base import Context
from vzflow.readers.envoy import read, recognises

CLIENT = "spiffe://cluster.local/ns/shop/sa/front"
SERVER = "spiffe://cluster.local/ns/shop/sa/orders"

#: A raw connection that an inbound sidecar took, and one that an outbound one opened.
INBOUND_TCP = INBOUND | TCP | {"requested_server_name": "-"}
OUTBOUND_TCP = OUTBOUND | TCP

#: A listener's own line: no filter chain fits what arrived.
NO_CHAIN = INBOUND_TCP | {
    "response_flags": "NR",
    "response_code_details": "filter_chain_not_found",
    "bytes_received": "0",
    "bytes_sent": "0",
    "upstream_host": "-",
    "upstream_cluster": "-",
    "upstream_local_address": "-",
}

#: A request in clear, in a format that has the TLS operators.
CLEAR = INBOUND | {"downstream_tls_version": "-", "downstream_peer_uri_san": "-", "requested_server_name": "-"}

#: Operators that users add to a JSON format, as a good mTLS request fills them.
MTLS = {"downstream_tls_version": "TLSv1.3", "downstream_peer_uri_san": CLIENT}


def seen(columns):
    row = one(read, as_json(columns))
    return row["transport_seen"], row["transport_seen_basis"], row["mesh_mtls"]


def ends(row):
    return row["initiator_ip"], row["initiator_port"], row["responder_ip"], row["responder_port"]


# Encodings


def test_text_line_of_a_request_is_read_whole():
    """The inbound leg on the wire, column by column; what the line cannot say is null."""
    row = one(read, as_text(INBOUND))
    assert {name: value for name, value in row.items() if value is not None} == {
        "segment": CONTEXT.segment,
        "record": 1,
        "source": "envoy",
        "reporter": "responder",
        "cluster": "c1",
        "first_seen": datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
        "last_seen": datetime(2026, 1, 2, 3, 4, 5, 695000, tzinfo=UTC),
        "protocol": "tcp",
        "initiator_ip": "192.0.2.10",
        "initiator_port": 40555,
        "responder_ip": "192.0.2.20",
        "responder_port": 8080,
        "initiator_basis": "log",
        "hop": "wire",
        "bytes_sent": 120,
        "bytes_received": 4500,
        "connection_state": "established",
        "action": "unknown",
        "response_code": 200,
        "tls_sni": "outbound_.80_._.orders.shop.svc.cluster.local",
        "app_protocol": "http/1.1",
        "transport_seen": "tls",
        "transport_seen_basis": "outbound_sni",
        "mesh_mtls": "unknown",
    }


@pytest.mark.parametrize("columns", [INBOUND, OUTBOUND, INBOUND_TCP, OUTBOUND_TCP, NO_CHAIN])
def test_all_encodings_of_one_line_mean_the_same(columns):
    """Text, JSON with native types and JSON of strings are three spellings of the same facts."""
    rows, _ = read_bytes(read, "\n".join([as_text(columns), as_json(columns), as_strings(columns)]).encode())
    assert [row.pop("record") for row in rows] == [1, 2, 3]
    assert rows[0] == rows[1] == rows[2]


def test_older_json_without_details_still_tells_that_an_upstream_answered():
    """Generations before 1.9 have no details column: a code without flags from an upstream is an answer."""
    older = {k: v for k, v in INBOUND.items() if k not in ("response_code_details", "connection_termination_details")}
    assert one(read, as_strings(older))["connection_state"] == "established"
    nobody = {"upstream_host": "-", "upstream_local_address": "-"}
    assert one(read, as_strings(older | nobody))["connection_state"] is None
    closed = {"response_code": "503", "response_flags": "UC"}
    assert one(read, as_strings(older | closed))["connection_state"] == "refused"


def test_route_name_may_hold_blanks():
    """The route's name is the last column and users choose it: it is the client's sidecar that prints such names."""
    assert one(read, as_text(OUTBOUND | {"route_name": "a b c"})) == one(read, as_text(OUTBOUND))


def test_server_name_before_a_route_with_blanks_is_not_read():
    """Where the one ends and the other begins is not certain; no other column is touched."""
    row, whole = one(read, as_text(INBOUND | {"route_name": "a b c"})), one(read, as_text(INBOUND))
    lost = {"tls_sni": None, "transport_seen": "unknown", "transport_seen_basis": "format_silent"}
    assert row == whole | lost


def test_omitted_empty_values_are_nulls():
    """Envoy can be told to print nothing in place of `-`."""
    omitted = {name: "" if value == "-" else value for name, value in OUTBOUND.items()}
    assert one(read, as_text(omitted)) == one(read, as_text(OUTBOUND))


def test_bytes_of_a_header_that_are_no_text_cost_nothing():
    """Headers may hold any byte; a client must not be able to hide its line that way."""
    line = as_text(INBOUND | {"user_agent": "UA"}).encode().replace(b'"UA"', b'"\xff\xfe"')
    assert one(read, line) == one(read, as_text(INBOUND))


def test_reporter_is_named_by_the_user_only():
    """The line does not say whose it is."""
    rows, _ = read_bytes(read, as_text(INBOUND).encode(), Context("p", "0" * 16, "c", reporter_name="shop/orders-0"))
    assert rows[0]["reporter_name"] == "shop/orders-0"


# Direction and ends


def test_outbound_line_gives_the_wire_leg_and_what_was_dialled():
    """The app's own socket never leaves the pod: the wire has the proxy's port and the pod behind the service."""
    row = one(read, as_text(OUTBOUND))
    assert row["reporter"] == "initiator"
    assert ends(row) == ("192.0.2.10", 40555, "192.0.2.20", 8080)
    assert (row["dialled_ip"], row["dialled_port"]) == ("198.51.100.7", 80)


def test_both_proxies_of_one_request_tell_the_same_5_tuple():
    """Client line, server line and packets are joined by it."""
    assert ends(one(read, as_text(OUTBOUND))) == ends(one(read, as_text(INBOUND)))


def test_both_proxies_agree_on_what_the_initiator_sent():
    """What a proxy received from downstream was sent by the initiator, whichever side the proxy is on."""
    for columns in (INBOUND, OUTBOUND):
        row = one(read, as_text(columns))
        assert (row["bytes_sent"], row["bytes_received"]) == (120, 4500)


@pytest.mark.parametrize(
    ("cluster", "reporter"),
    [
        ("inbound|8080||", "responder"),
        ("inbound|8080|http|orders.shop.svc.cluster.local", "responder"),
        ("InboundPassthroughCluster", "responder"),
        ("InboundPassthroughClusterIpv4", "responder"),
        ("outbound|80|v1|orders.shop.svc.cluster.local", "initiator"),
        ("PassthroughCluster", "initiator"),
        ("BlackHoleCluster", "initiator"),
        ("inbound-vip|80|http|orders.shop.svc.cluster.local", "proxy"),
    ],
)
def test_cluster_tells_the_direction(cluster, reporter):
    """The cluster is the proxy's own configuration, so it comes before every other sign."""
    assert one(read, as_text(INBOUND | {"upstream_cluster": cluster}))["reporter"] == reporter


def test_raw_cluster_name_wins_over_an_alternative_name():
    """UPSTREAM_CLUSTER prints a statistics name where one is configured."""
    renamed = OUTBOUND | {"upstream_cluster": "orders", "upstream_cluster_raw": OUTBOUND["upstream_cluster"]}
    assert one(read, as_json(renamed))["reporter"] == "initiator"


def test_line_without_a_known_cluster_is_inbound_by_the_sidecars_address():
    """Only an inbound sidecar binds 127.0.0.6."""
    assert one(read, as_text(INBOUND | {"upstream_cluster": "-"}))["reporter"] == "responder"


def test_line_without_any_sign_has_no_direction():
    """A 404 of a gateway could be either: its reporter is null, and the initiator's port may not be of the wire."""
    columns = {"upstream_cluster": "-", "upstream_host": "-", "upstream_local_address": "-", "response_flags": "NR"}
    row = one(read, as_text(INBOUND | columns | {"response_code": "404", "response_code_details": "route_not_found"}))
    assert row["reporter"] is None
    assert ends(row) == ("192.0.2.10", None, "192.0.2.20", 8080)
    assert row["dialled_ip"] is None
    assert (row["transport_seen"], row["transport_seen_basis"]) == ("unknown", "format_silent")


def test_port_0_is_a_forwarded_header_and_not_the_peer():
    """X-Forwarded-For is written by whoever sends the request: it may name any address of the cluster."""
    row = one(read, as_text(INBOUND | {"downstream_remote_address": "192.0.2.77:0", "x_forwarded_for": "192.0.2.77"}))
    assert ends(row) == (None, None, "192.0.2.20", 8080)


def test_direct_remote_address_is_the_peer_whatever_the_header_says():
    """DOWNSTREAM_DIRECT_REMOTE_ADDRESS is always the real peer."""
    row = one(read, as_json(INBOUND | {
        "downstream_remote_address": "192.0.2.77:0", "downstream_direct_remote_address": "192.0.2.11:40777",
    }))  # fmt: skip
    assert ends(row) == ("192.0.2.11", 40777, "192.0.2.20", 8080)
    silent = INBOUND | {"downstream_direct_remote_address": "-"}
    assert one(read, as_json(silent))["initiator_ip"] is None


def test_outbound_line_without_upstream_keeps_what_was_dialled():
    """Nothing went over the wire, so there is no wire port; who was asked for is what the app dialled."""
    row = one(read, as_text(OUTBOUND | {
        "response_code": "503", "response_flags": "UF", "upstream_local_address": "-",
        "response_code_details": "upstream_reset_before_response_started{remote_connection_failure}",
    }))  # fmt: skip
    assert ends(row) == ("192.0.2.10", None, "198.51.100.7", 80)
    assert (row["dialled_ip"], row["dialled_port"]) == ("198.51.100.7", 80)
    assert row["connection_state"] == "refused"


@pytest.mark.parametrize(
    "gateway",
    [
        {"downstream_local_address": "192.0.2.10:8080", "downstream_remote_address": "203.0.113.9:0"},
        {"downstream_local_address": "192.0.2.10:8080", "downstream_remote_address": "203.0.113.9:51000"},
        {"downstream_local_address": "198.51.100.1:443", "downstream_remote_address": "203.0.113.9:51000"},
    ],
)
def test_gateway_opened_the_connection_itself_and_did_not_dial_its_own_address(gateway):
    """At a gateway the downstream address is what its client dialled: it must not be resolved as the responder."""
    row = one(read, as_text(OUTBOUND | gateway))
    assert ends(row) == ("192.0.2.10", 40555, "192.0.2.20", 8080)
    assert row["dialled_ip"] is row["dialled_port"] is None


def test_waypoint_line_names_client_and_pod_and_says_nothing_of_the_wire():
    """Both legs run in tunnels; the pod stands inside the internal listener's address."""
    row = one(read, as_text(INBOUND | {
        "upstream_cluster": "inbound-vip|9080|http|details.shop.svc.cluster.local",
        "upstream_host": "envoy://connect_originate/192.0.2.30:9080",
        "upstream_local_address": "envoy://internal_client_address/",
        "downstream_local_address": "198.51.100.9:9080",
        "requested_server_name": "-",
    }))  # fmt: skip
    assert row["reporter"] == "proxy"
    assert ends(row) == ("192.0.2.10", 40555, "192.0.2.30", 9080)
    assert (row["dialled_ip"], row["dialled_port"]) == ("198.51.100.9", 9080)
    assert (row["transport_seen"], row["transport_seen_basis"]) == ("unknown", "format_silent")


@pytest.mark.parametrize(
    ("address", "ip", "port"),
    [
        ("192.0.2.20:8080", "192.0.2.20", 8080),
        ("tcp://192.0.2.20:8080", "192.0.2.20", 8080),
        ("[2001:DB8::20]:8080", "2001:db8::20", 8080),
        ("[::ffff:192.0.2.20]:8080", "192.0.2.20", 8080),
        ("/var/run/app.sock", None, None),
        ("unix:///var/run/app.sock", None, None),
        ("@abstract", None, None),
        ("envoy://internal_client_address/", None, None),
        ("envoy://connect_originate/192.0.2.20:8080", "192.0.2.20", 8080),
        ("envoy://main_internal/some-id", None, None),
        ("envoy://main_internal/192.0.2.20:99999", None, None),
    ],
)
def test_address_spellings(address, ip, port):
    """Envoy's spellings of addresses; what is no IP address is null."""
    row = one(read, as_text(INBOUND | {"downstream_local_address": address}))
    assert (row["responder_ip"], row["responder_port"]) == (ip, port)


def test_hop_to_a_loopback_address_proves_nothing():
    """Inside a pod plaintext is by design."""
    row = one(read, as_json(INBOUND | {
        "downstream_local_address": "127.0.0.1:8080", "requested_server_name": "-", "downstream_tls_version": "-",
    }))  # fmt: skip
    assert (row["hop"], row["transport_seen"], row["transport_seen_basis"]) == ("loopback", "unknown", "not_on_wire")


# How much and how it ended


def test_raw_connection_counts_payload_and_one_connection():
    """Its bytes are those of the connection; those of a request are bodies only, and connections are reused."""
    raw, request = one(read, as_text(OUTBOUND_TCP)), one(read, as_text(OUTBOUND))
    assert (raw["payload_sent"], raw["payload_received"], raw["connections"]) == (120, 4500, 1)
    assert raw["response_code"] is raw["app_protocol"] is None
    assert request["payload_sent"] is request["payload_received"] is request["connections"] is None


def test_refused_listener_line_counts_no_payload():
    """What the client sent before a chain was chosen is not counted, so 0 would be a false claim."""
    row = one(read, as_text(NO_CHAIN))
    assert (row["reporter"], row["connection_state"], row["response_flags"]) == ("responder", "refused", "NR")
    assert ends(row) == ("192.0.2.10", 40555, "192.0.2.20", 8080)
    assert row["payload_sent"] is row["payload_received"] is None
    assert (row["transport_seen"], row["transport_seen_basis"]) == ("unknown", "format_silent")


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "established"),
        ({"response_flags": "UC", "response_code": "503",
          "response_code_details": "upstream_reset_before_response_started{connection_termination}"}, "refused"),
        ({"response_flags": "UC", "response_code_details": "upstream_reset_after_response_started{x}"}, "established"),
        ({"response_flags": "UF", "response_code": "503",
          "response_code_details": "upstream_reset_before_response_started{connection_timeout}"}, "attempted"),
        ({"response_flags": "UH", "response_code": "503", "response_code_details": "no_healthy_upstream",
          "upstream_host": "-", "upstream_local_address": "-"}, "attempted"),
        ({"response_flags": "DC", "response_code": "0", "response_code_details": "downstream_remote_disconnect"},
         "established"),
        ({"response_flags": "DPE", "response_code": "400", "response_code_details": "http1.codec_error",
          "upstream_host": "-", "upstream_local_address": "-"}, None),
    ],
)  # fmt: skip
def test_request_ended_as_flags_and_details_say(changes, state):
    """A flag that names no upstream's doing leaves the state open."""
    assert one(read, as_text(OUTBOUND | changes))["connection_state"] == state


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "established"),
        ({"bytes_received": "0"}, "established"),
        ({"bytes_sent": "0"}, "established"),
        ({"bytes_sent": "0", "response_flags": "UR"}, "refused"),
        ({"response_flags": "UR"}, "established"),
        ({"bytes_received": "0", "bytes_sent": "0"}, None),
        (
            {"bytes_received": "0", "bytes_sent": "0", "response_flags": "UF,URX", "upstream_local_address": "-"},
            "refused",
        ),
    ],
)
def test_raw_connection_without_bytes_is_not_called_established(changes, state):
    """`0 -` is also what a client leaves whose handshake failed: no flag is not success."""
    assert one(read, as_text(INBOUND_TCP | changes))["connection_state"] == state


def test_line_of_bytes_that_broke_the_protocol_is_no_raw_connection():
    """The listener's own line: the proxy read them, and answered for itself."""
    row = one(read, as_json(INBOUND_TCP | {"response_flags": "DPE", "bytes_received": "1506", "bytes_sent": "156"}))
    assert (row["connections"], row["payload_sent"], row["payload_received"]) == (None, None, None)


@pytest.mark.parametrize(
    ("columns", "came_back"),
    [
        (OUTBOUND | {"response_code": "503", "response_flags": "UF", "response_code_details": "upstream_reset_x"}, 0),
        (OUTBOUND | {"response_code": "503"}, 4500),
        (INBOUND | {"response_code": "503", "response_flags": "UF", "response_code_details": "upstream_reset_x"}, 4500),
    ],
)
def test_answer_that_a_clients_own_proxy_made_up_did_not_come_over_the_wire(columns, came_back):
    """Nobody was reached; what a server's proxy answers for its app, did."""
    assert one(read, as_text(columns))["bytes_received"] == came_back


def test_authorization_policy_denies_by_name():
    """Envoy's RBAC filters name the policy that matched, over HTTP and for raw connections."""
    detail = "rbac_access_denied_matched_policy[ns[shop]-policy[deny]-rule[0]]"
    request = one(read, as_text(INBOUND | {"response_code": "403", "response_code_details": detail}))
    raw = one(read, as_text(INBOUND_TCP | {"connection_termination_details": detail}))
    for row in (request, raw):
        assert (row["action"], json.loads(row["policies"])) == ("denied", [detail])


def test_403_of_the_app_is_no_denial():
    """A status that came from upstream says nothing of policies."""
    row = one(read, as_text(INBOUND | {"response_code": "403"}))
    assert (row["action"], row["policies"]) == ("unknown", None)


# Protection: inbound


def test_peer_of_a_served_request_proves_mtls():
    """The line prints the client's identity, and a parsed request shows that the handshake succeeded."""
    row = one(read, as_json(INBOUND | MTLS))
    assert (row["transport_seen"], row["transport_seen_basis"], row["mesh_mtls"]) == ("mtls", "peer_uri", "yes")
    assert (row["initiator_principal"], row["client_certificate"], row["tls_version"]) == (CLIENT, "seen", "TLSv1.3")
    assert row["responder_principal"] is None


def test_peer_of_a_raw_connection_proves_mtls_only_with_bytes():
    """A peer is printed for handshakes that failed; bytes both ways, or a logged success and some, show it did not."""
    raw = INBOUND_TCP | MTLS
    silent = raw | {"bytes_received": "0", "bytes_sent": "0"}
    one_way = raw | {"bytes_sent": "0"}
    reason = {"downstream_transport_failure_reason": "-"}
    assert seen(raw)[0] == "mtls"
    assert seen(one_way) == ("unknown", "tls_handshake", "unknown")
    assert seen(silent) == ("unknown", "tls_handshake", "unknown")
    assert seen(one_way | reason)[0] == "mtls"
    assert seen(silent | reason) == ("unknown", "tls_handshake", "unknown")
    assert one(read, as_json(silent))["initiator_principal"] is None


def test_forged_peer_of_a_failed_handshake_proves_nothing():
    """Envoy prints the identity in a foreign CA's certificate, beside the reason why it was refused."""
    row = one(read, as_json(INBOUND_TCP | MTLS | {
        "upstream_cluster": "-", "upstream_local_address": "-", "upstream_host": "-",
        "downstream_transport_failure_reason": "TLS_error:|268435581:SSL_routines:CERTIFICATE_VERIFY_FAILED",
    }))  # fmt: skip
    assert (row["transport_seen"], row["transport_seen_basis"]) == ("unknown", "tls_failed")
    assert row["initiator_principal"] is row["client_certificate"] is row["tls_version"] is None
    assert row["connection_state"] == "refused"


def test_foreign_name_in_a_client_certificate_is_not_mtls_of_the_mesh():
    """A certificate without a SPIFFE name is shown, and its client is nobody of the mesh."""
    row = one(read, as_json(INBOUND | MTLS | {"downstream_peer_uri_san": "https://example.test/me"}))
    assert (row["transport_seen"], row["transport_seen_basis"]) == ("tls", "foreign_trust_domain")
    assert (row["initiator_principal"], row["client_certificate"]) == (None, "seen")


def test_several_names_in_a_client_certificate_leave_the_principal_open():
    """SAN lists are comma-joined, and which of the names acted is not said."""
    row = one(read, as_json(INBOUND | MTLS | {"downstream_peer_uri_san": f"{CLIENT},{SERVER}"}))
    assert (row["transport_seen"], row["initiator_principal"]) == ("mtls", None)


def test_empty_peer_of_a_tls_request_is_one_way_tls():
    """Version logged and peer logged empty: no client certificate was given."""
    row = one(read, as_json(INBOUND | MTLS | {"downstream_peer_uri_san": "-"}))
    assert (row["transport_seen"], row["transport_seen_basis"], row["mesh_mtls"]) == ("tls", "peer_empty", "no")
    assert row["client_certificate"] == "empty"


def test_tls_version_alone_is_tls():
    """A format without a peer operator leaves mutuality open, unless the client asked as a mesh client does."""
    version = {"downstream_tls_version": "TLSv1.2"}
    assert seen(INBOUND | version | {"requested_server_name": "-"}) == ("tls", "tls_version", "unknown")
    assert seen(INBOUND | version | {"requested_server_name": "shop.test"}) == ("tls", "tls_version", "unknown")
    assert seen(INBOUND | version) == ("tls", "outbound_sni", "unknown")


def test_dash_for_the_version_of_a_sidecars_request_is_plaintext():
    """The only honest plaintext of a log: the operator is logged, a request was parsed, and TLS was not there."""
    assert seen(CLEAR) == ("plaintext", "no_tls_http", "no")


@pytest.mark.parametrize(
    "columns",
    [
        CLEAR | {"upstream_cluster": "inbound-vip|80|http|orders.shop.svc.cluster.local"},
        CLEAR | {"downstream_direct_remote_address": "envoy://internal_client_address/"},
        CLEAR | {"upstream_cluster": "-", "upstream_local_address": "-"},
        CLEAR | {"response_code": "0", "response_code_details": "-"},
        CLEAR | {"requested_server_name": "outbound_.80_._.orders.shop.svc.cluster.local"},
        CLEAR | {"response_code": "400", "response_flags": "DPE", "response_code_details": "http1.codec_error"},
        CLEAR | OUTBOUND,
        CLEAR | NO_CHAIN,
    ],
    ids=[
        "waypoint",
        "internal listener",
        "no direction",
        "listener line",
        "server name",
        "no HTTP",
        "outbound",
        "no chain",
    ],
)
def test_dash_for_the_version_is_never_plaintext_elsewhere(columns):
    """On waypoints, inner hops and listener lines `-` is printed although the wire was protected."""
    assert seen(columns)[0] == "unknown"


def test_dash_for_the_version_of_a_raw_connection_says_only_that_the_mesh_did_nothing():
    """The app may have sent TLS of its own; with a server name it did."""
    clear = INBOUND_TCP | {"downstream_tls_version": "-"}
    assert seen(clear) == ("unknown", "format_silent", "no")
    assert seen(clear | {"requested_server_name": "db.example.test"}) == ("tls", "server_name", "no")


def test_inspectors_note_is_no_failed_handshake():
    """On a PERMISSIVE listener a good plaintext connection carries a note of the TLS inspector."""
    note = {"downstream_transport_failure_reason": "TLS_error|error:1000009c:SSL_routines:HTTP_REQUEST:TLS_error_end"}
    row = one(read, as_json(INBOUND_TCP | note | {"downstream_tls_version": "-"}))
    assert (row["transport_seen"], row["transport_seen_basis"]) == ("unknown", "format_silent")
    assert row["connection_state"] == "established"


@pytest.mark.parametrize("name", ["outbound_.80_._.orders.shop.svc.cluster.local", "outbound|80||orders.shop.svc"])
def test_outbound_server_name_of_a_request_in_the_default_format(name):
    """The sidecar parsed HTTP under an Istio server name, so it ended TLS; classification infers the rest."""
    assert seen(INBOUND | {"requested_server_name": name}) == ("tls", "outbound_sni", "unknown")


@pytest.mark.parametrize(
    "changes",
    [
        {"requested_server_name": "-"},
        {"requested_server_name": "orders.example.test"},
        {"response_code": "0", "bytes_sent": "0"},
    ],
)
def test_default_format_is_otherwise_silent(changes):
    """No TLS column, no verdict: absence of evidence is unknown, never plaintext."""
    assert seen(INBOUND | changes) == ("unknown", "format_silent", "unknown")


def test_server_name_of_a_raw_connection_is_tls_if_it_was_answered():
    """The server name was in a ClientHello that came as far as bytes both ways."""
    named = INBOUND_TCP | {"requested_server_name": "outbound_.3306_._.db.shop.svc.cluster.local"}
    assert seen(named) == ("tls", "server_name", "unknown")
    for reason in ({}, {"downstream_transport_failure_reason": "-"}):
        assert seen(named | {"bytes_sent": "0"} | reason) == ("unknown", "format_silent", "unknown")
    assert seen(INBOUND_TCP) == ("unknown", "format_silent", "unknown")


# Protection: outbound


def test_outbound_default_line_is_silent_and_its_server_name_is_not_kept():
    """The server name there is the app's own towards its sidecar."""
    row = one(read, as_text(OUTBOUND_TCP | {"requested_server_name": "outbound_.443_._.db.shop.svc.cluster.local"}))
    assert (row["transport_seen"], row["transport_seen_basis"], row["tls_sni"]) == ("unknown", "format_silent", None)


def test_upstream_version_of_an_answered_request_is_tls():
    """The server's identity is kept; whether it asked for ours is not in the line."""
    row = one(read, as_json(OUTBOUND | {"upstream_tls_version": "TLSv1.3", "upstream_peer_uri_san": SERVER}))
    assert (row["transport_seen"], row["transport_seen_basis"], row["mesh_mtls"]) == ("tls", "tls_version", "unknown")
    assert (row["tls_version"], row["responder_principal"]) == ("TLSv1.3", SERVER)
    assert row["initiator_principal"] is None


def test_upstream_version_of_an_unanswered_request_proves_nothing():
    """With TLS 1.3 the client takes the handshake for done before the server turns its certificate down."""
    row = one(read, as_json(OUTBOUND | {
        "upstream_tls_version": "TLSv1.3", "upstream_peer_uri_san": SERVER, "response_code": "503",
        "response_flags": "UC",
        "response_code_details": "upstream_reset_before_response_started{connection_termination}",
    }))  # fmt: skip
    assert (row["transport_seen"], row["transport_seen_basis"]) == ("unknown", "tls_handshake")
    assert (row["connection_state"], row["responder_principal"]) == ("refused", None)


def test_failed_upstream_handshake_is_named_even_in_the_default_format():
    """The default format has the reason why the upstream could not be reached."""
    row = one(read, as_text(OUTBOUND | {
        "response_code": "503", "response_flags": "UF", "upstream_local_address": "-",
        "upstream_transport_failure_reason": "TLS_error:|268435703:SSL_routines:WRONG_VERSION_NUMBER:TLS_error_end",
        "response_code_details": "upstream_reset_before_response_started{remote_connection_failure|TLS_error}",
    }))  # fmt: skip
    assert (row["transport_seen"], row["transport_seen_basis"]) == ("unknown", "tls_failed")


def test_dash_for_the_upstream_version_of_an_answered_request_is_plaintext():
    """The proxy parsed the request, forwarded it without TLS and got the upstream's answer."""
    assert seen(OUTBOUND | {"upstream_tls_version": "-"}) == ("plaintext", "no_tls_upstream", "no")


@pytest.mark.parametrize(
    "changes",
    [
        {"upstream_cluster": "PassthroughCluster"},
        {"response_code_details": "upstream_reset_before_response_started{x}", "response_flags": "UC"},
        {"upstream_local_address": "-"},
        {"upstream_host": "envoy://connect_originate/192.0.2.20:80"},
        TCP,
    ],
    ids=["passthrough", "not answered", "not connected", "internal listener", "raw connection"],
)  # fmt: skip
def test_dash_for_the_upstream_version_is_never_plaintext_elsewhere(changes):
    """Where the proxy passes bytes on, or nobody answered, `-` says that the proxy did no TLS and nothing more."""
    assert seen(OUTBOUND | changes | {"upstream_tls_version": "-"})[0] == "unknown"


# Hostile text


#: Columns that whoever sends a request fills.
HEADERS = ("path", "x_forwarded_for", "user_agent", "request_id", "authority")

FORGED_TAIL = (
    'x" "id" "host" "10.0.0.9:80" outbound|80||evil.svc 1.2.3.4:5 10.9.9.9:80 10.0.0.9:7 '
    "outbound_.80_._.evil.svc default"
)
FORGED_MIDDLE = 'x HTTP/1.1" 200 - via_upstream - "-" 0 0 0 0 "-" "ua" "id" "host" "10.0.0.9:80" inbound|80||'


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize(
    "value", ['"', '" "', 'a"b', FORGED_TAIL, FORGED_MIDDLE, as_text(INBOUND), f"{as_text(OUTBOUND)} "]
)
def test_header_that_injects_columns_makes_the_line_a_reject(header, value):
    """Text mode does not escape quotes, so any quote in a header makes the split ambiguous."""
    assert rejected(read, as_text(INBOUND | {header: value})) == "columns_ambiguous"


FRAGMENTS = (
    '"', " ", "-", "|", ",", "[", "]", "{", "/", "0", "7", "a", "_", "\\", "\t", '" "', "- ", "GET ", "HTTP/1.1",
    "200 ", "via_upstream ", "10.0.0.9:80 ", "127.0.0.6:1 ", "outbound|80||evil.svc ", "inbound|80|| ", "NR ", "spiffe://x/y",
    "outbound_.80_._.evil.svc ", "filter_chain_not_found ",
)  # fmt: skip


@pytest.mark.parametrize("column", [*HEADERS, "method", "upstream_service_time", "response_code_details",
                                    "requested_server_name"])  # fmt: skip
@given(value=st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join))
@settings(max_examples=150)
def test_no_column_that_others_fill_can_change_another(column, value):
    """
    Whatever a client or an upstream writes, the line is a reject or every column of the flow but that one is unchanged.

    Addresses, cluster, flags, code and server name decide verdicts: none of them may be forged by a header.
    """
    rows, tally = read_bytes(read, as_text(INBOUND | {column: value}).encode())
    if not rows:
        assert tally.rejects
        return
    own = {
        "response_code_details": {"action", "policies", "connection_state"},
        "requested_server_name": {"tls_sni", "transport_seen", "transport_seen_basis"},
    }.get(column, set())
    honest = one(read, as_text(INBOUND))
    assert {k: v for k, v in rows[0].items() if k not in own} == {k: v for k, v in honest.items() if k not in own}


def test_json_escapes_what_text_does_not():
    """In JSON a header cannot leave its value."""
    assert one(read, as_json(INBOUND | {"user_agent": FORGED_TAIL})) == one(read, as_json(INBOUND))


def test_line_in_no_known_layout_is_not_guessed_at():
    """A column too many or too few is a reject, never a shift of the others."""
    extra = as_text(INBOUND | {"downstream_remote_address": "192.0.2.10:40555 192.0.2.11:40556"})
    fewer = as_text(INBOUND).replace(" 192.0.2.10:40555 ", " ")
    assert (rejected(read, extra), rejected(read, fewer)) == ("field_invalid", "columns_ambiguous")


@pytest.mark.parametrize("name", ["a/b", "a,b", "spiffe://x", "192.0.2.11:4", "\u00e9"])
def test_server_name_that_is_none_is_rejected(name):
    """Something else in that column means other columns than the format's."""
    assert rejected(read, as_text(INBOUND | {"requested_server_name": name})) == "field_invalid"


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"start_time": "2026-13-02T03:04:05.678Z"}, "field_invalid"),
        ({"start_time": "yesterday"}, "columns_ambiguous"),
        ({"duration": "9" * 18}, "field_invalid"),
        ({"bytes_sent": "9" * 19}, "field_invalid"),
        ({"bytes_sent": "-"}, "field_invalid"),
        ({"upstream_service_time": "1 2"}, "columns_ambiguous"),
        ({"response_code": "1000"}, "field_invalid"),
        ({"response_code": "OK"}, "columns_ambiguous"),
        ({"protocol": "HTTP"}, "columns_ambiguous"),
        ({"protocol": "-"}, "field_invalid"),
        ({"response_flags": "U;H"}, "columns_ambiguous"),
        ({"upstream_host": "orders:8080"}, "columns_ambiguous"),
        ({"downstream_local_address": "192.0.2.20:99999"}, "field_invalid"),
        ({"downstream_local_address": "192.0.2.20"}, "columns_ambiguous"),
        ({"downstream_remote_address": "[192.0.2.20:1"}, "columns_ambiguous"),
    ],
)
def test_value_of_the_wrong_kind_is_a_reject(columns, reason):
    """A damaged line must not become a flow that looks whole; what no such column can print is not that column."""
    line = as_text(INBOUND | columns)
    if "yesterday" in line:
        line = "x " + line.replace(columns["start_time"], "2026-01-02T03:04:05Z")
    assert rejected(read, line) == reason


@pytest.mark.parametrize("column", ["response_flags", "downstream_local_address", "upstream_host", "protocol"])
def test_json_value_of_the_wrong_kind_is_a_reject(column):
    """JSON tells the columns apart, so that the value itself is what is wrong."""
    assert rejected(read, json.dumps(INBOUND | {column: "a;b"})) == "field_invalid"


@pytest.mark.parametrize("column", ["start_time", "protocol", "response_code", "response_flags", "upstream_host",
                                    "bytes_sent", "upstream_cluster", "downstream_remote_address",
                                    "downstream_local_address", "upstream_local_address"])  # fmt: skip
def test_json_without_a_needed_key_is_rejected(column):
    """Users drop and rename keys; a line without these would be misread."""
    assert rejected(read, as_json({k: v for k, v in INBOUND.items() if k != column})) == "field_missing"


@pytest.mark.parametrize("value", [True, 1.5, [], {}])
def test_json_value_of_no_column_is_rejected(value):
    """A column is text, a number or null."""
    assert rejected(read, json.dumps(INBOUND | {"upstream_cluster": value})) == "field_invalid"


# Container output


@pytest.mark.parametrize(
    "line",
    [
        "2026-01-02T03:04:05.678901Z\tinfo\tEnvoy proxy is ready",
        "2026-01-02T03:04:05.678901Z info xdsproxy connected to upstream XDS server: istiod:15012",
        "2026-01-02T03:04:05.678901Z\tdebug\tenvoy http\t[C123][S456] request headers complete",
        "[2026-01-02 03:04:05.678][15][info][main] initializing epoch 0",
        "[C123] new connection",
        "configPath: ./etc/istio/proxy",
        "  tracing:",
        '{"level":"info","time":"2026-01-02T03:04:05Z","scope":"xdsproxy","msg":"connected"}',
    ],
)
def test_other_output_of_the_container_is_skipped_by_name(line):
    """Every container log holds lines of pilot-agent and Envoy's own log."""
    rows, tally = read_bytes(read, "\n".join([line, as_text(INBOUND), line]).encode())
    assert [row["record"] for row in rows] == [2]
    assert tally.skipped == {"not_access_log": 2}
    assert not tally.rejects


@pytest.mark.parametrize(
    "line",
    [
        as_text(INBOUND)[30:],
        as_text(INBOUND)[:150],
        "what is this: " + as_text(INBOUND),
    ],
    ids=["no beginning", "no end", "prefix"],
)
def test_access_line_that_cannot_be_read_is_never_skipped(line):
    """A lost request is a reject with its place; only output of other programs is skipped."""
    assert rejected(read, line) == "columns_ambiguous"


def test_recognises_text_and_json_after_other_output():
    """A container log begins with what pilot-agent says."""
    other = '2026-01-02T03:04:05.678901Z\tinfo\tFLAG: --concurrency="0"\n'
    for line in (as_text(INBOUND), as_json(INBOUND), as_strings(OUTBOUND_TCP), as_text(INBOUND)[:180]):
        assert recognises((other * 3 + line).encode())


@pytest.mark.parametrize(
    "head",
    [b"", b"\x00\xff", b"2026-01-02T03:04:05Z\tinfo\tready\n", b'{"reporter": "src"}', b'{"msg": 1}',
     b'[2026-01-02T03:04:05.678Z] "a quoted note" of another program', b'{"resourceLogs":[]}',
     b'[2026-01-02T03:04:05.678Z] INFO 1 2 3 "started" a b c d'],
)  # fmt: skip
def test_does_not_recognise_other_content(head):
    """A wrong guess would reject every line of somebody's file."""
    assert not recognises(head)


# Shared samples


def sample_rows(name, flows):
    data = sample(name)
    assert recognises(data)
    rows, tally = read_bytes(read, data)
    assert len(rows) == flows
    return rows, tally


def test_shared_http_sample_pairs_client_and_server():
    """The first two lines are one request told by both sidecars; the fourth came through an ingress gateway."""
    rows, tally = sample_rows("istio-text-1.9plus-http.log", 6)
    assert not tally.rejects
    assert ends(rows[0]) == ends(rows[1]) == ("10.44.1.23", 37652, "10.44.1.27", 80)
    assert [row["reporter"] for row in rows[:2]] == ["initiator", "responder"]
    assert (rows[0]["dialled_ip"], rows[0]["dialled_port"]) == ("10.0.45.184", 8000)
    assert (rows[0]["response_code"], rows[0]["bytes_received"]) == (418, 135)
    assert ends(rows[3]) == (None, None, "10.68.1.7", 9080)
    assert [row["transport_seen_basis"] for row in rows] == ["format_silent", *["outbound_sni"] * 4, "format_silent"]


def test_shared_failure_sample_tells_how_each_request_ended():
    """No healthy upstream, no route, a protocol error, a closed port."""
    rows, tally = sample_rows("istio-text-1.9plus-failures.log", 4)
    assert not tally.rejects
    assert [row["response_flags"] for row in rows] == ["UH", "NR", "DPE", "UF"]
    assert [row["connection_state"] for row in rows] == ["attempted", "refused", None, "refused"]
    assert [row["reporter"] for row in rows] == ["initiator", None, None, "responder"]
    assert ends(rows[0]) == ("172.17.0.6", None, "10.99.37.119", 8000)


def test_shared_tcp_sample_tells_four_kinds_of_connections():
    """Passthrough, a closed port, a good one, and a listener that turned its client away."""
    rows, tally = sample_rows("istio-text-1.9plus-tcp.log", 4)
    assert not tally.rejects
    assert [row["connection_state"] for row in rows] == ["established", "refused", "established", "refused"]
    assert (rows[0]["payload_sent"], rows[0]["payload_received"]) == (6238, 6291)
    assert ends(rows[2]) == ("10.48.1.227", 34122, "10.48.1.19", 3306)
    assert ends(rows[3]) == ("10.10.123.127", 36422, "10.10.123.120", 27017)
    assert {row["transport_seen"] for row in rows} == {"unknown"}


def test_shared_json_samples_of_both_generations():
    """Native types with nulls; all strings, one of them with addresses that were blacked out."""
    rows, tally = sample_rows("istio-json-1.9plus.jsonl", 2)
    assert not tally.rejects
    assert ends(rows[0]) == ("10.124.0.13", 43612, "10.124.1.5", 9080)
    assert (rows[0]["bytes_received"], rows[0]["transport_seen_basis"]) == (358, "outbound_sni")
    assert (rows[1]["reporter"], rows[1]["response_flags"]) == (None, "UH")
    rows, tally = sample_rows("istio-json-1.3-allstrings.jsonl", 1)
    assert ends(rows[0]) == ("172.18.0.42", 45786, "172.17.1.3", 5432)
    assert [(r.record, r.reason) for r in tally.rejects] == [(2, "field_invalid")]


def test_shared_samples_of_other_layouts_are_read():
    """Envoy's own layout and two of older Istio; in a published line headers inject columns, and it is put aside."""
    rows, tally = sample_rows("envoy-default-text.log", 1)
    assert ends(rows[0]) == (None, None, "10.0.2.1", 80)
    assert (rows[0]["response_code"], rows[0]["bytes_received"], rows[0]["reporter"]) == (204, 0, None)
    assert [(r.record, r.reason) for r in tally.rejects] == [(2, "columns_ambiguous")]
    rows, tally = sample_rows("istio-text-1.3-mixer.log", 1)
    assert not tally.rejects
    assert ends(rows[0]) == ("10.244.2.10", None, "10.244.1.5", 80)
    rows, tally = sample_rows("istio-text-pre-1.2.log", 2)
    assert not tally.rejects
    assert ends(rows[1]) == ("172.30.109.82", 59480, "172.217.161.36", 443)
    assert [row["reporter"] for row in rows] == ["initiator", "initiator"]


# Any input at all


LINES = (as_text(INBOUND), as_text(NO_CHAIN), as_json(OUTBOUND | MTLS), as_strings(INBOUND_TCP))

ODD_VALUES = (
    None, True, 0, -1, 1 << 64, 1.5, 1e300, float("inf"), "", "-", "0", "x" * 5000, "\x00", "\u00e9", "\ud800", [], {},
    ":", "[]:1", "[::1]:0", "envoy://", "envoy:///", "TLSv1.3", "inbound|", "9999-12-31T23:59:59.999Z",
    "0001-01-01T00:00:00+23:59", "HTTP/3", "NR,UC",
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(sorted({*INBOUND, *MTLS, "downstream_transport_failure_reason"})),
                       st.sampled_from(ODD_VALUES), max_size=4))  # fmt: skip
@settings(max_examples=300)
def test_any_values_give_a_flow_or_a_named_reject(changes):
    """No value raises anything, and the tally always balances."""
    read_bytes(read, json.dumps(json.loads(as_json(INBOUND)) | changes).encode())


@given(st.sampled_from(LINES), st.integers(0, 400), st.binary(max_size=4), st.integers(0, 4))
@settings(max_examples=300)
def test_mutated_lines_never_raise(line, at, insert, cut):
    """Bytes changed anywhere give flows, skips or rejects, and leave the next line alone."""
    whole = line.encode()
    data = whole[:at] + insert + whole[at + cut :] + b"\n" + whole
    recognises(data)
    rows, _ = read_bytes(read, data)
    assert rows


@given(st.binary(max_size=200), st.sampled_from([b"", b"{", b"[2026-01-02T03:04:05.678Z] ", b"[C1] "]))
def test_random_bytes_never_raise(data, beginning):
    """Whatever the file holds."""
    recognises(beginning + data)
    read_bytes(read, beginning + data)
