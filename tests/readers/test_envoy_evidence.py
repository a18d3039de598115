"""What operators that users add prove: certificates, XFCC, both ends' names, tunnels; a row of the evidence each."""

from __future__ import annotations

import pytest
from readers.log_support import INBOUND, OUTBOUND, TCP, as_json, one

from vzflow.readers.envoy import read
from vzflow.readers.envoy.client_cert import own_peer

CLIENT = "spiffe://cluster.local/ns/shop/sa/front"
SERVER = "spiffe://cluster.local/ns/shop/sa/orders"
TLS = INBOUND | {"downstream_tls_version": "TLSv1.3"}
RAW = INBOUND | TCP
NO_SNI = {"requested_server_name": "-"}
XFCC = f'By={SERVER};Hash={"ab" * 32};Subject="";URI={CLIENT}'


def seen(columns):
    row = one(read, as_json(columns))
    return row["transport_seen"], row["transport_seen_basis"], row["mesh_mtls"]


# Certificates


@pytest.mark.parametrize(
    "name", ["downstream_peer_subject", "downstream_peer_issuer", "downstream_peer_fingerprint_256",
             "downstream_peer_serial", "downstream_peer_dns_san", "downstream_peer_ip_san"],
)  # fmt: skip
def test_any_trace_of_a_client_certificate_is_mutual_tls_without_a_name(name):
    """Whoever gave it is not named, so no principal; classification asks for a trust domain."""
    row = one(read, as_json(TLS | {name: "x1"}))
    assert (row["transport_seen"], row["transport_seen_basis"]) == ("mtls", "peer_certificate")
    assert (row["client_certificate"], row["initiator_principal"]) == ("seen", None)


@pytest.mark.parametrize("name", ["downstream_peer_subject", "downstream_peer_dns_san", "downstream_peer_ip_san"])
def test_name_that_certificates_need_not_have_proves_nothing_where_it_is_empty(name):
    """A workload certificate of Istio has an empty subject."""
    assert seen(TLS | NO_SNI | {name: "-"}) == ("tls", "tls_version", "unknown")


@pytest.mark.parametrize(
    "name", ["downstream_peer_uri_san", "downstream_peer_fingerprint_256", "downstream_peer_serial"]
)
def test_what_every_certificate_has_proves_that_there_was_none(name):
    """One-way TLS."""
    assert seen(TLS | {name: "-"}) == ("tls", "peer_empty", "no")


def test_cel_says_whether_a_certificate_was_verified():
    """`CEL(connection.mtls)` is Envoy's own word for it."""
    assert seen(TLS | {"connection_mtls": "true"}) == ("mtls", "peer_certificate", "unknown")
    assert seen(TLS | {"connection_mtls": "false"}) == ("tls", "peer_empty", "no")
    assert seen(INBOUND | NO_SNI | {"connection_mtls": "true"})[0] == "mtls"
    assert seen(INBOUND | NO_SNI | {"connection_mtls": "false"}) == ("unknown", "format_silent", "no")


def test_own_name_at_an_inbound_proxy_is_the_responders():
    """DOWNSTREAM_LOCAL_URI_SAN is what the proxy showed its client."""
    row = one(read, as_json(TLS | {"downstream_peer_uri_san": CLIENT, "downstream_local_uri_san": SERVER}))
    assert (row["initiator_principal"], row["responder_principal"]) == (CLIENT, SERVER)


def test_cipher_alone_is_tls():
    """A cipher is printed for TLS only."""
    assert seen(INBOUND | NO_SNI | {"downstream_tls_cipher": "TLS_AES_128_GCM_SHA256"}) == (
        "tls",
        "tls_version",
        "unknown",
    )


def test_certificate_of_a_listener_line_counts_with_its_bytes():
    """The listener's own line of an HTTP connection has code 0 and the bytes of the whole connection."""
    listener = TLS | {
        "method": "-",
        "response_code": "0",
        "response_code_details": "-",
        "downstream_peer_uri_san": CLIENT,
    }
    reason = {"downstream_transport_failure_reason": "-"}
    assert seen(listener | reason) == ("mtls", "peer_uri", "yes")
    assert seen(listener | reason | {"bytes_received": "0", "bytes_sent": "0"}) == (
        "unknown",
        "tls_handshake",
        "unknown",
    )


