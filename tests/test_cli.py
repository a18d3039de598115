"""The command line, as users and scheduled jobs meet it: text, exit codes, streams, one clear line for each error."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import os
import pkgutil
import pty
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import pytest
from identity.api_server import ISTIO_V1, api_server, kubeconfig
from pipeline.pipeline_support import SAMPLES, calico_line, capture, data_files, envoy_log, put
from typer.main import get_command

import vzflow as library
from vzflow import __main__ as program
from vzflow import cli
from vzflow.cli import main, progress
from vzflow.flow.errors import VzflowError
from vzflow.pipeline.one_input import Told
from vzflow.store.lake import Lake

SECONDS = 120
COMMANDS = {
    "demo": [], "ingest": ["INPUT"], "snapshot": ["-o", "FILE"], "report": [], "explain": ["X"], "sql": ["SELECT 1"],
    "query": ["list"], "run": ["ROUTE"], "model show": [], "watch": ["-o", "FOLDER"],
    "store compact": [], "model lint": [], "model import": ["DOCUMENT"], "check": ["A", "B:1"], "plan": [],
}  # fmt: skip
#: Not pydantic: newer versions of typer bring it along to every subcommand.
HEAVY = {"duckdb", "pyarrow", "scapy", "kubernetes", "deltalake", "pandas", "numpy", "yaml", "rich"}


def clean(env):
    """Variables without ours and without what concerns terminals, but for *env*."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("VZFLOW_") and k not in ("NO_COLOR", "TERM")}
    return inherited | (env or {})


def process(*words, cwd=None, env=None, **more):
    """Run `python -m vzflow` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "vzflow", *map(str, words)], cwd=cwd, env=clean(env), text=True, capture_output=True,
        timeout=SECONDS, check=False, **more,
    )  # fmt: skip


def vzflow(*words, cwd=None, env=None):
    """Run the console script's function in this process, which takes a tenth of the time."""
    out, said = io.StringIO(), io.StringIO()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with (
        patch.dict(os.environ, clean(env), clear=True), patch.object(sys, "argv", ["vzflow", *map(str, words)]),
        chdir(cwd or Path.cwd()), redirect_stdout(out), redirect_stderr(said), pytest.raises(SystemExit) as end,
    ):  # fmt: skip
        main()
    for number, handler in before.items():
        signal.signal(number, handler)
    return SimpleNamespace(returncode=end.value.code or 0, stdout=out.getvalue(), stderr=said.getvalue())


def refused(done, code, *says):
    """It ended with *code* and one line on stderr that holds all of *says*, and printed no data."""
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("vzflow: ")
    for words in says:
        assert words in done.stderr
    return done


@pytest.fixture(autouse=True)
def as_if_compiled(monkeypatch):
    """The advice to compile is one test's matter, and no part of the others' streams."""
    monkeypatch.setattr("vzflow.readers.packet_core.COMPILED", True)


