"""`vzflow model import` and `vzflow model lint`, as users and scheduled jobs meet them."""

from __future__ import annotations

import json
import re

import pytest
from pipeline.pipeline_support import SAMPLES, put
from test_cli import vzflow

PAGE = """\
# Ports

| Component | Port | From |
|---|---|---|
| console | 8000 | gateway, batch
| console | x | gateway |
"""


def test_model_import_writes_a_model_that_show_reads(tmp_path):
    """The table to stdout or a file; rows that could not be read are told, with their place."""
    page = put(tmp_path / "page.md", PAGE.encode())
    done = vzflow("model", "import", page, cwd=tmp_path)
    assert done.returncode == 0
    assert f"{page}:6:13: row R02 has `x` as its port" in done.stderr
    assert "1 of 2 rows are rules now" in done.stderr
    kept = vzflow("model", "import", page, "-o", "m.yaml", "--strict", "--quiet", cwd=tmp_path)
    assert (kept.returncode, kept.stdout) == (4, "")
    assert (tmp_path / "m.yaml").read_text() == done.stdout
    (rule,) = json.loads(vzflow("model", "show", "--model", "m.yaml", "-o", "json", cwd=tmp_path).stdout)
    assert [grant["from_term"] for grant in rule["grants"]] == ["component:gateway", "component:batch"]


