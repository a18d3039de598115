"""The interpreted twin of a compiled module: the same source, run by Python beside its extension."""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from unittest.mock import patch


@cache
def interpreted(name: str, *, with_cython: bool = False) -> ModuleType:
    """
    Return the module *name* as Python reads its source, under a name of its own.

    What it imports is imported as usual, so other compiled modules are their extensions.

    Args:
        name: Dotted name.
        with_cython: Let it import Cython, as in a developer's environment; else it sees what users have.
    """
    package, _, leaf = name.rpartition(".")
    source = Path(import_module(package).__path__[0], f"{leaf}.py")
    twin = f"{package}.interpreted_{leaf}{'_with_cython' * with_cython}"
    spec = spec_from_loader(twin, SourceFileLoader(twin, str(source)))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[twin] = module  # dataclasses and pickle look there
    # None is what the import system takes for "there is no such module".
    with patch.dict(sys.modules, {} if with_cython else {"cython": None}):
        spec.loader.exec_module(module)
    return module