@pytest.fixture(autouse=True)
def _handlers():
    """The command line says what happens on a signal, for its own process."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with the samples under the names of the issue, and the store that its first command makes."""
    folder = tmp_path_factory.mktemp("work")
    for name, given in (
        ("verrazzano.pcap", "capture.pcap"), ("calico.jsonl", "calico.jsonl"), ("envoy-text.log", "envoy.log"),
        ("envoy-json.log", "envoy-json.log"), ("cluster.json", "snap.json"),
    ):  # fmt: skip
        shutil.copy(SAMPLES / name, folder / given)
    inputs = ("capture.pcap", "calico.jsonl", "envoy.log", "envoy-json.log")
    done = vzflow("ingest", "--store", "S", "--identity", "snap.json", *inputs, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def report(work):
    """The report of that store as JSON."""
    return json.loads(vzflow("report", "--store", "S", "-o", "json", cwd=work).stdout)


def rows(work, query):
    done = vzflow("sql", "--store", "S", query, "-o", "json", cwd=work)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# The main job.


def test_commands_of_the_issue_work_as_written(tmp_path):
    """Three inputs and a snapshot in, the report as JSON out, and the counts by SQL."""
    for name, given in (("verrazzano.pcap", "capture.pcap"), ("envoy-text.log", "envoy.log")):
        shutil.copy(SAMPLES / name, tmp_path / given)
    shutil.copy(SAMPLES / "calico.jsonl", tmp_path)
    shutil.copy(SAMPLES / "cluster.json", tmp_path / "snap.json")
    (tmp_path / "vzflow").write_text(f'#!/bin/sh\nexec {sys.executable} -m vzflow "$@"\n')
    (tmp_path / "vzflow").chmod(0o755)
    script = (
        "vzflow ingest --store S --identity snap.json capture.pcap calico.jsonl envoy.log "
        "&& vzflow report --store S -o json"
    )
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    run = {"cwd": tmp_path, "env": env, "text": True, "capture_output": True, "timeout": SECONDS, "check": False}
    first = subprocess.run(script, shell=True, **run)
    assert first.returncode == 0, first.stderr
    assert json.loads(first.stdout)["summary"]["flows"] == 60
    counts = subprocess.run(
        'vzflow sql --store S "select verdict, count(*) from verdict group by all"', shell=True, **run
    )
    assert sum(int(line.split()[1]) for line in counts.stdout.splitlines()[1:]) == 60
    before = data_files(tmp_path / "S")
    again = subprocess.run(script, shell=True, **run)
    assert data_files(tmp_path / "S") == before
    assert without_time(again.stdout) == without_time(first.stdout)


def without_time(text):
    """A JSON report without the moment it was made."""
    return {k: v for k, v in json.loads(text).items() if k != "generated_at"}


def test_demo_prints_the_report_and_leaves_nothing(tmp_path):
    """No cluster, no store, no argument."""
    done = process("demo", cwd=tmp_path, env={"TMPDIR": str(tmp_path)})
    assert done.returncode == 0
    assert re.search(r"^plaintext +1 ", done.stdout, re.MULTILINE)
    assert list(tmp_path.iterdir()) == []


def test_demo_keeps_its_store_where_told(tmp_path):
    """To go on from there with `sql` and `explain`."""
    assert vzflow("demo", "--store", tmp_path / "S", "--quiet").stderr == ""
    assert Lake.open(tmp_path / "S").receipts().num_rows == 4


@pytest.mark.parametrize(
    ("compiled", "name", "quiet", "lines"),
    [
        (False, "verrazzano.pcap", [], 1), (False, "verrazzano.pcap", ["--quiet"], 0),
        (False, "calico.jsonl", [], 0), (True, "verrazzano.pcap", [], 0),
    ],
)  # fmt: skip
def test_an_interpreted_packet_core_is_said_once_where_a_capture_was_read(tmp_path, compiled, name, quiet, lines):
    """An installation hides that it did not compile; logs are read without it, and --quiet wants no advice."""
    words = ("ingest", "--store", tmp_path / "S", SAMPLES / name, SAMPLES / name, *quiet)
    with patch("vzflow.readers.packet_core.COMPILED", compiled):
        first, again = vzflow(*words), vzflow(*words)
    assert first.returncode == 0
    assert first.stderr.count("vzflow: the packet core is not compiled: ") == lines
    assert "not compiled" not in again.stderr


# The JSON contract.


def test_report_json_has_the_keys_of_the_contract(report):
    """More keys may be added; these stay."""
    assert set(report) >= {
        "schema_version", "generated_at", "model", "window", "coverage", "summary", "findings", "rules", "inputs",
    }  # fmt: skip
    assert report["schema_version"] == 1
    assert set(report["summary"]) >= {"flows", "exchanges", "by_verdict", "by_transport_status"}
    assert set(report["summary"]["by_verdict"]) == {"expected", "unexpected", "plaintext", "unknown", "out_of_scope"}
    for finding in report["findings"]:
        assert set(finding) >= {
            "code", "verdict", "severity", "initiator", "responder", "port", "protocol", "rule_id", "rule_status",
            "reason", "transport", "transport_status", "outcome", "exchanges", "flows", "bytes", "first_seen",
            "last_seen", "sources", "flow_ids",
        }  # fmt: skip
        assert set(finding["initiator"]) >= {"namespace", "workload", "kind"}
        assert set(finding["responder"]) >= {"namespace", "workload", "kind"}
        assert 0 < len(finding["flow_ids"]) <= 20
        assert re.fullmatch(r"VZ1\d{3}", finding["code"])
    assert all(set(rule) >= {"rule_id", "status", "exchanges"} for rule in report["rules"])
    assert all(set(one) >= {"name", "segments", "digest"} for one in report["inputs"])


def test_report_counts_exchanges_and_every_one_once(report):
    """The verdicts and the transport statuses add up to the exchanges, and each has some."""
    summary = report["summary"]
    assert sum(summary["by_verdict"].values()) == summary["exchanges"]
    assert sum(summary["by_transport_status"].values()) == summary["exchanges"]
    assert all(summary["by_verdict"].values())
    assert summary["flows"] == 66


def test_flow_ids_of_findings_are_flows_of_the_store(work, report):
    """Evidence can be looked up."""
    named = {flow_id for finding in report["findings"] for flow_id in finding["flow_ids"]}
    stored = {row["flow_id"] for row in rows(work, "select flow_id from flow")}
    assert named <= stored


TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def test_times_in_json_are_utc_with_microseconds(report):
    """One spelling everywhere."""
    found = [report["generated_at"], report["window"]["first_seen"], *(f["first_seen"] for f in report["findings"])]
    assert all(TIME.fullmatch(moment) for moment in found)


def test_sql_json_is_one_plain_array(work):
    """No wrapper: nulls explicit, integers as numbers, times in the one spelling, whatever the machine's zone is."""
    query = (
        "select 1 as a, null as b, timestamptz '2026-01-02 03:04:05.678901+00' as c, "
        "timestamp '2026-01-02 03:04:05' as d, sum(x)::hugeint as e, 1.5 as f, 'nan'::double as g, "
        "date '2026-01-02' as h, true as i, 'ü' as j, "
        "[1, null] as k, 'ab'::blob as l, {'t': timestamptz '2026-01-02 03:04:05+00'} as m from range(3) t(x)"
    )
    done = process("sql", "--store", "S", query, "-o", "json", cwd=work, env={"TZ": "Asia/Tokyo"})
    assert json.loads(done.stdout) == [
        {
            "a": 1, "b": None, "c": "2026-01-02T03:04:05.678901Z", "d": "2026-01-02T03:04:05.000000Z", "e": 3, "f": 1.5,
            "g": "nan", "h": "2026-01-02", "i": True, "j": "ü", "k": [1, None], "l": "6162",
            "m": {"t": "2026-01-02T03:04:05.000000Z"},
        }
    ]  # fmt: skip


def test_sql_json_of_no_rows_is_an_empty_array(work):
    """Not a null and not nothing."""
    assert rows(work, "select * from flow where false") == []


def test_sql_keeps_columns_that_are_named_alike(work):
    """`select * from a join b` names the key twice; both are shown."""
    assert rows(work, "select 1 as a, 2 as a, 3 as a_1") == [{"a": 1, "a_2": 2, "a_1": 3}]


def test_sql_reads_stdin_without_an_argument(work):
    """For queries in files."""
    done = process("sql", "--store", "S", "-o", "json", cwd=work, input="select count(*) as n from flow")
    assert json.loads(done.stdout) == [{"n": 66}]


def test_query_prints_what_sql_would(work):
    """One array, the columns of the query's header."""
    done = vzflow(
        "query", "who", "--store", "S", "-o", "json", "-p", "address=10.250.3.7", "-p", "time=2026-01-01", cwd=work
    )
    assert (done.returncode, json.loads(done.stdout)) == (0, [])


def test_query_list_names_every_question(tmp_path):
    """It needs no store."""
    done = vzflow("query", "list", "-o", "json", cwd=tmp_path)
    assert {"unresolved", "egress", "blocked", "unclaimed", "who"} <= {one["name"] for one in json.loads(done.stdout)}
    assert "unresolved" in vzflow("query", "list", cwd=tmp_path).stdout


def test_model_show_quotes_the_document(tmp_path):
    """All 29 rows, by the document's own order, in both forms."""
    shown = json.loads(vzflow("model", "show", "-o", "json", cwd=tmp_path).stdout)
    documented = {rule["rule_id"] for rule in shown if rule["kind"] == "documented"}
    assert documented == {f"R{n:02d}" for n in range(1, 30)}
    assert "DOCUMENTED (29)" in vzflow("model", "show", cwd=tmp_path).stdout


# What a report is asked for.


@pytest.mark.parametrize(
    ("condition", "code"),
    [("plaintext", 1), ("unexpected", 1), ("unexpected:any", 1), ("unknown", 1), ("amended", 1), ("disputed", None)],
)
def test_fail_on_exits_1_if_the_condition_is_met(work, condition, code, report):
    """The report is printed all the same, and stderr names what was found."""
    done = vzflow("report", "--store", "S", "--fail-on", condition, "-o", "json", cwd=work)
    met = report["summary"]["by_transport_status"]["disputed"] > 0 if code is None else True
    assert done.returncode == (1 if met else 0)
    assert (f"found {condition}" in done.stderr) is met
    assert json.loads(done.stdout)["summary"] == report["summary"]


def test_fail_on_plaintext_means_refused_plaintext_too(work):
    """`es-reindex` was turned away, and its payload had gone in clear."""
    done = vzflow("report", "--store", "S", "--workload", "es-reindex", "--fail-on", "plaintext", cwd=work)
    assert done.returncode == 1


def test_fail_on_unexpected_leaves_out_what_was_kept_away(work):
    """Blocked, refused and unanswered attempts count with `unexpected:any` only."""
    asked = ("report", "--store", "S", "--workload", "es-reindex", "--fail-on")
    assert vzflow(*asked, "unexpected", cwd=work).returncode == 0
    assert vzflow(*asked, "unexpected:any", cwd=work).returncode == 1


def test_coverage_below_the_minimum_exits_4_and_outweighs_findings(work):
    """A window of which one minute in many was observed is incomplete."""
    store = work / "sparse"
    late = envoy_log(0, 1) + envoy_log(1, 2, minute=40)
    vzflow("ingest", "--store", store, put(work / "sparse.log", late), cwd=work)
    done = vzflow("report", "--store", store, "--min-coverage", 50, "--fail-on", "unknown", cwd=work)
    assert (done.returncode, "5 % of the window's minutes observed, 50 % asked for" in done.stderr) == (4, True)
    assert vzflow("report", "--store", store, "--min-coverage", 5, "--fail-on", "unknown", cwd=work).returncode == 1


def test_no_data_is_never_full_coverage(work, tmp_path):
    """An empty window has no observed minute."""
    done = vzflow("report", "--store", "S", "--since", "2030-01-01", "--min-coverage", 1, cwd=work)
    assert done.returncode == 4


@pytest.mark.parametrize(
    ("asked", "where"),
    [
        (["-n", "keycloak"], "'keycloak' in (initiator_namespace, responder_namespace)"),
        (["--workload", "rancher"], "'rancher' in (initiator_workload, responder_workload)"),
        (["--port", "8000"], "target_port = 8000"),
        (["--verdict", "unexpected"], "exchange_verdict = 'unexpected'"),
        (["--until", "2000-01-01"], "false"),
        (["--since", "2000-01-01", "--until", "2099-01-01T00:00:00+02:00"], "true"),
    ],
    ids=lambda v: v[0] if isinstance(v, list) else "",
)
def test_report_is_of_what_was_asked(work, asked, where):
    """Each filter leaves the exchanges of which it is true."""
    done = vzflow("report", "--store", "S", "-o", "json", *asked, cwd=work)
    (wanted,) = rows(work, f"select count(*) as n from exchange where {where}")
    assert json.loads(done.stdout)["summary"]["exchanges"] == wanted["n"]


def test_since_and_until_cut_the_window(work):
    """An exchange belongs to a window that it overlaps; the end is exclusive."""
    (middle,) = rows(work, "select first_seen as t from flow order by first_seen limit 1 offset 30")
    counts = [
        json.loads(vzflow("report", "--store", "S", "-o", "json", flag, middle["t"], cwd=work).stdout)["summary"][
            "exchanges"
        ]
        for flag in ("--since", "--until")
    ]
    (all_,) = rows(work, "select count(*) as n from exchange")
    assert min(counts) > 0
    assert max(counts) < all_["n"] <= sum(counts)


# Without a snapshot.


def test_without_a_snapshot_no_verdict_is_firm(work):
    """Everything works, and verdicts are unknown or out of scope, never green and never red."""
    done = vzflow("ingest", "--store", "bare", "capture.pcap", "calico.jsonl", "envoy.log", cwd=work)
    assert done.returncode == 0, done.stderr
    shown = vzflow("report", "--store", "bare", cwd=work)
    assert shown.returncode == 0
    assert "no snapshot" in shown.stdout
    found = json.loads(vzflow("report", "--store", "bare", "-o", "json", cwd=work).stdout)
    given = {verdict for verdict, count in found["summary"]["by_verdict"].items() if count}
    assert given <= {"unknown", "out_of_scope"}
    assert found["findings"] == []


def test_snapshot_given_later_gives_the_verdicts(work, report):
    """Identity makes stale what it touches; the next report is that of a store that had it from the start."""
    shutil.rmtree(work / "late", ignore_errors=True)
    names = ["capture.pcap", "calico.jsonl", "envoy.log", "envoy-json.log"]
    vzflow("ingest", "--store", "late", *names, cwd=work)
    vzflow("ingest", "--store", "late", "capture.pcap", "--identity", "snap.json", cwd=work)
    found = json.loads(vzflow("report", "--store", "late", "-o", "json", cwd=work).stdout)
    assert found["summary"] == report["summary"]


# Explain.


@pytest.mark.parametrize("verdict", ["expected", "unexpected", "plaintext", "unknown", "out_of_scope"])
def test_explain_names_rule_holders_and_record(work, verdict):
    """For a flow of each verdict: what was decided, by which rule, who held the addresses, and where the record is."""
    row = rows(
        work,
        "select v.*, f.record, f.initiator_pod, f.responder_pod, r.name from verdict v join flow f "
        f"on f.flow_id = v.flow_id join receipt r on r.segment = f.segment "
        f"where v.verdict = '{verdict}' order by v.flow_id limit 1",
    )[0]
    done = vzflow("explain", row["flow_id"], "--store", "S", cwd=work)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{row['flow_id']}  {verdict}\n")
    what = "packet" if row["name"] == "capture.pcap" else "line"
    assert f"{row['name']}, {what} {row['record']}, byte " in done.stdout
    for wanted in (row["reason"], row["rule_id"], row["initiator_pod"], row["responder_pod"]):
        assert wanted is None or wanted in done.stdout
    as_json = json.loads(vzflow("explain", row["flow_id"], "--store", "S", "-o", "json", cwd=work).stdout)
    assert as_json["classified"]["verdict"] == verdict
    assert as_json["input"]["name"] == row["name"]


def test_explain_of_an_edge_is_of_its_first_exchange(work):
    """Written as reports print it, with and without blanks."""
    edge = "ingress-nginx/ingress-controller-ingress-nginx-controller>verrazzano-system/verrazzano-console:8000"
    done = vzflow("explain", edge, "--store", "S", cwd=work)
    assert done.returncode == 0, done.stderr
    assert "R03" in done.stdout
    assert vzflow("explain", edge.replace(">", " > "), "--store", "S", cwd=work).stdout == done.stdout


def test_explain_of_a_finding_is_of_its_first_exchange(work):
    """The code alone, as the report prints it above the edges."""
    done = vzflow("explain", "VZ1001", "--store", "S", cwd=work)
    assert (done.returncode, done.stdout.split("\n")[1][:9]) == (0, "  VZ1001:")


def test_explain_prints_a_query_that_sql_takes(work):
    """`--sql` prints nothing else, so that it can be piped."""
    text = vzflow("explain", "VZ1001", "--store", "S", "--sql", "--quiet", cwd=work).stdout
    (row,) = rows(work, text)
    assert row["verdict"] == "plaintext"


def test_explain_shows_no_control_characters_of_a_record(tmp_path):
    """Whoever sends a request chooses its path."""
    (tmp_path / "a.log").write_bytes(envoy_log(1, 3, path="/\x1b[31m"))
    vzflow("ingest", "a.log", "--store", "S", cwd=tmp_path)
    row = rows(tmp_path, "select flow_id from flow limit 1")[0]
    shown = vzflow("explain", row["flow_id"], "--store", "S", cwd=tmp_path).stdout
    assert r"GET /\x1b[31m HTTP" in shown
    assert "\x1b" not in shown


def test_explain_cuts_out_and_says_what_it_wrote(work, tmp_path):
    """Data on stdout, what was written on stderr; writing it again is refused."""
    out = tmp_path / "out.pcap"
    words = ["explain", "VZ1001", "--store", "S", "--extract", out]
    done = vzflow(*words, "--dissect", cwd=work)
    assert done.returncode == 0, done.stderr
    assert f"vzflow: {out}: 10 packets from capture.pcap\nvzflow: read it with: vzflow ingest {out}" in done.stderr
    assert "as scapy sees them" in done.stdout
    refused(vzflow(*words, cwd=work), 2, "exists already")


def test_explain_of_an_input_that_is_gone_ends_with_3(work, tmp_path):
    """Only if it is needed; without, the byte is not known and the exit code 0."""
    gone = tmp_path / "none.log"
    row = rows(work, "select flow_id from flow where source = 'envoy' limit 1")[0]
    refused(vzflow("explain", row["flow_id"], "--store", "S", "--input", gone, cwd=work), 3, "none.log", "--input FILE")
    elsewhere = vzflow("explain", row["flow_id"], "--store", work / "S", cwd=tmp_path)
    assert elsewhere.returncode == 0
    assert "byte not known" in elsewhere.stdout


@pytest.mark.parametrize(
    "what",
    [
        "nonsense",
        "VZ9999",
        "VZ1001 a>b:1",
        "0123456789abcdef:1",
        "0123456789abcdef:²",
        "a:99999999999999999999",
        "a>b",
        "a>b:x",
        "a>b:1",
        "a>b:53/udp",
        ">:80",
    ],
)
def test_explain_of_nonsense_is_a_usage_problem(work, what):
    """One line that names it."""
    refused(vzflow("explain", what, "--store", "S", cwd=work), 2, what)


# Bad input: one line, the right code, nothing half-written.


NOT_FILES = {
    "text": b"this is no capture\n", "zeroes": bytes(100), "zip": b"PK\x03\x04" + bytes(60), "empty": b"",
    "half a header": capture(1)[:10], "bad gzip": b"\x1f\x8b\x08" + bytes(20),
}  # fmt: skip


@pytest.mark.parametrize("content", NOT_FILES.values(), ids=NOT_FILES)
def test_what_is_no_input_is_one_line_and_exit_3(tmp_path, content):
    """It names the file, and nothing of it is stored."""
    bad = put(tmp_path / "bad.pcap", content)
    refused(vzflow("ingest", "--store", tmp_path / "S", bad), 3, bad)
    assert not (tmp_path / "S").exists() or Lake.open(tmp_path / "S").receipts().num_rows == 0


def test_bad_input_is_named_with_quiet_too(tmp_path):
    """Quiet is about talk, not about errors."""
    refused(vzflow("ingest", "--quiet", "--store", tmp_path / "S", tmp_path / "gone"), 3, "gone", "No such file")


def test_bad_input_among_good_ones_is_one_line_beside_theirs(tmp_path):
    """The others are stored, the exit code is 3, and it outweighs --strict."""
    good, cut = put(tmp_path / "a.log", envoy_log(0, 2)), put(tmp_path / "b.pcap", capture(3)[:-1])
    done = vzflow("ingest", "--strict", "--store", tmp_path / "S", good, tmp_path / "gone", cut)
    assert done.returncode == 3
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("vzflow: ")]
    assert said.startswith(f"vzflow: {tmp_path}/gone: cannot be read: No such file or directory. ")
    assert Lake.open(tmp_path / "S").receipts().num_rows == 2


