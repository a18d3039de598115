"""Small partitions are classified together, and every flow is judged as if it stood alone."""

from __future__ import annotations

import json
import re

from vzflow.flow.data import shipped
from vzflow.pipeline import judge
from vzflow.pipeline.ingest import ingest
from vzflow.pipeline.judge import passes
from vzflow.pipeline.verbs import sql
from vzflow.store.lake import Lake, Superseded

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
    monkeypatch.setattr(judge, "_PASS", 10)
    sizes = dict(zip(HOURS, (4, 6, 1, 30), strict=True))
    assert list(passes(HOURS, sizes)) == [HOURS[:2], HOURS[2:3], HOURS[3:]]
    assert list(passes([], sizes)) == []


def test_flows_without_a_time_are_classified_alone(monkeypatch):
    """Nothing tells them from the others once they are together."""
    monkeypatch.setattr(judge, "_PASS", 10)
    assert list(passes([*HOURS, TIMELESS], {})) == [HOURS, [TIMELESS]]


def test_classified_together_and_alone_is_the_same(tmp_path, monkeypatch):
    """Rows, verdicts and in which partition they are stored."""
    answers, places = [], []
    for name, limit in (("together", 1_000_000), ("alone", 1)):
        monkeypatch.setattr(judge, "_PASS", limit)
        ingest(day(tmp_path), tmp_path / name, identity=[str(SAMPLES / "cluster.json")])
        answers.append(sql(tmp_path / name, EVERYTHING))
        places.append(Lake.open(tmp_path / name).sizes("classified"))
    assert answers[0].equals(answers[1])
    assert places[0] == places[1] == Lake.open(tmp_path / "alone").sizes("recorded")
    assert len(places[0]) >= 4


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
