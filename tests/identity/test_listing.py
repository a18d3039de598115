"""A cluster is listed through the official client, from a test API server that speaks real HTTP."""

from __future__ import annotations

import json

import pytest
from identity.api_server import ISTIO_V1, ISTIO_V1BETA1, PODS, Fault, api_server, kubeconfig, named, path_of
from identity.identity_support import us

from vzflow.flow.errors import ServiceUnavailable, UsageProblem
from vzflow.identity.kubernetes import RESOURCES
from vzflow.identity.listing import ATTEMPTS, fetch
from vzflow.identity.patience import Patience
from vzflow.identity.snapshot import load, save

CONFIG_MAPS = path_of("configmaps", "", "v1")
DATE = "Fri, 02 Jan 2026 12:00:00 GMT"


@pytest.fixture
def api():
    with api_server() as server:
        yield server


@pytest.fixture
def waits():
    return []


@pytest.fixture
def read(api, tmp_path, waits):
    """Fetches without waiting between tries; how long it would have waited is in *waits*."""
    path = kubeconfig(tmp_path, {"here": api.url})
    patience = Patience(sleep=waits.append)
    return lambda timeout=10.0: fetch(kubeconfig=path, timeout=timeout, patience=patience)


def names(fetched):
    return [o["metadata"]["name"] for o in fetched.objects]


def test_all_pages_of_a_list_are_followed_and_objects_have_kubectls_shape(api, read):
    """A list of more than one page continues by token; items of raw lists lack kind and apiVersion."""
    api.lists[PODS] = named("a", "b", "c", "d", "e")
    fetched = read()
    assert names(fetched) == ["a", "b", "c", "d", "e"]
    assert {(o["kind"], o["apiVersion"]) for o in fetched.objects} == {("Pod", "v1")}
    assert fetched.notes == []
    assert [query.get("continue") for query in api.queries(PODS)] == [None, "2", "4"]
    assert {query["limit"] for query in api.queries(PODS)} == {"500"}


def test_each_list_is_of_one_resource_version_which_is_kept(api, read, tmp_path):
    """It is the moment the list is of, whatever changed while its pages came."""
    api.lists[PODS] = named("a", "b", "c")
    api.version = 41
    fetched = read()
    assert set(fetched.listed) == {r.kind for r in RESOURCES}
    assert set(fetched.listed.values()) == {"41"}
    save(fetched.objects, tmp_path / "s.json", 0, fetched.listed, None, fetched.listed, fetched.missing)
    annotations = json.loads((tmp_path / "s.json").read_text())["metadata"]["annotations"]
    assert json.loads(annotations["vzflow.io/resource-versions"])["Pod"] == "41"


def test_reading_only_ever_lists_and_never_secrets(api, read):
    """Vzflow needs get, list and watch, and no Secret."""
    read()
    assert {method for method, *_ in api.asked} == {"GET"}
    assert not [path for _, path, _ in api.asked if "secret" in path]


def test_a_refused_kind_is_noted_with_the_missing_permission_and_the_others_go_on(api, read, tmp_path):
    """It must not count as listed, or its absence would be believed; the file says so too."""
    api.lists[PODS] = named("a")
    api.status[ISTIO_V1] = 403
    fetched = read()
    (note,) = fetched.notes
    assert note.startswith("peerauthentications: not permitted (403 Forbidden): it takes get, list and watch of ")
    assert "peerauthentications.security.istio.io in all namespaces" in note
    assert "PeerAuthentication" not in fetched.listed
    assert {"Pod", "Node", "NetworkPolicy"} <= set(fetched.listed)
    save(fetched.objects, tmp_path / "s.json", 0, fetched.listed, None, fetched.listed, fetched.missing)
    said = json.loads(load([tmp_path / "s.json"], "c").column("object")[0].as_py())
    assert said["not_listed"] == {"PeerAuthentication": fetched.missing["PeerAuthentication"]}
    assert "PeerAuthentication" not in said["listed"]


