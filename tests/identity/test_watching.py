"""One kind is watched through the official client; the test API server cuts, expires, refuses and stays silent."""

from __future__ import annotations

import gzip
import json
import threading
import time
from contextlib import contextmanager, suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from identity.api_server import (
    CUT,
    END,
    ISTIO_V1,
    PODS,
    Fault,
    api_server,
    bookmark,
    event,
    gone,
    kubeconfig,
    named,
    path_of,
)
from identity.identity_support import us

from vzflow.identity import watching
from vzflow.identity.kept import microseconds
from vzflow.identity.kubernetes import RESOURCES, ApiServer, NoAnswerError
from vzflow.identity.patience import Patience
from vzflow.identity.recording import Recording
from vzflow.identity.watching import KindWatch, _events

SECONDS = 10.0
KIND = {resource.kind: resource for resource in RESOURCES}


@pytest.fixture
def api():
    with api_server() as server:
        yield server


class Watched:
    """A watch that runs in a thread, and what it has recorded so far."""

    def __init__(self, api, folder, kind, timeout):
        self.said, self.waits, self.folder = [], [], folder / "recordings"
        self.stopping = threading.Event()
        self.recording = Recording(self.folder, "prod")
        self.server = ApiServer(None, kubeconfig(folder, {"here": api.url}), timeout, connections=2)
        patience = Patience(sleep=self._wait)
        self.watch = KindWatch(KIND[kind], self.server, self.recording, self.stopping, self.said.append, patience)
        self.thread = threading.Thread(target=self.watch.run)

    def _wait(self, seconds):
        self.waits.append(seconds)
        self.stopping.wait(0.001)

    def end(self):
        self.stopping.set()
        self.watch.stop()
        self.thread.join(SECONDS)
        assert not self.thread.is_alive()
        self.recording.close()
        self.server.close()

    def lines(self):
        """Each list as its names, each event as type and name or, of a bookmark, resourceVersion; in order."""
        found = []
        for path in sorted(self.folder.glob("*prod-*")):
            data = path.read_bytes()
            *whole, _ = (gzip.decompress(data) if path.suffix == ".gz" else data).split(b"\n")
            found += [short(json.loads(line)) for line in whole]
        return found


def short(line):
    if "items" in line:
        return ["LIST", *(item["metadata"]["name"] for item in line["items"])]
    metadata = line["object"]["metadata"]
    return [line["type"], metadata.get("name", metadata["resourceVersion"])]


@contextmanager
def watched(api, folder, until, kind="Pod", timeout=10.0):
    """Run a watch until *until* holds of it, then yield it, ended."""
    one = Watched(api, folder, kind, timeout)
    one.thread.start()
    try:
        deadline = time.monotonic() + SECONDS
        while not until(one):
            assert time.monotonic() < deadline, (one.lines(), api.asked, one.said)
            time.sleep(0.005)
    finally:
        one.end()
    yield one


def has(*line):
    return lambda one: list(line) in one.lines()


def test_events_follow_on_the_list(api, tmp_path):
    """The watch begins at the moment the list is of, so nothing falls in between."""
    api.lists[PODS] = named("a", "b", "c")
    api.watches[PODS] = [[event("MODIFIED", "a", 8), event("ADDED", "d", 9), event("DELETED", "b", 10)]]
    with watched(api, tmp_path, has("DELETED", "b")) as one:
        assert one.lines() == [["LIST", "a", "b", "c"], ["MODIFIED", "a"], ["ADDED", "d"], ["DELETED", "b"]]
    (query,) = api.queries(PODS, watch=True)
    assert (query["resourceVersion"], query["allowWatchBookmarks"]) == ("7", "true")
    assert 240 <= int(query["timeoutSeconds"]) <= 360
    assert one.watch.counts.events == {"MODIFIED": 1, "ADDED": 1, "DELETED": 1}
    assert one.said == []


