"""The store keeps every segment exactly once, whatever happens, and says in one line when it cannot be used."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st
from store import store_support
from store.store_support import (
    HOUR,
    MOMENTS,
    REJECTS,
    THREE,
    add,
    end_at,
    flow,
    flows,
    names,
    receipt,
    stored,
    visible_rejects,
)

from vzflow.flow.errors import UnreadableStore, UsageProblem
from vzflow.flow.schema import FLOW_SCHEMA
from vzflow.store.delta import schema_in
from vzflow.store.lake import COUNTED, RECEIPT_SCHEMA, REJECT_SCHEMA, Lake, Superseded, Unit, store_folder
from vzflow.store.spool import ParquetFiles
from vzflow.store.tables import RECEIPT, REJECT

A, B, C = "a" * 16, "b" * 16, "c" * 16
ENV = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}


class Crash(Exception):
    """What a test raises in the middle."""


@pytest.fixture
def lake(tmp_path):
    return Lake.open(tmp_path / "store", create=True)


def everything_once(lake, segment=A):
    """Assert that the usual segment is stored exactly once, with its receipt and its reject."""
    assert names(lake) == [(segment, 1), (segment, 2), (segment, 3)]
    assert lake.receipts().column("segment").to_pylist() == [segment]
    assert [row["record"] for row in visible_rejects(lake)] == [7]


def left_over(lake):
    """Return what lies in the store's folder besides its tables."""
    return sorted({entry.name for entry in lake.root.iterdir()} - {"recorded", "receipts", "rejects"})


# What goes in comes out.


def test_flows_come_back_as_they_were_given(lake):
    """Parquet round trip is identity: values, nulls and types."""
    rows = [flow(1, initiator_port=40_000, bytes_sent=2**40, via="vxlan:4096", tls_resumed=False), flow(2, None)]
    add(lake, rows=rows)
    back = pa.concat_tables(pq.ParquetFile(path).read() for path in lake.files("recorded"))
    assert back.schema.remove_metadata() == FLOW_SCHEMA
    assert back.sort_by("record").to_pylist() == pa.Table.from_batches(flows(*rows)).to_pylist()


@given(
    st.lists(
        st.one_of(st.none(), st.integers(min_value=-(2**60), max_value=2**60)),
        min_size=1,
        max_size=30,
    ),
    st.integers(min_value=1, max_value=9),
)
@settings(max_examples=25)
def test_any_times_in_any_order_come_back_whole_and_sorted(tmp_path_factory, times, size):
    """Every time finds a partition, also before 1970 and beyond any calendar; files are sorted by time, none last."""
    lake = Lake.open(tmp_path_factory.mktemp("store"), create=True)
    table = pa.Table.from_batches(flows(*(flow(i, segment=A) for i in range(len(times)))))
    moments = pa.array(times, pa.int64()).cast(FLOW_SCHEMA.field("first_seen").type)
    table = table.set_column(table.schema.get_field_index("first_seen"), FLOW_SCHEMA.field("first_seen"), moments)
    lake.add_segment(table.combine_chunks().to_batches(max_chunksize=size), lambda: Unit(A, receipt()))
    found = []
    for partition, file in ((p, f) for p, files in lake.partitions("recorded").items() for f in files):
        rows = pq.ParquetFile(file).read(["first_seen", "record"])
        seen = rows.column("first_seen").cast(pa.int64()).to_pylist()
        order = [(t is None, t or 0, r) for t, r in zip(seen, rows.column("record").to_pylist(), strict=True)]
        assert order == sorted(order)
        if partition != ("unknown", "unknown"):
            begin = datetime.fromisoformat(f"{partition[0]}T{partition[1]}:00:00+00:00")
            epoch = datetime(1970, 1, 1, tzinfo=UTC)
            assert all(timedelta(0) <= epoch + timedelta(microseconds=t) - begin < timedelta(hours=1) for t in seen)
        found += seen
    assert sorted(found, key=str) == sorted(times, key=str)


