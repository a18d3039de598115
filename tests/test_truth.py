"""The main job on the samples: every row's verdict equals the hand-written truth, connection by connection."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from vzflow.flow.data import shipped
from vzflow.pipeline.ingest import ingest
from vzflow.pipeline.judge import Judge, model_of, session
from vzflow.store.lake import Lake

SAMPLES = shipped("sample_captures")
INPUTS = ("verrazzano.pcap", "envoy-text.log", "envoy-json.log", "calico.jsonl")
#: Columns of the truth that a row's answers are held against, and where they stand.
ANSWERS = ("verdict", "reason", "rule_id", "rule_status", "transport_status", "outcome", "target_port", "protocol")

with (SAMPLES / "connections.tsv").open(encoding="utf-8") as table:
    TRUTH = list(csv.DictReader(table, delimiter="\t"))
RECORDS = {
    (made["connection"], r["file"], r["reporter"]): r["record"]
    for made in map(json.loads, (SAMPLES / "connections.jsonl").read_text(encoding="utf-8").splitlines())
    for r in made["records"]
}


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """Every stored row with its verdict, by (file, record)."""
    store = tmp_path_factory.mktemp("truth") / "store"
    ingest([str(SAMPLES / name) for name in INPUTS], store, identity=[str(SAMPLES / "cluster.json")])
    lake = Lake.open(store)
    with session(Judge(lake, model_of(lake))) as duck:
        rows = duck.run(
            "SELECT r.name, f.*, v.* EXCLUDE (flow_id) FROM flow f JOIN verdict v ON v.flow_id = f.flow_id "
            "JOIN receipt r ON r.segment = f.segment"
        ).to_pylist()
    return {(Path(row["name"]).name, row["record"]): row for row in rows}


def answers(row):
    """What the row says, in the spelling of the truth: `-` for null."""
    return {name: "-" if row[name] is None else str(row[name]) for name in ANSWERS}


@pytest.mark.parametrize("truth", TRUTH, ids=lambda t: f"{t['connection']}-{t['file']}-{t['reporter']}")
def test_row_is_judged_as_the_truth_says(truth, judged):
    """The three answers and the verdict of one record of one connection, made by real programs."""
    record = RECORDS[truth["connection"], truth["file"], truth["reporter"]]
    assert answers(judged[truth["file"], record]) == {name: truth[name] for name in ANSWERS}


@pytest.mark.parametrize("truth", TRUTH, ids=lambda t: f"{t['connection']}-{t['file']}-{t['reporter']}")
def test_ends_are_who_the_truth_says(truth, judged):
    """Where one pod is left as a candidate it is the right one; a workload is never a wrong one."""
    row = judged[truth["file"], RECORDS[truth["connection"], truth["file"], truth["reporter"]]]
    for side in ("initiator", "responder"):
        if row[f"{side}_pod"] is not None:
            assert f"{row[f'{side}_namespace']}/{row[f'{side}_pod']}" == truth[side]
        if row[f"{side}_workload"] is not None and row[f"{side}_kind"] == "pod":
            assert f"{row[f'{side}_namespace']}/{row[f'{side}_workload']}" == truth[f"{side}_workload"]


def test_every_stored_row_is_in_the_truth(judged):
    """A row nobody wrote down would be a verdict nobody checked."""
    assert set(judged) == {(file, record) for (_, file, _), record in RECORDS.items()}


def test_every_verdict_occurs(judged):
    """The samples show each verdict at least once."""
    assert {row["verdict"] for row in judged.values()} == {
        "expected", "unexpected", "plaintext", "unknown", "out_of_scope",
    }  # fmt: skip