@pytest.mark.parametrize(
    "ending",
    [CUT, END, b'{"type": "ADDED", "object": {"met', b"\xff\xfe\n", b"[]\n", b'{"type": "ADDED", "object": {}}\n'],
)
def test_a_watch_that_ends_goes_on_where_it_was(api, tmp_path, ending):
    """Whole lines count, half a line or what is no event does not; no new list is needed."""
    steps = [event("ADDED", "a", 8), ending, *([CUT] if isinstance(ending, bytes) else [])]
    api.watches[PODS] = [steps, [event("ADDED", "b", 9)]]
    with watched(api, tmp_path, has("ADDED", "b")) as one:
        assert one.lines() == [["LIST"], ["ADDED", "a"], ["ADDED", "b"]]
    assert [query["resourceVersion"] for query in api.queries(PODS, watch=True)] == ["7", "8"]
    assert len(api.queries(PODS)) == 1
    assert one.watch.counts.reconnects == 2
    assert one.said == [], "it was taken up again at once"


def test_a_bookmark_moves_the_place_to_go_on_from(api, tmp_path):
    """A kind of which nothing happens would otherwise expire; and it is recorded, as proof that somebody watched."""
    api.watches[PODS] = [[bookmark(50), END], [event("ADDED", "a", 51)]]
    with watched(api, tmp_path, has("ADDED", "a")) as one:
        assert one.lines() == [["LIST"], ["BOOKMARK", "50"], ["ADDED", "a"]]
    assert [query["resourceVersion"] for query in api.queries(PODS, watch=True)] == ["7", "50"]
    assert one.watch.counts.last_event >= one.watch.counts.last_contact - 1


@pytest.mark.parametrize("expired", [[event("ADDED", "a", 8), gone()], [Fault(410)]], ids=["inside", "at once"])
def test_events_that_are_kept_no_longer_are_replaced_by_a_new_list(api, tmp_path, expired):
    """410: what happened in between is gone, and the list says what there is now."""
    api.watches[PODS] = [expired, [event("ADDED", "late", 90)]]
    api.lists[PODS] = named("now")
    with watched(api, tmp_path, has("ADDED", "late")) as one:
        assert [line for line in one.lines() if line != ["ADDED", "a"]] == [["LIST", "now"]] * 2 + [["ADDED", "late"]]
    assert one.watch.counts.lists == 2
    assert one.watch.counts.errors == {"expired": 1}


def test_a_kind_is_listed_again_once_a_day(api, tmp_path, monkeypatch):
    """What a lost file of the recording said is made good."""
    monkeypatch.setattr(watching, "RELIST", 0.0)
    api.watches[PODS] = [[event("ADDED", "a", 8), END], [event("ADDED", "b", 9)]]
    with watched(api, tmp_path, has("ADDED", "b")) as one:
        assert one.lines() == [["LIST"], ["ADDED", "a"], ["LIST"], ["ADDED", "b"]]


def test_a_list_that_expires_between_its_pages_is_written_once(api, tmp_path):
    """Half of it must not be recorded."""
    api.lists[PODS] = named("a", "b", "c")
    first = json.dumps({"metadata": {"continue": "2", "resourceVersion": "1"}, "items": named("z")})
    api.faults[PODS] = [Fault(200, body=first), Fault(410)]
    api.watches[PODS] = [[event("ADDED", "d", 8)]]
    with watched(api, tmp_path, has("ADDED", "d")) as one:
        assert one.lines() == [["LIST", "a", "b", "c"], ["ADDED", "d"]]


@pytest.mark.parametrize("status", [500, 503, 429])
def test_an_api_server_in_trouble_is_asked_again(api, tmp_path, status):
    """More slowly each time, and what Retry-After asks for is given; the watch goes on where it was."""
    api.watches[PODS] = [
        [event("ADDED", "a", 8), CUT],
        *[[Fault(status, {"Retry-After": "9"})]] * 3,
        [event("ADDED", "b", 9)],
    ]
    with watched(api, tmp_path, has("ADDED", "b")) as one:
        assert one.lines() == [["LIST"], ["ADDED", "a"], ["ADDED", "b"]]
    assert one.waits.count(9.0) == 3
    trouble, again = one.said
    assert trouble.startswith(f"pods: {status} ")
    assert trouble.endswith("; trying again")
    assert again == "pods: recorded again"


