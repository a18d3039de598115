"""Wrapped logs into the store: every line once while they grow, rotate and are compressed, in bounded memory."""

from __future__ import annotations

import bz2
import gzip
import itertools
import json
import subprocess
import sys
import tracemalloc
from contextlib import closing

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipeline.pipeline_support import (
    by_segment,
    calico_line,
    envoy_line,
    envoy_log,
    fates,
    put,
    receipts,
    recorded,
    stored,
)
from readers.wrapped import ALL, DOCUMENTS, LINES, OBJECTS, POD, compact, cri, docker, pieces

from vzflow.pipeline.inputs import How, format_of
from vzflow.pipeline.streams import Log
from vzflow.pipeline.unpacked import open_input
from vzflow.readers.base import LINE_LIMIT

UID = "0ac7a0b3-4d6c-4b2f-9b43-0a4b6a3f1c22"


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


def lines(begin, end):
    return [envoy_line(number).rstrip(b"\n") for number in range(begin, end)]


def once(folder, content):
    """The rows of a store that *content* was put into whole, without wrapping."""
    folder.mkdir(exist_ok=True)
    stored([put(folder / "log", content)], folder / "store")
    return recorded(folder / "store")


def unnamed(rows):
    return sorted(json.dumps(json.loads(row) | {"reporter_name": None}, sort_keys=True) for row in rows)


def balanced(store):
    for receipt in by_segment(store):
        skipped = sum(json.loads(receipt["skipped"]).values())
        assert receipt["records_read"] == receipt["records_in_flows"] + skipped + receipt["rejected"]


def in_pieces(begin, end, wrap):
    """Lines of one stream in three pieces each, whole lines of the other one in between."""
    out = []
    for number, line in enumerate(lines(begin, end)):
        *first, last = pieces(line)
        for piece in first:
            out.append(wrap(piece, False, "stdout"))
            if number % 3 == 1:
                out.append(wrap(b"2026-01-02T03:04:05Z\tinfo\tready", True, "stderr"))
        out.append(wrap(last, True, "stdout"))
    return b"".join(line + b"\n" for line in out)


def fluent_bit(text, whole, stream):
    return compact({"stream": stream, "logtag": "F" if whole else "P", "log": text.decode(), "kubernetes": POD})


#: How runtimes, and a shipper that does not join, write pieces.
RUNTIMES = {
    "fluent bit": fluent_bit,
    "cri": lambda text, whole, stream: cri(text, "F" if whole else "P", stream),
    "docker": lambda text, whole, stream: docker(text, "\n" if whole else "", stream),
}


# Ranges.


@given(st.data())
@settings(max_examples=20)
def test_cutting_a_log_of_pieces_anywhere_gives_every_line_once(tmp_path_factory, data):
    """Wherever an ingest finds the end: between pieces, in one, and compressed or not."""
    whole = in_pieces(0, 9, RUNTIMES[data.draw(st.sampled_from(sorted(RUNTIMES)))])
    cuts = [*sorted(data.draw(st.sets(st.integers(1, len(whole)), max_size=5))), len(whole)]
    folder = tmp_path_factory.mktemp("pieces")
    for cut in cuts:
        content = whole[:cut]
        stored(
            [put(folder / "a.log", gzip.compress(content) if data.draw(st.booleans()) else content)], folder / "grown"
        )
    assert unnamed(recorded(folder / "grown")) == unnamed(once(folder / "once", envoy_log(0, 9)))
    balanced(folder / "grown")
    assert sum(r["records_read"] for r in by_segment(folder / "grown")) == whole.count(b"\n")
    assert all(r["rejected"] == 0 for r in receipts(folder / "grown"))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_range_ends_before_a_line_whose_last_piece_has_not_come(store, tmp_path, runtime):
    """Whole lines of the other stream that follow its first piece wait with it."""
    wrap = RUNTIMES[runtime]
    first, last = pieces(lines(5, 6)[0], 2)
    begun = wrap(first, False, "stdout") + b"\n" + wrap(b"other", True, "stderr") + b"\n"
    log = put(tmp_path / "a.log", LINES[runtime](lines(0, 5)) + begun)
    (result,) = stored([log], store).inputs
    assert (result.flows, result.unfinished, result.rejects) == (5, len(begun), {})
    assert stored([log], store).inputs[0].fate == "unchanged"
    put(log, LINES[runtime](lines(0, 5)) + begun + wrap(last, True, "stdout") + b"\n")
    (result,) = stored([log], store).inputs
    assert (result.fate, result.records, result.flows, result.unfinished) == ("continued", 3, 1, 0)
    assert unnamed(recorded(store)) == unnamed(once(tmp_path / "once", envoy_log(0, 6)))


