"""Inputs into the store: each record exactly once, whatever becomes of the files that hold it."""

from __future__ import annotations

import gzip
import json
import struct
from dataclasses import replace
from io import FileIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from pipeline.pipeline_support import (
    SAMPLE_INPUTS,
    SMALL_SNAPSHOT,
    SNAPSHOT,
    ZEEK_HEADER,
    by_segment,
    calico_line,
    capture,
    data_files,
    envoy_line,
    envoy_log,
    fates,
    put,
    receipts,
    recorded,
    stored,
    zeek_rows,
)
from readers.packet_support import BEGIN, ethernet, ipv4, pcap_file, tcp, udp

from vzflow.flow.data import shipped
from vzflow.flow.errors import ServiceUnavailable, UnreadableInput, UsageProblem
from vzflow.pipeline.ingest import IngestResult, gravest, ingest
from vzflow.pipeline.judge import Judge
from vzflow.pipeline.one_input import InputResult
from vzflow.readers.sniff import FORMATS
from vzflow.store.lake import Lake
from vzflow.store.tables import REJECT_SCHEMA

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "samples"


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def once(tmp_path_factory):
    """Log content -> the rows of a store that it was put into whole, at once."""

    def rows(content, **more):
        folder = tmp_path_factory.mktemp("once")
        stored([put(folder / "log", content)], folder / "store", **more)
        return recorded(folder / "store")

    return rows


# The same again.


def test_same_files_again_change_nothing(store):
    """A second ingest of the same files leaves every file of the store as it was, the logs of its tables included."""
    ingest(SAMPLE_INPUTS, store, identity=[SNAPSHOT])
    before = data_files(store)
    again = ingest(SAMPLE_INPUTS, store, identity=[SNAPSHOT])
    assert (fates(again), again.new_snapshots) == (["unchanged"] * 4, 0)
    assert data_files(store) == before


def test_same_bytes_under_another_name_are_one_more_receipt(store, tmp_path):
    """An alias is noted by name and adds no row."""
    stored([put(tmp_path / "a.log", envoy_log(0, 3))], store)
    before = recorded(store)
    assert fates(stored([put(tmp_path / "b.log", envoy_log(0, 3))], store)) == ["alias"]
    assert recorded(store) == before
    assert {Path(r["name"]).name for r in receipts(store)} == {"a.log", "b.log"}
    assert len(by_segment(store)) == 1


def test_alias_again_changes_nothing(store, tmp_path):
    """Both names are known then."""
    names = [put(tmp_path / name, envoy_log(0, 3)) for name in ("a.log", "b.log")]
    stored(names, store)
    before = data_files(store)
    assert fates(stored(names, store)) == ["unchanged", "unchanged"]
    assert data_files(store) == before


def test_same_file_named_twice_at_once_is_stored_once(store, tmp_path):
    """A glob and a name may overlap."""
    name = put(tmp_path / "a.log", envoy_log(0, 3))
    assert fates(stored([name, name], store)) == ["stored", "unchanged"]
    assert len(recorded(store)) == 3


@pytest.mark.parametrize("content", [envoy_log(0, 5), capture(5)], ids=["log", "capture"])
def test_gzip_of_the_same_content_is_the_same(store, tmp_path, content):
    """What counts is the uncompressed content."""
    plain, packed = put(tmp_path / "a", content), put(tmp_path / "a.gz", gzip.compress(content))
    assert fates(stored([plain, packed], store)) == ["stored", "alias"]
    assert len(recorded(store)) == 5


def test_name_that_is_not_text_is_kept_as_far_as_it_is(store, tmp_path):
    """A file name is any bytes; the second ingest must know it again."""
    name = str(tmp_path) + "/\udcff.log"
    put(name, envoy_log(0, 2))
    assert fates(stored([name], store)) == ["stored"]
    assert fates(stored([name], store)) == ["unchanged"]


