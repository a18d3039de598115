"""Logs read once: what is new goes to the reader as it passes, and is what a look at the whole log beforehand finds."""

from __future__ import annotations

import gzip
from contextlib import ExitStack
from io import FileIO
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipeline.pipeline_support import calico_line, envoy_line, envoy_log, fates, put, receipts, recorded, stored
from readers.wrapped import cri, pieces

from vzflow.pipeline import scan, streams
from vzflow.pipeline.streams import Log
from vzflow.readers.base import HEAD, LINE_LIMIT

#: Enough lines that what is kept of a log is not all of it.
MANY = 9_000


def calico_log(begin, end):
    return b"".join(map(calico_line, range(begin, end)))


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def asked(monkeypatch):
    """A list to which every read of a file that is named `log` adds how many bytes it gave."""
    counts = []

    class Counted(FileIO):
        def readinto(self, buffer):
            count = super().readinto(buffer)
            counts.append(count)
            return count

    usual = Path.open

    def opened(path, mode="r", *rest, **more):
        return Counted(path) if path.name == "log" and mode == "rb" else usual(path, mode, *rest, **more)

    monkeypatch.setattr(Path, "open", opened)
    return counts


def again(counts, name, store):
    """What becomes of the log *name*, and how often its bytes are read, but for the look at its beginning."""
    counts.clear()
    fate = fates(stored([name], store))
    size = Path(name).stat().st_size
    return fate, (sum(counts) - min(size, HEAD)) / size


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_log_is_read_once_whether_it_is_new_or_known_or_has_grown(tmp_path, store, asked, pack):
    """Reading, and even more unpacking, is a good part of the work."""
    log = tmp_path / "log"
    for end, fate in ((MANY, "stored"), (MANY, "unchanged"), (MANY + 9, "continued"), (2 * MANY, "continued")):
        put(log, pack(calico_log(0, end)))
        assert again(asked, log, store) == ([fate], pytest.approx(1, abs=0.02))
    assert sum(r["flows"] for r in receipts(store)) == 2 * MANY


def test_log_that_begins_with_the_same_line_as_a_longer_one_is_read_once(tmp_path, store, asked):
    """All Zeek logs do; the next megabytes tell that it is another one."""
    stored([put(tmp_path / "old", calico_log(0, 2 * MANY))], store)
    log = put(tmp_path / "log", calico_log(0, 1) + calico_log(2 * MANY, 4 * MANY))
    assert again(asked, log, store) == (["stored"], pytest.approx(1, abs=0.02))


def test_log_that_parts_from_a_longer_one_late_is_read_again(tmp_path, store, asked):
    """What tells that it is another one comes when its beginning has passed; its rows are all there once."""
    old, new = calico_log(0, MANY), calico_log(0, 300) + calico_log(MANY, 3 * MANY)
    stored([put(tmp_path / "old", old)], store)
    assert again(asked, put(tmp_path / "log", new), store) == (["stored"], pytest.approx(2, abs=0.02))
    stored([put(tmp_path / "new", new)], tmp_path / "alone")
    assert receipts(tmp_path / "alone")[0]["segment"] == receipts(store)[1]["segment"]
    assert [r["flows"] for r in receipts(store)] == [MANY, 2 * MANY + 300]


def test_log_that_ends_in_a_line_longer_than_what_is_kept_ends_before_it(tmp_path, store, asked):
    """The reader was given a part of that line: the range is read again, and nothing is counted twice."""
    begun = b"x" * (5 * LINE_LIMIT)
    log = put(tmp_path / "log", calico_log(0, MANY) + begun)
    assert again(asked, log, store)[0] == ["stored"]
    (receipt,) = receipts(store)
    assert (receipt["flows"], receipt["records_read"], receipt["unfinished_bytes"]) == (MANY, MANY, len(begun))
    put(log, calico_log(0, MANY) + begun + b"\n" + calico_log(MANY, MANY + 1))
    (result,) = stored([log], store).inputs
    assert (result.fate, result.records, result.flows) == ("continued", 2, 1)


def test_log_that_ends_in_pieces_is_read_once(tmp_path, store, asked):
    """The reader is as far behind as the pieces of a line can reach."""
    whole = b"".join(cri(line) + b"\n" for line in calico_log(0, MANY).splitlines())
    begun = b"".join(cri(b"x" * 16_000, "P") + b"\n" for _ in range(60))
    assert again(asked, put(tmp_path / "log", whole + begun), store) == (["stored"], pytest.approx(1, abs=0.02))
    (receipt,) = receipts(store)
    assert (receipt["flows"], receipt["unfinished_bytes"]) == (MANY, len(begun))


def cut_in_pieces(begin, end):
    """Lines of a container, every second one in pieces."""
    out = []
    for number in range(begin, end):
        *first, last = pieces(envoy_line(number)[:-1], 1 + number % 2)
        out += [cri(text, "P") + b"\n" for text in first]
        out.append(cri(last) + b"\n")
    return b"".join(out)


@given(st.data())
@settings(max_examples=8)
def test_what_is_found_on_the_way_is_what_is_found_beforehand(tmp_path_factory, data):
    """Whatever is stored of logs that begin alike, and wherever they are cut: the same receipts and rows."""
    made = data.draw(st.sampled_from([envoy_log, cut_in_pieces]))
    logs = [made(0, 40), made(0, 12) + made(100, 130), made(0, 1) + b"y" * 4000 + made(200, 230), made(300, 310)]
    folder = tmp_path_factory.mktemp("logs")
    names = [put(folder / "first", made(400, 402))]
    for number in range(data.draw(st.integers(2, 6))):
        which, permille = data.draw(st.sampled_from(range(len(logs)))), data.draw(st.integers(0, 1000))
        names.append(put(folder / f"{number}", logs[which][: len(logs[which]) * permille // 1000]))
    with ExitStack() as stack:
        for name, size in (("PIECE", 300), ("MARK", 200), ("_LOOKED_AT", 900), ("_RECENT", 1100)):
            stack.enter_context(patch.object(scan, name, size))
        stack.enter_context(patch.object(streams, "MARK", 200))
        on_the_way = [fates(stored([name], folder / "one")) for name in names]
        stack.enter_context(patch.object(Log, "look", lambda _: False))
        beforehand = [fates(stored([name], folder / "two")) for name in names]
    assert on_the_way == beforehand
    assert recorded(folder / "one") == recorded(folder / "two")
    assert told(folder / "one") == told(folder / "two")


def told(store):
    return [{k: v for k, v in receipt.items() if k != "ingested_at"} for receipt in receipts(store)]