def test_stream_goes_on_after_a_range_that_ended_before_unfinished_pieces(store, tmp_path):
    """Its marks are those of that end: an older copy adds nothing, a larger one only what is new."""
    grown = [in_pieces(0, 400, RUNTIMES["cri"])[:size] for size in (90_000, 130_000, 170_000)]
    seen = [fates(stored([put(tmp_path / "a.log", content)], store))[0] for content in (*grown, grown[1], grown[0])]
    assert seen == ["stored", "continued", "continued", "unchanged", "unchanged"]
    assert len({r["stream"] for r in receipts(store)}) == 1
    stored([put(tmp_path / "copy.log", in_pieces(0, 400, RUNTIMES["cri"]))], store)
    assert recorded(store) == once(tmp_path / "once", envoy_log(0, 400))


@pytest.mark.parametrize("wrapping", ["cri", "docker", "fluent bit", "hit"])
def test_log_that_grows_and_rotates_between_ingests_gives_every_line_once(store, tmp_path, wrapping):
    """By renaming, by copying and truncating, and compressed by kubelet under its name for that."""
    wrap = LINES[wrapping]
    folder = tmp_path / f"shop_web-0_{UID}" / "istio-proxy"
    folder.mkdir(parents=True)
    log = folder / "0.log"

    def look():
        return fates(stored(sorted(folder.glob("*")), store))

    put(log, wrap(lines(0, 300)))
    assert look() == ["stored"]
    put(log, wrap(lines(0, 500)))
    assert look() == ["continued"]
    put(log, wrap(lines(0, 700)))
    log.rename(folder / "0.log.20260102-030405")
    put(log, wrap(lines(700, 800)))
    assert look() == ["stored", "continued"]
    put(folder / "0.log.20260102-030405.gz", gzip.compress((folder / "0.log.20260102-030405").read_bytes()))
    (folder / "0.log.20260102-030405").unlink()
    put(log, wrap(lines(700, 900)))
    assert look() == ["continued", "alias"]
    put(folder / "0.log.1", wrap(lines(700, 950)))
    put(log, wrap(lines(950, 960)))
    assert look() == ["stored", "continued", "unchanged"]
    put(log, wrap(lines(950, 1000)))
    look()
    assert set(look()) == {"unchanged"}
    assert unnamed(recorded(store)) == unnamed(once(tmp_path / "once", envoy_log(0, 1000)))
    assert {json.loads(row)["reporter_name"] for row in recorded(store)} == {"shop/web-0"}
    balanced(store)


def test_line_that_rotation_tore_apart_costs_itself(store, tmp_path):
    """Its first piece stays unfinished in the old file, its last one is no line in the new one."""
    first, last = pieces(lines(5, 6)[0], 2)
    old = LINES["cri"](lines(0, 5)) + cri(first, "P") + b"\n"
    new = cri(last) + b"\n" + LINES["cri"](lines(6, 9))
    result = stored([put(tmp_path / "0.log.1", old), put(tmp_path / "0.log", new)], store)
    assert [(one.flows, one.unfinished) for one in result.inputs] == [(5, len(cri(first, "P")) + 1), (3, 0)]
    assert recorded(store) == sorted(once(tmp_path / "a", envoy_log(0, 5)) + once(tmp_path / "b", envoy_log(6, 9)))
    balanced(store)


def test_pod_of_the_path_is_the_reporter_and_not_part_of_what_the_bytes_are(store, tmp_path):
    """A copy elsewhere is the same log; what the user says is another reading."""
    folder = tmp_path / f"shop_web-0_{UID}" / "istio-proxy"
    folder.mkdir(parents=True)
    name = put(folder / "0.log", LINES["cri"](lines(0, 3)))
    copy = put(tmp_path / "copy.log", LINES["cri"](lines(0, 3)))
    assert fates(stored([name, copy], store)) == ["stored", "alias"]
    assert {json.loads(row)["reporter_name"] for row in recorded(store)} == {"shop/web-0"}
    assert fates(stored([name], store, reporter="a/b")) == ["stored"]
    assert [json.loads(row)["reporter_name"] for row in recorded(store)].count("a/b") == 3


# Compressed.

PACK = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "zstd": lambda data: pa.compress(data, "zstd", asbytes=True),
    "lz4": lambda data: pa.compress(data, "lz4", asbytes=True),
}


@pytest.mark.parametrize("codec", PACK)
@pytest.mark.parametrize("wrapping", ["cri", "hit of fluent bit of cri", "loki query", "cloudwatch", "cri in pieces"])
def test_wrapped_log_is_the_same_log_compressed(store, tmp_path, wrapping, codec):
    """Also in several members one after the other, and twice."""
    data, pack = ALL[wrapping](lines(0, 40)), PACK[codec]
    forms = [data, pack(data), pack(data[:777]) + pack(data[777:]), gzip.compress(pack(data))]
    names = [put(tmp_path / f"{number}", form) for number, form in enumerate(forms)]
    assert fates(stored(names, store)) == ["stored", "alias", "alias", "alias"]
    assert unnamed(recorded(store)) == unnamed(once(tmp_path / "once", envoy_log(0, 40)))


# Documents.


