"""What a watch writes: whole lines, in files that appear whole, whatever happens to the recorder."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
import tracemalloc
from contextlib import closing
from io import FileIO

import pytest
from identity.api_server import event, named
from identity.identity_support import at, pod, us

from vzflow.flow.errors import ServiceUnavailable, UsageProblem
from vzflow.identity.kubernetes import RESOURCES
from vzflow.identity.listing import Listed
from vzflow.identity.recording import Limits, Recording
from vzflow.identity.snapshot import load

SECRET = {"kind": "Secret", "metadata": {"name": "s"}, "data": {"password": "aHVudGVyMg=="}}


KIND = {resource.kind: resource for resource in RESOURCES}


def lines(folder, pattern="*.jsonl.gz"):
    """What each finished file of a folder says, in order."""
    found = sorted(folder.glob(pattern))
    return [[json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()] for path in found]


def names(folder):
    """Of the objects of all events."""
    events = [line["object"]["metadata"] for file in lines(folder) for line in file if "object" in line]
    return [metadata["name"] for metadata in events if "name" in metadata]


def listed(recording, kind, items, version="7", clock="12:00"):
    with closing(recording.spool()) as spool:
        spool.extend(items)
        recording.listing(KIND[kind], Listed("v1", version, us(clock)), spool)


def record(recording, number):
    recording.event("ADDED", event("ADDED", f"pod-{number}", number)["object"], us("12:00"))


def test_an_event_is_what_the_api_server_sent_and_when_and_where(tmp_path):
    """The line of a watch, as `kubectl get -w --output-watch-events` has it, with `at` and `cluster`."""
    recording = Recording(tmp_path, "prod", "prod")
    recording.event("DELETED", event("DELETED", "web", 12)["object"], us("12:00:05") + 7)
    recording.close()
    assert lines(tmp_path)[0] == [
        {"type": "DELETED", "at": "2026-01-02T12:00:05.000007Z", "cluster": "prod"}
        | {"object": event("", "web", 12)["object"]}
    ]


def test_a_list_is_a_snapshot_of_its_kind(tmp_path):
    """What reads snapshots reads it."""
    recording = Recording(tmp_path, "prod", "prod")
    listed(recording, "Pod", [pod("a", "10.0.0.1", "11:00"), pod("b", "10.0.0.2", "11:00")])
    listed(recording, "Job", [])
    recording.close()
    ((pods, jobs),) = lines(tmp_path)
    assert pods["metadata"]["annotations"] == {
        "vzflow.io/taken-at": at("12:00").replace("Z", ".000000Z"), "vzflow.io/listed": "Pod",
        "vzflow.io/cluster": "prod", "vzflow.io/resource-versions": '{"Pod":"7"}',
    }  # fmt: skip
    assert jobs["items"] == []
    rows = load(tmp_path.glob("*.gz"), "elsewhere").to_pylist()
    assert [(row["kind"], row["name"]) for row in rows if row["kind"] == "Pod"] == [("Pod", "a"), ("Pod", "b")]
    assert {row["cluster"] for row in rows} == {"prod"}


def test_a_kind_that_cannot_be_listed_is_told_of(tmp_path):
    """So that coverage can say it."""
    recording = Recording(tmp_path, "prod")
    recording.refusal("Job", "not permitted", us("12:00"))
    recording.close()
    (row,) = load(tmp_path.glob("*.gz"), "c").to_pylist()
    assert json.loads(row["object"]) == {"listed": {}, "not_listed": {"Job": "not permitted"}}


def test_nothing_secret_is_written(tmp_path):
    """Neither Secrets, should one ever come, nor what containers are given."""
    recording = Recording(tmp_path, "prod")
    keeper = pod("a", "10.0.0.1", "11:00", containers=[{"name": "c", "env": [{"name": "P", "value": "hunter2"}]}])
    recording.event("ADDED", SECRET, us("12:00"))
    recording.event("ADDED", keeper, us("12:00"))
    listed(recording, "Pod", [SECRET, keeper, SECRET])
    recording.close()
    ((added, found),) = lines(tmp_path)
    assert "hunter2" not in json.dumps([added, found])
    assert [item["kind"] for item in found["items"]] == ["Pod"]


def test_the_file_being_written_is_hidden_and_appears_whole(tmp_path):
    """A glob of a scheduled batch must not meet half a file."""
    recording = Recording(tmp_path, "prod")
    record(recording, 1)
    (growing,) = tmp_path.iterdir()
    assert growing.name.startswith(".prod-")
    assert growing.name.endswith(".jsonl")
    assert growing.read_bytes().endswith(b"}\n"), "what was recorded is in the file at once"
    recording.close()
    (finished,) = tmp_path.iterdir()
    assert finished.name == growing.name.removeprefix(".") + ".gz"
    assert recording.finished == 1


def test_a_file_is_finished_when_it_is_large_or_old(tmp_path):
    """By size as lines come, by age also when none do."""
    now = [0.0]
    recording = Recording(tmp_path, "prod", limits=Limits(size=500, seconds=60), clock=lambda: now[0])
    for number in range(6):
        record(recording, number)
    assert len(list(tmp_path.glob("*.gz"))) == 2
    record(recording, 6)
    now[0] = 59.0
    recording.tick()
    assert len(list(tmp_path.glob("*.gz"))) == 2
    now[0] = 60.0
    recording.tick()
    assert len(list(tmp_path.glob("*.gz"))) == 3
    recording.tick()
    recording.close()
    assert names(tmp_path) == [f"pod-{n}" for n in range(7)]


def test_a_file_begins_where_the_last_one_ended(tmp_path):
    """Whoever reads it sees from the resourceVersions that nothing is missing in between, of any kind."""
    now = [0.0]
    recording = Recording(tmp_path, "prod", "prod", Limits(seconds=60), clock=lambda: now[0])
    listed(recording, "Job", [], "41")
    listed(recording, "Pod", named("a"), "42")
    recording.event("MODIFIED", event("", "a", 50)["object"], us("12:05"))
    recording.refusal("Job", "not permitted", us("12:06"))
    listed(recording, "Node", [], "43", "12:07")
    now[0] = 60.0
    recording.tick()
    record(recording, 51)
    recording.close()
    first, second = lines(tmp_path)
    assert "type" not in first[0]
    assert [(line["type"], line["at"], line["cluster"], line["object"]) for line in second[:2]] == [
        ("BOOKMARK", "2026-01-02T12:05:00.000000Z", "prod",
         {"apiVersion": "v1", "kind": "Pod", "metadata": {"resourceVersion": "50"}}),
        ("BOOKMARK", "2026-01-02T12:07:00.000000Z", "prod",
         {"apiVersion": "v1", "kind": "Node", "metadata": {"resourceVersion": "43"}}),
    ]  # fmt: skip
    assert [line["type"] for line in second[2:]] == ["ADDED"]


def test_nothing_recorded_leaves_no_file(tmp_path):
    """An empty recording would look like a quiet cluster."""
    Recording(tmp_path, "prod").close()
    assert list(tmp_path.iterdir()) == []


def test_threads_do_not_mix_their_lines(tmp_path):
    """Nine kinds are written to one file, while it is turned over."""
    recording = Recording(tmp_path, "prod", limits=Limits(size=4000))
    threads = [
        threading.Thread(target=lambda n=n: [record(recording, n * 100 + i) for i in range(50)]) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    listed(recording, "Pod", named(*"abc"))
    recording.close()
    assert sorted(names(tmp_path)) == sorted(f"pod-{n * 100 + i}" for n in range(8) for i in range(50))


def test_what_a_killed_recorder_left_is_finished_without_its_half_line(tmp_path):
    """Kill -9 in the middle of a line: the lines before it are kept."""
    program = (
        "import os, sys, pathlib\n"
        "from vzflow.identity.recording import Recording\n"
        "r = Recording(pathlib.Path(sys.argv[1]), 'prod')\n"
        "r.event('ADDED', {'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': 'whole'}}, 0)\n"
        'r._file.write(b\'{"type": "ADD\')\n'
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path], check=False, timeout=60)
    assert done.returncode == -9
    (tmp_path / ".prod-east-20260102T000000.000000Z.jsonl").write_text("not ours\n")
    Recording(tmp_path, "prod").close()
    assert names(tmp_path) == ["whole"]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_without_one_whole_line_is_removed(tmp_path):
    """And one longer than what is looked at at once is not cut too early."""
    (tmp_path / ".prod-20260102T000001.000000Z.jsonl").write_bytes(b'{"type"')
    (tmp_path / ".prod-20260102T000002.000000Z.jsonl").write_bytes(b'{"a": 1}\n{"b": "' + b"x" * 3_000_000)
    (tmp_path / ".prod-20260102T000003.000000Z.jsonl").touch()
    Recording(tmp_path, "prod").close()
    assert lines(tmp_path) == [[{"a": 1}]]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_another_recorder_still_writes_is_left_alone(tmp_path):
    """While a Deployment is replaced two of them share the folder."""
    first = Recording(tmp_path, "prod")
    record(first, 1)
    second = Recording(tmp_path, "prod")
    record(second, 2)
    record(first, 3)
    second.close()
    first.close()
    assert sorted(names(tmp_path)) == ["pod-1", "pod-2", "pod-3"]


def test_a_full_disk_is_told_of_and_leaves_no_half_line(tmp_path, monkeypatch):
    """The lines before it stay, and the next one can follow when there is room again."""
    recording = Recording(tmp_path, "prod")
    record(recording, 1)
    write = FileIO.write

    class Full(FileIO):
        room = 20

        def write(self, data):
            if not Full.room:
                raise OSError(28, "No space left on device")
            took = write(self, data[: Full.room])
            Full.room -= took
            return took

    recording._file.close()
    recording._file = Full(next(tmp_path.glob(".prod-*")), "rb+")
    recording._file.seek(0, os.SEEK_END)
    with pytest.raises(UsageProblem, match=r"cannot be written: No space left on device\. Make room"):
        record(recording, 2)
    assert next(tmp_path.glob(".prod-*")).read_bytes().count(b"\n") == 1
    assert next(tmp_path.glob(".prod-*")).read_bytes().endswith(b"\n")
    Full.room = 10_000
    record(recording, 3)
    recording.close()
    assert names(tmp_path) == ["pod-1", "pod-3"]


def test_a_folder_that_cannot_be_made_is_a_usage_problem(tmp_path):
    """Its path is named."""
    (tmp_path / "file").touch()
    with pytest.raises(UsageProblem, match=r"/file: cannot be written: File exists"):
        Recording(tmp_path / "file", "prod")


def test_finished_files_are_delivered_and_those_that_cannot_be_are_kept(tmp_path):
    """A bucket that is away loses nothing; what an earlier recorder could not deliver goes first."""
    taken, away = [], [True]

    def deliver(path):
        if away[0]:
            raise OSError("When uploading part:\n no route.")
        taken.append(gzip.decompress(path.read_bytes()))

    for number in (1, 2):
        recording = Recording(tmp_path, "prod", deliver=deliver)
        record(recording, number)
        recording.close()
        with pytest.raises(
            ServiceUnavailable, match=r"prod-.*gz: \d files not delivered: When uploading part: no route\. "
        ):
            recording.deliver()
        assert recording.waiting == number
    away[0] = False
    recording.deliver()
    assert [json.loads(data)["object"]["metadata"]["name"] for data in taken] == ["pod-1", "pod-2"]
    assert (recording.waiting, list(tmp_path.iterdir())) == (0, [])


def test_what_comes_after_the_end_is_dropped(tmp_path):
    """A thread that is still busy must not begin another file."""
    recording = Recording(tmp_path, "prod")
    record(recording, 1)
    recording.close()
    record(recording, 2)
    recording.tick()
    assert names(tmp_path) == ["pod-1"]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_large_list_does_not_take_memory(tmp_path):
    """Its objects wait on disk: those of a large cluster are 100 MB."""
    recording = Recording(tmp_path, "prod", limits=Limits(size=1 << 30))
    padding = "x" * 10_000
    tracemalloc.start()
    listed(recording, "Pod", ({"metadata": {"name": str(n), "annotations": {"a": padding}}} for n in range(2000)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    recording.close()
    assert recording.written > 20_000_000
    assert peak < 6 << 20
