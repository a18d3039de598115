"""`explain` as a program sees it: where a record stands, who else tells of it, and what is cut out of its input."""

from __future__ import annotations

import gzip
import json
import os
import re
import sys
from pathlib import Path
from unittest.mock import patch

import pyarrow.parquet as pq
import pytest
from pipeline.pipeline_support import (
    SAMPLE_INPUTS,
    SAMPLES,
    SNAPSHOT,
    calico_line,
    envoy_line,
    envoy_log,
    put,
)

from vzflow.flow.errors import UnreadableInput, UsageProblem
from vzflow.pipeline import explaining, extraction
from vzflow.pipeline.answer import report_facts
from vzflow.pipeline.ingest import ingest as run_ingest
from vzflow.pipeline.judge import Asked
from vzflow.pipeline.subject import subject_of
from vzflow.pipeline.verbs import explain, open_judge, sql
from vzflow.reports import text as text_report
from vzflow.store.lake import Lake
from vzflow.store.tables import RECORDED_SCHEMA

CONSOLE = "ingress-nginx/ingress-controller-ingress-nginx-controller > verrazzano-system/verrazzano-console:8000"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """The samples, ingested by their own paths."""
    found = tmp_path_factory.mktemp("explaining") / "store"
    ingest(SAMPLE_INPUTS, found, identity=[SNAPSHOT])
    return found


@pytest.fixture(scope="module")
def shown(store):
    """All that is told of one edge of them."""
    return explain(store, CONSOLE)


def ingest(inputs, store, **more):
    """Names are text, as on the command line."""
    return run_ingest([str(one) for one in inputs], store, **more)


def rows(store, columns="flow_id"):
    return sql(store, f"SELECT {columns} FROM flow ORDER BY segment, record").to_pylist()


def flow_of(store, number=1):
    """The id of the flow whose record has this number."""
    (row,) = sql(store, f"SELECT flow_id FROM flow WHERE record = {number}").to_pylist()
    return row["flow_id"]


def bare(row):
    return {k: v for k, v in row.items() if k not in ("segment", "record", "flow_id", "dt", "hour")}


def recorded(store):
    return explaining.rows_of(open_judge(store), [row["flow_id"] for row in rows(store)])


def reads_back(store, out, again):
    """What was cut out, ingested into a store of its own as `explain` says, holds the same flow."""
    words = again.split()
    options = dict(zip(words[3::2], words[4::2], strict=True))
    assert words[:3] == ["vzflow", "ingest", str(out)]
    more = {"form": options["--format"], "cluster": options.get("--cluster", "default")}
    result = ingest([out], store, reporter=options.get("--reporter"), classify=False, **more)
    assert result.exit_code(strict=True) == 0
    files = Lake.open(store).files("recorded")
    read = [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]
    return [bare(dict.fromkeys(RECORDED_SCHEMA.names) | row) for row in read]


def test_every_flow_of_the_samples_is_cut_out_and_ingests_to_the_same_flow(store, tmp_path):
    """The property: by the command that is printed, with all columns but segment and record."""
    judge = open_judge(store)
    receipts = judge.lake.receipts().to_pylist()
    for number, row in enumerate(recorded(store)):
        out = tmp_path / f"{number}.{'pcap' if row['source'] == 'pcap' else 'log'}"
        (one,) = extraction.extract(receipts, [row], str(out))
        assert (one.differs, one.context) == ({}, 0)
        assert bare(row) in reads_back(tmp_path / f"store{number % 2}{out.suffix}{number}", out, one.command)


def test_byte_and_number_are_true(store):
    """Whoever opens the input there finds the record."""
    lines = (SAMPLES / "calico.jsonl").read_bytes()
    capture = (SAMPLES / "verrazzano.pcap").read_bytes()
    receipts = open_judge(store).lake.receipts().to_pylist()
    for row in recorded(store):
        place = extraction.place_of(receipts, row)
        if row["source"] == "calico":
            text = lines[place["offset"] :].split(b"\n")[0]
            assert (text, place["text"]) == (lines.split(b"\n")[place["number"] - 1], text.decode())
        elif row["source"] == "pcap":
            seconds = int.from_bytes(capture[place["offset"] : place["offset"] + 4], "little")
            assert seconds == int(row["first_seen"].timestamp())


@pytest.mark.parametrize(
    "what", ["VZ1001", f"VZ1001 {CONSOLE}", f"  VZ1001 critical  {CONSOLE} ", CONSOLE, CONSOLE.replace(" > ", ">")]
)
def test_finding_and_edge_are_found_as_reports_print_them(store, what):
    """An engineer copies what is there, and is shown the flow that shows it."""
    found = explain(store, what)
    assert found["edge"] == CONSOLE
    assert found["classified"]["verdict"] == found["exchange"]["exchange_verdict"] == "plaintext"
    assert (found["finding"] or {}).get("code") == ("VZ1001" if "VZ" in what else None)


