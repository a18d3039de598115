"""Access logs of ztunnel: the eras of its text, its JSON, and what a line proves."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from readers.log_support import CONTEXT, one, read_bytes, rejected, sample

from vzflow.readers.base import Context
from vzflow.readers.ztunnel import read, recognises

CLIENT = "spiffe://cluster.local/ns/shop/sa/front"
SERVER = "spiffe://cluster.local/ns/shop/sa/orders"

#: A connection through the tunnel to the pod itself, as the client's side logs it.
OUTBOUND = {
    "src.addr": "192.0.2.10:40555",
    "src.workload": "front-5d4f8-abcde",
    "src.namespace": "shop",
    "src.identity": CLIENT,
    "dst.addr": "192.0.2.20:15008",
    "dst.hbone_addr": "192.0.2.20:8080",
    "dst.service": "orders.shop.svc.cluster.local",
    "dst.workload": "orders-0",
    "dst.namespace": "shop",
    "dst.identity": SERVER,
    "direction": "outbound",
    "bytes_sent": 200,
    "bytes_recv": 603,
    "duration": "2ms",
}

#: The same connection as the server's side logs it.
INBOUND = OUTBOUND | {
    "src.addr": "192.0.2.10:51405",
    "dst.addr": "192.0.2.20:8080",
    "direction": "inbound",
    "bytes_sent": 603,
    "bytes_recv": 200,
}

#: A connection that came without a tunnel, and was passed on.
PASSED_ON = {name: value for name, value in INBOUND.items() if "identity" not in name and "hbone" not in name}

STRICT = "connection closed due to policy rejection: explicitly denied by: istio-system/istio_converted_static_strict"
#: The same, turned away.
DENIED = PASSED_ON | {"bytes_sent": 0, "bytes_recv": 0, "error": STRICT}

#: A line from before the program knew who was meant.
EARLY = {
    "src.addr": "192.0.2.10:40555",
    "dst.addr": "192.0.2.20:8080",
    "direction": "inbound",
    "error": "unknown destination: 192.0.2.20",
}

NUMBERS = ("bytes_sent", "bytes_recv")


def without(fields, *names):
    return {name: value for name, value in fields.items() if name not in names}


def as_text(fields, message="connection complete", *, level=None, quoted=True, early_2024=False):
    """Write *fields* as a build with quotes, without most of them, or of the first weeks does."""
    level = level or ("error" if "error" in fields else "info")
    bare = () if quoted else ("src.workload", "src.namespace", "dst.workload", "dst.namespace", "dst.service")

    def pair(name, value):
        if name in (*NUMBERS, "src.addr", "dst.addr") or name in bare:
            return f"{name}={value}"
        escaped = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{name}="{escaped}"'

    pairs = [pair(name, value) for name, value in fields.items()]
    if early_2024:
        return f"2026-01-02T03:04:05.678901Z {level.upper():>5} access: {message} " + " ".join(pairs)
    return f"2026-01-02T03:04:05.678901Z\t{level}\taccess\t{message}\t" + " ".join(pairs)


def as_json(fields, message="connection complete"):
    level = "error" if "error" in fields else "info"
    head = {"level": level, "time": "2026-01-02T03:04:05.678901Z", "scope": "access", "message": message}
    return json.dumps(head | fields)


def seen(fields, message="connection complete"):
    row = one(read, as_json(fields, message))
    return row["transport_seen"], row["transport_seen_basis"], row["mesh_mtls"]


def fate(fields, message="connection complete"):
    row = one(read, as_json(fields, message))
    return row["action"], row["connection_state"], row["policies"]


def ends(fields):
    row = one(read, as_json(fields))
    return [row[name] for name in ("initiator_ip", "initiator_port", "responder_ip", "responder_port", "via")]


# Encodings


def test_line_of_a_tunnelled_connection_is_read_whole():
    """Column by column; what the line cannot say is null."""
    row = one(read, as_text(OUTBOUND))
    assert {name: value for name, value in row.items() if value is not None} == {
        "segment": CONTEXT.segment,
        "record": 1,
        "source": "ztunnel",
        "reporter": "initiator",
        "cluster": "c1",
        "first_seen": datetime(2026, 1, 2, 3, 4, 5, 676901, tzinfo=UTC),
        "last_seen": datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        "protocol": "tcp",
        "initiator_ip": "192.0.2.10",
        "initiator_port": 40555,
        "responder_ip": "192.0.2.20",
        "responder_port": 8080,
        "initiator_basis": "log",
        "via": "hbone",
        "hop": "wire",
        "initiator_named_namespace": "shop",
        "initiator_named_name": "front-5d4f8-abcde",
        "initiator_named_kind": "workload",
        "initiator_principal": CLIENT,
        "responder_named_namespace": "shop",
        "responder_named_name": "orders-0",
        "responder_named_kind": "workload",
        "responder_named_service": "shop/orders",
        "responder_principal": SERVER,
        "bytes_sent": 200,
        "bytes_received": 603,
        "payload_sent": 200,
        "payload_received": 603,
        "connections": 1,
        "connection_state": "established",
        "action": "allowed",
        "transport_seen": "mtls",
        "transport_seen_basis": "mesh_identity",
        "mesh_mtls": "yes",
    }


@pytest.mark.parametrize("fields", [OUTBOUND, INBOUND, PASSED_ON, DENIED])
def test_every_encoding_of_a_line_gives_one_row(fields):
    """Tabs or spaces, quotes or none, JSON: builds differ, connections do not."""
    wanted = one(read, as_json(fields))
    assert one(read, as_text(fields)) == wanted
    assert one(read, as_text(fields, quoted=False)) == wanted
    assert one(read, as_text(fields, early_2024=True)) == wanted
    assert one(read, as_text(fields).replace("\t", " ")) == wanted
    assert one(read, json.dumps({k: str(v) for k, v in json.loads(as_json(fields)).items()})) == wanted


def test_quotes_and_pairs_inside_a_value_stay_in_it():
    """A peer chooses the text of an error; whatever it looks like, it is only an error."""
    forged = 'x" src.identity="spiffe://cluster.local/ns/a/sa/b" dst.addr=192.0.2.99:1 \\\n y'
    row = one(read, as_text(DENIED | {"error": forged}))
    assert row["initiator_principal"] is None
    assert row["responder_ip"] == "192.0.2.20"
    assert row == one(read, as_json(DENIED | {"error": forged}))


def test_error_without_quotes_is_the_rest_of_the_line():
    """It has blanks, so nothing after it could be told from it."""
    line = as_text(without(DENIED, "error"), level="error") + f" error={STRICT} src.identity={CLIENT}"
    row = one(read, line)
    assert row["initiator_principal"] is None
    assert row["policies"] is not None


@pytest.mark.parametrize(
    "line",
    [
        as_text(OUTBOUND) + " trailing words",
        as_text(OUTBOUND) + ' src.addr="192.0.2.99:1"',
        as_text(OUTBOUND).replace('"outbound"', '"outbound'),
        as_text(OUTBOUND).replace("access\tconnection", "access\tabout connection"),
        "prefix " + as_text(OUTBOUND),
    ],
)
def test_line_that_is_not_all_pairs_is_put_aside(line):
    """Columns that cannot be told apart with certainty prove nothing."""
    assert rejected(read, line) == "columns_ambiguous"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"direction": "sideways"}, "field_invalid"),
        ({"src.addr": "192.0.2.10:99999"}, "field_invalid"),
        ({"src.addr": "192.0.2.999:1"}, "field_invalid"),
        ({"dst.addr": "[fe80::zz]:1"}, "field_invalid"),
        ({"bytes_sent": -1}, "field_invalid"),
        ({"bytes_sent": 1.5}, "field_invalid"),
        ({"bytes_sent": True}, "field_invalid"),
        ({"duration": "soon"}, "field_invalid"),
        ({"duration": "999999999999s"}, "field_invalid"),
        ({"time": "yesterday"}, "field_invalid"),
        ({"time": "2026-13-02T03:04:05Z"}, "field_invalid"),
        ({"message": "connection doubled"}, "field_invalid"),
        ({"message": None}, "field_missing"),
        ({"src.addr": None}, "field_missing"),
        ({"direction": None}, "field_missing"),
        ({"dst.addr": None, "dst.hbone_addr": None}, "field_missing"),
    ],
)
def test_value_that_no_such_field_can_hold_is_put_aside(change, reason):
    """A guess at a damaged line would be a forged one."""
    assert rejected(read, json.dumps(json.loads(as_json(OUTBOUND)) | change)) == reason


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("2026-01-02T03:04:05.678901Z\tinfo\tztunnel::state\tno allow policies matched", "not_access_log"),
        ("2026-01-02T03:04:05.678901Z  INFO ztunnel: version 1.22", "not_access_log"),
        ('{"level":"info","time":"2026-01-02T03:04:05Z","scope":"xds","message":"handling RBAC"}', "not_access_log"),
        ("thread 'main' panicked", "not_access_log"),
        (as_text(OUTBOUND, "connection opened", level="debug"), "connection_opened"),
        (as_json(OUTBOUND, "connection opened"), "connection_opened"),
    ],
)
def test_other_lines_are_skipped_by_name(line, reason):
    """The log holds everything the program says; a connection's begin is told again at its end."""
    rows, tally = read_bytes(read, line.encode())
    assert (rows, dict(tally.skipped)) == ([], {reason: 1})