@pytest.mark.parametrize("wrapping", DOCUMENTS)
def test_document_is_stored_once_and_whole(store, tmp_path, wrapping):
    """It is no growing log; its records are numbered through."""
    name = put(tmp_path / "a.json", DOCUMENTS[wrapping](lines(0, 30)))
    assert fates(stored([name], store)) == ["stored"]
    assert fates(stored([name], store)) == ["unchanged"]
    assert unnamed(recorded(store)) == unnamed(once(tmp_path / "once", envoy_log(0, 30)))
    (receipt,) = receipts(store)
    assert (receipt["stream"], receipt["records_read"], receipt["offset_to"]) == (None, 30, receipt["bytes"])
    balanced(store)


@pytest.mark.parametrize(
    "wrapping", ["hit", "hits", "hits pretty", "array", "items", "pretty records", "hec", "merged"]
)
def test_records_as_objects_are_stored_as_they_are_alone(store, tmp_path, wrapping):
    """Exports of the index that Calico's flow logs are in."""
    records = [calico_line(number).rstrip(b"\n") for number in range(20)]
    stored([put(tmp_path / "a.json", OBJECTS[wrapping](records))], store)
    assert unnamed(recorded(store)) == unnamed(once(tmp_path / "once", b"\n".join(records) + b"\n"))


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_document_cut_short_keeps_what_is_whole_and_is_damaged(store, tmp_path, pack):
    """`--strict` minds."""
    whole = pack(DOCUMENTS["loki query"](lines(0, 2000)))
    result = stored([put(tmp_path / "a.json", whole[: len(whole) // 2])], store)
    (receipt,) = receipts(store)
    assert 200 < receipt["flows"] < 2000
    assert receipt["damage"] == ("truncated_file" if pack is bytes else "bad_compression")
    assert (result.exit_code(strict=False), result.exit_code(strict=True)) == (0, 4)
    balanced(store)


def test_rejected_line_is_kept_wrapped_and_minded_by_strict(store, tmp_path):
    """Its place and bytes are those of the file."""
    name = put(tmp_path / "a.log", LINES["cri"](lines(0, 2)) + cri(b'[2026-01-02T03:04:05.678Z] "broken') + b"\n")
    result = stored([name], store)
    assert result.inputs[0].rejects == {"columns_ambiguous": 1}
    assert result.exit_code(strict=True) == 4


# Memory.


def test_memory_does_not_grow_with_a_log():
    """A third batch of lines in pieces and wrapped needs no more than two did: 250 bytes kept of each would be seen."""
    code = (
        "import io, itertools, resource, sys\n"
        "from pipeline.pipeline_support import envoy_line\n"
        "from readers.wrapped import cri, pieces\n"
        "from vzflow.readers import envoy\n"
        "from vzflow.readers.base import Context, Tally\n"
        "class Lines(io.RawIOBase):\n"
        "    def __init__(self, count): self.left = self.made(count)\n"
        "    def made(self, count):\n"
        "        for number in range(count):\n"
        "            first, last = pieces(envoy_line(number)[:-1], 2)\n"
        "            yield cri(first, 'P') + b'\\n'\n"
        "            yield cri(last) + b'\\n'\n"
        "    def readable(self): return True\n"
        "    def readinto(self, buffer):\n"
        "        some = b''.join(itertools.islice(self.left, len(buffer) // 2000))\n"
        "        buffer[:len(some)] = some\n"
        "        return len(some)\n"
        "for batch in envoy.read(Lines(3 * 65_536), Context('x', '0' * 16, 'c'), Tally()):\n"
        "    print(batch.num_rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300,
        env={"PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    counts, peaks = zip(*(map(int, line.split()) for line in ran.stdout.splitlines()), strict=True)
    assert counts == (65_536,) * 3
    assert peaks[2] - peaks[1] < 16


@pytest.mark.parametrize(
    "endless",
    [itertools.repeat(b"x" * LINE_LIMIT, 60), itertools.repeat((cri(b"x" * 16_000, "P") + b"\n") * 64, 60)],
    ids=["line", "pieces"],
)
def test_bomb_of_one_endless_line_is_bounded(store, tmp_path, endless):
    """Sixty megabytes in a few thousand bytes, after one good line: to find its end, and to read it."""
    name = tmp_path / "bomb.gz"
    with gzip.open(name, "wb", compresslevel=1) as file:
        file.write(LINES["cri"](lines(0, 1)))
        file.writelines(endless)
    tracemalloc.start()
    with closing(open_input(str(name))) as opened:
        segment = Log(opened, format_of(opened, How()), How(), []).segment()
    assert tracemalloc.get_traced_memory()[1] < 20 * LINE_LIMIT
    tracemalloc.stop()
    assert segment.offset_to > 0
    with gzip.open(name, "ab", compresslevel=1) as file:
        file.write(b"\n" + LINES["cri"](lines(1, 2)))
    (result,) = stored([name], store).inputs
    assert result.flows in (1, 2)
    assert set(result.rejects) <= {"line_too_long", "truncated", "columns_ambiguous"}
    balanced(store)
