"""What the tables of a store hold: the columns of receipts and rejects, and how rows are put into partitions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import pyarrow as pa

from vzflow.flow import terms
from vzflow.flow.errors import Reject
from vzflow.flow.schema import COUNT, FLOW_SCHEMA, NO_TIME, TEXT, TIME, Column, schema_of

#: Names a partition: (dt, hour), both text: ("2026-01-02", "03") or ("unknown", "unknown").
Partition = tuple[str, str]

#: Microseconds.
HOUR = 3_600_000_000

#: The years 1 to 9999, half-open, in microseconds from 1970.
CALENDAR = (-62_135_596_800_000_000, 253_402_300_800_000_000)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


#: The constant column that says what the rows of a classified partition were made from.
MADE_FROM = pa.field("made_from", TEXT, nullable=False)


def partition_of(hour: int) -> Partition:
    """Return the partition of an *hour* counted from 1970; a time that no calendar has is as good as none."""
    if not CALENDAR[0] <= hour * HOUR < CALENDAR[1]:
        return NO_TIME, NO_TIME
    begin = _EPOCH + timedelta(hours=hour)
    return begin.date().isoformat(), f"{begin.hour:02d}"


def _receipt() -> tuple[Column, ...]:
    column = partial(Column, stage="receipt")
    whole = "a capture, which is one segment"
    no_time = "no flow in it has a time"
    return (
        column("segment", TEXT, "The unit of ingest this row is about: 16 hex digits."),
        column("name", TEXT, "Name of the input as it was given."),
        column("format", TEXT, "Format the input was read as."),
        column("interpretation", TEXT, "How its content was read (format, reporter, cluster), a JSON object."),
        column("cluster", TEXT, "Cluster the addresses belong to."),
        column("reporter_name", TEXT, "Namespace/pod that wrote the log, as given at ingest.", "not given"),
        column("digest", TEXT, "BLAKE3 of the uncompressed content, in hex."),
        column("stream", TEXT, "The growing log that this is a range of.", whole),
        column("offset_from", COUNT, "Where the range begins in the uncompressed content.", unit="bytes"),
        column("offset_to", COUNT, "Where it ends: after the last whole line of a log.", unit="bytes"),
        column("bytes", COUNT, "Size of the uncompressed content that was read.", unit="bytes"),
        column("head_digest", TEXT, "BLAKE3 of the first `head_bytes` of the stream, in hex.", whole),
        column("head_bytes", COUNT, "At most 64 KiB and at most `offset_to`.", whole, unit="bytes"),
        column("tail_digest", TEXT, "BLAKE3 of the last `tail_bytes` before `offset_to`, in hex.", whole),
        column("tail_bytes", COUNT, "At most 64 KiB and at most `offset_to`.", whole, unit="bytes"),
        column(
            "marks",
            TEXT,
            "Digests by which an older copy is recognised, a JSON object: byte to BLAKE3 of all before.",
            whole,
        ),
        column("first_line", COUNT, "Number in the stream of the range's first line, from 1.", whole),
        column("records_read", COUNT, "Packets or lines that were read.", unit="records"),
        column("records_in_flows", COUNT, "Those that flows were made of.", unit="records"),
        column("flows", COUNT, "Rows that were stored.", unit="flows"),
        column("skipped", TEXT, "Records left out on purpose, counted by reason, a JSON object."),
        column("rejected", COUNT, "Records that could not be used; the view `reject` holds them.", unit="records"),
        column("damage", TEXT, "Why the input could not be read to its end.", "it could", values=terms.RejectReason),
        column("unfinished_bytes", COUNT, "Bytes after the last whole line, left for the next ingest.", unit="bytes"),
        column("first_seen", TIME, "Earliest begin of its flows.", no_time),
        column("last_seen", TIME, "Latest end of its flows.", no_time),
        column("vzflow_version", TEXT, "Version that read it."),
        column("ingested_at", TIME, "When it was read."),
    )


def _reject() -> tuple[Column, ...]:
    column = partial(Column, stage="reject")
    return (
        column("segment", TEXT, "The unit of ingest it was in."),
        column("record", COUNT, "Packet or line number there, from 1.", "the rest of those with this reason"),
        column("reason", TEXT, "Why it could not be used.", values=terms.RejectReason),
        column("detail", TEXT, "What exactly was wrong."),
        column("raw", TEXT, "Its beginning; bytes that are not UTF-8 are written as \\xNN."),
        column("records", COUNT, "How many the row stands for: 1, or the rest's.", unit="records"),
    )


#: One row per name as given and segment.
RECEIPT = _receipt()
RECEIPT_SCHEMA = schema_of(RECEIPT)

#: The columns of a receipt that the store fills in itself, from what it stored.
COUNTED = ("segment", "flows", "rejected", "first_seen", "last_seen")

#: One row per input record that could not be used, or for the rest of very many with one reason; it counts only if its
#: segment has a receipt.
REJECT = _reject()
REJECT_SCHEMA = schema_of(REJECT)

#: The columns that say in which partition a row is; the files do not hold them, their paths do.
PARTITION_FIELDS = (pa.field("dt", TEXT, nullable=False), pa.field("hour", TEXT, nullable=False))

#: What `recorded/` holds.
RECORDED_SCHEMA = pa.schema([*FLOW_SCHEMA, *PARTITION_FIELDS])

#: What `models/` holds: the model files last named, in their order.
MODEL_SCHEMA = pa.schema(
    [pa.field("position", COUNT, nullable=False), pa.field("name", TEXT, False), pa.field("text", TEXT, False)]
)


def reject_rows(segment: str, rejects: Sequence[Reject]) -> pa.Table:
    """Return *rejects* of a segment in REJECT_SCHEMA."""
    rows = [
        {
            "segment": segment,
            "record": reject.record,
            "reason": reject.reason.value,
            "detail": reject.detail,
            "raw": reject.raw.decode("utf-8", "backslashreplace"),
            "records": reject.records,
        }
        for reject in rejects
    ]
    return pa.Table.from_pylist(rows, schema=REJECT_SCHEMA)
