"""Flows and receipts for tests of the store; also what a child process runs to be killed at a chosen point."""

from __future__ import annotations

import os
import signal
import sys
from datetime import UTC, datetime

import pyarrow as pa

from vzflow.flow.batch import batches
from vzflow.flow.errors import Reject
from vzflow.flow.terms import RejectReason
from vzflow.store.lake import Lake, Unit
from vzflow.store.spool import ParquetFiles

#: 2026-01-02T03:00:00Z in microseconds.
THREE = 1_767_322_800_000_000
HOUR = 3_600_000_000


def flow(record, first_seen=THREE, segment="a" * 16, **more):
    """Return one row with every column that must not be null."""
    moment = None if first_seen is None else datetime.fromtimestamp(first_seen / 1e6, UTC)
    return {
        "segment": segment, "record": record, "source": "pcap", "cluster": "default", "first_seen": moment,
        "last_seen": moment, "initiator_basis": "syn", "hop": "wire", "action": "unknown", "transport_seen": "unknown",
        "transport_seen_basis": "not_recorded", "initiator_ip": "10.0.0.1", "responder_port": 443,
    } | more  # fmt: skip


def flows(*rows, size=2):
    """Return the rows as checked batches of at most *size* rows."""
    return list(batches(rows, size))


REJECTS = [Reject(7, RejectReason.MALFORMED_PACKET, "no header", b"\xff ok")]


def receipt(name="a.pcap", **more):
    """Return what a caller knows of a segment that it has read."""
    return {
        "name": name, "format": "pcap", "interpretation": "{}", "cluster": "default", "digest": "d" * 64,
        "offset_from": 0, "offset_to": 10, "bytes": 10, "records_read": 4, "records_in_flows": 3, "skipped": "{}",
        "unfinished_bytes": 0, "vzflow_version": "0.1.0", "ingested_at": datetime(2026, 1, 2, tzinfo=UTC),
    } | more  # fmt: skip


def add(lake, segment="a" * 16, rows=None, rejects=REJECTS, name="a.pcap", **options):
    """Add a segment of three flows in three partitions, or of *rows*."""
    if rows is None:
        rows = [flow(3, THREE + HOUR, segment), flow(1, THREE, segment), flow(2, None, segment)]
    return lake.add_segment(flows(*rows), lambda: Unit(segment, receipt(name), rejects, **options))


def stored(lake, table="recorded"):
    """Return the rows of a table's current files, without looking at what else lies in its folder."""
    import pyarrow.parquet as pq

    found = [pq.ParquetFile(path).read() for path in lake.files(table)]
    return pa.concat_tables(found).to_pylist() if found else []


def names(lake):
    """Return (segment, record) of every flow that is stored, sorted."""
    return sorted((row["segment"], row["record"]) for row in stored(lake))


def visible_rejects(lake):
    """Return the rejects of segments with a receipt: what the view `reject` shows."""
    receipts = set(lake.receipts().column("segment").to_pylist())
    return [row for row in stored(lake, "rejects") if row["segment"] in receipts]


#: Moments at which a process that adds a segment may end.
MOMENTS = ("reading", "writing", "before rejects", "before recorded", "before receipts", "after receipts")


def end_at(moment, end):
    """Make the Lake of this process call *end* at one of MOMENTS, instead of going on."""
    commit, write = Lake._commit, ParquetFiles.write

    def ended_commit(self, name, attempt, opened=None):
        if moment == f"before {name}":
            end()
        done = commit(self, name, attempt, opened)
        if moment == f"after {name}":
            end()
        return done

    def ended_write(self, batch, partition=None):
        write(self, batch, partition)
        if moment == "writing" and partition is not None:
            end()

    Lake._commit, ParquetFiles.write = ended_commit, ended_write
    return commit, write


def killed(store, moment):
    """Add the usual segment and be killed without warning at *moment*."""

    def end():
        os.kill(os.getpid(), signal.SIGKILL)

    end_at(moment, end)
    lake = Lake.open(store, create=True)
    rows = [flow(3, THREE + HOUR), flow(1, THREE), flow(2, None)]

    def reading():
        yield from flows(*rows)
        if moment == "reading":
            end()

    lake.add_segment(reading(), lambda: Unit("a" * 16, receipt(), REJECTS))


if __name__ == "__main__":
    killed(sys.argv[1], sys.argv[2])