def test_watches_that_end_at_once_are_repeated_more_and_more_slowly(api, tmp_path):
    """A proxy that closes every watch must not be asked a thousand times a second."""
    api.watches[PODS] = [[END]] * 6 + [[event("ADDED", "a", 8)]]
    with watched(api, tmp_path, has("ADDED", "a")) as one:
        assert one.waits[:6] == sorted(one.waits[:6])
        assert one.waits[5] > 4 * one.waits[0]


def test_a_watch_that_lasted_is_taken_up_soon_however_often_it_was_cut(api, tmp_path, monkeypatch):
    """A load balancer that cuts quiet connections once a minute is no reason to wait longer each time."""
    monkeypatch.setattr(watching, "_AT_ONCE", 0.0)
    api.watches[PODS] = [[CUT]] * 6 + [[event("ADDED", "a", 8)]]
    with watched(api, tmp_path, has("ADDED", "a")) as one:
        assert max(one.waits) <= 0.5
    assert one.said == []


def test_a_silent_watch_is_given_up(api, tmp_path, monkeypatch):
    """The API server ends a watch by itself; if it does not, the connection is dead."""
    monkeypatch.setattr(watching, "WATCH", (0, 0))
    api.watches[PODS] = [[event("ADDED", "a", 8)], [event("ADDED", "b", 9)]]
    with watched(api, tmp_path, has("ADDED", "b"), timeout=0.1) as one:
        assert one.lines() == [["LIST"], ["ADDED", "a"], ["ADDED", "b"]]


def test_a_kind_that_is_refused_is_told_of_once_and_tried_again(api, tmp_path, monkeypatch):
    """A ClusterRole may be bound later, or Istio installed; until then the recording says what it lacks."""
    monkeypatch.setattr(watching, "RETRY_MISSING", 0.001)
    api.faults[ISTIO_V1] = [Fault(403)] * 3
    api.lists[ISTIO_V1] = named("default")
    with watched(api, tmp_path, lambda one: len(one.said) == 2, kind="PeerAuthentication") as one:
        assert one.lines() == [["LIST"], ["LIST", "default"]]
    refused, again = one.said
    assert "not permitted (403 Forbidden): it takes get, list and watch of peerauthentications.security" in refused
    assert again == "peerauthentications: recorded again"
    assert one.watch.counts.missing == ""


def test_a_kind_that_may_be_listed_and_not_watched_is_told_of_once(api, tmp_path, monkeypatch):
    """Its lists are recorded meanwhile: they are snapshots."""
    monkeypatch.setattr(watching, "RETRY_MISSING", 0.001)
    api.watches[PODS] = [[Fault(403)]] * 3 + [[event("ADDED", "a", 8)]]
    with watched(api, tmp_path, has("ADDED", "a")) as one:
        assert [line for line in one.lines() if line != ["LIST"]] == [["ADDED", "a"]]
    assert len(one.said) == 2
    assert one.watch.counts.errors == {"not_permitted": 3}
    assert one.watch.counts.lists == 4


def test_a_watch_that_is_stopped_while_it_lists_says_nothing_of_the_kind(api, tmp_path):
    """It would say that the cluster lacks it."""
    api.faults[PODS] = [Fault(trickle=0.01)]
    with watched(api, tmp_path, lambda one: one.stopping.set() or api.asked, timeout=0.02) as one:
        assert one.lines() in ([], [["LIST"]])
    assert one.said == []
    assert api.queries(PODS, watch=True) == []
    assert one.watch.counts.errors == {}


def test_new_credentials_are_read_when_the_old_ones_are_refused(api, tmp_path):
    """Tokens run out while a recorder runs."""
    api.allowed = {"Bearer new"}

    def renewed(one):
        if api.asked:
            kubeconfig(tmp_path, {"here": api.url}, {"token": "new"})
        return ["LIST"] in one.lines()

    with watched(api, tmp_path, renewed) as one:
        assert one.watch.counts.errors["unauthorized"] >= 1


def times(one):
    """When each line says it was, in the order of the file, in microseconds."""
    (path,) = one.folder.glob("*.gz")
    lines = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    return [microseconds(line.get("at") or line["metadata"]["annotations"]["vzflow.io/taken-at"]) for line in lines]