def test_partitions_are_the_utc_hours_of_first_seen(lake):
    """A row without a time is in the partition `unknown`."""
    add(lake)
    assert list(lake.partitions("recorded")) == [("2026-01-02", "03"), ("2026-01-02", "04"), ("unknown", "unknown")]
    assert sorted(f for files in lake.partitions("recorded").values() for f in files) == lake.files("recorded")


def test_a_file_holds_the_texts_of_its_own_hour_only(lake):
    """A log of few flows an hour would else be stored once for each hour."""
    rows = [flow(i, THREE + i * HOUR, tls_sni=f"{i:02}" * 500) for i in range(50)]
    add(lake, rows=rows)
    files = [pq.ParquetFile(path).metadata.row_group(0) for path in lake.files("recorded")]
    place = FLOW_SCHEMA.names.index("tls_sni")
    assert len(files) == 50
    assert all(file.column(place).total_uncompressed_size < 2000 for file in files)


def test_order_is_total_within_a_stretch_and_every_stretch_is_written(lake, monkeypatch):
    """Memory has a bound because long inputs are sorted in stretches."""
    monkeypatch.setattr("vzflow.store.spool.STRETCH", 4)
    add(lake, rows=[flow(i, THREE + 10 - i) for i in range(10)])
    (file,) = lake.files("recorded")
    assert pq.ParquetFile(file).read().column("record").to_pylist() == [3, 2, 1, 0, 7, 6, 5, 4, 9, 8]


def test_a_receipt_counts_what_was_stored(lake):
    """The store counts flows, rejects and times itself, so a receipt cannot disagree with it."""
    assert add(lake) is True
    (row,) = lake.receipts().to_pylist()
    assert {name: row[name] for name in COUNTED} == {
        "segment": A,
        "flows": 3,
        "rejected": 1,
        "first_seen": datetime(2026, 1, 2, 3, tzinfo=UTC),
        "last_seen": datetime(2026, 1, 2, 4, tzinfo=UTC),
    }
    assert (row["name"], row["records_read"], row["stream"]) == ("a.pcap", 4, None)


def test_rejects_keep_their_bytes_readable(lake):
    """Bytes that are not UTF-8 are written as escapes, nothing is dropped."""
    add(lake)
    assert stored(lake, "rejects") == [
        {
            "segment": A,
            "record": 7,
            "reason": "malformed_packet",
            "detail": "no header",
            "raw": "\\xff ok",
            "records": 1,
        }
    ]


def test_an_input_without_flows_or_rejects_leaves_just_its_receipt(lake):
    """An empty capture was read too, and must not be read again."""
    assert add(lake, rows=[], rejects=[])
    assert (lake.files("recorded"), lake.files("rejects")) == ([], [])
    assert lake.receipts().column("flows").to_pylist() == [0]
    assert lake.receipts().column("first_seen").to_pylist() == [None]


def test_columns_of_receipts_and_rejects_are_documented():
    """Each says in one sentence what it holds; the schemas are made from these lists."""
    assert all(column.says.endswith(".") for column in (*RECEIPT, *REJECT))
    assert RECEIPT_SCHEMA.names == [column.name for column in RECEIPT]
    assert REJECT_SCHEMA.names == [column.name for column in REJECT]


# Exactly once.


def test_the_same_segment_again_changes_nothing(lake):
    """Ingest is idempotent: no commit, although which segment it is was known at its end only."""
    add(lake)
    versions = {name: DeltaTable(str(lake.root / name)).version() for name in ("recorded", "receipts", "rejects")}

    files = sorted(lake.root.rglob("*"))
    assert add(lake) is False
    assert sorted(lake.root.rglob("*")) == files
    assert versions == {name: DeltaTable(str(lake.root / name)).version() for name in versions}
    everything_once(lake)


@pytest.mark.parametrize("moment", [m for m in MOMENTS if m != "reading"])
def test_a_crash_between_commits_is_made_good_by_the_next_ingest(lake, monkeypatch, moment):
    """Whatever was committed before the crash is neither lost nor doubled, and nothing shows without a receipt."""

    def end():
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(Lake, "_commit", Lake._commit)
        patch.setattr(ParquetFiles, "write", ParquetFiles.write)
        end_at(moment, end)
        with pytest.raises(Crash):
            add(lake)
    assert left_over(lake) == []
    if moment != "after receipts":
        assert lake.receipts().num_rows == 0
        assert visible_rejects(lake) == []
        assert add(lake) is True
    everything_once(lake)
    assert add(lake) is False
    everything_once(lake)