@pytest.mark.parametrize(("strict", "code"), [([], 0), (["--strict"], 4)])
def test_truncated_capture_keeps_what_is_whole(tmp_path, strict, code):
    """Exit 0, or 4 with --strict; stderr says what was rejected."""
    cut = put(tmp_path / "a.pcap", capture(5)[:-7])
    done = vzflow("ingest", *strict, "--store", tmp_path / "S", cut)
    assert (done.returncode, "truncated_file 1" in done.stderr) == (code, True)
    flows = vzflow("sql", "--store", tmp_path / "S", "select count(*) as n from flow", "-o", "json")
    assert json.loads(flows.stdout) == [{"n": 4}]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{\n  "kind": "List",\n  oops\n}', ":3: "),
        ("[1]", "no kind"),
        ("", "empty"),
        ('{"kind": "List", "items": 1}', "items"),
    ],
)
def test_bad_snapshot_is_one_line_and_leaves_no_store(tmp_path, content, says):
    """It names the file, and the line where JSON ends to be JSON."""
    bad, log = put(tmp_path / "snap.json", content.encode()), put(tmp_path / "a.log", envoy_log(0, 2))
    refused(vzflow("ingest", "--store", tmp_path / "S", "--identity", bad, log), 3, bad, says)
    assert not (tmp_path / "S").exists()


