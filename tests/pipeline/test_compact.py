"""A store whose knowledge of the cluster was made small answers as before."""

from __future__ import annotations

from identity.identity_support import node, pod, us

from vzflow.flow.data import shipped
from vzflow.identity.snapshot import save
from vzflow.pipeline.ingest import ingest
from vzflow.pipeline.verbs import compact, open_judge, query
from vzflow.store.lake import Lake

KINDS = ["Pod", "Node"]


def hourly(tmp_path, hours, pods):
    """One snapshot file an hour."""
    paths = []
    for hour in hours:
        paths.append(tmp_path / f"{hour}.json")
        save([*pods, node("n1", "192.168.0.1")], paths[-1], us(f"{hour}:00"), KINDS)
    return [str(p) for p in paths]


def test_compacting_drops_repeated_observations_and_classifies_nothing_again(tmp_path):
    """The store forgets when it saw the same, not that it did."""
    files = hourly(tmp_path, range(12, 22), [pod("web", "10.244.1.16", "09:00")])
    capture = str(shipped("sample_captures") / "calico.jsonl")
    ingest([capture], tmp_path / "S", identity=files)
    asked = {"address": "10.244.1.16", "time": "2026-01-02T15:30:00Z"}
    held = query(tmp_path / "S", "who", **asked).to_pylist()
    before, after = compact(tmp_path / "S")
    assert (before, after) == (30, 14)
    assert query(tmp_path / "S", "who", **asked).to_pylist() == held
    assert held
    assert open_judge(tmp_path / "S").refresh() == 0
    assert compact(tmp_path / "S") == (14, 14)


def test_what_was_compacted_is_still_known_and_more_can_be_added(tmp_path):
    """A snapshot is added once, also after its rows went."""
    pods = [pod("web", "10.244.1.16", "09:00")]
    files = hourly(tmp_path, range(12, 16), pods)
    capture = str(shipped("sample_captures") / "calico.jsonl")
    ingest([capture], tmp_path / "S", identity=files)
    compact(tmp_path / "S")
    assert ingest([], tmp_path / "S", identity=files).new_snapshots == 0
    assert ingest([], tmp_path / "S", identity=hourly(tmp_path, [17], pods)).new_snapshots == 1
    objects = Lake.open(tmp_path / "S").identity_objects()
    assert objects is not None
    assert objects.num_rows == 4 + 4 + 3


def test_a_store_without_a_snapshot_has_nothing_to_compact(tmp_path):
    """That is no error."""
    ingest([str(shipped("sample_captures") / "calico.jsonl")], tmp_path / "S")
    assert compact(tmp_path / "S") == (0, 0)