def test_line_that_ends_in_a_flow_id_is_that_flow(store):
    """As a query's rows do."""
    flow_id = subject_of(open_judge(store), CONSOLE).exchanges[0]
    found = subject_of(open_judge(store), f"    {CONSOLE}  R03  violated  served  x1  {flow_id}")
    assert found.exchanges == (flow_id,)


def test_every_line_about_exchanges_can_be_copied_from_a_report(store):
    """What stands beside or below an edge is no part of it, and an edge in two lines is one."""
    judge = open_judge(store)
    facts = report_facts(judge, Asked())
    tables = text_report.render(facts).split("\n\n")[3:-1]
    rows = [row for table in tables for row in re.findall(r"(?m)^    \S.*(?:\n {6,}.*)*", table)]
    assert [subject_of(judge, row).edge for row in rows] == [
        re.sub(r"(:[0-9]+)\s.*", r"\1", re.sub(r"\s*>\s*", " > ", row.strip()), flags=re.DOTALL) for row in rows
    ]
    assert len(rows) == 12
    found = re.findall(r"(?m)^  VZ.*", text_report.render(facts))
    assert [subject_of(judge, line).finding["code"] for line in found] == ["VZ1001", "VZ1002", "VZ1003", "VZ1005"]


@pytest.mark.parametrize(
    ("what", "says"),
    [("VZ9999", "no such finding"), ("VZ1001 a/b > c/d:1", "found so"), ("VZ1001 a > nonsense", "neither"),
     ("a/b > c/d:1", "no exchange"), ("a/b > c/d:http", "neither"), ("nonsense", "not a flow id")],
)  # fmt: skip
def test_what_is_not_there_is_a_usage_problem(store, what, says):
    """One line that says what it could have been."""
    with pytest.raises(UsageProblem, match=says):
        explain(store, what)


def test_every_source_of_an_exchange_says_its_part(shown):
    """Four recordings of one conversation, only one of which shows the clear text."""
    told = shown["exchange"]["told"]
    assert sorted((one["source"], one["reporter"], one["transport"]) for one in told) == [
        ("calico", "initiator", "unknown"), ("calico", "responder", "unknown"), ("envoy", "responder", "unknown"),
        ("pcap", "tap", "plaintext"),
    ]  # fmt: skip


def test_exchange_is_the_one_of_the_view(store):
    """It is told from the few flows that may be of it, and must not differ for that."""
    judge = open_judge(store)
    wanted = {r["exchange_id"]: r for r in sql(store, "SELECT * FROM exchange").to_pylist()}
    of_flow = {r["flow_id"]: r["exchange_id"] for r in sql(store, "SELECT * FROM exchange_flow").to_pylist()}
    for row in recorded(store)[::3]:
        flow_id = f"{row['segment']}:{row['record']}"
        exchange, told, against = explaining.exchange_of(judge, flow_id, row)
        whole = wanted[of_flow[flow_id]]
        assert exchange == {key: whole[key] for key in exchange}
        assert sorted(one["flow_id"] for one in told) == json.loads(whole["flow_ids"])
        assert against == [], "nothing in the samples contradicts an address"


def test_its_query_returns_the_row(store, shown):
    """What is printed can be pasted into `vzflow sql`."""
    (row,) = sql(store, shown["sql"]["flow"]).to_pylist()
    assert (row["flow_id"], row["verdict"]) == (shown["flow_id"], "plaintext")
    (exchange,) = sql(store, shown["sql"]["exchange"]).to_pylist()
    assert exchange["exchange_verdict"] == "plaintext"


def test_snapshot_that_shows_a_holder_is_named(shown):
    """The evidence for who held an address is a file."""
    vouched = shown["vouched"]
    assert {(one["kind"], one["snapshot"], one["when"]) for one in vouched} == {("Pod", SNAPSHOT, "after")}


def test_what_would_prove_more_is_concrete(store, shown):
    """A format or a tcpdump line, for what is open; nothing where all is proven."""
    (calico,) = [one for one in shown["exchange"]["told"] if one["reporter"] == "initiator"]
    (words,) = explain(store, calico["flow_id"])["would_prove"]
    assert "tcpdump -i any -s 0 -w OUT.pcap 'host 10.244.1.13 and tcp port 8000'" in words
    assert "%DOWNSTREAM_PEER_URI_SAN%" in words
    assert shown["would_prove"] == []


def test_edge_is_cut_out_with_all_its_flows(store, tmp_path):
    """Of each input a file; what is of the other kind is counted."""
    found = explain(store, "VZ1001", extract=str(tmp_path / "out.log"))
    assert [Path(one["name"]).name for one in found["extracted"]] == ["out.log", "out-2.log"]
    assert [len(one["flows"]) for one in found["extracted"]] == [2, 1]
    assert found["left_out"] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out-2.log", "out.log"]


