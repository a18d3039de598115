"""The truth of a simulated cluster against what identification says of its flows."""

from __future__ import annotations

from itertools import pairwise

import pytest
from identity import attribution
from identity.churn import BEGIN, HOUR, SECOND, Cluster, Size
from identity.churn_flows import OUTSIDE, Flows
from identity.churn_objects import changes

SHORT = Size(hours=2, life=15 * 60 * SECOND)


@pytest.fixture(scope="module", params=[4, 5])
def cluster(request):
    """Two hours of a cluster that is none of those on the page."""
    return Cluster(SHORT, request.param)


def test_nobody_shares_an_address_of_a_pod_in_a_simulated_cluster(cluster):
    """The truth is one holder; some get an address within a second of its release."""
    held: dict[str, list[tuple[int, int]]] = {}
    for life in cluster.lives:
        assert life.created <= life.started < life.addressed < life.told
        assert life.released >= life.finished
        if not life.host_network:
            held.setdefault(life.address, []).append((life.addressed, life.released))
    gaps = [after[0] - before[1] for spans in held.values() for before, after in pairwise(sorted(spans))]
    assert 0 < min(gaps) < SECOND


def test_the_same_seed_gives_the_same_cluster_and_flows():
    """A rate on a page is worth nothing if it cannot be measured again."""
    made = [Cluster(SHORT, 4) for _ in range(2)]
    assert [life.title for life in made[0].lives] == [life.title for life in made[1].lives]
    drawn = [Flows(c, "c", near=0.5).draw(1000, BEGIN, c.end)[0] for c in made]
    assert drawn[0].equals(drawn[1])
    assert [life.title for life in Cluster(SHORT, 5).lives] != [life.title for life in made[0].lives]


def test_flows_begin_while_both_their_ends_have_their_addresses(cluster):
    """Else the truth would be wrong: who answers may have ended, not who asks."""
    batch, truth = Flows(cluster, "c", near=0.5).draw(3000, BEGIN + HOUR, cluster.end)
    moments = batch.column("first_seen").cast("int64").to_pylist()
    assert moments == sorted(moments)
    for moment, initiator, responder in zip(moments, truth.initiator, truth.responder, strict=True):
        assert cluster.lives[initiator].addressed <= moment < cluster.lives[initiator].finished
        if responder != OUTSIDE:
            assert cluster.lives[responder].addressed <= moment < cluster.lives[responder].released


def test_a_watch_sees_each_pod_come_and_go_in_order(cluster):
    """ADDED first, DELETED last, of each pod that went before the end."""
    told: dict[str, list[str]] = {}
    for change in changes(cluster):
        if change.object["kind"] == "Pod":
            told.setdefault(change.object["metadata"]["uid"], []).append(change.type)
    ended = sum(life.gone < cluster.end for life in cluster.lives)
    assert sum(types[-1] == "DELETED" for types in told.values()) == ended > 50
    assert {types[0] for types in told.values()} == {"ADDED"}


def test_with_a_watch_no_end_is_attributed_to_anybody_else(cluster):
    """Each answer is the truth, or several with the truth among them, or nobody; and most are the truth."""
    found = attribution.counted(cluster, attribution.objects(cluster, "watch"), near=0.5, flows=8000)
    assert set(found) <= {"right", "replica", "ambiguous", "unknown"}
    assert found["right"] > 0.8 * found.total() > 8000
    assert found["unknown"] < 0.01 * found.total()


@pytest.mark.parametrize("known", ["snapshots", "lists"])
def test_with_hourly_snapshots_a_wrong_answer_is_marked_or_of_a_pod_that_was_starting(cluster, known):
    """What no snapshot saw cannot be named; it makes answers unknown or marks them, and no others wrong."""
    held = attribution.objects(cluster, known)
    found = attribution.counted(cluster, held, near=0.5, flows=8000)
    assert found["wrong"] == 0
    assert found["wrong, marked"] > 0
    assert found["unknown"] > 0.1 * found.total()
    assert found["starting"] < 0.02 * found.total()


def test_the_page_says_what_is_measured():
    """One row of its table, measured again: `python -m identity.attribution` writes all of them."""
    page = attribution.on_page().splitlines()
    assert len(page) == 2 + len(attribution.KNOWN) * len(attribution.NEAR)
    titles = [[cell.strip() for cell in line.split("|")[1:3]] for line in page[2:]]
    assert titles == [[title, when] for title in attribution.KNOWN for when in attribution.NEAR]
    assert attribution.row("snapshot every hour", "any time") in page
    assert all(line.endswith("| 0 | 0 | 0 |") for line in page if line.startswith("| recording"))