def test_recognises_an_access_line_behind_other_lines():
    """The program says much before its first connection."""
    other = b"2026-01-02T03:04:05.678901Z\tinfo\tztunnel\tready\n" * 5
    for line in (as_text(OUTBOUND), as_text(OUTBOUND, early_2024=True), as_json(EARLY, "connection failed")):
        assert recognises(other + line.encode())
    assert not recognises(other)
    assert not recognises(b'{"scope":"access","message":"connection complete"}')


# Direction, ends, amounts


def test_both_sides_agree_on_who_sent_what():
    """Each logs its own side's bytes first: the client's sent are the server's received."""
    client, server = one(read, as_json(OUTBOUND)), one(read, as_json(INBOUND))
    assert (client["bytes_sent"], client["bytes_received"]) == (200, 603)
    assert (server["bytes_sent"], server["bytes_received"]) == (200, 603)
    assert (client["reporter"], server["reporter"]) == ("initiator", "responder")


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        # The tunnel ended at the pod: the port is the pod's own. The server's side knows the tunnel's source port only.
        (OUTBOUND, ["192.0.2.10", 40555, "192.0.2.20", 8080, "hbone"]),
        (INBOUND, ["192.0.2.10", None, "192.0.2.20", 8080, "hbone"]),
        (INBOUND | {"dst.addr": "192.0.2.20:15008"}, ["192.0.2.10", None, "192.0.2.20", 8080, "hbone"]),
        # Without the target, or with a name or a Service's address for it, the pod's port is not said.
        (without(OUTBOUND, "dst.hbone_addr"), ["192.0.2.10", 40555, "192.0.2.20", None, "hbone"]),
        (
            INBOUND | {"dst.addr": "192.0.2.20:15008", "dst.hbone_addr": "orders.shop.svc.cluster.local:80"},
            ["192.0.2.10", None, "192.0.2.20", None, "hbone"],
        ),
        (INBOUND | {"dst.hbone_addr": "orders:80"}, ["192.0.2.10", None, "192.0.2.20", 8080, "hbone"]),
        # Nor where the tunnel ended at a waypoint.
        (OUTBOUND | {"dst.hbone_addr": "198.51.100.7:80"}, ["192.0.2.10", 40555, "192.0.2.20", None, "hbone"]),
        (without(OUTBOUND, "dst.addr"), ["192.0.2.10", 40555, "192.0.2.20", 8080, "hbone"]),
        (PASSED_ON, ["192.0.2.10", 51405, "192.0.2.20", 8080, None]),
        (
            PASSED_ON | {"src.addr": "[2001:db8::1]:4", "dst.addr": "[::ffff:192.0.2.20]:8080"},
            ["2001:db8::1", 4, "192.0.2.20", 8080, None],
        ),
    ],
)
def test_ends_are_those_of_the_flow_inside_the_tunnel(change, wanted):
    """Rules speak of pod ports, and 15008 is none."""
    assert ends(change) == wanted


