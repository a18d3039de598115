"""What an input is, which part of it is new, and that bytes nobody can read end in one clear error."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from contextlib import closing
from itertools import pairwise

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from pipeline.pipeline_support import capture, envoy_log

from vzflow.flow.errors import UnreadableInput, UsageProblem
from vzflow.pipeline.inputs import How, Part, find_capture, format_of
from vzflow.pipeline.scan import MARK
from vzflow.pipeline.streams import Log, check_range, range_of
from vzflow.pipeline.unpacked import Plain, open_input, readable
from vzflow.readers.sniff import is_stream


def found(path, receipts=(), **more):
    """The segment that is new in an input."""
    with readable(str(path)), closing(open_input(str(path))) as opened:
        how = How(**more)
        form = format_of(opened, how)
        if is_stream(form, opened.head):
            return Log(opened, form, how, list(receipts)).segment()
        return find_capture(opened, how, list(receipts))


def content(path, segment):
    """The bytes of a segment of a log."""
    with closing(open_input(str(path))) as opened:
        return range_of(opened, segment).read()


def receipt_of(segment, read):
    """The receipt of a segment of which *read* lines were read and none was lost."""
    counted = {"segment": segment.segment, "records_read": read, "damage": None, "rejected": 0}
    return segment.receipt | counted


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "envoy.log"
    path.write_bytes(envoy_log(0, 10))
    return path


def test_id_is_of_the_content_and_not_of_the_name(log, tmp_path):
    """The same bytes under another name are the same segment."""
    other = tmp_path / "other.txt"
    other.write_bytes(log.read_bytes())
    assert found(log).segment == found(other).segment


def test_id_is_of_the_uncompressed_content(log, tmp_path):
    """A rotated log is gzipped and still the same log."""
    other = tmp_path / "envoy.log.1.gz"
    other.write_bytes(gzip.compress(log.read_bytes()))
    assert found(log).segment == found(other).segment


@pytest.mark.parametrize("how", [{"reporter": "a/b"}, {"cluster": "other"}])
def test_id_changes_with_the_interpretation(log, how):
    """What is said about an input is part of what it means."""
    assert found(log).segment != found(log, **how).segment


def test_naming_the_format_does_not_change_the_id(log):
    """`--format envoy` reads the same as auto, if auto finds envoy."""
    assert found(log).segment == found(log, form="envoy").segment


def test_range_ends_after_the_last_whole_line(log):
    """Whoever writes the log has not finished the line yet."""
    size = log.stat().st_size
    log.write_bytes(log.read_bytes() + b"[2026-01-02T03")
    assert (found(log).offset_to, found(log).unfinished) == (size, 14)


def test_range_begins_where_the_last_one_ended(log):
    """A log that grew is read from its committed end, and lines are counted from the first one of the stream."""
    first = found(log)
    log.write_bytes(log.read_bytes() + envoy_log(10, 12))
    then = found(log, [receipt_of(first, 10)])
    assert (then.offset_from, then.stream, then.receipt["first_line"]) == (first.offset_to, first.segment, 11)
    assert content(log, then) == envoy_log(10, 12)


def test_lines_are_counted_right_after_a_damaged_range(log):
    """The reject that stands for the lost rest of a file is no line of it."""
    first = found(log)
    log.write_bytes(log.read_bytes() + envoy_log(10, 12))
    receipt = receipt_of(first, 11) | {"damage": "bad_compression"}
    assert found(log, [receipt]).receipt["first_line"] == 11


def test_stream_is_told_by_its_tail_too(tmp_path):
    """A log that begins like another for more than 64 KiB and then differs is another one."""
    path = tmp_path / "envoy.log"
    path.write_bytes(envoy_log(0, 900))
    first = found(path)
    assert first.offset_to > 2 * MARK
    path.write_bytes(envoy_log(0, 800) + envoy_log(1000, 1200))
    then = found(path, [receipt_of(first, 900)])
    assert (then.offset_from, then.known) == (0, False)


def test_log_that_parts_from_a_stream_after_its_first_range_is_another_one(tmp_path):
    """Two logs may begin alike; the second one's lines must not be taken for those of the first."""
    path = tmp_path / "envoy.log"
    path.write_bytes(envoy_log(0, 1))
    first = receipt_of(found(path), 1)
    path.write_bytes(envoy_log(0, 4))
    second = receipt_of(found(path, [first]), 3)
    path.write_bytes(envoy_log(0, 1) + envoy_log(100, 109))
    then = found(path, [first, second])
    assert (then.offset_from, then.known, then.offset_to) == (0, False, path.stat().st_size)


def test_marks_are_few_and_dense_at_the_beginning(tmp_path):
    """Each of the first lines has one; a log of any size has a few hundred."""
    path = tmp_path / "envoy.log"
    path.write_bytes(envoy_log(0, 5000))
    marks = sorted(int(o) for o in json.loads(found(path).receipt["marks"]))
    ends = [len(envoy_log(0, n)) for n in range(1, 15)]
    assert marks[:14] == ends
    assert len(marks) < 150
    assert marks[-1] == path.stat().st_size
    assert all(after <= before * 17 / 16 + 300 for before, after in pairwise(marks))