def decoded(monkeypatch):
    """A list to which every capture that is decoded adds its name."""
    names = []
    read = FORMATS["pcap"].read

    def watched(stream, context, tally):
        names.append(Path(context.path).name)
        return read(stream, context, tally)

    monkeypatch.setitem(FORMATS, "pcap", replace(FORMATS["pcap"], read=watched))
    return names


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_known_capture_is_not_decoded_again(store, tmp_path, monkeypatch, pack):
    """It is hashed, which takes a fraction of the time: by its name, or by its size where that is known."""
    names = decoded(monkeypatch)
    name = put(tmp_path / "a.pcap", pack(capture(5)))
    assert fates(stored([name], store)) == ["stored"]
    assert fates(stored([name], store)) == ["unchanged"]
    plain = put(tmp_path / "b.pcap", capture(5))
    assert fates(stored([plain], store)) == ["alias"]
    assert names == ["a.pcap"]


def test_capture_that_turns_out_to_be_known_when_it_was_read_is_not_stored_again(store, tmp_path, monkeypatch):
    """Compressed and under another name, nothing tells before."""
    names = decoded(monkeypatch)
    stored([put(tmp_path / "a.pcap", capture(5))], store)
    before = recorded(store)
    again = put(tmp_path / "b.pcap.gz", gzip.compress(capture(5)))
    assert fates(stored([again], store)) == ["alias"]
    assert fates(stored([again], store)) == ["unchanged"]
    assert names == ["a.pcap", "b.pcap.gz"]
    assert recorded(store) == before


def test_other_capture_under_a_known_name_is_stored(store, tmp_path):
    """`tcpdump -w a.pcap` every hour, of the same size even."""
    name = put(tmp_path / "a.pcap", capture(5))
    stored([name], store)
    put(name, capture(5).replace(b"data", b"DATA"))
    assert fates(stored([name], store)) == ["stored"]
    assert len(recorded(store)) == 10


def test_capture_is_read_once_and_its_rows_carry_its_id(store, tmp_path, monkeypatch):
    """Each byte of a new capture is asked of the file one time: 40 GB are 40 GB."""
    content = capture(3000)
    name = put(tmp_path / "a.pcap", content)
    asked = []
    whole = FileIO.readinto

    class Counted(FileIO):
        def readinto(self, buffer):
            count = whole(self, buffer)
            asked.append(count)
            return count

    usual = Path.open
    monkeypatch.setattr(Path, "open", lambda p, *a, **k: Counted(p) if p.name == "a.pcap" else usual(p, *a, **k))
    assert fates(stored([name], store)) == ["stored"]
    monkeypatch.undo()
    head = min(len(content), 1 << 16)  # looked at once more beforehand, for all inputs
    assert sum(asked) == len(content) + head
    (receipt,) = receipts(store)
    files = Lake.open(store).files("recorded")
    assert {s for f in files for s in pq.ParquetFile(f).read(["segment"]).column(0).to_pylist()} == {receipt["segment"]}
    assert receipt["digest"] == blake3(content).hexdigest()


@pytest.mark.parametrize(
    ("content", "codec"),
    [(envoy_log(0, 5000), "zstd"), (envoy_log(0, 5000), "lz4"), (envoy_log(0, 5000), "bz2"), (capture(5000), "zstd")],
    ids=["log zstd", "log lz4", "log bz2", "capture zstd"],
)
def test_what_arrow_unpacks_is_read_as_gzip_is(store, tmp_path, content, codec):
    """The same segment; and of a damaged one all whole blocks, with the damage named."""
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, codec) as stream:
        stream.write(content)
    packed = out.getvalue().to_pybytes()
    names = [put(tmp_path / "a", content), put(tmp_path / "a.packed", packed)]
    assert fates(stored(names, store)) == ["stored", "alias"]
    cut = stored([put(tmp_path / "cut", packed[:-100])], tmp_path / "cut store")
    (receipt,) = receipts(tmp_path / "cut store")
    assert (receipt["damage"], cut.inputs[0].rejects) == ("bad_compression", {"bad_compression": 1})
    assert 0 < receipt["flows"] < 5000
    balanced(tmp_path / "cut store")


# A log that grows.


def test_log_that_grew_adds_its_new_whole_lines_only(store, tmp_path, once):
    """The unfinished last line waits for its end."""
    log = put(tmp_path / "a.log", envoy_log(0, 3))
    stored([log], store)
    put(log, envoy_log(0, 5) + envoy_line(5)[:40])
    result = stored([log], store).inputs[0]
    assert (result.fate, result.records, result.unfinished) == ("continued", 2, 40)
    assert recorded(store) == once(envoy_log(0, 5))


