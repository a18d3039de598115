"""Format strings and JSON templates are compiled by Envoy's grammar, and lines read by operator."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from readers.log_support import INBOUND, OUTBOUND, TCP, as_json, one, printed, read_bytes, rejected

from vzflow.readers.base import Context
from vzflow.readers.envoy import read, recognises, recognises_format
from vzflow.readers.envoy.format import FormatProblem, TextLayout
from vzflow.readers.envoy.given import given
from vzflow.readers.envoy.layouts import FORMATS, KNOWN
from vzflow.readers.envoy.template import JsonLayout

CLIENT = "spiffe://cluster.local/ns/shop/sa/front"
#: An operator that every format here needs, so that it tells of somebody.
END = " %DOWNSTREAM_LOCAL_ADDRESS%"


def with_format(text):
    return Context("a.log", "0" * 16, "c1", envoy_format=given(text).formats)


def read_as(text, line):
    """Return the row of one line of a format."""
    rows, tally = read_bytes(read, line if isinstance(line, bytes) else line.encode(), with_format(text))
    assert not tally.rejects, tally.rejects
    assert len(rows) == 1, tally
    return rows[0]


def put_aside(text, line):
    rows, tally = read_bytes(read, line if isinstance(line, bytes) else line.encode(), with_format(text))
    assert rows == []
    return tally.rejects[0].reason.value


def ends(row):
    return row["initiator_ip"], row["initiator_port"], row["responder_ip"], row["responder_port"]


# Known layouts


@pytest.mark.parametrize("columns", [INBOUND, OUTBOUND, INBOUND | TCP | {"requested_server_name": "-"}])
@pytest.mark.parametrize("name", [n for n in FORMATS if n not in ("envoy", "istio 1.0 tcp")])
def test_every_release_tells_the_same_of_one_line(name, columns):
    """Releases add columns; ends, bytes, times and flags were in every one."""
    if name == "istio 1.0" and columns["protocol"] == "-":
        pytest.skip("connections have a layout of their own there")
    row, newest = (
        one(read, printed(FORMATS[name], columns)),
        one(read, printed(FORMATS["istio 1.9 and later"], columns)),
    )
    same = ("reporter", "first_seen", "last_seen", "dialled_ip", "dialled_port", "bytes_sent", "bytes_received",
            "connection_state", "response_code", "response_flags", "app_protocol", "connections")  # fmt: skip
    assert ends(row) == ends(newest)
    assert {k: row[k] for k in same} == {k: newest[k] for k in same}
    assert recognises(printed(FORMATS[name], columns))


def test_short_form_of_1_0_is_a_raw_connection():
    """Istio 1.0 has a TCP layout that names no protocol and no code."""
    row = one(read, printed(FORMATS["istio 1.0 tcp"], OUTBOUND | TCP))
    assert ends(row) == ("192.0.2.10", 40555, "192.0.2.20", 8080)
    assert (row["connections"], row["payload_sent"], row["payload_received"]) == (1, 120, 4500)
    assert row["app_protocol"] is row["response_code"] is None


def test_1_0_prints_no_blank_before_the_protocol():
    """So the path ends where the protocol begins."""
    line = printed(FORMATS["istio 1.0"], INBOUND)
    assert b'"GET /orders?x=1HTTP/1.1"' in line
    assert one(read, line)["app_protocol"] == "http/1.1"


def test_envoys_own_default_tells_of_the_upstream_only():
    """It has no other address: who asked is not known, and neither is the proxy's place."""
    row = one(read, printed(FORMATS["envoy"], OUTBOUND))
    assert ends(row) == (None, None, "192.0.2.20", 8080)
    assert (row["reporter"], row["hop"], row["transport_seen_basis"]) == (None, "wire", "format_silent")
    inside = one(read, printed(FORMATS["envoy"], INBOUND | {"upstream_host": "127.0.0.1:8080"}))
    assert (inside["hop"], inside["transport_seen_basis"]) == ("loopback", "not_on_wire")