def test_of_config_maps_only_those_of_one_name_are_asked_for(api, read, tmp_path):
    """A right to that name permits a list with such a selector, and no other."""
    mesh = {"metadata": {"name": "istio", "namespace": "istio-system"}, "data": {"mesh": "rootNamespace: a", "x": "y"}}
    api.lists[CONFIG_MAPS] = [mesh]
    fetched = read()
    assert {query.get("fieldSelector") for query in api.queries(CONFIG_MAPS)} == {"metadata.name=istio"}
    assert not [query for _, path, query in api.asked if path != CONFIG_MAPS and "fieldSelector" in query]
    assert [o["data"] for o in fetched.objects] == [{"mesh": '{"rootNamespace": "a"}'}]
    api.status[CONFIG_MAPS] = 403
    (note,) = read().notes
    assert "it takes get, list and watch of configmaps/istio in all namespaces" in note


def test_an_older_api_version_is_asked_where_the_newer_is_absent(api, read):
    """Istio served PeerAuthentication as v1beta1 before 1.22."""
    del api.lists[ISTIO_V1]
    api.lists[ISTIO_V1BETA1] = named("default")
    fetched = read()
    assert [o["apiVersion"] for o in fetched.objects] == ["security.istio.io/v1beta1"]
    assert fetched.notes == []


def test_a_kind_the_cluster_lacks_is_a_note(api, read, waits):
    """A cluster without Istio has no PeerAuthentications to list; it will not have them a second later either."""
    del api.lists[ISTIO_V1]
    assert read().notes == ["peerauthentications: not in this cluster (404 Not Found); not in the snapshot"]
    assert waits == []


def test_a_list_whose_continuation_expired_is_begun_again(api, read):
    """410 means that the pages no longer belong together; no object of the first attempt stays."""
    api.lists[PODS] = named("a", "b", "c")
    api.faults[PODS] = [Fault(500), Fault(200, body=page(["z"], more="1")), Fault(410)]
    fetched = read()
    assert names(fetched) == ["a", "b", "c"]
    assert fetched.notes == []


def test_a_list_that_expires_every_time_is_a_note(api, read):
    """Half a list would look like a whole one."""
    api.faults[PODS] = [Fault(200, body=page(["z"], more="1")), Fault(410)] * ATTEMPTS
    fetched = read()
    assert fetched.notes == ["pods: failed (410 Gone); not in the snapshot"]
    assert fetched.objects == []


def page(items, more):
    return json.dumps({"metadata": {"continue": more, "resourceVersion": "1"}, "items": named(*items)})


@pytest.mark.parametrize(
    "fault", [Fault(500), Fault(503), Fault(429), Fault(504), Fault(cut=True, body='{"items": [')], ids=str
)
def test_a_failure_that_may_pass_is_asked_again(api, read, waits, fault):
    """Also on a later page: the pages before it are not asked for again."""
    api.lists[PODS] = named("a", "b", "c")
    api.faults[PODS] = [Fault(200, body=page(["a", "b"], more="2")), fault, fault]
    assert names(read()) == ["a", "b", "c"]
    assert [query.get("continue") for query in api.queries(PODS)] == [None, "2", "2", "2"]
    assert len(waits) == 2


def test_waits_double_within_bounds_and_by_chance(waits):
    """Clients that failed at once do not come back at once, and nobody waits for an hour."""
    patience = Patience(first=1.0, longest=8.0, sleep=waits.append)
    for number in range(6):
        patience.wait(number)
    patience.wait(10_000)
    for low, waited in zip((0.5, 1, 2, 4, 4, 4, 4), waits, strict=True):
        assert low <= waited <= 2 * low
    assert len(set(waits)) == len(waits)


