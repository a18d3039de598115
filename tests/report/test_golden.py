"""The samples' report as it is printed, held against checked-in files: `make golden` writes them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from pipeline.pipeline_support import SAMPLE_INPUTS, SNAPSHOT
from report.report_support import normalised

from vzflow.pipeline.answer import report_facts
from vzflow.pipeline.ingest import ingest
from vzflow.pipeline.judge import Asked, Judge, model_of
from vzflow.report import json_report, text
from vzflow.store.lake import Lake

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    store = tmp_path_factory.mktemp("golden") / "store"
    ingest(SAMPLE_INPUTS, store, identity=[SNAPSHOT])
    lake = Lake.open(store)
    return normalised(report_facts(Judge(lake, model_of(lake)), Asked()))


def held_against(name, shown):
    """Compare with the checked-in file, or write it when VZFLOW_WRITE_GOLDEN is set."""
    path = GOLDEN / name
    if os.environ.get("VZFLOW_WRITE_GOLDEN"):
        path.write_text(shown, encoding="utf-8")
    assert shown == path.read_text(encoding="utf-8"), f"{name} differs: read the diff after `make golden`"


def test_samples_report_reads_as_checked_in(facts):
    """What `vzflow demo` prints."""
    held_against("samples.report.txt", text.render(facts))


def test_samples_report_as_json_is_as_checked_in(facts):
    """What programs get: a changed key or verdict shows in a diff."""
    shown = json_report.render(facts)
    assert "gate" not in json.loads(shown)
    held_against("samples.report.json", shown)