def test_packets_are_dissected(store, shown):
    """Of an edge, those of the first source that has some."""
    found = explain(store, CONSOLE, dissect=True)["dissected"]
    assert found["packets"] == len(found["shown"]) == 10
    assert "dport     = 8000" in found["shown"][0]["text"]
    with pytest.raises(UsageProblem, match="not a flow of packets"):
        explain(store, shown["exchange"]["told"][0]["flow_id"], dissect=True)


def test_only_the_first_packets_are_dissected(store):
    """A long flow is cut, and says so."""
    with patch.object(extraction, "MOST_PACKETS", 3):
        found = explain(store, CONSOLE, dissect=True)["dissected"]
    assert (found["packets"], len(found["shown"])) == (10, 3)


@pytest.mark.parametrize(
    ("out", "says"), [("x.csv", "not the name"), ("x", "not the name"), ("x.log", "nothing here is of lines")]
)
def test_name_says_what_is_wanted(store, tmp_path, out, says):
    """Packets are no lines."""
    packets = next(row for row in rows(store, "flow_id, source") if row["source"] == "pcap")
    with pytest.raises(UsageProblem, match=says):
        explain(store, packets["flow_id"], extract=str(tmp_path / out))
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(store, tmp_path):
    """Evidence that is there already may be all that is left; of several files none is written then."""
    (tmp_path / "out-2.log").write_text("mine")
    with pytest.raises(UsageProblem, match="exists already"):
        explain(store, "VZ1001", extract=str(tmp_path / "out.log"))
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("out-2.log", "mine")]


def test_folder_that_is_not_there_is_a_usage_problem(store, tmp_path):
    """Nothing half-written stays."""
    with pytest.raises(UsageProblem, match="cannot be written"):
        explain(store, "VZ1001", extract=str(tmp_path / "none" / "out.log"))


def test_input_that_moved_is_named_anew(tmp_path):
    """Without it the place is not known, and nothing else is lost; with it all is as before."""
    log = put(tmp_path / "a.log", envoy_log(1, 5))
    ingest([log], tmp_path / "S")
    moved = Path(log).rename(tmp_path / "b.log")
    found = explain(tmp_path / "S", flow_of(tmp_path / "S", 2))
    assert (found["place"]["number"], found["place"]["offset"]) == (2, None)
    assert "a.log: cannot be read" in found["place"]["why_not"]
    with pytest.raises(UnreadableInput, match="--input FILE"):
        explain(tmp_path / "S", found["flow_id"], extract=str(tmp_path / "out.log"))
    again = explain(tmp_path / "S", found["flow_id"], inputs=[str(moved)], extract=str(tmp_path / "out.log"))
    assert again["place"]["offset"] == len(envoy_line(1))
    assert (tmp_path / "out.log").read_bytes() == envoy_line(2)


def test_input_that_changed_is_not_used(tmp_path):
    """Bytes of another content are no evidence."""
    log = Path(put(tmp_path / "a.log", envoy_log(1, 5)))
    ingest([log], tmp_path / "S")
    log.write_bytes(envoy_log(2, 6))
    found = explain(tmp_path / "S", flow_of(tmp_path / "S", 2))
    assert (found["place"]["offset"], found["place"]["text"]) == (None, None)
    assert "is not what was ingested: BLAKE3" in found["place"]["why_not"]
    with pytest.raises(UnreadableInput, match="is not what was ingested"):
        explain(tmp_path / "S", found["flow_id"], inputs=[str(log)])


def test_log_that_grew_is_still_the_same(tmp_path):
    """A later range has its lines where they are in the file, and what came after does not matter."""
    log = Path(put(tmp_path / "a.log", envoy_log(1, 4)))
    ingest([log], tmp_path / "S")
    log.write_bytes(envoy_log(1, 6))
    ingest([log], tmp_path / "S")
    log.write_bytes(envoy_log(1, 9))
    places = [
        extraction.place_of(open_judge(tmp_path / "S").lake.receipts().to_pylist(), row)
        for row in sorted(recorded(tmp_path / "S"), key=lambda row: row["first_seen"])
    ]
    assert [place["number"] for place in places] == [1, 2, 3, 4, 5]
    assert [place["offset"] for place in places] == [len(envoy_log(1, n)) for n in range(1, 6)]