@pytest.mark.parametrize("moment", MOMENTS)
def test_kill_minus_nine_anywhere_loses_and_doubles_nothing(tmp_path, moment):
    """A process that is killed cleans up nothing, so nothing may need it."""
    store = tmp_path / "store"
    child = [sys.executable, store_support.__file__, str(store), moment]
    assert subprocess.run(child, env=ENV, timeout=60, check=False).returncode == -9
    lake = Lake.open(store)
    assert left_over(lake) == []
    if moment != "after receipts":
        assert lake.receipts().num_rows == 0
        assert visible_rejects(lake) == []
    add(lake)
    everything_once(lake)


def test_flows_that_raise_leave_nothing_behind(lake):
    """An unreadable input stores nothing: no rows, no receipt, no file of any kind."""

    def reading():
        yield from flows(flow(1), flow(2, None))
        raise Crash

    before = sorted(lake.root.rglob("*"))
    with pytest.raises(Crash):
        lake.add_segment(reading(), lambda: Unit(A, receipt(), REJECTS))
    assert sorted(lake.root.rglob("*")) == before


def test_a_receipt_that_cannot_be_made_leaves_nothing_behind(lake):
    """It is made before the first commit."""
    before = sorted(lake.root.rglob("*"))
    with pytest.raises(ZeroDivisionError):
        lake.add_segment(flows(flow(1)), lambda: Unit(A, receipt(bytes=1 // 0), REJECTS))
    assert sorted(lake.root.rglob("*")) == before


def test_a_full_disk_is_one_line_and_no_half_segment(tmp_path):
    """The limit on file sizes stands for the disk: flows are put aside until it is reached."""
    code = (
        "import resource, sys; from store.store_support import *\n"
        "lake = Lake.open(sys.argv[1], create=True)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "try: add(lake, rows=[flow(i, THREE, via=str(i) * 30) for i in range(2000)])\n"
        "except UnreadableStore as error: print(error.exit_code, error)\n"
    ).replace("import *", "import *; from vzflow.flow.errors import UnreadableStore")
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "s")],
        env=ENV,
        timeout=60,
        check=True,
        capture_output=True,
        text=True,
    )
    assert ran.stdout.startswith("3 ")
    assert "File too large" in ran.stdout
    assert ran.stdout.count("\n") == 1
    lake = Lake.open(tmp_path / "s")
    assert (lake.receipts().num_rows, left_over(lake), lake.files("recorded")) == (0, [], [])
    add(lake)
    everything_once(lake)


# Several writers.


def together(*work):
    """Run the callables at the same time; return what each returned or raised."""
    results = {}

    def run(place, call):
        try:
            results[place] = call()
        except Exception as error:  # noqa: BLE001  (the test looks at it)
            results[place] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(work)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return [results[place] for place in range(len(work))]


def met(lake, segment, barrier):
    """Return a call that adds *segment* and commits when everyone at the *barrier* has read their flows."""

    def make():
        barrier.wait(30)
        return Unit(segment, receipt(f"{segment}.pcap"), REJECTS)

    rows = [flow(3, THREE + HOUR, segment), flow(1, THREE, segment), flow(2, None, segment)]
    return lambda: lake.add_segment(flows(*rows), make)


def test_two_writers_of_one_segment_store_it_once(lake):
    """The transaction id alone keeps nothing out; the conflict on it, and looking again, do."""
    barrier = threading.Barrier(2)
    assert sorted(together(met(lake, A, barrier), met(lake, A, barrier))) == [False, True]
    everything_once(lake)


def test_writers_of_different_segments_all_get_in(lake):
    """Appends do not stand in each other's way."""
    barrier = threading.Barrier(4)
    segments = [A, B, C, "d" * 16]
    assert together(*(met(lake, s, barrier) for s in segments)) == [True] * 4
    assert names(lake) == [(s, r) for s in segments for r in (1, 2, 3)]
    assert sorted(lake.receipts().column("segment").to_pylist()) == segments