def test_layouts_mixed_in_one_file_are_told_apart_line_by_line():
    """A log that an upgrade runs through, or JSON that follows text."""
    lines = [printed(text, OUTBOUND) for name, text in FORMATS.items() if name != "istio 1.0 tcp"]
    lines += [as_json(OUTBOUND).encode(), printed(FORMATS["istio 1.0 tcp"], OUTBOUND | TCP)]
    rows, tally = read_bytes(read, b"\n".join(lines))
    assert len(rows) == len(lines) == tally.read


def test_known_layouts_are_compiled_without_a_warning():
    """But 1.0, whose path ends at the protocol: it is read by looking at all ways."""
    assert {name for name, layout in KNOWN.items() if layout.notes} == {"istio 1.0"}


# Grammar


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("%START_TIME% %", "character 14", "no operator begins here"),
        ("%START_TIME% %req(x)%", "character 14", "no operator begins here"),
        ("%REQ(:METHOD% x", "character 1", "no `\\)`"),
        ("a %REQ%", "character 3", "lacks its argument"),
        ("a %REQ()%", "character 3", "lacks its argument"),
        ("a %REQ(A?B?C)%", "character 3", "more than one alternative"),
        ("%REQ(A):x%", "character 1", "no operator begins here"),
        ("%START_TIME%\n%PROTOCOL%\n", "character 13", "line break"),
        ("plain text", "character 1", "no operator"),
        ("", "character 1", "no operator"),
        ("100%% sure", "character 1", "no operator"),
    ],
)
def test_mistake_in_a_format_is_told_with_its_place(text, place, what):
    """Characters are counted from 1."""
    with pytest.raises(FormatProblem, match=what) as caught:
        TextLayout(text)
    assert caught.value.at == place
    assert caught.value.do.endswith(".")


def test_two_percent_signs_are_one():
    """Envoy's escape for a percent sign."""
    assert ends(read_as("100%% %DOWNSTREAM_LOCAL_ADDRESS% %PROTOCOL%", "100% 192.0.2.20:8080 HTTP/2"))[2:] == (
        "192.0.2.20",
        8080,
    )


def test_operator_that_is_not_known_is_text_that_is_not_read():
    """Newer Envoys and extensions have operators of their own."""
    row = read_as('%NEW_THING(a:b)% "%DOWNSTREAM_LOCAL_ADDRESS%" %PROTOCOL%', '{x} "192.0.2.20:8080" HTTP/2')
    assert row["responder_port"] == 8080


def test_length_cuts_a_value_so_that_it_is_not_read():
    """A name that was cut is another name."""
    text = 'from %DOWNSTREAM_REMOTE_ADDRESS% peer "%DOWNSTREAM_PEER_URI_SAN:12%" ua "%REQ(USER-AGENT):3%" %PROTOCOL%'
    assert "cuts its value" in given(text).notes[0]
    row = read_as(text, 'from 192.0.2.10:40555 peer "spiffe://clu" ua "cur" HTTP/2')
    assert row["initiator_principal"] is None


def test_alternative_header_is_read_as_envoy_prints_it():
    """`X?Y` prints one of both."""
    assert read_as('"%REQ(X-A?:PATH)%"' + END, '"/a b" 192.0.2.20:8080')["responder_port"] == 8080


@pytest.mark.parametrize(
    ("argument", "printed_time", "moment"),
    [
        ("", "2026-01-02T03:04:05.678Z", (3, 4, 5, 678000)),
        ("%Y/%m/%dT%H:%M:%S%z", "2026/01/02T05:04:05+0200", (3, 4, 5, 0)),
        ("%Y-%m-%d %H:%M:%S.%3f", "2026-01-02 03:04:05.678", (3, 4, 5, 678000)),
        ("%s.%6f", "1767323045.678901", (3, 4, 5, 678901)),
        ("%s", "1767323045", (3, 4, 5, 0)),
        ("%s%3f", "1767323045678", (3, 4, 5, 678000)),
        ("%d/%b/%Y:%H:%M:%S %z", "02/Jan/2026:03:04:05 +0000", (3, 4, 5, 0)),
        ("%FT%TZ", "2026-01-02T03:04:05Z", (3, 4, 5, 0)),
        ("%b %e %Y %I:%M:%S %p", "Jan  2 2026 03:04:05 PM", (15, 4, 5, 0)),
        ("%Y-%m-%dT%H:%M:%E3S%Ez", "2026-01-02T03:04:05.678+00:00", (3, 4, 5, 678000)),
    ],
)
def test_time_is_read_by_its_strftime_argument(argument, printed_time, moment):
    """The argument holds percent signs, and fractions of Envoy's own."""
    text = f"[%START_TIME({argument})%]" if argument else "[%START_TIME%]"
    row = read_as(text + END, f"[{printed_time}] 192.0.2.20:8080")
    assert row["first_seen"] == datetime(2026, 1, 2, *moment, tzinfo=UTC)