STORELESS = [["report"], ["explain", "0123456789abcdef:1"], ["sql", "select 1"], ["query", "egress"]]


@pytest.mark.parametrize("command", STORELESS, ids=lambda c: c[0])
def test_commands_that_read_say_when_there_is_no_store(tmp_path, command):
    """And do not make one."""
    refused(vzflow(*command, "--store", tmp_path / "S"), 3, str(tmp_path / "S"), "no store")
    assert not (tmp_path / "S").exists()


@pytest.mark.parametrize("command", [*STORELESS, ["ingest", "a.log"]], ids=lambda c: c[0])
def test_store_that_is_something_else_is_one_line_and_untouched(tmp_path, command):
    """A file, or a folder of other things."""
    put(tmp_path / "a.log", envoy_log(0, 2))
    put(tmp_path / "file", b"hello")
    (tmp_path / "folder").mkdir()
    put(tmp_path / "folder" / "thesis.txt", b"hello")
    before = data_files(tmp_path)
    for store in ("file", "folder"):
        refused(vzflow(*command, "--store", tmp_path / store, cwd=tmp_path), 3, str(tmp_path / store))
    assert data_files(tmp_path) == before


@pytest.mark.parametrize("command", [*STORELESS, ["ingest", "a.log"]], ids=lambda c: c[0])
@pytest.mark.parametrize("damage", ["log", "data", "gone"])
def test_damaged_store_is_one_line(work, tmp_path, command, damage):
    """Whatever is damaged, in whatever command: exit 3, no traceback."""
    store = tmp_path / "S"
    shutil.copytree(work / "S", store)
    put(tmp_path / "a.log", envoy_log(0, 2))
    if damage == "log":
        sorted((store / "recorded" / "_delta_log").glob("*.json"))[-1].write_text("{")
    for file in store.glob("recorded/**/*.parquet") if damage != "log" else []:
        file.write_bytes(b"PAR1") if damage == "data" else file.unlink()
    done = vzflow(*command, "--store", store, cwd=tmp_path)
    if damage == "data" and command in (["query", "egress"], ["sql", "select 1"], ["ingest", "a.log"]):
        assert done.returncode in (0, 3)  # what is classified already need not be read again
        assert "Traceback" not in done.stderr
    else:
        refused(done, 3, str(store))