def test_retry_after_is_waited_for_but_not_for_ever(api, read, waits):
    """Seconds or a date, as RFC 9110 has it; what is neither counts as nothing."""
    api.faults[PODS] = [
        Fault(429, {"Retry-After": "7"}),
        Fault(503, {"Retry-After": "86400"}),
        Fault(429, {"Retry-After": "Fri, 02 Jan 1970 00:00:00 GMT"}),
        Fault(429, {"Retry-After": "soon"}),
    ]
    read()
    assert (waits[0], waits[1]) == (7.0, 30.0)
    assert max(waits[2:]) < 7


def test_tries_end(api, read, waits):
    """A kind whose list fails for good is a note."""
    api.status[PODS] = 500
    assert read().notes == ["pods: failed (500 Internal Server Error); not in the snapshot"]
    assert len(waits) == Patience().tries - 1


def test_an_answer_that_does_not_come_is_not_waited_for(api, read):
    """One silent request is repeated; an API server that stays silent is not available."""
    api.lists[PODS] = named("a")
    api.faults[PODS] = [Fault(silent=True)]
    assert names(read(timeout=0.2)) == ["a"]
    api.faults[PODS] = [Fault(silent=True)] * Patience().tries
    with pytest.raises(ServiceUnavailable, match="timed out"):
        read(timeout=0.1)


def test_an_answer_that_trickles_is_not_waited_for(api, read):
    """Each byte comes in time, and the whole would take years."""
    api.lists[PODS] = named("a")
    api.faults[PODS] = [Fault(trickle=0.02)]
    assert names(read(timeout=0.05)) == ["a"]


def test_the_snapshot_is_dated_by_the_api_servers_clock(api, read, tmp_path):
    """A laptop's clock may be wrong, and objects carry the cluster's times."""
    api.date = DATE
    api.lists[PODS] = named("a")
    fetched = read()
    save(fetched.objects, tmp_path / "s.json", fetched.taken_at, fetched.listed)
    rows = load([tmp_path / "s.json"], "c")
    assert set(rows.column("taken_at").cast("int64").to_pylist()) == {us("12:00")}
    assert rows.column("name").to_pylist()[1:] == ["a"]


def test_an_api_server_that_gives_no_list_at_all_is_service_unavailable(api, read):
    """An empty snapshot would look like an empty cluster."""
    for r in RESOURCES:
        for version in r.versions:
            api.status[path_of(r.plural, r.group, version)] = 500
    with pytest.raises(ServiceUnavailable, match="pods: failed"):
        read()


def test_an_account_that_may_list_nothing_is_a_usage_problem(api, read):
    """It is answered well enough; what is missing is a ClusterRole."""
    for path in api.lists:
        api.status[path] = 403
    with pytest.raises(UsageProblem, match=r"pods: not permitted .*rbac\.yaml"):
        read()


@pytest.mark.parametrize(
    "body",
    ["<html>Welcome</html>", "[]", '{"items": {}}', '{"items": [7]}', "{}", "[" * 100_000],
    ids=lambda body: body[:20],
)
def test_an_answer_that_is_no_list_is_service_unavailable(api, read, body):
    """A captive portal answers 200 to everything."""
    api.faults[PODS] = [Fault(200, body=body)]
    with pytest.raises(ServiceUnavailable, match=r"the answer is not (JSON|a list of objects)"):
        read()


def test_a_list_that_is_followed_by_itself_ends(api, read):
    """An API server that repeats a token would be asked for ever."""
    api.faults[PODS] = [Fault(200, body=page(["a"], more="1"))] * 9
    with pytest.raises(ServiceUnavailable, match="followed by itself"):
        read()
    assert len(api.queries(PODS)) == 2


def test_an_empty_list_may_be_null(api, read):
    """Go writes an empty slice so."""
    api.faults[PODS] = [Fault(200, body='{"items": null, "metadata": null}')]
    fetched = read()
    assert "Pod" in fetched.listed
    assert fetched.objects == []
