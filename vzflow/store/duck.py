"""Run SQL texts over Arrow tables and Parquet files. The only file importing duckdb."""

from __future__ import annotations

import re
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import duckdb
import pyarrow as pa

from vzflow.flow.errors import Place, UnreadableStore, UsageProblem, VzflowError

#: DuckDB's names of the types that tables of vzflow are made of.
_TYPES = {
    pa.string(): "VARCHAR",
    pa.int64(): "BIGINT",
    pa.int32(): "INTEGER",
    pa.bool_(): "BOOLEAN",
    pa.float64(): "DOUBLE",
    pa.timestamp("us", tz="UTC"): "TIMESTAMP WITH TIME ZONE",
}

#: Where the path of a file says in which partition its rows are.
_PARTITION = "/dt=([^/]*)/hour=([^/]*)/[^/]*$"

_HUGEINT = pa.decimal128(38, 0)

Result = TypeVar("Result")


def connect(*, memory_limit: str | None = None, threads: int | None = None) -> Duck:
    """
    Return an empty database in memory, which fetches nothing from anywhere.

    Args:
        memory_limit: As `1GiB`; beyond it queries go on in a temporary folder. Most of the machine's memory if None.
        threads: One per core if None.
    """
    spill = Path(tempfile.gettempdir()) / f"vzflow-{uuid.uuid4()}"
    config: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
        "python_enable_replacements": False,  # else a query could name the variables of this program
        "temp_directory": str(spill),
    }
    if memory_limit is not None:
        config["memory_limit"] = memory_limit
    if threads is not None:
        config["threads"] = threads
    connection = duckdb.connect(config=config)
    connection.execute("SET TimeZone = 'UTC'")
    return Duck(connection)


class Duck:
    """
    A database session; a context manager that closes it. Names may be given again: the newest meaning counts.

    Whatever reads a damaged file of a store raises UnreadableStore; a query that needs more memory than there is, or
    that was interrupted, raises VzflowError.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._files: dict[str, list[str]] = {}
        self._kinds: dict[str, str] = {}
        self._confined = False

    def __enter__(self) -> Duck:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the session; its temporary folder goes too."""
        self._connection.close()

    def register(self, name: str, table: pa.Table) -> None:
        """Let queries read *table* as *name*; nothing is copied."""
        self._forget(name)
        self._connection.register(name, table)
        self._kinds[name] = "VIEW"

    def parquet_view(self, name: str, files: Sequence[str], schema: pa.Schema) -> None:
        """
        Let queries read *files* together as *name*, with the columns and types of *schema*; none is an empty table.

        The columns dt and hour are taken from the end of a file's path. (DuckDB's own way of reading partitions looks
        at the whole path: a store below a folder `cluster=x` would lose its column `cluster`.)
        """
        if files:
            columns = ", ".join(f"CAST({_source(f.name)} AS {_TYPES[f.type]}) AS {_name(f.name)}" for f in schema)
            listed = ", ".join(_text(_literally(file)) for file in files)
            sql = f"SELECT {columns} FROM read_parquet([{listed}], hive_partitioning = false)"  # noqa: S608
        else:
            columns = ", ".join(f"CAST(NULL AS {_TYPES[f.type]}) AS {_name(f.name)}" for f in schema)
            sql = f"SELECT {columns} WHERE false"
        self._files[name] = list(files)
        self.create_view(name, sql)

    def create_view(self, name: str, sql: str) -> None:
        """Let queries read what the query *sql* gives as *name*, computed anew each time."""
        self._create("VIEW", name, sql)

    def create_table(self, name: str, sql: str) -> None:
        """Let queries read what the query *sql* gives as *name*, computed once, now."""
        self._create("TABLE", name, sql)

    def run(self, sql: str, params: Mapping[str, Any] | None = None) -> pa.Table:
        """
        Return the rows of one query of ours; times are UTC, HUGEINT becomes int64 if every value fits.

        Args:
            sql: One statement; `$name` stands for a parameter.
            params: All of them and no others.
        """
        with self._translated():
            given = dict(params) if params else None
            return _plain(self._waited(lambda: self._connection.sql(sql, params=given).to_arrow_table()))

    def run_batches(
        self, sql: str, params: Mapping[str, Any] | None = None, *, rows: int = 65_536
    ) -> pa.RecordBatchReader:
        """
        Return the rows of one query as they come, at most *rows* at a time; times are UTC, HUGEINT stays decimal.

        Nothing else can be asked before the reader is exhausted or gone.
        """
        with self._translated():
            found = self._connection.sql(sql, params=dict(params) if params else None).to_arrow_reader(rows)
        schema = pa.schema([field.with_type(_utc(field.type)) for field in found.schema])

        def batches() -> Iterator[pa.RecordBatch]:
            with self._translated():
                for batch in found:
                    yield pa.RecordBatch.from_arrays(
                        [column.cast(t) for column, t in zip(batch.columns, schema.types, strict=True)], schema=schema
                    )

        return pa.RecordBatchReader.from_batches(schema, batches())

    def ask(self, sql: str) -> pa.Table:
        """
        Return the rows of a query that a user wrote.

        It can read what this session knows and do nothing else: from the first call on, the session reads no file but
        those of its Parquet views, writes none, and keeps its settings.

        Raises:
            UsageProblem: It is not one reading query, or DuckDB cannot run it; says why in one line.
        """
        try:
            statements = self._connection.extract_statements(sql)
        except duckdb.Error as error:
            raise _refused(error) from error
        if [s.type for s in statements] != [duckdb.StatementType.SELECT]:
            raise UsageProblem(
                "not one query that reads", at="query", do="Give one SELECT, FROM, DESCRIBE or SUMMARIZE"
            )
        self._confine()
        try:
            with self._translated():
                return _plain(self._waited(lambda: self._connection.sql(sql).to_arrow_table()))
        except duckdb.Error as error:
            raise _refused(error) from error

    def _confine(self) -> None:
        if self._confined:
            return
        # DuckDB asks first for the pattern, then for the file that it has found by it.
        paths = {path for files in self._files.values() for file in files for path in (file, _literally(file))}
        files = ", ".join(map(_text, sorted(paths)))
        self._connection.execute(f"SET allowed_paths = [{files}]")
        self._connection.execute("SET enable_external_access = false")
        self._connection.execute("SET lock_configuration = true")
        self._confined = True

    def _create(self, kind: str, name: str, sql: str) -> None:
        self._forget(name)
        with self._translated():
            self._waited(lambda: self._connection.execute(f"CREATE TEMP {kind} {_name(name)} AS {sql}"))
        self._kinds[name] = kind

    def _waited(self, work: Callable[[], Result]) -> Result:
        """
        Return what *work* returns, computed in another thread while this one waits.

        While DuckDB computes, Python runs no signal handler in the thread that called it: an interrupt would be heard
        when the query is over. A thread that waits hears it at once, and stops the query.
        """
        if threading.current_thread() is not threading.main_thread():
            return work()
        result: Future[Result] = Future()

        def compute() -> None:
            try:
                result.set_result(work())
            except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
                result.set_exception(error)

        thread = threading.Thread(target=compute, daemon=True)
        thread.start()
        try:
            return result.result()
        except KeyboardInterrupt:
            self._connection.interrupt()
            thread.join()
            raise

    def _forget(self, name: str) -> None:
        """Drop what *name* means so far: a registered table would hide a view that is made later."""
        kind = self._kinds.pop(name, None)
        if kind is not None:
            self._connection.execute(f"DROP {kind} {_name(name)}")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except duckdb.OutOfMemoryException as error:
            do = "Ask for less at once, or give it more memory"
            raise VzflowError("more memory is needed than there is", at="query", do=do) from error
        except duckdb.InterruptException as error:
            raise VzflowError("interrupted", at="query", do="Run it again") from error
        except duckdb.Error as error:
            for file in (f for files in self._files.values() for f in files):
                if file in str(error):
                    do = "Restore the store from a copy, or ingest into a new one"
                    raise UnreadableStore(f"damaged: {_said(error)}", at=file, do=do) from error
            raise


