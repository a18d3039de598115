"""Identity that comes later changes what was stored before, and says how much."""

from __future__ import annotations

from identity.identity_support import node, pod, us

from vzflow.flow.data import shipped
from vzflow.identity.snapshot import save
from vzflow.pipeline.ingest import ingest
from vzflow.pipeline.verbs import sql

SAMPLES = shipped("sample_captures")
MOVED = "select flow_id, initiator_kind, responder_kind, verdict from flow join verdict using (flow_id) order by 1"


def test_flows_that_a_later_snapshot_identifies_are_counted(tmp_path):
    """Those that stay as they were are not."""
    calico = str(SAMPLES / "calico.jsonl")
    assert ingest([calico], tmp_path / "S").moved == 0
    before = sql(tmp_path / "S", MOVED).to_pylist()
    moved = ingest([], tmp_path / "S", identity=[str(SAMPLES / "cluster.json")]).moved
    after = sql(tmp_path / "S", MOVED).to_pylist()
    assert len(before) == len(after) == 19
    assert 0 < moved == sum(a != b for a, b in zip(after, before, strict=True))


def test_a_snapshot_of_nobody_that_was_seen_moves_nothing(tmp_path):
    """It is read, and everything is judged as before."""
    ingest([str(SAMPLES / "calico.jsonl")], tmp_path / "S", identity=[str(SAMPLES / "cluster.json")])
    save([pod("web", "10.77.0.1", "09:00"), node("n9", "192.168.0.1")], tmp_path / "b.json", us("12:00"), ["Node"])
    result = ingest([], tmp_path / "S", identity=[str(tmp_path / "b.json")])
    assert (result.new_snapshots, result.moved) == (1, 0)
