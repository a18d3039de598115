"""The measuring works: what it charges, what it says of absent and failing programs, and one small run of all."""

from __future__ import annotations

import shutil
import sys

import pytest
from bench import bench, measure, page
from bench.inputs import Capture, Log
from bench.measure import Run
from bench.page import Case, Entry, Made, Row
from bench.programs import NFPCAPD, Program

BURN = "t = __import__('time'); end = t.process_time() + 0.2\nwhile t.process_time() < end: pass"
CAPTURE = Capture(1_000_000, 25_000)


def program(name, *words):
    return Program(name, lambda _: [sys.executable, *words], "nowhere")


def run(cpu=1.0, wall=1.0, memory=100.0):
    return Run(cpu, wall, memory, "", None)


def lines(case, rows):
    return page.table(case, rows).splitlines()


def test_processor_time_of_children_is_counted(tmp_path):
    """A program that lets others work pays for them."""
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURN!r}])"
    told = measure.run([sys.executable, "-c", child], measure.environment(), tmp_path)
    assert told.fault is None
    assert told.cpu > 0.2


def test_output_is_told_and_removed(tmp_path):
    """The folder is gone when the run has ended, whatever it left there."""
    write = "import sys, pathlib; pathlib.Path(sys.argv[1], 'x').write_text('y'); print('read 7'); sys.exit(3)"
    told = measure.run([sys.executable, "-c", write, "{out}"], measure.environment(), tmp_path)
    assert (told.told, told.fault) == ("read 7\n", "exit 3: read 7")
    assert list(tmp_path.iterdir()) == []


def test_library_tuning_of_this_shell_reaches_no_program(monkeypatch):
    """Users do not set it."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setenv("VZFLOW_STORE", "/somewhere")
    assert not {"OPENBLAS_NUM_THREADS", "VZFLOW_STORE"} & set(measure.environment())


def test_goals_stand_beside_what_was_measured():
    """Met and missed, of CPU, of wall time and of memory; a program without figures has a goal and no verdict."""
    vzflow = Entry(program("vzflow"))
    case = Case("t", (CAPTURE,), (vzflow,))
    rows = [
        Row(vzflow, runs=[run(2.0), run(1.0), run(1.0)]), Row(Entry(program("fast"), times=4), runs=[run(3.9)]),
        Row(Entry(program("slow"), times=4), runs=[run(4.0)]), Row(Entry(program("big"), memory=99), runs=[run()]),
    ]  # fmt: skip
    told = lines(case, rows)
    assert told[0] == "t: 1,000,000 packets, 25,000 flows"
    assert "3.90  >= 4 MISSED" in told[3]
    assert "4.00  >= 4 met" in told[4]
    assert "<= 99 MB MISSED" in told[5]
    walls = [Row(vzflow, runs=[run(wall=3.4)]), Row(Entry(program("two"), times=1.7), runs=[run(wall=2.0)])]
    assert "1.70  >= 1.7 met" in lines(Case("t", (CAPTURE,), (), of="wall"), walls)[3]
    failed = [Row(vzflow, "exit 2: no"), Row(Entry(program("peer"), times=4), runs=[run()])]
    told = lines(case, failed)
    assert told[2].split(maxsplit=1) == ["vzflow", "exit 2: no"]
    assert told[3].endswith("1.00         >= 4")


def test_program_that_reads_less_than_all_is_told_of():
    """Its figures are for less work."""
    assert NFPCAPD.short_of(5, "packets", "Total: Processed: 5, skipped: 0") is None
    assert NFPCAPD.short_of(5, "packets", "Total: Processed: 4, skipped: 1") == "read 4 of 5 packets"


def test_long_log_has_a_goal_beside_the_memory_of_a_short_one():
    """Its records are its own, and so is its rate; memory is to be no more, not less."""
    short, long = Log("istio", 1_000_000), Log("istio", 5_000_000)
    entries = Entry(program("vzflow"), memory=100), Entry(program("vzflow, long"), 1.1, inputs=(long,))
    case = Case("t", (short,), entries, of="memory")
    rows = [Row(entries[0], runs=[run()]), Row(entries[1], runs=[run(cpu=2.0, memory=110.0)])]
    told = lines(case, rows)
    assert told[0] == "t: 1,000,000 lines"
    assert told[2].split()[-6:] == ["100", "1.00", "<=", "100", "MB", "met"]
    assert told[3].split()[-6:] == ["110", "2.50", "1.10", "<=", "1.1", "met"]
    rows[1].runs[0] = run(memory=111.0)
    assert lines(case, rows)[3].endswith("<= 1.1 MISSED")


def test_page_keeps_what_is_around_the_tables(tmp_path):
    """Only what stands between the markers of a section is written, and again at the next run."""
    path = tmp_path / "page.md"
    path.write_text((bench.CHECKOUT / "docs" / "benchmarks.md").read_text())
    captures, logs = path.read_text().split("## Logs\n")
    for words in ("--first", "--second"):
        made = Made(bench.datetime(2026, 1, 2), words, 3, 0.1, 0.2, 2)
        page.write(path, "logs", ["what was measured\n"], made, {"tool": "1.2"})
    text = path.read_text()
    assert text.startswith(captures + "## Logs\n" + logs.split("<!--")[0])
    assert (text.count("what was measured"), "--second" in text, "--first" in text) == (1, True, False)
    page.write(path, "captures", ["another\n"], made, {})
    assert path.read_text().endswith(text.split("## Logs\n")[1])


def test_small_run_measures_every_program_that_is_there(tmp_path, capsys):
    """20,000 packets: figures for what is installed, `missing` for what is not."""
    words = ["--packets", "20000", "--rounds", "1", "--only", "^full size$", "--no-install", "--cache", str(tmp_path)]
    code = bench.main(words)
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "full size: 20,000 packets, 500 flows"
    for entry in next(bench.cases(bench.SHORT, tmp_path)).entries:
        (line,) = (line for line in told if line.startswith(f"  {entry.program.name}  "))
        if entry.program.missing():
            assert f"missing: {entry.program.source}" in line
        else:
            assert "exit" not in line, line
            assert "of 20,000 packets" not in line
    assert code == 0


def test_small_run_measures_logs_and_their_memory(tmp_path, capsys):
    """1000 lines: every program reads all of them, compressed or not, and a longer log for memory."""
    only = "^logs: (Calico JSON$|Istio text, gzip|memory, Istio)"
    words = ["--lines", "1000", "--rounds", "1", "--only", only, "--no-install", "--cache", str(tmp_path)]
    assert bench.main(words) == 0
    told = capsys.readouterr().out
    assert "exit" not in told
    assert "of 1,000 lines" not in told
    titles = ["logs: Calico JSON", "logs: Istio text, gzip", "logs: memory, Istio text"]
    assert [line for line in told.splitlines() if line.startswith("logs: ")] == [f"{t}: 1,000 lines" for t in titles]
    assert "\n  vzflow, 10,000 lines " in told


@pytest.mark.parametrize("name", ["tcpdump", "nfpcapd", "argus", "softflowd", "tshark"])
def test_version_is_told_of_what_is_there(name, tmp_path):
    """A page without versions says nothing."""
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    assert bench.versions(bench.cases(bench.SHORT, tmp_path))[name][0].isdigit()
