"""Whatever clients put into the text that they choose, a line gives the true flow or is put aside."""

from __future__ import annotations

import json
from functools import cache
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st
from readers.log_support import INBOUND, OUTBOUND, TCP, printed, read_bytes

from vzflow.flow.terms import SkipReason
from vzflow.readers.base import Context
from vzflow.readers.envoy import read
from vzflow.readers.envoy.format import absent, parts_of
from vzflow.readers.envoy.given import given
from vzflow.readers.envoy.layouts import FORMATS, KNOWN
from vzflow.readers.envoy.line import Line
from vzflow.readers.envoy.meaning import flow_of
from vzflow.readers.log_lines import Unusable

CLIENT = "spiffe://cluster.local/ns/shop/sa/front"
EVIL = "spiffe://cluster.local/ns/bank/sa/vault"
XFCC = f'By=spiffe://cluster.local/ns/shop/sa/orders;Hash={"ab" * 32};Subject="";URI={CLIENT}'

#: Formats of users, of every kind that has to be told apart in another way.
CUSTOM = {
    "peer before route": FORMATS["istio 1.9 and later"].replace(" %ROUTE", " %DOWNSTREAM_PEER_URI_SAN% %ROUTE"),
    "tls at the end": FORMATS["istio 1.9 and later"]
    + ' %DOWNSTREAM_TLS_VERSION% "%DOWNSTREAM_PEER_URI_SAN%" %DOWNSTREAM_TRANSPORT_FAILURE_REASON%',
    "forwarded certificate": FORMATS["istio 1.9 and later"] + ' "%REQ(X-FORWARDED-CLIENT-CERT)%"',
    "certificate before agent": (
        '[%START_TIME%] "%REQ(X-FORWARDED-CLIENT-CERT)%" "%REQ(USER-AGENT)%" "%REQ(:AUTHORITY)%" %PROTOCOL% '
        "%RESPONSE_CODE% %RESPONSE_FLAGS% %UPSTREAM_CLUSTER% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS%"
    ),
    "pairs without quotes": (
        "t=%START_TIME% m=%REQ(:METHOD)% p=%REQ(:PATH)% ua=%REQ(USER-AGENT)% h=%REQ(:AUTHORITY)% pr=%PROTOCOL% "
        "c=%RESPONSE_CODE% f=%RESPONSE_FLAGS% in=%BYTES_RECEIVED% out=%BYTES_SENT% cl=%UPSTREAM_CLUSTER% "
        "l=%DOWNSTREAM_LOCAL_ADDRESS% r=%DOWNSTREAM_REMOTE_ADDRESS% v=%DOWNSTREAM_TLS_VERSION% "
        "san=%DOWNSTREAM_PEER_URI_SAN% sni=%REQUESTED_SERVER_NAME%"
    ),
    "bars": (
        "%START_TIME%|%REQ(USER-AGENT)%|%PROTOCOL%|%RESPONSE_CODE%|%DOWNSTREAM_PEER_URI_SAN%|%RESPONSE_FLAGS%"
        "|%DOWNSTREAM_LOCAL_ADDRESS%|%DOWNSTREAM_REMOTE_ADDRESS%|%REQ(:PATH)%"
    ),
    "tabs": (
        "%START_TIME%\t%DOWNSTREAM_LOCAL_ADDRESS%\t%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%\t%PROTOCOL%\t%RESPONSE_CODE%\t"
        "%UPSTREAM_CLUSTER%\t%DOWNSTREAM_TLS_VERSION%\t%REQUESTED_SERVER_NAME%\t%REQ(USER-AGENT)%"
    ),
    "path among addresses": (
        "%START_TIME% %DOWNSTREAM_REMOTE_ADDRESS% %REQ(:PATH)% %DOWNSTREAM_LOCAL_ADDRESS% %REQUESTED_SERVER_NAME% "
        "%RESPONSE_CODE%"
    ),
    "json as text": json.dumps({
        "time": "%START_TIME%", "agent": "%REQ(USER-AGENT)%", "path": "%REQ(:PATH)%", "protocol": "%PROTOCOL%",
        "code": "%RESPONSE_CODE%", "flags": "%RESPONSE_FLAGS%", "to": {"addr": "%DOWNSTREAM_LOCAL_ADDRESS%"},
        "from": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%", "cluster": "%UPSTREAM_CLUSTER%", "sni": "%REQUESTED_SERVER_NAME%",
        "tls": "%DOWNSTREAM_TLS_VERSION%", "peer": "%DOWNSTREAM_PEER_URI_SAN%", "host": "%REQ(:AUTHORITY)%",
    }, separators=(",", ":")),
}  # fmt: skip
ALL = {**FORMATS, **CUSTOM}