@pytest.mark.parametrize("operator", ["%START_TIME(%H:%M)%", "%START_TIME_LOCAL(%Y-%m-%d %H:%M)%", "%START_TIME(%Q)%"])
def test_time_that_tells_no_moment_is_not_read_and_said_so(operator):
    """A time zone or a day that nobody printed must not be guessed."""
    assert "so it is not read" in given(f'"{operator}"' + END).notes[0]
    row = read_as(f'"{operator}"' + END, '"03:04" 192.0.2.20:8080')
    assert row["first_seen"] is row["last_seen"] is None


def test_time_of_no_day_is_a_reject():
    """What fits the pattern need not be a time."""
    assert put_aside("%START_TIME(%Y-%m-%d %H:%M)%" + END, "2026-02-30 03:04 192.0.2.20:8080") == "field_invalid"


def test_end_is_read_where_the_begin_is_not_logged():
    """EMIT_TIME is when the line was written; DURATION leads back to the begin."""
    row = read_as("%EMIT_TIME% %DURATION%" + END, "2026-01-02T03:04:05.678Z 678 192.0.2.20:8080")
    assert (row["first_seen"].microsecond, row["last_seen"].microsecond) == (0, 678000)


# Addresses


def test_address_and_port_apart_are_one_address():
    """Operators print them apart, too."""
    text = (
        "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_DIRECT_REMOTE_PORT% "
        "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_LOCAL_PORT% %PROTOCOL% %UPSTREAM_CLUSTER%"
    )
    row = read_as(text, "192.0.2.10 40555 2001:DB8::20 8080 HTTP/1.1 inbound|8080||")
    assert ends(row) == ("192.0.2.10", 40555, "2001:db8::20", 8080)


def test_address_without_its_port_may_be_of_a_header():
    """Without the port nobody can tell that it was not taken from X-Forwarded-For; a raw connection has no headers."""
    text = "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%" + END + " %PROTOCOL% %UPSTREAM_CLUSTER%"
    assert ends(read_as(text, "192.0.2.10 192.0.2.20:8080 HTTP/1.1 inbound|8080||"))[0] is None
    assert ends(read_as(text, "192.0.2.10 192.0.2.20:8080 - inbound|8080||"))[:2] == ("192.0.2.10", None)


def test_masked_address_is_a_network_and_not_read():
    """`%..._WITHOUT_PORT(24)%` prints a network."""
    text = "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT(24)%" + END + " %PROTOCOL% %UPSTREAM_CLUSTER%"
    assert ends(read_as(text, "192.0.2.0/24 192.0.2.20:8080 HTTP/1.1 inbound|8080||"))[0] is None


def test_remote_address_of_the_upstream_stands_in_for_its_host():
    """UPSTREAM_REMOTE_ADDRESS is where the connection really went."""
    text = "%UPSTREAM_LOCAL_ADDRESS% %UPSTREAM_REMOTE_ADDRESS% %PROTOCOL% %UPSTREAM_CLUSTER%"
    row = read_as(text, "192.0.2.10:40555 192.0.2.20:8080 HTTP/1.1 outbound|80||orders")
    assert ends(row) == ("192.0.2.10", 40555, "192.0.2.20", 8080)


# What a format leaves open


