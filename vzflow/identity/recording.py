"""
The file of a watch: JSON, one document a line, whole lines only.

A line is a List as `vzflow snapshot` writes it, of one kind, whenever a kind was listed whole; or an event as the API
server sends it (`{"type": "MODIFIED", "object": {...}}`, also BOOKMARK), with `at`, when it came, and `cluster`. The
events of a kind follow on its List without a gap, also over several files, until its next List. A file begins with a
BOOKMARK for each kind that goes on from an earlier one: it repeats the resourceVersion and `at` of the last line there,
so that a file that is missing in between is noticed.

The file being written begins with a dot. When it is large or old enough, or the recorder stops, it is compressed and
appears whole under its name. What a killed recorder left is finished by the next one.
"""

from __future__ import annotations

import fcntl
import glob
import gzip
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from io import FileIO
from itertools import chain
from pathlib import Path
from typing import Any

from vzflow.flow.errors import Place, ServiceUnavailable, UsageProblem
from vzflow.identity.kept import timestamp
from vzflow.identity.kubernetes import Resource
from vzflow.identity.listing import Listed, named
from vzflow.identity.snapshot import heading, is_secret, withheld

_FINISHED, _PIECE = ".jsonl.gz", 1 << 20
_EFFORT = 6  # of gzip: 9 takes seconds longer, and a pod that is told to stop has thirty
_STAMP, _ANY_STAMP = "%Y%m%dT%H%M%S.%fZ", "????????T??????.??????Z"


@dataclass(frozen=True)
class Limits:
    """When a file is finished: after so many bytes, uncompressed, or seconds, whichever comes first."""

    size: int = 64 << 20
    seconds: float = 900.0