def test_model_with_an_unknown_component_names_file_and_line(work):
    """And the store keeps the model it had."""
    model = put(
        work / "site.yaml",
        b"schema_version: 1\nname: site\ncomponents: []\nrules:\n  - id: S1\n    says: x\n    to: nobody-at-all\n"
        b"    port: 80\n    from: [rancher]\n    transport: mtls\n",
    )
    before = data_files(work / "S")
    for command in (["report"], ["ingest", "capture.pcap"], ["model", "show"]):
        store = [] if command[0] == "model" else ["--store", "S"]
        done = vzflow(*command, *store, "--model", "verrazzano-1.0", "--model", model, cwd=work)
        refused(done, 2)
        assert re.match(rf"vzflow: {re.escape(model)}:\d+: ", done.stderr), done.stderr
    assert data_files(work / "S") == before


USAGE = {
    "unknown query": ["query", "nonsense"], "query without its parameters": ["query", "who"],
    "bad parameter": ["query", "who", "-p", "address=10.0.0.1", "-p", "time=soon"],
    "surplus parameter": ["query", "egress", "-p", "a=b"],
    "bad SQL": ["sql", "selec 1"], "unknown table": ["sql", "select * from nowhere"], "empty SQL": ["sql", ""],
    "two queries": ["sql", "select 1; select 2"], "table": ["sql", "create table t as select 1"],
    "copy": ["sql", "copy (select 1) to 'out.csv'"], "attach": ["sql", "attach 'x.db'"],
    "reads a file": ["sql", "select * from read_text('/etc/hostname')"],
    "value no calendar has": ["sql", "select 'infinity'::timestamptz"],
    "cast": ["sql", "select 'x'::int"],
    "bad time": ["report", "--since", "yesterday"], "bad end": ["report", "--until", "2026-13-01"],
    "window backwards": ["report", "--since", "2026-01-02", "--until", "2026-01-01"],
    "bad condition": ["report", "--fail-on", "everything"], "bad verdict": ["report", "--verdict", "fine"],
    "bad output": ["report", "-o", "xml"], "bad port": ["report", "--port", "99999"],
    "bad coverage": ["report", "--min-coverage", "101"], "unknown model": ["report", "--model", "nowhere.yaml"],
    "unknown format": ["ingest", "--format", "netflow", "capture.pcap"],
    "bad reporter": ["ingest", "--reporter", "pod", "capture.pcap"],
    "unknown option": ["report", "--nonsense"], "unknown command": ["reprot"], "no input": ["ingest"],
    "bad edge": ["explain", "a>b"], "sql output": ["sql", "select 1", "-o", "xml"],
    "demo output": ["demo", "-o", "xml"], "model output": ["model", "show", "-o", "xml"],
    "no route": ["run", "nowhere.toml"], "kubeconfig": ["snapshot", "-o", "x", "--kubeconfig", "nowhere"],
    "several contexts": ["snapshot", "-o", "x", "--context", "a", "--context", "b"],
    "too many names": ["snapshot", "-o", "x", "--cluster", "a", "--cluster", "b"],
    "no timeout": ["snapshot", "-o", "x", "--timeout", "0"],
    "bucket without a spool": ["watch", "-o", "s3://recordings/prod"],
    "no such store": ["watch", "-o", "ftp://recordings/prod", "--spool", "x"],
    "watch without kubeconfig": ["watch", "-o", "x", "--kubeconfig", "nowhere"],
}  # fmt: skip


@pytest.mark.parametrize("command", USAGE.values(), ids=USAGE)
def test_usage_problem_is_one_line_and_exit_2(work, command):
    """No traceback, no data, and the store is as it was."""
    before = data_files(work / "S")
    refused(vzflow(*command, cwd=work, env={"VZFLOW_STORE": "S"}), 2)
    assert data_files(work / "S") == before


def test_command_alone_shows_its_help_and_exits_2(tmp_path):
    """Nothing was asked for, so nothing succeeded."""
    for words in ([], ["model"], ["store"]):
        done = vzflow(*words, cwd=tmp_path)
        assert (done.returncode, done.stdout, "Commands:" in done.stderr) == (2, "", True)


def test_cluster_that_does_not_answer_exits_5(tmp_path):
    """And no snapshot file is left."""
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n"
        "clusters: [{name: a, cluster: {server: 'http://127.0.0.1:9'}}]\nusers: [{name: a, user: {}}]\n"
    )
    refused(vzflow("snapshot", "-o", tmp_path / "s.json", "--kubeconfig", kubeconfig), 5, "127.0.0.1:9")
    assert not (tmp_path / "s.json").exists()


def test_several_contexts_are_a_file_each_and_the_gravest_code_counts(tmp_path):
    """One that is down does not keep the others from being read, and a scheduled job sees that one is missing."""
    with api_server() as api:
        urls = {"east": api.url, "down": "http://127.0.0.1:9", "west": api.url}
        words = [word for name in urls for word in ("--context", name)]
        done = vzflow("snapshot", "-o", f"{tmp_path}/out/", "--kubeconfig", kubeconfig(tmp_path, urls), *words)
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr.startswith("vzflow: http://127.0.0.1:9: no list from the API server: ")
    assert sorted(path.name[:5] for path in (tmp_path / "out").iterdir()) == ["east-", "west-"]


def test_kinds_that_cannot_be_read_are_told_of_and_the_snapshot_is_written(tmp_path):
    """By the snapshot, and by every report that rests on it; with --quiet the file alone says it."""
    store = tmp_path / "S"
    with api_server() as api:
        api.status[ISTIO_V1] = 403
        words = ["snapshot", "--kubeconfig", kubeconfig(tmp_path, {"here": api.url}), "-o", tmp_path / "s.json"]
        told, quiet = vzflow(*words), vzflow(*words, "--quiet")
    assert (told.returncode, quiet.returncode, quiet.stderr) == (0, 0, "")
    assert "peerauthentications: not permitted (403 Forbidden)" in told.stderr
    vzflow("ingest", "--store", store, "--identity", tmp_path / "s.json", SAMPLES / "verrazzano.pcap", "--quiet")
    shown = vzflow("report", "--store", store)
    assert "! default: PeerAuthentication not permitted (403 Forbidden)" in shown.stdout
    facts = json.loads(vzflow("report", "--store", store, "-o", "json").stdout)
    assert [one["kind"] for one in facts["coverage"]["not_listed"]] == ["PeerAuthentication"]


