"""The wheel alone, outside the checkout: everything the program needs travels in it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
#: What setuptools reads; not the working tree's leftovers.
PARTS = (
    "vzflow", "queries", "pipelines", "sample_captures", "pyproject.toml", "build_steps.py", "README.md", "MANIFEST.in",
)  # fmt: skip
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
EXTENSIONS = {f"{e['name'].replace('.', '/')}.abi3.so" for e in PROJECT["tool"]["setuptools"]["ext-modules"]}
NO_COMPILER = {"CC": "/bin/false", "PATH": "/nonexistent"}
#: What differs between two reports of the same flows.
TIMES = re.compile(r'"generated_at": ".*?"')

pytestmark = pytest.mark.skipif(
    subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode != 0,
    reason="pip builds the wheel",
)
compiler = pytest.mark.skipif(shutil.which("cc") is None and shutil.which("gcc") is None, reason="no C compiler")


def copy(source):
    """What a build reads, so that the checkout stays as it is."""
    source.mkdir()
    leave = shutil.ignore_patterns("__pycache__", "*.so", "*.c")
    for part in PARTS:
        if (CHECKOUT / part).is_dir():
            shutil.copytree(CHECKOUT / part, source / part, ignore=leave)
        else:
            shutil.copy(CHECKOUT / part, source)
    return source


def build(folder, **env):
    """Build the wheel; no network is needed."""
    source, out = copy(folder / "source"), folder / "wheel"
    words = ["-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps", "--wheel-dir", out, "."]
    offline = ["--no-build-isolation"] if find_spec("setuptools") and find_spec("Cython") else []
    built = subprocess.run(
        [sys.executable, *words, *offline], cwd=source, env=os.environ | env, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    (found,) = out.glob("vzflow-*.whl")
    return found


def install(wheel, folder):
    """Return the console script of *wheel* in an environment of its own, which borrows this one's other packages."""
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


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build(tmp_path_factory.mktemp("build"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    return install(wheel, tmp_path_factory.mktemp("venv"))


@pytest.fixture(scope="module")
def uncompiled_wheel(tmp_path_factory):
    """As it is built where there is no C compiler."""
    return build(tmp_path_factory.mktemp("build"), **NO_COMPILER)


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
        ("queries", "**/*.sql"), ("pipelines", "*.toml"), ("pipelines", "kubernetes/*.yaml"),
        ("sample_captures", "*.pcap"), ("sample_captures", "*.json*"), ("sample_captures", "*.log"),
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


@compiler
def test_wheel_holds_the_compiled_modules_for_every_later_python(wheel):
    """One wheel for a machine, from Python 3.11 on; each extension stands beside its source, and no C goes along."""
    assert re.search(r"-cp311-abi3-linux_\w+\.whl$", wheel.name)
    names = zipfile.ZipFile(wheel).namelist()
    assert {name for name in names if name.endswith(".so")} == EXTENSIONS
    assert not [name for name in names if name.endswith(".c")]


def test_wheel_built_without_a_compiler_says_that_it_is_for_any_machine(uncompiled_wheel):
    """Nobody takes it for the compiled one: not pip's cache, not an index."""
    assert uncompiled_wheel.name.endswith("-py3-none-any.whl")
    archive = zipfile.ZipFile(uncompiled_wheel)
    assert not [name for name in archive.namelist() if name.endswith((".so", ".c"))]
    (said,) = [name for name in archive.namelist() if name.endswith(".dist-info/WHEEL")]
    assert "Root-Is-Purelib: true" in archive.read(said).decode()


@compiler
def test_demo_answers_the_same_without_a_compiler(installed, uncompiled_wheel, tmp_path):
    """It says once that it is slower, and nothing else differs."""
    scripts = installed, install(uncompiled_wheel, tmp_path / "venv")
    compiled, plain = (run(script, "demo", "-o", "json", cwd=tmp_path) for script in scripts)
    assert (compiled.returncode, plain.returncode) == (0, 0), plain.stderr
    reports = [
        TIMES.sub("", done.stdout.replace(str(script.parents[1]), ""))
        for done, script in zip((compiled, plain), scripts, strict=True)
    ]
    assert reports[0] == reports[1]
    assert "not compiled" not in compiled.stderr
    assert plain.stderr.count("the packet core is not compiled") == 1


@pytest.mark.skipif(find_spec("Cython") is None, reason="no Cython")
def test_a_build_that_fails_leaves_no_extension_of_an_older_source(tmp_path):
    """Python would go on importing it in place of the source that was edited."""
    source = copy(tmp_path / "source")
    (stale,) = [source / name for name in EXTENSIONS if name.endswith("/packet_core.abi3.so")]
    stale.touch()
    words = ["-c", "import setuptools; setuptools.setup()", "build_ext", "--inplace", "--build-lib", "lib"]
    (source / "lib" / stale.relative_to(source)).parent.mkdir(parents=True)
    (source / "lib" / stale.relative_to(source)).touch()
    os.utime(source / "lib" / stale.relative_to(source), (1, 1))
    done = subprocess.run(
        [sys.executable, *words], cwd=source, env=os.environ | NO_COMPILER, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not [*source.rglob("*.so"), *(source / "vzflow").rglob("*.c")]