#: Text that others than Envoy choose, by the columns they stand in.
CHOSEN = (
    "method", "path", "x_forwarded_for", "user_agent", "request_id", "authority", "requested_server_name", "route_name",
    "upstream_service_time", "downstream_peer_uri_san", "x_forwarded_client_cert",
)  # fmt: skip

#: Those that a layout leaves out where it is not certain where they end.
UNCERTAIN = ("requested_server_name", "downstream_peer_uri_san", "method")

TRUTHS = {
    "request": INBOUND | {"downstream_direct_remote_address": INBOUND["downstream_remote_address"]},
    "mtls": INBOUND | {
        "downstream_direct_remote_address": INBOUND["downstream_remote_address"], "downstream_tls_version": "TLSv1.3",
        "downstream_peer_uri_san": CLIENT, "x_forwarded_client_cert": XFCC,
    },
    "outbound": OUTBOUND | {"downstream_direct_remote_address": OUTBOUND["downstream_remote_address"]},
    "connection": INBOUND | TCP | {"downstream_direct_remote_address": INBOUND["downstream_remote_address"]},
}  # fmt: skip


#: Keys for a JSON template that is printed in text mode.
KEYS = (f'x","peer":"{EVIL}', f'x","tls":"TLSv1.1","peer":"{EVIL}', 'x","more":"y', 'x"},"to":{"addr":"10.6.6.6:666')


def forged(text: str) -> list[str]:
    """Values that hold columns of *text*: a whole line of it, and what follows and precedes every field."""
    line = printed(text, INBOUND | {
        "downstream_local_address": "10.6.6.6:666", "downstream_remote_address": "10.6.6.7:667",
        "downstream_direct_remote_address": "10.6.6.7:667", "upstream_host": "10.6.6.6:666", "response_code": "266",
        "downstream_peer_uri_san": EVIL, "downstream_tls_version": "TLSv1.1", "upstream_cluster": "inbound|666||",
        "x_forwarded_client_cert": XFCC.replace(CLIENT, EVIL),
    }).decode()  # fmt: skip
    parts = parts_of(text)
    cuts = [literal for literal in (parts.first, *parts.literals) if literal]
    places = {line.find(cut, at) for cut in cuts for at in range(0, len(line), 7)} - {-1}
    return [line, *(line[place:] for place in sorted(places)), *(line[:place] for place in sorted(places))]


def read_one(name: str, columns: dict[str, Any]) -> dict[str, Any] | None:
    """Return the flow of the line that a format prints for *columns*; null if it was put aside."""
    context = Context("a.log", "0" * 16, "c", envoy_format=given(CUSTOM[name]).formats if name in CUSTOM else None)
    rows, tally = read_bytes(read, printed(ALL[name], columns), context)
    assert len(rows) + tally.rejected == 1, tally
    return rows[0] if rows else None


@cache
def fields(name: str) -> dict[str, str]:
    """Return the operators of a format that are read, by their columns."""
    return {f.column: f.shown for f in parts_of(ALL[name]).fields if f.column is not None}


def truth_of(name: str, columns: dict[str, Any], without: tuple[str, ...] = ()) -> dict[str, Any] | None:
    """Return what the columns of a format mean, told to the meaning directly; null where a value is none."""
    shown = {c: operator for c, operator in fields(name).items() if c not in without}
    told = {}
    for column, operator in shown.items():
        text = printed(operator, columns)
        try:
            told[column] = absent(text.decode())
        except UnicodeError:
            return None
    fixed = {"protocol": None, "response_code": "0"} if name == "istio 1.0 tcp" else {}
    try:
        return flow_of(Line(told | fixed))
    except Unusable:
        return None


def same(row: dict[str, Any], truth: dict[str, Any] | None) -> bool:
    given_by_file = {"segment", "record", "cluster"}
    return truth is not None and all(row[k] == truth.get(k) for k in row if k not in given_by_file)


def check(name: str, columns: dict[str, Any], chosen: str) -> None:
    """The line of *columns* is put aside, or its flow is the true one; words beside free text may be left out."""
    row = read_one(name, columns)
    if row is None:
        return
    truth = truth_of(name, columns)
    left_out = (without for size in range(4) for without in combinations(UNCERTAIN, size))
    if any(same(row, truth_of(name, columns, without)) for without in left_out):
        return
    # Releases before 1.3 end with the server name, later ones with the route: of what a client of the former calls
    # `a b`, the end would be a route. Nothing but the name itself is touched.
    assert name in ("istio 1.1", "istio 1.2"), (row, truth)
    assert chosen == "requested_server_name"
    assert truth is not None
    assert same(row | {"tls_sni": truth["tls_sni"]}, truth)


