"""
The plan for a terminal: per documented row, which source would prove it, and the settings that turn the sources on.

Sources of the settings: Envoy's access log operators and Istio's MeshConfig; Calico Enterprise's FelixConfiguration;
tcpdump(1). What each proves: `docs/logs.md` and `docs/captures.md`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from vzflow.reports.plain import aligned, coloured

#: Keys and Envoy operators of the access log that proves most, beyond what Istio's default has: the TLS of both sides,
#: the peer that really connected, and whether the handshake failed. JSON, because text escapes nothing.
ACCESS_LOG = {
    key: f"%{operator}%"
    for key, operator in {
        "start_time": "START_TIME", "duration": "DURATION", "method": "REQ(:METHOD)", "protocol": "PROTOCOL",
        "response_code": "RESPONSE_CODE", "response_flags": "RESPONSE_FLAGS",
        "response_code_details": "RESPONSE_CODE_DETAILS", "bytes_received": "BYTES_RECEIVED",
        "bytes_sent": "BYTES_SENT", "upstream_host": "UPSTREAM_HOST", "upstream_cluster": "UPSTREAM_CLUSTER",
        "upstream_local_address": "UPSTREAM_LOCAL_ADDRESS", "downstream_local_address": "DOWNSTREAM_LOCAL_ADDRESS",
        "downstream_remote_address": "DOWNSTREAM_REMOTE_ADDRESS",
        "downstream_direct_remote_address": "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
        "requested_server_name": "REQUESTED_SERVER_NAME", "downstream_tls_version": "DOWNSTREAM_TLS_VERSION",
        "downstream_peer_uri_san": "DOWNSTREAM_PEER_URI_SAN",
        "downstream_transport_failure_reason": "DOWNSTREAM_TRANSPORT_FAILURE_REASON",
        "upstream_tls_version": "UPSTREAM_TLS_VERSION", "upstream_peer_uri_san": "UPSTREAM_PEER_URI_SAN",
        "upstream_local_uri_san": "UPSTREAM_LOCAL_URI_SAN",
        "upstream_transport_failure_reason": "UPSTREAM_TRANSPORT_FAILURE_REASON",
    }.items()
}  # fmt: skip

#: Level 1 keeps addresses and drops the initiator's port; level 0 keeps all. Allowed flows are at 2 by default.
CALICO = {"flowLogsFlushInterval": "60s", "flowLogsFileAggregationKindForAllowed": 1,
          "flowLogsFileAggregationKindForDenied": 0}  # fmt: skip

_PROOF = {"responder_proxy": "Envoy log of the responder", "tap": "capture", None: "nothing to prove"}


def settings() -> dict[str, Any]:
    """Return the settings as their configurations have them: MeshConfig and the spec of a FelixConfiguration."""
    return {
        "mesh_config": {
            "accessLogFile": "/dev/stdout", "accessLogEncoding": "JSON", "accessLogFormat": json.dumps(ACCESS_LOG),
        },
        "felix_configuration": dict(CALICO),
    }  # fmt: skip


def tcpdump(row: Mapping[str, Any]) -> str:
    """Return the capture command for one row, to run on a node of one of its ends, on the pod's own interface."""
    ports = [port for port in row["ports"].split(", ") if port.isdigit() or "-" in port]
    protocol = row["protocol"] if row["protocol"] in ("tcp", "udp", "sctp") else ""
    wanted = " or ".join(
        f"{protocol} portrange {port}" if "-" in port else f"{protocol} port {port}" for port in ports
    ).strip()  # fmt: skip
    return f"tcpdump -i VETH -s 0 -w {row['rule_id']}.pcap" + (f" '{wanted}'" if wanted else "")


def with_commands(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the plan as `-o json` prints it."""
    return {"rows": [row | {"tcpdump": tcpdump(row)} for row in rows], "settings": settings()}


def render(plan: Mapping[str, Any], *, colour: bool = False) -> str:
    """Return *plan* (`with_commands`) as text that ends in a newline."""
    return "".join(f"{line}\n" for line in _lines(plan, colour))


def _lines(plan: Mapping[str, Any], colour: bool) -> Iterator[str]:
    yield from aligned([("ROW", "REQUIRES", "NOW", "SHOWN BY", "PROVEN BY"), *map(_row, plan["rows"])], indent=0)
    if any(row["responder_proxy"] or row["initiator_proxy"] for row in plan["rows"]):
        mesh = plan["settings"]["mesh_config"]
        yield ""
        yield coloured("Envoy: MeshConfig", "bold", on=colour)
        yield from (f"  {key}: '{value}'" for key, value in mesh.items())
    yield ""
    yield coloured("Calico Enterprise, Cloud: FelixConfiguration", "bold", on=colour)
    yield from (f"  {key}: {value}" for key, value in plan["settings"]["felix_configuration"].items())
    taps = [row for row in plan["rows"] if row["proof"] == "tap"]
    if taps:
        yield ""
        yield coloured("Captures", "bold", on=colour) + "  on the node, VETH is the pod's own interface there (cali...)"
        yield from aligned([(row["tcpdump"], f"{row['responders']} < {row['initiators']}") for row in taps])


def _row(row: Mapping[str, Any]) -> tuple[Any, ...]:
    shown = [name for name, holds in (
        ("Envoy log", row["responder_proxy"] or row["initiator_proxy"]), ("Calico", row["calico"]), ("capture", True),
    ) if holds]  # fmt: skip
    return (row["rule_id"], row["transport"], row.get("coverage") or "-", ", ".join(shown), _PROOF[row["proof"]])
