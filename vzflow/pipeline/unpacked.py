"""
Name of an input -> its uncompressed bytes: files, pipes and standard input, compressed or not.

Bytes go from the file into the buffer that the caller gives. Memory is bounded whatever a stream unpacks to.
"""

from __future__ import annotations

import gzip
import io
import os
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISDIR, S_ISFIFO, S_ISREG, S_ISSOCK
from typing import Any, BinaryIO, Protocol

import pyarrow as pa

from vzflow.flow.errors import Place, UnreadableInput
from vzflow.readers.sniff import HEAD

#: The name of standard input.
STDIN = "-"
#: Bytes that are read, hashed and decoded while they are in the processor's cache.
PIECE = 1 << 20
#: A compressed file may hold a compressed file, and no more: `a.pcap.gz` in a .zst.
_NESTED = 2
#: Compressed bytes that are unpacked at a time.
_PACKED = 1 << 16
#: Bytes asked of Arrow at a time: when a stream is damaged, what it has of them is lost.
_WINDOW = 1 << 12

#: What is said of an input whose compressed stream cannot be read to its end.
DAMAGE = "the compressed stream ends in damage"

#: First bytes of what Arrow unpacks, with its name for it.
_CODECS = ((b"\x28\xb5\x2f\xfd", "zstd"), (b"\x04\x22\x4d\x18", "lz4"), (b"BZh", "bz2"))
_GZIP = b"\x1f\x8b"


class _Unpacker(Protocol):
    """Gives the uncompressed bytes of a stream up to the end or to `damaged`; `codec` names what packed it."""

    damaged: bool
    codec: str

    def readinto(self, buffer: memoryview) -> int: ...


class Ahead(io.RawIOBase):
    """A stream whose beginning can be looked at before it is read; `taken` bytes were asked of it so far."""

    def __init__(self, inner: BinaryIO | Ahead | _Unpacker) -> None:
        self.taken = 0
        self._inner: Any = inner
        self._held = memoryview(b"")

    def readable(self) -> bool:
        return True

    def peek(self, size: int) -> bytes:
        """Return the first *size* bytes, fewer only where the stream ends."""
        held = bytearray(self._held)
        while len(held) < size:
            more = bytearray(size - len(held))
            count = self._inner.readinto(memoryview(more))
            if not count:
                break
            held += more[:count]
        self._held = memoryview(bytes(held))
        return bytes(self._held[:size])

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - the buffer protocol has no name in 3.11
        view = memoryview(buffer)
        if self._held:
            count = min(len(view), len(self._held))
            view[:count], self._held = self._held[:count], self._held[count:]
        else:
            count = self._inner.readinto(view)
        self.taken += count
        return count


class Plain(Ahead):
    """The uncompressed bytes of a stream. A damaged compressed stream ends early and says so in `damaged`."""

    def __init__(self, raw: BinaryIO) -> None:
        self._bottom = stream = Ahead(raw)
        self._unpackers: list[_Unpacker] = []
        while len(self._unpackers) < _NESTED and (unpacker := _unpacker(stream)) is not None:
            self._unpackers.append(unpacker)
            stream = Ahead(unpacker)
        super().__init__(stream)

    @property
    def damaged(self) -> bool:
        return any(unpacker.damaged for unpacker in self._unpackers)

    @property
    def codecs(self) -> tuple[str, ...]:
        """What it is compressed with, the outermost first; empty if it is not."""
        return tuple(unpacker.codec for unpacker in self._unpackers)

    @property
    def position(self) -> int:
        """Bytes of the file, as it is stored, that were read so far."""
        return self._bottom.taken


def _unpacker(stream: Ahead) -> _Unpacker | None:
    magic = stream.peek(4)
    if magic.startswith(_GZIP):
        return _Gzip(stream)
    return next((_Arrow(stream, codec) for begin, codec in _CODECS if magic.startswith(begin)), None)


class _Gzip:
    """Gzip members one after the other. zlib by itself, because it gives all that stands before a damage."""

    codec = "gzip"

    def __init__(self, packed: Ahead) -> None:
        self.damaged = False
        self._packed = packed
        self._state: Any = zlib.decompressobj(31)
        self._rest = b""

    def readinto(self, buffer: memoryview) -> int:
        while not self.damaged:
            if self._state.eof:
                # Padding of zeros may follow a member, as on tapes; then another one, or the end.
                self._rest = (self._state.unused_data or self._packed.read(_PACKED)).lstrip(b"\0")
                while not self._rest and (more := self._packed.read(_PACKED)):
                    self._rest = more.lstrip(b"\0")
                if not self._rest:
                    return 0
                self._state = zlib.decompressobj(31)
            packed = self._rest or self._packed.read(_PACKED)
            try:
                found = self._state.decompress(packed, len(buffer))  # without more input, what it still holds
            except zlib.error:
                found, packed = b"", b""
            self._rest = self._state.unconsumed_tail
            if found:
                buffer[: len(found)] = found
                return len(found)
            self.damaged = not packed
        return 0


