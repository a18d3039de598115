"""What the tests of the log readers share: reading lines, sample files, and lines in Istio's shapes."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from vzflow.readers import bulk, line_core, log_lines
from vzflow.readers.base import Context, Reader, Tally

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "samples" / "logs"

CONTEXT = Context(path="some.log", segment="00000000000000ab", cluster="c1")


def read_bytes(read: Reader, data: bytes, context: Context = CONTEXT) -> tuple[list[dict[str, Any]], Tally]:
    """Return every row and the tally of one input; the tally always balances."""
    tally = Tally()
    rows = [row for batch in read(io.BytesIO(data), context, tally) for row in batch.to_pylist()]
    assert tally.balanced
    assert tally.in_flows == len(rows)
    return rows, tally


#: For tests of the road on which many lines are read at once.
needs_core = pytest.mark.skipif(not line_core.COMPILED, reason="the fast road is machine code")


def told_by_road(
    read: Reader,
    data: bytes,
    context: Context = CONTEXT,
    *,
    at_once: bool = True,
    block: int = bulk.BLOCK,
    rows: int = bulk.ROWS,
) -> tuple[list[dict[str, Any]], list[Any], int, Any]:
    """Return rows by record, rejects, lines read and skipped, by one of the roads."""
    tally = Tally()
    with patch.multiple(bulk, BLOCK=block, ROWS=rows), patch.multiple(log_lines, COMPILED=at_once, MANY=0):
        batches = list(read(io.BytesIO(data), context, tally))
    found = [row for batch in batches for row in batch.to_pylist()]
    assert tally.balanced
    assert tally.in_flows == len(found)
    rejects = sorted(((r.record or 0, r.reason, r.detail, r.raw, r.records) for r in tally.told()), key=str)
    return sorted(found, key=lambda row: row["record"]), rejects, tally.read, tally.skipped


def one(read: Reader, line: str | bytes) -> dict[str, Any]:
    """Return the row of the only line there is."""
    rows, tally = read_bytes(read, line.encode() if isinstance(line, str) else line)
    assert not tally.rejects, tally.rejects
    assert len(rows) == 1
    return rows[0]


def rejected(read: Reader, line: str | bytes) -> str:
    """Return the reason for which the only line there is was rejected."""
    rows, tally = read_bytes(read, line.encode() if isinstance(line, str) else line)
    assert rows == []
    assert not tally.skipped, tally.skipped
    return tally.rejects[0].reason.value


def sample(name: str) -> bytes:
    """Return a shared sample file; the test is skipped where the samples are not beside the checkout."""
    if not SAMPLES.parent.parent.is_dir():
        pytest.skip("the shared samples are not beside this checkout")
    return (SAMPLES / name).read_bytes()


#: A request that a sidecar took from a mesh client, as Istio's default format tells it.
INBOUND = {
    "start_time": "2026-01-02T03:04:05.678Z",
    "method": "GET",
    "path": "/orders?x=1",
    "protocol": "HTTP/1.1",
    "response_code": "200",
    "response_flags": "-",
    "response_code_details": "via_upstream",
    "connection_termination_details": "-",
    "upstream_transport_failure_reason": "-",
    "bytes_received": "120",
    "bytes_sent": "4500",
    "duration": "17",
    "upstream_service_time": "16",
    "x_forwarded_for": "-",
    "user_agent": "curl/8.5.0",
    "request_id": "6d0c4b1e-93a2-9b0b-8ce3-b1d3cbb41c4d",
    "authority": "orders.shop:8080",
    "upstream_host": "192.0.2.20:8080",
    "upstream_cluster": "inbound|8080||",
    "upstream_local_address": "127.0.0.6:41000",
    "downstream_local_address": "192.0.2.20:8080",
    "downstream_remote_address": "192.0.2.10:40555",
    "requested_server_name": "outbound_.80_._.orders.shop.svc.cluster.local",
    "route_name": "default",
}

#: The same request as the client's sidecar tells it.
OUTBOUND = INBOUND | {
    "upstream_cluster": "outbound|80||orders.shop.svc.cluster.local",
    "upstream_local_address": "192.0.2.10:40555",
    "downstream_local_address": "198.51.100.7:80",
    "downstream_remote_address": "192.0.2.10:40001",
    "requested_server_name": "-",
}

#: What turns either into the line of a raw TCP connection.
TCP = {
    "method": "-",
    "path": "-",
    "protocol": "-",
    "response_code": "0",
    "response_code_details": "-",
    "upstream_service_time": "-",
    "user_agent": "-",
    "request_id": "-",
    "authority": "-",
    "route_name": "-",
}

_TEXT = (
    '[{start_time}] "{method} {path} {protocol}" {response_code} {response_flags} {response_code_details} '
    '{connection_termination_details} "{upstream_transport_failure_reason}" {bytes_received} {bytes_sent} {duration} '
    '{upstream_service_time} "{x_forwarded_for}" "{user_agent}" "{request_id}" "{authority}" "{upstream_host}" '
    "{upstream_cluster} {upstream_local_address} {downstream_local_address} {downstream_remote_address} "
    "{requested_server_name} {route_name}"
)

_NUMBERS = ("response_code", "bytes_received", "bytes_sent", "duration")


def as_text(columns: dict[str, str]) -> str:
    """Return the columns as a line of Istio's default text format, unescaped as Envoy leaves them."""
    return _TEXT.format(**columns)


def as_json(columns: dict[str, str]) -> str:
    """Return the columns as newer Istio writes JSON: numbers as numbers, null for nothing, flags always text."""

    def value(name: str, text: str) -> str | int | None:
        if name in _NUMBERS:
            return int(text)
        return None if text == "-" and name != "response_flags" else text

    return json.dumps({name: value(name, text) for name, text in sorted(columns.items())})


def as_strings(columns: dict[str, str]) -> str:
    """Return the columns as older Istio writes JSON: every value a string."""
    return json.dumps(columns)


#: What the operators of the tests' formats print, by the columns of INBOUND.
_OPERATORS = {
    "REQ(:METHOD)": "method", "REQ(:PATH)": "path", "REQ(X-ENVOY-ORIGINAL-PATH?:PATH)": "path",
    "RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)": "upstream_service_time", "REQ(X-FORWARDED-FOR)": "x_forwarded_for",
    "REQ(USER-AGENT)": "user_agent", "REQ(X-REQUEST-ID)": "request_id", "REQ(:AUTHORITY)": "authority",
    "REQ(X-FORWARDED-CLIENT-CERT)": "x_forwarded_client_cert", "DYNAMIC_METADATA(istio.mixer:status)": "mixer",
    "UPSTREAM_CLUSTER_RAW": "upstream_cluster",
}  # fmt: skip


def printed(text: str, columns: dict[str, str | bytes]) -> bytes:
    """Return the line that Envoy prints for a format string, unescaped; what *columns* lack is `-`."""

    def value(match: re.Match[bytes]) -> bytes:
        operator = match[1].decode()
        found = columns.get(_OPERATORS.get(operator, operator.lower()), "-")
        return found if isinstance(found, bytes) else found.encode()

    return re.sub(rb"%([A-Z0-9_]+(?:\([^)]*\))?)%", value, text.encode())
