"""Several inputs at once: each exactly once, in order, whatever becomes of the processes that read them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pipeline.pipeline_support import capture, envoy_line, envoy_log, fates, put, receipts, recorded, stored

from vzflow.flow.errors import Place, UnreadableInput, VzflowError
from vzflow.pipeline.ingest import ingest
from vzflow.store.lake import Lake

SECONDS = 120
#: A program that ingests with two processes, and does *what* to them when they are at work on a slow input.
SLOW = """
import os, sys, time
os.environ["OPENBLAS_NUM_THREADS"] = "1"
from vzflow.pipeline import one_input
whole = one_input._store
def slow(name, *more, **named):
    if "slow" in name:
        os.write(1, b"%d\\n" % os.getpid())
        {what}
    return whole(name, *more, **named)
one_input._store = slow
from vzflow.__main__ import main
main()
"""


def program(what, *words, cwd):
    code = SLOW.format(what=what)
    return subprocess.Popen(
        [sys.executable, "-c", code, "ingest", "--store", "S", "--jobs", "2", "--no-classify", *words], cwd=cwd,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a suite in the background has it ignored
    )  # fmt: skip


def alive(pid):
    """Whether a process still runs, and is no zombie that its parent has to look at."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Logs and captures, some alike, one twice, and what cannot be read."""
    folder = tmp_path_factory.mktemp("in")
    put(folder / "a.log", envoy_log(0, 400))
    put(folder / "b.log", envoy_log(0, 700))  # a.log, grown
    put(folder / "c.log", envoy_line(0) + envoy_log(1000, 1100))  # begins like them and is another one
    put(folder / "d.pcap", capture(300))
    put(folder / "e.pcap", capture(300))
    put(folder / "f.pcap", capture(40)[:-3])
    put(folder / "g.bad", b"PK\x03\x04")
    names = [str(folder / name) for name in ("d.pcap", "a.log", "g.bad", "e.pcap", "b.log", "c.log", "f.pcap")]
    return [*names, str(folder / "none"), names[0]]


@pytest.fixture(scope="module")
def one_by_one(inputs, tmp_path_factory):
    """What a single process makes of them: the result and its store."""
    store = tmp_path_factory.mktemp("alone") / "S"
    return stored(inputs, store), store


def told(result):
    return [(one.name, one.fate, one.flows, one.rejects, str(one.error)) for one in result.inputs]


@pytest.mark.parametrize("jobs", [2, 5, 0])
def test_inputs_read_at_once_are_stored_as_those_read_one_by_one(inputs, one_by_one, tmp_path, jobs):
    """The same rows, the same receipts, the same fates in the same order: also of copies and of logs that grew."""
    (result, alone), together = one_by_one, tmp_path / "together"
    at_once = stored(inputs, together, jobs=jobs)
    assert told(at_once) == told(result)
    assert fates(at_once)[0] == "stored"
    assert fates(at_once)[-1] == "unchanged"
    assert recorded(together) == recorded(alone)
    names = [sorted((r["name"], r["segment"], r["flows"]) for r in receipts(store)) for store in (alone, together)]
    assert names[0] == names[1]
    again = stored(inputs, together, jobs=jobs)
    assert set(fates(again)) == {"unchanged", "unreadable"}
    assert recorded(together) == recorded(alone)


def test_many_commits_at_once_lose_and_double_nothing(tmp_path):
    """Thirty inputs that take no time to read: all that remains are commits, and none is `busy`."""
    names = [put(tmp_path / f"{n}.log", envoy_log(100 * n, 100 * n + 3)) for n in range(30)]
    assert fates(stored(names, tmp_path / "S", jobs=4)) == ["stored"] * 30
    assert len(recorded(tmp_path / "S")) == 90
    assert len(receipts(tmp_path / "S")) == 30


