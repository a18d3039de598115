"""
What people use for logs instead: DuckDB's readers, and a loop in Python. `python log_peers.py duckdb calico LOG`.

Both parse all fields of Istio's text, or those of Calico's JSON that vzflow reads, and count the lines. With `--to
FILE` DuckDB writes them as Parquet, compressed as vzflow does. Neither says what a field means.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

#: Fields with DuckDB's types; a list of texts is one of labels or of policies.
_TEXTS = "VARCHAR[]"
_END = {"ip": "VARCHAR", "name": "VARCHAR", "name_aggr": "VARCHAR", "namespace": "VARCHAR", "port": "BIGINT",
        "type": "VARCHAR", "labels": f"STRUCT(labels {_TEXTS})"}  # fmt: skip
CALICO = {
    "start_time": "BIGINT", "end_time": "BIGINT",
    **{f"{side}_{name}": kind for side in ("source", "dest") for name, kind in _END.items()},
    "dest_service_namespace": "VARCHAR", "dest_service_name": "VARCHAR", "proto": "VARCHAR", "action": "VARCHAR",
    "reporter": "VARCHAR", "policies": f"STRUCT(enforced_policies {_TEXTS}, pending_policies {_TEXTS})",
    "bytes_in": "BIGINT", "bytes_out": "BIGINT", "packets_in": "BIGINT", "packets_out": "BIGINT",
    "num_flows": "BIGINT", "host": "VARCHAR",
}  # fmt: skip
ISTIO = {
    "start_time": "VARCHAR", "request": "VARCHAR", "response_code": "BIGINT", "response_flags": "VARCHAR",
    "details": "VARCHAR", "termination": "VARCHAR", "reason": "VARCHAR", "bytes_received": "BIGINT",
    "bytes_sent": "BIGINT", "duration": "BIGINT", "service_time": "BIGINT", "forwarded_for": "VARCHAR",
    "user_agent": "VARCHAR", "request_id": "VARCHAR", "authority": "VARCHAR", "upstream_host": "VARCHAR",
    "cluster": "VARCHAR", "upstream_local": "VARCHAR", "downstream_local": "VARCHAR", "downstream_remote": "VARCHAR",
    "server_name": "VARCHAR", "route": "VARCHAR",
}  # fmt: skip
_BARE, _QUOTED = r"(\S+)", r'"([^"]*)"'
_ISTIO_LINE = re.compile(
    " ".join([r"\[([^\]]+)\]", _QUOTED, *[_BARE] * 4, _QUOTED, *[_BARE] * 4, *[_QUOTED] * 5, *[_BARE] * 6]) + "\n"
)


def duckdb_lines(shape: str, path: str, out: str | None = None) -> int:
    """Read with `read_json` or `read_csv`, types given: `count` of every column, so that none is left out, or COPY."""
    import duckdb

    if shape == "calico":
        source = f"read_json('{path}', format = 'newline_delimited', columns = {CALICO})"
    else:
        source = (
            f"read_csv('{path}', columns = {ISTIO}, delim = ' ', quote = '\"', escape = '\"', header = false, "
            "nullstr = '-', auto_detect = false)"
        )
    query = f"SELECT count(*), count(COLUMNS(*)) FROM {source}"
    if out is not None:
        query = f"COPY (FROM {source}) TO '{out}' (FORMAT parquet, COMPRESSION zstd)"
    return int(duckdb.execute(query).fetchall()[0][0])


def python_lines(shape: str, path: str) -> int:
    """Read line by line with `json` or `re`; numbers and times become such."""
    with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as lines:
        return sum(1 for _ in (map(json.loads, lines) if shape == "calico" else istio_rows(lines)))


def istio_rows(lines: Iterable[str]) -> Iterator[tuple[Any, ...]]:
    """Yield the fields of every line."""
    for line in lines:
        match = _ISTIO_LINE.fullmatch(line)
        if match is None:
            raise ValueError(line)
        time, request, code, flags, details, termination, reason, received, sent, took, service, *rest = match.groups()
        yield (
            datetime.fromisoformat(time), *request.split(" "), int(code), flags, details, termination, reason,
            int(received), int(sent), int(took), None if service == "-" else int(service), *rest,
        )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="Read a log without vzflow.")
    parser.add_argument("reader", choices=("duckdb", "python"))
    parser.add_argument("shape", choices=("calico", "istio"))
    parser.add_argument("path")
    parser.add_argument("--to", help="Parquet file that DuckDB writes")
    options = parser.parse_args()
    if options.reader == "duckdb":
        print("lines", duckdb_lines(options.shape, options.path, options.to))
    else:
        print("lines", python_lines(options.shape, options.path))


if __name__ == "__main__":
    main()