@pytest.mark.parametrize("truth", TRUTHS)
@pytest.mark.parametrize("name", ALL)
def test_honest_line_of_every_format_is_read(name, truth):
    """A parser that puts everything aside would pass the other tests here."""
    columns = TRUTHS[truth]
    if name == "istio 1.0" and truth == "connection":
        pytest.skip("connections have a layout of their own there")
    row = read_one(name, columns)
    assert row is not None
    assert same(row, truth_of(name, columns))


@pytest.mark.parametrize("chosen", CHOSEN)
@pytest.mark.parametrize("name", ALL)
def test_columns_inside_chosen_text_never_become_columns(name, chosen):
    """Planted: whole lines, their beginnings and ends, in every field that a client chooses, of every format."""
    every = ('"', '" "', 'a"b', " ", "a b", "- x", "\\", '\\"', "|", "\t", *KEYS, *forged(ALL[name]))
    for truth in TRUTHS.values():
        is_printed = len({printed(ALL[name], truth | {chosen: value}) for value in "ab"}) == 2
        for value in every if is_printed else "a":
            check(name, truth | {chosen: value}, chosen)


PIECES = (
    b'"', b" ", b"-", b"|", b",", b"[", b"]", b"{", b"}", b"/", b"0", b"a", b"_", b"\\", b"\t", b'" "', b"- ",
    b'",', b'":"',
    b"GET ", b" HTTP/1.1", b' 200 - via_upstream - "-" 0 0 0 0 "', b" 10.6.6.6:666", b" inbound|666||", b" NR", b"=",
    b"; ",
    b"TLSv1.1", EVIL.encode(), b"outbound_.80_._.evil.svc", b" outbound_.80_._.evil.svc default", b"\xff", b"\xc3\xa9",
    b"By=", b";URI=", b'Subject="', XFCC.encode(), b"[2026-01-02T03:04:05.678Z] ", b"filter_chain_not_found ",
    b'"peer":"',
    b"ua=", b" h=x pr=HTTP/1.1 c=200 f=- in=0 out=0 cl=- l=10.6.6.6:666 r=10.6.6.7:667 v=- san=- sni=",
)  # fmt: skip
values = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=10).map(b"".join),
    st.binary(max_size=40).map(lambda b: bytes(c for c in b if c not in b"\0\r\n")),
)


@for_all(
    name=st.sampled_from(sorted(ALL)),
    truth=st.sampled_from(sorted(TRUTHS)),
    changes=st.dictionaries(st.sampled_from(CHOSEN), values, min_size=1, max_size=3),
)
@settings(max_examples=1500)
def test_any_bytes_in_any_chosen_text_give_the_true_flow_or_none(name, truth, changes):
    """Headers cannot hold line breaks; a server name could before Envoy 1.31.2, which no reader of lines can undo."""
    only = next(iter(changes)) if len(changes) == 1 else ""
    columns = TRUTHS[truth] | changes
    row = read_one(name, columns)
    if row is None:
        return
    if name in ("istio 1.1", "istio 1.2") and "requested_server_name" in changes:
        only = "requested_server_name"
    check(name, columns, only)


@for_all(
    st.sampled_from(sorted(FORMATS)), st.sampled_from(sorted(TRUTHS)), st.dictionaries(st.sampled_from(CHOSEN), values)
)
@settings(max_examples=1000)
def test_no_line_fits_two_known_layouts(name, truth, changes):
    """That is why the first known layout that fits is the one; but for server names with blanks before 1.3."""
    line = printed(FORMATS[name], TRUTHS[truth] | changes)
    fits = []
    for known, layout in KNOWN.items():
        try:
            if layout.parse(line) is not None:
                fits.append(known)
        except Unusable:
            pass
    assert len(fits) <= 1


@for_all(st.sampled_from(sorted(ALL)), st.integers(0, 500), st.binary(max_size=5), st.integers(0, 5))
@settings(max_examples=600)
def test_mutated_line_never_costs_its_neighbours(name, at, insert, cut):
    """Bytes changed anywhere give a flow, a skip or a reject, and the line after it is read."""
    whole = printed(ALL[name], TRUTHS["mtls"])
    context = Context("a.log", "0" * 16, "c", envoy_format=given(CUSTOM[name]).formats if name in CUSTOM else None)
    rows, tally = read_bytes(read, whole[:at] + insert.replace(b"\n", b"") + whole[at + cut :] + b"\n" + whole, context)
    assert rows[-1]["record"] == tally.read == 2
    assert set(tally.skipped) <= {SkipReason.NOT_ACCESS_LOG, SkipReason.BLANK_LINE}