def test_two_processes_with_one_segment_store_it_once(tmp_path):
    """Also where the store is made by both at the same moment."""
    code = "import sys; from store.store_support import *; add(Lake.open(sys.argv[1], create=True))"
    ran = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "s")], env=ENV) for _ in range(3)]
    assert [process.wait(60) for process in ran] == [0, 0, 0]
    everything_once(Lake.open(tmp_path / "s"))


def test_stores_are_made_once_by_many(tmp_path):
    """Whoever comes second opens what the first has made."""
    path = tmp_path / "store"
    barrier = threading.Barrier(4)

    def make():
        barrier.wait(30)
        return Lake.open(path, create=True)

    assert together(make, make, make, make) == [Lake(path)] * 4
    add(Lake.open(path))
    everything_once(Lake.open(path))


# Logs that grow, other names, other readings.


def test_ranges_of_a_stream_come_in_once_each(lake):
    """The id is the stream's, its version the end of the range: only what lies beyond is new."""
    assert add(lake, A, app_id="stream", version=100)
    assert add(lake, B, app_id="stream", version=250)
    assert not add(lake, C, app_id="stream", version=250)
    assert names(lake) == [(s, r) for s in (A, B) for r in (1, 2, 3)]


def test_another_name_of_a_segment_is_a_receipt_and_nothing_else(lake):
    """The same bytes under another name are an alias; giving both names again changes nothing."""
    add(lake)
    (first,) = lake.receipts().to_pylist()
    assert lake.add_alias(first | {"name": "copy.pcap"}) is True
    assert lake.add_alias(first | {"name": "copy.pcap"}) is False
    assert lake.add_alias(first) is False
    assert [row["name"] for row in lake.receipts().to_pylist()] == ["a.pcap", "copy.pcap"]
    assert names(lake) == [(A, 1), (A, 2), (A, 3)]


def test_an_alias_noted_twice_at_once_is_one_row(lake):
    """One row per name as given and segment."""
    add(lake)
    (first,) = lake.receipts().to_pylist()
    alias = first | {"name": "copy.pcap"}
    assert sorted(together(*[lambda: lake.add_alias(alias)] * 3)) == [False, False, True]
    assert lake.receipts().num_rows == 2


def test_another_reading_replaces_the_segment_in_the_same_commit(lake, monkeypatch):
    """Old and new flows are never there together, nor are both absent; other segments stay."""
    add(lake, C, name="c.pcap")
    add(lake, A)
    seen = []
    commit = Lake._commit

    def watched(self, name, attempt, opened=None):
        done = commit(self, name, attempt, opened)
        seen.append({s for s, _ in names(self)})
        return done

    monkeypatch.setattr(Lake, "_commit", watched)
    assert add(lake, B, replaces=[A])
    assert seen == [{A, C}, {B, C}, {B, C}]
    assert sorted(lake.receipts().column("segment").to_pylist()) == [B, C]
    assert sorted({row["segment"] for row in visible_rejects(lake)}) == [B, C]


@pytest.mark.parametrize("options", [{}, {"app_id": "stream", "version": 100}], ids=["capture", "log"])
def test_a_replaced_segment_may_come_back(lake, options):
    """What was taken out is not taken for something that is still there."""
    if options:
        with_stream = receipt() | {"stream": "stream"}
        lake.add_segment(flows(*(flow(i) for i in (1, 2, 3))), lambda: Unit(A, with_stream, REJECTS, **options))
    else:
        add(lake, A)
    add(lake, B, replaces=[A])
    assert add(lake, A, replaces=[B], **options)
    everything_once(lake)


def test_a_crash_while_replacing_is_made_good(lake, monkeypatch):
    """Between the commits the new flows have no receipt; the next ingest makes it and takes the old one out."""
    add(lake, A)

    def end():
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(Lake, "_commit", Lake._commit)
        patch.setattr(ParquetFiles, "write", ParquetFiles.write)
        end_at("before receipts", end)
        with pytest.raises(Crash):
            add(lake, B, replaces=[A])
    assert add(lake, B, replaces=[A])
    everything_once(lake, B)


