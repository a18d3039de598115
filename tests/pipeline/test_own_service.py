"""A pod that calls its own Service, from logs and a snapshot on disk to what the store says of it."""

from __future__ import annotations

import json

from identity.identity_support import KINDS, us
from pipeline.pipeline_support import ZEEK_HEADER, put
from test_hairpins import OTHER, OWN, SECOND, VIP
from trap_support import CLUSTER_OBJECTS, CONSOLE, N1, N1_BRIDGE, N2, SYSTEM

from vzflow.identity.snapshot import save
from vzflow.pipeline.ingest import ingest
from vzflow.pipeline.verbs import explain, sql

NOON = 1_767_355_200  # 2026-01-02T12:00:00Z
HAIRPIN, FIRM = ("out_of_scope", "hairpin"), ("unexpected", "port_not_documented")


def conn_log(*ends):
    """A conn.log of answered connections: (from, to, port)."""
    lines = [
        f"{NOON + n}.000000\tC{n}\t{one}\t{40000 + n}\t{other}\t{port}\ttcp\tSF\tShADadFf\n".encode()
        for n, (one, other, port) in enumerate(ends)
    ]
    return ZEEK_HEADER + b"".join(lines)


def calico_row(source, dest, number):
    """A record of Calico's default aggregation of names, without addresses; a whole name has no `*`."""
    row = {"start_time": NOON + number, "end_time": NOON + number + 10, "dest_port": 8001, "proto": "tcp",
           "action": "allow", "reporter": "src", "num_flows": 1, "num_flows_started": 1, "num_flows_completed": 1,
           "packets_in": 3, "packets_out": 3, "bytes_in": 90, "bytes_out": 90}  # fmt: skip
    for side, name in (("source", source), ("dest", dest)):
        row |= {f"{side}_name": name, f"{side}_name_aggr": name, f"{side}_namespace": SYSTEM, f"{side}_type": "wep",
                f"{side}_ip": None, f"{side}_labels": None}  # fmt: skip
    return json.dumps(row | {"source_port": None}).encode() + b"\n"


def envoy_row(number, cluster, upstream_local, downstream_local, downstream_remote):
    """One request of the pod to itself in Istio's default text format: its upstream is its own address."""
    return (
        f'[2026-01-02T12:00:{number:02d}.000Z] "GET / HTTP/1.1" 200 - via_upstream - "-" 0 9 1 1 "-" "ua" '
        f'"id-{number}" "console" "{CONSOLE}:8001" {cluster} {upstream_local} {downstream_local} '
        f"{downstream_remote} - default\n"
    ).encode()


def judged(tmp_path, *inputs, pods=()):
    """The store of *inputs*, and (verdict, reason) of each flow in the order of its record."""
    save([*CLUSTER_OBJECTS, OWN, *pods], tmp_path / "cluster.json", us("13:00"), KINDS)
    ingest(list(inputs), tmp_path / "S", identity=[str(tmp_path / "cluster.json")])
    rows = sql(tmp_path / "S", "SELECT verdict, reason FROM flow JOIN verdict USING (flow_id) ORDER BY first_seen")
    return [(row["verdict"], row["reason"]) for row in rows.to_pylist()]


def test_packets_of_a_hairpin_are_no_finding_and_those_of_a_neighbour_are(tmp_path):
    """Before and after translation, beside another node's, another pod's, and a port of no Service."""
    log = conn_log(
        (CONSOLE, VIP, 81), (N1_BRIDGE, CONSOLE, 8001), (N2, CONSOLE, 8001), (OTHER, CONSOLE, 8001), (N1, CONSOLE, 8002)
    )
    found = judged(tmp_path, put(tmp_path / "conn.log", log), pods=[SECOND])
    assert found == [("unknown", "responder_ambiguous"), ("unknown", "initiator_ambiguous"), FIRM, FIRM, FIRM]


def test_the_only_pod_of_a_service_calls_itself_in_packets_and_flow_logs(tmp_path):
    """The Service has one pod; Calico names it twice."""
    log = put(tmp_path / "conn.log", conn_log((CONSOLE, VIP, 81)))
    rows = put(
        tmp_path / "calico.jsonl", calico_row("console-0", "console-0", 5) + calico_row("console-0", "kibana-0", 6)
    )
    assert judged(tmp_path, log, rows) == [HAIRPIN, HAIRPIN, FIRM]


def test_a_sidecars_lines_of_a_hairpin_are_inside_the_pod(tmp_path):
    """The client's half dials the Service and reaches itself; the server's half hands on from 127.0.0.6."""
    lines = envoy_row(1, f"outbound|81||console.{SYSTEM}.svc.cluster.local", f"{CONSOLE}:50000", f"{VIP}:81",
                      f"{CONSOLE}:41000")  # fmt: skip
    lines += envoy_row(2, "inbound|8001||", "127.0.0.6:40001", f"{CONSOLE}:8001", f"{CONSOLE}:50000")
    found = judged(tmp_path, put(tmp_path / "envoy.log", lines))
    assert found == [("out_of_scope", "loopback")] * 2


def test_explain_names_the_pod_that_its_nodes_address_may_stand_for(tmp_path):
    """It is no holder of that address, and yet a candidate."""
    judged(tmp_path, put(tmp_path / "conn.log", conn_log((N1, CONSOLE, 8001))))
    (row,) = sql(tmp_path / "S", "SELECT flow_id FROM flow").to_pylist()
    found = explain(tmp_path / "S", row["flow_id"])
    opened = {holder["pod"] or holder["node"] for holder in found["holders"] if holder["side"] == "initiator"}
    assert {"n1", "console-0"} <= opened
    assert {pair["reason"] for pair in found["pairs"]} == {"hairpin", "port_not_documented"}
