"""The scheduled batch: what a route file may say, and that running it again does only what is new."""

from __future__ import annotations

import json
import shutil
import stat

import pytest
from pipeline.pipeline_support import SAMPLES, SMALL_SNAPSHOT, capture, data_files, envoy_log, fates, put, recorded

from vzflow.flow.data import shipped
from vzflow.flow.errors import ServiceUnavailable, UsageProblem, VzflowError
from vzflow.pipeline import route as module
from vzflow.pipeline.route import load_route, run_route
from vzflow.reports import json_report, text

RENDERERS = {".json": json_report.render, ".txt": text.render}
ROUTE = """
store = "S"
{extra}

[[input]]
glob = "in/*"

[[identity]]
glob = "snapshots/*.json"

[[output]]
path = "out/report.json"

[[output]]
path = "out/report.txt"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to run in, with empty folders for inputs and snapshots."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "snapshots").mkdir()
    return tmp_path


def route(folder, extra=""):
    path = folder / "route.toml"
    path.write_text(ROUTE.format(extra=extra))
    return path


def run(folder, extra=""):
    return run_route(route(folder, extra), RENDERERS)


def report(folder):
    """The written report without the moment it was made."""
    found = json.loads((folder / "out" / "report.json").read_text())
    return {k: v for k, v in found.items() if k != "generated_at"}


def samples_into(folder):
    for name in ("verrazzano.pcap", "envoy-text.log", "envoy-json.log", "calico.jsonl"):
        shutil.copy(SAMPLES / name, folder / "in")
    shutil.copy(SAMPLES / "cluster.json", folder / "snapshots")


@pytest.mark.parametrize("path", sorted(shipped("pipelines").glob("*.toml")), ids=lambda p: p.stem)
def test_shipped_route_loads(path):
    """An example that does not load teaches the wrong thing."""
    assert load_route(path).input


def test_run_ingests_classifies_and_writes_the_reports(folder):
    """The same report as by hand, in every format that was asked for."""
    samples_into(folder)
    result = run(folder, 'fail_on = ["plaintext", "disputed"]')
    assert (result.exit_code, result.failed) == (1, ("plaintext",))
    assert report(folder)["summary"]["flows"] == 66
    assert report(folder)["summary"] == result.facts["summary"]
    assert (folder / "out" / "report.txt").read_text().startswith("vzflow report")


def test_run_again_does_nothing_and_says_the_same(folder):
    """Safe to run again: no new version of any table, the same report, the same exit code."""
    samples_into(folder)
    first = run(folder, 'fail_on = ["plaintext"]')
    before, said = data_files(folder / "S"), report(folder)
    again = run(folder, 'fail_on = ["plaintext"]')
    assert data_files(folder / "S") == before
    assert (report(folder), again.exit_code) == (said, first.exit_code)
    assert [fate for part in again.ingested for fate in fates(part)] == ["unchanged"] * 4


def test_new_file_is_all_that_is_read(folder):
    """The others are known."""
    put(folder / "in" / "a.log", envoy_log(0, 3))
    run(folder)
    put(folder / "in" / "b.log", envoy_log(10, 12))
    put(folder / "in" / "a.log", envoy_log(0, 4))
    result = run(folder)
    assert fates(result.ingested[-1]) == ["continued", "stored"]
    assert len(recorded(folder / "S")) == 6


def test_unreadable_input_is_told_of_and_the_rest_is_done(folder):
    """Exit 3, which outweighs findings and missing coverage."""
    put(folder / "in" / "a.log", envoy_log(0, 3))
    put(folder / "in" / "bad.log", b"PK\x03\x04")
    result = run(folder, 'fail_on = ["unknown"]\nmin_coverage = 100\nstrict = true')
    assert (result.exit_code, result.failed) == (3, ("unknown",))
    assert report(folder)["summary"]["flows"] == 3
    assert next(str(e) for part in result.ingested for e in part.errors).startswith("in/bad.log: ")


def test_unreadable_snapshot_is_told_of_and_the_rest_is_done(folder):
    """Another program may be writing it at this moment: the next run takes it."""
    put(folder / "in" / "a.log", envoy_log(0, 3))
    put(folder / "snapshots" / "a.json", b'{"kind": "Li')
    put(folder / "snapshots" / "b.json", SMALL_SNAPSHOT.encode())
    result = run(folder)
    assert (result.exit_code, report(folder)["coverage"]["snapshots"]) == (3, 1)
    put(folder / "snapshots" / "a.json", SMALL_SNAPSHOT.replace("default", "other").encode())
    assert run(folder).exit_code == 0
    assert report(folder)["coverage"]["snapshots"] == 2


@pytest.mark.parametrize(
    ("extra", "code"), [("", 0), ("strict = true", 4), ("strict = true\nfail_on = ['unknown']", 4)]
)
def test_strict_minds_rejects_each_time(folder, extra, code):
    """A retry does not turn green: the damaged file is still what it was given."""
    put(folder / "in" / "a.pcap", capture(3)[:-1])
    assert [run(folder, extra).exit_code for _ in range(2)] == [code, code]


@pytest.mark.parametrize(("percent", "code"), [(5, 1), (50, 4)])
def test_min_coverage_outweighs_findings(folder, percent, code):
    """Two minutes of 37 were observed."""
    put(folder / "in" / "a.log", envoy_log(0, 1) + envoy_log(1, 2, minute=40))
    result = run(folder, f"min_coverage = {percent}\nfail_on = ['unknown']")
    assert result.exit_code == code
    assert any("observed" in note for note in result.notes) is (code == 4)


def test_nothing_to_read_is_told_of_and_is_no_coverage(folder):
    """A mistyped pattern must not look like a quiet cluster."""
    result = run(folder, "min_coverage = 1")
    assert result.exit_code == 4
    assert result.notes[:2] == ("no file matches in/*", "no file matches snapshots/*.json")


def test_folders_that_match_are_passed_over(folder):
    """`**` finds folders too."""
    (folder / "in" / "deep").mkdir()
    put(folder / "in" / "a.log", envoy_log(0, 1))
    assert run(folder).exit_code == 0


def test_report_is_replaced_whole_or_not_at_all(folder, monkeypatch):
    """Whoever reads it while it is written sees the old one, and a failed write leaves no draft."""
    put(folder / "in" / "a.log", envoy_log(0, 1))
    run(folder)
    before = report(folder)
    put(folder / "in" / "b.log", envoy_log(10, 12))

    def full(self, text, **_):
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(UsageProblem, match="No space left"):
        run_route(folder / "route.toml", RENDERERS)
    assert report(folder) == before
    assert sorted(p.name for p in (folder / "out").iterdir()) == ["report.json", "report.txt"]


def test_report_can_be_read_by_whom_the_umask_lets(folder):
    """A dashboard runs as somebody else."""
    put(folder / "in" / "a.log", envoy_log(0, 1))
    run(folder)
    plain = folder / "plain"
    plain.touch()
    assert stat.S_IMODE((folder / "out" / "report.json").stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_output_that_cannot_be_written_is_named(folder):
    """Its place is a file, say."""
    put(folder / "out", b"")
    with pytest.raises(UsageProblem, match=r"out/report\.json"):
        run(folder)


BAD_ROUTES = {
    "not TOML": ("store = ", "not TOML"),
    "no store": ("input = []", "store: "),
    "unknown key": ("store = 'S'\ninput = []\nfial_on = []", "fial_on: "),
    "unknown key of an input": ("store = 'S'\n[[input]]\nglob = 'a'\nformt = 'pcap'", "input.0.formt: "),
    "wrong type": ("store = 'S'\ninput = []\nstrict = 'maybe'", "strict: "),
    "coverage": ("store = 'S'\ninput = []\nmin_coverage = 101", "min_coverage: "),
    "condition": ("store = 'S'\ninput = []\nfail_on = ['everything']", "fail_on: no such condition: everything"),
    "format": ("store = 'S'\n[[input]]\nglob = 'a'\n[[input]]\nglob = 'a'\nformat = 'csv'", "input.1: no such format"),
    "reporter": ("store = 'S'\n[[input]]\nglob = 'a'\nreporter = 'pod'", "input.0: not a pod"),
    "cluster": ("store = 'S'\ninput = []\n[[identity]]\nglob = 'a'\ncluster = ''", "identity.0: not a name"),
    "suffix": ("store = 'S'\ninput = []\n[[output]]\npath = 'a.pdf'", "output.0.path: no format for a.pdf"),
    "model": ("store = 'S'\ninput = []\nmodel = ['nowhere.yaml']", "nowhere.yaml"),
    "not text": (b"\xff\xfe", "not UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "says"), BAD_ROUTES.values(), ids=BAD_ROUTES)
def test_bad_route_is_one_line_that_names_the_key(folder, content, says):
    """Nothing is done before the whole file is understood."""
    path = folder / "route.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageProblem) as error:
        run_route(path, RENDERERS)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert says == "nowhere.yaml" or str(error.value).startswith(f"{path}: ")
    assert not (folder / "S").exists()


def test_missing_route_is_named(folder):
    """Exit 2: it is an argument, not an input."""
    with pytest.raises(UsageProblem, match=r"nowhere\.toml: cannot be read"):
        run_route(folder / "nowhere.toml", RENDERERS)


@pytest.mark.parametrize(("bad", "code"), [(b"PK\x03\x04", 3), (envoy_log(5, 6), 5)])
def test_busy_store_does_not_hide_an_unreadable_input(folder, monkeypatch, bad, code):
    """3 outweighs 5; alone, the busy store is the error."""

    def refuse(*_, **__):
        raise ServiceUnavailable("busy", at="store", do="Wait")

    monkeypatch.setattr(module, "report_facts", refuse)
    put(folder / "in" / "bad.log", bad)
    if code == 3:
        result = run(folder)
        assert (result.exit_code, result.facts, str(result.problem)) == (3, None, "store: busy. Wait")
    else:
        with pytest.raises(VzflowError, match="busy") as error:
            run(folder)
        assert error.value.exit_code == 5
