"""What a watch recorded or an audit log holds: who held an address, exactly and as long as nothing was missed."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from identity.identity_support import CLUSTER, World, at, objects, pod, service, us

from vzflow.flow.errors import UnreadableInput
from vzflow.identity.snapshot import heading, load

POD_BOOKMARK = {"apiVersion": "v1", "kind": "Pod", "metadata": {"resourceVersion": "7"}}


def event(kind, item, clock, **more):
    return {"type": kind, "at": at(clock), "object": item, **more}


def listing(clock, items, kind="Pod"):
    return heading(us(clock), [kind]) | {"items": items}


@pytest.fixture
def world(tmp_path):
    """Make the tables of files with these documents."""

    def made(*files):
        paths = []
        for number, documents in enumerate(files):
            paths.append(tmp_path / f"{number}.jsonl")
            paths[-1].write_text("".join(json.dumps(d) + "\n" for d in documents))
        return World(table=load(paths, CLUSTER))

    return made


def test_a_watched_pod_holds_its_address_until_it_was_deleted(world):
    """Nobody is left to guess between two events."""
    old, new = pod("old", "10.0.0.1", "12:00"), pod("new", "10.0.0.1", "12:40")
    made = world([listing("12:10", [old]), event("DELETED", old, "12:30"), event("ADDED", new, "12:40:03")])
    found = [made.holder("10.0.0.1", t) for t in ("12:29:59", "12:30", "12:39", "12:40:03")]
    assert found == [{"pod:old"}, set(), set(), {"pod:new"}]
    assert made.vouched("10.0.0.1", "12:20") is None


def test_a_change_between_two_events_is_when_it_was_told(world):
    """A snapshot before and one after would leave both labels open for the time between."""
    states = [pod("web", "10.0.0.1", "12:00", labels={"app": app}) for app in ("old", "new")]
    made = world([listing("12:10", states[:1]), event("MODIFIED", states[1], "12:30")])
    held = [[made.party[p]["labels"] for p in made.parties_at("10.0.0.1", t)] for t in ("12:29:59", "12:30")]
    assert held == [['{"app": "old"}'], ['{"app": "new"}']]


def test_whoever_is_watched_is_vouched_for_until_the_last_event_or_bookmark_of_its_kind(world):
    """Silence says that nothing changed; after the last line nobody says anything."""
    web, other = pod("web", "10.0.0.1", "12:00"), pod("other", "10.0.0.2", "12:20")
    documents = [listing("12:10", [web]), event("ADDED", other, "12:20")]
    assert world(documents).vouched("10.0.0.1", "12:15") == us("12:20")
    documents.append(event("BOOKMARK", POD_BOOKMARK, "12:25"))
    assert world(documents).vouched("10.0.0.1", "12:15") == us("12:25")
    documents.append(event("BOOKMARK", POD_BOOKMARK | {"kind": "Service"}, "12:50"))
    assert world(documents).vouched("10.0.0.1", "12:15") == us("12:25")


def test_a_recording_goes_on_in_the_next_file_but_not_over_one_that_is_missing(world):
    """Each file begins where the last one ended, by a bookmark."""
    web = pod("web", "10.0.0.1", "12:00")
    first = [listing("12:10", [web]), event("BOOKMARK", POD_BOOKMARK, "12:20")]
    second = [event("BOOKMARK", POD_BOOKMARK, "12:20"), event("BOOKMARK", POD_BOOKMARK, "12:30")]
    third = [event("BOOKMARK", POD_BOOKMARK, "12:30"), event("BOOKMARK", POD_BOOKMARK, "12:40")]
    assert world(first, second, third).vouched("10.0.0.1", "12:15") == us("12:40")
    assert world(third, second, first).vouched("10.0.0.1", "12:15") == us("12:40")
    assert world(first, third).vouched("10.0.0.1", "12:15") == us("12:20")


def test_a_list_in_a_recording_ends_whom_it_lacks_at_some_moment_since_the_last_event(world):
    """The recorder was away, and asked again."""
    old, new = pod("old", "10.0.0.1", "12:00"), pod("new", "10.0.0.2", "12:00")
    made = world([listing("12:10", [old, new]), event("BOOKMARK", POD_BOOKMARK, "12:20"), listing("13:00", [new])])
    assert made.holder("10.0.0.1", "12:59") == {"pod:old"}
    assert made.vouched("10.0.0.1", "12:59") == us("12:20")
    assert made.holder("10.0.0.1", "13:00") == set()


def test_when_all_pods_were_known_is_told_apart_from_when_some_were(world):
    """A list of all namespaces vouches for its moment, a watch for the time after it, a single object for nothing."""
    made = world([listing("12:10", []), event("BOOKMARK", POD_BOOKMARK, "12:20")], [pod("web", "10.0.0.1", "12:00")])
    found = [(row["listed_at"], row["known_until"]) for row in made.rows["pods_listed"]]
    assert found == [(us("12:10"), us("12:20"))]


def test_the_same_recording_given_twice_or_compressed_is_one(tmp_path):
    """The digest is of the content."""
    (tmp_path / "a").write_text(json.dumps(event("ADDED", pod("web", "10.0.0.1", "12:00"), "12:10")))
    (tmp_path / "b").write_text((tmp_path / "a").read_text())
    assert len(set(load([tmp_path / "a", tmp_path / "b"], CLUSTER).column("snapshot").to_pylist())) == 1


def test_a_recording_that_names_its_cluster_is_of_that_one(tmp_path):
    """The recorder knows it better than who reads the file."""
    (tmp_path / "a").write_text(json.dumps(event("ADDED", pod("web", "10.0.0.1", "12:00"), "12:10", cluster="east")))
    assert set(load([tmp_path / "a"], CLUSTER).column("cluster").to_pylist()) == {"east"}


def test_what_kubectl_watched_has_no_times_but_those_inside_its_objects(world):
    """`kubectl get pods -A -w -o json --output-watch-events`: a deletion is no earlier than what was told before it."""
    old, later = pod("old", "10.0.0.1", "12:00"), pod("later", "10.0.0.2", "12:30")
    made = world([{"type": t, "object": o} for t, o in (("ADDED", old), ("ADDED", later), ("DELETED", old))])
    assert made.holder("10.0.0.1", "12:29") == {"pod:old"}
    assert made.holder("10.0.0.1", "12:30") == set()
    assert made.vouched("10.0.0.2", "12:40") == us("12:30")


def audit(verb, shown, clock, *, stage="ResponseComplete", code=200, **about):
    return {
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "RequestResponse", "stage": stage, "verb": verb,
        "responseStatus": {"code": code}, "responseObject": shown, "stageTimestamp": at(clock), "objectRef": about,
    }  # fmt: skip


def test_an_audit_log_tells_when_a_pod_got_its_address_and_when_it_went(world):
    """Its kubelet deletes it for good, with no time left; the deletion before that is only asked for."""
    born = pod("web", "10.0.0.1", "12:00", metadata={"deletionGracePeriodSeconds": 30}, deleted="12:40:30")
    gone = pod("web", "10.0.0.1", "12:00", metadata={"deletionGracePeriodSeconds": 0}, deleted="12:40:30")
    made = world([
        audit("patch", pod("web", "10.0.0.1", "12:00"), "12:00:02"),
        audit("delete", born, "12:40"),
        audit("delete", gone, "12:40:10"),
    ])  # fmt: skip
    assert made.holder("10.0.0.1", "12:40:09") == {"pod:web"}
    assert made.holder("10.0.0.1", "12:40:10") == set()


def test_an_audit_record_of_a_deletion_names_its_object_by_uid(world):
    """The answer is a Status; the Service's address is free from then on."""
    api = service("api", [{"port": 80}], clusterIP="10.96.0.7", created="12:00")
    status = {"kind": "Status", "status": "Success", "details": {"name": "api", "uid": api["metadata"]["uid"]}}
    about = {"resource": "services", "namespace": "shop", "name": "api", "apiVersion": "v1"}
    made = world([audit("create", api, "12:00"), audit("delete", status, "12:30", **about)])
    assert made.holder("10.96.0.7", "12:29") == {"service:api"}
    assert made.holder("10.96.0.7", "12:30") == set()