def test_target_beyond_a_waypoint_is_what_was_dialled():
    """Who answered is the waypoint; that the client meant a Service is kept beside it."""
    row = one(read, as_json(OUTBOUND | {"dst.hbone_addr": "198.51.100.7:80"}))
    assert (row["dialled_ip"], row["dialled_port"]) == ("198.51.100.7", 80)
    assert one(read, as_json(OUTBOUND))["dialled_ip"] is None


def test_name_in_place_of_an_address_is_a_pods():
    """The first builds printed pods; what such a line calls a workload is one."""
    row = one(
        read,
        as_text(
            {
                "src.addr": "shell-6d8bcd654d-t88gp:59690",
                "src.workload": "shell",
                "src.namespace": "default",
                "src.identity": CLIENT,
                "dst.addr": "waypoint-9ccc6c96-hthtk:15008",
                "dst.hbone_addr": "echo:80",
                "direction": "outbound",
                "bytes_sent": 1,
                "bytes_recv": 1,
                "duration": "1ms",
            },
            early_2024=True,
        ),
    )
    assert (row["initiator_ip"], row["responder_ip"]) == (None, None)
    assert (row["initiator_named_name"], row["initiator_named_kind"]) == ("shell-6d8bcd654d-t88gp", "pod")
    assert (row["responder_named_name"], row["responder_named_kind"]) == ("waypoint-9ccc6c96-hthtk", "pod")
    assert (row["initiator_port"], row["responder_port"]) == (59690, None)
    assert row["transport_seen"] == "mtls"