def test_an_event_is_timed_by_the_api_servers_clock(api, tmp_path):
    """A deletion has no other time than when it came, and objects carry the cluster's times."""
    api.date = "Fri, 02 Jan 2026 12:00:00 GMT"
    api.watches[PODS] = [[event("DELETED", "a", 8)]]
    with watched(api, tmp_path, has("DELETED", "a")) as one:
        assert us("12:00") <= times(one)[0] <= times(one)[1] < us("12:01")


@pytest.mark.parametrize("date", [None, "Fri, 02 Jan 2026 12:00:00 GMT"])
def test_times_do_not_go_back_where_a_list_follows_on_events(api, tmp_path, date):
    """The API server's Date is cut to seconds: a list dated by it would be older than the events before the gap."""
    api.date = date
    api.watches[PODS] = [[event("ADDED", "a", 8), gone()]] * 5 + [[event("ADDED", "late", 90)]]
    began = time.time()
    with watched(api, tmp_path, has("ADDED", "late")) as one:
        assert times(one) == sorted(times(one))
        assert len(times(one)) == 12
    assert date is not None or times(one)[0] >= began * 1e6


class Pieces:
    """A response that gives what it was made of, piece by piece."""

    def __init__(self, data, cuts):
        places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
        self._pieces = [data[a:b] for a, b in pairwise(places)]

    def read1(self, most):
        return self._pieces.pop(0) if self._pieces else b""


JSON = st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=20), max_size=3)


@given(st.lists(JSON, max_size=5), st.lists(st.integers(0, 500), max_size=10), st.binary(max_size=50))
def test_events_do_not_depend_on_how_they_are_cut_into_pieces(events, cuts, half):
    """Whatever comes gives events or a cut connection, and half a line at the end gives nothing."""
    data = b"".join(json.dumps(one).encode() + b"\n" for one in events)
    assert list(_events(Pieces(data + half.replace(b"\n", b""), cuts))) == events
    with suppress(NoAnswerError):
        list(_events(Pieces(half + b"\n" + data, cuts)))


@pytest.mark.parametrize("line", [b"[" * 100_000, b"{", b"\xff", b"1" * 5000])
def test_a_line_that_is_no_json_is_a_cut_connection(line):
    """A proxy's page, or a number and a nesting without bounds."""
    with pytest.raises(NoAnswerError, match="not JSON"):
        list(_events(Pieces(line + b"\n", [])))


def test_a_line_without_an_end_does_not_take_memory(api, tmp_path, monkeypatch):
    """What goes on for ever is no event."""
    monkeypatch.setattr(watching, "_LONGEST_LINE", 1 << 17)
    api.watches[PODS] = [[b"x" * (1 << 16)] * 4, [event("ADDED", "b", 9)]]
    with watched(api, tmp_path, has("ADDED", "b")) as one:
        assert one.watch.counts.errors["no_answer"] == 1


def test_of_config_maps_only_those_of_one_name_are_watched_and_only_the_mesh_config_is_recorded(api, tmp_path):
    """The rights to one name permit no other watch, and whatever else stands there is nobody's business."""
    path = path_of("configmaps", "", "v1")
    mesh = {"mesh": "rootNamespace: a\nextensionProviders: [{name: hunter2}]\n", "x": "hunter2"}
    changed = event("MODIFIED", "istio", 9)
    changed["object"] |= {"kind": "ConfigMap", "data": mesh}
    api.lists[path] = [named("istio")[0] | {"data": mesh}]
    api.watches[path] = [[changed]]
    with watched(api, tmp_path, lambda one: one.watch.counts.events["MODIFIED"], kind="ConfigMap") as one:
        assert {query["fieldSelector"] for _, asked, query in api.asked if asked == path} == {"metadata.name=istio"}
        assert one.lines() == [["LIST", "istio"], ["MODIFIED", "istio"]]
        (text,) = (gzip.decompress(p.read_bytes()).decode() for p in one.folder.glob("prod-*"))
        assert "hunter2" not in text
        assert text.count('{\\"rootNamespace\\": \\"a\\"}') == 2