def test_a_segment_that_shares_a_file_is_taken_out_alone(lake):
    """Another Delta writer may have put small files together."""
    add(lake, A)
    add(lake, C, name="c.pcap")
    DeltaTable(str(lake.root / "recorded")).optimize.compact()
    assert len(lake.files("recorded")) == 3
    add(lake, B, replaces=[A])
    assert names(lake) == [(s, r) for s in (B, C) for r in (1, 2, 3)]


# Classified partitions.

PART = ("2026-01-02", "03")
OTHER = ("2026-01-02", "04")


def classified(*verdicts):
    return pa.table({"record": range(len(verdicts)), "verdict": list(verdicts)})


def verdicts(lake):
    return {
        p: pq.ParquetFile(f[0]).read().column("verdict").to_pylist() for p, f in lake.partitions("classified").items()
    }


def test_a_partition_is_replaced_whole_and_alone(lake):
    """One commit takes the old rows out and the new ones in; other partitions stay."""
    lake.replace_partition("classified", PART, classified("expected"), "1" * 32, instead_of=None)
    lake.replace_partition("classified", OTHER, classified("unknown"), "2" * 32, instead_of=None)
    lake.replace_partition("classified", PART, classified("plaintext", "unknown"), "3" * 32, instead_of="1" * 32)
    assert verdicts(lake) == {PART: ["plaintext", "unknown"], OTHER: ["unknown"]}
    assert lake.made_from("classified") == {PART: "3" * 32, OTHER: "2" * 32}


def test_what_a_partition_was_made_from_is_read_without_reading_it(lake):
    """It comes from the statistics in the log: the data files may even be gone."""
    lake.replace_partition("classified", PART, classified("expected"), "f" * 32, instead_of=None)
    (file,) = lake.files("classified")
    assert pq.ParquetFile(file).read().column("made_from").to_pylist() == ["f" * 32]
    Path(file).unlink()
    assert lake.made_from("classified") == {PART: "f" * 32}
    assert lake.made_from("never made") == {}


def test_rows_of_two_makings_in_one_partition_count_as_stale(lake):
    """Nobody can say what such a partition was made from, so it says None."""
    lake.replace_partition("classified", PART, classified("expected"), "1" * 32, instead_of=None)
    schema = schema_in(DeltaTable(str(lake.root / "classified")))
    row = {"record": 9, "verdict": "unknown", "made_from": "2" * 32, "dt": PART[0], "hour": PART[1]}
    from deltalake import write_deltalake

    write_deltalake(str(lake.root / "classified"), pa.Table.from_pylist([row], schema=schema), mode="append")
    assert lake.made_from("classified") == {PART: None}
    lake.replace_partition("classified", PART, classified("expected"), "3" * 32, instead_of=None)
    assert verdicts(lake) == {PART: ["expected"]}


def test_who_began_from_an_older_classification_is_told_so(lake):
    """The rows of a process that read less must not replace those of one that read more."""
    lake.replace_partition("classified", PART, classified("expected"), "1" * 32, instead_of=None)
    with pytest.raises(Superseded):
        lake.replace_partition("classified", PART, classified("unknown"), "2" * 32, instead_of=None)
    assert verdicts(lake) == {PART: ["expected"]}


@pytest.mark.parametrize("before", [None, "0" * 32])
def test_of_two_who_replace_a_partition_at_once_one_is_told_so(lake, monkeypatch, before):
    """Also where the partition is empty, which deltalake does not take for a conflict by itself."""
    if before:
        lake.replace_partition("classified", PART, classified("unknown"), before, instead_of=None)
    else:
        lake.replace_partition("classified", OTHER, classified("unknown"), "9" * 32, instead_of=None)
    barrier = threading.Barrier(2)
    expect = Lake._expect
    arrived = threading.local()

    def expected_together(self, *args):
        expect(self, *args)
        arrived.times = getattr(arrived, "times", 0) + 1
        if arrived.times == 2:  # both have looked, through handles of the same version
            barrier.wait(30)

    monkeypatch.setattr(Lake, "_expect", expected_together)
    ends = together(
        *(
            lambda v=v: lake.replace_partition("classified", PART, classified(v, v), v * 32, instead_of=before)
            for v in ("1", "2")
        )
    )
    assert sorted(map(type, ends), key=str) == sorted([type(None), Superseded], key=str)
    winner = "1" if ends[0] is None else "2"
    assert verdicts(lake)[PART] == [winner, winner]
    assert len(lake.partitions("classified")[PART]) == 1


