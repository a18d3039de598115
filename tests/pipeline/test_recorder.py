"""`vzflow watch` as it is run: a process of its own, a test API server, probes and scrapes, and signals."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
from identity.api_server import ISTIO_V1, PODS, api_server, bookmark, event, kubeconfig, named

from vzflow.flow.errors import ServiceUnavailable, UsageProblem
from vzflow.identity.kubernetes import RESOURCES
from vzflow.identity.recording import Recording
from vzflow.identity.snapshot import load
from vzflow.identity.watching import Counts
from vzflow.pipeline import recorder
from vzflow.pipeline.health import Watched, pages, served

SECONDS = 30.0
#: Discard: nobody listens there.
NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def api():
    with api_server() as server:
        server.lists[PODS] = named("a", "b", "c")
        server.watches[PODS] = [[event("ADDED", "d", 8), bookmark(9)]]
        yield server


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def get(port, path):
    connection = HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def until(holds):
    deadline = time.monotonic() + SECONDS
    while not (found := holds()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def listening(port):
    try:
        return get(port, "/readyz")[0] == 200
    except OSError:
        return False


@contextmanager
def running(folder, path, port, *more):
    words = ["watch", "-o", folder, "--kubeconfig", path, "--cluster", "prod", "--listen", f"127.0.0.1:{port}", *more]
    env = {k: v for k, v in os.environ.items() if not k.startswith("VZFLOW_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "vzflow", *map(str, words)], env=env, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a suite in the background has it ignored
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def recorded(folder):
    found = sorted(folder.glob("*.jsonl.gz"))
    return [json.loads(line) for path in found for line in gzip.decompress(path.read_bytes()).splitlines()]


def value(text, sample):
    (found,) = [line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(f"{sample} ")]
    return float(found)


def test_a_recorder_answers_probes_and_ends_well_on_sigterm(api, tmp_path):
    """Exit 0, whole lines, and no hidden file: what Kubernetes does to a pod loses nothing."""
    port, folder = free_port(), tmp_path / "recordings"
    api.status[ISTIO_V1] = 403
    with running(folder, kubeconfig(tmp_path, {"here": api.url}), port) as process:
        until(lambda: listening(port))
        until(lambda: 'vzflow_watch_events_total{kind="Pod",type="BOOKMARK"} 1' in get(port, "/metrics")[1])
        assert get(port, "/healthz") == (200, "ok\n")
        assert get(port, "/secrets") == (404, "not found\n")
        text = get(port, "/metrics")[1]
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, out) == (0, "")
    assert err.count("\n") == 1
    assert err.startswith("vzflow: peerauthentications: not permitted (403")
    assert value(text, 'vzflow_watch_events_total{kind="Pod",type="ADDED"}') == 1
    assert value(text, 'vzflow_watch_lists_total{kind="Node"}') == 1
    assert value(text, 'vzflow_watch_missing{kind="PeerAuthentication"}') == 1
    assert value(text, 'vzflow_watch_missing{kind="Pod"}') == 0
    assert value(text, 'vzflow_watch_up{kind="Pod"}') == 1
    assert abs(value(text, 'vzflow_watch_last_event_timestamp_seconds{kind="Pod"}') - time.time()) < SECONDS
    assert value(text, 'vzflow_watch_lag_seconds{kind="Pod"}') < SECONDS
    assert value(text, "vzflow_recording_bytes_total") > 100
    assert [path.name[:5] for path in folder.iterdir()] == ["prod-"]
    lines = recorded(folder)
    assert [line["object"]["metadata"].get("name") for line in lines if "type" in line] == ["d", None]
    lists = [line["metadata"]["annotations"]["vzflow.io/listed"] for line in lines if "items" in line]
    assert sorted(filter(None, lists)) == sorted({r.kind for r in RESOURCES} - {"PeerAuthentication"})


def test_ctrl_c_ends_it_as_well(api, tmp_path):
    """A laptop's way to stop."""
    port = free_port()
    with running(tmp_path / "r", kubeconfig(tmp_path, {"here": api.url}), port) as process:
        until(lambda: listening(port))
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=SECONDS) == ("", "")
    assert process.returncode == 0
    assert recorded(tmp_path / "r")


