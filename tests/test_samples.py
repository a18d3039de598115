"""The sample captures: their origin is told, the truth and what was made agree, and the maker can make them again."""

from __future__ import annotations

import csv
import datetime as dt
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vzflow.flow.data import shipped
from vzflow.flow.terms import Outcome, Reason, Reporter, RuleStatus, TransportStatus, Verdict

SAMPLES = shipped("sample_captures")
MAKER = SAMPLES / "make_samples.py"
#: Columns that say of the connection itself, whoever recorded it.
OF_CONNECTION = (
    "initiator", "initiator_workload", "responder", "responder_workload", "dialled", "target_port", "protocol", "made",
    "policy",
)  # fmt: skip


def truth() -> list[dict[str, str]]:
    with (SAMPLES / "connections.tsv").open() as table:
        return list(csv.DictReader(table, delimiter="\t"))


def connections(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "connections.jsonl").read_text().splitlines()]


def recordings(folder: Path) -> set[tuple[str, str, str]]:
    """Every (connection, file, reporter) that was made in *folder*."""
    return {(c["connection"], r["file"], r["reporter"]) for c in connections(folder) for r in c["records"]}


def files() -> list[Path]:
    return [p for p in SAMPLES.rglob("*") if p.is_file() and not {"__pycache__", ".mypy_cache"} & set(p.parts)]


def test_every_sample_file_has_its_origin_in_the_readme() -> None:
    """A file nobody can account for is not a sample."""
    readme = (SAMPLES / "README.md").read_text()
    rows = [line for line in readme.splitlines() if line.startswith("| `")]
    untold = []
    for path in files():
        name = path.relative_to(SAMPLES).parts[0]
        name = f"{name}/" if path.parent != SAMPLES else name
        if name != "README.md" and not any(row.startswith(f"| `{name}` |") for row in rows):
            untold.append(name)
    assert untold == []


def test_samples_are_under_two_megabytes() -> None:
    """They travel in the wheel."""
    assert sum(path.stat().st_size for path in files()) < 2_000_000


def test_truth_uses_only_words_of_the_closed_lists() -> None:
    """A typing error in the truth would make a wrong verdict look right."""
    lists = {
        "reporter": Reporter, "verdict": Verdict, "reason": Reason, "rule_status": RuleStatus,
        "transport_status": TransportStatus, "outcome": Outcome,
    }  # fmt: skip
    for row in truth():
        for column, values in lists.items():
            allowed = {str(value) for value in values} | ({"-"} if column == "transport_status" else set())
            assert row[column] in allowed, (row["connection"], column)


def test_truth_holds_each_verdict() -> None:
    """What the samples do not show, the demo does not prove."""
    assert {row["verdict"] for row in truth()} == {str(verdict) for verdict in Verdict}


def test_truth_says_the_same_of_a_connection_on_each_of_its_lines() -> None:
    """Only what was recorded of it may differ."""
    said: dict[str, tuple[str, ...]] = {}
    for row in truth():
        of_connection = tuple(row[column] for column in OF_CONNECTION)
        assert said.setdefault(row["connection"], of_connection) == of_connection


def test_truth_names_each_recording_once() -> None:
    """One line, one answer."""
    named = [(row["connection"], row["file"], row["reporter"]) for row in truth()]
    assert len(named) == len(set(named))


def test_truth_and_what_was_made_name_the_same_recordings() -> None:
    """A connection without a truth is not judged, a truth without a connection is not tested."""
    assert recordings(SAMPLES) == {(row["connection"], row["file"], row["reporter"]) for row in truth()}


@pytest.mark.parametrize("log", ["envoy-text.log", "envoy-json.log", "calico.jsonl"])
def test_every_line_of_a_log_belongs_to_one_connection(log: str) -> None:
    """Nothing in the samples is there by accident."""
    told = sorted(r["record"] for c in connections(SAMPLES) for r in c["records"] if r["file"] == log)
    lines = (SAMPLES / log).read_text().splitlines()
    assert told == list(range(1, len(lines) + 1))


def test_both_holders_of_the_reused_address_speak_while_they_hold_it() -> None:
    """The address tells the Job's pod from Kibana's only together with the time."""
    snapshot = json.loads((SAMPLES / "cluster.json").read_text())
    pods = {i["metadata"]["name"]: i["status"] for i in snapshot["items"] if i["kind"] == "Pod"}
    job, kibana = pods["es-reindex-fz6lm"], pods["vmi-system-kibana-7c5d9f8b6f-r2n8g"]
    finished = kubernetes_time(job["containerStatuses"][0]["state"]["terminated"]["finishedAt"])
    spoke = {c["connection"]: c for c in connections(SAMPLES)}
    first, second = spoke["reindex-es-refused"], spoke["kibana-es-mtls"]
    assert first["initiator_ip"] == second["initiator_ip"] == job["podIP"] == kibana["podIP"]
    assert kubernetes_time(job["startTime"]) <= first["began"] < first["ended"] <= finished
    assert finished < kubernetes_time(kibana["startTime"]) <= second["began"]


def kubernetes_time(text: str) -> float:
    """Epoch seconds of a time as Kubernetes prints it."""
    return dt.datetime.fromisoformat(text).timestamp()


def test_the_maker_makes_the_same_connections_again(tmp_path: Path) -> None:
    """The samples can be made again from the checkout: other bytes, the same connections and recordings."""
    asked = subprocess.run([sys.executable, str(MAKER), "--check"], capture_output=True, text=True, timeout=30)
    if asked.returncode != 0:
        pytest.skip(asked.stderr.strip())
    made = subprocess.run([sys.executable, str(MAKER), "-o", str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert made.returncode == 0, made.stderr
    ends = ("connection", "protocol", "initiator_ip", "responder_ip", "responder_port", "dialled_ip", "dialled_port")
    assert [[c[e] for e in ends] for c in connections(tmp_path)] == [[c[e] for e in ends] for c in connections(SAMPLES)]
    assert recordings(tmp_path) == recordings(SAMPLES)
    made_names = {path.name for path in tmp_path.iterdir()}
    assert made_names == {row["file"] for row in truth()} | {"cluster.json", "connections.jsonl"}