def test_replacing_different_partitions_at_once_is_no_conflict(lake):
    """Several processes classify one store together."""
    parts = [("2026-01-02", f"{hour:02d}") for hour in range(4)]
    for made, before in (("1", None), ("2", "1" * 32)):
        work = [
            lambda p=p, made=made, before=before: lake.replace_partition(
                "classified", p, classified(made), made * 32, instead_of=before
            )
            for p in parts
        ]
        assert together(*work) == [None] * 4
        assert verdicts(lake) == {p: [made] for p in parts}


def test_a_partition_is_taken_out_when_nothing_recorded_is_left(lake):
    """Other partitions stay."""
    lake.replace_partition("classified", PART, classified("expected"), "1" * 32, instead_of=None)
    lake.replace_partition("classified", OTHER, classified("unknown"), "2" * 32, instead_of=None)
    lake.remove_partition("classified", PART)
    assert verdicts(lake) == {OTHER: ["unknown"]}


def test_other_columns_begin_the_classification_anew(lake):
    """Another version of vzflow classifies into other columns; rows of two kinds would be no table."""
    lake.replace_partition("classified", PART, classified("expected"), "1" * 32, instead_of=None)
    lake.replace_partition("classified", OTHER, classified("expected"), "1" * 32, instead_of=None)
    wider = classified("unknown").append_column("outcome", pa.array(["served"]))
    lake.replace_partition("classified", PART, wider, "2" * 32, instead_of="1" * 32)
    assert lake.made_from("classified") == {PART: "2" * 32}
    assert stored(lake, "classified")[0]["outcome"] == "served"


def test_rows_that_raise_leave_the_partition_as_it_was(lake):
    """A query that fails half-way replaces nothing and leaves no file."""
    lake.replace_partition("classified", PART, classified("expected"), "1" * 32, instead_of=None)
    rows = classified("unknown")

    def broken():
        yield from rows.to_batches()
        raise Crash

    before = sorted(lake.root.rglob("*"))
    reader = pa.RecordBatchReader.from_batches(rows.schema, broken())
    with pytest.raises(Crash):
        lake.replace_partition("classified", PART, reader, "2" * 32, instead_of="1" * 32)
    assert sorted(lake.root.rglob("*")) == before


# Identity and models.


def objects(*snapshots):
    return pa.table({"snapshot": list(snapshots), "kind": ["Pod"] * len(snapshots)})


def test_a_snapshot_is_added_once(lake):
    """Giving `--identity` again does not double what it says."""
    assert lake.identity_objects() is None
    assert lake.add_identity(objects("s1", "s1", "s2")) is True
    assert lake.add_identity(objects("s1", "s1")) is False
    assert lake.add_identity(objects("s2", "s3")) is True
    assert sorted(lake.identity_objects().column("snapshot").to_pylist()) == ["s1", "s1", "s2", "s3"]


def test_one_snapshot_added_by_several_at_once_is_there_once(lake):
    """Two scheduled runs may start together."""
    assert sorted(together(*[lambda: lake.add_identity(objects("s1"))] * 3)) == [False, False, True]
    assert lake.identity_objects().num_rows == 1


def test_the_models_named_last_are_remembered(lake):
    """In their order, because later files overlay earlier ones; the same ones again are no commit."""
    assert lake.models() == []
    assert lake.remember_models([("b.yaml", "b"), ("a.yaml", "ä\n")]) is True
    assert lake.models() == [("b.yaml", "b"), ("a.yaml", "ä\n")]
    version = DeltaTable(str(lake.root / "models")).version()
    assert lake.remember_models([("b.yaml", "b"), ("a.yaml", "ä\n")]) is False
    assert DeltaTable(str(lake.root / "models")).version() == version
    assert lake.remember_models([("c.yaml", "c")]) is True
    assert lake.models() == [("c.yaml", "c")]