def test_format_without_a_protocol_does_not_call_a_request_a_connection():
    """A code shows a request; without one nothing is counted as a connection's payload."""
    text = "%RESPONSE_CODE% %BYTES_RECEIVED% %BYTES_SENT%" + END + " %DOWNSTREAM_REMOTE_ADDRESS% %UPSTREAM_CLUSTER%"
    request = read_as(text, "200 1 2 192.0.2.20:8080 192.0.2.10:40555 inbound|8080||")
    assert (request["app_protocol"], request["connections"], request["payload_sent"]) == ("http", None, None)
    either = read_as(text, "0 1 2 192.0.2.20:8080 192.0.2.10:40555 inbound|8080||")
    assert (either["app_protocol"], either["connections"], either["payload_sent"]) == (None, None, None)


def test_format_without_bytes_leaves_them_null():
    """Null is not zero."""
    row = read_as("%PROTOCOL%" + END, "HTTP/2 192.0.2.20:8080")
    assert row["bytes_sent"] is row["bytes_received"] is None


def test_long_flags_are_told_by_their_short_names():
    """One spelling in one column."""
    row = read_as("%RESPONSE_FLAGS_LONG%" + END, "UpstreamConnectionFailure,UpstreamRetryLimitExceeded 192.0.2.20:8080")
    assert row["response_flags"] == "UF,URX"


def test_server_name_that_may_be_a_host_header_is_no_evidence():
    """With these arguments REQUESTED_SERVER_NAME falls back to the Host header."""
    line = printed(FORMATS["istio 1.9 and later"], INBOUND)
    for argument, sni in (
        ("HOST_FIRST", None),
        ("SNI_FIRST:ORIG_OR_HOST", None),
        ("SNI_ONLY", INBOUND["requested_server_name"]),
    ):
        text = FORMATS["istio 1.9 and later"].replace("%REQUESTED_SERVER_NAME%", f"%REQUESTED_SERVER_NAME({argument})%")
        assert read_as(text, line)["tls_sni"] == sni


# Lines that go on


@pytest.mark.parametrize("kind", ["TcpConnectionStart", "TcpUpstreamConnected", "TcpPeriodic", "DownstreamStart",
                                  "DownstreamPeriodic", "UpstreamPoolReady", "UpstreamPeriodic"])  # fmt: skip
def test_line_of_what_goes_on_is_skipped_by_name(kind):
    """The connection's last line tells the whole; counting both would double it."""
    text = "%ACCESS_LOG_TYPE%" + END
    line = f"{kind} 192.0.2.20:8080\nTcpConnectionEnd 192.0.2.20:8080\nDownstreamEnd 192.0.2.20:8080\n"
    rows, tally = read_bytes(read, line.encode(), with_format(text))
    assert [row["record"] for row in rows] == [2, 3]
    assert tally.skipped == {"not_final": 1}


# Ambiguity


@pytest.mark.parametrize(
    "text",
    [
        "%REQ(USER-AGENT)% %REQ(:PATH)%" + END,
        "%REQ(:PATH)% %REQUESTED_SERVER_NAME%" + END + " %REQ(USER-AGENT)%",
    ],
)
def test_chosen_texts_with_only_a_blank_between_are_warned_of(text):
    """At once, and with what to do; lines where it matters are put aside."""
    assert any("only a blank" in note and "quotes" in note for note in given(text).notes)


def test_chosen_texts_with_only_a_blank_between_are_read_where_they_hold_none():
    """One way to print the line is enough."""
    text = "%REQ(USER-AGENT)% %REQ(:PATH)%" + END + " %PROTOCOL%"
    assert read_as(text, "curl /a 192.0.2.20:8080 HTTP/2")["responder_port"] == 8080
    assert put_aside(text, "curl 8 /a 192.0.2.20:8080 HTTP/2") == "columns_ambiguous"


