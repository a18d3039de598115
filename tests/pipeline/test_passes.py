"""Small partitions are classified together, and every flow is judged as if it stood alone."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vzflow.flow.data import shipped
from vzflow.pipeline import passes as sized
from vzflow.pipeline.ingest import ingest
from vzflow.pipeline.passes import parts, passes
from vzflow.pipeline.verbs import sql
from vzflow.store.duck import connect
from vzflow.store.lake import Lake, Superseded
from vzflow.store.tables import RECORDED_SCHEMA

SAMPLES = shipped("sample_captures")
HOURS = [("2026-01-02", f"{hour:02}") for hour in range(4)]
TIMELESS = ("unknown", "unknown")
EVERYTHING = (
    "SELECT * EXCLUDE (first_seen, last_seen), first_seen, v.* FROM flow f JOIN verdict v USING (flow_id) ORDER BY 1"
)


def day(tmp_path):
    """The shipped samples, of which the Calico log is told again for each of four hours."""
    lines = [json.loads(line) for line in (SAMPLES / "calico.jsonl").read_text().splitlines()]
    later = [
        row | {"start_time": row["start_time"] + 3600 * hour, "end_time": row["end_time"] + 3600 * hour}
        for hour in range(4)
        for row in lines
    ]
    path = tmp_path / "day.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in later))
    return [str(path), str(SAMPLES / "envoy-text.log"), str(SAMPLES / "verrazzano.pcap")]


def test_neighbours_are_put_together_up_to_the_limit(monkeypatch):
    """Their order stays; what is larger than the limit alone is classified alone."""
    monkeypatch.setattr(sized, "_PASS", 10)
    sizes = dict(zip(HOURS, (4, 6, 1, 30), strict=True))
    assert list(passes(HOURS, sizes)) == [HOURS[:2], HOURS[2:3], HOURS[3:]]
    assert list(passes([], sizes)) == []


def test_flows_without_a_time_are_classified_alone(monkeypatch):
    """Nothing tells them from the others once they are together."""
    monkeypatch.setattr(sized, "_PASS", 10)
    assert list(passes([*HOURS, TIMELESS], {})) == [HOURS, [TIMELESS]]


def test_classified_together_alone_and_in_parts_is_the_same(tmp_path, monkeypatch):
    """Rows, verdicts and in which partition they are stored."""
    answers, places = [], []
    for name, limit in (("together", 1_000_000), ("alone", 60), ("in parts", 7)):
        monkeypatch.setattr(sized, "_PASS", limit)
        ingest(day(tmp_path), tmp_path / name, identity=[str(SAMPLES / "cluster.json")])
        answers.append(sql(tmp_path / name, EVERYTHING))
        places.append(Lake.open(tmp_path / name).sizes("classified"))
    assert answers[0].equals(answers[1])
    assert answers[0].equals(answers[2])
    assert places[0] == places[1] == places[2] == Lake.open(tmp_path / "alone").sizes("recorded")
    assert len(places[0]) >= 4


@pytest.mark.parametrize("times", [True, False])
def test_parts_are_as_many_as_memory_asks_for_and_together_have_every_flow_once(tmp_path, monkeypatch, times):
    """By time, or where there is none by record."""
    monkeypatch.setattr(sized, "_PASS", 100)
    hour = datetime(2026, 1, 2, tzinfo=UTC)
    rows = [
        {"segment": "s", "record": n, "first_seen": hour + timedelta(seconds=n // 3) if times else None}
        for n in range(1000)
    ]
    (tmp_path / "dt=2026-01-02" / "hour=00").mkdir(parents=True)
    file = tmp_path / "dt=2026-01-02" / "hour=00" / "part.parquet"
    schema = pa.schema([f for f in RECORDED_SCHEMA.remove_metadata() if f.name not in ("dt", "hour")])
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema([f.with_nullable(True) for f in schema])), file)
    with connect() as duck:
        seen = [
            duck.run("SELECT record FROM recorded").column("record").to_pylist()
            for _ in parts(duck, "recorded", [str(file)], 1000)
        ]
    assert len(seen) == 10
    assert max(map(len, seen)) < 120
    assert sorted(n for part in seen for n in part) == list(range(1000))


def test_a_partition_that_another_process_replaces_is_classified_again_and_the_others_are_not(tmp_path, monkeypatch):
    """Nothing of it is lost, and who loses the race does not give up."""
    put = Lake.replace_partition
    tried = []

    def contended(self, table, partition, rows, made_from, *, instead_of):
        tried.append(partition)
        if len(tried) == 2:
            raise Superseded("another process replaced it meanwhile", at="there", do="Run the command again")
        put(self, table, partition, rows, made_from, instead_of=instead_of)

    monkeypatch.setattr(Lake, "replace_partition", contended)
    ingest(day(tmp_path), tmp_path / "S", identity=[str(SAMPLES / "cluster.json")])
    lake = Lake.open(tmp_path / "S")
    assert lake.sizes("classified") == lake.sizes("recorded")
    assert sorted(tried) == sorted([*lake.sizes("recorded"), tried[1]])


def test_a_partition_that_others_keep_replacing_is_given_up(tmp_path, monkeypatch):
    """With a word that says which and what to do."""

    def lost(*_, **__):
        raise Superseded("another process replaced it meanwhile", at="there", do="Run the command again")

    monkeypatch.setattr(Lake, "replace_partition", lost)
    (error,) = ingest(day(tmp_path), tmp_path / "S", identity=[str(SAMPLES / "cluster.json")]).errors
    assert re.search(r"dt=2026-.*other processes keep replacing it.*Run the command again", str(error))