def test_internal_error_is_one_line_and_exit_70(monkeypatch, capsys):
    """A bug is told of without a traceback, which VZFLOW_TRACEBACK shows."""

    def broken(*_, **__):
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(cli, "app", broken)
    monkeypatch.delenv("VZFLOW_TRACEBACK", raising=False)
    with pytest.raises(SystemExit) as end:
        cli.main()
    said = capsys.readouterr().err
    assert (end.value.code, len(said.splitlines())) == (70, 1)
    assert "RuntimeError: first line" in said
    monkeypatch.setenv("VZFLOW_TRACEBACK", "1")
    with pytest.raises(RuntimeError):
        cli.main()


# Streams.


def test_data_is_on_stdout_and_talk_on_stderr(tmp_path):
    """`vzflow demo -o json | jq` works, and --quiet leaves nothing but it."""
    done = process("demo", "-o", "json", cwd=tmp_path)
    assert json.loads(done.stdout)["schema_version"] == 1
    assert "verrazzano.pcap" in done.stderr
    quiet = process("demo", "-o", "json", "--quiet", cwd=tmp_path)
    assert (without_time(quiet.stdout)["summary"], quiet.stderr) == (without_time(done.stdout)["summary"], "")


@pytest.mark.parametrize("command", [["report"], ["sql", "from verdict"], ["demo"]], ids=lambda c: c[0])
def test_no_escape_codes_without_a_terminal(work, command):
    """Logs of scheduled jobs stay readable."""
    done = vzflow(*command, cwd=work, env={"VZFLOW_STORE": "S", "TERM": "xterm"})
    assert "\x1b" not in done.stdout + done.stderr
    assert "\r" not in done.stderr


def on_terminal(words, cwd, **env):
    """What a terminal shows that is stdout and stderr of the command, and its exit code."""
    ours, theirs = pty.openpty()
    inherited = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR",) and not k.startswith("VZFLOW_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "vzflow", *words], cwd=cwd, env=inherited | {"TERM": "xterm"} | env, stdin=theirs,
        stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:  # how Linux says that nobody writes to it any more
        pass
    os.close(ours)
    return shown.decode(), process.wait(SECONDS)


def test_progress_is_shown_on_a_terminal_and_wiped(tmp_path):
    """A bar with the input's name, and nothing of it is left at the end."""
    put(tmp_path / "a.log", envoy_log(0, 50))
    shown, code = on_terminal(["ingest", "--store", "S", "a.log"], tmp_path)
    assert code == 0
    assert re.search(r"\r\x1b\[K\[#{30}\] 100 % a\.log[^\r]*\r\x1b\[K", shown)
    assert "left" not in shown  # nobody can tell in less than a second
    quiet, _ = on_terminal(["ingest", "--store", "S2", "--quiet", "a.log"], tmp_path)
    assert quiet == ""
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: put(tmp_path / "pipe", capture(3)))
    writer.start()
    piped, _ = on_terminal(["ingest", "--store", "S4", "pipe"], tmp_path)
    writer.join()
    assert re.search(r"\r\x1b\[K0\.0 MB pipe[^\r]*\r\x1b\[K", piped)  # how much is left, nobody knows
    dumb, _ = on_terminal(["ingest", "--store", "S3", "a.log"], tmp_path, TERM="dumb")
    assert "\x1b" not in dumb


def test_explain_shows_how_far_it_has_read_an_input_again(tmp_path):
    """A capture of many gigabytes is read twice: nobody should wonder what happens."""
    put(tmp_path / "a.log", envoy_log(0, 50))
    vzflow("ingest", "--store", "S", "a.log", cwd=tmp_path)
    (one,) = json.loads(
        vzflow("sql", "select min(flow_id) id from flow", "--store", "S", "-o", "json", cwd=tmp_path).stdout
    )
    shown, code = on_terminal(["explain", one["id"], "--store", "S"], tmp_path)
    assert code == 0
    bar, text = shown.rsplit("\r\x1b[K", 1)
    assert re.search(r"\r\x1b\[K\[#{30}\] 100 % a\.log", bar)
    assert one["id"] in text
    assert "\r\x1b" not in on_terminal(["explain", one["id"], "--store", "S", "--quiet"], tmp_path)[0]


def test_colour_on_a_terminal_unless_no_color(work):
    """NO_COLOR is honoured when it is not empty, as no-color.org has it."""
    shown, _ = on_terminal(["report", "--store", "S"], work)
    assert "\x1b[" in shown
    assert "\x1b[" in on_terminal(["report", "--store", "S"], work, NO_COLOR="")[0]
    plain, _ = on_terminal(["report", "--store", "S"], work, NO_COLOR="1")
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", shown) == plain


def test_what_records_say_cannot_drive_the_terminal(tmp_path):
    """Names in records are chosen by whoever sends them."""
    record = json.loads(calico_line(0)) | {"source_name": "a\x1b[31m", "source_namespace": "x\ny"}
    log = put(tmp_path / "calico.jsonl", json.dumps(record).encode() + b"\n")
    vzflow("ingest", "--store", "S", log, cwd=tmp_path)
    (one,) = json.loads(vzflow("sql", "--store", "S", "select flow_id from flow", "-o", "json", cwd=tmp_path).stdout)
    for command in (["sql", "from flow"], ["report"], ["explain", one["flow_id"]]):
        shown = vzflow(*command, "--store", "S", cwd=tmp_path)
        assert shown.returncode == 0, shown.stderr
        assert "\x1b" not in shown.stdout
    assert "a\\x1b[31m" in vzflow("sql", "from flow", "--store", "S", cwd=tmp_path).stdout


def test_what_files_are_called_cannot_drive_the_terminal(tmp_path):
    """Neither in the report of a scheduled run nor in the one that it writes."""
    (tmp_path / "in").mkdir()
    put(tmp_path / "in" / "a\x1b[31m.pcap", capture(3)[:-1])
    (tmp_path / "r.toml").write_text("store = 'S'\n[[input]]\nglob = 'in/*'\n[[output]]\npath = 'out.txt'")
    done = vzflow("run", "r.toml", cwd=tmp_path)
    assert "a\\x1b[31m.pcap" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr + (tmp_path / "out.txt").read_text()


def test_error_is_one_line_whatever_a_file_is_called(tmp_path):
    """A line break in a name does not break the line."""
    refused(vzflow("ingest", "--store", tmp_path / "S", tmp_path / "a\nb\x1b[31m"), 3, "a\\nb\\x1b[31m")