def _source(column: str) -> str:
    """Return the SQL for a *column* of a Parquet file: partition columns are in its path only."""
    if column in ("dt", "hour"):
        return f"regexp_extract(filename, {_text(_PARTITION)}, {1 if column == 'dt' else 2})"
    return _name(column)


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _literally(path: str) -> str:
    """Return a pattern that matches *path* alone: DuckDB takes every path for one."""
    return re.sub(r"([*?\[])", r"[\1]", path)


def _utc(kind: pa.DataType) -> pa.DataType:
    """Return *kind*, with the zone spelled `UTC`, where DuckDB writes `Etc/UTC`."""
    return pa.timestamp(kind.unit, tz="UTC") if pa.types.is_timestamp(kind) and kind.tz is not None else kind


def _plain(table: pa.Table) -> pa.Table:
    for place, field in enumerate(table.schema):
        column, kind = table.column(place), _utc(field.type)
        if kind == _HUGEINT:
            try:
                column = column.cast(pa.int64())
            except pa.ArrowInvalid:
                continue  # a number that only a decimal can hold
        elif kind != field.type:
            column = column.cast(kind)
        else:
            continue
        table = table.set_column(place, field.with_type(column.type), column)
    return table


def _said(error: duckdb.Error) -> str:
    """Return what DuckDB says in one line, without the excerpt of the query that follows."""
    return " ".join(str(error).split("\n\nLINE ")[0].split())[:500].rstrip(".?! ")


def _refused(error: duckdb.Error) -> UsageProblem:
    """Return what is wrong with a user's query, with the line where DuckDB names one."""
    line = re.search(r"\nLINE (\d+):", str(error))
    return UsageProblem(_said(error), at=Place("query", int(line[1]) if line else None), do="Correct the query")
