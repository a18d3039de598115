"""The database reads what it is told to read, gives back plain Arrow, and says in one line why it will not."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from store.store_support import HOUR, THREE, add, flow

from vzflow.flow.errors import UnreadableStore, UsageProblem, VzflowError
from vzflow.flow.schema import FLOW_SCHEMA
from vzflow.store.duck import connect
from vzflow.store.lake import RECORDED_SCHEMA, Lake

ROWS = "SELECT segment, record, cluster, dt, hour FROM recorded ORDER BY record"


@pytest.fixture
def duck():
    with connect(threads=2) as session:
        yield session


def plain_schema(schema):
    """Return *schema* as a query gives it: every column may be null."""
    return pa.schema([field.with_nullable(True) for field in schema])


# Parquet files.


def test_a_view_of_a_store_is_its_rows_and_their_partitions(duck, tmp_path):
    """The partition columns are text from the path; every other column has the type of the schema."""
    lake = Lake.open(tmp_path / "s", create=True)
    add(lake)
    duck.parquet_view("recorded", lake.files("recorded"), RECORDED_SCHEMA)
    table = duck.run("FROM recorded ORDER BY record")
    assert table.schema == plain_schema(RECORDED_SCHEMA)
    assert duck.run(ROWS).to_pylist() == [
        {"segment": "a" * 16, "record": record, "cluster": "default", "dt": dt, "hour": hour}
        for record, dt, hour in ((1, "2026-01-02", "03"), (2, "unknown", "unknown"), (3, "2026-01-02", "04"))
    ]
    assert table.column("first_seen").to_pylist()[0] == datetime(2026, 1, 2, 3, tzinfo=UTC)


def test_a_view_of_no_files_is_an_empty_table_of_the_same_types(duck):
    """Queries bind against a store in which nothing is stored yet."""
    duck.parquet_view("recorded", [], RECORDED_SCHEMA)
    table = duck.run("FROM recorded")
    assert (table.num_rows, table.schema) == (0, plain_schema(RECORDED_SCHEMA))


@pytest.mark.parametrize(
    "name", ["with space", "it's", 'dq"', "50%", "a#b", "a?b", "a*b", "é", "dt=9", "cluster=x", "segment=1", "hour=7/x"]
)
def test_what_the_folder_is_called_changes_no_value(duck, tmp_path, name):
    """DuckDB takes paths for patterns, and `column=value` in them for data: neither may show."""
    (tmp_path / "aXb" / "store").mkdir(parents=True)
    lake = Lake.open(tmp_path / name / "store", create=True)
    add(lake, rows=[flow(1)])
    duck.parquet_view("recorded", lake.files("recorded"), RECORDED_SCHEMA)
    expected = [{"segment": "a" * 16, "record": 1, "cluster": "default", "dt": "2026-01-02", "hour": "03"}]
    assert duck.run(ROWS).to_pylist() == expected
    assert duck.ask(ROWS).to_pylist() == expected


def test_brackets_in_a_path_are_no_pattern(duck, tmp_path):
    """Files of a table elsewhere may be anywhere."""
    for folder in ("[ab]", "a"):
        (tmp_path / folder).mkdir()
        pq.write_table(pa.table({"record": [len(folder)]}), tmp_path / folder / "f.parquet")
    duck.parquet_view("t", [str(tmp_path / "[ab]" / "f.parquet")], pa.schema([("record", pa.int64())]))
    assert duck.run("FROM t").to_pylist() == [{"record": 4}]


def test_a_condition_on_the_partition_reads_its_files_alone(duck, tmp_path):
    """A report over an hour must not read the year."""
    lake = Lake.open(tmp_path / "s", create=True)
    add(lake, rows=[flow(hour, THREE + hour * HOUR) for hour in range(6)])
    files = lake.files("recorded")
    for file in files:
        if "hour=05" not in file:
            Path(file).write_bytes(b"junk")  # would be an error if it were read
    duck.parquet_view("recorded", [files[2], *files], RECORDED_SCHEMA)
    assert duck.run("SELECT record FROM recorded WHERE dt = '2026-01-02' AND hour = '05'").num_rows == 2


def test_a_damaged_file_is_the_stores_fault_and_is_named(duck, tmp_path):
    """Exit code 3, not a problem of the query."""
    lake = Lake.open(tmp_path / "s", create=True)
    add(lake, rows=[flow(1)])
    (file,) = lake.files("recorded")
    duck.parquet_view("recorded", [file], RECORDED_SCHEMA)
    whole = Path(file).read_bytes()
    for damage in (b"junk", whole[: len(whole) // 2], None):
        Path(file).unlink()
        if damage is not None:
            Path(file).write_bytes(damage)
        for read in (duck.run, duck.ask):
            with pytest.raises(UnreadableStore) as error:
                read("SELECT sum(record) FROM recorded")
            assert file in str(error.value)
            assert "\n" not in str(error.value)


# Names.


def test_the_newest_meaning_of_a_name_counts(duck):
    """A registered table would otherwise hide the view that takes its place: the rows of another partition."""
    makers = [
        lambda value: duck.register("t", pa.table({"x": [value]})),
        lambda value: duck.create_view("t", f"SELECT {value} AS x"),
        lambda value: duck.create_table("t", f"SELECT {value} AS x"),
    ]
    value = 0
    for first in makers:
        for second in makers:
            for make in (first, second):
                value += 1
                make(value)
                assert duck.run("FROM t").to_pylist() == [{"x": value}]


def test_queries_see_no_variable_of_the_program(duck):
    """DuckDB would look a name up among those of the function that calls it."""
    with pytest.raises(duckdb.CatalogException):
        duck.run("FROM sql")


# Values.


def test_rows_are_plain_arrow(duck):
    """Times are in `UTC`, as ours are spelled, integers stay integers, and a sum is one too."""
    duck.register("t", pa.table({"first_seen": pa.array([THREE], FLOW_SCHEMA.field("first_seen").type), "n": [2]}))
    table = duck.run(
        "SELECT first_seen, n, sum(n) AS total, max(first_seen) AS latest, NULL AS nothing FROM t GROUP BY ALL"
    )
    assert [str(t) for t in table.schema.types[:4]] == [
        "timestamp[us, tz=UTC]", "int64", "int64", "timestamp[us, tz=UTC]",
    ]  # fmt: skip
    assert table.to_pylist() == [
        {
            "first_seen": datetime(2026, 1, 2, 3, tzinfo=UTC),
            "n": 2,
            "total": 2,
            "latest": datetime(2026, 1, 2, 3, tzinfo=UTC),
            "nothing": None,
        }
    ]


def test_a_sum_beyond_int64_keeps_its_value(duck):
    """It stays a decimal; wrapping round would be a wrong number."""
    (row,) = duck.run(f"SELECT sum(x) AS total FROM (VALUES ({2**63 - 1}), ({2**63 - 1})) v(x)").to_pylist()
    assert int(row["total"]) == 2**64 - 2


def test_times_are_read_and_shown_in_utc(duck, monkeypatch):
    """Whatever zone the machine is in."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        with connect() as elsewhere:
            row = elsewhere.run(
                "SELECT TIMESTAMPTZ '2026-01-02 03:00:00' AS t, CAST(t AS VARCHAR) AS shown"
            ).to_pylist()
    finally:
        monkeypatch.undo()
        time.tzset()
    assert row == [{"t": datetime(2026, 1, 2, 3, tzinfo=UTC), "shown": "2026-01-02 03:00:00+00"}]


