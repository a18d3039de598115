"""Logs and captures written line by line and byte by byte, and what a store holds, for tests of the pipeline."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pyarrow.parquet as pq

from vzflow.flow.data import shipped
from vzflow.pipeline.ingest import ingest
from vzflow.store.lake import Lake

SAMPLES = shipped("sample_captures")
SAMPLE_INPUTS = [
    str(SAMPLES / name) for name in ("verrazzano.pcap", "envoy-text.log", "envoy-json.log", "calico.jsonl")
]
SNAPSHOT = str(SAMPLES / "cluster.json")

#: A kubectl list that holds one namespace and nothing else.
SMALL_SNAPSHOT = json.dumps(
    {
        "apiVersion": "v1", "kind": "List",
        "items": [{"apiVersion": "v1", "kind": "Namespace",
                   "metadata": {"name": "default", "creationTimestamp": "2026-01-01T00:00:00Z"}}],
    }
)  # fmt: skip


def envoy_line(number, *, path="/", minute=4):
    """One request in Istio's default text format; *number* makes it unlike any other."""
    return (
        f'[2026-01-02T03:{minute:02d}:{number % 60:02d}.{number % 1000:03d}Z] "GET {path} HTTP/1.1" 200 - '
        f'via_upstream - "-" 0 {number} 1 1 "-" "ua" "id-{number}" "web" "10.0.0.1:80" inbound|80|| '
        f"127.0.0.6:{4000 + number % 1000} 10.0.0.1:80 10.0.0.2:{10000 + number % 50000} - default\n"
    ).encode()


def envoy_log(begin, end, **more):
    """The lines *begin* to *end*, exclusive."""
    return b"".join(envoy_line(number, **more) for number in range(begin, end))


def calico_line(number):
    """One flow record at aggregation level 0."""
    record = {
        "start_time": 1767323045 + number, "end_time": 1767323055 + number, "source_ip": "10.0.0.2",
        "source_name": "a", "source_name_aggr": "a", "source_namespace": "default", "source_port": 10000 + number,
        "source_type": "wep", "source_labels": None, "dest_ip": "10.0.0.1", "dest_name": "b", "dest_name_aggr": "b",
        "dest_namespace": "default", "dest_port": 80, "dest_type": "wep", "dest_labels": None, "proto": "tcp",
        "action": "allow", "reporter": "dst", "policies": None, "bytes_in": 100, "bytes_out": 200, "num_flows": 1,
        "num_flows_started": 1, "num_flows_completed": 1, "packets_in": 1, "packets_out": 1,
    }  # fmt: skip
    return json.dumps(record).encode() + b"\n"


#: What the first lines of Zeek's conn.log say of the others, as far as they are needed.
ZEEK_HEADER = (
    b"#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n"
    b"#open\t2026-01-02-03-00-00\n"
    b"#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tconn_state\thistory\n"
    b"#types\ttime\tstring\taddr\tport\taddr\tport\tenum\tstring\tstring\n"
)


def zeek_rows(begin, end):
    """The rows *begin* to *end*, exclusive, of a conn.log; each begins with its time and none says what a column is."""
    return b"".join(
        f"{1767323045 + n}.000000\tC{n}\t10.0.0.2\t{10000 + n}\t10.0.0.1\t80\ttcp\tS0\tS\n".encode()
        for n in range(begin, end)
    )


def capture(packets):
    """A pcap of *packets* UDP datagrams, one a millisecond, each a flow of its own."""
    out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)]
    for number in range(packets):
        udp = struct.pack("!HHHH", 20000 + number, 9999, 12, 0) + b"data"
        ip = struct.pack("!BBHHHBBH4B4B", 0x45, 0, 20 + len(udp), number, 0, 64, 17, 0, 10, 0, 0, 2, 10, 0, 0, 1)
        frame = b"\2\0\0\0\0\1\2\0\0\0\0\2\x08\x00" + ip + udp
        out.append(struct.pack("<IIII", 1767323045, number * 1000, len(frame), len(frame)) + frame)
    return b"".join(out)


def recorded(store):
    """Every stored row, without its ids, in an order of its own: what two stores have in common."""
    lake = Lake.open(store)
    rows = [row for file in lake.files("recorded") for row in pq.ParquetFile(file).read().to_pylist()]
    shown = [{k: v for k, v in row.items() if k not in ("segment", "record")} for row in rows]
    return sorted(json.dumps(row, default=str, sort_keys=True) for row in shown)


def receipts(store):
    return Lake.open(store).receipts().to_pylist()


def by_segment(store):
    """One receipt for each segment."""
    return list({r["segment"]: r for r in receipts(store)}.values())


def data_files(store):
    """Name and content of every data file that a store consists of."""
    files = [p for p in Path(store).rglob("*") if p.is_file()]
    return {str(p.relative_to(store)): p.read_bytes() for p in files}


def fates(result):
    return [one.fate for one in result.inputs]


def put(path, data):
    Path(path).write_bytes(data)
    return str(path)


def stored(inputs, store, **more):
    """Ingest without classifying, which these tests do not look at."""
    return ingest([str(i) for i in inputs], store, classify=False, **more)