# Stores that cannot be used.


def one_line(error, *says):
    """Assert that *error* is one line with exit code 3 that says all of *says*."""
    text = str(error.value)
    assert "\n" not in text
    assert "\x1b" not in text
    assert error.value.exit_code == 3
    for part in says:
        assert part in text


def refused(path, *says, create=False):
    """Assert that the store cannot be opened, for a reason given in one line."""
    with pytest.raises(UnreadableStore) as error:
        Lake.open(path, create=create)
    one_line(error, str(path), *says)


def test_no_store_is_not_an_empty_store(tmp_path):
    """A report over nothing would look green; reading makes no folder either."""
    refused(tmp_path / "absent", "no store here", "vzflow ingest")
    assert not (tmp_path / "absent").exists()
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "no store here")


@pytest.mark.parametrize("create", [False, True])
def test_a_file_or_a_folder_of_something_else_is_not_a_store(tmp_path, create):
    """Nothing is written among somebody else's files."""
    (tmp_path / "file").write_text("x")
    refused(tmp_path / "file", "not a folder", create=create)
    refused(tmp_path / "file" / "below", "not a folder", create=create)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("x")
    refused(tmp_path / "home", "not a store", create=create)
    assert [entry.name for entry in (tmp_path / "home").iterdir()] == ["letter.txt"]


def test_a_fresh_volume_is_an_empty_folder(tmp_path):
    """A mounted disk holds `lost+found`."""
    (tmp_path / "lost+found").mkdir()
    add(Lake.open(tmp_path, create=True))
    assert Lake.open(tmp_path).receipts().num_rows == 1


def log(lake, table, version):
    return lake.root / table / "_delta_log" / f"{version:020d}.json"


@pytest.mark.parametrize("table", ["recorded", "receipts", "rejects"])
@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda path: path.write_bytes(b"\x00\xff{"), "cannot be used"),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "cannot be used"),
        (lambda path: path.write_bytes(b""), "is empty"),
    ],
    ids=["garbage", "cut", "empty"],
)
def test_a_damaged_log_is_told_and_never_read_past(lake, table, damage, says):
    """Above all an empty entry, which deltalake passes over: its rows would be missing in silence."""
    add(lake)
    damage(log(lake, table, 1))
    refused(lake.root, table, says)
    refused(lake.root, table, says, create=True)


def test_a_table_that_is_gone_is_not_made_anew(lake):
    """The receipts say that there was something."""
    add(lake)
    shutil.rmtree(lake.root / "recorded")
    refused(lake.root, "recorded/ is gone", create=True)
    refused(lake.root, "recorded/ is gone")


def test_a_missing_data_file_is_named(lake):
    """It would be fewer flows, and so fewer findings."""
    add(lake)
    file = Path(lake.partitions("recorded")[PART][0])
    file.unlink()
    for ask in (lake.files, lake.partitions):
        with pytest.raises(UnreadableStore) as error:
            ask("recorded")
        one_line(error, str(file.relative_to(lake.root)), "is gone")


def test_a_damaged_receipt_file_is_told(lake):
    """A small table is read by the store itself."""
    add(lake)
    Path(lake.files("receipts")[0]).write_bytes(b"junk")
    with pytest.raises(UnreadableStore) as error:
        lake.receipts()
    one_line(error, "receipts/ cannot be read")


def test_a_store_of_other_columns_is_of_another_version(tmp_path, lake):
    """Reading it with these columns would be guessing."""
    shutil.rmtree(lake.root / "rejects")
    DeltaTable.create(str(lake.root / "rejects"), REJECT_SCHEMA.append(pa.field("colour", pa.string())))
    refused(lake.root, "another version", "colour")


def test_a_newer_table_format_is_told(lake):
    """Another program may have upgraded the table."""
    path = log(lake, "recorded", 0)
    path.write_text(path.read_text().replace('"minReaderVersion":1', '"minReaderVersion":99'))
    refused(lake.root, "99")


@pytest.mark.parametrize("path", ["s3://bucket/prefix", "gs://x", "file:///tmp/x"])
def test_a_url_is_refused_in_plain_words(path):
    """Object stores come later; nothing is made in a folder called `s3:`."""
    with pytest.raises(UsageProblem, match="URL"):
        Lake.open(path, create=True)


