"""Live clusters into snapshot files, with the clusters' answers put in place by hand."""

from __future__ import annotations

import gzip
import json

import pytest

from vzflow.flow.errors import ServiceUnavailable, UsageProblem
from vzflow.identity import listing, snapshot
from vzflow.pipeline.cluster import take_snapshot

NAMESPACE = {
    "apiVersion": "v1", "kind": "Namespace",
    "metadata": {"name": "keycloak", "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {}},
}  # fmt: skip
MOMENT = 1_767_323_045_000_000


@pytest.fixture
def cluster(monkeypatch):
    asked = []

    def fetch(context=None, kubeconfig=None, timeout=60.0):
        asked.append((context, kubeconfig))
        if context == "down":
            raise ServiceUnavailable("no list", at="there", do="Check it.")
        listed = {"Namespace": "8", "Pod": "7"}
        return listing.Fetched([NAMESPACE], listed, {"Job": "not permitted"}, ["jobs: not permitted"], MOMENT)

    monkeypatch.setattr(listing, "fetch", fetch)
    return asked


def test_snapshot_is_what_identity_reads(cluster, tmp_path):
    """Its objects, when it was taken by the cluster's clock, and which kinds it lists whole; notes are passed on."""
    (taken,) = take_snapshot(tmp_path / "s.json", kubeconfig="config", contexts=["here"])
    rows = snapshot.load([tmp_path / "s.json"], "default").to_pylist()
    assert taken.notes == ("jobs: not permitted",)
    assert cluster == [("here", "config")]
    assert [(row["kind"], row["name"]) for row in rows[1:]] == [("Namespace", "keycloak")]
    assert rows[1]["taken_at"].timestamp() * 1e6 == MOMENT
    assert json.loads(rows[0]["object"]) == {
        "listed": {"Namespace": ["*"], "Pod": ["*"]}, "not_listed": {"Job": "not permitted"},
    }  # fmt: skip
    assert {row["cluster"] for row in rows} == {"default"}


def test_snapshot_that_cannot_be_written_is_a_usage_problem(cluster, tmp_path):
    """The path is named."""
    (taken,) = take_snapshot(tmp_path / "nowhere" / "s.json")
    assert taken.error.exit_code == 2
    assert "cannot be written" in str(taken.error)
    (tmp_path / "file").touch()
    (taken,) = take_snapshot(f"{tmp_path}/file/inside/")
    assert "cannot be made: Not a directory" in str(taken.error)


def test_each_of_several_contexts_is_a_file_that_names_its_cluster(cluster, tmp_path):
    """By its context's name where no other is given; `--cluster` of ingest does not change it."""
    taken = take_snapshot(f"{tmp_path}/out/", contexts=["east", "admin@west/1"])
    assert [one.path.name for one in taken] == [
        "east-20260102T030405.000000Z.json.gz", "admin_west_1-20260102T030405.000000Z.json.gz",
    ]  # fmt: skip
    rows = snapshot.load([one.path for one in taken], "default")
    assert rows.column("cluster").unique().to_pylist() == ["east", "admin@west/1"]


def test_clusters_are_named_in_the_order_of_their_contexts(cluster, tmp_path):
    """One name suffices where there is one context, or none is named."""
    taken = take_snapshot(tmp_path, contexts=["a", "b"], clusters=["prod", "test"])
    assert [json.loads(gzip.decompress(one.path.read_bytes()))["metadata"]["annotations"]["vzflow.io/cluster"]
            for one in taken] == ["prod", "test"]  # fmt: skip
    (taken,) = take_snapshot(tmp_path, clusters=["own"])
    assert taken.path.name.startswith("own-")
    assert cluster == [("a", None), ("b", None), (None, None)]


def test_a_context_that_is_down_does_not_keep_the_others(cluster, tmp_path):
    """Its error is told of, and the other files are there."""
    taken = take_snapshot(tmp_path, contexts=["a", "down", "b"])
    assert [one.path is None for one in taken] == [False, True, False]
    assert taken[1].error.exit_code == 5
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("contexts", "clusters", "says"),
    [
        (["a", "b"], ["prod"], "--cluster: 1 names for 2 contexts"),
        ([], ["a", "b"], "--cluster: 2 names for 1 contexts"),
        (["a", "a"], [], "--context: named twice: a"),
        (["a", "b"], ["c", "c"], "--cluster: named twice: c"),
        (["a"], [""], "--cluster: not a name: ''"),
        (["a", "b"], ["x", "y"], "several contexts, one file"),
    ],
)
def test_names_that_do_not_go_together_are_a_usage_problem(cluster, tmp_path, contexts, clusters, says):
    """Before any cluster is asked."""
    with pytest.raises(UsageProblem, match=says):
        take_snapshot(tmp_path / "s.json", contexts=contexts, clusters=clusters)
    assert cluster == []
