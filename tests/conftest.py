"""The order of files, which matters where several processes share them, and what every process has loaded."""

import importlib
import pkgutil

from hypothesis import settings

import vzflow

# A machine that is busy fails no test.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

#: The files that take longest; begun first, so that no process is left alone with one at the end.
LONG = ("test_cli", "test_queries", "test_wheel", "test_verdicts")

# Hypothesis draws from the constants of the modules loaded so far too: with all of them loaded, a seed gives the same
# examples whichever tests a process ran before.
for _module in pkgutil.walk_packages(vzflow.__path__, "vzflow."):
    if not _module.name.endswith("__main__"):
        importlib.import_module(_module.name)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.stem not in LONG)