def test_certificate_header_with_its_quotes_is_read():
    """`Subject=""` stands between the format's own quotes."""
    text = (
        '"%REQ(X-FORWARDED-CLIENT-CERT)%" "%REQ(USER-AGENT)%"' + END + " %PROTOCOL% %RESPONSE_CODE% %UPSTREAM_CLUSTER%"
    )
    rest = '"curl" 192.0.2.20:8080 HTTP/1.1 200 inbound|8080||'
    row = read_as(text, f'"By=spiffe://x/y;Hash=ab;Subject="";URI={CLIENT}" {rest}')
    assert (row["transport_seen"], row["transport_seen_basis"]) == ("tls", "forwarded_client_cert")
    assert row["initiator_principal"] == CLIENT


def test_line_that_fits_two_given_formats_is_put_aside(tmp_path):
    """Which of them printed it is not known, and they tell other things."""
    file = tmp_path / "mesh.yaml"
    formats = ["%UPSTREAM_HOST% %DOWNSTREAM_LOCAL_ADDRESS%", "%DOWNSTREAM_LOCAL_ADDRESS% %UPSTREAM_HOST%"]
    file.write_text(
        json.dumps({"extensionProviders": [{"envoyFileAccessLog": {"logFormat": {"text": t}}} for t in formats]})
    )
    assert put_aside(f"@{file}", "192.0.2.20:1 192.0.2.21:2") == "columns_ambiguous"


def test_line_longer_than_its_ways_can_be_counted_is_put_aside():
    """Time is bounded, whatever a line holds."""
    text = "%REQ(USER-AGENT)% %REQ(:PATH)%" + END
    assert put_aside(text, "a " * 40_000 + "192.0.2.20:8080") == "columns_ambiguous"
    assert put_aside(text, "a " * 10_000 + "192.0.2.20:8080") == "columns_ambiguous"


def test_lines_of_another_layout_are_put_aside_where_a_format_was_given():
    """They say something, only not what the format says; output of other programs is skipped."""
    text = FORMATS["istio 1.9 and later"] + " %DOWNSTREAM_TLS_VERSION%"
    assert put_aside(text, printed(FORMATS["istio 1.3 to 1.7"], INBOUND)) == "columns_ambiguous"
    rows, tally = read_bytes(read, b"2026-01-02T03:04:05Z\tinfo\tready\n  tracing:\n", with_format(text))
    assert (rows, tally.skipped) == ([], {"not_access_log": 2})


def test_given_format_is_recognised_in_a_file():
    """No other format is tried for such a file, and it begins with other output."""
    text = "ua=%REQ(USER-AGENT)% to=%DOWNSTREAM_LOCAL_ADDRESS%"
    head = b"2026-01-02T03:04:05Z\tinfo\tready\nua=curl to=192.0.2.20:8080\n"
    assert recognises_format(head, given(text).formats)
    assert not recognises(head)
    assert not recognises_format(b"hello\nworld\n", given(text).formats)


# JSON templates