def test_loopback_proves_nothing_of_the_wire():
    """A hop inside a pod is in clear by design."""
    row = one(read, as_json(OUTBOUND | {"dst.addr": "127.0.0.1:8080", "dst.hbone_addr": "127.0.0.1:8080"}))
    assert (row["hop"], row["transport_seen"], row["mesh_mtls"]) == ("loopback", "unknown", "unknown")


def test_begin_is_the_end_less_the_duration():
    """The line is written when the connection ends."""
    row = one(read, as_json(OUTBOUND | {"duration": "1.5s"}))
    assert (row["last_seen"] - row["first_seen"]).total_seconds() == 1.5
    row = one(read, as_json(EARLY, "connection failed"))
    assert row["first_seen"] == row["last_seen"] == datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def test_service_outside_the_cluster_is_no_service():
    """Hosts of ServiceEntries are not namespace and name."""
    assert one(read, as_json(OUTBOUND | {"dst.service": "api.example.com"}))["responder_named_service"] is None


def test_reporter_the_user_names_is_kept():
    """The line does not say which node wrote it."""
    (row,), _ = read_bytes(read, as_text(OUTBOUND).encode(), Context("x", "0" * 16, "c", "istio-system/ztunnel-abc"))
    assert row["reporter_name"] == "istio-system/ztunnel-abc"


# Protection

NOTHING = {"bytes_sent": 0, "bytes_recv": 0}


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        (OUTBOUND, ("mtls", "mesh_identity", "yes")),
        (INBOUND, ("mtls", "mesh_identity", "yes")),
        (without(OUTBOUND, "src.identity"), ("mtls", "mesh_identity", "yes")),
        (OUTBOUND | {"error": "io error: Connection reset by peer"}, ("mtls", "mesh_identity", "yes")),
        (without(OUTBOUND, *NUMBERS), ("mtls", "mesh_identity", "yes")),
        (OUTBOUND | NOTHING, ("none", "no_payload", "yes")),
        # The client's side prints whom it means to reach before it has reached anyone.
        (OUTBOUND | NOTHING | {"error": "connection timed out"}, ("unknown", "format_silent", "unknown")),
        (OUTBOUND | NOTHING | {"error": "tls handshake error: bad certificate"}, ("unknown", "tls_failed", "unknown")),
        (without(OUTBOUND, *NUMBERS) | {"error": "x"}, ("unknown", "format_silent", "unknown")),
        # The server's side takes requests only out of a tunnel that stands.
        (
            INBOUND | NOTHING | {"error": "connection closed due to policy rejection"},
            ("unknown", "format_silent", "yes"),
        ),
        (PASSED_ON, ("unknown", "format_silent", "no")),
        (PASSED_ON | NOTHING, ("none", "no_payload", "no")),
        (DENIED, ("unknown", "format_silent", "no")),
        (PASSED_ON | {"direction": "outbound"}, ("unknown", "format_silent", "no")),
        # A tunnel whose identities are not printed is no proof of either.
        (without(OUTBOUND, "src.identity", "dst.identity"), ("unknown", "format_silent", "unknown")),
        (
            without(OUTBOUND, "src.identity", "dst.identity", "dst.hbone_addr"),
            ("unknown", "format_silent", "unknown"),
        ),
    ],
)
def test_identities_prove_mutual_tls_where_payload_passed(fields, wanted):
    """Never plaintext: what the mesh did not protect, the application may have."""
    assert seen(fields) == wanted


def test_early_failure_proves_nothing():
    """It was written before anything was known of the connection."""
    assert seen(EARLY, "connection failed") == ("unknown", "format_silent", "unknown")