def test_parameters_are_given_by_name_all_and_no_others(duck):
    """A misspelt parameter is an error, never a null."""
    assert duck.run("SELECT $a + $b AS c", {"a": 1, "b": 2}).to_pylist() == [{"c": 3}]
    for params in ({"a": 1}, {"a": 1, "b": 2, "c": 3}):
        with pytest.raises(duckdb.Error):
            duck.run("SELECT $a + $b AS c", params)


def test_batches_are_the_rows_of_the_same_query(duck):
    """For results that need not be in memory at once."""
    sql = "SELECT i, to_timestamp(i) AS t FROM range($n) r(i) ORDER BY i"
    reader = duck.run_batches(sql, {"n": 5000}, rows=2048)
    found = list(reader)
    assert len(found) > 1
    assert pa.Table.from_batches(found) == duck.run(sql, {"n": 5000})


# Limits.


def test_a_query_that_needs_too_much_memory_is_one_line():
    """Not a traceback of the database."""
    with connect(memory_limit="20MB", threads=1) as duck, pytest.raises(VzflowError) as error:
        duck.run("SELECT list(i) FROM range(100000000) t(i)")
    assert "memory" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_query_larger_than_memory_goes_on_in_a_temporary_folder_that_is_removed(tmp_path, monkeypatch):
    """And not in the folder the user happens to be in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    sql = "SELECT count(*) AS n FROM (SELECT i, md5(i::VARCHAR) h FROM range(1500000) t(i) ORDER BY h, i LIMIT 1400000)"
    with connect(memory_limit="60MB", threads=1) as duck:
        assert duck.run(sql).to_pylist() == [{"n": 1_400_000}]
        assert duck.ask(sql).to_pylist() == [{"n": 1_400_000}]
        assert [entry.name for entry in tmp_path.iterdir()] == ["tmp"]
        assert len(list((tmp_path / "tmp").iterdir())) == 1
    assert [entry.name for entry in tmp_path.rglob("*")] == ["tmp"]


def test_an_interrupted_query_is_one_line(duck):
    """As by Ctrl-C in a program around it."""
    threading.Timer(0.3, duck._connection.interrupt).start()
    with pytest.raises(VzflowError, match="interrupted"):
        duck.run("SELECT count(*) FROM range(200000) a, range(200000) b WHERE a.range * b.range % 7 = 3")


# What a user asks.


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("SELECT * FROM flwo", "query: Catalog Error: Table with name flwo does not exist"),
        ("SELECT record,\n nope\nFROM t", 'Referenced column "nope" not found'),
        ("SELECT 1 AS x\nFRM t", "query:2: Parser Error"),
        ("SELECT error('two\nlines')", "two lines"),
        ("SELECT 'a'::INT", "Conversion Error"),
        ("SELECT $x", "Correct the query"),
    ],
)
def test_a_wrong_query_is_told_in_one_line(duck, sql, says):
    """Exit code 2 and what DuckDB says, without its drawing of the place."""
    duck.register("t", pa.table({"record": [1]}))
    with pytest.raises(UsageProblem) as error:
        duck.ask(sql)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    "sql", ["SELECT 1 AS x", "FROM t", "WITH a AS (FROM t) FROM a", "DESCRIBE t", "SUMMARIZE t", "SHOW TABLES"]
)
def test_a_query_that_reads_is_answered(duck, sql):
    """With or without SELECT."""
    duck.register("t", pa.table({"x": [1]}))
    assert duck.ask(sql).num_rows == 1


@pytest.mark.parametrize(
    "sql",
    [
        "", "-- nothing", "SELECT 1; SELECT 2", "CREATE TABLE x AS SELECT 1", "DROP VIEW t", "SET threads = 1",
        "COPY (SELECT 1) TO '{file}'", "EXPLAIN ANALYZE COPY (SELECT 1) TO '{file}'", "ATTACH '{file}'",
        "INSTALL httpfs", "LOAD httpfs", "EXPORT DATABASE '{file}'", "CALL pragma_version()", "PRAGMA version",
    ],
)  # fmt: skip
def test_a_statement_that_is_no_query_is_refused(duck, tmp_path, sql):
    """Asking changes nothing, neither in the session nor on disk."""
    duck.register("t", pa.table({"x": [1]}))
    with pytest.raises(UsageProblem, match="not one query that reads"):
        duck.ask(sql.format(file=tmp_path / "f"))
    assert list(tmp_path.iterdir()) == []


def test_a_query_reads_no_file_but_the_stores(duck, tmp_path):
    """Before and after the first question our own views work; other files never do."""
    lake = Lake.open(tmp_path / "s", create=True)
    add(lake, rows=[flow(1)])
    (tmp_path / "secret.csv").write_text("a\n1\n")
    duck.parquet_view("recorded", lake.files("recorded"), RECORDED_SCHEMA)
    for _ in range(2):
        assert duck.ask("SELECT count(*) AS n FROM recorded").to_pylist() == [{"n": 1}]
        for sql in (
            f"FROM '{tmp_path}/secret.csv'",
            f"FROM read_text('{tmp_path}/secret.csv')",
            f"FROM glob('{tmp_path}/*')",
        ):
            with pytest.raises(UsageProblem, match="Permission"):
                duck.ask(sql)
    assert duck.run("SELECT count(*) AS n FROM recorded").to_pylist() == [{"n": 1}]