def test_rotated_log_is_found_under_its_new_name(tmp_path):
    """The same stream came later as another file; the old name has other content now."""
    log = Path(put(tmp_path / "a.log", envoy_log(1, 4)))
    ingest([log], tmp_path / "S")
    (tmp_path / "a.log.1.gz").write_bytes(gzip.compress(envoy_log(1, 6)))
    log.write_bytes(envoy_log(50, 60))
    ingest([tmp_path / "a.log.1.gz"], tmp_path / "S")
    first = min(recorded(tmp_path / "S"), key=lambda row: row["first_seen"])
    place = extraction.place_of(open_judge(tmp_path / "S").lake.receipts().to_pylist(), first)
    assert (place["input"], place["offset"]) == (str(tmp_path / "a.log.1.gz"), 0)


def test_compressed_input_has_bytes_of_its_content(tmp_path):
    """And what is cut out of it is not compressed."""
    capture = tmp_path / "a.pcap.gz"
    capture.write_bytes(gzip.compress((SAMPLES / "verrazzano.pcap").read_bytes()))
    ingest([capture], tmp_path / "S")
    flow_id = flow_of(tmp_path / "S", 51)
    (one,) = explain(tmp_path / "S", flow_id, extract=str(tmp_path / "out.pcap"))["extracted"]
    assert (one["records"], one["differs"]) == (10, {})
    assert (tmp_path / "out.pcap").read_bytes()[:4] == bytes.fromhex("d4c3b2a1")


def test_standard_input_is_gone(tmp_path):
    """It cannot be read again; a copy of it can."""
    copy = tmp_path / "copy.log"
    copy.write_bytes(envoy_log(1, 5))
    kept = os.dup(0)
    with copy.open("rb") as given, patch.object(sys, "stdin", None):
        os.dup2(given.fileno(), 0)
        try:
            ingest(["-"], tmp_path / "S")
        finally:
            os.dup2(kept, 0)
            os.close(kept)
    flow_id = flow_of(tmp_path / "S", 2)
    assert "was read from standard input" in explain(tmp_path / "S", flow_id)["place"]["why_not"]
    with pytest.raises(UsageProblem, match="standard input, which cannot be read again"):
        explain(tmp_path / "S", flow_id, extract=str(tmp_path / "out.log"))
    explain(tmp_path / "S", flow_id, inputs=[str(copy)], extract=str(tmp_path / "out.log"))
    assert (tmp_path / "out.log").read_bytes() == envoy_line(2)


def test_pod_that_only_the_path_names_goes_along_as_reporter(tmp_path):
    """The file that is cut out lies elsewhere."""
    folder = tmp_path / "shop_web-0_0123456789abcdef0123456789abcdef" / "istio-proxy"
    folder.mkdir(parents=True)
    (folder / "0.log").write_bytes(envoy_log(1, 5))
    ingest([folder / "0.log"], tmp_path / "S", cluster="blue")
    out = tmp_path / "out.log"
    (one,) = explain(tmp_path / "S", flow_of(tmp_path / "S", 2), extract=str(out))["extracted"]
    assert (one["differs"], "--reporter shop/web-0" in one["command"]) == ({}, True)
    found = reads_back(tmp_path / "T", out, one["command"])
    assert [(row["reporter_name"], row["cluster"]) for row in found] == [("shop/web-0", "blue")]


def test_element_of_a_document_is_placed_and_cut_out(tmp_path):
    """Elements count as records; their byte is that of the bracket."""
    records = [json.loads(calico_line(number)) for number in (1, 2, 3)]
    text = json.dumps({"total": {}, "items": records}, indent=1)
    ingest([put(tmp_path / "a.json", text.encode())], tmp_path / "S", form="calico")
    found = explain(tmp_path / "S", flow_of(tmp_path / "S", 2), extract=str(tmp_path / "out.json"))
    assert (found["place"]["kind"], found["place"]["number"]) == ("element", 2)
    assert json.loads(found["place"]["text"]) == records[1]
    assert text.encode()[found["place"]["offset"] :].startswith(found["place"]["text"].encode())
    assert found["extracted"][0]["differs"] == {}


def test_a_long_input_is_looked_through_and_tells_how_far(tmp_path):
    """Whoever asks for the byte waits for it, and sees how far it is: once to its end, once up to the record."""
    capture = tmp_path / "a.pcap"
    put(capture, (SAMPLES / "verrazzano.pcap").read_bytes())
    ingest([capture], tmp_path / "S")
    receipts = open_judge(tmp_path / "S").lake.receipts().to_pylist()
    (row,) = explaining.rows_of(open_judge(tmp_path / "S"), [rows(tmp_path / "S")[0]["flow_id"]])
    told = []
    long = [receipt | {"offset_to": 100 << 30} for receipt in receipts]
    place = extraction.place_of(long, row, (), told.append)
    assert (place["offset"] is None, place["why_not"]) == (False, None)
    assert {(one.name, one.total) for one in told} == {(str(capture), capture.stat().st_size)}
    assert max(one.done for one in told) == capture.stat().st_size
