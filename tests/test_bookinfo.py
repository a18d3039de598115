"""docs/bookinfo.md, a model of one's own from the first table to an accepted edge, does what it says."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil

import yaml
from page_steps import ROOT, matches, run, steps

PATH = ROOT / "docs" / "bookinfo.md"
PAGE = PATH.read_text()
RECORDS = ROOT / "docs" / "bookinfo"
NAMES = ("cluster.json", "sidecars.log", "calico.jsonl")


def test_the_page_prints_what_it_shows_from_top_to_bottom(tmp_path):
    """Each file is written, each command run in order, and its whole output compared; `make golden` writes it anew."""
    folder = tmp_path / "bookinfo"
    folder.mkdir()
    for name in NAMES:
        shutil.copy(RECORDS / name, folder)
    commands = 0
    for step in steps(PAGE):
        if step.file:
            (folder / step.file).write_text(step.text)
            continue
        printed = run(step.command, folder, tmp_path / "tools")
        if os.environ.get("VZFLOW_WRITE_GOLDEN") and "...\n" not in step.text:  # what is cut is for a human to cut
            shown, now = (f"$ {step.command}\n{text}" for text in (step.text, printed))
            PATH.write_text(PATH.read_text().replace(shown, now))
            continue
        assert matches(step.text, printed), f"$ {step.command}\n{printed}"
        commands += 1
    if os.environ.get("VZFLOW_WRITE_GOLDEN"):
        return
    assert commands == len(re.findall(r"^\$ vzflow ", PAGE, re.M)) >= 12
    assert json.loads((folder / "report.json").read_text())["model"]["names"]


def test_a_page_that_shows_something_else_does_not_match():
    """Only a line of three dots may stand for others."""
    assert matches("a\n...\nd\n", "a\nb\nc\nd\n")
    assert matches("a\n...\n", "a\n")
    assert not matches("a\n...\nd\n", "a\nb\nc\n")
    assert not matches("a\n", "a\nb\n")
    assert not matches("a...\n", "abc\n")


def test_every_block_of_the_page_is_run_or_written_but_for_what_needs_a_cluster():
    """A block that nobody runs may say anything."""
    assert {block.strip() for block in re.findall(r"^```(\S+.*)$", PAGE, re.M)} == {
        "markdown bookinfo.md", "yaml pods.yaml", "yaml accepted.yaml", "console", "sh",
    }  # fmt: skip
    (only,) = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.S | re.M)
    assert only.startswith("kubectl get ")


def test_the_accepted_edge_has_owner_reason_and_last_day():
    """What a site accepts is somebody's, for a reason, and not for ever."""
    (text,) = [step.text for step in steps(PAGE) if step.file == "accepted.yaml"]
    (rule,) = yaml.safe_load(text)["accepted"]
    assert {"owner", "reason", "expires"} <= set(rule)


def test_the_records_are_what_their_maker_makes(tmp_path):
    """Nobody edits them by hand."""
    spec = importlib.util.spec_from_file_location("make_records", RECORDS / "make_records.py")
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    maker.HERE = tmp_path
    maker.main()
    for name in NAMES:
        assert (tmp_path / name).read_text() == (RECORDS / name).read_text(), name
