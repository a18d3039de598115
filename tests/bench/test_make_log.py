"""Generated logs are what they claim: lines, shapes and texts as the programs write them, and the same again."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter

import pytest
from bench import log_peers
from bench.make_log import SHAPES, Options, make, written
from pyarrow import parquet
from readers.log_support import read_bytes

from vzflow.readers import calico, envoy
from vzflow.readers.envoy.layouts import KNOWN

LINES = 5000


def text(shape, **options):
    return b"".join(written(Options(shape, LINES, **options))).decode()


@pytest.fixture(scope="module")
def logs():
    return {shape: text(shape) for shape in SHAPES}


@pytest.mark.parametrize("shape", SHAPES)
def test_same_options_give_the_same_bytes_and_another_seed_others(logs, shape, tmp_path):
    """What is measured can be measured again, and compressed it is the same."""
    assert logs[shape].count("\n") == LINES
    assert text(shape) == logs[shape] != text(shape, seed=2)
    for name in ("a", "b"):
        make(tmp_path / name, Options(shape, LINES, gzip=True))
    packed = (tmp_path / "a").read_bytes()
    assert packed == (tmp_path / "b").read_bytes()
    assert gzip.decompress(packed).decode() == logs[shape]


@pytest.mark.parametrize("shape", SHAPES)
def test_shorter_log_is_the_beginning_of_a_longer_one(logs, shape):
    """Memory is compared for more of the same."""
    assert logs[shape].startswith(b"".join(written(Options(shape, 700))).decode())


@pytest.mark.parametrize(("shape", "read"), [("calico", calico.read), ("istio", envoy.read)], ids=list(SHAPES))
def test_vzflow_takes_every_line_for_a_flow(logs, shape, read):
    """None is rejected or skipped."""
    _, tally = read_bytes(read, logs[shape].encode())
    assert (tally.read, tally.in_flows) == (LINES, LINES)


def test_calico_lines_have_all_ends_reporters_and_actions(logs):
    """Pods, networks, sets and hosts; a denied flow has no source port, as Calico aggregates by default."""
    records = [json.loads(line) for line in logs["calico"].splitlines()]
    assert log_peers.CALICO.keys() <= records[0].keys()
    assert len({tuple(record) for record in records}) == 1
    assert {r["source_type"] for r in records} == {r["dest_type"] for r in records} == {"wep", "net", "ns", "hep"}
    assert {r["reporter"] for r in records} == {"src", "dst"}
    assert {r["source_port"] is None for r in records if r["action"] == "deny"} == {True}
    assert {r["source_port"] is None for r in records if r["action"] == "allow"} == {False}
    assert all(r["start_time"] < r["end_time"] for r in records)
    assert len({r["source_name"] for r in records} | {r["dest_name"] for r in records}) > 1000
    assert len({policy for r in records for policy in r["policies"]["enforced_policies"]}) > 300


def test_istio_lines_are_of_both_sidecars_a_gateway_and_connections(logs):
    """Every line is of Istio's newest layout; request ids and addresses with ports differ from line to line."""
    assert all(KNOWN["istio 1.9 and later"].parse(line) for line in logs["istio"].encode().splitlines())
    rows = list(log_peers.istio_rows(logs["istio"].splitlines(keepends=True)))
    ways = Counter(re.match(r"[a-z]+", row[18])[0] for row in rows)
    assert min(ways["inbound"], ways["outbound"]) > LINES / 3
    http = [row for row in rows if row[1] != "-"]
    assert 0.4 * LINES < len(http) < 0.9 * LINES
    assert len({row[15] for row in http}) == len(http)
    assert len({row[21] for row in rows}) > 0.8 * LINES
    assert {row[4] for row in http} == {0, 200, 403, 404, 500, 504}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_peers_read_every_line(shape, packed, tmp_path):
    """What they are compared by is the whole work."""
    path = tmp_path / ("x.log.gz" if packed else "x.log")
    make(path, Options(shape, LINES, gzip=packed))
    assert log_peers.python_lines(shape, str(path)) == LINES
    assert log_peers.duckdb_lines(shape, str(path)) == LINES
    assert log_peers.duckdb_lines(shape, str(path), str(tmp_path / "stored")) == LINES
    assert parquet.read_metadata(tmp_path / "stored").num_rows == LINES