def test_request_that_was_left_proves_its_handshake_by_its_method():
    """It was parsed, so the handshake had ended, if the format says that none failed."""
    left = TLS | {"response_code": "0", "response_flags": "DC", "bytes_received": "0", "bytes_sent": "0",
                  "downstream_peer_uri_san": CLIENT}  # fmt: skip
    assert seen(left | {"downstream_transport_failure_reason": "-"}) == ("mtls", "peer_uri", "yes")
    assert seen(left) == ("unknown", "tls_handshake", "unknown")


@pytest.mark.parametrize(
    "reason",
    ["TLS_error:|268435612:SSL_routines:OPENSSL_internal:HTTP_REQUEST:TLS_error_end",
     "TLS_error:|268435647:SSL_routines:OPENSSL_internal:PEER_DID_NOT_RETURN_A_CERTIFICATE:TLS_error_end",
     "TLS_error:|268435581:SSL_routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify_cert_failed:x:TLS_error_end"],
)  # fmt: skip
def test_version_and_peer_of_a_failed_handshake_prove_nothing(reason):
    """All are printed with a version; the one of a foreign CA with a forged name."""
    failed = TLS | TCP | {
        "upstream_cluster": "-", "upstream_host": "-", "upstream_local_address": "-", "bytes_received": "0",
        "bytes_sent": "0", "downstream_peer_uri_san": CLIENT, "downstream_transport_failure_reason": reason,
    }  # fmt: skip
    row = one(read, as_json(failed))
    assert (row["transport_seen"], row["transport_seen_basis"]) == ("unknown", "tls_failed")
    assert (row["connection_state"], row["initiator_principal"]) == ("refused", None)


# X-Forwarded-Client-Cert


def test_client_named_by_its_sidecar_is_inferred():
    """Envoy drops the header of clients without a certificate, unless it passes on everything: no proof, a hint."""
    row = one(read, as_json(INBOUND | NO_SNI | {"x_forwarded_client_cert": XFCC}))
    assert (row["transport_seen"], row["transport_seen_basis"]) == ("tls", "forwarded_client_cert")
    assert (row["initiator_principal"], row["mesh_mtls"]) == (CLIENT, "unknown")


@pytest.mark.parametrize(
    "columns",
    [
        OUTBOUND,
        INBOUND | {"upstream_cluster": "InboundPassthroughCluster"},
        INBOUND | {"upstream_cluster": "-", "upstream_local_address": "192.0.2.20:41000"},
        INBOUND | {"upstream_cluster": "inbound-vip|80|http|orders.shop.svc.cluster.local"},
        INBOUND | {"response_code": "0", "bytes_sent": "0"},
    ],
    ids=["outbound", "passthrough", "no direction", "waypoint", "not served"],
)
def test_forwarded_certificate_is_no_evidence_elsewhere(columns):
    """There it is what somebody sent."""
    assert seen(columns | NO_SNI | {"x_forwarded_client_cert": XFCC})[0] == "unknown"


def test_forwarded_certificate_does_not_outweigh_what_is_printed_of_the_connection():
    """The operators speak of the connection, the header of what was sent over it."""
    header = {"x_forwarded_client_cert": XFCC}
    assert seen(INBOUND | NO_SNI | header | {"downstream_tls_version": "-"})[0] == "plaintext"
    assert seen(TLS | header | {"downstream_peer_uri_san": "-"}) == ("tls", "peer_empty", "no")


FIRST = "By=spiffe://x/ns/edge/sa/gw;Hash=cd;URI=spiffe://evil/ns/a/sa/b"


@pytest.mark.parametrize(
    ("header", "peer"),
    [
        (XFCC, CLIENT),
        (f"{FIRST},{XFCC}", CLIENT),
        (f'By={SERVER};Hash=ab;Subject="CN=a,O=b;c=\\"d\\"";URI={CLIENT};DNS=a.b', CLIENT),
        (f"{XFCC},{FIRST.replace('By', 'by')}", "spiffe://evil/ns/a/sa/b"),
        (f'By={SERVER};Hash=ab;Subject="";URI=', None),
        (f"By={SERVER};Hash=ab;URI={CLIENT};URI={SERVER}", None),
        (f"URI={CLIENT}", None),
        (f'x",{XFCC}', None),
        (f'k="{FIRST},{XFCC}', None),
        (f'k="{FIRST}",{XFCC}', CLIENT),
        (f"{XFCC},", None),
        ("", None),
        ("-", None),
        ("garbage", None),
    ],
)
def test_only_the_last_element_of_a_forwarded_certificate_is_the_proxys_own(header, peer):
    """Everything before it came with the request."""
    assert own_peer(header) == peer


# Outbound