def test_unfinished_line_is_taken_when_it_is_finished(store, tmp_path, once):
    """Nothing is read twice and nothing is left out."""
    log = put(tmp_path / "a.log", envoy_log(0, 2) + envoy_line(2)[:40])
    assert stored([log], store).inputs[0].unfinished == 40
    put(log, envoy_log(0, 3))
    assert stored([log], store).inputs[0].records == 1
    assert recorded(store) == once(envoy_log(0, 3))


def test_log_without_a_whole_line_leaves_nothing(store, tmp_path, once):
    """Not even a receipt: two such logs would be taken for one."""
    first = put(tmp_path / "a.log", envoy_line(0)[:-1])
    second = put(tmp_path / "b.log", calico_line(0)[:-1])
    assert fates(stored([first, second], store)) == ["unchanged", "unchanged"]
    assert receipts(store) == []
    put(first, envoy_log(0, 2))
    stored([first], store)
    assert recorded(store) == once(envoy_log(0, 2))


def test_log_that_grew_and_was_rotated_and_gzipped_gives_every_line_once(store, tmp_path, once):
    """The rotated file is the same stream, and the new file under the old name another one."""
    log = put(tmp_path / "a.log", envoy_log(0, 1000))
    stored([log], store)
    put(tmp_path / "a.log.1.gz", gzip.compress(envoy_log(0, 1500)))
    put(log, envoy_log(1500, 1600))
    result = stored([tmp_path / "a.log", tmp_path / "a.log.1.gz"], store)
    assert fates(result) == ["stored", "continued"]
    assert recorded(store) == once(envoy_log(0, 1600))
    assert fates(stored([tmp_path / "a.log", tmp_path / "a.log.1.gz"], store)) == ["unchanged", "unchanged"]


def in_a_container_log(content):
    return b"".join(b"2026-01-02T03:04:05.000000000Z stdout F " + line for line in content.splitlines(keepends=True))


@pytest.mark.parametrize("pack", [bytes, gzip.compress, in_a_container_log])
def test_log_whose_first_lines_say_how_the_others_are_written_goes_on_without_them(store, tmp_path, once, pack):
    """What is new in a Zeek log has no header; the log's beginning has it, out of whatever it is wrapped in."""
    for end in (3, 3000, 3010):
        log = put(tmp_path / "conn.log", pack(ZEEK_HEADER + zeek_rows(0, end)))
        result = stored([log], store).inputs[0]
        assert result.rejected == 0
    assert (result.fate, result.records) == ("continued", 10)
    assert recorded(store) == once(ZEEK_HEADER + zeek_rows(0, 3010))


def test_older_copy_of_a_log_adds_nothing(store, tmp_path, once):
    """A copy made when the log ended where a range ended, or anywhere in a later one."""
    log = tmp_path / "a.log"
    for end in (100, 200, 300):
        stored([put(log, envoy_log(0, end))], store)
    for end in (100, 200, 150, 250):
        assert fates(stored([put(tmp_path / "copy.log", envoy_log(0, end))], store))[0] in ("alias", "unchanged")
    assert recorded(store) == once(envoy_log(0, 300))


def test_two_logs_with_the_same_first_line_are_two(store, tmp_path, once):
    """Each has its own lines, and each goes on by itself."""
    first, second = tmp_path / "a.log", tmp_path / "b.log"
    same = envoy_line(0)
    stored([put(first, same + envoy_log(1, 4)), put(second, same + envoy_log(100, 110))], store)
    put(first, same + envoy_log(1, 20))
    put(second, same + envoy_log(100, 130))
    assert fates(stored([first, second], store)) == ["continued", "continued"]
    assert recorded(store) == sorted(once(same + envoy_log(1, 20)) + once(same + envoy_log(100, 130)))