class _Arrow:
    """
    Frames of what Arrow unpacks, one after the other.

    Arrow is always asked for a whole window, so that a damaged stream ends at the same byte whoever reads it.
    """

    def __init__(self, packed: Ahead, codec: str) -> None:
        self.damaged = False
        self.codec = "bzip2" if codec == "bz2" else codec
        self._stream = pa.CompressedInputStream(pa.PythonFile(packed, mode="r"), codec)
        self._window = memoryview(bytearray(_WINDOW))
        self._held = self._window[:0]

    def readinto(self, buffer: memoryview) -> int:
        done = 0
        while done < len(buffer) and not self.damaged:
            if not self._held and len(buffer) - done >= _WINDOW:
                count = self._unpacked(buffer[done : done + _WINDOW])
            else:
                if not self._held:
                    self._held = self._window[: self._unpacked(self._window)]
                count = min(len(buffer) - done, len(self._held))
                buffer[done : done + count], self._held = self._held[:count], self._held[count:]
            if not count:
                break
            done += count
        return done

    def _unpacked(self, window: memoryview) -> int:
        try:
            return int(self._stream.readinto(window))
        except (OSError, pa.ArrowException) as error:
            if getattr(error, "errno", None) is not None:  # of the file, not of what it holds
                raise
            self.damaged = True
            return 0


class Opened:
    """
    An input that is open.

    Args:
        name: As it was given.
        size: Bytes of the file as it is stored; null for a pipe, which can be read once only.
    """

    def __init__(self, name: str, file: BinaryIO, size: int | None) -> None:
        self.name = name
        self.size = size
        self.plain = Plain(file)
        self._file = file

    @property
    def head(self) -> bytes:
        """The first HEAD bytes of the uncompressed content, asked for before it is read."""
        return self.plain.peek(HEAD)

    def rewind(self) -> Plain:
        """Return the uncompressed bytes from the beginning. Not for pipes."""
        self._file.seek(0)
        self.plain = Plain(self._file)
        return self.plain

    def keep(self, folder: Path) -> bool:
        """
        Put a pipe's uncompressed bytes aside in a file without a name in *folder*: from then on it is like any file.

        Returns:
            Whether its compressed stream ends in damage, which the file does not show.
        """
        aside = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  (closed with this)
        buffer = memoryview(bytearray(PIECE))
        size = 0
        while count := self.plain.readinto(buffer):
            try:
                size += aside.write(buffer[:count])
            except OSError as error:
                what = f"cannot be put aside in {folder}: {error.strerror}"
                raise UnreadableInput(what, at=Place(self.name), do="Make space, or save it to a file.") from error
        damaged = self.plain.damaged
        self._file.close()
        self._file, self.size = aside, size
        self.rewind()
        return damaged

    def close(self) -> None:
        self._file.close()


def open_input(name: str) -> Opened:
    """
    Open an input; STDIN is standard input.

    Raises:
        UnreadableInput: It cannot be opened.
    """
    with readable(name):
        if name == STDIN:
            return _standard_input()
        mode = Path(name).stat().st_mode
        if S_ISDIR(mode):
            raise UnreadableInput("this is a folder", at=Place(name), do="Name the files in it.")
        if not S_ISREG(mode) and not S_ISFIFO(mode):
            raise UnreadableInput("not a file", at=Place(name), do="Save it to a file first.")
        file = Path(name).open("rb", buffering=0)  # noqa: SIM115  (closed by Opened)
        return Opened(name, file, os.fstat(file.fileno()).st_size if S_ISREG(mode) else None)


def _standard_input() -> Opened:
    if sys.stdin is not None and sys.stdin.isatty():
        raise UnreadableInput("standard input is a terminal", at=Place(STDIN), do="Pipe a capture or a log into it.")
    file = open(os.dup(0), "rb", buffering=0)  # noqa: PTH123, SIM115  (it has no path; closed by Opened)
    os.set_blocking(file.fileno(), True)  # whoever shares it may have set it not to wait: nothing yet is not the end
    about = os.fstat(file.fileno())
    if S_ISREG(about.st_mode) and file.tell() == 0:
        return Opened(STDIN, file, about.st_size)
    return Opened(STDIN, file, None)


def is_pipe(name: str) -> bool:
    """Whether an input can be opened and read once only."""
    try:
        return name == STDIN or S_ISFIFO(Path(name).stat().st_mode) or S_ISSOCK(Path(name).stat().st_mode)
    except (OSError, ValueError):
        return False


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Turn what the file system raises about an input into one line about it."""
    try:
        yield
    except gzip.BadGzipFile:
        raise
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        raise UnreadableInput(what, at=Place(name), do="Check the name, its permissions and the disk.") from error
    except ValueError as error:  # a NUL in the name
        if "null" not in str(error):
            raise
        raise UnreadableInput("cannot be read: no file has such a name", at=Place(name), do="Check it.") from error