def test_pipe_among_files_read_at_once_is_read_too(tmp_path):
    """It is opened once, by the process that was started with it."""
    names = [put(tmp_path / "a.log", envoy_log(0, 3)), put(tmp_path / "b.log", envoy_log(10, 14))]
    code = "import sys; from vzflow.__main__ import main; main()"
    ran = subprocess.run(
        [sys.executable, "-c", code, "ingest", "--store", "S", "--jobs", "2", "--no-classify", names[0], "-", names[1]],
        input=capture(5), capture_output=True, cwd=tmp_path, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    lines = [line.split()[:3] for line in ran.stderr.decode().splitlines()]
    assert lines == [[names[0], "stored", "3"], ["-", "stored", "5"], [names[1], "stored", "4"]]


def test_killed_process_is_an_error_that_names_its_input_and_the_others_are_stored(tmp_path):
    """Out of memory, most likely. Exit 70, and the same command again stores what is missing."""
    names = [put(tmp_path / f"{n}.log", envoy_log(100 * n, 100 * n + 3)) for n in range(5)]
    slow = put(tmp_path / "slow.log", envoy_log(5000, 5003))
    process = program("os.kill(os.getpid(), 9)", names[0], slow, *names[1:], cwd=tmp_path)
    _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 70
    assert said.count("\n") == 6
    assert f"vzflow: {slow}: the process that read it was killed by SIGKILL. Ingest it again." in said
    assert len(recorded(tmp_path / "S")) == 15
    assert fates(stored([slow, *names], tmp_path / "S", jobs=2)) == ["stored", *["unchanged"] * 5]


def test_all_processes_killed_leaves_the_rest_to_the_one_that_started_them(tmp_path):
    """Each input that kills its reader is told of once; nothing waits for ever."""
    bad = [put(tmp_path / f"slow{n}.log", envoy_log(5000 + 10 * n, 5003 + 10 * n)) for n in range(2)]
    good = [put(tmp_path / f"{n}.log", envoy_log(100 * n, 100 * n + 3)) for n in range(2)]
    process = program("os.kill(os.getpid(), 9)", *bad, *good, cwd=tmp_path)
    _, said = process.communicate(timeout=SECONDS)
    assert (process.returncode, said.count("killed by SIGKILL")) == (70, 2)
    assert len(recorded(tmp_path / "S")) == 6


def test_fault_in_a_process_is_one_line_that_names_its_input(tmp_path):
    """As without `--jobs`, but that the others are stored."""
    good, slow = put(tmp_path / "a.log", envoy_log(0, 3)), put(tmp_path / "slow.log", envoy_log(10, 14))
    process = program("1 / 0", slow, good, cwd=tmp_path)
    _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 70
    assert f"vzflow: {slow}: internal error: ZeroDivisionError: division by zero." in said
    assert "Traceback" not in said
    assert len(recorded(tmp_path / "S")) == 3


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupt_ends_every_process_and_leaves_nothing_half_written(tmp_path, number, code):
    """What was stored stays; of the input in work there is no row and no file."""
    slow = [put(tmp_path / f"slow{n}.log", envoy_log(100 * n, 100 * n + 3)) for n in range(2)]
    # The system may tell any thread of a process; Python listens between two steps of its own.
    process = program("[time.sleep(0.05) for _ in range(1200)]", *slow, cwd=tmp_path)
    workers = [int(process.stdout.readline()) for _ in range(2)]
    assert process.pid not in workers
    before = sorted((tmp_path / "S").rglob("*"))
    process.send_signal(number)
    begin = time.monotonic()
    _, said = process.communicate(timeout=SECONDS)
    assert time.monotonic() - begin < 8  # they were told, and not given up
    assert (process.returncode, said) == (code, "")
    assert not any(alive(worker) for worker in workers)
    assert sorted((tmp_path / "S").rglob("*")) == before
    assert receipts(tmp_path / "S") == []


def test_processes_end_when_the_one_that_started_them_is_killed(tmp_path):
    """They finish the input in work, which is whole in the store then, and take no other one."""
    slow = [put(tmp_path / f"slow{n}.log", envoy_log(100 * n, 100 * n + 3)) for n in range(4)]
    process = program("time.sleep(1)", *slow, cwd=tmp_path)
    workers = [int(process.stdout.readline()) for _ in range(2)]
    process.kill()
    process.communicate(timeout=SECONDS)
    end = time.monotonic() + 30
    while any(alive(worker) for worker in workers) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(alive(worker) for worker in workers)
    assert len(recorded(tmp_path / "S")) == 6


def test_store_that_cannot_be_used_ends_them_all_with_its_error(tmp_path):
    """As without `--jobs`."""
    names = [put(tmp_path / f"{n}.log", envoy_log(100 * n, 100 * n + 3)) for n in range(2)]
    slow = put(tmp_path / "slow.log", envoy_log(5000, 5003))
    gone = "import shutil; shutil.rmtree('S/recorded')"
    process = program(gone, slow, *names, cwd=tmp_path)
    _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 3
    # Which it is depends on who looked at what when it went.
    assert any(one in said for one in ("recorded/ is gone", "recorded/ cannot be used", "no store here"))


def test_progress_is_told_of_all_together(tmp_path):
    """Sums over those in work; the name says how many are done."""
    names = [put(tmp_path / f"{n}.log", envoy_log(1000 * n, 1000 * n + 900)) for n in range(3)]
    seen = []
    stored(names, tmp_path / "S", jobs=2, progress=seen.append)
    assert seen[-1].name == "3 of 3 inputs done"
    assert all(one.done <= one.total for one in seen)


def test_errors_survive_the_way_from_one_process_to_another():
    """With their type, place and exit code."""
    import pickle

    for error in (UnreadableInput("gone", at=Place("a", 3), do="Look"), VzflowError("x", at="b", do="y")):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), again.at, again.exit_code) == (
            type(error), str(error), error.at, error.exit_code,
        )  # fmt: skip


def test_jobs_classify_once_at_the_end(tmp_path):
    """In the process that was asked, over everything."""
    names = [put(tmp_path / f"{n}.log", envoy_log(100 * n, 100 * n + 3)) for n in range(3)]
    ingest(names, tmp_path / "S", jobs=3)
    lake = Lake.open(tmp_path / "S")
    assert list(lake.partitions("classified")) == list(lake.partitions("recorded"))
    commits = sorted((tmp_path / "S/classified/_delta_log").glob("*.json"))
    assert len(commits) == 2  # made, and filled