def test_log_that_begins_with_the_whole_of_what_was_read_of_another_is_its_own(store, tmp_path, once):
    """A stream first read when it had one line does not swallow a log that begins with the same line."""
    first, second = tmp_path / "a.log", tmp_path / "b.log"
    stored([put(first, envoy_line(0))], store)
    stored([put(first, envoy_log(0, 4))], store)
    stored([put(second, envoy_line(0) + envoy_log(100, 110))], store)
    assert recorded(store) == sorted(once(envoy_log(0, 4)) + once(envoy_line(0) + envoy_log(100, 110)))
    put(first, envoy_log(0, 30))
    stored([first], store)
    assert recorded(store) == sorted(once(envoy_log(0, 30)) + once(envoy_line(0) + envoy_log(100, 110)))


@pytest.mark.parametrize("end", [1, 2, 40, 299, 300])
def test_older_copy_of_a_log_that_was_read_at_once_adds_nothing(store, tmp_path, once, end):
    """`kubectl logs` twice, and the longer file first: nothing marks where the shorter one ends."""
    stored([put(tmp_path / "new.log", envoy_log(0, 300))], store)
    assert fates(stored([put(tmp_path / "old.log", envoy_log(0, end))], store)) == ["alias"]
    assert recorded(store) == once(envoy_log(0, 300))


@pytest.mark.parametrize("shared", [1, 5, 20])
def test_shorter_log_that_begins_like_a_stream_is_its_own(store, tmp_path, once, shared):
    """Its lines are not those of the stream, although it ends where the stream has been read already."""
    first, second = tmp_path / "a.log", tmp_path / "b.log"
    for end in (shared, 60):
        stored([put(first, envoy_log(0, end))], store)
    other = envoy_log(0, shared) + envoy_log(100, 120)
    assert fates(stored([put(second, other)], store)) == ["stored"]
    assert recorded(store) == sorted(once(envoy_log(0, 60)) + once(other))


@given(st.data())
@settings(max_examples=12)
def test_cutting_a_log_into_growing_versions_gives_the_same_flows(tmp_path_factory, data):
    """Wherever an ingest finds the end of a growing log, and also if it is gzipped in between."""
    whole = envoy_log(0, 12) + b"not a line of this format\n" + envoy_log(12, 20) + b"\n" + envoy_line(20)
    cuts = [*sorted(data.draw(st.sets(st.integers(1, len(whole)), max_size=4))), len(whole)]
    folder = tmp_path_factory.mktemp("cut")
    for cut in cuts:
        packed = data.draw(st.booleans())
        content = gzip.compress(whole[:cut]) if packed else whole[:cut]
        name = put(folder / "a.log", content)
        stored([name], folder / "grown")
    stored([put(folder / "b.log", whole)], folder / "whole")
    assert recorded(folder / "grown") == recorded(folder / "whole")
    read = sum(r["records_read"] for r in by_segment(folder / "grown"))
    assert read == sum(r["records_read"] for r in by_segment(folder / "whole"))
    assert lines_of(folder / "grown") == lines_of(folder / "whole")


def lines_of(store):
    """The line in the stream of every stored row."""
    import pyarrow.parquet as pq

    first = {r["segment"]: r["first_line"] for r in receipts(store)}
    rows = [row for file in Lake.open(store).files("recorded") for row in pq.ParquetFile(file).read().to_pylist()]
    return sorted(first[row["segment"]] + row["record"] - 1 for row in rows)


def test_log_whose_receipt_is_missing_goes_on_where_its_flows_end(store, tmp_path, once, monkeypatch):
    """A process killed between flows and receipt left no receipt; the log has grown since."""
    log = put(tmp_path / "a.log", envoy_log(0, 3))
    whole = Lake._append

    def killed(self, name, *rest, **more):
        if name == "receipts":
            raise KeyboardInterrupt
        return whole(self, name, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Lake, "_append", killed)
        with pytest.raises(KeyboardInterrupt):
            stored([log], store)
    put(log, envoy_log(0, 5))
    assert fates(stored([log], store)) == ["continued"]
    assert recorded(store) == once(envoy_log(0, 5))


# Damage.