# What became of it


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        (OUTBOUND, ("allowed", "established", None)),
        (DENIED, ("denied", "refused", '["istio-system/istio_converted_static_strict"]')),
        (
            DENIED | {"error": f"{STRICT.rpartition(' ')[0]} shop/converted_peer_authentication_orders"},
            ("denied", "refused", '["shop/converted_peer_authentication_orders"]'),
        ),
        (DENIED | {"error": f"{STRICT.rpartition(' ')[0]} shop/no-front"}, ("denied", None, '["shop/no-front"]')),
        (
            DENIED | {"error": "connection closed due to policy rejection: allow policies exist, but none allowed"},
            ("denied", None, None),
        ),
        (OUTBOUND | NOTHING | {"error": "http status: 401 Unauthorized"}, ("unknown", "refused", None)),
        (
            OUTBOUND | NOTHING | {"error": "connection failed: Connection refused (os error 111)"},
            ("unknown", "refused", None),
        ),
        (
            OUTBOUND
            | NOTHING
            | {
                "error": "connection timed out, maybe a NetworkPolicy is blocking HBONE port 15008: "
                "deadline has elapsed"
            },
            ("unknown", "attempted", None),
        ),
        (OUTBOUND | NOTHING | {"error": "io error: broken pipe"}, ("unknown", None, None)),
        (OUTBOUND | {"error": "connection closed due to policy change"}, ("unknown", "established", None)),
    ],
)
def test_what_became_of_a_connection(fields, wanted):
    """STRICT refuses, an authorization policy denies, and a failure that tells neither is neither."""
    assert fate(fields) == wanted


def test_early_failure_is_a_refusal_by_the_proxy():
    """Ztunnel took the connection and turned it away."""
    assert fate(EARLY, "connection failed") == ("unknown", "refused", None)


def test_payload_of_who_was_turned_away_is_not_known():
    """Ztunnel does not read what a client sent before it was denied."""
    row = one(read, as_json(DENIED))
    assert (row["bytes_sent"], row["payload_sent"], row["payload_received"]) == (0, None, None)


# Published lines


def test_published_lines_are_read_whole():
    """Every line of 2024 becomes a row; the ends of five of them, by hand."""
    rows, tally = read_bytes(read, sample("ztunnel-text-kiali.log"))
    assert (len(rows), tally.rejected, tally.skipped.total()) == (19, 0, 0)
    names = ("reporter", "initiator_ip", "responder_ip", "responder_port", "dialled_ip", "bytes_sent", "transport_seen")
    assert [tuple(rows[n - 1][name] for name in names) for n in (1, 2, 9, 13, 15)] == [
        ("initiator", "10.244.0.16", "10.244.0.14", None, None, 200, "mtls"),
        ("responder", "10.244.0.5", "10.244.0.16", 9080, None, 1551, "mtls"),
        ("initiator", "10.244.0.120", "10.244.0.117", 3306, None, 208, "mtls"),
        ("initiator", "10.244.0.101", "10.244.0.105", None, "10.105.231.35", 296, "mtls"),
        ("responder", "10.244.0.7", "10.244.0.101", 9080, None, 293, "unknown"),
    ]
    assert [row["mesh_mtls"] for row in rows].count("no") == 1


def test_published_lines_of_other_eras_are_read():
    """Spring 2024, and a failure of 2025 that the far side answered with 401."""
    rows, tally = read_bytes(read, sample("ztunnel-errors-and-eras.log"))
    assert tally.rejected == 0
    assert [(row["responder_port"], row["connection_state"], row["transport_seen"]) for row in rows] == [
        (None, "established", "mtls"),
        (8012, "refused", "unknown"),
    ]


def test_published_lines_in_a_container_log_are_read():
    """JSON without identities proves nothing; an error line without a text failed all the same."""
    rows, tally = read_bytes(read, sample("ztunnel-cri.log"))
    assert tally.rejected == 0
    assert [(row["connection_state"], row["transport_seen"], row["mesh_mtls"]) for row in rows] == [
        ("established", "unknown", "unknown"),
        (None, "unknown", "unknown"),
    ]


# Hostile bytes

LINES = [as_text(OUTBOUND), as_text(DENIED, early_2024=True), as_json(INBOUND), as_json(EARLY, "connection failed")]


@settings(max_examples=300)
@given(st.sampled_from(LINES), st.data())
def test_damaged_line_costs_its_neighbours_nothing(line, data):
    """Whatever a line turns into, the lines around it are read as they are."""
    raw = bytearray(line.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    good = as_text(PASSED_ON).encode()
    damaged = bytes(raw).replace(b"\n", b" ").replace(b"\r", b" ")
    rows, _ = read_bytes(read, b"\n".join([good, damaged, good]))
    assert [row["responder_port"] for row in rows if row["record"] in (1, 3)] == [8080, 8080]


@settings(max_examples=200)
@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=60))
def test_no_error_text_changes_another_column(text):
    """An error's text is a peer's; it says how a connection ended, and nothing of who or what protected it."""
    row = one(read, as_text(DENIED | {"error": "x" + text.replace("\r", "")}))
    plain = one(read, as_text(DENIED | {"error": "x"}))
    told = ("action", "connection_state", "policies", "transport_seen_basis")
    assert {k: v for k, v in row.items() if k not in told} == {k: v for k, v in plain.items() if k not in told}
