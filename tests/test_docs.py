"""Documentation that drifts fails: generated pages, the tutorial's commands, the README's figures."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
COMMANDS = [
    line.removeprefix("$ ")
    for block in re.findall(r"```console\n(.*?)```", (DOCS / "tutorial.md").read_text(), re.S)
    for line in block.splitlines()
    if line.startswith("$ ")
]


def run(command, store, folder=ROOT):
    """Run a command in *folder*, where it may write."""
    words = shlex.split(command)
    assert words[0] == "vzflow"
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "VZFLOW_STORE": str(store)}
    return subprocess.run(
        [sys.executable, "-m", "vzflow", *words[1:]], cwd=folder, env=env, capture_output=True, text=True, check=False
    )


def test_generated_pages_are_up_to_date():
    """Each page is what `make docs` would write."""
    done = subprocess.run(
        [sys.executable, DOCS / "make_docs.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_tutorial_runs_from_top_to_bottom(tmp_path):
    """Each command of the tutorial succeeds and prints something, in order, on one store."""
    assert len(COMMANDS) >= 6
    (tmp_path / "sample_captures").symlink_to(ROOT / "sample_captures")
    for command in COMMANDS:
        done = run(command, tmp_path / "store", tmp_path)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert done.stdout or " ingest " in command, command


def test_readme_shows_the_verdicts_that_demo_prints(tmp_path):
    """The table in the README is the demo's, line for line."""
    readme = (ROOT / "README.md").read_text()
    done = run("vzflow demo", tmp_path)
    lines = done.stdout.splitlines()
    table = lines[next(i for i, line in enumerate(lines) if line.startswith("VERDICT")) :][:6]
    assert "\n".join(f"    {line}" for line in table) in readme


def test_example_model_of_the_docs_loads(tmp_path):
    """What people copy from docs/model.md is a model."""
    text = re.search(r"```yaml\n(.*?)```", (DOCS / "model.md").read_text(), re.S)[1]
    (tmp_path / "shop.yaml").write_text(text)
    done = run(f"vzflow model show --model {tmp_path / 'shop.yaml'}", tmp_path)
    assert (done.returncode, "S01" in done.stdout) == (0, True), done.stderr
    assert yaml.safe_load(text)["name"] == "shop"


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    """A relative link in a page names a file that is there."""
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_decisions_name_every_runtime_dependency():
    """A new dependency needs a line in docs/decisions/."""
    project = (ROOT / "pyproject.toml").read_text()
    names = re.findall(r'^    "([A-Za-z0-9_-]+)>=', project.split("[project.optional-dependencies]")[0], re.M)
    decided = (DOCS / "decisions" / "0003-dependencies.md").read_text()
    assert names
    assert [name for name in names if f"| {name} |" not in decided] == []


def test_every_command_has_its_section():
    """Each command, its arguments and options are in docs/cli.md."""
    from typer.main import get_command

    from vzflow import cli

    page = (DOCS / "cli.md").read_text()
    commands = get_command(cli.app).commands
    inner = {f"{name} {n}" for name, one in commands.items() for n in getattr(one, "commands", ())}
    for name in [*(set(commands) - {"model", "store"}), *inner]:
        assert f"\n## vzflow {name}\n" in page