@pytest.mark.parametrize("name", ["per%41cent", "a[1]", "a]", "back\\slash", "new\nline"])
def test_a_path_that_would_be_misread_is_refused(tmp_path, name):
    """Below, %41 would be read as A: the store would be somewhere else."""
    with pytest.raises(UsageProblem) as error:
        Lake.open(tmp_path / name, create=True)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["with space", "it's", 'dq"', "50%", "a#b", "a?b", "a*b", "é", "{a}", "dt=9", "cluster=x"]
)
def test_odd_paths_work(tmp_path, name):
    """What a folder is called changes nothing in what is stored."""
    lake = Lake.open(tmp_path / name / "store", create=True)
    add(lake)
    everything_once(lake)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
    assert all(Path(file).is_relative_to(tmp_path / name) for file in lake.files("recorded"))


def test_a_store_may_be_moved(tmp_path, lake):
    """Nothing in it names the place it was made in."""
    add(lake)
    moved = shutil.move(lake.root, tmp_path / "elsewhere")
    everything_once(Lake.open(moved))


def test_a_relative_path_and_a_tilde_are_folders(tmp_path, monkeypatch):
    """As a shell would read them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert store_folder("vzflow-store") == tmp_path / "vzflow-store"
    assert store_folder("~/s") == tmp_path / "s"


# Size and memory.


def test_memory_does_not_grow_with_the_segment(tmp_path):
    """Two million flows are 850 MB in memory; storing them takes a fraction of it."""
    code = (
        "import resource, sys; from store.store_support import *\n"
        "lake = Lake.open(sys.argv[1], create=True)\n"
        "batch = flows(*(flow(i, THREE + i % 7 * 999_983, via=str(i)) for i in range(1 << 12)), size=1 << 12)[0]\n"
        "batch = pa.Table.from_batches([batch] * 16).combine_chunks().to_batches()[0]\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "before = peak()\n"
        "lake.add_segment((batch for _ in range(32)), lambda: Unit('a' * 16, receipt()))\n"
        "print(peak() - before, lake.receipts().column('flows')[0].as_py())\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "s")],
        env=ENV,
        timeout=120,
        check=True,
        capture_output=True,
        text=True,
    )
    grown, rows = map(int, ran.stdout.split())
    assert rows == 1 << 21
    assert grown < 250


@pytest.mark.parametrize("moment", ["after recorded"])
def test_a_receipt_that_a_killed_process_left_out_is_made_without_reading_again(tmp_path, moment):
    """The input may be gone or have grown: the log of `recorded` knows the receipt that was to follow."""
    store = tmp_path / "store"
    child = [sys.executable, store_support.__file__, str(store), moment]
    assert subprocess.run(child, env=ENV, timeout=60, check=False).returncode == -9
    lake = Lake.open(store)
    assert lake.receipts().num_rows == 0
    assert lake.recover() == 1
    everything_once(lake)
    assert add(lake) is False
    assert lake.recover() == 0


def test_nothing_is_recovered_of_a_segment_that_was_replaced(lake):
    """Its receipt is gone on purpose, together with its flows."""
    add(lake)
    add(lake, "b" * 16, [flow(1, segment="b" * 16)], replaces=[A])
    assert lake.recover() == 0
    assert lake.receipts().column("segment").to_pylist() == ["b" * 16]


def test_a_replacement_that_was_killed_before_its_receipt_is_finished(lake, monkeypatch):
    """The old receipt goes when the new one is made."""
    add(lake)
    with monkeypatch.context() as patch:
        patch.setattr(Lake, "_commit", Lake._commit)
        end_at("after recorded", _crash)
        with pytest.raises(Crash):
            add(lake, "b" * 16, [flow(1, segment="b" * 16)], rejects=[], replaces=[A])
    assert lake.recover() == 1
    assert lake.receipts().column("segment").to_pylist() == ["b" * 16]
    assert {row["segment"] for row in stored(lake)} == {"b" * 16}


def _crash():
    raise Crash