def test_truncated_gzip_of_a_log_keeps_what_is_whole(store, tmp_path):
    """Whole lines are stored, the rest is one reject, and the receipt says so."""
    packed = gzip.compress(envoy_log(0, 500))
    result = stored([put(tmp_path / "a.log.gz", packed[: len(packed) // 2])], store)
    (receipt,) = receipts(store)
    assert (receipt["damage"], receipt["rejected"]) == ("bad_compression", 1)
    assert 100 < receipt["flows"] < 500
    assert result.incomplete
    assert result.inputs[0].rejects == {"bad_compression": 1}


def test_truncated_gzip_of_a_log_is_healed_by_the_whole_one(store, tmp_path, once):
    """The whole file goes on where the damaged one ended."""
    packed = gzip.compress(envoy_log(0, 500))
    log = put(tmp_path / "a.log.gz", packed[: len(packed) // 2])
    stored([log], store)
    put(log, packed)
    assert fates(stored([log], store)) == ["continued"]
    assert recorded(store) == once(envoy_log(0, 500))
    assert lines_of(store) == list(range(1, 501))


def test_truncated_gzip_of_a_capture_keeps_its_whole_packets(store, tmp_path):
    """The reason is the compression, not the capture."""
    packed = gzip.compress(capture(300))
    stored([put(tmp_path / "a.pcap.gz", packed[: len(packed) // 2])], store)
    (receipt,) = receipts(store)
    assert receipt["damage"] == "bad_compression"
    assert 30 < receipt["flows"] < 300


@pytest.mark.parametrize("cut", [1, 10, 40])
def test_truncated_capture_keeps_its_whole_packets(store, tmp_path, cut):
    """Tcpdump was killed, or the disk was full."""
    result = stored([put(tmp_path / "a.pcap", capture(5)[:-cut])], store)
    (receipt,) = receipts(store)
    assert (receipt["damage"], receipt["flows"], receipt["records_read"]) == ("truncated_file", 4, 5)
    assert (result.exit_code(strict=False), result.exit_code(strict=True)) == (0, 4)


def test_damaged_input_stays_incomplete_when_it_is_given_again(store, tmp_path):
    """A retry of a job that failed for it must not turn green."""
    name = put(tmp_path / "a.pcap", capture(5)[:-1])
    stored([name], store)
    again = stored([name], store)
    assert (fates(again), again.exit_code(strict=True)) == (["unchanged"], 4)


# Interpretation.


@pytest.mark.parametrize("content", [envoy_log(0, 3), capture(3)], ids=["log", "capture"])
def test_another_reporter_gives_new_rows(store, tmp_path, content):
    """Two pods may write the same bytes."""
    name = put(tmp_path / "a", content)
    assert fates(stored([name], store, reporter="a/one")) == ["stored"]
    assert fates(stored([name], store, reporter="a/two")) == ["stored"]
    assert len(recorded(store)) == 6


@pytest.mark.parametrize("content", [envoy_log(0, 3), capture(3)], ids=["log", "capture"])
def test_another_cluster_replaces_the_old_reading(store, tmp_path, content):
    """The same bytes from the same reporter are the same exchanges: they do not count twice."""
    name = put(tmp_path / "a", content)
    stored([name], store, cluster="one")
    stored([name], store, cluster="two")
    assert {r["cluster"] for r in receipts(store)} == {"two"}
    assert len(recorded(store)) == 3
    assert all(json.loads(row)["cluster"] == "two" for row in recorded(store))


def test_port_that_carries_vxlan_here_replaces_the_reading_without_it(store, tmp_path):
    """Whoever moved the overlay to another port sees the pods inside only once that is said."""
    inner = struct.pack("!II", 0x08000000, 7 << 8) + ethernet(ipv4(tcp(40_000, 8_000, 2)))
    outer = ethernet(ipv4(udp(50_000, 4_444, inner), "172.18.0.2", "172.18.0.3", protocol=17))
    file = put(tmp_path / "overlay.pcap", pcap_file([(BEGIN, outer)]))
    stored([file], store)
    seen = [json.loads(row) for row in recorded(store)]
    assert [(row.get("via"), row["responder_port"]) for row in seen] == [(None, 4_444)]
    stored([file], store, vxlan_ports=[4_444])
    seen = [json.loads(row) for row in recorded(store)]
    assert [(row["via"], row["responder_port"]) for row in seen] == [("vxlan:7", 8_000)]
    assert fates(stored([file], store, vxlan_ports=[4_444, 4_444])) == ["unchanged"]


@pytest.mark.parametrize("content", [envoy_log(0, 3), capture(3)], ids=["log", "capture"])
def test_interpretation_can_be_changed_back(store, tmp_path, content, once):
    """A mistake is undone by the right command, and once more changes nothing."""
    name = put(tmp_path / "a", content)
    for cluster in ("one", "two", "one"):
        assert fates(stored([name], store, cluster=cluster)) == ["stored"]
    assert recorded(store) == once(content, cluster="one")
    assert fates(stored([name], store, cluster="one")) == ["unchanged"]


def test_every_range_of_a_log_is_replaced(store, tmp_path, once):
    """Also if it was read in several parts, and the new reading takes it as one."""
    for end in (2, 5, 9):
        stored([put(tmp_path / "a.log", envoy_log(0, end))], store, cluster="one")
    stored([tmp_path / "a.log"], store, cluster="two")
    assert recorded(store) == once(envoy_log(0, 9), cluster="two")


# Several inputs, bad inputs.


BAD = {
    "missing": lambda p: None, "folder": lambda p: p.mkdir(), "empty": lambda p: p.touch(),
    "foreign": lambda p: p.write_bytes(b"PK\x03\x04" + bytes(90)),
    "header only": lambda p: p.write_bytes(capture(0)[:20]),
    "ragged": lambda p: p.write_bytes(b"\x0a\x0d\x0d\x0a" + bytes(60)),
}  # fmt: skip


@pytest.mark.parametrize("make", BAD.values(), ids=BAD)
def test_bad_input_among_good_ones_leaves_the_others_stored(store, tmp_path, make):
    """Nothing of it is stored, everything of the others is, and the exit code is 3."""
    bad = tmp_path / "bad"
    make(bad)
    inputs = [put(tmp_path / "a.log", envoy_log(0, 3)), bad, put(tmp_path / "b.pcap", capture(2))]
    result = stored(inputs, store)
    assert fates(result) == ["stored", "unreadable", "stored"]
    assert (result.exit_code(strict=True), len(recorded(store)), len(receipts(store))) == (3, 5, 2)
    assert str(result.errors[0]).startswith(f"{bad}: ")


@pytest.mark.parametrize("make", BAD.values(), ids=BAD)
def test_bad_input_alone_leaves_no_receipt(store, tmp_path, make):
    """Nothing half-written."""
    make(tmp_path / "bad")
    assert fates(stored([tmp_path / "bad"], store)) == ["unreadable"]
    assert not store.exists() or receipts(store) == []


def test_no_usable_input_makes_no_store(store, tmp_path):
    """A mistyped name does not leave a folder behind."""
    stored([tmp_path / "nowhere.log"], store)
    assert not store.exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"kind": 5}', '{"kind": "List", "items": 3}', "\x00"], ids=repr)
def test_bad_snapshot_leaves_no_store(store, tmp_path, content):
    """It is read before anything is written: without it every verdict would be another one."""
    bad = put(tmp_path / "snap.json", content.encode())
    with pytest.raises(UnreadableInput) as error:
        ingest([put(tmp_path / "a.log", envoy_log(0, 3))], store, identity=[bad])
    assert str(error.value).startswith(bad)
    assert not store.exists()


@pytest.mark.parametrize(
    "what",
    [{"form": "netflow"}, {"reporter": "pod"}, {"reporter": "a/b/c"}, {"reporter": "a/ b"}, {"cluster": ""},
     {"model": ["no-such-model"]}, {"vxlan_ports": [0]}, {"vxlan_ports": [4789, 65536]}],
    ids=str,
)  # fmt: skip
def test_bad_argument_leaves_no_store(store, tmp_path, what):
    """Arguments are checked before anything is written."""
    with pytest.raises(UsageProblem):
        ingest([put(tmp_path / "a.log", envoy_log(0, 3))], store, **what)
    assert not store.exists()


def test_model_alone_is_remembered(store):
    """`ingest` without inputs is how a route file tells a store its model and its snapshots."""
    ingest([], store, model=["verrazzano-1.0"])
    assert [name for name, _ in Lake.open(store).models()] == ["verrazzano-1.0"]


def test_snapshot_is_added_once(store, tmp_path):
    """Also under another name."""
    first = put(tmp_path / "a.json", SMALL_SNAPSHOT.encode())
    second = put(tmp_path / "b.json", SMALL_SNAPSHOT.encode())
    assert [ingest([], store, identity=[name]).new_snapshots for name in (first, first, second)] == [1, 0, 0]


@given(st.binary(max_size=400), st.sampled_from([b"", capture(2), envoy_log(0, 2), calico_line(0), b"\x1f\x8b\x08"]))
@settings(max_examples=40)
def test_random_bytes_never_crash(tmp_path_factory, noise, begin):
    """Hostile bytes, also behind a good beginning, are rows, rejects or one error."""
    folder = tmp_path_factory.mktemp("random")
    result = stored([put(folder / "input", begin + noise)], folder / "store")
    assert fates(result)[0] in ("stored", "unreadable", "unchanged")
    if fates(result) == ["stored"]:
        balanced(folder / "store")


# Counting.


def balanced(store):
    for receipt in by_segment(store):
        skipped = sum(json.loads(receipt["skipped"]).values())
        assert receipt["records_read"] == receipt["records_in_flows"] + skipped + receipt["rejected"], receipt["name"]


def test_records_of_the_samples_are_all_accounted_for(store):
    """Read = in flows + skipped by name + rejected, for every sample."""
    stored(SAMPLE_INPUTS, store)
    balanced(store)
    assert {Path(r["name"]).name for r in receipts(store)} == {Path(name).name for name in SAMPLE_INPUTS}


@pytest.mark.skipif(not SHARED.is_dir(), reason="the collection of foreign samples is not beside this checkout")
def test_records_of_foreign_samples_are_all_accounted_for(store):
    """Files of many origins and formats: nothing disappears, and what is refused is refused by name."""
    inputs = sorted(str(p) for p in SHARED.glob("*/*") if p.suffix in (".pcap", ".pcapng", ".gz", ".log", ".jsonl"))
    result = stored(inputs, store)
    balanced(store)
    assert len(receipts(store)) + sum(one.fate == "unreadable" for one in result.inputs) == len(inputs)
    assert sum(one.fate == "stored" for one in result.inputs) > 40


def test_counts_of_the_result_are_those_of_the_receipt(store, tmp_path):
    """What is told on the terminal is what is stored."""
    log = envoy_log(0, 4) + b"\n" + b'[2026-01-02T03:04:05Z] "broken\n' + b"2026-01-02T03:04:05Z\tinfo\tready\n"
    (one,) = stored([put(tmp_path / "a.log", log)], store).inputs
    (receipt,) = receipts(store)
    assert (one.records, one.flows, one.skipped, one.rejects) == (7, 4, 2, {"columns_ambiguous": 1})
    assert (receipt["records_read"], receipt["flows"], receipt["rejected"]) == (7, 4, 1)


def test_very_many_rejects_are_counted_in_full_and_kept_in_part(store, tmp_path):
    """The view's sum(records), the receipt and the result agree."""
    name = put(tmp_path / "a.log", envoy_log(0, 2) + b"[2026-01-02T03:04:05Z] broken\n" * 1500)
    (one,) = stored([name], store).inputs
    (reason,) = one.rejects
    assert (one.records, one.rejects, one.rejected) == (1502, {reason: 1500}, 1500)
    rows = Lake.open(store).read("rejects", REJECT_SCHEMA).to_pylist()
    assert (len(rows), sum(row["records"] for row in rows)) == (1001, 1500)
    assert [(row["record"], row["records"]) for row in rows[-2:]] == [(1002, 1), (None, 500)]
    balanced(store)
    assert stored([name], store).inputs[0].rejected == 1500


def test_progress_is_told_to_the_end(store, tmp_path):
    """Whoever watches sees bytes done of bytes to do, and the end."""
    log = put(tmp_path / "a.log", envoy_log(0, 50))
    seen = []
    stored([log], store, progress=lambda *told: seen.append(told))
    size = Path(log).stat().st_size
    last = seen[-1][0]
    assert (last.name, last.done, last.total, last.records, last.unit) == (log, size, size, 50, "lines")


# Exit codes.


@pytest.mark.parametrize(
    ("codes", "counts"),
    [
        ((), 0),
        ((0, 1), 1),
        ((1, 4), 4),
        ((4, 5), 5),
        ((5, 3), 3),
        ((3, 2), 2),
        ((2, 70), 70),
        ((1, 4, 5, 3, 2, 70, 0), 70),
    ],
)
def test_gravest_exit_code_counts(codes, counts):
    """70 > 2 > 3 > 5 > 4 > 1 > 0."""
    assert gravest(codes) == counts


def test_unreadable_input_outweighs_a_busy_store():
    """And both outweigh rejects."""
    busy = ServiceUnavailable("busy", at="store", do="Wait")
    gone = InputResult("a", "unreadable", error=UnreadableInput("gone", at="a", do="Look"))
    lost = InputResult("b", "stored", rejected=1)
    assert IngestResult((gone, lost), 0, busy).exit_code(strict=True) == 3
    assert IngestResult((lost,), 0, busy).exit_code(strict=True) == 5
    assert IngestResult((lost,), 0).exit_code(strict=True) == 4
    assert IngestResult((lost,), 0).exit_code(strict=False) == 0


def test_busy_store_is_told_of_and_what_was_stored_stays(store, tmp_path, monkeypatch):
    """Other processes that replace the same partitions all the time do not undo what was committed."""

    def refuse(*_, **__):
        raise ServiceUnavailable("busy", at="store", do="Wait")

    monkeypatch.setattr(Judge, "refresh", refuse)
    result = ingest([put(tmp_path / "a.log", envoy_log(0, 3))], store)
    assert (fates(result), result.exit_code(strict=False), len(recorded(store))) == (["stored"], 5, 3)


FORMAT = '[%START_TIME%] "%PROTOCOL%" %RESPONSE_CODE% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS%'
CUSTOM = b'[2026-01-02T03:04:05.678Z] "HTTP/2" 200 192.0.2.10:40555 192.0.2.20:8080\n'


def test_log_in_a_format_of_its_own_is_read_with_it(tmp_path):
    """Without the format nothing of it is known."""
    log, store = put(tmp_path / "a.log", CUSTOM), tmp_path / "store"
    assert ingest([log], store, classify=False).exit_code(strict=False) == 3
    result = ingest([log], store, envoy_format=FORMAT, classify=False)
    assert fates(result) == ["stored"]
    assert result.notes == ()


def test_same_bytes_in_another_format_replace_what_was_read(tmp_path):
    """The format is part of how an input is read: the newer reading counts."""
    log, store = put(tmp_path / "a.log", CUSTOM), tmp_path / "store"
    swapped = FORMAT.replace("DIRECT_REMOTE", "X").replace("DOWNSTREAM_LOCAL", "DOWNSTREAM_DIRECT_REMOTE")
    swapped = swapped.replace("DOWNSTREAM_X", "DOWNSTREAM_LOCAL")
    ingest([log], store, envoy_format=FORMAT, classify=False)
    assert fates(ingest([log], store, envoy_format=FORMAT, classify=False)) == ["unchanged"]
    assert fates(ingest([log], store, envoy_format=swapped, classify=False)) == ["stored"]
    assert len(recorded(store)) == 1


def test_format_does_not_touch_other_inputs(tmp_path):
    """A capture or a Calico log beside it is read as ever, and is not read again because of a format."""
    log, store = put(tmp_path / "c.log", calico_line(1)), tmp_path / "store"
    ingest([log], store, classify=False)
    assert fates(ingest([log], store, envoy_format=FORMAT, classify=False)) == ["unchanged"]


def test_format_that_cannot_be_used_stores_nothing(tmp_path):
    """The mistake is in the command: exit 2, and no store is made."""
    with pytest.raises(UsageProblem, match="--envoy-format: format, character 1"):
        ingest([put(tmp_path / "a.log", CUSTOM)], tmp_path / "store", envoy_format="%REQ%")
    assert not (tmp_path / "store").exists()


def test_paths_are_taken_as_well_as_names(tmp_path):
    """As any library takes them: inputs and identity."""
    samples = shipped("sample_captures")
    result = ingest([samples / "calico.jsonl"], tmp_path / "S", identity=[samples / "cluster.json"])
    assert (result.exit_code(strict=True), result.inputs[0].flows, result.new_snapshots) == (0, 19, 1)
