"""What is kept beside a store comes back as it was, or not at all."""

from __future__ import annotations

import pyarrow as pa

from vzflow.store import memo

TABLES = {"one": pa.table({"a": [1, 2], "b": ["x", None]}), "none": pa.table({"c": pa.array([], pa.int64())})}


def test_what_is_kept_comes_back(tmp_path):
    """Also tables without rows."""
    memo.keep(tmp_path, "d1", TABLES)
    assert memo.recall(tmp_path, "d1") == TABLES


def test_another_digest_finds_nothing(tmp_path):
    """Neither before anything is kept nor after."""
    assert memo.recall(tmp_path, "d1") is None
    memo.keep(tmp_path, "d1", TABLES)
    assert memo.recall(tmp_path, "d2") is None


def test_only_the_newest_is_kept_and_who_reads_the_older_goes_on(tmp_path):
    """Also what a killed process left half-written goes."""
    (tmp_path / ".memo" / "tmpleft").mkdir(parents=True)
    memo.keep(tmp_path, "d1", TABLES)
    found = memo.recall(tmp_path, "d1")
    memo.keep(tmp_path, "d2", TABLES)
    assert [path.name for path in (tmp_path / ".memo").iterdir()] == ["d2"]
    assert found == TABLES


def test_a_digest_that_is_kept_twice_stays(tmp_path):
    """Two processes may make the same at the same moment."""
    memo.keep(tmp_path, "d1", TABLES)
    memo.keep(tmp_path, "d1", TABLES)
    assert memo.recall(tmp_path, "d1") == TABLES
    assert [path.name for path in (tmp_path / ".memo").iterdir()] == ["d1"]


def test_a_damaged_file_is_as_if_nothing_were_kept(tmp_path):
    """Cut, or not Arrow at all."""
    for content in (b"", b"ARROW1"):
        memo.keep(tmp_path, "d1", TABLES)
        (tmp_path / ".memo" / "d1" / "one.arrow").write_bytes(content)
        assert memo.recall(tmp_path, "d1") is None


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path):
    """A report of a store is one all the same."""
    (tmp_path / ".memo").write_text("in the way")
    memo.keep(tmp_path, "d1", TABLES)
    assert memo.recall(tmp_path, "d1") is None