def test_kill_9_loses_no_whole_line(api, tmp_path):
    """The next recorder finishes the file."""
    port, folder = free_port(), tmp_path / "r"
    path = kubeconfig(tmp_path, {"here": api.url})
    with running(folder, path, port) as process:
        until(lambda: 'type="BOOKMARK"} 1' in get(port, "/metrics")[1] if listening(port) else False)
        process.kill()
    assert recorded(folder) == []
    Recording(folder, "prod").close()
    assert [line["object"]["metadata"].get("name") for line in recorded(folder) if "type" in line] == ["d", None]


def test_an_api_server_that_does_not_answer_at_first_is_exit_5(tmp_path):
    """And nothing is made."""
    path = kubeconfig(tmp_path, {"here": f"http://127.0.0.1:{free_port()}"})
    with pytest.raises(ServiceUnavailable, match="no list from the API server"):
        recorder.record(tmp_path / "r", threading.Event(), kubeconfig=path)
    assert not (tmp_path / "r").exists()


def test_refused_credentials_are_a_usage_problem_at_first(api, tmp_path):
    """Later they are waited for: tokens are renewed."""
    api.allowed = set()
    with pytest.raises(UsageProblem, match="refuses the credentials"):
        recorder.record(tmp_path / "r", threading.Event(), kubeconfig=kubeconfig(tmp_path, {"here": api.url}))


def test_a_recording_that_cannot_be_written_ends_the_recorder(api, tmp_path, monkeypatch):
    """It would be a recorder that records nothing; what started it is told."""

    def full(*_):
        raise UsageProblem("cannot be written: No space left on device", at="r", do="Make room there.")

    monkeypatch.setattr(Recording, "event", full)
    monkeypatch.setattr(recorder, "_TICK", 0.05)
    with pytest.raises(UsageProblem, match="No space left"):
        recorder.record(tmp_path / "r", threading.Event(), kubeconfig=kubeconfig(tmp_path, {"here": api.url}))
    assert not list((tmp_path / "r").glob(".*")), "what was recorded before is finished"


@pytest.fixture
def west():
    """A second cluster, with another pod."""
    with api_server() as server:
        server.lists[PODS] = named("z")
        yield server


def several(folder, api, west, *, clusters=("prod-east", "prod-west")):
    """Record two contexts until both watch every kind, or the first where the second is None; return what was said."""
    stopping, said = threading.Event(), []
    path = kubeconfig(folder, {"east": api.url, "west": NOBODY if west is None else west.url})

    def watched(server):
        return {p for _, p, query in list(server.asked) if "watch" in query} | set(server.status)

    def look():
        try:
            for server in (one for one in (api, west) if one is not None):
                until(lambda server=server: len(watched(server)) == len(RESOURCES))
        finally:
            stopping.set()

    looking = threading.Thread(target=look)
    looking.start()
    try:
        recorder.record(
            folder / "r", stopping, kubeconfig=path, contexts=["east", "west"], clusters=clusters, say=said.append
        )
    finally:
        stopping.set()
        looking.join()
    return said


def test_several_contexts_are_recorded_side_by_side(api, west, tmp_path):
    """Each in files of its own, which say whose they are; what one refuses is told with its name."""
    west.status[ISTIO_V1] = 403
    said = several(tmp_path, api, west)
    assert [line.partition(": not permitted")[0] for line in said] == ["prod-west: peerauthentications"]
    assert sorted({path.name[:10] for path in (tmp_path / "r").iterdir()}) == ["prod-east-", "prod-west-"]
    rows = load((tmp_path / "r").glob("*.gz"), "default").to_pylist()
    pods = {(row["cluster"], row["name"]) for row in rows if row["kind"] == "Pod"}
    assert {("prod-east", "a"), ("prod-east", "d"), ("prod-west", "z")} <= pods
    assert not {("prod-west", "a"), ("prod-east", "z")} & pods


