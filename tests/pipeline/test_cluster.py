"""A live cluster into a snapshot file, with the cluster's answer put in place by hand."""

from __future__ import annotations

import pytest

from vzflow.flow.errors import UsageProblem
from vzflow.identity import kubernetes, snapshot
from vzflow.pipeline.cluster import take_snapshot

NAMESPACE = {
    "apiVersion": "v1", "kind": "Namespace",
    "metadata": {"name": "keycloak", "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {}},
}  # fmt: skip
MOMENT = 1_767_323_045_000_000


@pytest.fixture
def cluster(monkeypatch):
    asked = {}

    def fetch(context=None, kubeconfig=None):
        asked.update(context=context, kubeconfig=kubeconfig)
        return kubernetes.Fetched([NAMESPACE], ["Namespace", "Pod"], ["jobs: not permitted"], MOMENT)

    monkeypatch.setattr(kubernetes, "fetch", fetch)
    return asked


def test_snapshot_is_what_identity_reads(cluster, tmp_path):
    """Its objects, when it was taken by the cluster's clock, and which kinds it lists whole; notes are passed on."""
    notes = take_snapshot(tmp_path / "s.json", kubeconfig="config", context="here")
    rows = snapshot.load([tmp_path / "s.json"], "default").to_pylist()
    assert notes == ["jobs: not permitted"]
    assert cluster == {"kubeconfig": "config", "context": "here"}
    assert [(row["kind"], row["name"]) for row in rows[1:]] == [("Namespace", "keycloak")]
    assert rows[1]["taken_at"].timestamp() * 1e6 == MOMENT
    assert '"Pod":["*"]' in rows[0]["object"]


def test_snapshot_that_cannot_be_written_is_a_usage_problem(cluster, tmp_path):
    """The path is named."""
    with pytest.raises(UsageProblem, match="cannot be written"):
        take_snapshot(tmp_path / "nowhere" / "s.json")