def test_closed_pipe_is_quiet_and_keeps_the_exit_code(work):
    """`| head -1` is nothing wrong, and does not hide findings either."""
    for words, code in (
        (["sql", "from flow"], 0),
        (["report"], 0),
        (["report", "--fail-on", "plaintext", "--quiet"], 1),
    ):
        process = subprocess.Popen(
            [sys.executable, "-m", "vzflow", *words, "--store", "S"],
            cwd=work,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        process.stdout.close()
        said = process.stderr.read()
        assert (process.wait(SECONDS), said) == (code, b"")
        process.stderr.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_full_disk_behind_stdout_is_one_line(work):
    """Half a report is not a success."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "vzflow", "report", "--store", "S"], cwd=work, stdout=full, stderr=subprocess.PIPE,
            text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


def test_output_survives_a_terminal_without_unicode(work):
    """A locale that cannot show a character is no internal error."""
    done = process("sql", "--store", "S", "select 'ü' as a", cwd=work, env={"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stdout.split()) == (0, ["a", "\\xfc"])


def test_interrupt_of_a_query_exits_130_without_a_traceback(work):
    """Ctrl-C deep in a library, which makes an error of its own of it."""
    endless = "select max(sin(a.range) + cos(b.range)) from range(10000000) a, range(10000000) b"
    process = subprocess.Popen(
        [sys.executable, "-m", "vzflow", "sql", "--store", "S", endless], cwd=work, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    time.sleep(4)
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=SECONDS)
    assert (process.returncode, out) == (130, ""), said
    assert "Traceback" not in said
    assert len(said.splitlines()) <= 1


def test_interrupt_that_a_library_made_an_error_of_exits_130(monkeypatch, capsys):
    """The error says where it was interrupted; that it was, counts."""

    def translated(*_, **__):
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
        except KeyboardInterrupt as error:
            raise VzflowError("interrupted", at="query", do="Run it again") from error

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(cli, "app", translated)
    with pytest.raises(SystemExit) as end:
        main()
    signal.signal(signal.SIGINT, before)
    assert (end.value.code, capsys.readouterr().err) == (130, "vzflow: query: interrupted. Run it again\n")


@pytest.mark.parametrize("name", ["vzflow.cli.app", "vzflow.cli.main"])
def test_interrupt_anywhere_else_exits_130(monkeypatch, capsys, name):
    """Also while the program is still being loaded."""

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(name, interrupted)
    monkeypatch.setattr(program, "_be_light", lambda: None)
    with pytest.raises(SystemExit) as end:
        program.main()
    assert (end.value.code, capsys.readouterr().err) == (130, "")


# What ingest takes.


def test_stdin_is_an_input(tmp_path):
    """`tcpdump -w - | vzflow ingest -`, and a log that comes out of another program."""
    for content, said in (
        (capture(4), "4 flows"),
        (envoy_log(0, 3), "3 flows"),
        (gzip.compress(capture(5)), "5 flows"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "vzflow", "ingest", "--store", "S", "-"], input=content, cwd=tmp_path,
            capture_output=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert f"-  stored  {said}" in done.stderr.decode()
    names = json.loads(vzflow("sql", "--store", "S", "select name from receipt", "-o", "json", cwd=tmp_path).stdout)
    assert names == [{"name": "-"}] * 3


def test_stdin_is_named_once(tmp_path):
    """It can be read once; who names it twice means something else."""
    refused(vzflow("ingest", "--store", tmp_path / "S", "-", "-"), 2, "-: standard input can be read once only")


def test_empty_stdin_is_unreadable_and_leaves_no_store(tmp_path):
    """A job whose left side failed."""
    refused(process("ingest", "--store", "S", "-", cwd=tmp_path, input=""), 3, "-: the input is empty")
    assert not (tmp_path / "S").exists()


def test_pattern_that_no_shell_has_expanded_is_expanded(tmp_path):
    """Sorted, and each file once as ever."""
    for name in ("b.log", "a.log", "c[1].log"):
        put(tmp_path / name, envoy_log(ord(name[0]), ord(name[0]) + 2))
    (tmp_path / "d.log").mkdir()
    done = vzflow("ingest", "--store", "S", "*.log", "c[1].log", cwd=tmp_path)
    assert [line.split()[:2] for line in done.stderr.splitlines()] == [
        ["a.log", "stored"], ["b.log", "stored"], ["c[1].log", "stored"], ["c[1].log", "unchanged"],
    ]  # fmt: skip
    refused(vzflow("ingest", "--store", tmp_path / "T", "*.pcap", cwd=tmp_path), 3, "*.pcap: no file matches")


def test_ingest_says_what_it_read_an_input_as(tmp_path):
    """Both were told by content: the format, and what it was unpacked from, innermost first; also of a pipe."""
    log = envoy_log(0, 3)
    put(tmp_path / "a.log", log)
    put(tmp_path / "b.log", bz2.compress(gzip.compress(envoy_log(3, 5))))
    put(tmp_path / "c", gzip.compress(capture(3)))
    done = vzflow("ingest", "--store", "S", "--no-classify", "a.log", "b.log", "c", cwd=tmp_path)
    assert [line.split("records ")[1] for line in done.stderr.splitlines()] == [
        "(envoy)", "(envoy in gzip in bzip2)", "(pcap in gzip)",
    ]  # fmt: skip
    again = vzflow("ingest", "--store", "S", "--no-classify", "b.log", cwd=tmp_path)
    assert again.stderr.split() == ["b.log", "unchanged"]
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: put(tmp_path / "pipe", gzip.compress(envoy_log(5, 9))))
    writer.start()
    assert vzflow("ingest", "--store", "S", "pipe", cwd=tmp_path).stderr.endswith("(envoy in gzip)\n")
    writer.join()


def test_no_classify_leaves_verdicts_to_the_next_command(tmp_path):
    """Many small ingests and one report."""
    put(tmp_path / "a.log", envoy_log(0, 3))
    assert vzflow("ingest", "--store", "S", "--no-classify", "a.log", cwd=tmp_path).returncode == 0
    assert not (tmp_path / "S" / "classified").exists()
    found = vzflow("sql", "--store", "S", "select count(*) n from verdict", "-o", "json", cwd=tmp_path)
    assert json.loads(found.stdout) == [{"n": 3}]


def test_recorded_only_ingest_loads_what_it_needs(tmp_path):
    """A small ingest is mostly imports: none of what only classification, snapshots and reports need."""
    put(tmp_path / "a.log", envoy_log(0, 3))
    script = (
        "import os, sys\nsys.argv = ['vzflow', 'ingest', '--store', 'S', '--no-classify', 'a.log']\n"
        "from vzflow.__main__ import main\ntry:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print(*{m.partition('.')[0] for m in sys.modules}, os.environ['OPENBLAS_NUM_THREADS'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert not loaded & {"duckdb", "pandas", "kubernetes", "yaml", "scapy", "multiprocessing", "rich"}
    assert {"pyarrow", "deltalake", "1"} <= loaded


@pytest.mark.parametrize(
    ("told", "seconds", "line"),
    [
        (Told("in/a.pcap", 50, 200, 3000, "packets"), 2.0,
         "[#######.......................]  25 % a.pcap 1,500 packets/s 0:00:06 left"),
        (Told("a.log", 50, 200, 0, "lines"), 0.1, "[#######.......................]  25 % a.log"),
        (Told("-", 2_500_000, None, 9, "packets"), 3.0, "2.5 MB - 3 packets/s"),
        (Told("1 of 3 inputs done", 0, 0, 0, "lines"), 3.0, f"[{'#' * 30}] 100 % 1 of 3 inputs done"),
        (Told("a", 7, 7, 70, "lines"), 7.0, f"[{'#' * 30}] 100 % a 10 lines/s"),
    ],
)  # fmt: skip
def test_progress_says_how_far_how_fast_and_how_long(told, seconds, line):
    """As far as it is known: a pipe has no end that anybody knows of."""
    assert progress.progress_line(told, seconds) == line


# Options and help.


def options():
    for name, command in get_command(cli.app).commands.items():
        for sub, one in getattr(command, "commands", {"": command}).items():
            for option in one.params:
                if option.param_type_name == "option" and option.name != "help":
                    yield f"{name} {sub}".strip(), option


@pytest.mark.parametrize(("command", "option"), [pytest.param(*o, id=f"{o[0]} {o[1].name}") for o in options()])
def test_every_option_has_a_variable_and_help(command, option):
    """Scheduled jobs are configured by environment."""
    named = [option.envvar] if isinstance(option.envvar, str) else option.envvar
    assert named
    assert all(name.startswith("VZFLOW_") for name in named)
    assert option.help


def test_every_command_has_help_and_a_test_here():
    """A command that is added shows up here."""
    commands = get_command(cli.app).commands
    names = {f"{n} {s}".strip() for n, c in commands.items() for s in getattr(c, "commands", {"": c})}
    assert names == set(COMMANDS)
    assert all(command.help for command in commands.values())


@pytest.mark.parametrize(
    ("command", "env", "code"),
    [
        (["report"], {"VZFLOW_FAIL_ON": "disputed plaintext"}, 1),
        (["report"], {"VZFLOW_MIN_COVERAGE": "100", "VZFLOW_SINCE": "2090-01-01"}, 4),
        (["report"], {"VZFLOW_VERDICT": "nonsense"}, 2),
        (["report"], {"VZFLOW_PORT": "x"}, 2),
        (["ingest", "capture.pcap"], {"VZFLOW_FORMAT": "calico"}, 3),
        (["ingest", "capture.pcap"], {"VZFLOW_IDENTITY": "gone.json"}, 3),
        (["sql", "select 1"], {"VZFLOW_OUTPUT": "json"}, 0),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, dict) else "",
)
def test_variables_are_obeyed(work, command, env, code):
    """Each does what its option does."""
    done = vzflow(*command, cwd=work, env={"VZFLOW_STORE": "S"} | env)
    assert done.returncode == code, done.stderr
    if "VZFLOW_OUTPUT" in env:
        assert json.loads(done.stdout) == [{"1": 1}]


def test_strict_and_quiet_are_variables_too(tmp_path):
    """A job sets them once."""
    cut = put(tmp_path / "a.pcap.gz", gzip.compress(capture(50))[:-9])
    done = vzflow("ingest", cut, cwd=tmp_path, env={"VZFLOW_STRICT": "1", "VZFLOW_QUIET": "1", "VZFLOW_STORE": "S"})
    assert (done.returncode, done.stderr) == (4, "")


@pytest.mark.parametrize("command", ["", *COMMANDS, "model", "store"])
def test_help_imports_nothing_heavy_and_is_quick(command):
    """Less than 0.3 s: shells ask for it at each completion."""
    script = (
        "import sys, time\n"
        f"sys.argv = ['vzflow', *{command.split()!r}, '--help']\n"
        "from vzflow.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print(sorted({m.partition('.')[0] for m in sys.modules}), time.process_time(), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout
    modules, _, seconds = done.stderr.strip().rpartition(" ")
    assert not HEAVY & set(json.loads(modules.replace("'", '"')))
    assert float(seconds) < 0.3


def test_version_is_the_package_s():
    """For bug reports."""
    assert re.fullmatch(r"vzflow \d+\.\d+\.\d+\n", process("--version").stdout)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["nginx-ingress", "console:8000"], 0),
        (["nginx-ingress", "console:8000", "--fail-on", "plaintext"], 1),
        (["nginx-ingress", "console:8000", "--fail-on", "plaintext", "--transport", "mtls"], 0),
        (["fluentd", "keycloak:8080", "--fail-on", "unexpected"], 1),
        (["nobody", "console:8000"], 2),
        (["nginx-ingress", "console"], 2),
        (["nginx-ingress", "console:8000", "--transport", "quic"], 2),
        (["nginx-ingress", "console:8000", "--store", "nowhere"], 3),
    ],
)
def test_check_needs_no_store_and_fails_on_what_it_is_told(tmp_path, arguments, code):
    """The model alone answers; a store that was named and is not there is an error."""
    assert vzflow("check", *arguments, cwd=tmp_path).returncode == code


def test_check_as_json_has_an_answer_for_each_transport(tmp_path):
    """Programs get what the text says."""
    found = json.loads(vzflow("check", "nginx-ingress", "console:8000", "-o", "json", cwd=tmp_path).stdout)
    assert [(a["if"], a["verdict"]) for a in found["answers"]] == [
        ("mtls", "expected"), ("tls", "expected"), ("plaintext", "plaintext"),
    ]  # fmt: skip


def test_plan_needs_no_store_and_says_more_with_one(work, tmp_path):
    """The model alone knows who could prove what; a store knows what was seen."""
    alone = json.loads(vzflow("plan", "-o", "json", cwd=tmp_path).stdout)
    assert {row["coverage"] for row in alone["rows"]} == {None}
    told = json.loads(vzflow("plan", "--store", "S", "-o", "json", cwd=work).stdout)
    assert {row["rule_id"]: row["coverage"] for row in told["rows"]}["R03"] == "seen"
    assert vzflow("plan", "--store", "nowhere", cwd=tmp_path).returncode == 3


def test_each_command_that_reads_or_answers_is_a_verb_of_the_library():
    """Loaded when it is first used; what only the command line needs is not there."""
    commands = set(get_command(cli.app).commands) - {"demo", "run", "model", "store"}
    assert set(library.__all__) == commands | {"compact"}
    renamed = {"take_snapshot": "snapshot", "record": "watch"}
    named = [getattr(library, verb).__name__ for verb in library.__all__]
    assert [renamed.get(name, name) for name in named] == library.__all__
    # A package of a verb's name would stand under it as soon as anything imports that.
    assert not set(library.__all__) & {module.name for module in pkgutil.iter_modules(library.__path__)}
    with pytest.raises(AttributeError, match="no attribute 'demo'"):
        library.demo  # noqa: B018
