"""The wheel alone, outside the checkout: everything the program needs travels in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
#: What setuptools reads; not the working tree's leftovers.
PARTS = ("vzflow", "queries", "pipelines", "sample_captures", "pyproject.toml", "README.md")

pytestmark = pytest.mark.skipif(
    subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode != 0,
    reason="pip builds the wheel",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, so that the checkout stays as it is; no network is needed."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for part in PARTS:
        if (CHECKOUT / part).is_dir():
            shutil.copytree(CHECKOUT / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(CHECKOUT / part, source)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--wheel-dir",
        out,
        ".",
    ]
    offline = ["--no-build-isolation"] if find_spec("setuptools") is not None else []
    built = subprocess.run([*command, *offline], cwd=source, capture_output=True, text=True, timeout=300, check=False)
    assert built.returncode == 0, built.stderr
    (found,) = out.glob("vzflow-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The console script of the wheel in an environment of its own, which borrows this one's other packages."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--disable-pip-version-check",
         "--no-deps", "--no-index", wheel],
        check=True, timeout=300, cwd=folder, env=clean(),
    )  # fmt: skip
    where = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(where, capture_output=True, text=True, check=True).stdout.strip())
    # After the wheel's own folder, and as plain paths: .pth files of an editable install are not followed.
    others = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    (site / "borrowed.pth").write_text("".join(f"{path}\n" for path in others))
    return folder / "bin" / "vzflow"


def clean():
    """Variables that do not lead back into the checkout."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONPATH" and not k.startswith("VZFLOW_")}


def run(script, *words, cwd):
    return subprocess.run(
        [script, *words], cwd=cwd, env=clean(), capture_output=True, text=True, timeout=120, check=False
    )


def test_wheel_holds_every_folder_that_the_program_reads(wheel):
    """Queries, routes, models and samples: each file of the checkout, and nothing else of ours at the top."""
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder, pattern in (
        ("queries", "**/*.sql"), ("pipelines", "*.toml"), ("sample_captures", "*.pcap"), ("sample_captures", "*.json*"),
        ("sample_captures", "*.log"),
    ):  # fmt: skip
        for path in (CHECKOUT / folder).glob(pattern):
            assert f"vzflow/{path.relative_to(CHECKOUT)}" in names
    for path in (CHECKOUT / "vzflow").rglob("*"):
        if path.suffix in (".py", ".yaml") and "__pycache__" not in path.parts:
            assert str(path.relative_to(CHECKOUT)) in names
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"vzflow"}


def test_demo_runs_from_the_wheel_alone(installed, tmp_path):
    """The same report as from the checkout; nothing of the checkout is in reach."""
    done = run(installed, "demo", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "66 flows" in done.stdout
    where = run(installed.with_name("python"), "-c", "import vzflow; print(vzflow.__file__)", cwd=tmp_path).stdout
    assert Path(where.strip()).is_relative_to(installed.parents[1])


def test_queries_are_listed_from_the_wheel_alone(installed, tmp_path):
    """They are found inside the package."""
    done = run(installed, "query", "list", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "VZ1001" in done.stdout
