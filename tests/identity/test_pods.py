"""Pods as the store has them: what cutting their text gives is what parsing all of it gives."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vzflow.identity.kept import POD_ANNOTATIONS, kept
from vzflow.identity.pods import Pods

AWKWARD = st.sampled_from(
    [
        "web",
        "",
        "}",
        '"',
        "\\",
        "a,b",
        '},"spec":{',
        '},"status":{',
        ',"nodeName":"',
        "creationTimestamp",
        "gone",
        "é\n",
    ]
)
TIMES = st.sampled_from(["2026-01-02T12:00:00Z", "2026-01-02T12:00:05Z"])
TEXT = st.dictionaries(AWKWARD, AWKWARD, max_size=3)
RUN = st.fixed_dictionaries({}, optional={"startedAt": TIMES, "finishedAt": TIMES})
STATUS = st.lists(
    st.fixed_dictionaries(
        {"name": AWKWARD},
        optional={"state": st.fixed_dictionaries({}, optional={"running": RUN, "terminated": RUN})}
        | {"lastState": st.fixed_dictionaries({}, optional={"terminated": RUN})},
    ),
    max_size=2,
)
PODS = st.fixed_dictionaries(
    {},
    optional={
        "metadata": st.fixed_dictionaries(
            {},
            optional={
                "annotations": st.dictionaries(st.sampled_from(POD_ANNOTATIONS), AWKWARD, max_size=2),
                "creationTimestamp": TIMES,
                "deletionTimestamp": TIMES,
                "generateName": AWKWARD,
                "labels": TEXT,
                "ownerReferences": st.lists(st.fixed_dictionaries({"kind": AWKWARD, "name": AWKWARD}), max_size=1),
            },
        ),
        "spec": st.fixed_dictionaries(
            {},
            optional={
                "containers": st.lists(st.fixed_dictionaries({"name": AWKWARD}), max_size=2),
                "hostNetwork": st.booleans(),
                "nodeName": AWKWARD,
                "serviceAccountName": AWKWARD,
            },
        ),
        "status": st.fixed_dictionaries(
            {},
            optional={
                "phase": st.sampled_from(["Running", "Failed"]),
                "podIPs": st.just([{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]),
                "podIP": st.just("10.0.0.2"),
                "hostIP": st.just("192.168.0.1"),
                "startTime": TIMES,
                "containerStatuses": STATUS,
                "initContainerStatuses": STATUS,
            },
        ),
    },
)


def stored(pod: dict, *, gone: bool = False) -> str:
    return json.dumps(kept("Pod", pod) | ({"gone": True} if gone else {}), separators=(",", ":"), sort_keys=True)


@given(st.lists(st.tuples(PODS, st.booleans()), max_size=4))
def test_a_pod_cut_into_parts_says_what_it_says_whole(shown):
    """Labels may hold the very text that is looked for, and parts may be missing."""
    reader, whole = Pods(), Pods()
    for pod, gone in shown:
        found, expected = reader.read(stored(pod, gone=gone)), whole._whole(stored(pod, gone=gone))
        assert found[1] == expected[1] == gone
        if found[0] is None or expected[0] is None:
            assert found[0] is expected[0]
        else:
            assert found[0].object == expected[0].object
            assert found[0][1:] == expected[0][1:]


@given(PODS)
def test_a_pod_that_is_gone_shows_what_it_showed(pod):
    """Else its end would look like another state of it."""
    reader = Pods()
    assert reader.read(stored(pod))[0] == reader.read(stored(pod, gone=True))[0]


@pytest.mark.parametrize("indent", [None, 1])
def test_pods_of_one_template_share_it_however_they_are_written(indent):
    """What follows from a template is found once, also where the text is not what is cut."""
    pods = [
        {"metadata": {"labels": {"a": "1"}}, "spec": {"nodeName": node, "serviceAccountName": "web"}}
        for node in ("n1", "n2")
    ]
    reader = Pods()
    first, second = reader.read(stored(pods[0]))[0], reader.read(json.dumps(pods[1], indent=indent))[0]
    assert first is not None
    assert second is not None
    assert first.template is second.template
    assert (first.node, second.node) == ("n1", "n2")


def test_a_usual_pod_is_cut():
    """Parsing all of every pod takes most of the time there is."""
    pod = {
        "metadata": {"creationTimestamp": "2026-01-02T12:00:00Z", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "app"}], "nodeName": "n1", "serviceAccountName": "web"},
        "status": {"phase": "Running", "podIP": "10.0.0.1"},
    }
    assert Pods()._by_parts(stored(pod)) is not None
    assert Pods()._by_parts(stored(pod, gone=True)) is not None


def test_only_the_node_of_the_pod_itself_is_its_node():
    """A member of that name further inside is none, should one ever be kept."""
    spec = {"containers": [{"name": "app", "nodeName": "n9"}]}
    found, _ = Pods().read(json.dumps({"metadata": {}, "spec": spec, "status": {}}, separators=(",", ":")))
    assert found is not None
    assert (found.node, found.object["spec"]) == (None, spec)