def test_capture_is_one_segment_whole(tmp_path):
    """A capture has no lines to go on from."""
    path = tmp_path / "a.pcap"
    path.write_bytes(capture(3))
    segment = found(path)
    assert (segment.stream, segment.offset_from, segment.offset_to) == (None, 0, path.stat().st_size)


def test_log_that_changes_while_it_is_read_is_not_stored(log):
    """Else the store would hold rows under the id of other bytes."""
    segment = found(log)
    with closing(open_input(str(log))) as opened:
        log.write_bytes(log.read_bytes().replace(b"GET", b"PUT"))
        part = range_of(opened, segment)
        part.read(5)
        with pytest.raises(UnreadableInput, match="changed while it was read"):
            check_range(part, segment)


def test_id_of_a_capture_that_changes_while_it_is_read_is_of_the_bytes_that_were_decoded(tmp_path):
    """They are hashed as they go to the reader: rows under the id of other bytes cannot be."""
    path = tmp_path / "a.pcap"
    path.write_bytes(capture(3000))
    with closing(open_input(str(path))) as opened:
        part = Part(opened.plain)
        read = part.read(70_000)
        with path.open("r+b") as file:
            file.seek(80_000)
            file.write(bytes(1000))
        read += part.readall()
    assert read != capture(3000)
    assert part.content.digest() == blake3(read).digest()


def test_log_that_only_grows_while_it_is_read_is_fine(log):
    """Live logs do."""
    segment = found(log)
    log.write_bytes(log.read_bytes() + envoy_log(10, 20))
    with closing(open_input(str(log))) as opened:
        part = range_of(opened, segment)
        assert part.readall() == envoy_log(0, 10)
        assert check_range(part, segment) is segment


@given(cut=st.integers(0, 20_000), size=st.sampled_from([1, 100, 1 << 20]))
@settings(max_examples=60)
def test_truncated_gzip_gives_all_that_can_be_unpacked(cut, size):
    """A read that asks for more than there is must not lose what there is."""
    text = b"".join(b"line %d %d\n" % (n, n * n) for n in range(3000))
    packed = gzip.compress(text)
    plain = Plain(io.BytesIO(packed[: max(2, cut)]))
    stream = io.BufferedReader(plain, size)
    got = b""
    while chunk := stream.read(size):
        got += chunk
    assert got == zlib.decompressobj(31).decompress(packed[: max(2, cut)])
    assert plain.damaged == (max(2, cut) < len(packed))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda p: None, "No such file"),
        (lambda p: p.mkdir(), "folder"),
        (lambda p: p.touch(), "empty"),
        (lambda p: p.write_bytes(b"\x00" * 100), "not of a known format"),
        (lambda p: p.write_bytes(gzip.compress(b"")), "empty"),
        (lambda p: p.write_bytes(b"\x1f\x8bgarbage"), "damaged from its beginning"),
        (lambda p: p.symlink_to("/dev/null"), "not a file"),
        (lambda p: p.symlink_to(p), "symbolic links"),
    ],
    ids=["missing", "folder", "empty", "zeroes", "empty gzip", "bad gzip", "device", "loop"],
)
def test_what_cannot_be_read_is_named_with_its_place(tmp_path, make, says):
    """One line that says which file and why."""
    path = tmp_path / "input"
    make(path)
    with pytest.raises(UnreadableInput, match=says) as error:
        found(path)
    assert str(error.value).startswith(f"{path}: ")


def test_file_without_permission_is_named(log, monkeypatch):
    """Root can read everything, so the refusal is made by hand."""

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(UnreadableInput, match="Permission denied"):
        found(log)


def test_name_that_no_file_can_have_is_unreadable():
    """Names come from shell globs and route files."""
    with pytest.raises(UnreadableInput, match="no file has such a name"):
        found("a\0b")


def test_unknown_format_is_a_usage_problem(log):
    """Not the input's fault."""
    with pytest.raises(UsageProblem, match="no such format"):
        found(log, form="netflow")


@pytest.mark.parametrize("wanted", ["pcap", "calico"])
def test_input_of_another_format_than_wanted_is_unreadable(log, wanted):
    """The format is told by content; naming another one does not make it so."""
    with pytest.raises(UnreadableInput, match="not of that format"):
        found(log, form=wanted)


@given(st.binary(max_size=300))
@settings(max_examples=200)
def test_random_bytes_are_found_or_refused(tmp_path_factory, content):
    """Hostile bytes give a segment or UnreadableInput, never another exception."""
    path = tmp_path_factory.getbasetemp() / "random"
    path.write_bytes(content)
    try:
        segment = found(path)
    except UnreadableInput:
        return
    assert segment.receipt["bytes"] == len(content) or content.startswith(
        (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\x04\x22\x4d\x18")
    )
