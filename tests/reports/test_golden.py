"""The samples' report as it is printed, held against checked-in files: `make golden` writes them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from pipeline.pipeline_support import SAMPLE_INPUTS, SAMPLES, SNAPSHOT
from reports.report_support import normalised

from vzflow.pipeline import explaining, extraction
from vzflow.pipeline.answer import report_facts
from vzflow.pipeline.ingest import ingest
from vzflow.pipeline.judge import Asked, Judge, model_of
from vzflow.pipeline.subject import subject_of
from vzflow.reports import explanation, json_report, text
from vzflow.reports.plain import instant
from vzflow.store.lake import Lake

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    store = tmp_path_factory.mktemp("golden") / "store"
    ingest(SAMPLE_INPUTS, store, identity=[SNAPSHOT])
    lake = Lake.open(store)
    return Judge(lake, model_of(lake))


@pytest.fixture(scope="module")
def facts(judge):
    return normalised(report_facts(judge, Asked()))


def held_against(name, shown):
    """Compare with the checked-in file, or write it when VZFLOW_WRITE_GOLDEN is set."""
    path = GOLDEN / name
    if os.environ.get("VZFLOW_WRITE_GOLDEN"):
        path.write_text(shown, encoding="utf-8")
    assert shown == path.read_text(encoding="utf-8"), f"{name} differs: read the diff after `make golden`"


def test_samples_report_reads_as_checked_in(facts):
    """What `vzflow demo` prints."""
    held_against("samples.report.txt", text.render(facts))


def test_samples_explanation_reads_as_checked_in(judge, monkeypatch):
    """What `vzflow explain VZ1001 --dissect` prints of the packets in clear."""
    monkeypatch.setattr(extraction, "MOST_PACKETS", 1)
    exchange = subject_of(judge, "VZ1001").exchanges[0]
    found = explaining.explain(judge, explaining.telling(judge, exchange))
    receipts = judge.lake.receipts().to_pylist()
    found |= {"edge": "a > b:1", "exchanges": 2, "finding": {"code": "VZ1001", "says": "In clear.", "query": "q"}}
    found["dissected"] = {"flow_id": found["flow_id"]} | extraction.dissect(receipts, found["recorded"])
    shown = explanation.render(found).replace(f"{SAMPLES}/", "")
    moment = instant(found["input"]["ingested_at"])
    held_against("samples.explain.txt", shown.replace(moment, "2026-01-02T03:04:05.678901Z"))


def test_samples_report_as_json_is_as_checked_in(facts):
    """What programs get: a changed key or verdict shows in a diff."""
    shown = json_report.render(facts)
    assert "gate" not in json.loads(shown)
    held_against("samples.report.json", shown)
