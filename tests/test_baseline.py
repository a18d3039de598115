"""`report --baseline`: what is new since an earlier report, and a gate that fails on that only."""

from __future__ import annotations

import json

import pytest
from test_cli import vzflow

from vzflow.pipeline import verbs


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """The demonstration's store, and its report as baseline."""
    folder = tmp_path_factory.mktemp("baseline")
    assert vzflow("demo", "--store", "S", cwd=folder).returncode == 0
    (folder / "before.json").write_text(vzflow("report", "--store", "S", "-o", "json", cwd=folder).stdout)
    return folder


def test_against_itself_nothing_is_new_and_nothing_fails(work):
    """What rests on amendments is not listed by edge and would always count."""
    conditions = [w for c in ("plaintext", "unexpected:any", "unknown") for w in ("--fail-on", c)]
    asked = ("report", "--store", "S", "--baseline", "before.json", *conditions)
    done = vzflow(*asked, "-o", "json", cwd=work)
    told = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert told["findings"]
    assert told["baseline"] == {"new": 0, "known": len(told["findings"]), "not_found_again": []}
    assert {finding["new"] for finding in told["findings"]} == {False}


def test_a_finding_that_the_baseline_lacks_is_new_and_fails(work):
    """Its line says so; one of the baseline that is not there now is told, not called resolved."""
    before = json.loads((work / "before.json").read_text())
    gone = next(f for f in before["findings"] if f["code"] == "VZ1002")
    gone["responder"]["name"] = "elsewhere/other"
    (work / "other.json").write_text(json.dumps(before))
    done = vzflow("report", "--store", "S", "--baseline", "other.json", "--fail-on", "unexpected", cwd=work)
    assert done.returncode == 1
    known = len(before["findings"]) - 1
    assert f"FINDINGS  since the baseline: 1 new, {known} known, 1 not found again\n" in done.stdout
    assert sum("  new  " in line for line in done.stdout.splitlines()) == 1
    told = verbs.report(work / "S", baseline=work / "other.json")
    assert [f["responder"]["name"] for f in told["findings"] if f["new"]] != ["elsewhere/other"]
    assert told["baseline"]["not_found_again"][0]["responder"] == "elsewhere/other"


def test_without_a_baseline_nothing_is_called_new(work):
    """The contract has neither key then."""
    told = json.loads((work / "before.json").read_text())
    assert "baseline" not in told
    assert not any("new" in finding for finding in told["findings"])


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        (None, 2, "cannot be read"),
        ("nothing", 3, "not JSON"),
        ("[]", 3, "not a report"),
        ('{"schema_version": 2}', 2, "a report of schema_version 2"),
        ('{"schema_version": 1, "findings": [{}], "undecided": []}', 3, "not a whole report"),
        ('{"schema_version": 1}', 3, "not a whole report"),
    ],
)
def test_a_file_that_is_no_report_is_refused_in_one_line(work, tmp_path, text, code, said):
    """Nothing is printed that could be taken for an answer."""
    file = tmp_path / "bad.json"
    if text is not None:
        file.write_text(text)
    done = vzflow("report", "--store", "S", "--baseline", file, cwd=work)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_route_has_a_baseline_too(work):
    """The key is as the option."""
    (work / "route.toml").write_text(
        'store = "S"\nbaseline = "before.json"\nfail_on = ["unexpected"]\ninput = []\n[[output]]\npath = "now.json"\n'
    )
    assert vzflow("run", "route.toml", cwd=work).returncode == 0
    assert json.loads((work / "now.json").read_text())["baseline"]["new"] == 0