@pytest.mark.parametrize(
    "record",
    [
        audit("delete", pod("web", "10.0.0.1", "12:00"), "12:30", stage="RequestReceived"),
        audit("delete", pod("web", "10.0.0.1", "12:00", metadata={"deletionGracePeriodSeconds": 0}), "12:30", code=409),
        audit("get", pod("web", "10.0.0.1", "12:00"), "12:30"),
        audit("delete", {"kind": "Status", "details": {"uid": "web-12:00"}}, "12:30", resource="pods"),
        audit("delete", None, "12:30", resource="pods", name="web"),
    ],
)
def test_what_changed_nothing_or_shows_nothing_ends_nobody(world, record):
    """Most of an audit log is about reading, or was refused, or holds no object."""
    made = world([audit("create", pod("web", "10.0.0.1", "12:00"), "12:00"), record])
    assert made.holder("10.0.0.1", "12:45") == {"pod:web"}


def test_secrets_are_kept_neither_of_a_watch_nor_of_an_audit_log(tmp_path):
    """An audit policy may log them."""
    owner = {"kind": "X", "name": "x", "controller": True}
    metadata = {"name": "s", "namespace": "shop", "uid": "u", "ownerReferences": [owner]}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"k": "aHVudGVyMg=="}}
    (tmp_path / "a").write_text(
        json.dumps(audit("create", secret, "12:00")) + json.dumps(event("ADDED", secret, "12:00"))
    )
    assert set(load([tmp_path / "a"], CLUSTER).column("kind").to_pylist()) == {"Snapshot"}


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"type": "ADDED", "at": "noon", "object": POD_BOOKMARK}, "at is not a time"),
        ({"type": "ADDED", "object": {"metadata": {}}}, "the object of an event has no kind"),
        ({"type": "ADDED", "object": {"kind": "Pod", "metadata": {}}}, "has no metadata.name"),
        ({"type": "ADDED", "at": at("12:00"), "cluster": 7, "object": POD_BOOKMARK}, "is not text"),
        ({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": [7]}, "an audit record is not an object"),
    ],
)
def test_an_event_of_another_shape_is_refused_by_name(tmp_path, document, says):
    """One line with the place; nothing of the file is kept."""
    (tmp_path / "a").write_text(json.dumps(document))
    with pytest.raises(UnreadableInput, match=says):
        load([tmp_path / "a"], CLUSTER)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 300) | st.sampled_from(["", "Pod", "delete", "ADDED", at("12:00")]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["kind", "name", "uid"]), inner),
    max_leaves=4,
)