class Recording:
    """
    Writes what any number of threads give it, in files one after another.

    Args:
        folder: Made if there is none. Several recordings may share it.
        name: What file names begin with.
        cluster: Its name; null for the one that is named when the file is read.
        limits: When a file is finished.
        deliver: Puts a finished file where it belongs, from where *folder* is only a stop; null where it stays.
        clock: Seconds, that only grow.

    Raises:
        UsageProblem: The folder or a file in it cannot be made or written; of any method.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        cluster: str | None = None,
        limits: Limits | None = None,
        deliver: Callable[[Path], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._name, self._cluster = folder, name, cluster
        self._limits, self._hand_over, self._clock = limits or Limits(), deliver, clock
        self._lock = threading.Lock()
        self._file: FileIO | None = None
        self._began = 0.0
        self._last: dict[str, bytes] = {}  # kind -> the bookmark with which the next file begins
        self._closed = False
        self.written = 0  # bytes, uncompressed
        self.finished = 0  # files
        self.waiting = 0  # files that are finished and not delivered
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for left in self._files(".", ".jsonl"):
                self._recover(left)
        except OSError as error:
            raise _unwritable(folder, error) from error

    def event(self, kind: str, item: Mapping[str, Any], at: int) -> None:
        """Write one event: type, object with kind and apiVersion, and when it came in microseconds since 1970 UTC."""
        if not is_secret(item):
            version = str(item["metadata"].get("resourceVersion", ""))
            self._write([self._event(kind, withheld(item), at)], item["kind"], self._bookmark(item, version, at))

    def listing(self, resource: Resource, listed: Listed, items: Spool) -> None:
        """Write a whole list of one kind."""
        above = _line(heading(listed.at, [resource.kind], self._cluster, {resource.kind: listed.resource_version}))
        line = chain([above.removesuffix(b"}\n"), b',"items":['], items.pieces(), [b"]}\n"])
        empty = named({}, resource, listed.version)
        self._write(line, resource.kind, self._bookmark(empty, listed.resource_version, listed.at))

    def refusal(self, kind: str, why: str, at: int) -> None:
        """Write that a kind cannot be listed."""
        self._write([_line(heading(at, [], self._cluster, {}, {kind: why}) | {"items": []})], kind, b"")

    def _event(self, kind: str, item: Mapping[str, Any], at: int) -> bytes:
        its = {} if self._cluster is None else {"cluster": self._cluster}
        return _line({"type": kind, "at": timestamp(at), **its, "object": item})

    def _bookmark(self, item: Mapping[str, Any], version: str, at: int) -> bytes:
        said = {"apiVersion": item["apiVersion"], "kind": item["kind"], "metadata": {"resourceVersion": version}}
        return self._event("BOOKMARK", said, at)

    def spool(self) -> Spool:
        """Return a place for the objects of a list, which are many, until it is whole."""
        return Spool(self._folder)

    def tick(self) -> None:
        """Make sure that what was written outlasts the machine, and finish a file that is old enough."""
        with self._lock:
            due = self._file is not None and self._clock() - self._began >= self._limits.seconds
            if self._file is not None and not due:
                self._guarded(partial(os.fsync, self._file.fileno()))
        if due:
            self._finish(self._taken())

    def deliver(self) -> None:
        """
        Deliver finished files, those of earlier recorders first. Those that cannot be stay for the next time.

        Raises:
            ServiceUnavailable: Where they belong does not take them.
        """
        if self._hand_over is None:
            return
        files = self._files("", _FINISHED)
        self.waiting = len(files)
        for path in files:
            try:
                self._hand_over(path)
            except OSError as error:
                what = f"{self.waiting} files not delivered: {' '.join(str(error).split()).rstrip('.')}"
                do = "They are kept, and delivered later."
                raise ServiceUnavailable(what, at=Place(str(path)), do=do) from error
            self._guarded(partial(path.unlink, missing_ok=True))
            self.waiting -= 1

    def close(self) -> None:
        """Finish the file. What is written afterwards is dropped."""
        with self._lock:
            self._closed = True
        self._finish(self._taken())

    def _files(self, before: str, after: str) -> list[Path]:
        """Return the files of this name, oldest first, and not those of a name that begins like it."""
        return sorted(self._folder.glob(f"{before}{glob.escape(self._name)}-{_ANY_STAMP}{after}"))

    def _write(self, pieces: Iterable[bytes], kind: str, bookmark: bytes) -> None:
        """Append one line, or nothing of it; the next file begins with *bookmark* for that kind."""
        with self._lock:
            if self._closed:
                return
            file = self._file or self._guarded(self._begin)
            before = file.tell()
            try:
                for piece in pieces:
                    _write_all(file, piece)
                self._last[kind] = bookmark
            except BaseException as error:
                with suppress(OSError):
                    file.truncate(before)
                    file.seek(before)
                if isinstance(error, OSError):
                    raise _unwritable(self._folder, error) from error
                raise
            self.written += file.tell() - before
            full = file.tell() >= self._limits.size
        if full:
            self._finish(self._taken())

    def _begin(self) -> FileIO:
        stamp = datetime.now(UTC).strftime(_STAMP)
        self._file = FileIO(self._folder / f".{self._name}-{stamp}.jsonl", "xb")
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # others see that it is not left behind
        self._began = self._clock()
        _write_all(self._file, b"".join(self._last.values()))
        return self._file

    def _taken(self) -> FileIO | None:
        with self._lock:
            file, self._file = self._file, None
            return file

    def _finish(self, file: FileIO | None) -> None:
        if file is not None:
            self._guarded(partial(_compress, file))
            self.finished += 1

    def _recover(self, left: Path) -> None:
        """Finish a file that nobody writes any more, without the half line a killed recorder may have left."""
        with FileIO(left, "rb+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            file.truncate(_whole_lines(file))
            _compress(file)

    def _guarded(self, do: Callable[[], Any]) -> Any:  # noqa: ANN401 - what *do* returns
        try:
            return do()
        except OSError as error:
            raise _unwritable(self._folder, error) from error


class Spool:
    """
    The objects of one list, on disk: a cluster's lists are larger than a recorder's memory.

    Raises:
        UsageProblem: The folder cannot be written; of any method.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = tempfile.TemporaryFile(dir=folder, buffering=_PIECE)  # noqa: SIM115 - lives as long as the spool

    def clear(self) -> None:
        """Forget all objects."""
        self._file.seek(0)
        self._file.truncate()

    def extend(self, items: Iterable[Mapping[str, Any]], /) -> None:
        """Add raw objects."""
        try:
            for item in items:
                if not is_secret(item):
                    self._file.write((b"," if self._file.tell() else b"") + _line(withheld(item)).rstrip(b"\n"))
        except OSError as error:
            raise _unwritable(self._folder, error) from error

    def pieces(self) -> Iterable[bytes]:
        """Yield the text of all objects, with commas in between, some of it at a time."""
        self._file.seek(0)
        while piece := self._file.read(_PIECE):
            yield piece

    def close(self) -> None:
        self._file.close()


def _unwritable(folder: Path, error: OSError) -> UsageProblem:
    what = f"cannot be written: {error.strerror or error}"
    return UsageProblem(what, at=Place(str(folder)), do="Make room there, or choose another folder.")


def _line(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"


def _write_all(file: FileIO, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def _whole_lines(file: FileIO) -> int:
    """Return how many bytes there are up to the end of the last whole line."""
    end = file.seek(0, os.SEEK_END)
    while end:
        begin = max(0, end - _PIECE)
        file.seek(begin)
        found = file.read(end - begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0


def _compress(file: FileIO) -> None:
    """Put the content of a dotted file under its own name, compressed and whole; an empty one just goes."""
    source = Path(os.fsdecode(file.name))
    target = source.with_name(source.name.removeprefix(".").removesuffix(".jsonl") + _FINISHED)
    draft = target.with_name(f".{target.name}.draft")
    if file.seek(0, os.SEEK_END):
        with source.open("rb") as plain, draft.open("wb") as raw:
            with gzip.GzipFile("", "wb", _EFFORT, raw, mtime=0) as packed:
                shutil.copyfileobj(plain, packed, _PIECE)
            raw.flush()
            os.fsync(raw.fileno())
        draft.replace(target)
    source.unlink()
    file.close()
