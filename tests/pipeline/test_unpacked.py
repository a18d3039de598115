"""Bytes of an input: compressed or not, from files and pipes, all that can be had of what is damaged."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import threading
from contextlib import closing

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vzflow.flow.errors import UnreadableInput
from vzflow.pipeline.unpacked import Plain, open_input

CODECS = ("gzip", "zstd", "lz4", "bz2")
TEXT = b"".join(b"line %d %d\n" % (n, n * n) for n in range(30_000))


def packed(data, codec):
    """The bytes *data* in one member or frame."""
    if codec == "gzip":
        return gzip.compress(data)
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, codec) as stream:
        stream.write(data)
    return out.getvalue().to_pybytes()


def unpacked(data, size=1 << 20):
    plain = Plain(io.BytesIO(data))
    got, buffer = b"", bytearray(size)
    while count := plain.readinto(buffer):
        got += buffer[:count]
    return got, plain.damaged


@pytest.mark.parametrize("codec", CODECS)
def test_what_is_compressed_is_found_by_its_first_bytes(codec):
    """Names prove nothing."""
    assert unpacked(packed(TEXT, codec)) == (TEXT, False)


@pytest.mark.parametrize("codec", CODECS)
def test_members_one_after_the_other_are_one_stream(codec):
    """`cat a.gz b.gz`, and what pigz and log shippers write."""
    assert unpacked(packed(TEXT[:999], codec) + packed(TEXT[999:], codec)) == (TEXT, False)


def test_zeros_after_a_gzip_member_are_padding():
    """Tapes and block devices leave them; they may also stand between members."""
    assert unpacked(gzip.compress(TEXT) + bytes(100_000)) == (TEXT, False)
    assert unpacked(gzip.compress(TEXT[:9]) + bytes(70) + gzip.compress(TEXT[9:])) == (TEXT, False)


@pytest.mark.parametrize("codec", CODECS)
def test_anything_else_after_a_member_is_damage(codec):
    """It was meant to be something; all before it is kept."""
    got, damaged = unpacked(packed(TEXT, codec) + b"and so on")
    assert damaged
    assert TEXT.startswith(got)
    assert len(TEXT) - len(got) < (1 if codec == "gzip" else 4096)


@pytest.mark.parametrize("inner", CODECS)
@pytest.mark.parametrize("outer", CODECS)
def test_compressed_twice_is_unpacked(inner, outer):
    """A rotated log.gz in an archive of .zst files."""
    assert unpacked(packed(packed(TEXT, inner), outer)) == (TEXT, False)


def test_compressed_three_times_is_left_for_the_user(tmp_path):
    """It is refused by name: nobody does that by intention."""
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(gzip.compress(gzip.compress(TEXT))))
    with closing(open_input(str(path))) as opened:
        assert opened.head.startswith(b"\x1f\x8b")


@given(codec=st.sampled_from(CODECS[1:]), cut=st.integers(5, 100_000), size=st.sampled_from([7, 4096, 5000, 1 << 20]))
@settings(max_examples=60)
def test_truncated_stream_ends_at_the_same_byte_whoever_reads_it(codec, cut, size):
    """The digest of a damaged file must not depend on the size of a buffer."""
    data = packed(TEXT, codec)[:cut]
    got, damaged = unpacked(data, size)
    assert (got, damaged) == unpacked(data)
    assert TEXT.startswith(got)
    assert damaged == (cut < len(packed(TEXT, codec)))


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_truncated_stream_gives_its_whole_blocks(codec):
    """All but the last of them and a little more."""
    text = TEXT * 20
    data = packed(text, codec)
    got, damaged = unpacked(data[: len(data) // 2])
    assert damaged
    assert len(got) > len(text) // 2 - (1 << 18)


@given(st.sampled_from([b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"BZh9", b"\x04\x22\x4d\x18"]), st.binary(max_size=300))
@settings(max_examples=150)
def test_random_bytes_behind_a_magic_number_are_damage_at_most(begin, noise):
    """Hostile bytes give some bytes or none, never an exception."""
    unpacked(begin + noise)


@pytest.mark.parametrize("codec", CODECS)
def test_memory_is_bounded_whatever_a_stream_unpacks_to(tmp_path, codec):
    """A bomb: a gigabyte of zeros in a few megabytes or less. A few pieces at a time are in memory."""
    path = tmp_path / "bomb"
    chunk, chunks = bytes(1 << 24), 8 if codec == "bz2" else 64
    with pa.OSFile(str(path), "wb") as file, pa.CompressedOutputStream(file, codec) as out:
        for _ in range(chunks):
            out.write(chunk)
    code = (
        "import resource, sys\nfrom vzflow.pipeline.unpacked import open_input\n"
        "opened = open_input(sys.argv[1]); buffer = bytearray(1 << 20); total = 0\n"
        "opened.head; peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\nbefore = peak()\n"
        "while count := opened.plain.readinto(buffer): total += count\n"
        "print(total, (peak() - before) // 1024)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True, timeout=120)
    total, grown = map(int, ran.stdout.split())
    assert total == len(chunk) * chunks
    assert grown < 40


def test_large_reads_of_a_file_go_into_the_buffer_of_the_reader(tmp_path, monkeypatch):
    """One copy, by the kernel: whoever decodes 40 GB asks for a piece and gets it in its own buffer."""
    path = tmp_path / "a"
    path.write_bytes(os.urandom(3 << 20))
    asked = []
    with closing(open_input(str(path))) as opened:
        opened.head  # noqa: B018  (it is read then)
        whole = opened._file.readinto

        class Watched(io.RawIOBase):
            def readinto(self, buffer):
                asked.append((id(memoryview(buffer).obj), len(buffer)))
                return whole(buffer)

        opened.plain._bottom._inner = Watched()
        buffer = bytearray(1 << 20)
        stream = io.BufferedReader(opened.plain, 1 << 16)
        got = b""
        while count := stream.readinto(buffer):
            got += buffer[:count]
    assert got == path.read_bytes()
    assert sum(size for _, size in asked if size > 1 << 16) >= 2 << 20


def test_pipe_is_read_once_and_can_be_put_aside(tmp_path):
    """A log has to be read twice; its bytes wait on the disk of the store."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_bytes(gzip.compress(TEXT)))
    writer.start()
    with closing(open_input(str(path))) as opened:
        assert (opened.size, opened.head) == (None, TEXT[: 1 << 16])
        assert opened.keep(tmp_path) is False
        assert (opened.size, opened.plain.readall(), opened.rewind().readall()) == (len(TEXT), TEXT, TEXT)
    writer.join()
    assert os.listdir(tmp_path) == ["pipe"]  # noqa: PTH208


def test_full_disk_while_a_pipe_is_put_aside_is_one_error(tmp_path, monkeypatch):
    """It names the input and the folder."""
    ours, theirs = os.pipe()
    os.write(theirs, b"some bytes")
    os.close(theirs)
    monkeypatch.setattr("os.dup", lambda _: ours)

    class Full(io.RawIOBase):
        def write(self, data):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: Full())
    with closing(open_input("-")) as opened, pytest.raises(UnreadableInput, match=r"put aside .* No space left"):
        opened.keep(tmp_path)
