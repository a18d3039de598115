"""Modules that are compiled where a compiler is: each is, is no older than its source, and has an interpreted twin."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from readers.twin import interpreted

from vzflow.readers import _nocython

CHECKOUT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
MODULES = [extension["name"] for extension in PROJECT["tool"]["setuptools"]["ext-modules"]]
COMPILER = shutil.which(os.environ.get("CC", "cc").split()[0]) or shutil.which("gcc")

compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler")
needs_cython = pytest.mark.skipif(find_spec("cython") is None, reason="no Cython")


@compiler
@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_compiled_here(name):
    """A build without it succeeds and says nothing, so this says it: run `make compiled` and read what it prints."""
    assert str(import_module(name).__file__).endswith(".abi3.so")


def test_the_packet_core_says_whether_it_is_compiled():
    """It is what the command line goes by."""
    core = import_module("vzflow.readers.packet_core")
    assert core.COMPILED is str(core.__file__).endswith(".so")
    assert interpreted("vzflow.readers.packet_core").COMPILED is False


@pytest.mark.parametrize("name", MODULES)
def test_no_extension_is_older_than_its_source(name):
    """It would be tested in place of what was edited: run `make compiled`."""
    path = CHECKOUT / name.replace(".", "/")
    for extension in path.parent.glob(f"{path.name}.*.so"):
        assert extension.stat().st_mtime >= path.with_suffix(".py").stat().st_mtime


@pytest.mark.parametrize("name", MODULES)
def test_a_module_has_an_interpreted_twin(name):
    """Beside the module, which stays what it was; the twin holds every public name of it."""
    module, twin = import_module(name), interpreted(name)
    assert Path(twin.__file__).suffix == ".py"
    assert twin is not module
    assert import_module(name) is module
    assert vars(twin).get("cython", _nocython) is _nocython
    hidden = {"cython", "annotations"}
    # Names declared as C's numbers are the source's alone.
    assert public(module) - hidden <= public(twin) - hidden


@needs_cython
@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_interpreted_where_cython_is_installed(name):
    """A developer's environment has it; a failed build there must not show otherwise."""
    twin = interpreted(name, with_cython=True)
    assert Path(twin.__file__).suffix == ".py"
    assert "cython" not in vars(twin) or twin.cython.__name__ == "cython"


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_imported_without_cython(name):
    """In a process of its own and without a warning, whatever was imported here."""
    path = CHECKOUT / name.replace(".", "/")
    script = (
        "import runpy, sys; sys.modules['cython'] = None\n"
        f"names = runpy.run_path({str(path.with_suffix('.py'))!r})\n"
        "print(names.get('cython', sys.modules['cython']) in (None, sys.modules.get('vzflow.readers._nocython')))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


def public(module):
    return {name for name in vars(module) if not name.startswith("_")}


# The stand-in for `cython`.


def declared():
    """The names that mypy is told of."""
    stub = (CHECKOUT / "typings" / "cython.pyi").read_text()
    return set(re.findall(r"^(?:def )?([a-zA-Z]\w*)(?:\(|: )", stub, re.MULTILINE))


def test_the_stand_in_has_every_name_that_types_are_checked_with():
    """A name that mypy and Cython know must not fail first where neither is."""
    assert {"cclass", "nogil", "ulonglong", "const", "cast"} <= declared() | {"const"}
    assert declared() <= set(vars(_nocython))


@needs_cython
def test_the_stand_in_has_no_name_that_cython_lacks():
    """Else it works interpreted and nowhere else."""
    import cython

    names = public(_nocython) - {"annotations", "builtins", "Callable", "Any", "TypeVar"}
    assert not [name for name in names if not hasattr(cython, name)]


@pytest.mark.parametrize("cython", [_nocython, pytest.param("cython", marks=needs_cython)])
def test_decorators_and_types_mean_nothing_interpreted(cython):
    """The stand-in does what Cython's own does: a function is itself, a value is itself or is converted."""
    cython = import_module(cython) if isinstance(cython, str) else cython

    def given():
        return 1

    for name in ("cfunc", "ccall", "inline", "cclass", "final", "nogil"):
        assert getattr(cython, name)(given) is given
    assert cython.exceptval(-1, check=False)(given) is given
    assert cython.exceptval(check=False)(given) is given
    assert cython.locals(a=cython.int)(given) is given
    assert cython.returns(cython.longlong)(given) is given
    for name in ("boundscheck", "wraparound", "cdivision", "initializedcheck"):
        assert getattr(cython, name)(False)(given) is given
    with cython.nogil:
        pass
    with pytest.raises(ZeroDivisionError), cython.nogil:
        _ = 1 // 0
    assert cython.declare(cython.int) is None
    assert cython.declare(cython.ulonglong, 7) == 7
    assert cython.declare(cython.int, visibility="readonly") is None
    assert cython.cast(cython.int, 7.9) == 7
    assert cython.cast(cython.bint, 2) is True
    assert cython.cast(bytes, b"x") == b"x"
    assert cython.const[cython.uchar][::1] is not None
    assert cython.ulonglong[::1] is not None
    assert cython.compiled is False


@pytest.mark.parametrize(("begin", "end"), [(-1, 2), (0, 3), (2, 1), (0, 2**62), (2**62, 2**62)])
def test_a_range_outside_its_buffer_is_an_error(begin, end):
    """Never a byte of somebody else's memory, on either twin."""
    for module in (import_module("vzflow.readers.packet_core"), interpreted("vzflow.readers.packet_core")):
        core = module.Core(b"k" * 16, None, None, None, max_flows=4, payload_pool=512)
        with pytest.raises((ValueError, IndexError)):
            core.feed(b"ab", begin, end)