def test_names_of_one_mesh_at_both_ends_are_inferred_mutual_tls():
    """A certificate of one's own is no proof that it was asked for."""
    both = {"upstream_tls_version": "TLSv1.3", "upstream_peer_uri_san": SERVER, "upstream_local_uri_san": CLIENT}
    row = one(read, as_json(OUTBOUND | both))
    assert (row["transport_seen"], row["transport_seen_basis"]) == ("tls", "both_uris")
    assert (row["initiator_principal"], row["responder_principal"]) == (CLIENT, SERVER)
    foreign = both | {"upstream_peer_uri_san": "spiffe://other/ns/a/sa/b"}
    assert seen(OUTBOUND | foreign) == ("tls", "tls_version", "unknown")
    failed = {"response_code": "503", "response_flags": "UC",
              "response_code_details": "upstream_reset_before_response_started{x}"}  # fmt: skip
    assert seen(OUTBOUND | both | failed)[0] == "unknown"


def test_app_that_does_its_own_tls_through_an_outbound_proxy():
    """The server name is the app's own, and bytes went both ways; the mesh added nothing."""
    raw = OUTBOUND | TCP | {"upstream_tls_version": "-", "requested_server_name": "db.example.test"}
    for cluster in ("PassthroughCluster", OUTBOUND["upstream_cluster"]):
        assert seen(raw | {"upstream_cluster": cluster}) == ("tls", "server_name", "no")
    assert seen(raw | {"bytes_sent": "0"}) == ("unknown", "format_silent", "no")


# Tunnels

TUNNEL = INBOUND | {
    "method": "CONNECT", "path": "-", "protocol": "HTTP/2", "authority": "192.0.2.20:8080",
    "downstream_local_address": "192.0.2.20:15008", "upstream_cluster": "inbound-hbone",
    "upstream_host": "envoy://main_internal/", "upstream_local_address": "envoy://internal_client_address/",
    "requested_server_name": "-", "downstream_tls_version": "TLSv1.3", "downstream_peer_uri_san": CLIENT,
}  # fmt: skip


def test_end_of_a_tunnel_names_the_inner_port():
    """The request of a tunnel asks for the pod's own port; rules speak of that one."""
    row = one(read, as_json(TUNNEL))
    assert (row["responder_ip"], row["responder_port"], row["via"]) == ("192.0.2.20", 8080, "hbone")
    assert (row["transport_seen"], row["initiator_principal"], row["hop"]) == ("mtls", CLIENT, "wire")


def test_proxy_that_takes_a_tunnel_is_the_responders():
    """Its upstream is an inner listener, whose cluster has no name that tells a direction."""
    silent = {"downstream_tls_version": "-", "downstream_peer_uri_san": "-", "upstream_cluster": "main_internal"}
    row = one(read, as_json(TUNNEL | silent))
    assert (row["reporter"], row["initiator_port"], row["transport_seen"]) == ("responder", 40555, "unknown")


@pytest.mark.parametrize(
    "columns",
    [
        TUNNEL | {"authority": "192.0.2.99:8080"},
        TUNNEL | {"authority": "orders.shop:8080"},
        TUNNEL | {"authority": "-"},
        TUNNEL | {"method": "GET"},
        TUNNEL | {"response_code": "503"},
        OUTBOUND | TCP | {"upstream_host": "192.0.2.20:15008"},
    ],
    ids=["another pod", "a name", "none", "no tunnel", "refused", "begin of a tunnel"],
)
def test_tunnel_whose_inner_port_is_not_certain_is_only_its_outside(columns):
    """A client may ask for anything, and where a tunnel begins the inner port is not in the line."""
    row = one(read, as_json(columns))
    assert (row["responder_port"], row["hop"], row["via"]) == (15008, "outer_tunnel", None)


def test_tls_of_an_inner_hop_is_never_plaintext():
    """Between the listeners of one Envoy `-` is printed although the tunnel was protected."""
    inner = INBOUND | NO_SNI | {"downstream_tls_version": "-"}
    for name in ("downstream_remote_address", "downstream_local_address", "upstream_host", "upstream_local_address"):
        assert seen(inner | {name: "envoy://internal_client_address/"})[0] == "unknown"


# Operators of the beginning and the end


def test_final_line_is_kept_and_others_are_skipped():
    """ACCESS_LOG_TYPE tells them apart; a format without it logs the last line only."""
    assert one(read, as_json(RAW | {"access_log_type": "TcpConnectionEnd"}))["connections"] == 1