def test_several_contexts_without_names_are_named_by_their_contexts(api, west, tmp_path):
    """Else nobody could tell their addresses apart."""
    several(tmp_path, api, west, clusters=())
    rows = load((tmp_path / "r").glob("*.gz"), "default").to_pylist()
    assert {row["cluster"] for row in rows} == {"east", "west"}


def test_one_of_several_that_does_not_answer_at_first_is_waited_for(api, tmp_path):
    """The others are recorded meanwhile; it is said at once which is not."""
    said = several(tmp_path, api, None)
    assert (said[0].startswith(NOBODY), said[0].endswith("It is waited for.")) == (True, True)
    assert {path.name[:10] for path in (tmp_path / "r").iterdir()} == {"prod-east-"}


def test_none_of_several_that_answers_is_exit_5(tmp_path):
    """And nothing is made, as with one."""
    path = kubeconfig(tmp_path, {name: f"http://127.0.0.1:{free_port()}" for name in ("east", "west")})
    with pytest.raises(ServiceUnavailable, match="no list from the API server"):
        recorder.record(tmp_path / "r", threading.Event(), kubeconfig=path, contexts=["east", "west"])
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("contexts", "clusters", "what"),
    [
        (["east", "west"], ["prod"], "1 names for 2 contexts"),
        (["east", "east"], [], "named twice: east"),
        (["east", "west"], ["prod/1", "prod:1"], "comes to the same file name"),
    ],
)
def test_clusters_that_could_not_be_told_apart_are_a_usage_problem(tmp_path, contexts, clusters, what):
    """Before anybody is asked."""
    with pytest.raises(UsageProblem, match=what):
        recorder.record(tmp_path / "r", threading.Event(), contexts=contexts, clusters=clusters)
    assert not (tmp_path / "r").exists()


def test_metrics_and_probes_of_several_clusters_say_which(tmp_path):
    """A label for each, one help for all."""
    watched = [
        Watched(name, {"Pod": Counts(alive=time.monotonic(), lists=lists)}, Recording(tmp_path, name))
        for name, lists in (("east", 1), ('we"st', 0))
    ]
    found = pages(watched)
    assert found["/readyz"]() == (503, 'we"st Pod: not listed yet\n')
    text = found["/metrics"]()[1]
    assert value(text, 'vzflow_watch_lists_total{cluster="east",kind="Pod"}') == 1
    assert value(text, 'vzflow_watch_lists_total{cluster="we\\"st",kind="Pod"}') == 0
    assert value(text, 'vzflow_recording_files_total{cluster="east"}') == 0
    assert text.count("# HELP vzflow_watch_lists_total") == 1