@st.composite
def damaged(draw: st.DrawFn) -> object:
    """An event of a watch, or an audit record, with some of its values replaced."""
    web = pod("web", "10.0.0.1", "12:00")
    about = {"resource": "pods", "namespace": "shop", "name": "web"}
    status = {"kind": "Status", "details": {"uid": "u"}}
    audited = [audit("delete", shown, "12:30", **about) for shown in (web, status)]
    whole = json.loads(json.dumps(draw(st.sampled_from([event("DELETED", web, "12:30"), *audited]))))
    for _ in range(draw(st.integers(1, 3))):
        place = whole
        while isinstance(place, dict) and place:
            key = draw(st.sampled_from(sorted(place)))
            if draw(st.booleans()) or not isinstance(place[key], dict):
                place[key] = draw(JSON)
                break
            place = place[key]
    return whole


@given(damaged())
@settings(max_examples=300)
def test_whatever_an_event_holds_it_is_read_or_refused_in_one_line(tmp_path_factory, document):
    """Never a traceback, also when the timeline is made of it."""
    path = tmp_path_factory.mktemp("events") / "a"
    path.write_text(json.dumps(document))
    try:
        World(table=load([path], CLUSTER))
    except UnreadableInput as error:
        said = str(error)
    else:
        said = ""
    assert "\n" not in said


def test_a_snapshot_and_a_recording_make_one_timeline(tmp_path):
    """A pod that a snapshot shows and a watch saw go is one life."""
    web = pod("web", "10.0.0.1", "12:00")
    (tmp_path / "a").write_text(json.dumps(event("DELETED", web, "13:00")))
    table = pa.concat_tables([objects(("12:30", [web])), load([tmp_path / "a"], CLUSTER)])
    made = World(table=table)
    assert made.holder("10.0.0.1", "12:59") == {"pod:web"}
    assert made.holder("10.0.0.1", "13:00") == set()


def test_an_address_that_passes_on_is_of_both_from_the_end_of_one_until_the_proof_of_the_other(world):
    """Trap 5.10: a pod gives its address up after its containers ended, and starts before it has one."""
    old = pod("old", "10.0.0.1", "12:00", ran="12:00")
    over = pod("old", "10.0.0.1", "12:00", finished="12:30:05")
    new = pod("new", "10.0.0.1", "12:30:06", ran="12:30:08")
    first = [listing("12:10", [old]), event("MODIFIED", over, "12:30:07"), event("MODIFIED", new, "12:30:20")]
    made = world(first)
    clocks = ("12:30:04", "12:30:06", "12:30:07", "12:30:09")
    found = [made.holder("10.0.0.1", clock) for clock in clocks]
    assert found == [{"pod:old"}, {"pod:old", "pod:new"}, {"pod:new"}, {"pod:new"}]