TEMPLATE = {
    "when": "%START_TIME%", "verb": "%REQ(:METHOD)%", "proto": "%PROTOCOL%", "code": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%", "why": "%RESPONSE_CODE_DETAILS%",
    "net": {"to": "%DOWNSTREAM_LOCAL_ADDRESS%", "from": {"peer": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%"}},
    "bytes": ["%BYTES_RECEIVED%", "%BYTES_SENT%"], "cluster": "%UPSTREAM_CLUSTER%", "tls": "%DOWNSTREAM_TLS_VERSION%",
    "san": "%DOWNSTREAM_PEER_URI_SAN%", "up": "%UPSTREAM_HOST%", "upl": "%UPSTREAM_LOCAL_ADDRESS%", "team": "a",
    "mtls": "%CEL(connection.mtls)%",
}  # fmt: skip
RECORD = {
    "when": "2026-01-02T03:04:05.678Z", "verb": "GET", "proto": "HTTP/1.1", "code": 200, "flags": "-",
    "why": "via_upstream", "net": {"to": "192.0.2.20:8080", "from": {"peer": "192.0.2.10:40555"}}, "bytes": [120, 4500],
    "cluster": "inbound|8080||", "tls": "TLSv1.3", "san": CLIENT, "up": "192.0.2.20:8080", "upl": "127.0.0.6:41000",
    "team": "a", "mtls": True,
}  # fmt: skip


def test_template_is_read_by_operator_and_not_by_key():
    """Users name keys as they like and nest them; values keep their types."""
    row = read_as(json.dumps(TEMPLATE), json.dumps(RECORD))
    assert ends(row) == ("192.0.2.10", 40555, "192.0.2.20", 8080)
    assert (row["bytes_sent"], row["bytes_received"], row["response_code"]) == (120, 4500, 200)
    assert (row["transport_seen"], row["initiator_principal"]) == ("mtls", CLIENT)
    strings = {k: str(v) if isinstance(v, int) and not isinstance(v, bool) else v for k, v in RECORD.items()}
    assert read_as(json.dumps(TEMPLATE), json.dumps(strings)) == row


def test_key_with_another_meaning_is_not_read_by_its_name():
    """A user's `upstream_host` may hold a header."""
    template = {"upstream_host": "%REQ(USER-AGENT)%", "a": "%DOWNSTREAM_LOCAL_ADDRESS%", "p": "%PROTOCOL%"}
    row = read_as(json.dumps(template), '{"upstream_host":"10.6.6.6:666","a":"192.0.2.20:8080","p":null}')
    assert row["responder_ip"] == "192.0.2.20"


@pytest.mark.parametrize(
    "change",
    [
        {"more": 1},
        {"net": {"to": "192.0.2.20:8080", "from": {"peer": "192.0.2.10:1", "x": 1}}},
        {"net": "192.0.2.20:1"},
    ],
)
def test_key_that_the_template_does_not_have_puts_the_object_aside(change):
    """In text mode a header can add keys."""
    assert put_aside(json.dumps(TEMPLATE), json.dumps(RECORD | change)) == "columns_ambiguous"


def test_key_that_stands_twice_puts_the_object_aside():
    """Which of both is true is not known; of keys known by name neither."""
    twice = json.dumps(RECORD)[:-1] + ', "san": "spiffe://cluster.local/ns/bank/sa/vault"}'
    assert put_aside(json.dumps(TEMPLATE), twice) == "columns_ambiguous"
    known = as_json(INBOUND)[:-1] + ', "upstream_cluster": "inbound|1||"}'
    assert rejected(read, known) == "columns_ambiguous"


def test_keys_that_are_left_out_are_null():
    """Envoy can be told to omit what is empty."""
    row = read_as(json.dumps(TEMPLATE), json.dumps({k: v for k, v in RECORD.items() if k not in ("san", "mtls")}))
    assert (row["transport_seen"], row["transport_seen_basis"]) == ("tls", "peer_empty")


def test_value_of_several_operators_is_a_text_of_its_own():
    """`"%START_TIME% %PROTOCOL%"` is one string."""
    template = {
        "line": "%START_TIME% %PROTOCOL%",
        "from": "src=%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%",
        "c": "%UPSTREAM_CLUSTER%",
    }
    record = {"line": "2026-01-02T03:04:05.678Z HTTP/2", "from": "src=192.0.2.10:40555", "c": "inbound|8080||"}
    row = read_as(json.dumps(template), json.dumps(record))
    assert (row["app_protocol"], row["initiator_port"]) == ("http/2", 40555)
    assert put_aside(json.dumps(template), json.dumps(record | {"from": "192.0.2.10:40555"})) == "columns_ambiguous"


def test_mistake_in_a_template_is_told_with_its_key():
    """The place is a key and a character."""
    with pytest.raises(FormatProblem, match="more than one alternative") as caught:
        JsonLayout({"a": {"b": "x %REQ(A?B?C)%"}})
    assert caught.value.at == "key a.b, character 3"
    with pytest.raises(FormatProblem, match="no operator"):
        JsonLayout({"a": "b"})


def test_names_of_1_1_0_with_their_wrong_method_are_read():
    """Istio 1.1.0 filled `method` with the start time."""
    wrong = INBOUND | {"method": INBOUND["start_time"], "istio_policy_status": "-"}
    assert one(read, json.dumps(wrong)) == one(read, json.dumps(INBOUND))