@pytest.mark.parametrize("place", ["8080", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:99999", "taken"])
def test_a_place_nobody_can_listen_at_is_a_usage_problem(api, tmp_path, place):
    """Before anything is recorded."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        place = f"127.0.0.1:{taken.getsockname()[1]}" if place == "taken" else place
        with pytest.raises(UsageProblem, match="--listen: "):
            recorder.record(
                tmp_path / "r", threading.Event(), kubeconfig=kubeconfig(tmp_path, {"here": api.url}), listen=place
            )
    assert list((tmp_path / "r").iterdir()) == []


def test_a_thread_without_a_sign_of_life_is_unhealthy_and_an_unlisted_kind_not_ready(tmp_path):
    """Kubernetes restarts the one and waits for the other; a refused kind is neither."""
    now = time.monotonic()
    counts = {
        "Pod": Counts(alive=now - 10_000, lists=1),
        "Node": Counts(alive=now),
        "Job": Counts(alive=now, missing="not permitted"),
    }
    recording, port = Recording(tmp_path, "prod"), free_port()
    with served(f"127.0.0.1:{port}", pages([Watched(None, counts, recording)])):
        assert get(port, "/healthz") == (503, "Pod: no sign of life for 10000 s\n")
        assert get(port, "/readyz") == (503, "Node: not listed yet\n")
        assert 'vzflow_watch_lag_seconds{kind="Node"} NaN\n' in get(port, "/metrics")[1]


def test_metrics_are_prometheus_text(tmp_path):
    """Each metric has its help and type before its samples, once."""
    text = pages([Watched(None, {"Pod": Counts()}, Recording(tmp_path, "prod"))])["/metrics"]()[1]
    helped = [line.split()[2] for line in text.splitlines() if line.startswith("# HELP")]
    typed = [line.split()[2:] for line in text.splitlines() if line.startswith("# TYPE")]
    assert helped == [name for name, _ in typed]
    assert len(set(helped)) == len(helped)
    for line in text.splitlines():
        if not line.startswith("#"):
            name = line.partition(" ")[0].partition("{")[0]
            assert name in helped
            assert name.endswith("_total") == (dict(typed)[name] == "counter")


class Bucket(BaseHTTPRequestHandler):
    """As much of S3 as one PUT needs."""

    protocol_version = "HTTP/1.1"
    objects: ClassVar[dict[str, bytes]] = {}
    refuses = False

    def do_PUT(self):
        body = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        if not Bucket.refuses:
            Bucket.objects[self.path] = body
        self.send_response(403 if Bucket.refuses else 200)
        self.send_header("ETag", '"x"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def bucket(monkeypatch):
    """The URI of a bucket on loopback that takes small files in one request."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    Bucket.objects.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    how = f"endpoint_override=127.0.0.1:{server.server_address[1]}&scheme=http&region=us-east-1&allow_delayed_open=true"
    yield f"s3://recordings/prod?{how}"
    server.shutdown()
    server.server_close()


def recorded_once(api, folder, output):
    """Record until every kind is watched; return what was said."""
    stopping, said, api.asked = threading.Event(), [], []

    def look():
        until(lambda: len({path for _, path, query in list(api.asked) if "watch" in query}) == len(RESOURCES))
        stopping.set()

    looking = threading.Thread(target=look)
    looking.start()
    try:
        recorder.record(
            output, stopping, kubeconfig=kubeconfig(folder, {"here": api.url}), spool=folder / "spool", say=said.append
        )
    finally:
        looking.join()
    return said


def test_a_bucket_gets_each_finished_file(api, tmp_path, bucket, monkeypatch):
    """And the spool is empty then; while the bucket refuses, files stay there, and the end says so."""
    monkeypatch.setattr(recorder, "_TICK", 0.02)
    api.watches[PODS] = []
    monkeypatch.setattr(Bucket, "refuses", True)
    (tmp_path / "spool").mkdir()
    left = tmp_path / "spool" / "cluster-20260102T000000.000000Z.jsonl.gz"
    left.write_bytes(gzip.compress(b"{}\n"))
    with pytest.raises(ServiceUnavailable, match="2 files not delivered") as error:
        recorded_once(api, tmp_path, bucket)
    assert error.value.exit_code == 5
    assert len(list((tmp_path / "spool").iterdir())) == 2
    monkeypatch.setattr(Bucket, "refuses", False)
    recorded_once(api, tmp_path, bucket)
    assert list((tmp_path / "spool").iterdir()) == []
    assert len(Bucket.objects) == 3
    assert f"/recordings/prod/{left.name}" in Bucket.objects


def test_a_recording_is_identity(api, tmp_path):
    """Its lists are read as snapshots are."""
    web = {"metadata": {"name": "web", "namespace": "shop", "uid": "u"}, "status": {"podIP": "10.0.0.1"}}
    api.lists[PODS], api.watches[PODS] = [web], []
    assert recorded_once(api, tmp_path, tmp_path / "r") == []
    rows = load((tmp_path / "r").glob("*.gz"), "default").to_pylist()
    assert [(row["cluster"], row["name"]) for row in rows if row["kind"] == "Pod"] == [("default", "web")]