def test_an_imported_model_can_judge(tmp_path):
    """Ingest takes it as any other; names whose pods are unknown claim none of them."""
    page = put(tmp_path / "page.md", PAGE.encode())
    declared = ["--mesh", "on", "--trust-domain", "cluster.local"]
    vzflow("model", "import", page, "-o", "m.yaml", *declared, cwd=tmp_path)
    vzflow("model", "import", page, "-o", "known.yaml", "--model", "verrazzano-1.0", cwd=tmp_path)
    for name in ("m.yaml", "known.yaml"):
        store = ["--store", f"{name}.store"]
        identity = ["--identity", SAMPLES / "cluster.json"]
        done = vzflow("ingest", SAMPLES / "verrazzano.pcap", *store, *identity, "--model", name, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "which pods these are, so flows from or to them match no rule: " in done.stderr
        verdicts = json.loads(vzflow("report", *store, "-o", "json", cwd=tmp_path).stdout)["summary"]["by_verdict"]
        assert verdicts["expected"] == 0
        assert bool(verdicts["unexpected"]) == (name == "known.yaml")


def test_an_imported_model_judges_nothing_until_the_mesh_is_declared(tmp_path):
    """No table says whether there is a mesh: a default would decide verdicts. Lint says so, ingest refuses."""
    page = put(tmp_path / "page.md", PAGE.encode())
    done = vzflow("model", "import", page, "-o", "m.yaml", cwd=tmp_path)
    assert "it judges no flow until `mesh` and `trust_domains` are stated in it" in done.stderr
    assert "VZ3307 error: no file states `mesh` and `trust_domains`" in " ".join(
        vzflow("model", "lint", "m.yaml", cwd=tmp_path).stdout.split()
    )
    refused = vzflow("ingest", SAMPLES / "verrazzano.pcap", "--model", "m.yaml", cwd=tmp_path)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    assert "m.yaml:4: no file says whether the mesh is on" in refused.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.yaml", "page.md"]
    site = "vzflow_model: 1\nname: site\nmesh: off\ntrust_domains: [x]\n"
    put(tmp_path / "site.yaml", site.encode())
    overlaid = vzflow("model", "lint", "m.yaml", "site.yaml", "--fail-on", "error", cwd=tmp_path)
    assert (overlaid.returncode, "VZ3307" in overlaid.stdout) == (0, False)


def test_what_is_declared_for_the_cluster_is_written_as_said(tmp_path):
    """By an option, else by the files that know the names; the option counts more."""
    page = put(tmp_path / "page.md", PAGE.encode())
    put(tmp_path / "names.yaml", b"vzflow_model: 1\nname: n\nmesh: off\npeers:\n  gateway: {namespaces: edge}\n")
    words = ["model", "import", page, "--model", "names.yaml", "--trust-domain", "one", "--trust-domain", "two.example"]
    for more, mesh in ([], "off"), (["--mesh", "on"], "on"):
        lines = vzflow(*words, *more, cwd=tmp_path).stdout.splitlines()
        assert (f"mesh: {mesh}" in lines, "trust_domains: [one, two.example]" in lines) == (True, True)


def test_model_lint_exits_by_the_level_asked_for(tmp_path):
    """Nothing asked: 0. A page with an error fails on every level, one with notes on notes only."""
    bad = put(tmp_path / "bad.md", PAGE.encode())
    note = put(tmp_path / "note.md", b"## Egress\n| Component | Port | From | TLS |\n|-|-|-|-|\n| a | 1 | A | tls |\n")
    codes = {
        (path, level): vzflow("model", "lint", path, *(["--fail-on", level] if level else []), cwd=tmp_path).returncode
        for path in (bad, note)
        for level in ("", "error", "warning", "note")
    }
    assert list(codes.values()) == [0, 1, 1, 1, 0, 0, 0, 1]


def test_model_lint_prints_places_json_and_sarif(tmp_path):
    """The same findings in each."""
    page = put(tmp_path / "page.md", PAGE.encode())
    text = vzflow("model", "lint", page, cwd=tmp_path)
    assert re.search(rf"(?m)^{re.escape(page)}:6:13: VZ3102 error: +row R02 ", text.stdout)
    assert re.fullmatch(r"vzflow: 1 error, \d+ warnings, \d+ notes?\n", text.stderr)
    found = json.loads(vzflow("model", "lint", page, "-o", "json", cwd=tmp_path).stdout)["findings"]
    sarif = json.loads(vzflow("model", "lint", page, "-o", "sarif", "--quiet", cwd=tmp_path).stdout)
    assert [f["code"] for f in found] == [r["ruleId"] for r in sarif["runs"][0]["results"]]
    assert len(found) == len(text.stdout.splitlines())


def test_model_lint_holds_documents_and_models_against_pods(tmp_path):
    """A component without pods and a port that none declares, at the row or the rule."""
    rows = "| Rancher | 9443 | Kiali |\n| Istio egress gateway | 1 | Rancher |\n"
    page = put(tmp_path / "page.md", b"| Component | Port | From |\n|-|-|-|\n" + rows.encode())
    words = ["--model", "verrazzano-1.0", "--identity", SAMPLES / "cluster.json", "-o", "json"]
    found = json.loads(vzflow("model", "lint", page, *words, cwd=tmp_path).stdout)["findings"]
    told = [(f["code"], f["line"]) for f in found if f["code"] in ("VZ3401", "VZ3402")]
    assert told == [("VZ3402", 3), ("VZ3401", 4)]
    model = json.loads(vzflow("model", "lint", *words, cwd=tmp_path).stdout)["findings"]
    assert {"VZ3401", "VZ3402"} <= {f["code"] for f in model}
    assert {f["file"] for f in model} == {"verrazzano-1.0"}


def test_model_lint_misses_no_pods_that_only_infrastructure_names(tmp_path):
    """Not every cluster has a metrics-server; who lets it in by a rule of the document wants to know."""
    rule = "  - {id: R1, says: x, to: api_server, port: 1, from: metrics-server, transport: tls}\n"
    own = "vzflow_model: 1\nname: own\nmesh: on\ntrust_domains: [cluster.local]\nrules:\n"
    words = ["--identity", SAMPLES / "cluster.json", "-o", "json"]
    told = {}
    for name, text in (("without", own.replace("rules:\n", "")), ("named", own + rule)):
        put(tmp_path / f"{name}.yaml", text.encode())
        done = vzflow("model", "lint", "kubernetes", f"{name}.yaml", *words, cwd=tmp_path)
        told[name] = [f["message"] for f in json.loads(done.stdout)["findings"] if f["code"] == "VZ3401"]
    assert told == {"without": [], "named": ["no pod in the snapshots is of `metrics-server`"]}


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (["lint", "none.md"], 3, "none.md: cannot be read: No such file"), (["lint", "none.yaml"], 2, "no such model"),
        (["lint", "empty.md"], 3, "empty.md: no table says who"), (["import", "empty.md"], 3, "no table"),
        (["lint", "binary.md"], 3, "binary.md:1: not"), (["lint", "-o", "xml"], 2, "no such output: xml"),
        (["lint", "--fail-on", "high"], 2, "no such level: high"), (["import"], 2, "Missing argument"),
        (["import", "page.md", "-o", "page.md/x"], 2, "cannot be written"),
        (["import", "page.md", "--model", "none.yaml"], 2, "no such model"),
        (["lint", "page.md", "--identity", "page.md"], 3, "page.md"),
        (["import", "page.md", "--mesh", "yes"], 2, "no such state of a mesh: yes"),
        (["import", "page.md", "--trust-domain", "spiffe://x"], 2, "'spiffe://x' is not a trust domain"),
    ],
)  # fmt: skip
def test_model_commands_say_in_one_line_what_they_cannot_use(tmp_path, words, code, what):
    """Place, reason, and what to do; nothing on stdout."""
    put(tmp_path / "page.md", PAGE.encode())
    put(tmp_path / "empty.md", b"# Nothing\n")
    put(tmp_path / "binary.md", b"\x7fELF\xff\x00")
    done = vzflow("model", *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (code, "")
    assert what in done.stderr
    assert len(done.stderr.splitlines()) == 1
