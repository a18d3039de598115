"""Fewer observations, the same knowledge."""

from __future__ import annotations

import json

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from identity.identity_support import CLUSTER, at, node, objects, peer_authentication, pod

from vzflow.flow.lookups import IDENTITY
from vzflow.identity.compaction import compacted
from vzflow.identity.snapshot import heading, load
from vzflow.identity.tables import tables

MINUTES = st.integers(0, 40)


def clock(minutes: int) -> str:
    return f"{10 + minutes // 60}:{minutes % 60:02d}"


@st.composite
def observed(draw: st.DrawFn) -> dict[str, object]:
    """A pod at some moment of its life: without an address, running, relabelled, moved, finished, going."""
    seen = pod(
        draw(st.sampled_from("ab")),
        draw(st.sampled_from(["10.0.0.1", "10.0.0.2"])),
        clock(draw(st.sampled_from([0, 0, 0, 20]))),
        labels={"app": draw(st.sampled_from(["web", "web", "api"]))},
        finished=draw(st.none() | st.none() | MINUTES.map(clock)),
        deleted=draw(st.none() | st.none() | MINUTES.map(clock)),
        ran=draw(st.none() | MINUTES.map(clock)),
    )
    if draw(st.booleans()) and draw(st.booleans()):
        del seen["status"]["podIPs"], seen["status"]["podIP"]
    return seen


@given(
    st.lists(st.tuples(MINUTES, st.lists(observed(), max_size=3)), min_size=1, max_size=7),
    st.lists(st.tuples(MINUTES, st.sampled_from(["ADDED", "MODIFIED", "DELETED"]), observed()), max_size=5),
)
@settings(max_examples=150)
def test_what_is_left_says_the_same(tmp_path_factory, snapshots, events):
    """Every table that queries join is the same, row for row."""
    path = tmp_path_factory.mktemp("watch") / "watch.jsonl"
    lines = [{"type": kind, "at": at(clock(m)), "object": o} for m, kind, o in sorted(events, key=lambda e: e[0])]
    path.write_text("\n".join(json.dumps(line) for line in [heading(0, ["Pod"]) | {"items": []}, *lines]))
    others = [node("n1", "192.168.0.1"), peer_authentication("default", "STRICT")]
    taken = objects(*((clock(m), [*pods, *others]) for m, pods in snapshots))
    both = pa.concat_tables([taken, load([path], CLUSTER)])
    before, after = tables(both, [CLUSTER]), tables(compacted(both), [CLUSTER])
    assert [before[name].to_pylist() for name in IDENTITY] == [after[name].to_pylist() for name in IDENTITY]
    assert compacted(compacted(both)).equals(compacted(both))


def test_of_what_never_changed_the_first_and_the_last_observation_stay():
    """A year of hourly snapshots of one pod is two rows, and a row for each snapshot."""
    taken = objects(*((clock(m), [pod("web", "10.0.0.1", "09:00")]) for m in range(50)))
    kinds = compacted(taken).column("kind").to_pylist()
    assert (kinds.count("Pod"), kinds.count("Snapshot")) == (2, 50)
