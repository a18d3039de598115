"""The measuring of identity works: a small run of all of it, and what it says of goals."""

from __future__ import annotations

from bench import identity_bench
from bench.identity_bench import MIDDLE, MOST, Line, Scale, table
from bench.measure import Run

SCALE = Scale(20_000, 50, (1_000_000, MIDDLE, MOST))


def line(what, flows, cpu=0.0, memory=100.0, fault=None):
    return Line(what, flows, [Run(cpu, cpu, memory, "", fault)])


def test_goals_stand_beside_what_was_measured_met_and_missed():
    """CPU beyond the lookups at 10 million flows, growth from there on, memory at 50 million."""
    lines = [
        line("lookups", None, 2.0), line("edges", 1_000_000, 2.3), line("verdicts", 1_000_000, 3.0),
        line("edges", MIDDLE, 5.0), line("verdicts", MIDDLE, 15.0), line("edges", MOST, 18.0, 1000.0),
        line("verdicts", MOST, 52.0, 1001.0), line("naive", MIDDLE, 9.0),
    ]  # fmt: skip
    told = [" ".join(text.split()) for text in table(SCALE, lines).splitlines()]
    assert "<= 3 s met, <= 1.1x met" in told[5]
    assert "<= 12 s MISSED, <= 1.1x MISSED" in told[6]
    assert "1.07 <= 1.1x met, <= 1000 MB met" in told[7]
    assert "<= 1.1x met, <= 1000 MB MISSED" in told[8]
    assert "GOAL" in told[1]


def test_what_could_not_be_measured_has_no_figures():
    """A fault is told; whatever is compared with it has no growth."""
    lines = [line("lookups", None), line("edges", 1_000_000, fault="exit 1: no"), line("edges", MIDDLE, 2.0)]
    told = table(SCALE, lines).splitlines()
    assert told[3].split(maxsplit=2)[2] == "exit 1: no"
    assert "<= 1.1x" not in told[4]


def test_small_run_counts_every_flow_in_all_ways(tmp_path):
    """2,000 flows of 400 pods, through the store: edges, verdicts and the naive way see all of them."""
    scale = Scale(100, 4, (2_000,), watched=20)
    folder = identity_bench.made(scale, tmp_path)
    lines = identity_bench.measured(scale, folder, identity_bench.told_of(scale, tmp_path), rounds=1)
    assert [line.fault for line in lines] == [None] * len(lines)
    told = {(line.what, line.flows): line.runs[0].told for line in lines}
    assert "flows 2000" in told["edges", 2_000]
    assert "flows 2000" in told["naive", 2_000]
    lives = int(told["objects", None].partition(" ")[0])
    assert 20 < lives < 200
    assert f": {lives} lives, " in table(scale, lines)
    assert told["verdicts", 2_000].startswith("partitions 2")  # few hours of the day are without any flow
    assert not (folder / "store-2000" / "classified").exists()
