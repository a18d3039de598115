"""A kind that could not be listed is told of until it can be."""

from __future__ import annotations

from identity.identity_support import KINDS, us

from vzflow.identity.snapshot import load, save
from vzflow.identity.unlisted import not_listed

REFUSED = {"Job": "not permitted (403 Forbidden)"}


def snapshots(folder, *taken):
    """Load one snapshot for each clock time with the kinds it could not list."""
    for clock, missing in taken:
        listed = [kind for kind in KINDS if kind not in missing]
        save([], folder / f"{clock}.json", us(clock), listed, None, {}, missing)
    return load(sorted(folder.glob("*.json"), reverse=True), "prod")


def test_a_kind_the_newest_snapshot_lacks_is_told_of(tmp_path):
    """A right that was taken away matters, whatever older snapshots could read."""
    told = not_listed(snapshots(tmp_path, ("11:00", {}), ("12:00", REFUSED)))
    assert told == [{"cluster": "prod", "kind": "Job", "why": "not permitted (403 Forbidden)"}]


def test_a_kind_that_was_listed_since_is_not(tmp_path):
    """Somebody granted the right."""
    assert not_listed(snapshots(tmp_path, ("11:00", REFUSED), ("12:00", {}))) == []


def test_a_kind_the_cluster_does_not_have_is_not_missing(tmp_path):
    """A cluster without Istio has no PeerAuthentications that a report could lack."""
    assert not_listed(snapshots(tmp_path, ("12:00", {"Job": "not in this cluster (404 Not Found)"}))) == []


def test_lists_of_kubectl_say_nothing_of_it(tmp_path):
    """What nobody asked for is not missing."""
    (tmp_path / "s.json").write_text('{"kind": "List", "apiVersion": "v1", "items": []}')
    assert not_listed(load([tmp_path / "s.json"], "c")) == []
    assert not_listed(load([], "c")) == []
